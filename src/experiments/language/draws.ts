import { bits, type Key } from "../../tensor/random.ts";

/** Numbers that one example is drawn from, at most. */
const words = 64;

/** The random choices of one example, one after the other. */
export class Draws {
  readonly #words: Uint32Array;
  #at = 0;

  constructor(words: Uint32Array) {
    this.#words = words;
  }

  /** A whole number from 0 to below `count`. */
  below(count: number): number {
    const word = this.#words[this.#at++ % this.#words.length]!;
    return Math.floor((word / 2 ** 32) * count);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** Some of a list, none twice, in the order in which they were drawn. */
  some<T>(list: readonly T[], count: number): T[] {
    const left = [...list];
    return Array.from({ length: count }, () => left.splice(this.below(left.length), 1)[0]!);
  }

  chance(probability: number): boolean {
    return this.below(2 ** 20) < probability * 2 ** 20;
  }
}

/** The draws of examples by their numbers: those of one depend on the key and its number alone. */
export async function drawsOf(key: Key, from: number, count: number): Promise<Draws[]> {
  const all = (await bits(key, [(from + count) * words]).data()) as Uint32Array;
  return Array.from(
    { length: count },
    (_, i) => new Draws(all.subarray((from + i) * words, (from + i + 1) * words)),
  );
}
