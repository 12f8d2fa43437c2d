import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Along, motionOf, startsRun, strideIn } from "../../src/compile/access.ts";
import { type Expr, Expressions } from "../../src/compile/expr.ts";
import { indexValue } from "../index-value.ts";
import { runs } from "../thorough.ts";

// How an index moves along a variable, against the index at every place.

interface Shape {
  readonly extent: number;
  readonly other: number;
  readonly terms: readonly {
    readonly factor: number;
    /** The variable, the other one, or a digit of a sum of both. */
    readonly of:
      | "x"
      | "y"
      | { readonly low: number; readonly modulus: number | null; readonly shift: number };
  }[];
  readonly constant: number;
  readonly guard: { readonly shift: number; readonly length: number } | null;
}

const step = fc.constantFrom(1, 2, 3, 4, 8, 12);
const shapes: fc.Arbitrary<Shape> = fc.record({
  extent: fc.integer({ min: 1, max: 24 }),
  other: fc.integer({ min: 1, max: 4 }),
  terms: fc.array(
    fc.record({
      factor: fc.constantFrom(-4, -1, 1, 1, 1, 2, 3, 4, 8),
      of: fc.oneof(
        fc.constantFrom("x" as const, "y" as const),
        fc.record({ low: step, modulus: fc.option(step), shift: fc.constantFrom(0, 0, 4, 5) }),
      ),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  constant: fc.constantFrom(0, 0, 4, 1, 7),
  guard: fc.option(
    fc.record({ shift: fc.constantFrom(0, -4, -1, 4), length: fc.constantFrom(4, 8, 3, 10, 16) }),
  ),
});

interface Made {
  readonly index: Expr;
  readonly guard: Expr | undefined;
}

function make({ extent, other, terms, constant, guard }: Shape): Made {
  const e = new Expressions();
  const [x, y] = [e.variable("x", extent), e.variable("y", other)];
  const atom = (of: Shape["terms"][number]["of"]): Expr => {
    if (of === "x") return x;
    if (of === "y") return y;
    const sum = e.combine(
      [
        [1, x],
        [4, y],
      ],
      of.shift,
    );
    return e.digit(sum, of.low, of.modulus === null ? Infinity : of.low * of.modulus);
  };
  const index = e.combine(
    terms.map(({ factor, of }) => [factor, atom(of)]),
    constant,
  );
  if (!guard) return { index, guard: undefined };
  const inside = e.inRange(e.combine([[1, x]], guard.shift), guard.length);
  if (inside.kind === "constant") return { index, guard: undefined };
  const guarded = e.select(inside, index, e.index(0));
  return { index: guarded, guard: guarded === index ? undefined : inside };
}

/** Runs of `run` values of x, for each y: the indices that are used in each. */
function runsOf(shape: Shape, { index, guard }: Made, run: number): (number | undefined)[][] {
  const runs: (number | undefined)[][] = [];
  for (let y = 0; y < shape.other; y++) {
    for (let first = 0; first < shape.extent; first += run) {
      const places = Array.from({ length: Math.min(run, shape.extent - first) }, (_, i) => first + i);
      runs.push(
        places.map((x) => {
          const at = new Map(Object.entries({ x, y }));
          return guard && !indexValue(guard, at) ? undefined : indexValue(index, at);
        }),
      );
    }
  }
  return runs;
}

describe("the motion of an index", () => {
  test.each([4, undefined])("is what it is at every place, in runs of %s", (run) => {
    let known = 0;
    fc.assert(
      fc.property(shapes, (shape) => {
        const made = make(shape);
        const along: Along = run === undefined ? { variable: "x" } : { variable: "x", run };
        const motion = motionOf(made.index, along);
        if (motion.stride === undefined) return;
        known++;
        for (const [first, ...rest] of runsOf(shape, made, run ?? shape.extent)) {
          // A run of which the first is not used is not used at all.
          if (first === undefined) expect(rest.every((at) => at === undefined)).toBe(true);
          else
            rest.forEach((at, i) => {
              if (at !== undefined) expect(at).toBe(first + motion.stride! * (i + 1));
            });
          if (first !== undefined && run && startsRun(motion)) expect(first % run === 0).toBe(true);
        }
      }),
      { numRuns: runs(2000) },
    );
    expect(known).toBeGreaterThan(0.15 * runs(2000));
  });

  test("adds up what mentions the variable twice", () => {
    const e = new Expressions();
    const x = e.variable("x", 16);
    const low = e.digit(x, 1, 4);
    const sum = e.combine([
      [3, x],
      [-2, low],
    ]);
    expect(motionOf(sum, { variable: "x", run: 4 }).stride).toBe(1);
    expect(strideIn(sum, "x")).toBeUndefined();
    expect(strideIn(e.combine([[3, x]], 5), "x")).toBe(3);
    expect(strideIn(e.combine([[3, e.variable("y", 4)]], 5), "x")).toBe(0);
  });

  test("knows that results of the core may move", () => {
    const e = new Expressions();
    const at = e.clamp(e.cast(e.accumulator(0, "float32"), "int32"), 8);
    expect(motionOf(at, { variable: "x" }).stride).toBe(0);
    expect(motionOf(at, { variable: "x", results: true }).stride).toBeUndefined();
  });
});
