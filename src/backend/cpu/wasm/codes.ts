import type { Expr } from "../../../compile/expr.ts";
import type { Code, Local, Value } from "./assemble.ts";
import { apply, i32, type Vector, v128 } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";
import { addressOf, numberOf, splatOf } from "./scalar.ts";
import { pairsOf } from "./tables.ts";
import type { Values } from "./values.ts";

// Codes of four or eight bits, in order from the lowest bits of a word that all lanes have: bytes are moved to where they
// belong, in place of a shift for each lane.

/** A code of a word by a loop variable: `word >> bits * variable & 2^bits - 1`. */
interface WordCode {
  readonly word: Expr;
  readonly bits: 4 | 8;
  readonly variable: string;
}

export function codeOf(e: Expr): WordCode | undefined {
  if (e.kind !== "apply" || e.row.name !== "bitwiseAnd") return undefined;
  const [shifted, mask] = e.args as [Expr, Expr];
  if (shifted.kind !== "apply" || shifted.row.name !== "rightShift" || mask.kind !== "constant")
    return undefined;
  const bits = mask.value === 15 ? 4 : mask.value === 255 ? 8 : undefined;
  const [word, by] = shifted.args as [Expr, Expr];
  if (!bits || word.dtype !== "uint32" || by.kind !== "apply" || by.row.name !== "mul") return undefined;
  const [place, factor] = by.args as [Expr, Expr];
  if (place.kind !== "cast" || place.arg.kind !== "variable") return undefined;
  if (factor.kind !== "constant" || factor.value !== bits) return undefined;
  return { word, bits, variable: place.arg.name };
}

/** The code of each lane, where lanes are at the codes of one word: all of the loop is one step. */
function laneCode(values: Values, e: Expr): WordCode | undefined {
  const { variable, extent } = values.scope.vector!;
  const code = codeOf(e);
  return code?.variable === variable && extent * code.bits === 32 && !values.placement.varies(code.word)
    ? code
    : undefined;
}

const repeated = (count: number, of: (i: number) => readonly number[]) =>
  Array.from({ length: count }, (_, i) => of(i)).flat();

/** The codes of a word, each in a byte. */
function bytesOf(values: Values, { word, bits }: WordCode, code: Code): Local<"v128"> {
  return values.made(word, "codes", code, (into) => {
    const lanes = values.lanes(into);
    const address = word.kind === "load" && addressOf(values, word.value, word.index, word.dtype, into);
    const words = into.let(
      "v128",
      address ? v128.loadSplat32(address.base, address.offset) : splatOf(values, word),
    );
    if (bits === 8) return words;
    const nibble = lanes.i32(0x0f0f0f0f);
    const lower = apply("v128.and", words, nibble);
    const upper = apply("v128.and", apply("i32x4.shr_u", words, 4), nibble);
    return into.let("v128", (made) =>
      made
        .push(lower)
        .push(upper)
        .shuffle(repeated(8, (i) => [i, 16 + i])),
    );
  });
}

/** The codes of four lanes, if it is made of those of a word. */
export function codesOf(values: Values, e: Expr, l: Lanes, code: Code): Vector | undefined {
  const found = laneCode(values, e);
  if (!found) return undefined;
  const bytes = bytesOf(values, found, code);
  const places = repeated(4, (lane) => [values.offset + lane, 255, 255, 255]); // beyond 15 is 0
  const order = l.i32s(...new Int32Array(Uint8Array.from(places).buffer));
  return apply("i8x16.swizzle", bytes, order);
}

/**
 * What a table has at the codes of four lanes, if those are of a word: by its bytes, of which each leads to one number or
 * to two at once.
 */
export function levelsOf(values: Values, e: Extract<Expr, { kind: "apply" }>): Vector | undefined {
  const { table } = e.row;
  const found = laneCode(values, e.args[0]!);
  if (!table || !found || table.length !== 2 ** found.bits) return undefined;
  const { word, bits } = found;
  const [numbers, load] =
    bits === 8 ? ([table, "v128.load32_lane"] as const) : ([pairsOf(table), "v128.load64_lane"] as const);
  const offset = values.scope.module.tableAt(numbers);
  /** Where what belongs to a byte of the word lies in the table: 4 or 8 bytes for each. */
  const place = (byte: number): Value<"i32"> => {
    const by = 8 * byte - (bits === 8 ? 2 : 3);
    const bits32 = numberOf(values, word) as Value<"i32">; // what words are
    return i32.and(by < 0 ? i32.shl(bits32, -by) : i32.shr(bits32, by), bits === 8 ? 0x3fc : 0x7f8);
  };
  const first = (values.offset * bits) / 8;
  return (code) => {
    const lanes = code.local("v128");
    code.push(place(first)).memory(bits === 8 ? "v128.load32_splat" : "v128.load64_splat", offset);
    code.set(lanes);
    for (let i = 1; i < bits / 2; i++)
      code
        .push(place(first + i))
        .get(lanes)
        .memory(load, offset, i)
        .set(lanes);
    code.get(lanes);
  };
}
