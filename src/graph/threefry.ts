import { add, bitwiseOr, bitwiseXor, leftShift, rightShift } from "./elementwise.ts";
import { constant, type Node } from "./node.ts";

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;

type Pair<T> = readonly [T, T];

/** Arithmetic of uint32. */
interface Words<T> {
  readonly of: (word: number) => T;
  readonly add: (x: T, y: T) => T;
  readonly xor: (x: T, y: T) => T;
  /** By some bits to the left, with those that fall out on the right. */
  readonly turn: (x: T, bits: number) => T;
}

const numbers: Words<number> = {
  of: (word) => word,
  add: (x, y) => (x + y) >>> 0,
  xor: (x, y) => (x ^ y) >>> 0,
  turn: (x, bits) => ((x << bits) | (x >>> (32 - bits))) >>> 0,
};

const nodes: Words<Node> = {
  of: (word) => constant(word, "uint32"),
  add,
  xor: bitwiseXor,
  turn: (x, bits) => bitwiseOr(leftShift(x, bits), rightShift(x, 32 - bits)),
};

/**
 * Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): two random
 * uint32 words for a key and a counter of two words each. Words that are known, as those of keys are, give words that are known.
 */
export function threefry(key: Pair<Node>, counter: Pair<Node>): Pair<Node> {
  const known: number[] = [];
  let lifted = false;
  for (const { operation } of [...key, ...counter]) {
    if (operation.kind !== "constant") return rounds(nodes, key, counter);
    known.push(operation.value);
    lifted ||= operation.lifted;
  }
  const [k0 = 0, k1 = 0, c0 = 0, c1 = 0] = known;
  const [x, y] = rounds(numbers, [k0, k1], [c0, c1]);
  return [constant(x, "uint32", lifted), constant(y, "uint32", lifted)];
}

function rounds<T>({ of, add, xor, turn }: Words<T>, [k0, k1]: Pair<T>, [c0, c1]: Pair<T>): Pair<T> {
  const keys = [k0, k1, xor(xor(k0, k1), of(0x1bd11bda))];
  let x = add(c0, k0);
  let y = add(c1, k1);
  for (let round = 0; round < 20; round++) {
    x = add(x, y);
    y = xor(turn(y, rotations[round % 8]!), x);
    if (round % 4 === 3) {
      const group = (round + 1) / 4;
      x = add(x, keys[group % 3]!);
      y = add(add(y, keys[(group + 1) % 3]!), of(group));
    }
  }
  return [x, y];
}
