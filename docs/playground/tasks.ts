import type { random, Tensor } from "lorantz";
import type { FolderSource } from "lorantz/io";
import type * as lora from "lorantz/lora";
import type * as nn from "lorantz/nn";
import type { Experiment } from "./experiment.ts";
import { linear } from "./linear.ts";
import { picture } from "./picture.ts";

// What the two runs learn: a frozen model, batches by the number of the update, a loss, and what one looks at.

/** Tensors by their names. */
export type Batch = Readonly<Record<string, Tensor>>;

/** What a gauge and a rank say of an adapter. */
export type AdapterNumbers = Pick<lora.InjectConfig, "r" | "alpha" | "rsLora" | "initScale">;

/** A model with adapters. */
export interface Learner {
  readonly model: lora.Adapted<never, unknown>;
  init(key: random.Key): nn.Params;
  loss(params: nn.Params, batch: Batch): Tensor;
  /** What it has learned, to be looked at. */
  look?(params: nn.Params): Promise<Look>;
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue from 0 to 1, row by row. */
  readonly pixels: readonly number[];
}

/** What is looked at beside numbers: a picture, or texts behind prompts. */
export interface Look {
  readonly picture?: Picture;
  readonly texts?: readonly string[];
}

export interface Task {
  /** The frozen parameters. */
  readonly params: nn.Params;
  learner(numbers: AdapterNumbers): Learner;
  batch(update: number): Batch | Promise<Batch>;
  /** The singular values that the change of the weight at a path needs, where they are known. */
  readonly needed?: Readonly<Record<string, readonly number[]>>;
  /** What should be seen. */
  readonly target?: Look;
  /** What texts go on with. */
  readonly prompts?: readonly string[];
  /** Updates from one look to the next; by default as often as the page is drawn. */
  readonly lookEvery?: number;
}

/** Progress of what is made before the first update, from 0 to 1. */
export type Progress = (share: number) => void;

/** @param checkpoint The frozen model of the language task. */
export async function taskOf(
  experiment: Experiment,
  progress: Progress,
  checkpoint: FolderSource,
): Promise<Task> {
  const { task, seed, teacher } = experiment;
  switch (task) {
    case "linear":
      return linear(seed, teacher);
    case "picture":
      return picture(seed, progress);
    case "language":
      // Models and tokenizers are loaded where they are wanted.
      return (await import("./language.ts")).language(seed, checkpoint);
    default:
      return task satisfies never;
  }
}
