import { loadsOf, strideIn } from "../../../compile/access.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Axis, Loop, Nest } from "../../../compile/kernel.ts";
import type { Target } from "../../../compile/target.ts";
import { workOf } from "../../../compile/work.ts";
import { type Along, fitsLanes, none } from "./along.ts";

// How generated kernels run on the CPU: which loops are lanes, copies or shared, and every number that decides it (those
// of matmul are in matmul/geometry.ts). Each number says by what it was chosen: on a Zen 4 or Zen 5 server with two
// threads and Node 20, as in docs/performance.md. "Not recorded" means that nobody wrote down a measurement.

/** What the schedule knows of this backend. */
export const target: Target = {
  name: "cpu",
  floats: ["float16", "float32", "float64"],
  maxBindings: 64, // only what limits the size of a kernel: WebAssembly binds nothing
  maxBuffer: Infinity,
  longReduction: Infinity, // `cutReduction` cuts them. As two reductions of the graph: 1.3 times as fast for multiples of 1024, half as fast elsewhere (Zen 4)
  fewThreads: 0,
  busyResults: 0,
  sumsVectorProducts: true, // 1x4096x4096 27 ms as a matmul, 2.8 as sums (Zen 4)
  maxRow: 16384, // a row of float32 is 64 KiB, which the second cache holds; not recorded
};

/** Nanoseconds of work below which a kernel is done before a worker would have joined; not recorded. */
export const joining = 20_000;
/** Nanoseconds of work that a thread takes at a time; not recorded. */
export const turn = 5_000;

/** What counts in the time of an element: operations by their cost, everything else as one. */
export function instructionsOf(roots: readonly Expr[]): number {
  return workOf(roots, () => 1);
}

/** Rough time of a unit in nanoseconds: 0.6 for an instruction, 0.2 in lanes, 5 for its loops; not recorded. */
export function unitTime(elements: number, roots: readonly Expr[], along: Along): number {
  return elements * instructionsOf(roots) * (along === "nothing" ? 0.6 : 0.2) + 5;
}

/** Elements of float32 in a line of the cache: 64 bytes on both machines. */
const line = 16;

/**
 * Rough work for an element when lanes run along `axis`: operations, loads, and what the last vector leaves unused. A
 * load of a whole vector or of one number counts as 1, of numbers at one distance as 6, of others as 10; not recorded.
 */
export function laneCost(exprs: readonly Expr[], { name, extent }: Axis): number {
  const work = workOf(exprs, (e) => {
    if (e.kind !== "load") return 0;
    const stride = strideIn(e.index, name);
    return stride === 1 || stride === 0 ? 1 : stride === undefined ? 10 : 6;
  });
  return work * ((Math.ceil(extent / 4) * 4) / extent);
}

/** Which loop of a kernel the lanes run along; joining the lanes of a sum counts as 8 operations, which is not recorded. */
export function chooseLanes(
  { accumulators, stores }: Loop,
  last: Axis,
  innermost: Axis,
  roots: readonly Expr[],
): Along {
  if (!fitsLanes(roots)) return "nothing";
  const contiguous = stores.every(({ index }) => last.extent === 1 || strideIn(index, last.name) === 1);
  if (accumulators.length === 0) return contiguous && last.extent > 1 ? "grid" : "nothing";
  const sums = accumulators.map(({ expr }) => expr);
  const options: [Along, number][] = [];
  if (contiguous && last.extent > 1) options.push(["grid", laneCost(sums, last)]);
  if (innermost.extent > 1) options.push(["inner", laneCost(sums, innermost) + 8 / innermost.extent]);
  options.sort((a, b) => a[1] - b[1]);
  return options[0]?.[0] ?? "nothing";
}

/** The same for rows: along the row, or along the rows where those lie side by side. */
export function chooseRowLanes({ passes, stores, elements }: Nest, last: Axis, innermost: Axis): Along {
  const written = [...passes.flatMap(({ before }) => before), ...stores, ...elements];
  const sums = passes.flatMap(({ accumulators }) => accumulators.map(({ expr }) => expr));
  if (!fitsLanes([...sums, ...written.flatMap(({ index, expr }) => [index, expr])])) return "nothing";
  const side = elements.length === 0 && stores.every(({ index }) => strideIn(index, last.name) === 1);
  const contiguous = elements.every(({ index }) => strideIn(index, innermost.name) === 1);
  if (side && last.extent > 1 && laneCost(sums, last) < laneCost(sums, innermost)) return "grid";
  return contiguous && innermost.extent > 1 ? "inner" : "nothing";
}

