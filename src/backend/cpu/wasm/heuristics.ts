import { floatDTypes, isNarrow } from "../../../base/dtype.ts";
import { loadsOf, strideIn } from "../../../compile/access.ts";
import { type Expr, walk } from "../../../compile/expr.ts";
import {
  type Accumulator,
  type Axis,
  expressionsOf,
  type Loop,
  type Nest,
  type Statement,
} from "../../../compile/kernel.ts";
import {
  asLoop,
  cutLoop,
  exprsOf,
  type For,
  lastOf,
  passesOf,
  product,
  rowAxes,
  storesIn,
  storesOfNest,
  visitNest,
} from "../../../compile/nest.ts";
import { axisAs, type Stage, type Step } from "../../../compile/steps.ts";
import type { Target } from "../../../compile/target.ts";
import { workOf } from "../../../compile/work.ts";
import { reachBytes } from "../memory.ts";
import { codeOf } from "./codes.ts";
import { type Along, fitsLanes } from "./layout.ts";

// How generated kernels run on the CPU: which loops are lanes, copies or shared, and every number that decides it (those
// of matmul are in matmul/schedule.ts). Each number says by what it was chosen: on a Zen 4 or Zen 5 server with two
// threads and Node 20, as in docs/performance.md; or on a Xeon (Intel, 2 MiB of second cache a core, Node 20): there on one
// thread, as the quotient of processor times in pairs of runs in one process, another number against the one that stands here.
// Equal code came to 0.97 to 0.99 there, and such quotients are good to three per cent where nothing else is said. How threads share
// work could not be measured there.

/** What the schedule knows of this backend. */
export const target: Target = {
  name: "cpu",
  floats: floatDTypes,
  maxBindings: 64, // only what limits the size of a kernel: WebAssembly binds nothing
  maxBuffer: Infinity,
  longReduction: Infinity, // `cutReduction` cuts them. As two reductions of the graph: 1.3 times as fast for multiples of 1024, half as fast elsewhere (Zen 4)
  fewThreads: 0,
  busyResults: 0,
  sumsVectorProducts: true, // 1x4096x4096 27 ms as a matmul, 2.8 as sums (Zen 4)
  sharesRows: false,
  reach: reachBytes / 8,
  maxRow: Infinity, // softmax of 8x1048576 takes 0.86 times the processor time of several kernels, 64x20000 0.79, 64x8192 0.87 (Xeon)
};

/** Nanoseconds of work below which a kernel is done before a worker would have joined: an estimate. */
export const joining = 20_000;
/** Nanoseconds of work that a thread takes at a time: an estimate. */
export const turn = 5_000;
/** Nanoseconds of work up to which one thread runs a whole program while others run others; threads share kernels of longer ones as well. Not measured: a bound on how long the others wait at the end. */
export const longest = 1_000_000_000;

/** What counts in the time of an element: operations by their cost, everything else as one. */
export function instructionsOf(roots: readonly Expr[]): number {
  return workOf(roots, () => 1);
}

/** Rough time of a unit, of which a place has so many, in nanoseconds: 0.6 for an instruction, 0.2 in lanes, 5 for its loops. Estimates; only how threads share work depends on them. */
export function unitCost({ nest, steps }: Stage, blocks: number): number {
  const { grid, body } = nest;
  const last = lastOf(grid);
  const elements = (last.extent / blocks) * iterations(body);
  return elements * instructionsOf(expressionsOf(nest)) * (axisAs(steps, "lanes") ? 0.2 : 0.6) + 5;
}

/** How often what is in the loops at a point runs; all loops of a row run over the same axes. */
function iterations(body: readonly Statement[]): number {
  const loop = body.find((s) => s.kind === "for" || s.kind === "combine");
  if (loop?.kind !== "for" || !loop.share) return product(loop?.over ?? []);
  return loop.share.length * product(loop.over.slice(1));
}

/** Elements of float32 in a line of the cache: 64 bytes on both machines. */
const line = 16;

/**
 * Rough work for an element when lanes run along `axis`: operations, loads, and what the last vector leaves unused. A
 * load of a whole vector or of one number counts as 1, of numbers at one distance as 6, of others as 10. Sums down and across
 * matrices of 512x512, also of transposed ones: with 2 for both 0.92 to 0.98, with 18 and 30 0.95 to 1.05, within their noise (Xeon).
 */
