import { bytesPerElement } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Level } from "../../../compile/place.ts";
import type { Code } from "./assemble.ts";
import { narrowLanes } from "./narrow.ts";
import type { Writer } from "./writer.ts";

/** Pushes four elements; bools as masks. */
export function loadVector(w: Writer, e: Extract<Expr, { kind: "load" }>, code: Code, at: Level): void {
  const narrow = narrowLanes(e.dtype);
  if (narrow) narrow.load(w.lanes(code), (into) => loadLanes(w, e, into, at))(code);
  else loadLanes(w, e, code, at);
  if (e.dtype === "bool") {
    w.lanes(code).i32(0)(code);
    code.op("i32x4.ne");
  }
}

/** Four elements as they are stored; those of 16 bits in words. */
function loadLanes(w: Writer, e: Extract<Expr, { kind: "load" }>, code: Code, at: Level): void {
  const bytes = bytesPerElement(e.dtype);
  const stride = w.stride(e.index);
  if (stride === 1) {
    const { base, offset } = w.address(e.value, e.index, e.dtype, at);
    base(code);
    code.memory(bytes === 2 ? "v128.load16x4_s" : "v128.load", offset);
  } else if (stride !== undefined && w.scope.vector!.exact) {
    // Lanes at constant distances.
    const { base, offset } = w.address(e.value, e.index, e.dtype, at);
    const held = w.local("i32");
    base(code);
    if (offset > 0) code.i32(offset).op("i32.add");
    code.set(held);
    eachLane(w, code, bytes, (lane) => {
      code.get(held);
      if (lane > 0) code.i32(bytes * stride * lane).op("i32.add");
    });
  } else {
    const index = w.lanes(code).hold((into) => w.vector(e.index, into, at));
    const pointer = w.scope.pointer(e.value);
    eachLane(w, code, bytes, (lane) => {
      code.get(pointer);
      index(code);
      code.lane("i32x4.extract_lane", lane).i32(Math.log2(bytes)).op("i32.shl", "i32.add");
    });
  }
}

/** Loads each lane from its own address. */
function eachLane(w: Writer, code: Code, bytes: number, address: (lane: number) => void): void {
  address(0);
  if (bytes === 2) code.memory("i32.load16_s").op("i32x4.splat");
  else code.memory("v128.load32_splat");
  if (bytes === 2) {
    for (let lane = 1; lane < 4; lane++) {
      address(lane);
      code.memory("i32.load16_s").lane("i32x4.replace_lane", lane);
    }
    return;
  }
  const value = w.local("v128");
  code.set(value);
  for (let lane = 1; lane < 4; lane++) {
    address(lane);
    code.get(value).memory("v128.load32_lane", 0, lane).set(value);
  }
  code.get(value);
}
