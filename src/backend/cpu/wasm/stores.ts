import { bytesPerElement, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Store } from "../../../compile/kernel.ts";
import type { Level, Use } from "../../../compile/place.ts";
import type { Code, Local, Value, ValueType } from "./assemble.ts";
import { apply, extractLane, i32, tee } from "./expressions.ts";
import type { Named } from "./instructions.ts";
import { narrowLanes } from "./narrow.ts";
import { valueType } from "./operations.ts";
import { addressOf, scalarOf } from "./scalar.ts";
import type { Values } from "./values.ts";
import { vectorOf } from "./vector.ts";

/** What is stored of vectors: all where that is `exact`, else the lanes before `stop`, of which `at` is the first. */
export interface Reach {
  readonly exact: boolean;
  readonly at: Local<"i32">;
  readonly stop: Value<"i32">;
}

/** The bits of a narrow float are rounded where they are made. */
const sourceOf = (expr: Expr) => (narrowLanes(expr.dtype) && expr.kind === "cast" ? expr.arg : expr);

/** What stores use where level `at` is open. */
export const usesOf = (stores: readonly Store[], at: Level): Use[] =>
  stores.flatMap(({ index, expr }) => [
    { expr: index, at, address: true },
    { expr: sourceOf(expr), at },
  ]);

/**
 * The code that computes stores goes to `body`; what comes back stores them.
 *
 * @param reach Given where vectors are stored, not numbers.
 */
export function writeStores(body: Code, values: Values, stores: readonly Store[], reach?: Reach): Code {
  const held = stores.map(({ expr }) => {
    const type = reach ? "v128" : narrowLanes(expr.dtype) ? "i32" : valueType(expr.dtype);
    const local: Local = body.local(type);
    body.assign(local, bitsOf(values, expr, body, reach !== undefined));
    return local;
  });
  const code = body.piece();
  stores.forEach(({ value, index, expr }, i) => {
    const { base: sum, offset } = addressOf(values, value, index, expr.dtype, body);
    const base = body.let("i32", sum);
    if (reach) storeLanes(code, base, offset, bytesPerElement(expr.dtype), held[i]!, reach);
    else code.store(storeName(expr.dtype), base, offset, held[i]!);
  });
  return code;
}

/** What is put into memory, in four lanes or as one number: narrow floats as their bits, bools as 0 or 1. */
function bitsOf(values: Values, expr: Expr, body: Code, lanes: boolean): Value<ValueType> {
  const source = sourceOf(expr);
  const l = values.lanes(body);
  const narrow = narrowLanes(expr.dtype);
  if (!lanes && !narrow) return scalarOf(values, source);
  if (!lanes)
    return extractLane(
      "i32x4.extract_lane",
      narrow!.store(l, apply("f32x4.splat", scalarOf(values, source))),
      0,
    );
  const x = vectorOf(values, source);
  if (narrow) return narrow.store(l, x);
  return expr.dtype === "bool" ? apply("v128.and", x, l.i32(1)) : x;
}

function storeName(dtype: DeviceDType): Named<"store"> {
  return isNarrow(dtype) ? "i32.store16" : `${valueType(dtype)}.store`;
}

function storeLanes(
  code: Code,
  base: Local<"i32">,
  offset: number,
  bytes: number,
  held: Local,
  { exact, at, stop }: Reach,
): void {
  const whole = () => {
    if (bytes === 4) code.store("v128.store", base, offset, held);
    else code.get(base).get(held).memory("v128.store64_lane", offset, 0);
  };
  if (exact) {
    whole();
    return;
  }
  const rest = code.local("i32");
  const lane = (i: number) => {
    const name = bytes === 2 ? "v128.store16_lane" : "v128.store32_lane";
    code
      .get(base)
      .get(held)
      .memory(name, offset + bytes * i, i);
  };
  code.if(i32.ge(tee(rest, i32.sub(stop, at)), 4), whole, () => {
    lane(0);
    for (const i of [1, 2]) code.if(i32.gt(rest, i), () => lane(i));
  });
}
