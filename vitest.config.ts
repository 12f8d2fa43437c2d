import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { supportsVectors } from "./src/backend/cpu/modules.ts";

const src = fileURLToPath(new URL("./src/", import.meta.url));

// Tests run from the sources: `#gpu` resolves through the condition "lorantz-source" of package.json, and the
// package's own name leads to src/.
const conditions = ["lorantz-source", "node", "module"];

const files = (names: string) => names.split(" ").map((name) => `test/${name}.test.ts`);

// What depends on how the CPU multiplies and adds runs again with relaxed SIMD, which Node 20 has behind a flag that
// Node 22 no longer knows; and the browser, which has it, is compared with that.
const relaxed = files("backend/relaxed tensor/ops lora/lora browser/browser");
const relaxedToo = files("backend/wasm fuzz/fuzz experiments/theorem backend/cpu-pool");
const relaxedSimd = supportsVectors("f32x4.relaxed_madd") ? [] : ["--experimental-wasm-relaxed-simd"];

// Files that take longest, and those that wait for other processes; and all long ones before them.
const longest = files("browser/browser browser/playground-page experiments/queues fuzz/fuzz project/docs");

// A file that replaces functions or modules, asks the process or changes it, or collects garbage might find what another one
// left, and leave something itself: it has a process of its own. The others share a few, which saves most of starting.
const own = /\bvi\.(?!restoreAllMocks)|\bprocess\.(?!exec|exit|ppid)\w|\bglobalThis\b|\bgc\(/;
const tests = readdirSync(new URL("test/", import.meta.url), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => `test/${name}`);
const alone = tests.filter((name) => own.test(readFileSync(new URL(name, import.meta.url), "utf8")));
const sharing = tests.filter((name) => !alone.includes(name));

/** Longest first, whatever the project, so that no core is idle at the end while a file runs that began last. */
class LongestFirst extends BaseSequencer {
  override async sort(specs: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId, project }: TestSpecification) => {
      if (moduleId.endsWith(".long.test.ts")) return -1;
      const found = longest.findIndex((name) => moduleId.endsWith(name));
      if (found >= 0) return found;
      return project.config.isolate ? longest.length : longest.length + 1; // those that share follow each other
    };
    return (await super.sort(specs)).sort((a, b) => place(a) - place(b));
  }
}

// A file for the results as JSON, beside what is printed.
const report = process.env.LORANTZ_TEST_REPORT;

// `npm run test:all` is the mode "all": with the files `*.long.test.ts` and every case of long lists.
export default defineConfig(({ mode }) => {
  const all = mode === "all";
  const long = all ? [] : ["test/**/*.long.test.ts"];
  // Mesa's software driver spends most of the time of a first run on optimising kernels that run once.
  const env: Record<string, string> = all ? { LORANTZ_TEST_ALL: "1" } : { GALLIVM_PERF: "nopt" };
  return {
    resolve: {
      conditions,
      alias: [
        { find: /^lorantz$/, replacement: `${src}index.ts` },
        { find: /^lorantz\/(\w+)$/, replacement: `${src}$1/index.ts` },
      ],
    },
    ssr: { resolve: { conditions } },
    test: {
      projects: [
        {
          extends: true,
          test: {
            name: "all",
            include: all ? tests : alone,
            exclude: [...files("backend/relaxed browser/browser"), ...long],
            env,
          },
        },
        {
          extends: true,
          test: {
            name: "all others",
            // Where every case is wanted each file runs alone, so that none is in need of what another one leaves.
            include: all ? [] : sharing,
            exclude: long,
            isolate: false,
            env,
          },
        },
        {
          extends: true,
          test: {
            name: "relaxed SIMD",
            include: all ? [...relaxed, ...relaxedToo] : relaxed,
            exclude: long,
            execArgv: relaxedSimd,
            env: { ...env, LORANTZ_TEST_WEBGPU: "off" },
          },
        },
      ],
      // A process for each file, as the native WebGPU binding is not made for worker threads, on every core.
      pool: "forks",
      maxWorkers: "100%",
      // A software driver that compiles kernels on a busy machine is no failure.
      testTimeout: 120_000,
      hookTimeout: 120_000,
      setupFiles: ["test/setup.ts"],
      sequence: { sequencer: LongestFirst },
      reporters: report ? ["default", ["json", { outputFile: report }]] : ["default"],
    },
  };
});
