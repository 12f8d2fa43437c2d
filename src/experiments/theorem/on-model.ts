import type { Targets } from "../../lora/index.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import * as tree from "../../tensor/tree.ts";
import { type Batch, batches, type Dataset } from "../../text/index.ts";
import { languageLoss } from "../../train/index.ts";
import type { ProveOptions } from "./experiment.ts";
import { plan } from "./plan.ts";
import type { Findings } from "./results.ts";
import { fineTunings } from "./runs.ts";

/** A model that was trained elsewhere, and the examples that it is fine-tuned on. */
export interface Checkpoint {
  /** For the report. */
  readonly folder: string;
  readonly family: string;
  readonly model: Layer<Params, DecoderInput, DecoderOutput>;
  readonly params: Params;
  readonly data: Dataset;
  readonly targetModules: Targets;
  /** Examples of a batch. */
  readonly batch: number;
}

/** The share of the examples that the validation loss is of, and how many batches of it at most. */
const heldOutShare = 0.1;
const heldOutBatches = 4;

/** Fine-tunes a given model on examples by every recipe of the plan, and compares each run with its reference. */
export async function proveOn(checkpoint: Checkpoint, options: ProveOptions): Promise<Findings> {
  const { folder, family, model, params, data, targetModules, batch } = checkpoint;
  const { seed, steps, runs = plan, onStep } = options;
  const [learned, heldOut] = data.split(heldOutShare);
  const unseen = await batches(heldOut, { size: batch });
  const validation: Batch[] = [];
  for (let i = 0; i < Math.min(unseen.count!, heldOutBatches); i++) validation.push(await unseen.at(i));
  const total = runs.length * steps;
  let done = 0;
  const { trainable, ...found } = await fineTunings({
    model,
    params,
    targetModules,
    lossOf: languageLoss,
    batches: await batches(learned, { size: batch, seed }),
    validation,
    seed,
    steps,
    runs,
    ticker: (what) => async () => {
      done++;
      await onStep?.(done, total, what);
    },
  });
  return {
    seed,
    steps,
    model: {
      folder,
      family,
      data: data.name,
      examples: data.length,
      heldOut: heldOut.length,
      targetModules: targetModules === "all-linear" ? targetModules : targetModules.map(String),
      batch,
      context: unseen.lengths.at(-1)!,
      parameters: tree.count(params),
      trainable,
    },
    ...found,
  };
}
