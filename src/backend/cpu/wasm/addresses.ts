import { bytesPerElement, type DeviceDType } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Code, Value } from "./assemble.ts";
import { i32 } from "./expressions.ts";
import type { Writer } from "./writer.ts";

/** An address is a sum, and a constant offset. */
export interface Address {
  readonly base: Value<"i32">;
  readonly offset: number;
}

/**
 * The address of an element, or of its first lane: pointer and terms are added up at the levels where they are
 * known, so that inner loops only add what changes in them.
 */
export function addressOf(w: Writer, value: number, index: Expr, dtype: DeviceDType, code: Code): Address {
  const bytes = bytesPerElement(dtype);
  const constant = index.kind === "sum" ? index.constant : 0;
  const stride = w.placement.stride(index) ?? 0;
  // Small constants go into the instruction: no buffer begins below them, so bases do not fall below 0.
  const constantBytes = (constant + stride * w.offset) * bytes;
  const fits = constantBytes >= 0 && constantBytes < 1024;
  const [offset, rest] = fits ? [constantBytes, 0] : [0, constantBytes];
  const groups = [...w.placement.terms(index)];
  if (groups[0]?.level !== 0 && rest !== 0) groups.unshift({ level: 0, terms: [] });
  let base: Value<"i32"> = w.scope.pointer(value);
  let name = `address ${value},${bytes},${rest}`;
  for (const { level, terms } of groups) {
    if (level === 0 && rest !== 0) base = i32.add(base, rest);
    for (const { coefficient, atom } of terms) {
      const [x, factor] = [w.index(atom), coefficient * bytes];
      const shifts = factor > 0 && isPowerOfTwo(factor);
      base = i32.add(base, shifts ? i32.shl(x, Math.log2(factor)) : i32.mul(x, factor));
    }
    if (!w.outside(code, level)) continue;
    name += `;${level}:${terms.map(({ coefficient, atom }) => `${coefficient}*${atom.id}`).join()}`;
    base = w.once(name, level, "i32", base);
  }
  return { base, offset };
}

/** An address as one number. */
export const addedUp = ({ base, offset }: Address): Value<"i32"> =>
  offset > 0 ? i32.add(base, offset) : base;

export function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(Math.log2(x));
}
