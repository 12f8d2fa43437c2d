import type { Mismatch } from "./verify.ts";

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
  /** By name; the two of a pair as one where they agree, else as `stepSizes.0` and `stepSizes.1`. */
  readonly hyper: Readonly<Record<string, number>>;
  /** For the names in `perUpdate`, which are not in `hyper`. */
  readonly phases: Readonly<Record<string, readonly Phase[]>>;
  /** By slot. */
  readonly state: Readonly<Record<string, number>>;
}

/** An optimizer that follows c theta exactly if its hyperparameters and state are multiplied by powers of c. */
export interface Symmetry extends FoundPowers {
  readonly exists: true;
  readonly optimizer: string;
  /** Whether every bit agreed for powers of two; else rounding differs, by `deviation` at most. */
  readonly bitwise: boolean;
  /** Largest difference for any c, relative to the largest element of the tensor. */
  readonly deviation: number;
  /** What parameters or gradients must be, where it does not hold for all. */
  readonly needs: readonly string[];
  readonly open: readonly OpenPower[];
  /** Values at which hyperparameters were tried. */
  readonly tried: Readonly<Record<string, number>>;
  /** All of it in words. */
  readonly text: string;
}

/** A run and its partner at c that part ways. */
export interface Counterexample extends Mismatch {
  readonly c: number;
  /** The gradients of the original run up to that update: all elements, one row for each update. */
  readonly gradients: readonly (readonly number[])[];
  /** |found - expected| / |expected|. */
  readonly relative: number;
  /** What kind of gradients these are. */
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
  readonly tried: Readonly<Record<string, number>>;
  readonly text: string;
}
