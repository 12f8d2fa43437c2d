import { bytesPerElement } from "../../../base/dtype.ts";
import { guardOf, type Load } from "../../../compile/access.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Code } from "./assemble.ts";
import { apply, extractLane, i32, loadBy, loadEach, type Vector, v128 } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";
import { narrowLanes } from "./narrow.ts";
import { type Address, addedUp, addressOf } from "./scalar.ts";
import type { Values } from "./values.ts";

/** Four elements; bools as masks. @param lanesOf How indices and guards come in lanes. */
export function loadVector(
  values: Values,
  e: Load,
  l: Lanes,
  code: Code,
  lanesOf: (part: Expr) => Vector,
): Vector {
  const stored = loadLanes(values, e, l, code, lanesOf);
  const narrow = narrowLanes(e.dtype);
  if (narrow) return narrow.load(l, stored);
  return e.dtype === "bool" ? apply("i32x4.ne", stored, l.i32(0)) : stored;
}

/**
 * The halves of four float32 that lie side by side, as float64: each is loaded by itself, since processors convert what they load in
 * one step, and else move the second half first.
 */
export function loadHalves(values: Values, e: Expr, code: Code): readonly [Vector, Vector] | undefined {
  if (e.kind !== "load" || e.dtype !== "float32" || values.placement.stride(e.index) !== 1) return undefined;
  const { base, offset } = addressOf(values, e.value, e.index, e.dtype, code);
  const half = (at: number) =>
    apply("f64x2.promote_low_f32x4", loadBy("v128.load64_zero", base, offset + at));
  return [half(0), half(8)];
}

/** Four elements as they are stored; those of 16 bits in words. */
function loadLanes(values: Values, e: Load, l: Lanes, code: Code, lanesOf: (part: Expr) => Vector): Vector {
  const bytes = bytesPerElement(e.dtype);
  const stride = values.placement.stride(e.index);
  if (stride !== undefined) return loadWhole(values, e, e.index, stride, code);
  const pointer = values.scope.pointer(e.value);
  const guarded = guardOf(e.index);
  const inside = guarded && values.placement.stride(guarded.inside);
  if (inside !== undefined) {
    if (values.holds(guarded!.guard)) return loadWhole(values, e, guarded!.inside, inside, code);
    // Mostly all lanes are inside; those that are not take the first element, whose value is not used.
    const mask = l.hold(lanesOf(guarded!.guard));
    const first = code.let("i32", addedUp(addressOf(values, e.value, guarded!.inside, e.dtype, code)));
    const lanes = code.local("v128");
    code.if(
      apply<"i32">("i32x4.all_true", mask),
      () => code.assign(lanes, atDistances(bytes, inside, { base: first, offset: 0 })),
      () => {
        const address = (lane: number) => {
          const own = lane > 0 ? i32.add(first, bytes * inside * lane) : first;
          return apply<"i32">("select", own, pointer, extractLane<"i32">("i32x4.extract_lane", mask, lane));
        };
        code.assign(lanes, loadEach(bytes, address));
      },
    );
    return (code) => code.get(lanes);
  }
  const index = l.hold(lanesOf(e.index));
  return loadEach(bytes, (lane) => {
    const own = extractLane<"i32">("i32x4.extract_lane", index, lane);
    return i32.add(pointer, i32.shl(own, Math.log2(bytes)));
  });
}

/** Elements that are all there. */
function loadWhole(values: Values, e: Load, index: Expr, stride: number, code: Code): Vector {
  const bytes = bytesPerElement(e.dtype);
  const twins = stride === 2 && bytes === 4 ? values.twins(e) : undefined;
  if (!twins) return atDistances(bytes, stride, addressOf(values, e.value, index, e.dtype, code));
  // Both take their elements from the same two vectors.
  const { first } = twins;
  const level = values.placement.level(first);
  const own = guardOf(first.index)?.inside ?? first.index;
  const name = `${values.offset} ${first.id}`;
  const at = values.once(
    `twins ${name}`,
    level,
    "i32",
    addedUp(addressOf(values, e.value, own, e.dtype, code)),
  );
  const half = (which: 0 | 1) =>
    values.once(`half ${which} ${name}`, level, "v128", v128.load(at, 16 * which));
  const lane = e === first ? 0 : 1;
  return v128.lanes(half(0), half(1), lane, lane + 2, lane + 4, lane + 6);
}

/** Lanes at constant distances. */
function atDistances(bytes: number, stride: number, { base, offset }: Address): Vector {
  if (stride === 1) return loadBy(bytes === 2 ? "v128.load16x4_s" : "v128.load", base, offset);
  return (code) => {
    const first = code.let("i32", addedUp({ base, offset }));
    // Every second element: the last of them is the last that is read.
    if (stride === 2 && bytes === 4)
      code.push(v128.lanes(v128.load(first), v128.load(first, 12), 0, 2, 5, 7));
    else code.push(loadEach(bytes, (lane) => (lane > 0 ? i32.add(first, bytes * stride * lane) : first)));
  };
}