function laneCost(exprs: readonly Expr[], { name, extent }: Axis): number {
  const work = workOf(exprs, (e) => {
    if (e.kind !== "load") return 0;
    const stride = strideIn(e.index, name);
    return stride === 1 || stride === 0 ? 1 : stride === undefined ? 10 : 6;
  });
  return work * ((Math.ceil(extent / 4) * 4) / extent);
}

/** Which loop of a kernel the lanes run along; joining the lanes of a sum counts as 8 operations. Sums of 4, 12 and 16 elements: with 0 0.89 to 0.98, with 64 0.98 to 1.09, within their noise (Xeon). */
function chooseLanes(
  { accumulators, stores }: Loop,
  last: Axis,
  innermost: Axis,
  roots: readonly Expr[],
): Along {
  if (!fitsLanes(roots)) return "nothing";
  const contiguous = stores.every(({ index }) => last.extent === 1 || strideIn(index, last.name) === 1);
  if (accumulators.length === 0) return contiguous && last.extent > 1 ? "grid" : "nothing";
  const sums = exprsOf(accumulators);
  const grid = contiguous && last.extent > 1 ? laneCost(sums, last) : Infinity;
  const inner = innermost.extent > 1 ? laneCost(sums, innermost) + 8 / innermost.extent : Infinity;
  if (grid === Infinity && inner === Infinity) return "nothing";
  return grid <= inner ? "grid" : "inner";
}

/**
 * Points up to which what is accumulated is written out, for results side by side that read by whole vectors, such as those of
 * windows: means of 3 x 3 windows two apart take 0.43 of the time, one apart 0.52, the largest of 5 x 5 0.43 (Xeon).
 */
const fewPoints = 25;

function isWrittenOut({ inner, accumulators, stores }: Loop, last: Axis, roots: readonly Expr[]): boolean {
  const points = product(inner);
  return (
    points > 1 &&
    points <= fewPoints &&
    last.extent >= 8 &&
    fitsLanes(roots) &&
    stores.every(({ index }) => strideIn(index, last.name) === 1) &&
    loadsOf(exprsOf(accumulators)).every(({ index }) => [0, 1, 2].includes(strideIn(index, last.name) ?? -1))
  );
}

/**
 * A loop kernel. The grid is cut into units: one place on all axes but the last, and a block of that. Lanes run along the
 * last axis of the grid (each lane its own element) or along the last reduced axis (lanes are partial sums, joined at the
 * end in a fixed order), whichever loads more by whole vectors. Long reductions with few units are cut too.
 */
function scheduleLoop(nest: Nest, loop: Loop): readonly Stage[] {
  const { grid, inner, accumulators } = loop;
  const last = lastOf(grid);
  const innermost = lastOf(inner);
  const roots = expressionsOf(nest);
  const out = isWrittenOut(loop, last, roots);
  const along = out ? "grid" : chooseLanes(loop, last, innermost, roots);
  const over = product(inner);
  const outer = grid[grid.length - 2];
  const swept = along === "grid" && walksDownRows(loop, last);
  const block = swept ? columnBlock(last) : blockOf(last, over);
  const cut = accumulators.length > 0 ? cutOf(loop, along, block) : undefined;
  const near = !cut && isNear(loop, along);
  const steps = [
    ...laneSteps(along, last, innermost, near ? nearVectors(innermost) : vectorsOf(loop, along)),
    ...(near ? [{ near: nearElements }] : []),
    ...(out ? inner.map(({ name, extent }): Step => ({ split: name, by: extent, as: "copies" })) : []),
  ];
  if (cut) {
    const [parts, results] = cutLoop(loop, cut.axis, cut.into, cut.whole);
    const length = product(inner.slice(cut.depth)) / cut.into;
    return [
      {
        nest: parts,
        steps: [...steps, { cut: cut.axis, into: cut.into }, ...unitStep(last, blockOf(last, length))],
      },
      { nest: results, steps: [...steps, ...unitStep(last, blockOf(last, cut.parts))] },
    ];
  }
  const only = (...more: readonly Step[]) => [{ nest, steps: [...steps, ...more] }];
  if (swept) {
    const rows: Step = { split: innermost.name, by: sweepRows, as: "blocks" };
    return only(...unitStep(last, block), rows, { swap: [last.name, innermost.name] });
  }
  if (along === "grid" && accumulators.length === 0 && outer && loadsAcrossLines(roots, last))
    return only({ split: last.name, by: line, as: "units" }, { swap: [last.name, outer.name] });
  return only(...unitStep(last, block));
}

