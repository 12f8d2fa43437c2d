import { bytesPerElement, type DeviceDType } from "../../../base/dtype.ts";
import type { Expr, Term } from "../../../compile/expr.ts";
import type { Level } from "../../../compile/place.ts";
import type { Code, Local } from "./assemble.ts";
import type { Address, Writer } from "./writer.ts";

/** Addresses of elements, as far as they are computed. */
export class Addresses {
  readonly #writer: Writer;
  readonly #known = new Map<string, { readonly local: Local<"i32">; readonly level: Level }>();

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** Forgets what is computed at a level that starts anew, and further in. */
  restart(from: Level): void {
    for (const [key, { level }] of this.#known) if (level >= from) this.#known.delete(key);
  }

  /**
   * The address of an element, or of its first lane: pointer and terms are added up at the levels where they are
   * known, so that inner loops only add what changes in them.
   */
  of(value: number, index: Expr, dtype: DeviceDType, at: Level): Address {
    const w = this.#writer;
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
    let key = `${value},${bytes},${rest}`;
    const write = (into: Code, level: Level, added: readonly Term[]) => {
      into.get(base);
      if (level === 0 && rest !== 0) into.i32(rest).op("i32.add");
      for (const { coefficient, atom } of added) {
        w.scalar(atom, into, level);
        const factor = coefficient * bytes;
        if (factor > 0 && isPowerOfTwo(factor)) into.i32(Math.log2(factor)).op("i32.shl");
        else into.i32(factor).op("i32.mul");
        into.op("i32.add");
      }
    };
    for (const { level, terms: added } of groups) {
      if (level >= at) return { base: (into) => write(into, level, added), offset };
      key += `;${level}:${added.map(({ coefficient, atom }) => `${coefficient}*${atom.id}`).join()}`;
      let local = this.#known.get(key)?.local;
      if (!local) {
        local = w.local("i32");
        const piece = w.piece(level);
        write(piece, level, added);
        piece.set(local);
        this.#known.set(key, { local, level });
      }
      base = local;
    }
    const result = base;
    return { base: (into) => into.get(result), offset };
  }
}

export function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(Math.log2(x));
}
