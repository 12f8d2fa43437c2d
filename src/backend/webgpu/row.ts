import { Emitter, type Level } from "../../compile/emit.ts";
import type { Expr } from "../../compile/expr.ts";
import type { RowAccumulator, RowKernel, Store } from "../../compile/kernel.ts";
import { printStores, wgsl } from "./dialect.ts";
import { type Body, digits, perPoint, product, spread, workgroupSize } from "./grid.ts";
import { blockedLoop, combinePartials, declarePartials, declareSum, update } from "./loop.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";

/** Rows shorter than this are not worth sharing. */
const sharedRow = 128;
/** Elements for each of its lanes up to which a subgroup is enough for a row. */
const elementsPerLane = 64;

/**
 * Rows. On a device that many invocations are needed to keep busy a row is shared, which makes its loads contiguous: by a
 * subgroup, which needs no barriers, or where rows are long and few by a workgroup. Elsewhere, and for short rows, each
 * invocation has a row of its own.
 */
export function printRow(kernel: RowKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { busy, lanes } = options;
  const [rows, length] = [product(kernel.grid), product(kernel.inner)];
  if (length < sharedRow) return printOwnRow(kernel, bindings, options);
  if (lanes && (rows * lanes >= busy || length <= elementsPerLane * lanes))
    return printSharedRow(kernel, bindings, options, subgroupSharing(lanes));
  if (rows >= busy) return printOwnRow(kernel, bindings, options);
  return printSharedRow(kernel, bindings, options, workgroupSharing);
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

/** Who shares a row, and how its partial results become one that all of them have. */
interface Sharing {
  readonly enable: readonly string[];
  /** Invocations that share a row, and rows of a workgroup. */
  readonly lanes: number;
  readonly rows: number;
  readonly builtins: string;
  /** Which of the workgroup's rows. */
  readonly row: string;
  declare(accumulators: readonly RowAccumulator[]): readonly string[];
  /** From a0, a1, ... to r0, r1, ...: a tree, in a fixed order. */
  combine(pass: readonly RowAccumulator[]): readonly string[];
}

const workgroupSharing: Sharing = {
  enable: [],
  lanes: workgroupSize,
  rows: 1,
  builtins: "@builtin(local_invocation_index) local: u32",
  row: "0u",
  declare: declarePartials,
  combine: (pass) => [
    ...combinePartials(pass),
    ...pass.map(({ index }) => `let r${index} = partial${index}[0];`),
  ],
};

const subgroupSharing = (lanes: number): Sharing => ({
  enable: ["subgroups"],
  lanes,
  rows: workgroupSize / lanes,
  builtins: "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) local: u32",
  row: "subgroup",
  declare: () => [],
  // Each pair of lanes adds the same two numbers, so all lanes end with the same bits.
  combine: (pass) => [
    ...Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1)).flatMap((mask) =>
      pass.map((a) => update(a, `a${a.index}`, `subgroupShuffleXor(a${a.index}, ${mask}u)`)),
    ),
    ...pass.map(({ index }) => `let r${index} = a${index};`),
  ],
});

function printSharedRow(
  kernel: RowKernel,
  bindings: Bindings,
  options: ShaderOptions,
  sharing: Sharing,
): Body {
  const { grid, passes, stores, elements } = kernel;
  const rows = product(grid);
  const { workgroups, width } = spread(Math.ceil(rows / sharing.rows), options);
  const group = workgroups[1] === 1 ? "workgroup.x" : `(workgroup.x + workgroup.y * ${width}u)`;
  const flat = sharing.rows === 1 ? group : `${group} * ${sharing.rows}u + ${sharing.row}`;
  const lanes = { start: "lane_", step: sharing.lanes };
  return {
    enable: sharing.enable,
    workgroups,
    declarations: sharing.declare(passes.flatMap(({ accumulators }) => accumulators)),
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      `fn main(@builtin(workgroup_id) workgroup: vec3<u32>, ${sharing.builtins}) {`,
      `let point = i32(${flat});`,
      ...(width * workgroups[1] * sharing.rows === rows ? [] : [`if (point >= ${rows}) {`, "return;", "}"]),
      ...digits(grid, "point"),
      "let lane_ = i32(local);",
      ...passes.flatMap(({ before, accumulators: pass }) => [
        ...storing(before, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
        ...partials(kernel, pass, bindings, lanes),
        ...sharing.combine(pass),
      ]),
      ...storing(stores, 0, kernel, bindings, (body) => ["if (lane_ == 0) {", ...body, "}"]),
      ...storing(elements, 1, kernel, bindings, (body) => elementLoop(kernel, lanes, body)),
      "}",
    ],
  };
}
