import { strideIn } from "../../../../compile/access.ts";
import type { Expr } from "../../../../compile/expr.ts";
import type { Axis, MatmulKernel } from "../../../../compile/kernel.ts";
import { computedBy } from "../../../../compile/nest.ts";
import { type Runs, runsOf } from "../../../../compile/runs.ts";
import { instructionsOf } from "../heuristics.ts";
import { fitsLanes } from "../layout.ts";

// How products of matrices run on the CPU, and every number that decides it; chosen as in ../heuristics.ts, on the same
// machines. The code is written by this and decides nothing.

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

/** Rows of a result for which packing b costs more than it saves. */
const rowsInPlace = 2 * tileRows;
/** Elements of float32 in a line of the cache. */
const line = 16;
/** Panels that are packed side by side: together they are a cache line or two. */
export const panelGroup = 4;

/**
 * Bytes of b that are packed at once, by all threads: no product needs more scratch memory, whatever its size, but for one panel.
 * In interleaved runs products of 80 x 49152 x 576 and 80 x 576 x 49152 take 1.04 and 1.07 times as long as with twice the
 * bytes, which is a hundredth of a step of training, and no longer than with half of them.
 */
const mostPacked = 2 ** 25;

/**
 * Rows and columns of a block whose part of b is packed for it alone, by the thread that computes it: b then stays in the second
 * cache, where packing all of it first would write it to memory and read it again.
 */
const streamedRows = 128;
const streamedColumns = 128;
/** Bytes of packed b from which that is worth it, and the blocks of rows, each of which packs b again. */
const leastStreamed = 2 ** 21;
const mostStreams = 2;

/** Parts of the scratch memory of a thread: sums of a block, its rows of a, its columns of b where these are streamed. */
export const sumsBytes = 8 * blockRows * (blockColumns + 16);
export const rowsBytes = Math.max(8 * blockRows, 4 * streamedRows) * innerBlock;
/** Bytes of scratch memory that each thread needs for a block. */
export const threadScratch = sumsBytes + rowsBytes + 4 * streamedColumns * innerBlock;

/** Where the microkernel finds elements of a: bytes from row to row and from one inner element to the next. */
export interface Strides {
  readonly row: number;
  readonly inner: number;
}

/** Runs along an axis. */
interface InRuns {
  readonly runs: Runs;
  readonly along: string;
}

/** How an operand gets into panels. */
export interface Packing {
  /** Whole panels that lie side by side are copied in one go. */
  readonly together: boolean;
  /** Other panels by runs; by four inner elements of a row, which are turned; by four lanes across; or one element after the other. */
  readonly by: InRuns | "turned" | "lanes" | "elements";
}

/** The columns of each matrix of b in equal pieces, whole blocks, of which a round has some in scratch memory. */
export interface Pieces {
  readonly count: number;
  /** Of a piece; the last one may have fewer. */
  readonly blocks: number;
  readonly panels: number;
  /** Pieces of a round. */
  readonly round: number;
}

/** How a product runs. */
export interface Schedule {
  readonly bytes: number;
  /** Of a tile. */
  readonly rows: number;
  readonly columns: number;
  readonly innerStep: number;
  /** Of a block. */
  readonly rowBlock: number;
  readonly columnBlock: number;
  readonly pieces: Pieces;
  /** Whether each block packs its own part of b. */
  readonly streamed: boolean;
  readonly relaxed: boolean;
  readonly a: Packing | Strides;
  /** Packed, or bytes from one inner element to the next where it is read in place. */
  readonly b: Packing | number;
  /** Whether four results are made of sums at once. */
  readonly vector: boolean;
}

export function scheduleMatmul(kernel: MatmulKernel, relaxed: boolean): Schedule {
  const { row, column, inner, a, dtype } = kernel;
  const bytes = dtype === "float64" ? 8 : 4;
  const columns = tileBytes / bytes;
  const rows = Math.min(tileRows, row.extent);
  const b = strideOfB(kernel, columns, bytes) ?? packingOf(kernel.b, column, inner, columns, bytes);
  const streamed = typeof b !== "number" && isStreamed(kernel, bytes);
  return {
    bytes,
    rows,
    columns,
    // A multiple of four, so that runs of four begin there.
    innerStep:
      inner.extent <= innerBlock ? Math.max(inner.extent, 1) : evenBlock(inner.extent, 4, innerBlock),
    ...(streamed
      ? streamedBlocksOf(kernel, rows, columns)
      : blocksOf(kernel, rows, columns, typeof b === "number" ? 0 : inner.extent * bytes)),
    streamed,
    relaxed,
    a: stridesOfA(kernel, bytes) ?? packingOf(a, row, inner, rows, bytes),
    b,
    vector: storesVectors(kernel),
  };
}

/** Whether four results are made of sums at once. */
export function storesVectors({ dtype, stores, column }: MatmulKernel): boolean {
  return (
    dtype === "float32" &&
    fitsLanes(computedBy(stores)) &&
    stores.every(({ index }) => column.extent === 1 || strideIn(index, column.name) === 1)
  );
}

/** Rough times of units in nanoseconds: 25 operations of float32 in one, 10 of float64. Estimates, by the rates of docs/performance.md; only how threads share work depends on them. */
export function computeCost({ row, column, inner, stores }: MatmulKernel, s: Schedule): number {
  const area = Math.min(s.rowBlock, row.extent) * Math.min(s.columnBlock, column.extent);
  const epilogue = instructionsOf(computedBy(stores));
  return (area * inner.extent * 2) / (s.bytes === 4 ? 25 : 10) + area * epilogue * 0.2 + 100;
}

export const packCost = ({ inner }: MatmulKernel, { columns }: Schedule): number =>
  panelGroup * columns * inner.extent * 0.6 + 20;

