import { getOrInsert } from "../../../base/group.ts";
import type { Push, Value } from "./assemble.ts";
import { apply, extractLane, f32, i32, loadEach, type Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";
import type { Values } from "./values.ts";

// Tables of numbers that codes choose from. They lie in memory: a load is less work than bytes put together.

const bytes = 4;

/** Four numbers of the table, by the lowest bits of four codes. */
export function lookUp(values: Values, l: Lanes, table: readonly number[], codes: Vector): Vector {
  const places = l.hold(apply("i32x4.shl", apply("v128.and", codes, l.i32(table.length - 1)), 2));
  const lane = (i: number) => extractLane<"i32">("i32x4.extract_lane", places, i);
  return loadEach(bytes, lane, values.scope.module.tableAt(table));
}

/** One of them. */
export function lookUpOne(values: Values, table: readonly number[], code: Value<"i32">): Push<"f32"> {
  return f32.load(i32.shl(i32.and(code, table.length - 1), 2), values.scope.module.tableAt(table));
}

const byBytes = new Map<readonly number[], readonly number[]>();

/** A table of sixteen numbers by bytes of two codes: for each byte two numbers, that of its lower half first. */
export function pairsOf(table: readonly number[]): readonly number[] {
  return getOrInsert(byBytes, table, () =>
    Array.from({ length: 256 }, (_, byte) => [table[byte & 15]!, table[byte >> 4]!]).flat(),
  );
}
