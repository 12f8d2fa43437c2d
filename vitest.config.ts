import { defineConfig } from "vitest/config";

// Tests run from the sources: `#gpu` resolves through the "lorantz-source" condition of package.json.
const conditions = ["lorantz-source", "node", "module"];

export default defineConfig({
  resolve: {
    conditions,
    alias: [
      { find: /^lorantz$/, replacement: new URL("./src/index.ts", import.meta.url).pathname },
      { find: /^lorantz\/(\w+)$/, replacement: `${new URL("./src/", import.meta.url).pathname}$1/index.ts` },
    ],
  },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // A process each: the native WebGPU binding is not made for worker threads.
    pool: "forks",
    testTimeout: 30_000,
  },
});
