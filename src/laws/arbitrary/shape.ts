import fc from "fast-check";
import type { Shape } from "../../base/shape.ts";

export interface ShapeOptions {
  /** Default 0. */
  readonly minRank?: number;
  /** Default 4. */
  readonly maxRank?: number;
  /** Default 1; 0 for empty tensors too. */
  readonly minSize?: number;
  /** Largest axis. Default 5. */
  readonly maxSize?: number;
}

/** The shape of a small tensor. */
export function shape({
  minRank = 0,
  maxRank = 4,
  minSize = 1,
  maxSize = 5,
}: ShapeOptions = {}): fc.Arbitrary<Shape> {
  return fc.array(fc.integer({ min: minSize, max: maxSize }), { minLength: minRank, maxLength: maxRank });
}

/** Two shapes that broadcast, and the shape that they broadcast to. */
export interface BroadcastPair {
  readonly left: Shape;
  readonly right: Shape;
  readonly result: Shape;
}

/** Two shapes that broadcast as in NumPy: axes of 1 and missing leading axes on either side. */
export function broadcastPair(options: ShapeOptions = {}): fc.Arbitrary<BroadcastPair> {
  const side = fc.constantFrom("left", "right");
  return shape(options).chain((result) => {
    // An axis is 1 on one side at most, and leading axes are missing on one side: the result stays what it is.
    const ones = fc.array(fc.option(side), { minLength: result.length, maxLength: result.length });
    return fc
      .record({ ones, short: side, missing: fc.nat({ max: result.length }) })
      .map(({ ones, short, missing }) => {
        const of = (which: "left" | "right") =>
          result.map((size, i) => (ones[i] === which ? 1 : size)).slice(short === which ? missing : 0);
        const full = (which: "left" | "right") =>
          // Where the shorter side has no axis, the other one must have it.
          of(which).map((size, i) => (short !== which && i < missing ? result[i]! : size));
        return { left: full("left"), right: full("right"), result };
      });
  });
}
