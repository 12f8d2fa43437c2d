import { LorantzError } from "../base/errors.ts";
import type { Evaluation } from "./evaluate.ts";

/** After an update. */
export interface StepEvent {
  readonly kind: "step";
  /** Updates done. */
  readonly step: number;
  /** The mean over all that counted in the batches of the update, before it. */
  readonly loss: number;
  /** How much counted. */
  readonly count: number;
  /** The norm of all gradients together, before they were clipped. */
  readonly norm: number;
}

/** After an evaluation. */
export interface EvaluationEvent extends Evaluation {
  readonly kind: "evaluation";
  /** Updates done. */
  readonly step: number;
  /** Whether no earlier evaluation had a smaller or equal loss. */
  readonly best: boolean;
}

/** Which of a run's checkpoints: the latest, or that of the smallest evaluated loss. */
export type CheckpointName = "last" | "best";

/** After a checkpoint was saved. */
export interface CheckpointEvent {
  readonly kind: "checkpoint";
  /** Updates done. */
  readonly step: number;
  readonly name: CheckpointName;
}

export type TrainEvent = StepEvent | EvaluationEvent | CheckpointEvent;

/** A loss or gradient that is not finite ended a run. */
export class DivergedError extends LorantzError {
  override readonly name = "DivergedError";
  /** The update, counted from 1. */
  readonly step: number;
  /** The path of the first parameter whose gradient is not finite, if there is one. */
  readonly parameter: string | undefined;

  constructor(message: string, step: number, parameter: string | undefined) {
    super(message);
    this.step = step;
    this.parameter = parameter;
  }
}
