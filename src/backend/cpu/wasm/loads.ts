import { bytesPerElement } from "../../../base/dtype.ts";
import { guardOf, type Load, loadsOf } from "../../../compile/access.ts";
import type { Expr } from "../../../compile/expr.ts";
import { type Address, addedUp, addressOf } from "./addresses.ts";
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

/**
 * The halves of four float32 that lie side by side, as float64: each is loaded by itself, since processors convert what they load in
 * one step, and else move the second half first.
 */
export function loadHalves(w: Writer, e: Expr, code: Code): readonly [Vector, Vector] | undefined {
  if (e.kind !== "load" || e.dtype !== "float32" || w.placement.stride(e.index) !== 1) return undefined;
  const { base, offset } = addressOf(w, e.value, e.index, e.dtype, code);
  const half = (at: number) =>
    apply("f64x2.promote_low_f32x4", loadBy("v128.load64_zero", base, offset + at));
  return [half(0), half(8)];
}

/** The guards of loads that are whole vectors where these hold in all lanes. */
export function guardsOf(w: Writer, roots: readonly Expr[]): readonly Expr[] {
  return loadsOf(roots).flatMap(({ index }) => {
    const guarded = w.placement.stride(index) === undefined ? guardOf(index) : undefined;
    return guarded && w.placement.stride(guarded.inside) !== undefined ? [guarded.guard] : [];
  });
}

/** Four elements as they are stored; those of 16 bits in words. */
function loadLanes(w: Writer, e: Load, l: Lanes, code: Code): Vector {
  const bytes = bytesPerElement(e.dtype);
  const stride = w.placement.stride(e.index);
  if (stride !== undefined) return atDistances(bytes, stride, addressOf(w, e.value, e.index, e.dtype, code));
  const pointer = w.scope.pointer(e.value);
  const guarded = guardOf(e.index);
  const inside = guarded && w.placement.stride(guarded.inside);
  if (inside !== undefined) {
    if (w.holds(guarded!.guard))
      return atDistances(bytes, inside, addressOf(w, e.value, guarded!.inside, e.dtype, code));
    // Mostly all lanes are inside; those that are not take the first element, whose value is not used.
    const mask = l.hold(w.vector(guarded!.guard));
    const first = code.let("i32", addedUp(addressOf(w, e.value, guarded!.inside, e.dtype, code)));
    const lanes = code.local("v128");
    code.if(
      apply<"i32">("i32x4.all_true", mask),
      () => code.assign(lanes, atDistances(bytes, inside, { base: first, offset: 0 })),
      () => {
        const address = (lane: number) => {
          const own = lane > 0 ? i32.add(first, bytes * inside * lane) : first;
          return apply<"i32">("select", own, pointer, extractLane<"i32">("i32x4.extract_lane", mask, lane));
        };
        code.assign(lanes, laneByLane(bytes, address));
      },
    );
    return (code) => code.get(lanes);
  }
  const index = l.hold(w.vector(e.index));
  return laneByLane(bytes, (lane) => {
    const own = extractLane<"i32">("i32x4.extract_lane", index, lane);
    return i32.add(pointer, i32.shl(own, Math.log2(bytes)));
  });
}

/** Lanes at constant distances. */
function atDistances(bytes: number, stride: number, { base, offset }: Address): Vector {
  if (stride === 1) return loadBy(bytes === 2 ? "v128.load16x4_s" : "v128.load", base, offset);
  return (code) => {
    const first = code.let("i32", addedUp({ base, offset }));
    // Every second element: the last of them is the last that is read.
    if (stride === 2 && bytes === 4)
      code.push(v128.lanes(v128.load(first), v128.load(first, 12), 0, 2, 5, 7));
    else code.push(laneByLane(bytes, (lane) => (lane > 0 ? i32.add(first, bytes * stride * lane) : first)));
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
