import { Hash } from "../../base/hash.ts";
import type { Recipe } from "../../gauge/index.ts";
import { inject } from "../../lora/index.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import type { Gang } from "../../tensor/gang.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch } from "../../text/index.ts";
import { type Batches, DivergedError, languageLoss, train } from "../../train/index.ts";
import { type Cell, keyOf, type OnProgress } from "./cell.ts";

/** A fine-tuning of a sweep. */
export interface SweepTask<S = unknown> {
  /** The version of the code: what another one computes has other bits. */
  readonly code: string;
  readonly recipe: Recipe;
  /** Gives initial values, the order of the examples, and dropout. */
  readonly seed: number;
  readonly setting: Setting;
  /** Where whoever works at it finds model and data; it does not tell a cell from others. */
  readonly sources: S;
}

/** What a fine-tuning depends on beside its recipe and seed. */
export interface Setting {
  /** Fingerprints of the model, of the examples to learn from, and of those to evaluate on. */
  readonly model: string;
  readonly data: string;
  readonly heldOut: string;
  readonly backend: string;
  /** How frozen weights are kept. */
  readonly weights: string;
  readonly targetModules: "all-linear" | readonly string[];
  readonly batch: { readonly size: number; readonly accumulate: number; readonly pack: boolean };
  readonly steps: number;
  /** Updates from one evaluation to the next. */
  readonly every: number;
}

/** What came of a fine-tuning. Numbers that are not finite are null in a file. */
export interface Outcome {
  readonly ended: "steps" | "diverged";
  /** What diverged, and when. */
  readonly diverged?: { readonly step: number; readonly message: string };
  /** The loss of each update. */
  readonly losses: readonly number[];
  readonly evaluations: readonly {
    readonly step: number;
    readonly loss: number;
    readonly accuracy?: number;
  }[];
  /** Equal where all losses and gradient norms were, to the last bit. */
  readonly trajectory: string;
}

/** Tells a model from others: its configuration, the names of its parameters, and all their values. */
export async function modelKey(config: object, params: unknown): Promise<string> {
  const hash = new Hash().add(JSON.stringify(config));
  for (const [path, leaf] of tree.entries(params)) hash.add(`${path} ${leaf}`).addWords(await leaf.data());
  return hash.toString();
}

/** The cell of a fine-tuning: its key follows from recipe, seed, data, model and code. */
export function cellOf<S>(task: SweepTask<S>): Cell<SweepTask<S>> {
  const { sources: _, ...what } = task;
  return { key: keyOf(what), task };
}

/** What fine-tunings are made of, open. */
export interface Bench {
  readonly model: Layer<Params, DecoderInput, DecoderOutput>;
  readonly params: Params;
  /** The batches to learn from, in the order of a seed. */
  readonly batches: (seed: number) => Promise<Batches<Batch>>;
  readonly heldOut: Batches<Batch>;
  /** Beside which others a fine-tuning runs. */
  readonly gang: Gang;
}

/** Runs a fine-tuning. One that diverges has an outcome too: it would diverge again. */
export function fineTune(
  { recipe, seed, setting }: Omit<SweepTask, "sources" | "code">,
  bench: Bench,
  onProgress: OnProgress,
): Promise<Outcome> {
  return bench.gang.run(() => alone({ recipe, seed, setting }, bench, onProgress));
}

async function alone(
  { recipe, seed, setting }: Omit<SweepTask, "sources" | "code">,
  { model, params: frozen, batches, heldOut, gang }: Bench,
  onProgress: OnProgress,
): Promise<Outcome> {
  const { targetModules, steps, every, batch } = setting;
  const adapted = inject(model, { ...recipe, targetModules });
  const run = train({
    params: await tree.evaluate(adapted.init(key(seed).fold("adapters"), frozen)),
    loss: languageLoss(adapted),
    recipe,
    batches: await batches(seed),
    steps,
    accumulate: batch.accumulate,
    key: key(seed).fold("dropout"),
    evaluate: { batches: heldOut, every },
    gang,
  });
  let diverged: DivergedError | undefined;
  try {
    for await (const event of run)
      if (event.kind === "step")
        await onProgress(event.step, steps, `step ${event.step}: loss ${event.loss.toFixed(4)}`);
  } catch (error) {
    if (!(error instanceof DivergedError)) throw error;
    diverged = error;
  }
  const outcome: Outcome = {
    ended: diverged ? "diverged" : "steps",
    ...(diverged && { diverged: { step: diverged.step, message: diverged.message } }),
    losses: [...run.losses],
    evaluations: run.evaluations.map(({ step, loss, accuracy }) => ({
      step,
      loss,
      ...(accuracy !== undefined && { accuracy }),
    })),
    trajectory: run.hash,
  };
  tree.dispose([run.trained, run.state]);
  return outcome;
}
