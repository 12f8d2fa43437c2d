import { isContiguous, type Load, loadsOf } from "../../compile/access.ts";
import type { Expr } from "../../compile/expr.ts";
import type { Axis, Loop, MatmulKernel, Nest } from "../../compile/kernel.ts";
import { asLoop, exprsOf, passesOf, product, rowAxes, storesOfNest } from "../../compile/nest.ts";
import type { Step } from "../../compile/steps.ts";
import type { Target } from "../../compile/target.ts";
import { sizeOf, workOf } from "../../compile/work.ts";
import type { AdapterDescription } from "./device.ts";
import { quadGrid, workgroupSize } from "./dispatch.ts";
import { floatsOf } from "./dtypes.ts";
import { accessesOf, loadAccesses, singleAccesses, turnedLoads } from "./quads.ts";
import type { Access, Bindings, ShaderOptions } from "./shader.ts";

// How generated kernels run on WebGPU: which loops are quads, shared or written out, and every number that decides it
// (tiles of products are in matmul-*.ts, what is measured at run time in tune.ts). Each number says by what it was chosen:
// on lavapipe with two cores, as in docs/performance.md. No GPU was at hand: what only a GPU would show is not measured.
// "Pairs" are quotients of processor times, of runs in pairs in one process, another number against the one that stands here: on
// lavapipe of Mesa 25.0 on two cores of an Intel Xeon; good to five per cent.

/** Invocations that keep a device busy: 64 of a processor, each with vectors of eight or so (64 rows of softmax; a sum of 65536x64 down its columns took half as long). */
const busyOn = { software: 64, gpu: 65536 };

/** What the schedule knows of an adapter. */
export function targetOf({ limits, features, software }: AdapterDescription): Target {
  return {
    name: "webgpu",
    floats: floatsOf(features),
    maxBindings: limits.maxStorageBuffersPerShaderStage,
    maxBuffer: Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize),
    longReduction: 4096, // pairs: from 1024 a sum of 8x2048 1.39, of 4096 1.11; from 65536 one of 16384 0.84, of 8x65536 1.20
    fewThreads: software ? busyOn.software : 256, // not measured on a GPU
    busyResults: software ? 0 : 32768, // not measured on a GPU
    sumsVectorProducts: false, // a row by a matrix as sums was no faster than as tiles
    sharesRows: true,
    // Softmax of 64x32768 takes 0.65 times the processor time of several kernels, 64x4096 0.67. Not measured on a GPU, of which few rows keep little busy.
    reach: 0,
    maxRow: software ? Infinity : 16384,
  };
}

/** What printing knows of an adapter. */
export function optionsOf(adapter: AdapterDescription, matmul: ShaderOptions["matmul"]): ShaderOptions {
  const { limits, software } = adapter;
  return {
    maxWorkgroups: limits.maxComputeWorkgroupsPerDimension,
    busy: software ? busyOn.software : busyOn.gpu,
    // Such a driver runs each workgroup on one core: 64 rows were one core's.
    leastWorkgroup: software ? 8 : workgroupSize,
    // Lavapipe, a row norm of three addends over 64: compiled in 0.2 s in place of 15, and run in 0.5 ms in place of 1.0.
    hideLengths: software,
    subgroup: software ? undefined : subgroupOf(adapter), // rows shared by subgroups 2.3, others 2.1 GB/s: within the noise
    matmul,
  };
}

/** Subgroups that divide the workgroups of kernels evenly. */
function subgroupOf({ features, subgroupSize }: AdapterDescription): number | undefined {
  const fits =
    features.includes("subgroups") && subgroupSize !== undefined && workgroupSize % subgroupSize === 0;
  return fits ? subgroupSize : undefined;
}

/** Multiply-adds up to which a product is not worth the compilation of a tile: 0.05 s and more. */
export function isSmallProduct({ batch, row, column, inner }: MatmulKernel): boolean {
  return batch.extent * row.extent * column.extent * inner.extent <= 2 ** 14;
}

/** Elements from which quads save more than compiling four times the code takes: twice the time, eight such kernels 1.1 s in place of 0.55. Pairs: from 65536, a chain of 32768 1.32, of 4096 0.97; from 64, of 256 1.00. */
const manyElements = 1024;

/** Whether the code of expressions is short enough to stand four times in a kernel: a bound on what is compiled. Pairs: with 12, GELU and a chain of 2^18 1.00. */
export function isShort(exprs: readonly Expr[]): boolean {
  return sizeOf(exprs) <= 120;
}

/** Whether it is short enough to stand sixteen times in a kernel, in size and in additions: a bound on what is compiled. Pairs: never, a transpose of 1024x1024 2.81, a sum of 512x1024 down its columns 1.25. */
function isTiny(exprs: readonly Expr[]): boolean {
  return sizeOf(exprs) <= 24 && workOf(exprs) <= 8;
}

