import type { Range, Windows } from "../../../../compile/windows.ts";
import type { Code, Local, Push, Value } from "../assemble.ts";
import { apply, i32, v128 } from "../expressions.ts";
import { quadColumns, tileSide, type Winograd } from "./schedule.ts";

const { add, sub, mul, div, rem, shl, lt } = i32;

/** Where a quad lies: in which image, and its first row and column of results. */
export interface Place {
  readonly image: Local<"i32">;
  readonly row: Local<"i32">;
  readonly column: Local<"i32">;
}

export function placeOf(code: Code, quad: Value<"i32">, { down, across }: Winograd): Place {
  const strip = code.let("i32", div(quad, across));
  return {
    image: code.let("i32", div(strip, down)),
    row: code.let("i32", mul(rem(strip, down), tileSide)),
    column: code.let("i32", mul(rem(quad, across), quadColumns)),
  };
}

/** A part of an image: lines of vectors. What does not lie in the ranges is 0. */
export interface Patch {
  readonly lines: number;
  readonly vectors: number;
  readonly rows: Range;
  readonly columns: Range;
  /** From one line to the next. */
  readonly bytes: number;
}

/** What the windows of a quad reach, and two columns more. */
export const imagePatch = ({ rows, columns, row }: Windows): Patch => ({
  lines: 4,
  vectors: 3,
  rows,
  columns,
  bytes: 4 * row,
});

/** The address of its first element. */
export function elementAt(
  source: Local<"i32">,
  { image, channel, row, origin }: Windows,
  place: Place,
  which: Local<"i32">,
): Push<"i32"> {
  const terms = [mul(place.image, image), mul(which, channel), mul(place.row, row), place.column];
  return add(
    source,
    shl(
      terms.reduce<Value<"i32">>((sum, term) => add(sum, term), origin),
      2,
    ),
  );
}

/**
 * Writes what all channels share of the patch at a place. What comes back writes where the lines of a channel are, the first
 * of which is at `address`: there, or copied without what lies outside.
 *
 * @param safe An address from which vectors can be loaded.
 * @param copy Where there is room for a copy.
 */
export function openPatch(
  code: Code,
  { lines, vectors, rows, columns, bytes }: Patch,
  { row, column }: Place,
  safe: Local<"i32">,
  copy: Local<"i32">,
): (address: Local<"i32">) => readonly Local<"i32">[] {
  const within = (at: Value<"i32">, { first, end }: Range) => lt(sub(at, first), end - first);
  const last = (at: Local<"i32">, length: number) => add(at, length - 1);
  const all = [within(row, rows), within(last(row, lines), rows)];
  all.push(within(column, columns), within(last(column, 4 * vectors), columns));
  const whole = code.let(
    "i32",
    all.reduce((some, own) => i32.and(some, own)),
  );
  const masks = Array.from({ length: vectors }, () => code.local("v128"));
  const present = masks.map(() => code.local("i32"));
  const inside = Array.from({ length: lines }, () => code.local("i32"));
  code.if(i32.isZero(whole), () => {
    masks.forEach((mask, j) => {
      const lanes = apply(
        "i32x4.add",
        apply("i32x4.splat", column),
        v128.constant(lanesFrom(4 * j - columns.first)),
      );
      const end = v128.constant(new Int32Array(4).fill(columns.end - columns.first));
      code.assign(mask, apply("i32x4.lt_u", lanes, end));
      code.assign(present[j]!, apply<"i32">("v128.any_true", mask));
    });
    inside.forEach((own, i) => {
      code.assign(own, within(add(row, i), rows));
    });
  });
  const found = inside.map(() => code.local("i32"));
  return (address) => {
    const here = () => {
      found.forEach((line, i) => {
        code.assign(line, i === 0 ? address : add(found[i - 1]!, bytes));
      });
    };
    const copied = () => {
      found.forEach((line, i) => {
        code.assign(line, add(copy, 16 * vectors * i));
        masks.forEach((mask, j) => {
          const any = i32.and(inside[i]!, present[j]!);
          const at = apply<"i32">("select", add(address, i * bytes + 16 * j), safe, any);
          const held = apply("v128.and", v128.load(at), mask);
          code.if(
            inside[i]!,
            () => code.store("v128.store", line, 16 * j, held),
            () => code.store("v128.store", line, 16 * j, v128.constant(new Int32Array(4))),
          );
        });
      });
    };
    code.if(whole, here, copied);
    return found;
  };
}

const lanesFrom = (first: number) => Int32Array.of(first, first + 1, first + 2, first + 3);
