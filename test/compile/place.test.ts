import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Expr, Expressions } from "../../src/compile/expr.ts";
import { type Addition, type Level, type Placement, place } from "../../src/compile/place.ts";
import { add, exp, mul } from "../../src/graph/elementwise.ts";
import { indexValue } from "../index-value.ts";
import { runs } from "../thorough.ts";

// Where expressions are computed in a nest of loops: what a placement says adds up to what it was made of, and uses
// nothing that is not there yet.

const levels = new Map([
  ["x", 1],
  ["y", 2],
]);

/** Runs a placement as a printer would: the lets of each level, then the uses, each by names that are known there. */
function run(placement: Placement, uses: readonly Expr[], at: ReadonlyMap<string, number>): number[] {
  const known = new Map<string, number>();
  let open: Level = 0;
  const value = (e: Expr): number => {
    const name = placement.name(e);
    if (name !== undefined) {
      expect(known.has(name)).toBe(true);
      return known.get(name)!;
    }
    if (e.kind === "variable") expect(levels.get(e.name)! <= open).toBe(true);
    return write(e);
  };
  const write = (e: Expr): number => {
    if (e.kind === "sum" && e.terms.length > 0) return added(placement.rest(e));
    if (e.kind !== "digit") return indexValue(e, at);
    // A digit of what its argument was found to be.
    const quotient = Math.floor(value(e.arg) / e.low);
    const modulus = e.high / e.low;
    return modulus === Infinity ? quotient : ((quotient % modulus) + modulus) % modulus;
  };
  const added = ({ onto, addends }: Addition): number =>
    addends.reduce<number>(
      (sum, addend) => sum + (typeof addend === "number" ? addend : addend.coefficient * value(addend.atom)),
      onto === undefined ? 0 : known.get(onto.name)!,
    );
  for (; open <= 2; open++) {
    for (const { name, what } of placement.lets(open)) {
      expect(known.has(name)).toBe(false);
      known.set(name, "kind" in what ? write(what) : added(what));
    }
  }
  return uses.map(value);
}

test("lets and uses have the values of what was placed, each from what is known before", () => {
  const atom = fc.record({
    of: fc.constantFrom("x", "y", "both"),
    low: fc.integer({ min: 1, max: 4 }),
    modulus: fc.option(fc.integer({ min: 2, max: 4 })),
    factor: fc.integer({ min: -3, max: 9 }),
  });
  const sums = fc.array(
    fc.record({ atoms: fc.array(atom, { minLength: 1, maxLength: 4 }), constant: fc.nat(9) }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(sums, fc.nat(15), fc.nat(11), (list, i, j) => {
      const e = new Expressions();
      const [x, y] = [e.variable("x", 16), e.variable("y", 12)];
      const both = e.combine([
        [12, x],
        [1, y],
      ]);
      const roots = list.map(({ atoms, constant }) =>
        e.combine(
          atoms.map(({ of, low, modulus, factor }) => {
            const arg = of === "x" ? x : of === "y" ? y : both;
            return [factor, e.digit(arg, low, modulus === null ? Infinity : low * modulus)];
          }),
          constant,
        ),
      );
      const at = new Map([
        ["x", i],
        ["y", j],
      ]);
      const placement = place(
        roots.map((expr) => ({ expr, at: 2 })),
        { levels },
      );
      expect(run(placement, roots, at)).toEqual(roots.map((root) => indexValue(root, at)));
    }),
    { numRuns: runs(500) },
  );
});

describe("a placement", () => {
  const e = new Expressions();
  const [x, y] = [e.variable("x", 8), e.variable("y", 8)];
  const load = (value: number, index: Expr) => e.load(value, index, "float32");
  const apply = (op: typeof add, ...args: Expr[]) => e.apply(op.row, args, "float32");

  test("names what is used twice, where it is known first", () => {
    const shared = apply(exp, load(0, x));
    const root = apply(add, apply(mul, shared, load(1, y)), shared);
    const placement = place([{ expr: root, at: 2 }], { levels });
    expect(placement.lets(1).map(({ what }) => what)).toEqual([shared]);
    expect(placement.lets(2)).toEqual([]);
    expect(placement.name(root)).toBeUndefined();
  });

  test("computes what does not change in an inner loop outside of it", () => {
    const root = apply(mul, apply(exp, load(0, x)), load(1, y));
    const placement = place([{ expr: root, at: 2 }], { levels });
    expect(placement.lets(1)).toHaveLength(1);
  });

  test("adds up what is known outside of the inner loop there", () => {
    const index = e.combine([
      [8, x],
      [1, y],
    ]);
    const placement = place([{ expr: load(0, index), at: 2 }], { levels });
    expect(placement.lets(1)).toHaveLength(1);
    expect(placement.rest(index as Extract<Expr, { kind: "sum" }>)).toEqual({
      onto: placement.lets(1)[0],
      addends: [{ coefficient: 1, atom: y }],
    });
  });

  test("names a value that must be read before anything is stored", () => {
    const root = load(0, x);
    expect(place([{ expr: root, at: 1, named: true }], { levels }).lets(1)).toHaveLength(1);
    expect(place([{ expr: root, at: 1 }], { levels }).lets(1)).toHaveLength(0);
  });

  test("gives no name to a constant that stands in an earlier value", () => {
    const zero = e.constant(0, "float32");
    const first = apply(add, zero, load(0, x));
    const uses = [first, zero].map((expr) => ({ expr, at: 1, named: true }));
    const placement = place(uses, { levels });
    expect(placement.name(zero)).toBeUndefined();
    expect(placement.lets(0)).toHaveLength(0);
  });

  test("leaves nothing nested deeply", () => {
    const chain = (length: number) => {
      let root = load(0, x);
      for (let i = 1; i < length; i++) root = apply(add, root, load(i, x));
      return root;
    };
    const placement = place([{ expr: chain(200), at: 1 }], { levels });
    const depth = (root: Expr): number =>
      1 + Math.max(0, ...root.operands.map((part) => (placement.name(part) ? 0 : depth(part))));
    for (const { what } of placement.lets(1)) if ("kind" in what) expect(depth(what)).toBeLessThan(60);
    expect(placement.lets(1).length).toBeGreaterThan(5);
  });

  test("says which variables and results it uses, but not of what was given", () => {
    const given = load(0, x);
    const root = apply(add, given, apply(mul, e.accumulator(0, "float32"), load(1, y)));
    const placement = place([{ expr: root, at: 0 }], { given: new Map([[given, "q0"]]) });
    expect(placement.free).toEqual(new Set([e.accumulator(0, "float32"), y]));
  });
});