/** Steps of a loop that are written out, where that may be: loads that lie far apart are then on their way together. Pairs: a sum of 512x1024 down its columns by one 1.30, by eight 1.50; of 64x4096 1.02, 1.01. */
const together = 4;

/** Reductions from this length are worth a workgroup's barriers; not measured on a GPU. */
const sharedLength = 256;
/** Rows from this length are worth sharing; not measured on a GPU. */
const sharedRow = 128;
/** Elements for each of its invocations up to which a subgroup is enough for a row; not measured on a GPU. */
const elementsEach = 64;

/** How a kernel runs, and how it then accesses the buffers that are arrays of vectors. */
export interface Schedule {
  readonly steps: readonly Step[];
  readonly accesses: readonly Access[];
}

const plain: Schedule = { steps: [], accesses: [] };

const lanesAlong = ({ name }: Axis): Step => ({ split: name, by: 4, as: "lanes" });
const areWide = (bindings: Bindings, accesses: readonly Access[], list: readonly Pick<Access, "value">[]) =>
  list.every(({ value }) => bindings.isWideIn(accesses, value));

/** Elementwise work: blocks that are turned, quads, or one element after the other. */
function scheduleMap(kernel: Loop, bindings: Bindings, { busy }: ShaderOptions): Schedule {
  const { grid, stores } = kernel;
  const exprs = exprsOf(stores);
  const last = grid[grid.length - 1];
  const accesses = last && accessesOf(stores, last.name);
  if (!accesses) return plain;
  if (last.extent % 4 === 0 && product(grid) / 16 >= busy && isTiny(exprs)) {
    const found = turned(kernel, last);
    if (found) {
      const { across, loads } = found;
      const rest = loadAccesses(exprs, last.name, (load) => !loads.includes(load));
      const all = [...stores, ...loads].map(({ value }) => ({ value, quad: true }));
      // Where to load is computed for one column of a block after the other.
      const places = loadsOf(loads.map(({ index }) => index)).map(({ value }) => ({ value, quad: false }));
      const accesses = [...all, ...rest, ...places];
      if (areWide(bindings, accesses, all)) {
        const copies: Step = { split: across.name, by: 4, as: "copies" };
        const fills = last.extent % (4 * near) === 0;
        const side: Step[] = fills ? [{ split: last.name, by: near, as: "blocks" }] : [];
        return {
          steps: [lanesAlong(last), copies, ...side, { swap: [last.name, across.name] }],
          accesses,
        };
      }
    }
  }
  if (!quadGrid(grid, stores) || product(grid) < manyElements || !isShort(exprs)) return plain;
  return areWide(bindings, accesses, stores) ? { steps: [lanesAlong(last)], accesses } : plain;
}

/** Blocks that lie side by side in the results, one after the other: they fill a line of the cache. */
const near = 4;

/** The axis along which some loads are quads that are none along the last one. */
function turned(
  { grid, stores }: Loop,
  along: Axis,
): { readonly across: Axis; readonly loads: readonly Load[] } | undefined {
  for (const across of grid.slice(0, -1)) {
    if (across.extent % 4 !== 0) continue;
    const loads = turnedLoads(stores, along, across);
    if (loads.length > 0) return { across, loads };
  }
  return undefined;
}

/** How a nest runs. What is done in order, such as a scan, is done by one invocation for each point. */
export function schedule(nest: Nest, bindings: Bindings, options: ShaderOptions): Schedule {
  const loop = asLoop(nest);
  if (loop) return scheduleLoop(loop, bindings, options);
  const inner = rowAxes(nest);
  return inner ? scheduleRow(nest, inner, bindings, options) : plain;
}

/** Elementwise work, or a reduction: shared by a workgroup, four results side by side, or one invocation for each. */
function scheduleLoop(kernel: Loop, bindings: Bindings, options: ShaderOptions): Schedule {
  const { grid, inner, accumulators } = kernel;
  const results = product(grid);
  if (accumulators.length === 0) return scheduleMap(kernel, bindings, options);
  const along = inner.findLast(({ extent }) => extent > 1);
  const contiguous = along !== undefined && accumulators.some(({ expr }) => isContiguous(expr, along.name));
  const enough = contiguous ? options.busy : options.busy / workgroupSize;
  if (product(inner) >= sharedLength && results < enough) {
    const elements = elementQuads(kernel, bindings);
    return { ...elements, steps: [...sharedBy(inner, "workgroup", workgroupSize), ...elements.steps] };
  }
  return columns(kernel, bindings, options) ?? elementQuads(kernel, bindings);
}

