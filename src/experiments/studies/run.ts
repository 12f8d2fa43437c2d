import type { LinesOptions } from "../charts.ts";
import { fineTune } from "../claims/linear.ts";
import { claims as registry } from "../claims/registry.ts";
import { judgedClaim, type Result } from "../claims/run.ts";
import type { Lab } from "../language/lab.ts";
import { canonical } from "../language/run.ts";
import { seedsOf } from "../seeds.ts";
import { memorise } from "./facts.ts";
import type { Bench, Design, Study, Table } from "./study.ts";

/** How large the runs of a study are, and how often they are repeated. */
export interface StudyOptions {
  readonly steps: number;
  readonly batch: number;
  readonly seed: number;
  /** Seeds by which something is chosen, and those by which it is compared, at least two. */
  readonly choice: number;
  readonly comparison: number;
  /** Called now and then with the share of the work that is done; may wait, and may throw. */
  readonly onProgress?: (share: number, what: string) => void | Promise<void>;
}

/** What came out of a study, with everything that it was made of. */
export interface StudyResult {
  readonly study: string;
  readonly title: string;
  readonly design: Design;
  readonly model: { readonly name: string; readonly key: string };
  readonly setting: Pick<StudyOptions, "steps" | "batch" | "seed" | "choice" | "comparison">;
  readonly runs: number;
  /** Of this call: what was known before took none. */
  readonly seconds: number;
  readonly results: readonly Result[];
  readonly tables: readonly Table[];
  readonly plots: readonly LinesOptions[];
}

/** Does the runs of a study that are not known yet, and judges its claims. */
export async function runStudy(study: Study, lab: Lab, options: StudyOptions): Promise<StudyResult> {
  const { onProgress, ...setting } = options;
  const { seed, choice, comparison, steps, batch } = setting;
  const seeds = seedsOf(seed, choice + comparison);
  const started = performance.now();
  let runs = 0;
  const ended = async () => {
    runs++;
    await onProgress?.(runs / total, study.name);
  };
  const bench: Bench = {
    choice: seeds.slice(0, choice),
    comparison: seeds.slice(choice),
    steps,
    run: async (trial) => {
      const run = { steps, batch, ...trial };
      let at = 0;
      const result = await lab.run(run, () => onProgress?.((runs + at++ / run.steps) / total, study.name));
      await ended();
      return result;
    },
    teach: async (lesson) => {
      const loss = await lab.measured(`lesson 1 ${canonical(lesson)}`, async () => {
        const { recipe, width, samples, steps, seed } = lesson;
        const teacher = {
          inputs: width,
          outputs: width,
          samples,
          rank: width,
          dtype: "float32",
        } as const;
        const last = (await fineTune(recipe, { ...teacher, steps, seed })).losses.at(-1)!;
        return Number.isFinite(last) ? last : Number.MAX_VALUE;
      });
      await ended();
      return loss;
    },
    memorise: async (facts) => {
      const memory = await lab.measured(`facts 1 ${canonical(facts)}`, () => memorise(facts));
      await ended();
      return memory;
    },
  };
  const total = study.count(bench);
  const { checks, tables, plots } = await study.measure(bench);
  const seconds = (performance.now() - started) / 1000;
  const { design, name, title } = study;
  const how = `lorantz reproduce ${name}. ${design.task}. ${design.grid}. ${design.contrast}.`;
  return {
    study: name,
    title,
    design,
    model: { name: lab.subject.name, key: lab.subject.key },
    setting,
    runs,
    seconds,
    results: registry.flatMap((claim) => {
      const own = checks[claim.id];
      return own ? [judgedClaim(claim, { how, seed, seeds: comparison, seconds, checks: own })] : [];
    }),
    tables,
    plots,
  };
}
