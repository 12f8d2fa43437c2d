import type { RunResult } from "../language/run.ts";
import type { Task } from "../language/tasks.ts";
import { judged, margin, meanOf, over, paired } from "./contrast.ts";
import { lora } from "./settings.ts";
import type { Study, Trial } from "./study.ts";

const [few, many] = [64, 2048] as const;
const lr = 8e-3;
const task: Task = { name: "instructions", parts: 4 };
const learned = ({ probes }: RunResult) => probes[0]!.loss!;
const gap = (result: RunResult) => result.loss - learned(result);

/** How much data, how good, how often; and what is said to help against overfitting. */
export const amount: Study = {
  name: "amount",
  title: "Little data: ranks, passes, noise, and remedies against overfitting",
  claims: ["S1-6", "S4-7", "S4-15", "S4-18", "S4-19"],
  design: {
    task: "instructions of 4 kinds: 64 examples, or 2048; some with answers at random",
    metric: "held-out loss, nats a token; the gap, that less the loss on examples that were learned",
    grid: "r 2, 8, 32, alpha 16, lr 8e-3; decay 0.1; dropout 0.05, 0.1, 0.25; noise 0 and 0.5; twice the passes; three times the steps",
    contrast:
      "paired by seed: r = 32 less 8; two passes less one; 64 good examples less 2048 of which half are noise; each remedy less none; dropout 0.05 less each other dropout",
    spread: 0.02,
    correction: "Bonferroni over the comparisons of a claim",
    turns:
      "a higher rank that is no worse; passes that help; noise that does not matter; a remedy that does not lessen the gap; a dropout that is better than 0.05 by more than 0.02",
  },
  count: ({ comparison }) => 10 * comparison.length,
  measure: async (bench) => {
    const trial = (own: Partial<Trial>) =>
      over(bench, bench.comparison, (seed) => ({
        task,
        recipe: lora({ lr }),
        steps: 3 * bench.steps,
        examples: few,
        seed,
        probes: [{ kind: "learned" }],
        ...own,
      }));
    const [r2, r8, r32] = [
      await trial({ recipe: lora({ r: 2, lr }) }),
      await trial({}),
      await trial({ recipe: lora({ r: 32, lr }) }),
    ];
    const decayed = await trial({
      recipe: lora({ r: 32, lr, more: { optimizer: { name: "adamw", lr, weightDecay: 0.1 } } }),
    });
    const withDropout = (dropout: number) => trial({ recipe: lora({ r: 32, lr, more: { dropout } }) });
    const [slightly, dropped, much] = [
      await withDropout(0.05),
      await withDropout(0.1),
      await withDropout(0.25),
    ];
    const twice = await trial({ steps: 6 * bench.steps });
    const [clean, noisy] = [
      await trial({ examples: many }),
      await trial({
        task: { ...task, noise: 0.5 },
        examples: many,
        probes: [{ kind: "learned" }, { kind: "task", task }],
      }),
    ];
    const four = { comparisons: 4 };
    // The noisy run is looked at on answers without noise.
    const good = noisy.map((result) => ({ ...result, loss: result.probes[1]!.after! }));
    const remedy = (what: string, runs: readonly RunResult[]) =>
      judged(
        `gap, ${what} less r = 32 with none of it`,
        paired(runs, r32, { ...four, of: gap }),
        { below: 0 },
        four,
      );
    const three = { comparisons: 3 };
    const rather = (dropout: number, runs: readonly RunResult[]) =>
      judged(`loss, dropout 0.05 less ${dropout}`, paired(slightly, runs, three), { below: margin }, three);
    return {
      checks: {
        "S1-6": [judged("loss, 64 examples, r = 32 less r = 8", paired(r32, r8), { above: 0 })],
        "S4-7": [judged("loss, 64 examples, twice the passes less once", paired(twice, r8), { above: 0 })],
        "S4-15": [judged("loss, 64 good examples less 2048 with noise", paired(r8, good), { below: margin })],
        "S4-18": [
          remedy("r = 2", r2),
          remedy("2048 examples, r = 8,", clean),
          remedy("decay 0.1", decayed),
          remedy("dropout 0.1", dropped),
        ],
        "S4-19": [rather(0, r32), rather(0.1, dropped), rather(0.25, much)],
      },
      tables: [
        {
          title: "Instructions",
          head: ["run", "held-out loss", "loss on what was learned"],
          rows: Object.entries({
            "r = 2": r2,
            "r = 8": r8,
            "r = 32": r32,
            "r = 32, decay 0.1": decayed,
            "r = 32, dropout 0.05": slightly,
            "r = 32, dropout 0.1": dropped,
            "r = 32, dropout 0.25": much,
            "r = 8, twice the passes": twice,
            "r = 8, 2048 examples": clean,
            "r = 8, 2048 examples, half noise, on good ones": good,
          }).map(([name, runs]) => [name, meanOf(runs), meanOf(runs, learned)]),
        },
      ],
      plots: [],
    };
  },
};
