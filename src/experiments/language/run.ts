import { Hash } from "../../base/hash.ts";
import type { Recipe } from "../../gauge/index.ts";
import type { Pattern } from "../../lora/targets.ts";
import type { SophiaSetting } from "./sophia.ts";
import type { Task } from "./tasks.ts";

/** A fine-tuning as plain data: what is not here does not change it. */
export interface Run {
  readonly task: Task;
  readonly recipe: Recipe;
  /** Layers that get an adapter. Default "all-linear". */
  readonly targets?: "all-linear" | readonly string[];
  readonly ranks?: Pattern;
  /** How the frozen weights are kept. Default in float32. */
  readonly weights?: "nf4" | "int8";
  /** The adapters start from the gradient on the first 64 examples, as LoRA-GA's, in place of the recipe's start. */
  readonly start?: "gradient";
  /** What trains in place of the recipe's optimizer. */
  readonly sophia?: SophiaSetting;
  /** Of the base that the recipe trains, only its vectors: the weights of normalisations. */
  readonly vectors?: true;
  readonly steps: number;
  /** Examples of a batch. Default 16. */
  readonly batch?: number;
  /** Examples to learn from, that go round. Default 2048. */
  readonly examples?: number;
  /** Of the start of the adapter, the order of the examples and dropout: equal seeds are a pair. */
  readonly seed: number;
  /** How often the loss on held-out examples is taken, evenly; the last is that of the end. Default 1. */
  readonly looks?: number;
  /** What is measured besides. */
  readonly probes?: readonly Probe[];
}

/** A measurement, at the end of a run where it does not say otherwise. */
export type Probe =
  /** Another task, before and after. */
  | { readonly kind: "task"; readonly task: Task }
  /** The loss on examples that were learned, at the end. */
  | { readonly kind: "learned" }
  /** The held-out loss with the adapter times so much. */
  | { readonly kind: "strengths"; readonly at: readonly number[] }
  /** Norms and singular values of A, B and of the weights' changes. */
  | { readonly kind: "spectra" }
  /** The largest eigenvalue of the Hessian in the weights' changes. */
  | { readonly kind: "curvature"; readonly rounds: number }
  /** That at the start, in what is trained: of the gauge, as learning rates are. */
  | { readonly kind: "start"; readonly rounds: number }
  /** Singular vectors of the weights that the base has not, and the rank of the change. */
  | { readonly kind: "change" };

/** A loss over held-out examples. */
export interface Seen {
  readonly loss: number;
  /** The share of tokens that were predicted. */
  readonly accuracy: number;
}

export interface RunResult {
  /** Over held-out examples. Where the run diverged, that of knowing nothing: the logarithm of the vocabulary. */
  readonly loss: number;
  readonly accuracy: number;
  /** Along the way, from the start on. Earlier results have no accuracy there. */
  readonly curve: readonly { readonly step: number; readonly loss: number; readonly accuracy?: number }[];
  /** The loss of each step. */
  readonly losses: readonly number[];
  /** The update in which a loss or a gradient was not finite. */
  readonly diverged?: number;
  readonly trained: number;
  /** By the number of the probe. */
  readonly probes: readonly { readonly [name: string]: number }[];
  readonly seconds: number;
}

/** A run has another key once runs of its data mean something else. */
const version = 1;

/** 16 hexadecimal digits, for a run on a base of some key: equal where the result is the same run's. */
export function keyOf(run: Run, base: string): string {
  return new Hash().add(`run ${version} ${base} `).add(canonical(run)).toString();
}

/** JSON with sorted fields. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const fields = Object.entries(value).filter(([, each]) => each !== undefined);
  fields.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${fields.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join(",")}}`;
}
