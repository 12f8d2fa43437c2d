export type { Batches, GivenBatches } from "./batches.ts";
export {
  type Checkpoint,
  inFolder,
  loadCheckpoint,
  type Save,
  type Setup,
} from "./checkpoint.ts";
export { type Evaluation, type Evaluator, evaluator } from "./evaluate.ts";
export {
  type CheckpointEvent,
  DivergedError,
  type EvaluationEvent,
  type StepEvent,
  type TrainEvent,
} from "./events.ts";
export { ignored, type Loss, languageLoss, nextToken, type Terms } from "./loss.ts";
export {
  type CheckpointOptions,
  type EvaluateOptions,
  type Training,
  type TrainOptions,
  train,
} from "./train.ts";
