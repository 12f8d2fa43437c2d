import { bytesPerElement, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import type { Store } from "../../../compile/kernel.ts";
import type { Code, Local } from "./assemble.ts";
import type { Named } from "./instructions.ts";
import { narrowLanes } from "./narrow.ts";
import { valueType } from "./operations.ts";
import type { Values } from "./values.ts";

/** Where a store goes. */
export interface Destination {
  readonly base: (code: Code) => void;
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
  v: Local,
  stop: Local,
): void {
  const whole = () => {
    base(code);
    code.get(held);
    if (bytes === 2) code.memory("v128.store64_lane", offset, 0);
    else code.memory("v128.store", offset);
  };
  if (exact) {
    whole();
    return;
  }
  const rest = code.local("i32");
  code
    .get(stop)
    .get(v)
    .op("i32.sub")
    .tee(rest)
    .i32(4)
    .op("i32.ge_u")
    .when(whole, () => {
      const lane = (i: number) => {
        base(code);
        code.get(held).memory(`v128.store${bytes === 2 ? 16 : 32}_lane`, offset + bytes * i, i);
      };
      lane(0);
      for (const i of [1, 2])
        code
          .get(rest)
          .i32(i)
          .op("i32.gt_u")
          .when(() => lane(i));
    });
}

/** The code that computes stores goes to `body`; what comes back stores them. */
export function writeStores(
  body: Code,
  values: Values,
  stores: readonly Store[],
  at: number,
  vector: boolean,
  put: (code: Code, destination: Destination, held: Local) => void,
): Code {
  const held = stores.map(({ expr }) => {
    const narrow = narrowLanes(expr.dtype);
    const local = body.local(vector ? "v128" : narrow ? "i32" : valueType(expr.dtype));
    // The bits of a narrow float are rounded where they are made.
    const source = narrow && expr.kind === "cast" ? expr.arg : expr;
    if (vector) values.vector(source, body, at);
    else values.scalar(source, body, at);
    if (narrow) {
      if (!vector) body.op("f32x4.splat");
      narrow.store(values.lanes(body), () => {})(body);
      if (!vector) body.lane("i32x4.extract_lane", 0);
    } else if (vector && expr.dtype === "bool") {
      values.lanes(body).i32(1)(body);
      body.op("v128.and");
    }
    body.set(local);
    return local;
  });
  const code = body.piece();
  stores.forEach(({ value, index, expr }, i) => {
    const address = values.address(value, index, expr.dtype, at);
    const base = body.local("i32");
    address.base(body);
    body.set(base);
    const bytes = bytesPerElement(expr.dtype);
    if (vector) put(code, { base: (into) => into.get(base), offset: address.offset, bytes }, held[i]!);
    else code.get(base).get(held[i]!).memory(storeName(expr.dtype), address.offset);
  });
  return code;
}

export function storeName(dtype: DeviceDType): Named<"store"> {
  return isNarrow(dtype) ? "i32.store16" : `${valueType(dtype)}.store`;
}
