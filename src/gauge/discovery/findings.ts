/** A power that holds for some updates in a row. */
export interface Phase {
  readonly from: number;
  readonly to: number;
  readonly power: number;
}

/** A hyperparameter whose power the experiments leave open; 0 will do. */
export interface OpenPower {
  readonly name: string;
  /** Others that must change along with it if it is not 0; none where the hyperparameter has no effect. */
  readonly along: readonly string[];
}

/** The powers of c found for hyperparameters and state. */
export interface FoundPowers {
  /** By path; the two of a pair as one where they agree, else as `stepSizes.0` and `stepSizes.1`. */
  readonly hyper: Readonly<Record<string, number>>;
  /** For the names in `perUpdate`, which are not in `hyper`. */
  readonly phases: Readonly<Record<string, readonly Phase[]>>;
  /** By slot; the items of a list as one, `history.*`, where they agree. */
  readonly state: Readonly<Record<string, number>>;
}

/** What the experiments looked at: a statement holds for that, and says nothing of the rest. */
export interface Looked {
  /** Shapes of the tensors, `[2,3]`; of both factors for a pair, `[2,3] and [4,2]`. */
  readonly shapes: readonly string[];
  /** Shapes that the optimizer refused, with its words. */
  readonly refusedShapes: Readonly<Record<string, string>>;
  /** Updates in a row for which runs agreed, and the numbers of updates to which counters were set ahead. */
  readonly updates: number;
  readonly late: readonly number[];
  /** The least and the largest size of what is not zero. */
  readonly gradients: Range;
  readonly parameters: Range;
  /** The least and the largest c. */
  readonly factors: Range;
  /** Why c went no further, where numbers left the range of their dtype. */
  readonly limits: readonly string[];
  /** Values at which hyperparameters were tried, beside those given. */
  readonly tried: Readonly<Record<string, number>>;
  /** Hyperparameters that were left as they are, with the reason. */
  readonly untried: Readonly<Record<string, string>>;
}

export type Range = readonly [least: number, largest: number];

/** An optimizer that follows c theta exactly if its hyperparameters and state are multiplied by powers of c. */
export interface Symmetry extends FoundPowers {
  readonly exists: true;
  readonly optimizer: string;
  /** Whether every bit agreed for powers of two; else rounding differs, by `deviation` at most. */
  readonly bitwise: boolean;
  /** Largest difference for any c, relative to the largest element of the tensor. */
  readonly deviation: number;
  /** What parameters, gradients or c must be, where it does not hold for all. */
  readonly needs: readonly string[];
  readonly open: readonly OpenPower[];
  readonly looked: Looked;
  /** All of it in words. */
  readonly text: string;
}

/** An element that is not what the powers say. */
export interface Mismatch {
  /** The update, from 1; 0 for the initial state. */
  readonly update: number;
  /** "update", or the slot of the state. */
  readonly where: string;
  /** Row-major position in the tensor. */
  readonly element: number;
  /** The original run's number times its power of c. */
  readonly expected: number;
  readonly found: number;
}

/** A run and its partner at c that part ways. */
export interface Counterexample extends Mismatch {
  readonly c: number;
  /** The gradients of the original run up to that update: all elements, one row for each update. */
  readonly gradients: readonly (readonly number[])[];
  /** |found - expected| / |expected|. */
  readonly relative: number;
  /** What kind of gradients these are, and of which shape. */
  readonly scenario: string;
}

/** An optimizer that no powers of c make follow c theta. */
export interface NoSymmetry {
  readonly exists: false;
  readonly optimizer: string;
  /** The powers that hold longest. */
  readonly closest: FoundPowers;
  /** How the run with these powers fails. */
  readonly counterexample: Counterexample;
  /** What does hold if one hyperparameter may have a power of its own in each update. */
  readonly perUpdate?: Symmetry;
  /** What does hold for tensors of one shape alone, where any does, by shape. */
  readonly perShape?: Readonly<Record<string, Symmetry>>;
  readonly looked: Looked;
  readonly text: string;
}

/** Why nothing can be said of an optimizer. */
export type Fault =
  | "is no optimizer"
  | "throws"
  | "changes its inputs"
  | "depends on the time"
  | "draws random numbers"
  | "is not a function of its inputs"
  | "is not finite";

/** An optimizer that is no function of its hyperparameters, gradients, state and parameters: nothing was decided. */
export interface Undecided {
  readonly exists: undefined;
  readonly optimizer: string;
  readonly fault: Fault;
  /** The numbers among the hyperparameters with which it happened. */
  readonly hyper: Readonly<Record<string, number>>;
  readonly text: string;
}
