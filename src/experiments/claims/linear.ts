import type { FloatDType, HostArray } from "../../base/dtype.ts";
import { applyMatrix, type Gauge, type MatrixGauge, type Recipe } from "../../gauge/index.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import type { Schedule } from "../../optim/index.ts";
import { compile } from "../../tensor/compile.ts";
import { scalar } from "../../tensor/creation.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { train } from "../../train/index.ts";

/**
 * The linear teacher: a frozen layer, and targets of another one that differs from it by a matrix of some rank. So
 * the best reachable loss is known, and a run takes milliseconds.
 */
export interface Teacher {
  readonly inputs: number;
  readonly outputs: number;
  readonly samples: number;
  /** Rank of the weight change that solves the task. */
  readonly rank: number;
  readonly loss: "mse" | "l1";
  readonly dtype: FloatDType;
  /** Targets are normal numbers, and no teacher's. */
  readonly noise: boolean;
}

export const teacher: Teacher = {
  ...{ inputs: 32, outputs: 24, samples: 48, rank: 4, loss: "mse", dtype: "float64", noise: false },
};

export interface RunOptions extends Partial<Teacher> {
  readonly seed: number;
  readonly steps: number;
  readonly schedule?: Schedule;
  /** Mixes the components of the adapter at the start. */
  readonly mixed?: MatrixGauge;
}

/** A fine-tuning on the host: the losses before each step and after the last, and where A and B ended. */
export interface Run {
  readonly losses: readonly number[];
  /** Outputs of the layer on the training inputs at the end. */
  readonly outputs: HostArray;
  readonly A: HostArray;
  readonly B: HostArray;
}

const losses = { mse: nn.mseLoss, l1: nn.l1Loss };

/** Trains the adapter of a recipe on the teacher of a seed. */
export async function fineTune(recipe: Recipe, options: RunOptions): Promise<Run> {
  const { inputs, outputs, samples, rank, loss, dtype, noise } = { ...teacher, ...options };
  const { seed, steps, schedule, mixed } = options;
  const model = lora.inject(nn.linear(inputs, outputs, { bias: false, dtype }), {
    ...recipe,
    targetModules: "all-linear",
  });
  const key = random.key(2).fold(seed);
  const draw = (name: string, shape: readonly number[], size: number) =>
    random.normal(key.fold(name), shape).astype(dtype).mul(scalar(size)) as Tensor;
  const x = draw("x", [samples, inputs], 1);
  const start = model.init(key.fold("layer"));
  const params = await tree.evaluate(mixed ? applyMatrix(mixed, start) : start);
  const change = draw("left", [inputs, rank], 1 / Math.sqrt(inputs)).matmul(
    draw("right", [rank, outputs], 1 / Math.sqrt(rank)),
  );
  const taught = model.base.apply(params, x).add(x.matmul(change));
  const y = noise ? draw("targets", [samples, outputs], 1) : taught;
  await tree.evaluate([x, y]);

  const training = train({
    params,
    loss: (own: nn.Params, data: { readonly x: Tensor; readonly y: Tensor }, context) =>
      losses[loss](model.apply(own, data.x, context), data.y),
    recipe,
    ...(schedule && { schedule }),
    batches: () => ({ x, y }),
    steps,
    key: key.fold("dropout"),
    nonFinite: "continue",
  });
  await training.toEnd();
  const look = compile((own: nn.Params) => {
    const output = model.apply(own, x);
    return { output, loss: losses[loss](output, y) };
  });
  const last = await look(training.params);
  const trained = training.params as { loraA: Tensor; loraB: Tensor }; // of an adapted linear layer
  const run = {
    losses: [...training.losses, await last.loss.item()],
    outputs: await last.output.data(),
    A: await trained.loraA.data(),
    B: await trained.loraB.data(),
  };
  tree.dispose([training.params, training.state, last, x, y]);
  return run;
}

/** The largest difference between two traces of losses, relative to the reference's first loss. */
export function deviation(losses: readonly number[], reference: readonly number[]): number {
  const distances = reference.map((loss, i) => Math.abs(losses[i]! - loss));
  return Math.max(...distances) / Math.abs(reference[0]!);
}

/**
 * The distance between the weight changes s B A that two runs of one shape ended with, relative to that of the
 * reference (Frobenius norms).
 */
export function changeApart(
  [run, s]: readonly [run: Run, s: number],
  [reference, t]: readonly [run: Run, s: number],
  r: number,
): number {
  const [outputs, inputs] = [reference.B.length / r, reference.A.length / r];
  const entry = ({ A, B }: Run, i: number, j: number) =>
    Array.from({ length: r }, (_, k) => B[i * r + k]! * A[k * inputs + j]!).reduce((a, b) => a + b, 0);
  let [distance, size] = [0, 0];
  for (let i = 0; i < outputs; i++) {
    for (let j = 0; j < inputs; j++) {
      const own = t * entry(reference, i, j);
      distance += (s * entry(run, i, j) - own) ** 2;
      size += own ** 2;
    }
  }
  return Math.sqrt(distance / size);
}

/** How many numbers of a run, once A and B are divided by the gauge's factors, are not those of the reference. */
export function bitsApart(run: Run, reference: Run, g: Gauge): number {
  const differing = (xs: ArrayLike<number>, ys: ArrayLike<number>, c: number) =>
    Array.prototype.filter.call(xs, (x: number, i: number) => !Object.is(x / c, ys[i])).length;
  return (
    differing(run.losses, reference.losses, 1) +
    differing(run.outputs, reference.outputs, 1) +
    differing(run.A, reference.A, g.a) +
    differing(run.B, reference.B, g.b)
  );
}
