import type { Lanes, Push } from "./v128.ts";

// Sixteen constants of which a code of four bits chooses one: in vectors, a table of bytes for each byte of the constants.

const mask = 15;

/** Four values of the table, by the lowest bits of four codes. */
export function lookUp(l: Lanes, values: readonly number[], code: Push): Push {
  const place = l.hold((into) => {
    code(into);
    l.i32(mask)(into);
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