/** How a nest runs. */
export function schedule(nest: Nest): readonly Stage[] {
  const loop = asLoop(nest);
  if (loop) return scheduleLoop(nest, loop);
  const inner = rowAxes(nest);
  return inner ? [{ nest, steps: scheduleRow(nest, inner) }] : scheduleOrdered(nest);
}

function laneSteps(along: Along, last: Axis, innermost: Axis, copies: number): Step[] {
  if (along === "nothing") return [];
  const { name } = along === "grid" ? last : innermost;
  const lanes: Step = { split: name, by: 4, as: "lanes" };
  return copies > 1 ? [lanes, { split: name, by: copies, as: "copies" }] : [lanes];
}

const unitStep = ({ name, extent }: Axis, by: number): Step[] =>
  by < extent ? [{ split: name, by, as: "units" }] : [];

/** Rows: lanes along the row, or along the rows where those lie side by side. */
function scheduleRow(nest: Nest, inner: readonly Axis[]): readonly Step[] {
  const { grid } = nest;
  const passes = passesOf(nest);
  const last = lastOf(grid);
  const innermost = lastOf(inner);
  const along = chooseRowLanes(nest, last, innermost);
  const over = product(inner);
  const abreast = rowsAbreast(along, over, last);
  return [
    ...laneSteps(along, last, innermost, 1),
    ...(along === "inner" ? copiesOfPasses(passes, grid, inner) : []),
    ...(abreast > 1 ? [{ split: last.name, by: abreast, as: "copies" } as const] : []),
    ...unitStep(last, blockOf(last, over * (passes.length + 1))),
  ];
}

/** Copies of the innermost loop: for all passes, or for the results of those that have any. */
function copiesOfPasses(
  passes: readonly (readonly Accumulator[])[],
  grid: readonly Axis[],
  inner: readonly Axis[],
): Step[] {
  const { name } = inner[inner.length - 1]!; // lanes run along it
  const copies = passes.map((accumulators) => vectorsOf({ grid, inner, accumulators, stores: [] }, "inner"));
  const by = Math.max(1, ...copies);
  if (by === 1) return [];
  const some = passes.filter((_, i) => copies[i] === by).flat();
  const results = some.length < passes.flat().length ? { results: some.map(({ index }) => index) } : {};
  return [{ split: name, by, as: "copies", ...results }];
}

function chooseRowLanes(nest: Nest, last: Axis, innermost: Axis): Along {
  const { once, each } = storesOfNest(nest);
  const sums = exprsOf(passesOf(nest).flat());
  if (!fitsLanes(expressionsOf(nest))) return "nothing";
  const side = each.length === 0 && once.every(({ index }) => strideIn(index, last.name) === 1);
  const contiguous = each.every(({ index }) => strideIn(index, innermost.name) === 1);
  if (side && last.extent > 1 && laneCost(sums, last) < laneCost(sums, innermost)) return "grid";
  return contiguous && innermost.extent > 1 ? "inner" : "nothing";
}

/**
 * What is done in order at each point, such as a scan or a scatter: a point, or four that lie side by side, is a unit. What
 * is only written before it, such as the values to which a scatter adds, runs before it over all of the grid, with the
 * axis inside that is contiguous in the result.
 */
