import fc from "fast-check";
import type { Matrix } from "../matrix.ts";

/** Quarters from -2 to 2 without 0: products and sums of a few are exact in float32, and easy to read. */
export function quarter(): fc.Arbitrary<number> {
  return fc.integer({ min: -8, max: 8 }).map((n) => (n === 0 ? 1 : n) / 4);
}

/** float32 numbers of every digit, from -2 to 2 without 0: products and sums of a few do round. */
export function rough(): fc.Arbitrary<number> {
  return fc.integer({ min: -14, max: 14 }).map((n) => Math.fround((n === 0 ? 1 : n) / 7));
}

/** A matrix of the given values. */
export function matrix(
  rows: number,
  columns: number,
  value: fc.Arbitrary<number> = quarter(),
): fc.Arbitrary<Matrix> {
  const row = fc.array(value, { minLength: columns, maxLength: columns });
  return fc.array(row, { minLength: rows, maxLength: rows });
}

/** Powers of two from 2^-reach to 2^reach without 1: factors that commute with rounding. */
export function powerOfTwo(reach = 8): fc.Arbitrary<number> {
  return fc.integer({ min: -reach, max: reach }).map((n) => 2 ** (n === 0 ? 1 : n));
}

/** Factors that are no powers of two, from 1/16 to 16. */
export function factor(): fc.Arbitrary<number> {
  const n = fc.constantFrom(3, 5, 7, 11, 13);
  return fc.tuple(n, fc.integer({ min: -4, max: 0 }), fc.boolean()).map(([n, power, down]) => {
    const value = n * 2 ** power;
    return down ? 1 / value : value;
  });
}
