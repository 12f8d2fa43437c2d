import { estimate, mean } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, lossOf, margin, meanOf, over, paired } from "./contrast.ts";
import { hardSql, lora } from "./settings.ts";
import type { Study } from "./study.ts";

/** The six switches of the article, and the layers of each. */
const switches = {
  query: ["q_proj"],
  key: ["k_proj"],
  value: ["v_proj"],
  projection: ["o_proj"],
  mlp: ["gate_proj", "up_proj", "down_proj"],
  head: ["lm_head"],
} as const;

type Switch = keyof typeof switches;

const names = Object.keys(switches) as Switch[];
const lr = 8e-3;

/** Half of the 64 sets, an even number of switches on: effects of single ones and of pairs stay apart. */
export const halfOfSets: readonly (readonly Switch[])[] = Array.from({ length: 64 }, (_, set) =>
  names.filter((_, i) => (set >> i) & 1),
).filter((set) => set.length > 0 && set.length % 2 === 0);

const layersOf = (set: readonly Switch[]) => set.flatMap((name) => switches[name]);
const attention: readonly Switch[] = ["query", "key", "value", "projection"];

/** Seeds of the effects, at most: each is a mean over all sets, which varies less than one run. */
const effectSeeds = 4;

/** What an adapter is put on. */
export const targets: Study = {
  name: "targets",
  title: "Target modules: sets of layers, and attention against MLP at equal parameters",
  claims: ["S4-10", "N-9"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "the 31 sets of an even number of query, key, value, projection, mlp, head, r 8, alpha 16, lr 8e-3; attention at r 8, MLP at r 7 (0.5 % more parameters), both",
    contrast:
      "main effect of each module over the sets, by seed, of at most four; MLP less attention, and MLP with attention less MLP, paired by seed",
    spread: 0.006,
    correction: "Bonferroni over the modules, and over the two pairs",
    turns: "no module with an effect; attention that does as well as MLP, or adds to it",
  },
  count: ({ comparison }) =>
    halfOfSets.length * Math.min(effectSeeds, comparison.length) + 3 * comparison.length,
  measure: async (bench) => {
    const seeds = bench.comparison.slice(0, effectSeeds);
    const sets: { readonly set: readonly Switch[]; readonly runs: readonly RunResult[] }[] = [];
    for (const set of halfOfSets)
      sets.push({
        set,
        runs: await over(bench, seeds, (seed) => ({
          task: hardSql,
          recipe: lora({ lr }),
          targets: layersOf(set),
          seed,
        })),
      });
    const trial = (set: readonly Switch[], r: number) =>
      over(bench, bench.comparison, (seed) => ({
        task: hardSql,
        recipe: lora({ r, alpha: 2 * r, lr }),
        targets: layersOf(set),
        seed,
      }));
    const [onAttention, onMlp, onBoth] = [
      await trial(attention, 8),
      await trial(["mlp"], 7),
      await trial([...attention, "mlp"], 7),
    ];
    const effect = (name: Switch) =>
      estimate(
        seeds.map((_, seed) => {
          const side = (on: boolean) =>
            mean(sets.filter(({ set }) => set.includes(name) === on).map(({ runs }) => lossOf(runs[seed]!)));
          return side(true) - side(false);
        }),
        confidenceOf(names.length),
      );
    const six = { comparisons: names.length };
    const two = { comparisons: 2 };
    const effects = names.map((name) => ({ name, effect: effect(name) }));
    const largest = effects.reduce((most, each) => (each.effect.value < most.effect.value ? each : most));
    return {
      checks: {
        "S4-10": [
          judged(
            `effect of ${largest.name} on the loss, the largest`,
            largest.effect,
            { below: -margin },
            six,
          ),
        ],
        "N-9": [
          judged(
            "loss, attention less MLP, equal parameters",
            paired(onAttention, onMlp, two),
            { above: 0 },
            two,
          ),
          judged(
            "loss, MLP and attention less MLP",
            paired(onBoth, onMlp, two),
            { between: [-margin, margin] },
            two,
          ),
        ],
      },
      tables: [
        {
          title: "Effect of each module on the loss",
          head: ["module", "effect", "from", "to"],
          rows: effects.map(({ name, effect: { value, interval } }) => [name, value, ...interval]),
        },
        {
          title: "Sets, the best first",
          head: ["set", "loss"],
          rows: sets
            .map(({ set, runs }): [string, number] => [set.join(", "), meanOf(runs)])
            .sort(([, one], [, other]) => one - other),
        },
        {
          title: "At equal parameters",
          head: ["on", "r", "trained", "loss"],
          rows: (
            [
              ["attention", 8, onAttention],
              ["MLP", 7, onMlp],
              ["both", 7, onBoth],
            ] as const
          ).map(([on, r, runs]) => [on, r, runs[0]!.trained, meanOf(runs)]),
        },
      ],
      plots: [],
    };
  },
};