function scheduleOrdered({ grid, body }: Nest): readonly Stage[] {
  const last = lastOf(grid);
  const first = body.findIndex((s) => !isOnlyWritten(s));
  const before = body.slice(0, first).flatMap((s) => {
    const { over, body: written } = s as For; // what is only written is a loop
    const inside = storesIn(written).every(({ index }) => strideIn(index, last.name) === 1);
    const axes = inside ? [...grid.slice(0, -1), ...over, last] : [...grid, ...over];
    return schedule({ kind: "nest", grid: axes, body: written });
  });
  const nest: Nest = { kind: "nest", grid, body: body.slice(first) };
  const lanes: Step[] = isSideBySide(nest, last) ? [{ split: last.name, by: 4, as: "lanes" }] : [];
  return [...before, { nest, steps: [...lanes, ...unitStep(last, lanes.length > 0 ? 4 : 1)] }];
}

const isOnlyWritten = (s: Statement) => s.kind === "for" && s.body.every(({ kind }) => kind === "write");

/** Whether four neighbours along the grid do the same at the same places. */
function isSideBySide(nest: Nest, last: Axis): boolean {
  if (last.extent % 4 !== 0 || !fitsLanes(expressionsOf(nest))) return false;
  let fits = true;
  visitNest(nest, (s) => {
    if (s.kind === "accumulate" || (s.kind === "at" && strideIn(s.index, last.name) !== 0)) fits = false;
    if (s.kind === "write")
      fits &&= s.stores.every(
        ({ index, expr }) => expr.dtype === "float32" && strideIn(index, last.name) === 1,
      );
  });
  return fits;
}

/**
 * Whether products of two factors are added up of which one is stored in fewer bits than float32, as packed weights are.
 * Decoding reads each weight once, and with float64 there the sums would take longer than memory does.
 */
function isPackedProduct({ name, dtype, expr }: Accumulator): boolean {
  if (name !== "sum" || dtype !== "float32" || expr.kind !== "apply" || expr.row.name !== "mul") return false;
  let packed = false;
  walk([expr], (e) => {
    if ((e.kind === "load" && isNarrow(e.dtype)) || codeOf(e)) packed = true;
  });
  return packed && expr.args[0] !== expr.args[1];
}

/** Elements that are added up in float32 before their sum is added in float64: no lane has more than 256 of them. */
const nearElements = 1024;

/** Whether sums run in float32 for a while: products with packed weights, which lanes run along. */
function isNear({ accumulators }: Loop, along: Along): boolean {
  return along === "inner" && accumulators.length > 0 && accumulators.every(isPackedProduct);
}

/** Four vectors hide the latency of an addition, and all codes of a word are taken at once. */
function nearVectors({ extent }: Axis): number {
  return extent % 4 === 0 && extent < 16 ? extent / 4 : extent >= 16 ? 4 : 1;
}

/**
 * How many vectors stand side by side: along the grid they read whole cache lines, along a reduction they hide latency.
 * Four vectors are a line; two accumulators of each are what 16 registers hold. With one vector sums of 64x512 and 60x1024 down their
 * columns take 1.13 and 1.12 times as long, along rows of 512x512 1.12, softmax of 1024x1024 1.07; for rows of 16 and 32 it is the same (Xeon).
 */
function vectorsOf({ grid, inner, accumulators }: Loop, along: Along): number {
  const count = accumulators.length;
  const { extent } = lastOf(along === "grid" ? grid : inner);
  if (along === "grid") return count === 1 && extent % 16 === 0 ? 4 : count > 0 && extent % 8 === 0 ? 2 : 1;
  return along === "inner" && extent >= 16 && count <= 2 ? 2 : 1;
}

/**
 * Whether what is stored is written twice, where all guards of its loads hold in all lanes and where not, by the number of guards:
 * 3 x 3 windows a step apart 0.74, two steps 0.92, four neighbours of 8x1x512x512 0.72; a padding alone has one (Xeon).
 */
export const isWrittenTwice = (guards: number): boolean => guards >= 2;

/**
 * Rows that are done abreast: two where a row has at most 256 elements, since one waits for its sums while the other works.
 * softmax of 65536x16 1.25 ms, abreast 1.01 (Zen 4); of 4096x64 one by one 1.04, of 4096x128 1.01, of 2048x256 abreast 1.01, layer norm and
 * variance of 2048x256 0.92 and 0.94, of 1024x1024 0.98 (Xeon).
 */
function rowsAbreast(along: Along, length: number, last: Axis): number {
  return along === "inner" && length <= 256 && last.extent % 2 === 0 ? 2 : 1;
}

