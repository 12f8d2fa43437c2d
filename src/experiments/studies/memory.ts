import { type Estimate, estimate, fitLine, mean } from "../exponents/statistics.ts";
import { confidenceOf, judged, together } from "./contrast.ts";
import { full, lora } from "./settings.ts";
import type { Bench, Facts, Memory, Study } from "./study.ts";

/** A network of two layers: each fact is one of 16 classes of a random input, 4 bits. */
const network = { width: 64, classes: 16 } as const;
const bits = Math.log2(network.classes);
/** Bits that a parameter is said to hold. */
const said = 2;
/** Learning rates that are tried. */
const rates = [-10, -8, -6, -4, -2].map((log) => 2 ** log);

// Where curves part: more facts than low ranks have room for, in passes of 16 batches.
const ranks = [1, 2, 4, 8] as const;
const passing = { ...network, facts: 1024, batch: 64, steps: 640 } as const;
const pass = passing.facts / passing.batch;
/** Curves are together while the one is no more than so much above the other, a twentieth of what knowing nothing costs. */
const tolerance = Math.log(network.classes) / 20;

// How much there is room for: all facts in each batch, as many as so many bits for each number of the adapter.
const filled = [1, 2, 4] as const;
const offers = [2, 3, 4, 6] as const;
const filling = { ...network, steps: 2000 } as const;

/** Numbers of an adapter on both layers. */
const sizeOf = (r: number) => r * (3 * network.width + network.classes);
const roomOf = (r: number) => Math.min(1, (said * sizeOf(r)) / (bits * passing.facts));

/** A curve for each seed of the comparison, and the rates that are best by the seeds of the choice, update by update. */
interface Curves {
  readonly each: readonly (readonly number[])[];
  /** The number of the rate. */
  readonly at: readonly number[];
}

/** Means over the pass that ends at each update. */
function passes(losses: readonly number[]): readonly number[] {
  return Array.from({ length: losses.length - pass + 1 }, (_, from) => mean(losses.slice(from, from + pass)));
}

async function curvesOf(bench: Bench, trial: (lr: number) => Facts["recipe"]): Promise<Curves> {
  const seeds = [...bench.choice, ...bench.comparison];
  const runs = await together(
    rates.map((lr) => together(seeds.map((seed) => bench.memorise({ ...passing, recipe: trial(lr), seed })))),
  );
  const curves = runs.map((own) => own.map(({ losses }) => passes(losses)));
  const at = curves[0]![0]!.map((_, update) => {
    const chosen = curves.map((own) =>
      mean(own.slice(0, bench.choice.length).map((curve) => curve[update]!)),
    );
    return chosen.indexOf(Math.min(...chosen));
  });
  return {
    at,
    each: bench.comparison.map((_, i) =>
      at.map((rate, update) => curves[rate]![bench.choice.length + i]![update]!),
    ),
  };
}

/** The last place at which the one is with the other; the first if there is none. */
function leaves(own: readonly number[], other: readonly number[], margin = tolerance): number {
  return Math.max(
    0,
    own.findLastIndex((loss, i) => loss - other[i]! <= margin),
  );
}

const atEnd = (rate: number) => rate === 0 || rate === rates.length - 1;

/** Nothing is known of what was measured at the end of a grid. */
const unless = (open: boolean, found: Estimate): Estimate =>
  open ? { ...found, interval: [Number.NaN, Number.NaN] } : found;

/** Bits that a parameter held, at the update where most were known of facts that are all in each batch. */
const held = ({ losses, trained }: Memory, facts: number) =>
  (facts * (bits - Math.min(...losses) / Math.LN2)) / trained;

