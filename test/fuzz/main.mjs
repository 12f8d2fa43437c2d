// Runs main.ts from the sources: Vite strips the types, so that this works in Node 20 too.
import { fileURLToPath } from "node:url";
import { createServer, createServerModuleRunner } from "vite";

// Mesa's software driver spends most of the time on optimising kernels that run once.
process.env.GALLIVM_PERF ??= "nopt";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const server = await createServer({
  root: at("../.."),
  configFile: false,
  logLevel: "error",
  appType: "custom",
  server: { middlewareMode: true, hmr: false, watch: null, ws: false },
  optimizeDeps: { noDiscovery: true },
  resolve: { alias: [{ find: "#gpu", replacement: at("../../src/backend/webgpu/gpu-node.ts") }] },
});
const runner = createServerModuleRunner(server.environments.ssr, { hmr: false });
try {
  const { main } = await runner.import(at("main.ts"));
  process.exitCode = await main();
} finally {
  await runner.close();
  await server.close();
}
