import { type Expr, Expressions } from "./expr.ts";
import type { Accumulator, Axis } from "./nest.ts";

/** What is accumulated at each point of loops, in their order: the places of the loops are numbers there. */
export function pointsOf(
  accumulators: readonly Accumulator[],
  over: readonly Axis[],
): readonly (readonly Accumulator[])[] {
  const e = new Expressions();
  const points = over.reduce<readonly ReadonlyMap<string, number>[]>(
    (outer, { name, extent }) =>
      outer.flatMap((point) => Array.from({ length: extent }, (_, at) => new Map(point).set(name, at))),
    [new Map()],
  );
  return points.map((point) => {
    const memo = new Map<Expr, Expr>();
    const leaf = (part: Expr): Expr | undefined => {
      if (part.kind === "constant") return e.constant(part.value, part.dtype);
      if (part.kind === "hostNumber") return e.hostNumber(part.index, part.dtype);
      if (part.kind === "accumulator") return e.accumulator(part.index, part.dtype);
      if (part.kind !== "variable") return undefined;
      const place = point.get(part.name);
      return place === undefined ? e.variable(part.name, part.extent) : e.index(place);
    };
    return accumulators.map((a) => ({ ...a, expr: e.rewrite(a.expr, leaf, memo) }));
  });
}
