import type { Invariant } from "./canonical.ts";
import type { Gauge } from "./gauge.ts";
import type { Recipe } from "./recipe.ts";

/** One invariant of two recipes. */
export interface Comparison extends Pick<Invariant, "name" | "formula" | "kind"> {
  readonly x: Invariant["value"];
  readonly y: Invariant["value"];
  /** y over x; null for pairs that differ, and where one of the two is 0. */
  readonly ratio: number | null;
  readonly equal: boolean;
}

/** What every gauge leaves alone, and what differs there; undefined where a recipe has none. */
export interface FixedDifference {
  /** A field, or the formula of an invariant that one of the two does not have. */
  readonly name: string;
  readonly x: unknown;
  readonly y: unknown;
}

/** A recipe at the other one's alpha and initial values, where its rates of A and B differ by `ratio`. */
export interface LoraPlusForm {
  readonly alpha: number;
  /** The rate of A. */
  readonly lr: number;
  /** The rate of B over that of A. */
  readonly ratio: number;
  readonly recipe: Recipe;
}

/** What two recipes have to do with each other. */
export interface Explanation {
  /**
   * - `same`: gauge-equal, one training run.
   * - `sameButConstants`: all rates agree; an eps, a decay or a like constant does not.
   * - `rate`: y is x with both learning rates times one factor; constants may differ too.
   * - `loraPlus`: y is x with another ratio of the rates of A and B, at x's alpha; constants may differ too.
   * - `different`: anything else.
   */
  readonly relation: "same" | "sameButConstants" | "rate" | "loraPlus" | "different";
  /** The same run in exact arithmetic. */
  readonly exact: boolean;
  /** The same run bit for bit, as long as no number leaves the normal range. */
  readonly bitwise: boolean;
  /** The gauge from x to the scaling and the initial values of y; null where fields differ that none touches. */
  readonly gauge: Gauge | null;
  /**
   * By what that gauge multiplies A, and divides B, from each update to the next: 1 where it stays, and where the two are not
   * the same run.
   */
  readonly growth: number;
  readonly invariants: readonly Comparison[];
  readonly fixed: readonly FixedDifference[];
  /** x at y's alpha and initial values: the recipe that y would have to be. */
  readonly partner: Recipe | null;
  /** y at x's alpha and initial values. */
  readonly loraPlus: LoraPlusForm | null;
  /** How many updates were compared, as far as schedules go; null where it was not told, and all were. */
  readonly updates: number | null;
  /** The same in words, one sentence each. */
  readonly words: readonly string[];
}
