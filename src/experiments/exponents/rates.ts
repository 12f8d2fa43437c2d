import { ValueError } from "../../base/errors.ts";
import { applyUpdates, make } from "../../optim/index.ts";
import { compile } from "../../tensor/compile.ts";
import { zeros } from "../../tensor/creation.ts";
import { valueAndGrad } from "../../tensor/grad.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
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

/** Learning rates of A and of B. */
export interface Rates {
  readonly a: number;
  readonly b: number;
}

/** Loss after training divided by the loss before it, by the rates of A and B. */
export type Trainer = (rates: Rates) => Promise<number>;

/**
 * A trainer of a linear layer from B = 0: the target is of low rank in the factors of the inputs. The data and A
 * are of the setting's seed, its optimizer's own learning rate is not used. All rates share one program.
 */
export async function trainer(setting: Setting, options: Partial<Regression> = {}): Promise<Trainer> {
  const { n, outputs, r, seed } = setting;
  const { factors, samples, steps, targetRank } = { ...regression, ...options };
  const optimizer = make({ ...setting.optimizer, lr: 1 });
  const scaling = scalingOf(setting).value;

  const draw = compile((seed: Tensor<"number">, size: Tensor<"number">) => {
    const key = random.key(1).fold(seed).fold(n).fold(r);
    const c = random.normal(key.fold("coefficients"), [samples, factors]).mul(1 / Math.sqrt(factors));
    const directions = random.normal(key.fold("directions"), [factors, n]);
    const inner = random.normal(key.fold("inner"), [factors, targetRank]).mul(1 / Math.sqrt(targetRank));
    const outer = random.normal(key.fold("outer"), [targetRank, outputs]);
    return {
      x: c.matmul(directions),
      y: c.matmul(inner).matmul(outer),
      A: random.normal(key.fold("A"), [r, n]).mul(size),
    };
  });
  const data = await draw(seed, 1 / Math.sqrt(n));
  const loss = (
    { loraA, loraB }: { readonly loraA: Tensor; readonly loraB: Tensor },
    x: Tensor,
    y: Tensor,
    s: Tensor<"number">,
  ) => x.matmul(loraA.transpose()).matmul(loraB.transpose()).mul(s).sub(y).square().mean() as Tensor;

  type Standing = {
    readonly params: { readonly loraA: Tensor; readonly loraB: Tensor };
    readonly state: ReturnType<typeof optimizer.init>;
  };
  const step = compile(
    (
      { params, state }: Standing,
      x: Tensor,
      y: Tensor,
      s: Tensor<"number">,
      a: Tensor<"number">,
      b: Tensor<"number">,
    ) => {
      const [value, gradients] = valueAndGrad(loss)(params, x, y, s);
      const [updates, next] = optimizer.update(gradients, state, params);
      const scaled = { loraA: updates.loraA.mul(a), loraB: updates.loraB.mul(b) };
      return { standing: { params: applyUpdates(params, scaled), state: next }, value };
    },
    { donate: [0] },
  );
  const final = compile(loss);

  return async ({ a, b }) => {
    // A copy, since the program uses its parameters up.
    const params = await tree.evaluate({ loraA: data.A.add(0), loraB: zeros([outputs, r]) as Tensor });
    let standing: Standing = { params, state: optimizer.init(params) };
    let first: Tensor | undefined;
    for (let t = 0; t < steps; t++) {
      const after = await step(standing, data.x, data.y, scaling, a, b);
      standing = after.standing;
      if (first) after.value.dispose();
      else first = after.value;
    }
    const last = await final(standing.params, data.x, data.y, scaling);
    const result = (await last.item()) / (await first!.item());
    tree.dispose([standing, first, last]);
    return result;
  };
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
  const trainers: Trainer[] = [];
  for (let i = 0; i < averaged; i++)
    trainers.push(await trainer({ ...setting, seed: averaged * setting.seed + i }, options));
  const rates = Array.from({ length: scanned.to - scanned.from + 1 }, (_, i) => 2 ** (scanned.from + i));
  const losses: number[] = [];
  for (const rate of rates) {
    const rateOfB = choice === "tied" ? rate : choice.lrB;
    const each: number[] = [];
    for (const train of trainers) each.push(Math.log(await train({ a: rate, b: rateOfB })));
    losses.push(Math.exp(mean(each)));
  }
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
