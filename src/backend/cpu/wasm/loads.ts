import { bytesPerElement } from "../../../base/dtype.ts";
import type { Load } from "../../../compile/access.ts";
import { addedUp, addressOf } from "./addresses.ts";
import type { Code, Value } from "./assemble.ts";
import { apply, eachLane, extractLane, i32, loadBy, type Vector, v128 } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";
import { narrowLanes } from "./narrow.ts";
import type { Writer } from "./writer.ts";

/** Four elements; bools as masks. */
export function loadVector(w: Writer, e: Load, code: Code): Vector {
  const l = w.lanes(code);
  const stored = loadLanes(w, e, l, code);
  const narrow = narrowLanes(e.dtype);
  if (narrow) return narrow.load(l, stored);
  return e.dtype === "bool" ? apply("i32x4.ne", stored, l.i32(0)) : stored;
}

/** Four elements as they are stored; those of 16 bits in words. */
function loadLanes(w: Writer, e: Load, l: Lanes, code: Code): Vector {
  const bytes = bytesPerElement(e.dtype);
  const stride = w.placement.stride(e.index);
  if (stride === undefined) {
    const index = l.hold(w.vector(e.index));
    const pointer = w.scope.pointer(e.value);
    return laneByLane(bytes, (lane) => {
      const own = extractLane<"i32">("i32x4.extract_lane", index, lane);
      return i32.add(pointer, i32.shl(own, Math.log2(bytes)));
    });
  }
  const { base, offset } = addressOf(w, e.value, e.index, e.dtype, code);
  if (stride === 1) return loadBy(bytes === 2 ? "v128.load16x4_s" : "v128.load", base, offset);
  // Lanes at constant distances.
  return (code) => {
    const first = code.let("i32", addedUp({ base, offset }));
    code.push(laneByLane(bytes, (lane) => (lane > 0 ? i32.add(first, bytes * stride * lane) : first)));
  };
}

/** Loads each lane from its own address, or so much behind it. */
export function laneByLane(bytes: number, address: (lane: number) => Value<"i32">, offset = 0): Vector {
  if (bytes === 2) return eachLane("i32x4", (lane) => loadBy("i32.load16_s", address(lane), offset));
  return (code) => {
    const lanes = code.let("v128", v128.loadSplat32(address(0), offset));
    for (const lane of [1, 2, 3])
      code.push(address(lane)).get(lanes).memory("v128.load32_lane", offset, lane).set(lanes);
    code.get(lanes);
  };
}
