import { bytesPerElement, type DeviceDType } from "../../../base/dtype.ts";
import type { Expr, Term } from "../../../compile/expr.ts";
import type { Level } from "../../../compile/place.ts";
import type { Local, Value } from "./assemble.ts";
import { i32 } from "./expressions.ts";
import type { Address, Writer } from "./writer.ts";

/**
 * The address of an element, or of its first lane: pointer and terms are added up at the levels where they are
 * known, so that inner loops only add what changes in them.
 */
export function addressOf(w: Writer, value: number, index: Expr, dtype: DeviceDType, at: Level): Address {
  const bytes = bytesPerElement(dtype);
  const terms = index.kind === "sum" ? index.terms : [{ coefficient: 1, atom: index }];
  const constant = index.kind === "sum" ? index.constant : 0;
  const stride = w.stride(index) ?? 0;
  // Small constants go into the instruction: no buffer begins below them, so bases do not fall below 0.
  const constantBytes = (constant + stride * w.offset) * bytes;
  const fits = constantBytes >= 0 && constantBytes < 1024;
  const [offset, rest] = fits ? [constantBytes, 0] : [0, constantBytes];
  const groups = w.places.termsByLevel(terms);
  if (groups[0]?.level !== 0 && rest !== 0) groups.unshift({ level: 0, terms: [] });
  let base = w.scope.pointer(value);
  let name = `address ${value},${bytes},${rest}`;
  const sum = (level: Level, added: readonly Term[]): Value<"i32"> => {
    const start: Value<"i32"> = level === 0 && rest !== 0 ? i32.add(base, rest) : base;
    return added.reduce<Value<"i32">>((sum, { coefficient, atom }) => {
      const [x, factor] = [w.index(atom, level), coefficient * bytes];
      const shifts = factor > 0 && isPowerOfTwo(factor);
      return i32.add(sum, shifts ? i32.shl(x, Math.log2(factor)) : i32.mul(x, factor));
    }, start);
  };
  for (const { level, terms: added } of groups) {
    if (level >= at) return { base: sum(level, added), offset };
    name += `;${level}:${added.map(({ coefficient, atom }) => `${coefficient}*${atom.id}`).join()}`;
    const known = w.held(name) as Local<"i32"> | undefined; // as it was made
    const local = known ?? w.hold(name, level, w.local("i32"));
    if (!known) w.piece(level).assign(local, sum(level, added));
    base = local;
  }
  return { base, offset };
}

export function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(Math.log2(x));
}
