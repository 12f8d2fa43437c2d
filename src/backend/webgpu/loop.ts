import { isContiguous } from "../../compile/access.ts";
import { Emitter, type Level } from "../../compile/emit.ts";
import type { Axis, LoopKernel } from "../../compile/kernel.ts";
import { printStores, wgsl } from "./dialect.ts";
import { printQuadStores, quadGrid } from "./elements.ts";
import { type Body, digits, perPoint, product, spread, workgroupSize } from "./grid.ts";
import { printMap } from "./map.ts";
import { accessesOf, isShort, isTiny, loadAccesses, manyElements, singleAccesses } from "./quads.ts";
import type { Access, Bindings, ShaderOptions } from "./shader.ts";
import { blockedLoop, combinePartials, declarePartials } from "./sums.ts";
import { flatLoop, printSums, printTerms, type Terms } from "./terms.ts";

/** Reductions longer than this are worth a workgroup's barriers. */
const sharedLength = 256;

export function printLoop(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, inner, accumulators } = kernel;
  const results = product(grid);
  if (accumulators.length === 0) return printMap(kernel, bindings, options);
  const along = inner.findLast(({ extent }) => extent > 1);
  const contiguous = along !== undefined && accumulators.some(({ expr }) => isContiguous(expr, along.name));
  const shared =
    product(inner) >= sharedLength && results < (contiguous ? options.busy : options.busy / workgroupSize);
  if (shared) return printSharedReduction(kernel, bindings, options);
  return printColumns(kernel, bindings, options) ?? printReduction(kernel, bindings, options);
}

/** The innermost axis, if elements are loaded in quads along it: then buffers are wide. */
function elementQuads({ grid, inner, accumulators, stores }: LoopKernel, bindings: Bindings) {
  const along = inner[inner.length - 1];
  if (!along || along.extent % 4 !== 0 || product([...grid, ...inner]) < manyElements) return {};
  if (!widen(accumulators, along.name, singleAccesses(stores), bindings)) return {};
  const others = [...grid, ...inner.slice(0, -1)].map(({ name }) => name);
  return { quads: { of: "elements", variable: along.name, others } } as const;
}

/** Makes buffers wide, if some of what is reduced is loaded in quads. */
function widen(
  accumulators: LoopKernel["accumulators"],
  variable: string,
  others: readonly Access[],
  bindings: Bindings,
): boolean {
  const exprs = accumulators.map(({ expr }) => expr);
  if (exprs.some(({ dtype }) => dtype === "bool") || !isShort(exprs)) return false;
  const loads = loadAccesses(exprs, variable);
  bindings.widen([...loads, ...others]);
  if (loads.some(({ value, quad }) => quad && bindings.isWide(value))) return true;
  bindings.widen([]);
  return false;
}

/** One invocation for each result. */
function printReduction(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const terms = printTerms(
    accumulators,
    { levels: levelsOf(inner), ...elementQuads(kernel, bindings) },
    bindings,
  );
  const names = accumulators.map((_, i) => `r${i}`);
  const results = new Emitter(
    wgsl(bindings),
    stores.flatMap(({ index, expr }) => [index, expr]),
    new Map(),
    0,
  );
  const writes = printStores(stores, results, 0, bindings);
  return {
    declarations: terms.declarations,
    ...perPoint(product(grid), options, [
      ...digits(grid, "point"),
      ...printSums(accumulators, names, terms, (sums) => nestedLoops(kernel, sums, terms)),
      ...results.statements(0),
      ...writes,
    ]),
  };
}

/** One invocation for four results that lie side by side, if their elements do and there are results enough. */
function printColumns(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body | undefined {
  const { grid, inner, accumulators, stores } = kernel;
  const quads = quadGrid(grid);
  if (!quads || quads.points < options.busy || product([...grid, ...inner]) < manyElements) return undefined;
  const accesses = isShort(stores.map(({ expr }) => expr)) && accessesOf(stores, quads.variable);
  if (!accesses || !widen(accumulators, quads.variable, accesses, bindings)) return undefined;
  if (!stores.every(({ value }) => bindings.isWide(value))) {
    bindings.widen([]);
    return undefined;
  }
  const { variable, others } = quads;
  const terms = printTerms(
    accumulators,
    {
      levels: levelsOf(inner),
      quads: { of: "results", variable, others: [...others, ...inner.map(({ name }) => name)] },
    },
    bindings,
  );
  const names = accumulators.map((_, i) => `r${i}`);
  const core = { name: (index: number) => names[index]!, four: true };
  const results = printQuadStores(stores, { variable, others, core }, bindings);
  const unrolled = isTiny(accumulators.map(({ expr }) => expr));
  return {
    declarations: [...terms.declarations, ...results.declarations],
    ...perPoint(quads.points, options, [
      ...quads.unpack,
      ...printSums(accumulators, names, terms, (sums) => nestedLoops(kernel, sums, terms, unrolled)),
      ...results.body,
    ]),
  };
}

const levelsOf = (inner: readonly Axis[]) =>
  new Map(inner.map(({ name }, i): [string, Level] => [name, i + 1]));

/** A loop for each inner axis; the sums of inner ones are added to those of outer ones. */
function nestedLoops(
  { inner, accumulators }: LoopKernel,
  names: readonly string[],
  terms: Terms,
  unrolled = false,
): string[] {
  const loops = (level: number, sums: readonly string[]): string[] => {
    const axis = inner[level - 1];
    if (axis === undefined) return [...terms.updates(sums)];
    const partial = level < inner.length;
    const step = terms.quads === "elements" && !partial ? 4 : 1;
    return blockedLoop(
      { axis, start: "0", step, accumulators, sums, wide: terms.quads !== undefined, partial, unrolled },
      (inside) => [...terms.statements(level), ...loops(level + 1, inside)],
    );
  };
  return loops(1, names);
}

/** One workgroup for each result: strided partial results, then a tree in workgroup memory; the order is fixed. */
function printSharedReduction(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const levels = new Map(inner.map(({ name }): [string, Level] => [name, 1]));
  const terms = printTerms(accumulators, { levels, ...elementQuads(kernel, bindings) }, bindings);
  const emitter = new Emitter(
    wgsl(bindings),
    stores.flatMap(({ index, expr }) => [index, expr]),
    new Map(),
    0,
  );
  const writes = printStores(stores, emitter, 0, bindings);
  const results = product(grid);
  const { workgroups, width } = spread(results, options);
  const flat = workgroups[1] === 1 ? "workgroup.x" : `workgroup.x + workgroup.y * ${width}u`;
  const numbered = accumulators.map((a, index) => ({ ...a, index }));
  return {
    workgroups,
    declarations: [...declarePartials(numbered), ...terms.declarations],
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
      `let point = i32(${flat});`,
      ...(width * workgroups[1] === results ? [] : [`if (point >= ${results}) {`, "return;", "}"]),
      ...digits(grid, "point"),
      "let lane_ = i32(local);",
      ...printSums(
        accumulators,
        numbered.map(({ index }) => `a${index}`),
        terms,
        (sums) => flatLoop(inner, accumulators, sums, terms, { lane: "lane_", lanes: workgroupSize }),
      ),
      ...combinePartials(numbered),
      "if (lane_ == 0) {",
      ...numbered.map(({ index }) => `let r${index} = partial${index}[0];`),
      ...emitter.statements(0),
      ...writes,
      "}",
      "}",
    ],
  };
}
