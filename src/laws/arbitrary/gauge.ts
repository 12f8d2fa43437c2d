import fc from "fast-check";
import { type Gauge, of } from "../../gauge/gauge.ts";
import { factor, powerOfTwo } from "./values.ts";

export interface GaugeOptions {
  /** True for factors that are powers of two, which are bitwise; false for others. Default both. */
  readonly powersOfTwo?: boolean;
}

/** A gauge that changes something: A by a, B by b, alpha by k = 1 / (a b). */
export function gauge({ powersOfTwo }: GaugeOptions = {}): fc.Arbitrary<Gauge> {
  const pair = (c: fc.Arbitrary<number>) => fc.record({ a: c, b: c }).map(of);
  if (powersOfTwo === undefined) return fc.oneof(pair(powerOfTwo()), pair(factor()));
  return pair(powersOfTwo ? powerOfTwo() : factor());
}
