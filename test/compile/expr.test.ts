import fc from "fast-check";
import { expect, test } from "vitest";
import { numel } from "../../src/base/shape.ts";
import { type Expr, Expressions, walk } from "../../src/compile/expr.ts";
import { indexValue } from "../index-value.ts";
import { runs } from "../thorough.ts";

type Step =
  | { readonly kind: "digit"; readonly low: number; readonly modulus: number | null }
  | { readonly kind: "affine"; readonly factor: number; readonly constant: number }
  | { readonly kind: "add"; readonly factor: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("digit" as const),
    low: fc.integer({ min: 1, max: 12 }),
    modulus: fc.option(fc.integer({ min: 1, max: 8 })),
  }),
  fc.record({
    kind: fc.constant("affine" as const),
    factor: fc.integer({ min: 1, max: 6 }),
    constant: fc.integer({ min: 0, max: 20 }),
  }),
  fc.record({ kind: fc.constant("add" as const), factor: fc.integer({ min: 1, max: 24 }) }),
);

test("simplified index arithmetic has the value of what it simplifies", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 7 }),
      fc.array(step, { maxLength: 6 }),
      (extent, small, steps) => {
        const e = new Expressions();
        const [x, y] = [e.variable("x", extent), e.variable("y", small)];
        let made = x;
        for (const s of steps) {
          if (s.kind === "digit")
            made = e.digit(made, s.low, s.modulus === null ? Infinity : s.low * s.modulus);
          else if (s.kind === "affine") made = e.combine([[s.factor, made]], s.constant);
          else
            made = e.combine([
              [1, made],
              [s.factor, y],
            ]);
        }
        for (let i = 0; i < extent; i++) {
          for (let j = 0; j < small; j++) {
            let expected = i;
            for (const s of steps) {
              if (s.kind === "digit") {
                expected = Math.floor(expected / s.low);
                if (s.modulus !== null) expected %= s.modulus;
              } else if (s.kind === "affine") expected = expected * s.factor + s.constant;
              else expected += s.factor * j;
            }
            const at = indexValue(
              made,
              new Map([
                ["x", i],
                ["y", j],
              ]),
            );
            const { min, max } = e.bounds(made);
            expect(at).toBe(expected);
            expect(at >= min && at <= max).toBe(true);
          }
        }
      },
    ),
    { numRuns: runs(500) },
  );
});

const lengths = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 4 });

/** The element at a position of a tensor, found by its place on each axis of a shape. */
function thereAndBack(e: Expressions, position: Expr, shape: readonly number[]): Expr {
  let [stride, sum] = [1, e.index(0)];
  for (const [i, length] of [...shape.entries()].reverse()) {
    const at = e.digit(position, stride, i === 0 ? Infinity : stride * length);
    sum = e.combine([
      [1, sum],
      [stride, at],
    ]);
    stride *= length;
  }
  return sum;
}

test("a reshape there and back is the position itself", () => {
  fc.assert(
    fc.property(lengths, (shape) => {
      const e = new Expressions();
      const position = e.variable("position", numel(shape));
      expect(thereAndBack(e, position, shape)).toBe(position);
    }),
  );
});

test("so it is for rows and columns, whatever axes each of them is cut into", () => {
  fc.assert(
    fc.property(lengths, lengths, (rows, columns) => {
      const e = new Expressions();
      const [row, column] = [e.variable("row", numel(rows)), e.variable("column", numel(columns))];
      const position = e.combine([
        [numel(columns), row],
        [1, column],
      ]);
      expect(thereAndBack(e, position, [...rows, ...columns])).toBe(position);
    }),
  );
});

test("equal expressions are one object, and walks see each part once", () => {
  const e = new Expressions();
  const x = e.variable("x", 10);
  const twice = e.combine([[2, x]], 1);
  expect(
    e.combine(
      [
        [1, x],
        [1, x],
      ],
      1,
    ),
  ).toBe(twice);
  const seen: Expr[] = [];
  walk([twice, twice], (part) => seen.push(part));
  expect(seen).toEqual([x, twice]);
  expect(twice.operands).toEqual([x]);
});

test("bounds decide ranges", () => {
  const e = new Expressions();
  const x = e.variable("x", 10);
  expect(e.clamp(x, 10)).toBe(x);
  expect(e.clamp(x, 9).kind).toBe("clamp");
  expect(e.inRange(x, 10)).toMatchObject({ kind: "constant", value: 1 });
  expect(e.inRange(e.combine([[1, x]], 10), 10)).toMatchObject({ kind: "constant", value: 0 });
});
