import { strideIn } from "../../../compile/access.ts";
import type { Expr } from "../../../compile/expr.ts";
import { addressOf } from "./addresses.ts";
import type { Code, Local, Value } from "./assemble.ts";
import { apply, type Vector, v128 } from "./expressions.ts";
import { planesOf } from "./tables.ts";
import type { Writer } from "./writer.ts";

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

/** The code of each lane, where lanes are at the codes of one word and all of those are one step. */
function laneCode(w: Writer, e: Expr): WordCode | undefined {
  const { vector } = w.scope;
  const code = vector?.whole ? codeOf(e) : undefined;
  return code &&
    code.variable === vector!.variable &&
    vector!.extent * code.bits === 32 &&
    !w.placement.varies(code.word)
    ? code
    : undefined;
}

const repeated = (count: number, of: (i: number) => readonly number[]) =>
  Array.from({ length: count }, (_, i) => of(i)).flat();

/** The lower halves of two vectors, pieces of so many bytes by turns, or the upper ones. */
function interleave(x: Value<"v128">, y: Value<"v128">, bytes: number, upper: boolean): Vector {
  const from = (i: number) => Array.from({ length: bytes }, (_, j) => (upper ? 8 : 0) + bytes * i + j);
  const order = repeated(8 / bytes, (i) => [...from(i), ...from(i).map((byte) => 16 + byte)]);
  return (code) => code.push(x).push(y).shuffle(order);
}

/** Whether the word of the second point of a pair follows that of the first. */
function isPair(w: Writer, { word }: WordCode): boolean {
  const { pairs } = w.scope.vector!;
  return pairs !== undefined && word.kind === "load" && strideIn(word.index, pairs) === 1;
}

/** The codes of a word, each in a byte; of both words where two are taken at a time. */
function bytesOf(w: Writer, found: WordCode, code: Code): Local<"v128"> {
  const { word, bits } = found;
  const pair = isPair(w, found);
  return w.made(word, pair ? "codes" : `codes ${w.copy}`, code, (into) => {
    const lanes = w.lanes(into);
    const address = pair && word.kind === "load" && addressOf(w, word.value, word.index, word.dtype, into);
    const words = into.let("v128", address ? v128.loadSplat64(address.base, address.offset) : w.vector(word));
    if (bits === 8) return words;
    const nibble = lanes.i32(0x0f0f0f0f);
    const upper = apply("i32x4.shr_u", words, 4);
    return into.let(
      "v128",
      interleave(apply("v128.and", words, nibble), apply("v128.and", upper, nibble), 1, false),
    );
  });
}

/** The codes of four lanes, if it is made of those of a word. */
export function codesOf(w: Writer, e: Expr, code: Code): Vector | undefined {
  const found = laneCode(w, e);
  if (!found) return undefined;
  const bytes = bytesOf(w, found, code);
  const first = w.offset + (isPair(w, found) ? (32 / found.bits) * w.copy : 0);
  const places = repeated(4, (lane) => [first + lane, 255, 255, 255]); // beyond 15 is 0
  const order = w.lanes(code).i32s(...new Int32Array(Uint8Array.from(places).buffer));
  return apply("i8x16.swizzle", bytes, order);
}

/** What a table of sixteen numbers has at the codes of four lanes, if those are of a word. */
export function levelsOf(w: Writer, e: Extract<Expr, { kind: "apply" }>, code: Code): Vector | undefined {
  const { table } = e.row;
  const found = laneCode(w, e.args[0]!);
  if (!table || found?.bits !== 4) return undefined;
  const pair = isPair(w, found);
  const made = (what: string, make: (into: Code) => Local<"v128">) =>
    w.made(found.word, `${e.row.name} ${what}`, code, make);
  // A byte of each number, then pairs of bytes of the eight that are wanted.
  const planes = planesOf(table).map((plane, i) =>
    made(pair ? `byte ${i}` : `byte ${i} ${w.copy}`, (into) => {
      const codes = bytesOf(w, found, into);
      return into.let("v128", apply("i8x16.swizzle", w.lanes(into).i32s(...plane), codes));
    }),
  ) as Local<"v128">[];
  const [low, high] = [0, 2].map((i) =>
    made(`bytes ${i} ${w.copy}`, (into) =>
      into.let("v128", interleave(planes[i]!, planes[i + 1]!, 1, pair && w.copy === 1)),
    ),
  ) as [Local<"v128">, Local<"v128">];
  return interleave(low, high, 2, w.offset === 4);
}
