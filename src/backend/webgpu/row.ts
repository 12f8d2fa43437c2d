import { Emitter, type Level } from "../../compile/emit.ts";
import type { Expr } from "../../compile/expr.ts";
import type { RowAccumulator, RowKernel, Store } from "../../compile/kernel.ts";
import { printStores, wgsl } from "./dialect.ts";
import { type Body, digits, perPoint, product, spread, workgroupSize } from "./grid.ts";
import { blockedLoop, combinePartials, declarePartials, declareSum, update } from "./loop.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";

/** Rows shorter than this are not worth a workgroup's barriers. */
const sharedRow = 128;

/**
 * Rows: on a device that many workgroups are needed to keep busy one workgroup shares a row, which makes its loads
 * contiguous; otherwise, and for short rows, each invocation has a row of its own.
 */
export function printRow(kernel: RowKernel, bindings: Bindings, options: ShaderOptions): Body {
  const rows = product(kernel.grid);
  const shared = product(kernel.inner) >= sharedRow && rows < options.busy;
  return shared ? printSharedRow(kernel, bindings, options) : printOwnRow(kernel, bindings, options);
}

/** Scopes of their own that share the results of the passes. */
function scope(kernel: RowKernel, bindings: Bindings, exprs: readonly Expr[]): Emitter {
  const levels = new Map(kernel.inner.map(({ name }): [string, Level] => [name, 1]));
  return new Emitter(wgsl(bindings), exprs, levels, 0);
}

interface Lanes {
  readonly start: string;
  readonly step: number;
}

/** Runs over the elements of a row. */
function elementLoop(kernel: RowKernel, { start, step }: Lanes, body: readonly string[]): string[] {
  const { name, extent, unpack } = flatInner(kernel);
  return [`for (var ${name} = ${start}; ${name} < ${extent}; ${name} += ${step}) {`, ...unpack, ...body, "}"];
}

/** The inner axes as one. */
function flatInner({ inner }: RowKernel): { name: string; extent: number; unpack: readonly string[] } {
  const extent = product(inner);
  const long = inner.filter((axis) => axis.extent > 1);
  if (long.length === 1) return { name: long[0]!.name, extent, unpack: [] };
  return { name: "k", extent, unpack: digits(inner, "k") };
}

/** The partial results of a pass, in variables a0, a1, ... */
function partials(
  kernel: RowKernel,
  pass: readonly RowAccumulator[],
  bindings: Bindings,
  { start, step }: Lanes,
): string[] {
  const emitter = scope(
    kernel,
    bindings,
    pass.map(({ expr }) => expr),
  );
  const updates = pass.map(({ expr }) => emitter.print(expr, 1));
  const { name, extent, unpack } = flatInner(kernel);
  const loop = blockedLoop(
    { axis: { name, extent }, start, step, accumulators: pass, sums: pass.map(({ index }) => `a${index}`) },
    (sums) => [...unpack, ...emitter.statements(1), ...pass.map((a, i) => update(a, sums[i]!, updates[i]!))],
  );
  return [...pass.map((a) => declareSum(a, `a${a.index}`)), "{", ...emitter.statements(0), ...loop, "}"];
}

function storing(
  list: readonly Store[],
  level: Level,
  kernel: RowKernel,
  bindings: Bindings,
  around: (body: readonly string[]) => string[],
): string[] {
  if (list.length === 0) return [];
  const emitter = scope(
    kernel,
    bindings,
    list.flatMap(({ index, expr }) => [index, expr]),
  );
  const writes = printStores(list, emitter, level, bindings);
  return [
    "{",
    ...emitter.statements(0),
    ...around([...(level > 0 ? emitter.statements(level) : []), ...writes]),
    "}",
  ];
}

function printOwnRow(kernel: RowKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, passes, stores, elements } = kernel;
  const lanes = { start: "0", step: 1 };
  return perPoint(product(grid), options, [
    ...digits(grid, "point"),
    ...passes.flatMap(({ before, accumulators: pass }) => [
      ...storing(before, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
      ...partials(kernel, pass, bindings, lanes),
      ...pass.map(({ index }) => `let r${index} = a${index};`),
    ]),
    ...storing(stores, 0, kernel, bindings, (body) => [...body]),
    ...storing(elements, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
  ]);
}

function printSharedRow(kernel: RowKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, passes, stores, elements } = kernel;
  const rows = product(grid);
  const { workgroups, width } = spread(rows, options);
  const flat = workgroups[1] === 1 ? "workgroup.x" : `workgroup.x + workgroup.y * ${width}u`;
  const lanes = { start: "lane_", step: workgroupSize };
  return {
    workgroups,
    declarations: declarePartials(passes.flatMap(({ accumulators }) => accumulators)),
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
      `let point = i32(${flat});`,
      ...(width * workgroups[1] === rows ? [] : [`if (point >= ${rows}) {`, "return;", "}"]),
      ...digits(grid, "point"),
      "let lane_ = i32(local);",
      ...passes.flatMap(({ before, accumulators: pass }) => [
        ...storing(before, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
        ...partials(kernel, pass, bindings, lanes),
        ...combinePartials(pass),
        ...pass.map(({ index }) => `let r${index} = partial${index}[0];`),
      ]),
      ...storing(stores, 0, kernel, bindings, (body) => ["if (lane_ == 0) {", ...body, "}"]),
      ...storing(elements, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
      "}",
    ],
  };
}
