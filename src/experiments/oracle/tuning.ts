import * as lora from "../../lora/index.ts";
import type { Params } from "../../nn/index.ts";
import * as optim from "../../optim/index.ts";
import { scalar, tensor } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { gradientsOf, updated } from "../../train/step.ts";
import { Unsupported } from "./case.ts";
import type { Engine } from "./engine.ts";
import type { Fields } from "./fields.ts";

/** A fine-tuning of adapters, as reference files describe it. */
export interface Tuning {
  /** Trained parameters, with undefined where others are. */
  readonly trained: Params;
  readonly loss: (trained: Params) => Tensor;
  readonly optimizer: optim.Optimizer;
  readonly clipNorm: number | undefined;
  readonly steps: number;
  readonly progress: (what: string) => void;
}

/** What it left on the way. */
export interface Tuned {
  readonly losses: readonly number[];
  /** Of all gradients together, before they are clipped. */
  readonly norms: readonly number[];
  /** Of the first updates, before they are clipped. */
  readonly gradients: readonly Params[];
  readonly trained: Params;
}

export async function tune(
  { trained: start, loss, optimizer, clipNorm, steps, progress }: Tuning,
  engine: Engine,
): Promise<Tuned> {
  const clipping: optim.Optimizer =
    clipNorm === undefined
      ? optimizer
      : {
          ...optimizer,
          update: (gradients, state, own) =>
            optimizer.update(optim.clipByGlobalNorm(gradients, clipNorm).gradients, state, own),
        };
  let trained = start;
  // As values, so that the first update is the program of all.
  let state = await engine.evaluate(optimizer.init(trained));
  const [losses, norms, first]: [number[], number[], Params[]] = [[], [], []];
  for (let t = 0; t < steps; t++) {
    progress(`update ${t + 1} of ${steps}`);
    const { loss: value, gradients } = gradientsOf(loss, trained, {}, {}, {});
    // Gradients of all updates, though two are looked at: so it is one program.
    const done = await engine.evaluate({
      ...updated(clipping, gradients, state, trained),
      value,
      gradients,
    });
    ({ params: trained, state } = done);
    losses.push(await done.value.item());
    norms.push(await done.norm.item());
    if (t < 2) first.push(done.gradients);
  }
  return { losses, norms, gradients: first, trained };
}

/** The learning rates of a run. */
export function ratesOf(fields: Fields): { readonly lrA: number; readonly lrB: number } {
  return { lrA: fields.number("lrA"), lrB: fields.number("lrB") };
}

/** The optimizer of a run: one rate for A, one for B, each times the factor of the update. */
export function optimizerOf(
  hyper: Fields,
  name: string,
  rates: { readonly lrA: number; readonly lrB: number },
  factors: readonly number[] | undefined,
): optim.Optimizer {
  if (!optim.isOptimizerName(name)) throw new Unsupported(`the optimizer ${name} is not known`);
  const fields = Object.keys(optim.rules[name].fields);
  const given = Object.fromEntries(
    fields
      .filter((field) => hyper.has(field))
      .map((field) => [field, field === "betas" ? hyper.numbers(field) : numberOrFlag(hyper, field)]),
  );
  const role = (wanted: lora.Role) => (path: string) => lora.roleOf(path) === wanted;
  const config = {
    ...{ name, lr: rates.lrA, ...given },
    groups: [
      { ...given, lr: rates.lrA, match: role("A") },
      { ...given, lr: rates.lrB, match: role("B") },
    ],
    ...(factors && { schedule: listedSchedule(factors) }),
  };
  return optim.make(config as optim.OptimizerConfig); // `make` checks every field
}

function numberOrFlag(hyper: Fields, field: string): number | boolean {
  return field === "nesterov" || field === "amsgrad" ? hyper.boolean(field) : hyper.number(field);
}

function listedSchedule(factors: readonly number[]): optim.Schedule {
  return (step) =>
    factors.reduce((found, factor, i) => where(step.eq(i), scalar(factor), found), scalar(0)) as typeof step;
}

/**
 * Sum, sum of squares, and sum of each entry times its place modulo 97 plus 1; and what the last is without signs. Sums in
 * which signs cancel have errors that are small beside it, not beside themselves.
 */
export async function checksums(x: Tensor): Promise<{ readonly sums: Tensor; readonly size: number }> {
  let [sum, squares, places, size] = [0, 0, 0, 0];
  (await x.data()).forEach((value, i) => {
    sum += value;
    squares += value * value;
    places += value * ((i % 97) + 1);
    size += Math.abs(value) * ((i % 97) + 1);
  });
  return { sums: tensor(Float64Array.of(sum, squares, places)), size };
}
