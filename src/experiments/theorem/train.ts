import { crossEntropy } from "../../nn/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import { applyUpdates, type Optimizer } from "../../optim/index.ts";
import { compile } from "../../tensor/compile.ts";
import { arange, tensor } from "../../tensor/creation.ts";
import { where } from "../../tensor/functions.ts";
import { valueAndGrad } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch, Batches } from "./corpus.ts";
import type { Curve } from "./results.ts";

export interface TrainOptions {
  readonly model: Layer;
  readonly optimizer: Optimizer;
  /** Parameters to train; they are used up. */
  readonly trainable: Params;
  /** The other parameters, with undefined where `trainable` has a tensor. */
  readonly frozen: Params;
  /** One batch for each step. */
  readonly batches: Batches;
  readonly validation: Batch;
  /** Steps after which the loss on the validation batch is taken. */
  readonly validationSteps: readonly number[];
  /** Steps after which the trained parameters are read. */
  readonly snapshotSteps: readonly number[];
  /** Called after each step; may wait, and may throw to end the training. */
  readonly onStep: () => Promise<void>;
}

/** Parameters after some step, on the host, by path. */
export interface Snapshot {
  readonly step: number;
  readonly tensors: ReadonlyMap<string, Float32Array>;
}

export interface Trained {
  readonly trainable: Params;
  /** Training loss of every step. */
  readonly losses: Float32Array;
  readonly validation: Curve;
  readonly snapshots: readonly Snapshot[];
}

/**
 * Trains some of a model's parameters. The losses are collected on the device and read once at the end, so that
 * no step waits for the host.
 */
export async function train(options: TrainOptions): Promise<Trained> {
  const { model, optimizer, frozen, batches, validation, validationSteps, snapshotSteps, onStep } = options;
  const loss = (trainable: Params, rest: Params, { x, y }: Batch): Tensor =>
    crossEntropy(model.apply(tree.combine<Params>(rest, trainable), x), y);

  const step = compile(
    (
      trainable: Params,
      state: ReturnType<Optimizer["init"]>,
      log: Tensor,
      rest: Params,
      batch: Batch,
      at: Tensor<"number">,
    ) => {
      const [value, gradients] = valueAndGrad(loss)(trainable, rest, batch);
      const [updates, next] = optimizer.update(gradients, state, trainable);
      return {
        trainable: applyUpdates(trainable, updates),
        state: next,
        log: where(arange(batches.count).eq(at), value, log),
      };
    },
    { donate: [0, 1, 2] },
  );
  const evaluateLoss = compile(loss);

  let { trainable } = options;
  let state = optimizer.init(trainable);
  let log: Tensor = tensor(new Float32Array(batches.count));
  const validated: Tensor[] = [];
  const snapshots: Snapshot[] = [];
  for (let done = 0; done <= batches.count; done++) {
    if (done > 0) {
      ({ trainable, state, log } = await step(trainable, state, log, frozen, batches.at(done - 1), done - 1));
      await onStep();
    }
    if (validationSteps.includes(done)) validated.push(await evaluateLoss(trainable, frozen, validation));
    if (snapshotSteps.includes(done)) snapshots.push(await read(trainable, done));
  }
  const losses = await Promise.all(validated.map((loss) => loss.item()));
  return { trainable, losses: await float32(log), validation: { steps: validationSteps, losses }, snapshots };
}

async function read(params: Params, step: number): Promise<Snapshot> {
  const tensors = new Map<string, Float32Array>();
  for (const [path, leaf] of tree.entries(params)) tensors.set(path, await float32(leaf));
  return { step, tensors };
}

async function float32(x: Tensor): Promise<Float32Array> {
  return (await x.data()) as Float32Array; // all parameters and losses here are float32
}
