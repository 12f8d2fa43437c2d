import { bytesPerElement, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Store } from "../../../compile/kernel.ts";
import type { Level, Use } from "../../../compile/place.ts";
import { addressOf } from "./addresses.ts";
import type { Code, Local, Value } from "./assemble.ts";
import { apply, extractLane, i32, tee } from "./expressions.ts";
import type { Named } from "./instructions.ts";
import { narrowLanes } from "./narrow.ts";
import { valueType } from "./operations.ts";
import type { Values } from "./values.ts";

/** Where a store goes. */
export interface Destination {
  readonly base: Local<"i32">;
  readonly offset: number;
  /** Of an element. */
  readonly bytes: number;
}

/** Stores a vector, or what of it lies before `stop`. */
export function storeLanes(
  code: Code,
  { base, offset, bytes }: Destination,
  held: Local,
  exact: boolean,
  v: Local<"i32">,
  stop: Value<"i32">,
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
  code.if(i32.ge(tee(rest, i32.sub(stop, v)), 4), whole, () => {
    lane(0);
    for (const i of [1, 2]) code.if(i32.gt(rest, i), () => lane(i));
  });
}

/** The bits of a narrow float are rounded where they are made. */
const sourceOf = (expr: Expr) => (narrowLanes(expr.dtype) && expr.kind === "cast" ? expr.arg : expr);

/** What stores use where level `at` is open. */
export const usesOf = (stores: readonly Store[], at: Level): Use[] =>
  stores.flatMap(({ index, expr }) => [
    { expr: index, at, address: true },
    { expr: sourceOf(expr), at },
  ]);

/** The code that computes stores goes to `body`; what comes back stores them. */
export function writeStores(
  body: Code,
  values: Values,
  stores: readonly Store[],
  vector: boolean,
  put: (code: Code, destination: Destination, held: Local) => void,
): Code {
  const held = stores.map(({ expr }) => {
    const narrow = narrowLanes(expr.dtype);
    const local = body.local(vector ? "v128" : narrow ? "i32" : valueType(expr.dtype));
    const source = sourceOf(expr);
    const l = values.lanes(body);
    if (!vector && !narrow) body.assign(local, values.scalar(source));
    else if (!vector) {
      const bits = narrow!.store(l, apply("f32x4.splat", values.scalar(source)));
      body.assign(local, extractLane("i32x4.extract_lane", bits, 0));
    } else {
      const x = values.vector(source);
      body.assign(
        local,
        narrow ? narrow.store(l, x) : expr.dtype === "bool" ? apply("v128.and", x, l.i32(1)) : x,
      );
    }
    return local;
  });
  const code = body.piece();
  stores.forEach(({ value, index, expr }, i) => {
    const { base: sum, offset } = addressOf(values, value, index, expr.dtype, body);
    const base = body.let("i32", sum);
    const bytes = bytesPerElement(expr.dtype);
    if (vector) put(code, { base, offset, bytes }, held[i]!);
    else code.store(storeName(expr.dtype), base, offset, held[i]!);
  });
  return code;
}

function storeName(dtype: DeviceDType): Named<"store"> {
  return isNarrow(dtype) ? "i32.store16" : `${valueType(dtype)}.store`;
}