/** Inner axes as one loop. */
const joined = (inner: readonly Axis[]): Step[] =>
  inner.length > 1 ? [{ join: inner.map(({ name }) => name), as: "k" }] : [];

/** Inner axes as one loop of which each invocation has a share. */
const sharedBy = (inner: readonly Axis[], as: "subgroup" | "workgroup", by: number): Step[] => [
  ...joined(inner),
  { split: inner.length > 1 ? "k" : inner[0]!.name, by, as },
];

/** Whether some of what is reduced is loaded in quads, and may be. */
function reducesQuads(
  { accumulators }: Loop,
  variable: string,
  accesses: readonly Access[],
  bindings: Bindings,
) {
  const exprs = exprsOf(accumulators);
  if (exprs.some(({ dtype }) => dtype === "bool") || !isShort(exprs)) return false;
  return loadAccesses(exprs, variable).some(({ value, quad }) => quad && bindings.isWideIn(accesses, value));
}

/** Four elements of a result side by side, if elements are loaded in quads along the innermost axis. */
function elementQuads(kernel: Loop, bindings: Bindings): Schedule {
  const { grid, inner, accumulators, stores } = kernel;
  const along = inner[inner.length - 1];
  if (!along || along.extent % 4 !== 0 || product([...grid, ...inner]) < manyElements) return plain;
  const accesses = [...loadAccesses(exprsOf(accumulators), along.name), ...singleAccesses(stores)];
  return reducesQuads(kernel, along.name, accesses, bindings)
    ? { steps: [lanesAlong(along)], accesses }
    : plain;
}

/** Four results that lie side by side, if their elements do and there are results enough. */
function columns(kernel: Loop, bindings: Bindings, { busy }: ShaderOptions): Schedule | undefined {
  const { grid, inner, accumulators, stores } = kernel;
  const last = grid[grid.length - 1];
  const quads = quadGrid(grid, stores);
  if (!last || !quads || quads.points < busy || product([...grid, ...inner]) < manyElements) return undefined;
  const stored = isShort(exprsOf(stores)) && accessesOf(stores, last.name);
  if (!stored) return undefined;
  const exprs = exprsOf(accumulators);
  const accesses = [...loadAccesses(exprs, last.name), ...stored];
  if (!reducesQuads(kernel, last.name, accesses, bindings) || !areWide(bindings, accesses, stores))
    return undefined;
  const written = isTiny(exprs) ? inner.filter(({ extent }) => extent % together === 0) : [];
  const copies = written.map(({ name }): Step => ({ split: name, by: together, as: "copies" }));
  return { steps: [lanesAlong(last), ...copies], accesses };
}

/**
 * Rows. On a device that many invocations are needed to keep busy a row is shared, which makes its loads contiguous: by a
 * subgroup, which needs no barriers, or where rows are long and few by a workgroup. Elsewhere, and for short rows, each
 * invocation has a row of its own.
 */
function scheduleRow(
  nest: Nest,
  inner: readonly Axis[],
  bindings: Bindings,
  { busy, subgroup }: ShaderOptions,
): Schedule {
  const [rows, length] = [product(nest.grid), product(inner)];
  const quads = rowQuads(nest, inner, bindings);
  const run = (steps: readonly Step[]): Schedule => ({ ...quads, steps: [...steps, ...quads.steps] });
  if (length < sharedRow) return run(joined(inner));
  if (subgroup && (rows * subgroup >= busy || length <= elementsEach * subgroup))
    return run(sharedBy(inner, "subgroup", subgroup));
  return run(rows >= busy ? joined(inner) : sharedBy(inner, "workgroup", workgroupSize));
}

/** Quads along a row, if everything that is stored for each element is one, or something is loaded in quads. */
function rowQuads(nest: Nest, inner: readonly Axis[], bindings: Bindings): Schedule {
  const { grid } = nest;
  const { once: stores, each } = storesOfNest(nest);
  const along = inner[inner.length - 1]!; // a row has two elements or more
  if (along.extent % 4 !== 0 || product([...grid, ...inner]) < manyElements) return plain;
  const exprs = exprsOf(passesOf(nest).flat());
  if (exprs.some(({ dtype }) => dtype === "bool") || !isShort([...exprs, ...exprsOf(each)])) return plain;
  const stored = accessesOf(each, along.name);
  if (!stored) return plain;
  const ofRow = [...stored, ...loadAccesses(exprs, along.name)];
  const accesses = [...ofRow, ...singleAccesses(stores)];
  const some = ofRow.some(({ value, quad }) => quad && bindings.isWideIn(accesses, value));
  return some && areWide(bindings, accesses, each) ? { steps: [lanesAlong(along)], accesses } : plain;
}
