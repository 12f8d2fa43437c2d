import type { FloatDType } from "../base/dtype.ts";
import { scalarOp } from "../graph/scalar.ts";
import { arange, full, tensor } from "./creation.ts";
import { where } from "./functions.ts";
import { Tensor } from "./tensor.ts";

// Codes of a few bits for numbers from -1 to 1, and how codes lie in 32-bit words.

/** A code book: each number from -1 to 1 becomes the code of the nearest level. */
export interface Code {
  readonly bits: number;
  /** Codes of the numbers of a vector, uint32. */
  readonly encode: (x: Tensor<FloatDType>) => Tensor<"uint32">;
  /** The levels of codes. */
  readonly decode: (codes: Tensor<"uint32">, dtype: FloatDType) => Tensor<FloatDType>;
}

/**
 * NormalFloat (Dettmers et al. 2023, arXiv:2305.14314, section 3 and appendix E): quantiles of the normal
 * distribution, scaled to -1 and 1, with an exact zero; in float32, as bitsandbytes has them.
 */
export const nf4Levels: readonly number[] = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

/** The level of a code, an operation of its own: a table in the code of kernels, so that none is bound and loaded. */
export const nf4Level = scalarOp({
  name: "nf4Level",
  arity: 1,
  types: "code",
  evaluate: (code) => nf4Levels[code & 15]!,
  table: nf4Levels,
  ulp: 0,
  cost: 23, // as choices bit after bit
});

/**
 * The signed dynamic code of bitsandbytes (Dettmers 2015, arXiv:1511.04561): for each power of ten from 10^-6 to 1
 * twice as many levels as for the one before, which divide its upper nine tenths evenly; 0 and 1.
 */
const decades = 7;
const dynamicLevels: readonly number[] = (() => {
  const positive = Array.from({ length: decades }, (_, e) =>
    Array.from({ length: 2 ** e }, (_, i) => 10 ** (e - decades + 1) * (0.1 + (0.9 * (i + 0.5)) / 2 ** e)),
  ).flat();
  return [...positive.map((level) => -level).reverse(), 0, ...positive, 1];
})();

/** The level of such a code. */
const dynamicLevel = scalarOp({
  name: "dynamicLevel",
  arity: 1,
  types: "code",
  evaluate: (code) => dynamicLevels[code & 255]!,
  table: dynamicLevels,
  formula: (code) => dynamic(new Tensor<"uint32">(code).bitwiseAnd(255)).node,
  ulp: 3,
  cost: 40, // as the formula
});

export const codes = {
  nf4: {
    bits: 4,
    encode: (x) => nearest(x, nf4Levels),
    decode: (x, dtype) => new Tensor<"float32">(nf4Level(x.node)).astype(dtype),
  },
  /** Even steps of 1/127, from code 0 for -1 to code 254. */
  int8: {
    bits: 8,
    encode: (x) => x.mul(127).round().add(127).astype("uint32"),
    decode: (x, dtype) =>
      x
        .astype(dtype)
        .sub(127)
        .mul(1 / 127),
  },
  dynamic8: {
    bits: 8,
    encode: (x) => nearest(x, dynamicLevels),
    decode: (x, dtype) => new Tensor<"float32">(dynamicLevel(x.node)).astype(dtype),
  },
} as const satisfies Readonly<Record<string, Code>>;

/** How many midpoints between levels lie below. */
function nearest(x: Tensor<FloatDType>, levels: readonly number[]): Tensor<"uint32"> {
  const midpoints = levels.slice(1).map((level, i) => (level + levels[i]!) / 2);
  return x
    .unsqueeze(-1)
    .gt(tensor(midpoints, { dtype: x.dtype }))
    .astype("uint32")
    .sum(-1);
}

/** The levels of the dynamic code, by arithmetic: code 127 is 0, and the n-th to either side is in decade log2 n. */
function dynamic(code: Tensor<"uint32">): Tensor<"float32"> {
  const place = code.astype("float32").sub(127);
  const n = place.abs();
  let level: Tensor<"float32"> = full([], 0, { dtype: "float32" });
  for (let e = 0; e < decades; e++) {
    const decade = 10 ** (e - decades + 1);
    const step = (0.9 * decade) / 2 ** e;
    level = where(
      n.ge(2 ** e),
      n
        .sub(2 ** e - 0.5)
        .mul(step)
        .add(0.1 * decade),
      level,
    );
  }
  return where(n.ge(2 ** decades), 1, level).mul(place.sign());
}

// A word holds its codes in order from its lowest bits.

/** uint32 words that hold the codes of a vector; the last word is filled up with code 0. */
export function packCodes(x: Tensor<"uint32">, bits: number): Tensor<"uint32"> {
  const places = 32 / bits;
  return x
    .pad([[0, -x.size & (places - 1)]])
    .reshape([-1, places])
    .leftShift(shifts(bits))
    .sum(1);
}

/** The first `count` codes of words. */
export function unpackCodes(words: Tensor<"uint32">, bits: number, count: number): Tensor<"uint32"> {
  return words
    .unsqueeze(-1)
    .rightShift(shifts(bits))
    .bitwiseAnd(2 ** bits - 1)
    .reshape([-1])
    .slice([0], [count]);
}

function shifts(bits: number): Tensor<"uint32"> {
  return arange(32 / bits, { step: bits, dtype: "uint32" });
}
