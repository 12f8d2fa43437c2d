import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const src = fileURLToPath(new URL("./src/", import.meta.url));

// Tests run from the sources: `#gpu` resolves through the condition "lorantz-source" of package.json, and the
// package's own name leads to src/.
const conditions = ["lorantz-source", "node", "module"];

// A file for the results as JSON, beside what is printed.
const report = process.env.LORANTZ_TEST_REPORT;

export default defineConfig({
  resolve: {
    conditions,
    alias: [
      { find: /^lorantz$/, replacement: `${src}index.ts` },
      { find: /^lorantz\/(\w+)$/, replacement: `${src}$1/index.ts` },
    ],
  },
  ssr: { resolve: { conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // A process for each file: the native WebGPU binding is not made for worker threads.
    pool: "forks",
    testTimeout: 30_000,
    reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
  },
});
