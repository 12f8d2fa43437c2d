import { apply, type Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

// Sixteen constants of which a code of four bits chooses one: in vectors, a table of bytes for each byte of the constants.

const mask = 15;

/** Four values of the table, by the lowest bits of four codes. */
export function lookUp(l: Lanes, values: readonly number[], code: Vector): Vector {
  const place = l.hold(apply("v128.and", code, l.i32(mask)));
  // The code in each byte of its lane.
  const places = l.hold((into) => {
    place(into);
    place(into);
    into.shuffle([0, 4, 8, 12].flatMap((byte) => [byte, byte, byte, byte]));
  });
  return planesOf(values)
    .map((plane, i): Vector => {
      const found = apply("i8x16.swizzle", l.i32s(...plane), places);
      return apply("v128.and", found, l.i32(0xff << (8 * i)));
    })
    .reduce((all, plane) => apply("v128.or", all, plane));
}

/** The first byte of all sixteen constants as a vector, then the second ones, and so on. */
export function planesOf(values: readonly number[]): readonly Int32Array[] {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  return [0, 1, 2, 3].map((i) => {
    const plane = Uint8Array.from(values, (_, at) => bytes[4 * at + i]!);
    return new Int32Array(plane.buffer);
  });
}
