import type { Params } from "../../nn/layer.ts";
import * as tree from "../../tensor/tree.ts";
import { type TrainOptions, train } from "../../train/index.ts";
import type { Curve } from "./results.ts";

export interface RunOptions<B>
  extends Pick<TrainOptions<Params, B>, "params" | "optimizer" | "recipe" | "loss" | "batches" | "steps"> {
  /** One batch, or several. */
  readonly validation: readonly B[];
  /** Steps from one loss on the validation batch to the next. */
  readonly every: number;
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
  /** All parameters. */
  readonly params: Params;
  /** Those that were trained, with undefined where the others are. */
  readonly trained: Params;
  /** Training loss of every step. */
  readonly losses: Float32Array;
  readonly validation: Curve;
  readonly snapshots: readonly Snapshot[];
}

/** Trains a language model, with its losses and some snapshots on the host. Losses that are not finite end nothing. */
export async function trainModel<B>(options: RunOptions<B>): Promise<Trained> {
  const { validation, every, snapshotSteps, onStep, ...how } = options;
  const run = train({ ...how, evaluate: { batches: validation, every }, nonFinite: "continue" });
  const snapshots: Snapshot[] = [];
  for await (const { kind, step } of run) {
    if (kind !== "step") continue;
    await onStep();
    if (snapshotSteps.includes(step)) snapshots.push(await read(run.trained, step));
  }
  return {
    params: run.params,
    trained: run.trained,
    losses: Float32Array.from(run.losses),
    validation: {
      steps: run.evaluations.map(({ step }) => step),
      losses: run.evaluations.map(({ loss }) => loss),
    },
    snapshots,
  };
}

async function read(params: Params, step: number): Promise<Snapshot> {
  const tensors = new Map<string, Float32Array>();
  // All parameters are float32.
  for (const [path, leaf] of tree.entries(params)) tensors.set(path, (await leaf.data()) as Float32Array);
  return { step, tensors };
}
