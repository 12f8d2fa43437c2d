import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { decode } from "../grid.ts";

/** Columns of a microkernel tile, in bytes: two vectors. */
export const tileBytes = 32;
/** Rows of a tile: eight sums, two of b and one of a. Taller ones, or k unrolled, and V8 spills registers. */
export const tileRows = 4;
/** Inner elements for which a panel of b stays in the first cache. */
export const innerBlock = 512;
/** Rows and columns of a block of the result, whose sums stay in the second cache. */
export const blockRows = 60;
export const blockColumns = 256;

/** Blocks that threads can share evenly; for their sake a block may be as small as that. */
const enoughBlocks = 16;
const fewColumns = 64;
const fewRows = 16;

/** Bytes of scratch memory that each thread needs for a block. */
export const threadScratch = 8 * blockRows * (innerBlock + blockColumns + 16);

export interface Geometry {
  readonly bytes: number;
  readonly rows: number;
  readonly columns: number;
  readonly panels: number;
  readonly innerStep: number;
  readonly relaxed: boolean;
  /** Bytes from one inner element of b to the next where b is read in place; else it is packed. */
  readonly strideB: number | undefined;
}

/** The largest multiple of `step` up to `most` that cuts `extent` evenly. */
export function evenBlock(extent: number, step: number, most: number): number {
  const steps = Math.ceil(extent / step);
  const blocks = Math.ceil(steps / Math.floor(most / step));
  return Math.ceil(steps / blocks) * step;
}

/**
 * Rows and columns of a block: equal blocks, multiples of the tile, as large as fits the caches but for results that would
 * then have too few for threads to share evenly.
 */
export function blocksOf(
  { batch, row, column }: MatmulKernel,
  g: Geometry,
): { readonly rowBlock: number; readonly columnBlock: number } {
  const bounded = (share: number, least: number, most: number) => Math.min(most, Math.max(least, share));
  const columnShare = (column.extent * batch.extent * Math.ceil(row.extent / blockRows)) / enoughBlocks;
  const columnBlock = evenBlock(column.extent, g.columns, bounded(columnShare, fewColumns, blockColumns));
  const blocks = batch.extent * Math.ceil(column.extent / columnBlock);
  const rowShare = (row.extent * blocks) / enoughBlocks;
  return { rowBlock: evenBlock(row.extent, g.rows, bounded(rowShare, fewRows, blockRows)), columnBlock };
}

/** Where code of a kernel is written: its module, what the kernel is given, and where that lies. */
export interface Site {
  readonly module: Module;
  readonly given: Arguments;
  readonly args: Local<"i32">;
}

/** Runs `write` for each unit from `begin` to `end`, split into counters. */
export function units<const E extends readonly number[]>(
  code: Code,
  begin: Local<"i32">,
  end: Local<"i32">,
  extents: E,
  write: (body: Code, counters: { readonly [i in keyof E]: Local<"i32"> }) => void,
): void {
  const unit = code.local("i32");
  const counters = extents.map((extent) => ({ local: code.local("i32"), extent }));
  const locals = counters.map(({ local }) => local);
  code.each(unit, begin, end, 1, () => {
    decode(code, unit, counters);
    write(code, locals as { readonly [i in keyof E]: Local<"i32"> }); // one for each extent
  });
}

/** The first place of a block of an axis, and its end, which is that of the axis at most. */
export function span(
  code: Code,
  which: Local<"i32">,
  size: number,
  extent: number,
): readonly [first: Local<"i32">, end: Local<"i32">] {
  const first = code.let("i32", i32.mul(which, size));
  const end = code.let("i32", i32.add(first, size));
  code.if(i32.gt(end, extent), () => code.assign(end, extent));
  return [first, end];
}
