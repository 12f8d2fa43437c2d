import { Emitter, type Level } from "../../compile/emit.ts";
import {
  type Accumulator,
  type Axis,
  expressionsOf,
  type LoopKernel,
  type RowAccumulator,
} from "../../compile/kernel.ts";
import { neutral } from "../../graph/reduce.ts";
import { isContiguous, printConstant, printStores, wgsl } from "./dialect.ts";
import { type Body, digits, perPoint, product, spread, workgroupSize } from "./grid.ts";
import { printMap } from "./map.ts";
import { type Bindings, type ShaderOptions, valueType } from "./shader.ts";

/** Float sums are added up in blocks of this many, blocks of blocks, ...: errors grow like the logarithm of the length. */
export const block = 32;

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
  return shared ? printSharedReduction(kernel, bindings, options) : printReduction(kernel, bindings, options);
}

/** One invocation for each result. */
function printReduction(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const depth = inner.length;
  const levels = new Map(inner.map(({ name }, i): [string, Level] => [name, i + 1]));
  const emitter = new Emitter(wgsl(bindings), expressionsOf(kernel), levels, depth + 1);
  const updates = accumulators.map(({ expr }) => emitter.print(expr, depth));
  const writes = printStores(stores, emitter, depth + 1, bindings);
  const loops = (level: number, sums: readonly string[]): string[] => {
    const axis = inner[level - 1];
    if (axis === undefined) return accumulators.map((a, i) => update(a, sums[i]!, updates[i]!));
    const nested = level < depth;
    return blockedLoop({ axis, start: "0", step: 1, accumulators, sums, partial: nested }, (names) => [
      ...emitter.statements(level),
      ...loops(level + 1, names),
    ]);
  };
  const names = accumulators.map((_, i) => `r${i}`);
  return perPoint(product(grid), options, [
    ...digits(grid, "point"),
    ...emitter.statements(0),
    ...accumulators.map((a, i) => declareSum(a, names[i]!)),
    ...loops(1, names),
    ...emitter.statements(depth + 1),
    ...writes,
  ]);
}

/** One workgroup for each result: strided partial results, then a tree in workgroup memory; the order is fixed. */
function printSharedReduction(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const levels = new Map(inner.map(({ name }): [string, Level] => [name, 1]));
  const emitter = new Emitter(wgsl(bindings), expressionsOf(kernel), levels, 2);
  const updates = accumulators.map(({ expr }) => emitter.print(expr, 1));
  const writes = printStores(stores, emitter, 2, bindings);
  const results = product(grid);
  const { workgroups, width } = spread(results, options);
  const flat = workgroups[1] === 1 ? "workgroup.x" : `workgroup.x + workgroup.y * ${width}u`;
  const numbered = accumulators.map((a, index) => ({ ...a, index }));
  const sums = numbered.map(({ index }) => `a${index}`);
  // Along one axis the position is that axis.
  const single = inner.filter(({ extent }) => extent > 1).length === 1;
  const axis = single ? inner.find(({ extent }) => extent > 1)! : { name: "k", extent: product(inner) };
  return {
    workgroups,
    declarations: declarePartials(numbered),
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
      `let point = i32(${flat});`,
      ...(width * workgroups[1] === results ? [] : [`if (point >= ${results}) {`, "return;", "}"]),
      ...digits(grid, "point"),
      "let lane_ = i32(local);",
      ...emitter.statements(0),
      ...accumulators.map((a, i) => declareSum(a, sums[i]!)),
      ...blockedLoop({ axis, start: "lane_", step: workgroupSize, accumulators, sums }, (names) => [
        ...(single ? [] : digits(inner, axis.name)),
        ...emitter.statements(1),
        ...accumulators.map((a, i) => update(a, names[i]!, updates[i]!)),
      ]),
      ...combinePartials(numbered),
      "if (lane_ == 0) {",
      ...sums.map((_, i) => `let r${i} = partial${i}[0];`),
      ...emitter.statements(2),
      ...writes,
      "}",
      "}",
    ],
  };
}

/** Workgroup memory for the partial results of each invocation. */
export function declarePartials(accumulators: readonly RowAccumulator[]): string[] {
  return accumulators.map(
    ({ dtype, index }) => `var<workgroup> partial${index}: array<${valueType(dtype)}, ${workgroupSize}>;`,
  );
}

/** From the invocations' a0, a1, ... to partial0[0], partial1[0], ...: a tree, in a fixed order. */
export function combinePartials(accumulators: readonly RowAccumulator[]): string[] {
  return [
    ...accumulators.map(({ index }) => `partial${index}[lane_] = a${index};`),
    "workgroupBarrier();",
    `for (var half = ${workgroupSize / 2}; half > 0; half /= 2) {`,
    "if (lane_ < half) {",
    ...accumulators.map((a) => update(a, `partial${a.index}[lane_]`, `partial${a.index}[lane_ + half]`)),
    "}",
    "workgroupBarrier();",
    "}",
  ];
}

interface BlockedLoop {
  readonly axis: Axis;
  readonly start: string;
  readonly step: number;
  readonly accumulators: readonly Accumulator[];
  /** Names of the variables that take the results. */
  readonly sums: readonly string[];
  /** Whether the body of one step is a sum of its own. */
  readonly partial?: boolean;
}

/** A loop over an axis; float sums go through partial sums of blocks, so that no long sum swallows small terms. */
export function blockedLoop(
  { axis: { name, extent }, start, step, accumulators, sums, partial = false }: BlockedLoop,
  body: (sums: readonly string[]) => readonly string[],
): string[] {
  const isSum = accumulators.map((a) => a.name === "sum" && a.dtype === "float32");
  const sizes = [step];
  if (isSum.includes(true)) while (sizes[0]! * block < extent) sizes.unshift(sizes[0]! * block);
  const open = (level: number, from: string, to: string, names: readonly string[]): string[] => {
    const size = sizes[level]!;
    const last = level === sizes.length - 1;
    const variable = last ? name : `${name}_${sizes.length - 1 - level}`;
    const head = `for (var ${variable} = ${from}; ${variable} < ${to}; ${variable} += ${size}) {`;
    if (last && !partial) return [head, ...body(names), "}"];
    const inside = names.map((sum, i) => (isSum[i] ? `${sum}_` : sum));
    const end = extent % size === 0 ? `${variable} + ${size}` : `min(${variable} + ${size}, ${extent})`;
    return [
      head,
      ...inside.flatMap((sum, i) => (isSum[i] ? [`var ${sum} = 0.0f;`] : [])),
      ...(last ? body(inside) : open(level + 1, variable, end, inside)),
      ...inside.flatMap((sum, i) => (isSum[i] ? [`${names[i]} += ${sum};`] : [])),
      "}",
    ];
  };
  return open(0, start, String(extent), sums);
}

export function declareSum({ name, dtype }: Accumulator, variable: string): string {
  return `var ${variable}: ${valueType(dtype)} = ${printConstant(neutral(name, dtype), dtype)};`;
}

export function update({ name, dtype }: Accumulator, sum: string, x: string): string {
  switch (name) {
    case "sum":
      return `${sum} += ${x};`;
    case "prod":
      return `${sum} *= ${x};`;
    case "max":
      return `${sum} = ${dtype === "float32" ? "lorantz_maximum" : "max"}(${sum}, ${x});`;
    case "min":
      return `${sum} = ${dtype === "float32" ? "lorantz_minimum" : "min"}(${sum}, ${x});`;
    default:
      return name satisfies never;
  }
}
