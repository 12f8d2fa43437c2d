import type { Params } from "../../nn/layer.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch } from "../../text/index.ts";
import { type EvaluationEvent, type TrainOptions, train } from "../../train/index.ts";
import type { Curve } from "./results.ts";

export interface RunOptions
  extends Pick<TrainOptions<Params, Batch>, "params" | "recipe" | "loss" | "batches" | "steps"> {
  readonly validation: readonly Batch[];
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
  /** The parameters that were trained, with undefined where the others are. */
  readonly trained: Params;
  /** Training loss of every step. */
  readonly losses: Float32Array;
  readonly validation: Curve;
  readonly snapshots: readonly Snapshot[];
}

/** Fine-tunes a language model, with its losses and some snapshots on the host. Losses that are not finite end nothing. */
export async function trainModel(options: RunOptions): Promise<Trained> {
  const { validation, every, snapshotSteps, onStep, ...how } = options;
  const run = train({ ...how, evaluate: { batches: validation, every }, nonFinite: "continue" });
  const snapshots: Snapshot[] = [];
  for await (const { kind, step } of run) {
    if (kind !== "step") continue;
    await onStep();
    if (snapshotSteps.includes(step)) snapshots.push(await read(run.trained, step));
  }
  return {
    trained: run.trained,
    losses: Float32Array.from(run.losses),
    validation: curveOf(run.evaluations),
    snapshots,
  };
}

/** The losses of evaluations. */
export function curveOf(evaluations: readonly EvaluationEvent[]): Curve {
  return { steps: evaluations.map(({ step }) => step), losses: evaluations.map(({ loss }) => loss) };
}

async function read(params: Params, step: number): Promise<Snapshot> {
  const tensors = new Map<string, Float32Array>();
  // All parameters are float32.
  for (const [path, leaf] of tree.entries(params)) tensors.set(path, (await leaf.data()) as Float32Array);
  return { step, tensors };
}
