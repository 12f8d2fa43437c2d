import type { Loaded } from "../../models/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Tokenizer } from "../../text/index.ts";
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

/** What cases of a file share. */
export interface Surroundings {
  /** Files that a case names lie here. */
  readonly directory: string;
  /** The file that it is in, for what stands beside the cases. */
  readonly content: Fields;
  /** The checkpoint that references of a model are of. */
  readonly model?: Loaded | undefined;
  /** Its tokenizer, which is read when it is asked for. */
  readonly tokenizer?: (() => Promise<Tokenizer>) | undefined;
  /** Says how far a case is that takes long. */
  readonly progress: (what: string) => void;
}

/** Builds what a case of one kind expects; graphs need not be computed yet. */
export type Build = (
  fields: Fields,
  engine: Engine,
  others: Others,
  around: Surroundings,
) => readonly Expectation[] | Promise<readonly Expectation[]>;

/** A kind of reference files. */
export interface Kind {
  readonly build: Build;
  /** The cases of a file, where they are not its list `cases`. */
  readonly cases?: (content: Fields) => readonly Fields[];
}

/** A case of something that Lorantz does not have; the message says what. */
export class Unsupported extends Error {}

/** The checkpoint of a case. @throws Unsupported where none is given. */
export function modelOf({ model }: Surroundings): Loaded {
  if (!model) throw new Unsupported("they are of a checkpoint, which --model names");
  return model;
}
