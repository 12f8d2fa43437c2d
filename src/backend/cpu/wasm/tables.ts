import type { Expr } from "../../../compile/expr.ts";
import type { Lanes, Push } from "./v128.ts";

// A code of four bits that chooses among sixteen constants, bit after bit, as the levels of NF4 are chosen: in vectors
// it is a table of bytes for each byte of the constants.

interface Table {
  readonly code: Expr;
  readonly values: readonly number[];
}

const highest = 8;

/** The table that a choice by the bits of a code amounts to: `where(code & 8, where(code & 4, ...), ...)`. */
export function tableOf(e: Expr): Table | undefined {
  if (e.dtype !== "float32") return undefined;
  const code = bitOf(e, highest);
  if (!code) return undefined;
  const values: number[] = [];
  const collect = (part: Expr, bit: number): boolean => {
    if (bit < 1) return part.kind === "constant" && values.push(part.value) > 0;
    if (part.kind !== "apply" || bitOf(part, bit) !== code) return false;
    const [, set, clear] = part.args;
    return collect(clear!, bit / 2) && collect(set!, bit / 2);
  };
  return collect(e, highest) ? { code, values } : undefined;
}

/** The code of which a choice asks for that bit. */
function bitOf(e: Expr, bit: number): Expr | undefined {
  if (e.kind !== "apply" || e.row.name !== "where") return undefined;
  const [condition] = e.args;
  if (condition?.kind !== "apply" || condition.row.name !== "ne") return undefined;
  const [masked, zero] = condition.args;
  if (masked?.kind !== "apply" || masked.row.name !== "bitwiseAnd" || !isConstant(zero, 0)) return undefined;
  return isConstant(masked.args[1], bit) ? masked.args[0] : undefined;
}

function isConstant(e: Expr | undefined, value: number): boolean {
  return e?.kind === "constant" && e.value === value;
}

/** Four values of the table. */
export function lookUp(l: Lanes, values: readonly number[], code: Push): Push {
  const place = l.hold((into) => {
    code(into);
    l.i32(2 * highest - 1)(into);
    into.op("v128.and");
  });
  // The code in each byte of its lane.
  const places = l.hold((into) => {
    place(into);
    place(into);
    into.shuffle([0, 4, 8, 12].flatMap((byte) => [byte, byte, byte, byte]));
  });
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  return (into) => {
    for (let i = 0; i < 4; i++) {
      const plane = Uint8Array.from(values, (_, at) => bytes[4 * at + i]!);
      l.i32s(...new Int32Array(plane.buffer))(into);
      places(into);
      into.op("i8x16.swizzle");
      l.i32(0xff << (8 * i))(into);
      into.op("v128.and");
      if (i > 0) into.op("v128.or");
    }
  };
}