/**
 * How much of the last axis of a grid is a unit: whole vectors, and enough work to be worth a turn: some 16,384 elements, at
 * least 64 results, or 16 where each reduces 512 elements or more. With 4,096 or 65,536 a chain of 2^20 takes 1.03 times as long, with
 * 65,536 a sum of 4096x64 1.90 (1.5 to 2.9; Xeon); how units suit threads is not in this. (Where elements are loaded across the
 * rows of a matrix, a unit is a line, and units follow each other down the rows, so that the lines they load are used up:
 * a transpose 8.0 to 1.35 ms of processor time, Zen 4.)
 */
function blockOf({ extent }: Axis, over: number): number {
  const most = Math.max(64, Math.ceil(16384 / over / 64) * 64);
  const few = over >= 512 ? Math.ceil(16384 / over / 16) * 16 : most;
  return extent <= 2 * few ? extent : few;
}

/** Are elements loaded that lie in different cache lines although they are neighbours along the axis? */
function loadsAcrossLines(roots: readonly Expr[], { name }: Axis): boolean {
  return loadsOf(roots).some(({ index }) => Math.abs(strideIn(index, name) ?? 0) >= line);
}

/**
 * Columns of a block that is swept, and rows of a sweep: the wider the better for memory, but so that there are as many
 * blocks for threads; few enough rows for the processor to follow as streams. 1x4096x4096 27 ms without sweeps, 2.8 with
 * them (Zen 4). A sum of 4096x4096 with half the widths takes 1.96 times as long, with 256 to 2048 1.02; of 4096x1024 with 8 rows 1.16,
 * with 32 0.99 (Xeon, beside others).
 */
const sweepColumns = { least: 128, most: 512, wanted: 8 };
const sweepRows = 16;
/** Sums side by side: what runs of a block then fits the scratch memory of a thread many times over. */
const mostSums = 8;

/** Do sums run down long columns of a matrix, row after row far apart in memory? */
function walksDownRows({ inner, accumulators }: Loop, last: Axis): boolean {
  const [axis] = inner;
  if (!axis || inner.length !== 1 || accumulators.length > mostSums) return false;
  if (axis.extent < 4 * sweepRows || last.extent < sweepColumns.least) return false;
  return loadsOf(exprsOf(accumulators)).some(
    ({ index }) =>
      strideIn(index, last.name) === 1 && Math.abs(strideIn(index, axis.name) ?? 0) >= sweepColumns.least,
  );
}

/** Wide blocks, for sums down the columns of a matrix: each row is read over a length that is worth a stream. */
function columnBlock({ extent }: Axis): number {
  const { least, most, wanted } = sweepColumns;
  return Math.min(extent, most, Math.max(least, Math.ceil(extent / wanted / least) * least));
}

/** Units that keep all threads busy to the end: two for each of four threads, an estimate. */
const enoughUnits = 8;
/** Elements of a part, about: a sum of 2048x2048 0.74 ms in one, 0.38 in parts of 16,384 (Zen 4). */
const partElements = 16384;

/**
 * Cuts a long reduction whose grid has few units: a sum over everything is one. The cut follows from sizes alone, so
 * that results do not depend on the number of threads. Axes outside of the one that is cut become axes of the grid.
 */
function cutOf(loop: Loop, along: Along, block: number) {
  const { grid, inner } = loop;
  const last = lastOf(grid);
  const blocks = Math.ceil(last.extent / block);
  const wanted = Math.floor((product(inner) * last.extent) / blocks / partElements);
  if (product(grid.slice(0, -1)) * blocks >= enoughUnits || wanted < 4) return undefined;
  let [depth, places] = [0, 1];
  while (depth < inner.length - 1 && places * inner[depth]!.extent < wanted) places *= inner[depth++]!.extent;
  const { name, extent } = inner[depth]!;
  // Parts are whole vectors where lanes run along them.
  const whole = along === "inner" && depth === inner.length - 1 ? 4 * vectorsOf(loop, along) : 1;
  const into = Math.max(1, Math.min(Math.ceil(wanted / places), Math.floor(extent / whole)));
  return { axis: name, depth, into, whole, parts: places * into };
}
