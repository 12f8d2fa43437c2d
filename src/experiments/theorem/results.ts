/**
 * What the theorem job found out, as it is written to `results.json`. Everything in it was measured or set by
 * the plan; nothing is computed from what the theory says should come out, except `expected`. Numbers that are not
 * finite are null in the file.
 */
export interface Results {
  /** Version of this layout. */
  readonly format: 2;
  readonly lorantz: string;
  readonly device: { readonly backend: string; readonly description: string };
  readonly seed: number;
  readonly steps: number;
  readonly seconds: number;
  readonly model: ModelFacts;
  /** How the model learned before it was frozen; absent for one that was given. */
  readonly pretraining?: Pretraining;
  readonly runs: readonly RunResult[];
  /** Runs whose outcome was as the theory predicts, and others. */
  readonly laws: { readonly held: number; readonly broken: number };
}

/** What an experiment finds; the caller adds where and when. */
export type Findings = Omit<Results, "format" | "lorantz" | "device" | "seconds">;

/** A model, and the examples that it is fine-tuned on. */
export interface ModelFacts {
  /** Its folder, for one that was given. */
  readonly name: string;
  readonly family: string;
  readonly data: string;
  readonly examples: number;
  /** Examples that the validation loss is of; the others are trained on. */
  readonly heldOut: number;
  readonly targetModules: "all-linear" | readonly string[];
  readonly batch: number;
  /** Tokens of an example at most. */
  readonly context: number;
  readonly parameters: number;
  readonly trainable: number;
}

export interface Pretraining {
  readonly data: string;
  readonly examples: number;
  readonly steps: number;
  readonly validation: Curve;
}

/** Losses on held-out examples, always the same. */
export interface Curve {
  /** After how many steps; the first is 0, the last all of them. */
  readonly steps: readonly number[];
  readonly losses: readonly number[];
}

/** Hyperparameters of one of the two parameter groups. */
export interface GroupFacts {
  readonly lr: number;
  readonly weightDecay: number;
  /** Absent for SGD. */
  readonly eps?: number;
}

export interface RunResult {
  /** Counts from 1, in the order of the runs. */
  readonly number: number;
  readonly name: string;
  readonly family: string;
  /** One sentence: what was changed. */
  readonly about: string;
  readonly optimizer: string;
  readonly r: number;
  readonly alpha: number;
  readonly a: GroupFacts;
  readonly b: GroupFacts;
  /** Training loss of every step. */
  readonly losses: readonly number[];
  readonly validation: Curve;
  /** Absent for a reference. */
  readonly comparison?: Comparison;
}

/** What the theory says about a run and its reference. */
export type Expectation =
  /** Same losses, and same parameters after rescaling, bit for bit. */
  | { readonly kind: "bitwise" }
  /** The same up to rounding: no loss deviates by more than the bound. */
  | { readonly kind: "rounding"; readonly bound: number }
  /** Another run: some loss deviates by more than the bound. */
  | { readonly kind: "different"; readonly bound: number };

/** A run against its reference. */
export interface Comparison {
  /** Number of the reference run. */
  readonly reference: number;
  /** Factors of the gauge: A' = a A, B' = b B, alpha' = k alpha. */
  readonly gauge: { readonly a: number; readonly b: number; readonly k: number };
  readonly expected: Expectation;
  /** The training and validation losses are equal, bit for bit. */
  readonly lossesBitwise: boolean;
  /** The largest |loss' - loss| / |loss| over all steps. */
  readonly lossDeviation: number;
  /** The steps after which A and B were compared. */
  readonly parameterSteps: readonly number[];
  /** A'/a and B'/b equal the reference's A and B, bit for bit, at all these steps. */
  readonly parametersBitwise: boolean;
  /** The largest |theta'/c - theta| / |theta| (norms) over tensors and steps. */
  readonly parameterDeviation: number;
  readonly asPredicted: boolean;
}
