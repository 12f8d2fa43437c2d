import type { Seen, View } from "./duel.ts";
import type { Experiment, Multiplier, RunName } from "./experiment.ts";

// What the page and its worker say to each other.

export type Backend = "auto" | "cpu" | "webgpu";

/** A training of the rank's sweep. */
export interface Trial {
  readonly rank: number;
  readonly multiplier: Multiplier;
  readonly lr: number;
  /** NaN where it left the range of numbers. */
  readonly loss: number;
}

export type Request =
  /** Begin an experiment anew; what was going on is dropped. */
  | {
      readonly kind: "start";
      readonly id: number;
      readonly experiment: Experiment;
      readonly backend: Backend;
      /** Where the frozen model of the language task lies, or a checkpoint of the reader's own. */
      readonly checkpoint: string | readonly File[];
    }
  /** Train so many updates. */
  | { readonly kind: "run"; readonly id: number; readonly updates: number }
  | { readonly kind: "pause" }
  /** Look again, with so much of the adapters. */
  | { readonly kind: "look"; readonly id: number; readonly strength: number }
  /** The adapter of a run, in files of a tool. */
  | { readonly kind: "adapter"; readonly id: number; readonly run: RunName; readonly format: "peft" | "mlx" }
  /** Losses over rates for several ranks and multipliers. */
  | { readonly kind: "sweep"; readonly id: number };

export type Answer =
  | { readonly kind: "progress"; readonly id: number; readonly share: number; readonly of: string }
  | { readonly kind: "ready"; readonly id: number; readonly device: string; readonly gpu: string }
  | { readonly kind: "seen"; readonly id: number; readonly seen: readonly Seen[] }
  | { readonly kind: "view"; readonly id: number; readonly view: View }
  | { readonly kind: "paused"; readonly id: number }
  | { readonly kind: "trial"; readonly id: number; readonly trial: Trial; readonly left: number }
  | { readonly kind: "files"; readonly id: number; readonly files: Readonly<Record<string, Blob>> }
  | { readonly kind: "failed"; readonly id: number; readonly words: string };
