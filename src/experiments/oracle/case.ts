import type { Tensor } from "../../tensor/tensor.ts";
import type { Bound } from "./compare.ts";
import type { Engine } from "./engine.ts";
import type { Fields, Reference } from "./fields.ts";

/** One tensor of a case that is to equal its reference. */
export interface Expectation {
  /** Which one, for messages: "output", "gradient 0", "params.w1 after update 3". */
  readonly what: string;
  readonly actual: Tensor;
  readonly expected: Reference;
  readonly bound: Bound;
}

/** The case of that name in the same file. */
export type Others = (name: string) => Fields;

/** Builds what a case of one kind expects; graphs need not be computed yet. Files that it names lie in `directory`. */
export type Build = (
  fields: Fields,
  engine: Engine,
  others: Others,
  directory: string,
) => readonly Expectation[] | Promise<readonly Expectation[]>;

/** A case of something that Lorantz does not have; the message says what. */
export class Unsupported extends Error {}
