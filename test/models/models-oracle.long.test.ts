import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openEngine } from "../../src/experiments/oracle/engine.ts";
import { runOracle } from "../../src/experiments/oracle/run.ts";
import { init } from "../../src/runtime/init.ts";
import { floatBackends } from "../devices.ts";
import { expectGolden } from "../golden-texts.ts";
import { scratch } from "../scratch.ts";

// Every reference of a model: the oracle's small ones with gradients and adapters, and the trained stories260K with golden
// texts, trainings of adapters in float64 and adapters of three tools.

const shared = new URL("../../../shared/", import.meta.url).pathname;
const there = existsSync(shared);
if (!there) console.warn("references of models: skipped, there is no ../shared");

/** A folder with the first of the trainings of a model. */
function firstTraining(folder: string): string {
  const name = "lora_training.json";
  const all = JSON.parse(readFileSync(join(folder, name), "utf8")) as { cases: unknown[] };
  const own = fresh();
  writeFileSync(join(own, name), JSON.stringify({ ...all, cases: all.cases.slice(0, 1) }));
  return own;
}

const { fresh } = scratch("models-oracle");
const small = fresh();

describe.skipIf(!there).each(await floatBackends())(
  "references in $dtype on $backend",
  ({ backend, dtype }) => {
    test("of small models, their gradients and adapters", { timeout: 600_000 }, async () => {
      for (const name of ["models.json", "gpt2_tiny", "llama_tiny"])
        cpSync(join(shared, "oracle", name), join(small, name), { recursive: true });
      const engine = await openEngine(backend, dtype);
      const report = await runOracle(small, engine);
      expect(report.failures).toEqual([]);
      expect(report.passed).toBe(2);
      engine.dispose();
    });

    test.skipIf(dtype === "float64")(
      "of greedy texts, made token by token",
      { timeout: 600_000 },
      async () => {
        const device = await init({ backend });
        await expectGolden(join(shared, "models/stories260K"));
        device.dispose();
      },
    );

    // On WebGPU the first training alone: a software driver takes a minute to compile each.
    test("of a trained one", { timeout: 1_200_000 }, async () => {
      const engine = await openEngine(backend, dtype);
      const folder = join(shared, "models/stories260K");
      const report = await runOracle(
        backend === "cpu" ? folder : firstTraining(folder),
        engine,
        () => {},
        folder,
      );
      expect(report.failures).toEqual([]);
      expect(report.passed).toBe(backend === "cpu" ? 5 + 9 + 7 + 243 : 1);
      expect(report.skipped).toBe(0);
      engine.dispose();
    });
  },
);
