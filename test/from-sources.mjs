import { fileURLToPath } from "node:url";
import { createServer, createServerModuleRunner } from "vite";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Calls `use` with a function that loads a TypeScript file: Vite strips the types, so that this works in Node 20 too. */
export async function fromSources(use) {
  // Mesa's software driver spends most of the time on optimising kernels that run once.
  process.env.GALLIVM_PERF ??= "nopt";
  const conditions = ["lorantz-source", "node", "module"];
  const server = await createServer({
    root,
    configFile: false,
    logLevel: "error",
    appType: "custom",
    server: { middlewareMode: true, hmr: false, watch: null, ws: false },
    optimizeDeps: { noDiscovery: true },
    resolve: {
      conditions,
      alias: [
        { find: /^lorantz$/, replacement: `${root}src/index.ts` },
        { find: /^lorantz\/(\w+)$/, replacement: `${root}src/$1/index.ts` },
      ],
    },
    ssr: { resolve: { conditions } },
  });
  const runner = createServerModuleRunner(server.environments.ssr, { hmr: false });
  try {
    return await use((path) => runner.import(path));
  } finally {
    await runner.close();
    await server.close();
  }
}