/** The largest multiple of `step` up to `most` that cuts `extent` evenly. */
export function evenBlock(extent: number, step: number, most: number): number {
  const steps = Math.ceil(extent / step);
  const blocks = Math.ceil(steps / Math.floor(most / step));
  return Math.ceil(steps / blocks) * step;
}

/**
 * Rows and columns of a block: equal blocks, multiples of the tile, as large as fits the caches but for results that would
 * then have too few for threads to share evenly.
 *
 * @param packed Bytes of a packed column of b; 0 where it is read in place.
 */
function blocksOf(
  { batch, row, column }: MatmulKernel,
  rows: number,
  columns: number,
  packed: number,
): Pick<Schedule, "rowBlock" | "columnBlock" | "pieces"> {
  const bounded = (share: number, least: number, most: number) => Math.min(most, Math.max(least, share));
  const columnShare = (column.extent * batch.extent * Math.ceil(row.extent / blockRows)) / enoughBlocks;
  const widest = bounded(mostPacked / packed, columns, blockColumns);
  const columnBlock = evenBlock(column.extent, columns, bounded(columnShare, fewColumns, widest));
  const blocks = Math.ceil(column.extent / columnBlock);
  /** Of so many, how many at a time, if at most some and in groups that are as equal as they can be. */
  const evenly = (all: number, most: number) => {
    const groups = Math.ceil(all / Math.max(1, Math.min(all, Math.floor(most))));
    return Math.ceil(all / groups);
  };
  const each = evenly(blocks, mostPacked / (columnBlock * packed));
  const count = Math.ceil(blocks / each);
  const panels = Math.ceil(Math.min(each * columnBlock, column.extent) / columns);
  const round = evenly(batch.extent * count, mostPacked / (panels * columns * packed));
  const rowShare = (row.extent * batch.extent * blocks) / enoughBlocks;
  return {
    rowBlock: evenBlock(row.extent, rows, bounded(rowShare, fewRows, blockRows)),
    columnBlock,
    pieces: { count, blocks: each, panels, round },
  };
}

/** Whether blocks pack their own part of b: much of it, for few rows, and enough blocks for all threads. */
function isStreamed({ batch, row, column, inner }: MatmulKernel, bytes: number): boolean {
  const streams = Math.ceil(row.extent / streamedRows);
  const blocks = batch.extent * streams * Math.ceil(column.extent / streamedColumns);
  const packed = batch.extent * column.extent * inner.extent * bytes;
  return bytes === 4 && streams <= mostStreams && blocks >= enoughBlocks && packed >= leastStreamed;
}

function streamedBlocksOf(
  { batch, row, column }: MatmulKernel,
  rows: number,
  columns: number,
): Pick<Schedule, "rowBlock" | "columnBlock" | "pieces"> {
  const columnBlock = evenBlock(column.extent, columns, streamedColumns);
  const pieces = (size: number) => Math.ceil(column.extent / size);
  return {
    rowBlock: evenBlock(row.extent, rows, streamedRows),
    columnBlock,
    pieces: { count: 1, blocks: pieces(columnBlock), panels: pieces(columns), round: batch.extent },
  };
}

function isPlain(e: Expr, bytes: number): e is Extract<Expr, { kind: "load" }> {
  return e.kind === "load" && (e.dtype === "float64") === (bytes === 8);
}

/** Of a, where inner elements lie next to each other, or rows do and there are few of them. */
export function stridesOfA({ a, row, inner }: MatmulKernel, bytes: number): Strides | undefined {
  if (!isPlain(a, bytes)) return undefined;
  const along = inner.extent === 1 ? 1 : strideIn(a.index, inner.name);
  const across = strideIn(a.index, row.name);
  if (along === undefined || across === undefined || across < 0) return undefined;
  const transposed = across === 1 && along > 0 && along <= line;
  return along === 1 || transposed ? { row: across * bytes, inner: along * bytes } : undefined;
}

/** Bytes from one inner element of b to the next, where whole panels lie in each row and each is read a few times only. */
function strideOfB(
  { b, row, column, inner }: MatmulKernel,
  columns: number,
  bytes: number,
): number | undefined {
  if (!isPlain(b, bytes) || row.extent > rowsInPlace || column.extent % columns !== 0) return undefined;
  const down = inner.extent === 1 ? 1 : strideIn(b.index, inner.name);
  if (strideIn(b.index, column.name) !== 1 || down === undefined || down <= 0) return undefined;
  return down * bytes;
}

function packingOf(expr: Expr, along: Axis, inner: Axis, width: number, bytes: number): Packing {
  const across = expr.kind === "load" ? strideIn(expr.index, along.name) : undefined;
  const down = expr.kind === "load" ? strideIn(expr.index, inner.name) : undefined;
  const inRows = isPlain(expr, bytes) && (inner.extent === 1 || down !== undefined) && across === 1;
  const vectors = width % 4 === 0;
  const turned = vectors && expr.dtype === "float32" && down === 1 && across !== undefined && across !== 1;
  const lanes = bytes === 4 && fitsLanes([expr]);
  return {
    together: inRows && (width * bytes) % 16 === 0 && along.extent >= panelGroup * width,
    by: turned
      ? "turned"
      : ((lanes && vectors ? inRuns(expr, along.name, inner.name) : undefined) ??
        (lanes ? "lanes" : "elements")),
  };
}

/** Runs along either axis. */
function inRuns(expr: Expr, along: string, inner: string): InRuns | undefined {
  const across = runsOf(expr, along, inner);
  const down = across ? undefined : runsOf(expr, inner, along);
  return across ? { runs: across, along } : down && { runs: down, along: inner };
}
