import { ValueError } from "../../base/errors.ts";
import { make, type Optimizer } from "../../optim/index.ts";
import { compile } from "../../tensor/compile.ts";
import { tensor, zeros } from "../../tensor/creation.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { train as training } from "../../train/index.ts";
import { type Setting, scalingOf } from "./setting.ts";
import { mean } from "./statistics.ts";

/** A regression whose inputs have a few factors in common, as hidden states have. */
export interface Regression {
  /** Directions that span the inputs. */
  readonly factors: number;
  readonly samples: number;
  readonly steps: number;
  /** Rank of the weight change that solves the task. */
  readonly targetRank: number;
}

const regression: Regression = { factors: 6, samples: 16, steps: 30, targetRank: 1 };

/** One training among several on the same problem: learning rates of A and B, and alpha. */
export interface Cell {
  readonly a: number;
  readonly b: number;
  /** Default: the setting's. */
  readonly alpha?: number;
}

/**
 * Trains a linear layer from B = 0 once for each cell, all in one program, and gives the losses after training
 * divided by the loss before it. The target is of low rank in the factors of the inputs. The data and A are of
 * the setting's seed; its optimizer's own learning rate is not used.
 */
export async function train(
  setting: Setting,
  cells: readonly Cell[],
  options: Partial<Regression> = {},
): Promise<number[]> {
  const { n, outputs, r, seed } = setting;
  const { factors, samples, steps, targetRank } = { ...regression, ...options };
  const count = cells.length;
  const optimizer = make({ ...setting.optimizer, lr: 1 });
  const perCell = (values: readonly number[]): Tensor =>
    tensor(Float32Array.from(values), { shape: [count, 1, 1] });
  const rates = { loraA: perCell(cells.map(({ a }) => a)), loraB: perCell(cells.map(({ b }) => b)) };
  const scalings = perCell(cells.map(({ alpha = setting.alpha }) => scalingOf({ ...setting, alpha }).value));

  const draw = compile((seed: Tensor<"number">, size: Tensor<"number">) => {
    const key = random.key(1).fold(seed).fold(n).fold(r);
    const c = random.normal(key.fold("coefficients"), [samples, factors]).mul(1 / Math.sqrt(factors));
    const directions = random.normal(key.fold("directions"), [factors, n]);
    const inner = random.normal(key.fold("inner"), [factors, targetRank]).mul(1 / Math.sqrt(targetRank));
    const outer = random.normal(key.fold("outer"), [targetRank, outputs]);
    const start = random.normal(key.fold("A"), [1, r, n]).mul(size).expand([count, r, n]);
    // All cells start from the same A.
    const params: Adapters = { loraA: start, loraB: zeros([count, outputs, r]) };
    const data: Data = { x: c.matmul(directions), y: c.matmul(inner).matmul(outer), scalings };
    return { params, data };
  });

  /** The loss of each cell. A x is one product for all cells. */
  const losses = ({ loraA, loraB }: Adapters, { x, y, scalings }: Data): Tensor => {
    const inner = x.matmul(loraA.reshape([count * r, n]).transpose());
    const each = inner.reshape([samples, count, r]).permute([1, 0, 2]);
    return each.matmul(loraB.transpose()).mul(scalings).sub(y).square().mean([1, 2]);
  };
  const look = compile(losses);
  const { params, data } = await draw(seed, 1 / Math.sqrt(n));
  const first = await look(params, data);
  const run = training({
    params,
    loss: (params: Adapters, data: Data) => losses(params, data).sum(),
    optimizer: { ...optimizer, update: ratedBy(optimizer, rates) },
    batches: () => data,
    steps,
    nonFinite: "continue",
  });
  await run.toEnd();
  const last = await look(run.params, data);
  const [before, after] = [await first.data(), await last.data()];
  tree.dispose([run.params, run.state, first, last, data.x, data.y]);
  return [...after].map((loss, i) => loss / before[i]!);
}

/** Updates times the rates of each parameter. */
function ratedBy({ update }: Optimizer, rates: unknown): Optimizer["update"] {
  return (gradients, state, params) => {
    const [updates, next] = update(gradients, state, params);
    return [tree.zip([updates, rates as typeof updates], ([change, rate]) => change!.mul(rate!)), next];
  };
}

interface Adapters {
  /** `[cells, r, n]` */
  readonly loraA: Tensor;
  /** `[cells, outputs, r]` */
  readonly loraB: Tensor;
}

interface Data {
  readonly x: Tensor;
  readonly y: Tensor;
  /** `[cells, 1, 1]` */
  readonly scalings: Tensor;
}

/** Relative losses over a range of learning rates. */
export interface Scan {
  /** Rising, by a constant factor. */
  readonly rates: readonly number[];
  readonly losses: readonly number[];
}

/** Learning rates of A, of both when they are tied, that are tried: powers of two. */
const scanned = { from: -18, to: 2 };

/** What is varied: one rate for A and B, or that of A at a fixed one of B. */
export type RateChoice = "tied" | { readonly lrB: number };

/** Problems whose losses are averaged (in logarithms) at each rate: one alone has too flat and rough a valley. */
const averaged = 4;

/** Trains at every rate of the range, on a few problems. */
export async function scanRates(
  setting: Setting,
  choice: RateChoice,
  options: Partial<Regression> = {},
): Promise<Scan> {
  const rates = Array.from({ length: scanned.to - scanned.from + 1 }, (_, i) => 2 ** (scanned.from + i));
  const cells = rates.map((a) => ({ a, b: choice === "tied" ? a : choice.lrB }));
  const problems: number[][] = [];
  for (let i = 0; i < averaged; i++)
    problems.push(await train({ ...setting, seed: averaged * setting.seed + i }, cells, options));
  const losses = rates.map((_, i) => Math.exp(mean(problems.map((each) => Math.log(each[i]!)))));
  return { rates, losses };
}

/**
 * The rate of the smallest loss: the vertex of the parabola through the smallest and its neighbours in logarithms.
 *
 * @throws ValueError if it lies at an end of the range.
 */
export function bestRate({ rates, losses }: Scan): number {
  const ys = losses.map((loss) => (Number.isFinite(loss) ? Math.log(loss) : Number.POSITIVE_INFINITY));
  const at = ys.indexOf(Math.min(...ys));
  if (at <= 0 || at === ys.length - 1) {
    throw new ValueError(
      `exponent: the best learning rate ${rates[at]} is at the end of the range; nothing is known beyond it.`,
    );
  }
  const [left, middle, right] = [ys[at - 1]!, ys[at]!, ys[at + 1]!];
  const bend = left - 2 * middle + right;
  const shift = Number.isFinite(bend) && bend > 0 ? (left - right) / (2 * bend) : 0;
  return rates[at]! * (rates[at + 1]! / rates[at]!) ** shift;
}

/**
 * The largest rate that still leaves the loss below half of what it was, between two rates by interpolation in
 * logarithms.
 *
 * @throws ValueError if no rate, or the last one, does.
 */
export function largestUsefulRate({ rates, losses }: Scan): number {
  const at = losses.findLastIndex((loss) => loss < useful);
  if (at < 0 || at === losses.length - 1) {
    throw new ValueError(
      `exponent: ${at < 0 ? "no" : "every large"} learning rate of the range halves the loss; there is no largest one.`,
    );
  }
  const [below, above] = [Math.log(losses[at]! / useful), Math.log(losses[at + 1]! / useful)];
  const part = Number.isFinite(above) ? -below / (above - below) : 0;
  return rates[at]! * (rates[at + 1]! / rates[at]!) ** part;
}

const useful = 0.5;
