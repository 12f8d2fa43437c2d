import { isIntegerIn, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";

/** Batches by their place: what one is depends on that alone, so that a run can be resumed anywhere. */
export interface Batches<B> {
  /** The batch of a place, from 0. */
  at(index: number): B | Promise<B>;
  /** How many there are, where they end. */
  readonly count?: number;
  /** What tells this data from other: a resumed run compares it. */
  readonly fingerprint?: string;
  /** What is in a batch, for messages: "examples 3, 17 and 4 of train.jsonl". */
  describe?(index: number): string | Promise<string>;
}

/** Batches as callers give them: a function of the place, or a list of them. */
export type GivenBatches<B> = Batches<B> | readonly B[] | ((index: number) => B | Promise<B>);

/** @throws ValueError for anything else. */
export function batchesOf<B>(where: string, given: GivenBatches<B>): Batches<B> {
  if (typeof given === "function") return { at: given };
  if (Array.isArray(given)) {
    if (given.length === 0) throw new ValueError(`${where}: the list of batches is empty.`);
    return { at: (index) => given[index] as B, count: given.length };
  }
  if (typeof (given as Batches<B> | undefined)?.at === "function") return given as Batches<B>;
  throw new ValueError(
    `${where}: the batches are ${show(given)}; they are a function of the place, a list, or an object with at(index).`,
  );
}

/** How many batches there are. @throws ValueError unless they say so. */
export function placesOf(where: string, { count }: Batches<unknown>): number {
  if (!isIntegerIn(count, 1))
    throw new ValueError(
      `${where}: the batches have ${count === undefined ? "no count" : `count ${show(count)}`}; give a list of batches, or an object with at(index) and count >= 1.`,
    );
  return count;
}