/**
 * How many vectors stand side by side: along the grid they read whole cache lines, along a reduction they hide latency.
 * Four vectors are a line; two accumulators of each are what 16 registers hold. Not recorded.
 */
export function vectorsOf({ grid, inner, accumulators }: Loop, along: Along): number {
  const count = accumulators.length;
  const { extent } = (along === "grid" ? grid[grid.length - 1] : inner[inner.length - 1]) ?? none;
  if (along === "grid") return count === 1 && extent % 16 === 0 ? 4 : count > 0 && extent % 8 === 0 ? 2 : 1;
  return along === "inner" && extent >= 16 && count <= 2 ? 2 : 1;
}

/**
 * Rows that are done abreast: two where a row has at most 128 elements, since one waits for its sums while the other works.
 * softmax of 65536x16 1.25 ms, abreast 1.01 (Zen 4). What limits the length is not recorded.
 */
export function rowsAbreast(along: Along, length: number, last: Axis): number {
  return along === "inner" && length <= 128 && last.extent % 2 === 0 ? 2 : 1;
}

/** How the last axis of a grid is cut into blocks. */
export interface Blocks {
  readonly block: number;
  /** Neighbouring units are neighbours on the other axes, and not blocks of one place. */
  readonly down: boolean;
}

/**
 * Blocks are whole vectors, and enough work to be worth a turn: some 16,384 elements, at least 64 results, or 16 where each
 * reduces 512 elements or more; not recorded. Where elements are loaded across the rows of a matrix, blocks are a line
 * long and follow each other down the rows: the lines they load are used up (transpose 8.0 to 1.35 ms, Zen 5).
 */
export function blocksOf(last: Axis, over: number, strided: boolean): Blocks {
  if (strided) return { block: line, down: true };
  const most = Math.max(64, Math.ceil(16384 / over / 64) * 64);
  const few = over >= 512 ? Math.ceil(16384 / over / 16) * 16 : most;
  return { block: last.extent <= 2 * few ? last.extent : few, down: false };
}

/** Are elements loaded that lie in different cache lines although they are neighbours along the axis? */
export function loadsAcrossLines(roots: readonly Expr[], { name }: Axis): boolean {
  return loadsOf(roots).some(({ index }) => Math.abs(strideIn(index, name) ?? 0) >= line);
}

/**
 * Columns of a block that is swept, and rows of a sweep: the wider the better for memory, but so that there are as many
 * blocks for threads; few enough rows for the processor to follow as streams. 1x4096x4096 27 ms without sweeps, 2.8 with
 * them (Zen 4). The widths themselves are not recorded.
 */
const sweepColumns = { least: 128, most: 512, wanted: 8 };
export const sweepRows = 16;
/** Sums side by side: what runs of a block then fits the scratch memory of a thread many times over. */
const mostSums = 8;

/** Do sums run down long columns of a matrix, row after row far apart in memory? */
export function walksDownRows({ inner, accumulators }: Loop, last: Axis): boolean {
  const [axis] = inner;
  if (!axis || inner.length !== 1 || accumulators.length > mostSums) return false;
  if (axis.extent < 4 * sweepRows || last.extent < sweepColumns.least) return false;
  return loadsOf(accumulators.map(({ expr }) => expr)).some(
    ({ index }) =>
      strideIn(index, last.name) === 1 && Math.abs(strideIn(index, axis.name) ?? 0) >= sweepColumns.least,
  );
}

/** Wide blocks, for sums down the columns of a matrix: each row is read over a length that is worth a stream. */
export function columnBlocks({ extent }: Axis): Blocks {
  const { least, most, wanted } = sweepColumns;
  return { block: Math.min(most, Math.max(least, Math.ceil(extent / wanted / least) * least)), down: false };
}

/** Units that keep all threads busy to the end; not recorded. */
const enoughUnits = 8;
/** Elements of a part, about: a sum of 2048x2048 0.74 ms in one, 0.38 in parts of 16,384 (Zen 4). */
const partElements = 16384;

/** Parts that a reduction is wanted to be in; undefined where it has units enough, or too few elements. */
export function wantedParts(units: number, elementsOfUnit: number): number | undefined {
  const wanted = Math.floor(elementsOfUnit / partElements);
  return units >= enoughUnits || wanted < 4 ? undefined : wanted;
}