/** Facts made up at random, more than an adapter has room for. */
export const memory: Study = {
  name: "memory",
  title:
    "Made-up facts that outgrow an adapter: where its loss leaves that of all weights, and how much it holds",
  claims: ["N-12", "N-13"],
  design: {
    task: "facts made up at random, one of 16 classes for each random input, in a network of two layers of width 64 that knows nothing, in place of a language model",
    metric:
      "where it leaves: the last update at which the mean loss of a pass is no more than a twentieth of log 16 above that of all weights. What it holds: facts times 4 bits less their loss, at the update where that is most, over the numbers of the adapter",
    grid: "leaving: 1024 facts in 40 passes of 16 batches, r 1, 2, 4, 8, of which two bits a parameter have room for 10 to 81 %, and all weights, alpha 16, lr 2^-10 to 2^-2 by factors of 4, at each update the best of them. Holding: r 1, 2, 4, facts of 2, 3, 4 and 6 bits a parameter, 2000 updates by all of them, at the same lr",
    contrast:
      "by seed: what is learned where the rank leaves, as a share of what two bits a parameter have room for; the slope of log2 of that update in that of the rank; the bits that a parameter holds",
    spread: 0.1,
    choice: "the rates at each update, the number of facts and its rate, by the seeds of the choice",
    correction: "Bonferroni over the five checks, and over the three",
    turns:
      "a rank that leaves before half of its room is taken, or ranks that leave no later the larger they are; more or less than 1.5 to 2.5 bits, which is two where it is rounded",
  },
  count: ({ choice, comparison }) =>
    (ranks.length + 1) * rates.length * (choice.length + comparison.length) +
    filled.length * (offers.length * rates.length * choice.length + comparison.length),
  measure: async (bench) => {
    const weights = await curvesOf(bench, full);
    const own: Curves[] = [];
    for (const r of ranks) own.push(await curvesOf(bench, (lr) => lora({ r, lr })));
    const parted = own.map(({ each }) => each.map((curve, i) => leaves(curve, weights.each[i]!)));
    const isOpen = own.map(({ at }, i) => parted[i]!.some((t) => atEnd(at[t]!) || atEnd(weights.at[t]!)));
    const learned = own.map(({ each }, i) =>
      each.map((curve, seed) => 1 - curve[parted[i]![seed]!]! / Math.log(network.classes)),
    );
    const five = { comparisons: ranks.length + 1 };
    const slopes = bench.comparison.map(
      (_, seed) =>
        fitLine(
          ranks.map(Math.log2),
          parted.map((at) => Math.log2(pass + at[seed]!)),
        ).slope,
    );
    const rooms: Room[] = [];
    for (const r of filled) rooms.push(await roomIn(bench, r));
    const three = { comparisons: filled.length };
    const line = (name: string, { each }: Curves) => ({
      name,
      xs: each[0]!.map((_, i) => 1 + i / pass),
      ys: each[0]!.map((_, i) => mean(each.map((curve) => curve[i]!))),
    });
    return {
      checks: {
        "N-12": [
          ...ranks.map((r, i) =>
            judged(
              `learned where r = ${r} leaves all weights, over its room`,
              unless(
                isOpen[i]!,
                estimate(
                  learned[i]!.map((share) => share / roomOf(r)),
                  confidenceOf(five.comparisons),
                ),
              ),
              { above: 0.5 },
              five,
            ),
          ),
          judged(
            "slope of log2 of that update in that of the rank",
            unless(isOpen.includes(true), estimate(slopes, confidenceOf(five.comparisons))),
            { above: 0 },
            five,
          ),
        ],
        "N-13": filled.map((r, i) =>
          judged(
            `bits that a parameter holds, r = ${r}`,
            unless(rooms[i]!.open, estimate(rooms[i]!.each, confidenceOf(three.comparisons))),
            { between: [1.5, 2.5] },
            three,
          ),
        ),
      },
      tables: [
        {
          title: "Where ranks leave all weights",
          head: ["r", "passes", "learned then", "learned at the end"],
          rows: ranks.map((r, i) => [
            r,
            mean(parted[i]!.map((t) => 1 + t / pass)),
            mean(learned[i]!),
            1 - mean(own[i]!.each.map((curve) => curve.at(-1)!)) / Math.log(network.classes),
          ]),
        },
        {
          title: "Bits that a parameter holds, by the facts that there are, at the best rate",
          head: ["r", ...offers.map((offer) => `${offer} bits offered`)],
          rows: filled.map((r, i) => [r, ...rooms[i]!.byOffer]),
        },
      ],
      plots: [
        {
          title: "Loss over passes, at each the best rate",
          x: "passes",
          y: "loss of a pass",
          log: { x: true },
          lines: [line("all weights", weights), ...ranks.map((r, i) => line(`r = ${r}`, own[i]!))],
        },
      ],
    };
  },
};

interface Room {
  /** Bits of a parameter, for each seed of the comparison. */
  readonly each: readonly number[];
  /** More facts or another rate may do more. */
  readonly open: boolean;
  /** Those of the choice. */
  readonly byOffer: readonly number[];
}

/** How much an adapter of a rank holds, of as many facts and at the rate that are best by the seeds of the choice. */
async function roomIn(bench: Bench, r: number): Promise<Room> {
  const at = async (offer: number, lr: number, seeds: readonly number[]) => {
    const facts = Math.round((offer * sizeOf(r)) / bits);
    const runs = await together(
      seeds.map((seed) => bench.memorise({ ...filling, facts, batch: facts, recipe: lora({ r, lr }), seed })),
    );
    return runs.map((run) => held(run, facts));
  };
  const tried: { readonly offer: number; readonly rate: number; readonly bits: number }[] = [];
  for (const offer of offers)
    for (const [rate, lr] of rates.entries())
      tried.push({ offer, rate, bits: mean(await at(offer, lr, bench.choice)) });
  const best = tried.reduce((one, other) => (other.bits > one.bits ? other : one));
  return {
    each: await at(best.offer, rates[best.rate]!, bench.comparison),
    // Less than the least offer cannot be more.
    open: best.offer === offers.at(-1) || atEnd(best.rate),
    byOffer: offers.map((offer) =>
      Math.max(...tried.filter((each) => each.offer === offer).map(({ bits }) => bits)),
    ),
  };
}
