import { type Limit, limitsOf } from "../../../compile/access.ts";
import { constantOf, type Expr, termsOf, walk } from "../../../compile/expr.ts";
import { where } from "../../../graph/elementwise.ts";
import type { Code, Value } from "./assemble.ts";
import { i32 } from "./expressions.ts";
import { indexOf, numberOf } from "./scalar.ts";
import type { Values } from "./values.ts";

// Guards that keep an index within its bounds, such as those of padding. Most vectors are inside with all lanes: whether one is
// follows from its first and last lane, so that a few numbers are compared in place of lanes.

/** The guards of choices whose limits go evenly from lane to lane. */
export function guardsOf(values: Values, roots: readonly Expr[]): ReadonlySet<Expr> {
  const found = new Set<Expr>();
  walk(roots, (e) => {
    const guard = e.kind === "apply" && e.row === where.row ? e.args[0]! : undefined;
    if (guard && limitsOf(guard)?.every((limit) => isEven(values, limit))) found.add(guard);
  });
  return found;
}

function isEven(values: Values, limit: Limit): boolean {
  const { arg, length } = limit;
  const stride = values.placement.stride(arg);
  if (stride === undefined || length <= 3 * Math.abs(stride)) return false;
  return termsOf(arg).every(({ atom }) => atom.kind === "variable" || !values.placement.varies(atom));
}

/** Whether guards hold in all lanes: what is the same for all vectors of a loop is asked outside of it. */
export function allHold(values: Values, guards: ReadonlySet<Expr>, code: Code): Value<"i32"> {
  const limits = new Set([...guards].flatMap((guard) => limitsOf(guard)!));
  const levels = [...new Set([...limits].map((limit) => values.placement.level(limit)))].sort(
    (a, b) => a - b,
  );
  let name = "all hold";
  let all: Value<"i32"> | undefined;
  for (const level of levels) {
    for (const limit of limits)
      if (values.placement.level(limit) === level) {
        all = all === undefined ? holds(values, limit) : i32.and(all, holds(values, limit));
        name += ` ${limit.id}`;
      }
    if (values.outside(code, level)) all = values.once(name, level, "i32", all!);
  }
  return all!;
}

function holds(values: Values, limit: Limit): Value<"i32"> {
  const { arg, length } = limit;
  if (!values.placement.varies(limit)) return numberOf(values, limit) as Value<"i32">;
  const stride = values.placement.stride(arg)!;
  const reach = 3 * stride; // from the first lane to the last
  const lowest = constantOf(arg) + stride * values.offset + Math.min(0, reach);
  const place = termsOf(arg).reduce<Value<"i32">>(
    (sum, { coefficient, atom }) => i32.add(sum, i32.mul(indexOf(values, atom), coefficient)),
    lowest,
  );
  return i32.lt(place, length - Math.abs(reach));
}
