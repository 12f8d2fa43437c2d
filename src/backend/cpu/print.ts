import { coerce, type DeviceDType, integerRange, isFloat } from "../../base/dtype.ts";
import { type Dialect, Emitter, type Level } from "../../compile/emit.ts";
import type { Expr } from "../../compile/expr.ts";
import {
  type Accumulator,
  type Axis,
  expressionsOf,
  type LoopKernel,
  type MatmulKernel,
  type Pass,
  type RowKernel,
  type ScanKernel,
  type ScatterKernel,
  type Store,
} from "../../compile/kernel.ts";
import type { ScalarRow } from "../../graph/node.ts";
import { neutral } from "../../graph/reduce.ts";

// Kernels as JavaScript. Buffers are typed arrays, host numbers sit in `scalars`. Every float32 result is
// rounded, so that the arithmetic is exactly float32's; booleans are 0 and 1.

/** The variable that holds a value's elements. */
export type NameOf = (value: number) => string;

function number(value: number): string {
  if (Object.is(value, -0)) return "-0";
  return String(value);
}

const javascript = (nameOf: NameOf): Dialect => ({
  constant: (value, dtype) => number(coerce(value, dtype)),
  hostNumber: (index) => `scalars[${index}]`,
  load: (value, index, dtype) => {
    const element = `${nameOf(value)}[${index}]`;
    return dtype === "float16" ? `half.fromHalfBits(${element})` : element;
  },
  accumulator: (index) => `r${index}`,
  apply(row: ScalarRow, args, result, argument) {
    const text = row.js ? row.js(args, argument) : `rows.${row.name}(${args.join(", ")})`;
    return round(text, result, row);
  },
  cast(arg, from, to) {
    if (to === "float16") return `half.roundToHalf(${arg})`;
    if (to === "bool") return `(${arg} !== 0 ? 1 : 0)`;
    if (to === "int32" || to === "uint32") {
      const wrap = to === "int32" ? "| 0" : ">>> 0";
      if (!isFloat(from)) return `(${arg} ${wrap})`;
      const [least, most] = integerRange[to];
      return `(Math.min(Math.max(${arg}, ${least}), ${most}) ${wrap})`; // NaN becomes 0
    }
    return to === "float32" && from !== "bool" ? `Math.fround(${arg})` : `(+${arg})`;
  },
  digit: (arg, low, modulus) => {
    const quotient = low === 1 ? arg : `(${arg} / ${low} | 0)`;
    return modulus === Infinity ? quotient : `${quotient} % ${modulus}`;
  },
  clamp: (arg, length) => `Math.min(Math.max(${arg}, 0), ${length - 1})`,
  inRange: (arg, length) => `(${arg} >= 0 && ${arg} < ${length} ? 1 : 0)`,
  declare: (name, text) => `const ${name} = ${text};`,
});

function round(text: string, dtype: DeviceDType, row: ScalarRow): string {
  switch (dtype) {
    case "float32":
      return row.name === "where" || row.name === "neg" || row.name === "abs"
        ? `(${text})`
        : `Math.fround(${text})`;
    case "int32":
      return `((${text}) | 0)`;
    case "uint32":
      return `((${text}) >>> 0)`;
    default:
      return `(${text})`;
  }
}

/** A body in loops over `axes`; `at` gives what stands at the start of each level. */
function nest(
  axes: readonly Axis[],
  at: (depth: number) => readonly string[],
  body: readonly string[],
): string[] {
  const lines: string[] = [];
  axes.forEach(({ name, extent }, depth) => {
    lines.push(`for (let ${name} = 0; ${name} < ${extent}; ${name}++) {`, ...at(depth + 1));
  });
  lines.push(...body, ...axes.map(() => "}"));
  return lines;
}

function levels(axes: readonly Axis[], from = 0): [string, Level][] {
  return axes.map(({ name }, depth) => [name, from + depth + 1]);
}

/** Computes all results before the first is stored: a result may replace what another one reads. */
function storeLines(
  stores: readonly Store[],
  emitter: Emitter,
  level: Level,
  values: readonly string[],
  nameOf: NameOf,
): string[] {
  return stores.map(({ value, index, expr }, i) => {
    const stored = expr.dtype === "float16" ? `half.halfBits(${values[i]})` : values[i];
    return `${nameOf(value)}[${emitter.print(index, level)}] = ${stored};`;
  });
}

export function printLoop(kernel: LoopKernel, nameOf: NameOf): string[] {
  const { grid, inner, accumulators, stores } = kernel;
  const depth = grid.length;
  const bottom = depth + inner.length;
  // Expressions of accumulators get a level of their own after the inner loops.
  const afterwards = accumulators.length > 0 ? bottom + 1 : Infinity;
  const emitter = new Emitter(
    javascript(nameOf),
    expressionsOf(kernel),
    new Map([...levels(grid), ...levels(inner, depth)]),
    afterwards,
  );
  const updates = accumulators.map((a, i) => update(a, i, emitter.print(a.expr, bottom)));
  const last = accumulators.length > 0 ? afterwards : depth;
  const values = stores.map(({ expr }) => emitter.name(expr, last));
  const writes = storeLines(stores, emitter, depth, values, nameOf);
  const reduction =
    accumulators.length === 0
      ? []
      : [
          ...accumulators.map((a, i) => `let a${i} = ${number(neutral(a.name, a.dtype))};`),
          ...nest(inner, (d) => emitter.statements(depth + d), updates),
          ...accumulators.map(
            (a, i) => `const r${i} = ${a.dtype === "float32" ? `Math.fround(a${i})` : `a${i}`};`,
          ),
          ...emitter.statements(afterwards),
        ];
  return [...emitter.statements(0), ...nest(grid, (d) => emitter.statements(d), [...reduction, ...writes])];
}

/** A row after the other; each pass, the stores and the elements are scopes of their own, which share the results. */
export function printRow(kernel: RowKernel, nameOf: NameOf): string[] {
  const { grid, inner, passes, stores, elements } = kernel;
  const depth = grid.length;
  const bottom = depth + inner.length;
  const scope = (exprs: readonly Expr[]) =>
    new Emitter(javascript(nameOf), exprs, new Map([...levels(grid), ...levels(inner, depth)]), depth);
  // What is fixed in a row stands at the start of each scope.
  const before = (emitter: Emitter) =>
    Array.from({ length: depth + 1 }, (_, level) => emitter.statements(level)).flat();
  const reduction = ({ before: kept, accumulators: pass }: Pass): string[] => {
    const emitter = scope(pass.map(({ expr }) => expr));
    const updates = pass.map((a) => update(a, a.index, emitter.print(a.expr, bottom)));
    const loops = nest(inner, (d) => emitter.statements(depth + d), updates);
    return [
      ...storing(kept, bottom, inner),
      ...pass.map((a) => `let a${a.index} = ${number(neutral(a.name, a.dtype))};`),
      "{",
      ...before(emitter),
      ...loops,
      "}",
      ...pass.map(
        ({ index, dtype }) =>
          `const r${index} = ${dtype === "float32" ? `Math.fround(a${index})` : `a${index}`};`,
      ),
    ];
  };
  const storing = (list: readonly Store[], level: Level, axes: readonly Axis[]): string[] => {
    if (list.length === 0) return [];
    const emitter = scope(list.flatMap(({ index, expr }) => [index, expr]));
    const values = list.map(({ expr }) => emitter.name(expr, level));
    const writes = storeLines(list, emitter, level, values, nameOf);
    const loops = nest(axes, (d) => emitter.statements(depth + d), writes);
    return ["{", ...before(emitter), ...loops, "}"];
  };
  const body = [
    ...passes.flatMap(reduction),
    ...storing(stores, depth, []),
    ...storing(elements, bottom, inner),
  ];
  return nest(grid, () => [], body);
}

/** Sums and products of float32 are kept in float64 and rounded once. */
function update({ name, dtype }: Accumulator, i: number, x: string): string {
  const wrap = dtype === "int32" ? " | 0" : dtype === "uint32" ? " >>> 0" : "";
  switch (name) {
    case "sum":
      return wrap ? `a${i} = (a${i} + ${x})${wrap};` : `a${i} += ${x};`;
    case "prod":
      return wrap ? `a${i} = Math.imul(a${i}, ${x})${wrap};` : `a${i} *= ${x};`;
    case "max":
      return `{ const x = ${x}; if (x > a${i} || x !== x) a${i} = x; }`;
    case "min":
      return `{ const x = ${x}; if (x < a${i} || x !== x) a${i} = x; }`;
    default:
      return name satisfies never;
  }
}

/**
 * The generated holes of the matmul template (matmul.ts): packing loops for both operands, and the epilogue that
 * stores a panel of rows. All take the batch.
 */
export interface MatmulSource {
  /** `into[position] = a(batch, row0 + r, k)`, in the order the microkernel reads. */
  readonly packA: readonly string[];
  readonly packB: readonly string[];
  readonly epilogue: readonly string[];
}

export function printMatmul(
  kernel: MatmulKernel,
  tile: { readonly rows: number; readonly columns: number },
  nameOf: NameOf,
): MatmulSource {
  const { row, column, inner, batch } = kernel;
  const pack = (expr: Expr, along: Axis, width: number): string[] => {
    // Panels of `width` rows (or columns), inner index outermost within a panel, the last panel filled with 0.
    const emitter = new Emitter(
      javascript(nameOf),
      [expr],
      new Map([
        [batch.name, 0],
        [inner.name, 1],
        [along.name, 2],
      ]),
    );
    const text = emitter.print(expr, 2);
    return [
      ...emitter.statements(0),
      `for (let ${inner.name} = 0; ${inner.name} < ${inner.extent}; ${inner.name}++) {`,
      ...emitter.statements(1),
      `for (let lane = 0; lane < ${width}; lane++) {`,
      `const ${along.name} = start + lane;`,
      `if (${along.name} < ${along.extent}) {`,
      ...emitter.statements(2),
      `into[offset + ${inner.name} * ${width} + lane] = ${text};`,
      `} else into[offset + ${inner.name} * ${width} + lane] = 0;`,
      "}",
      "}",
    ];
  };
  const exprs = kernel.stores.flatMap(({ index, expr }) => [index, expr]);
  const emitter = new Emitter(
    javascript(nameOf),
    exprs,
    new Map([
      [batch.name, 0],
      [row.name, 1],
      [column.name, 2],
    ]),
    2,
  );
  const values = kernel.stores.map(({ expr }) => emitter.name(expr, 2));
  const writes = storeLines(kernel.stores, emitter, 2, values, nameOf);
  const total = kernel.dtype === "float32" ? "Math.fround(panel[at])" : "panel[at]";
  const epilogue = [
    ...emitter.statements(0),
    `for (let ${row.name} = start; ${row.name} < end; ${row.name}++) {`,
    ...emitter.statements(1),
    `for (let ${column.name} = 0; ${column.name} < ${column.extent}; ${column.name}++) {`,
    `const at = (${row.name} - start) * stride + ${column.name};`,
    `const r0 = ${total};`,
    ...emitter.statements(2),
    ...writes,
    "}",
    "}",
  ];
  return { packA: pack(kernel.a, row, tile.rows), packB: pack(kernel.b, column, tile.columns), epilogue };
}

export function printScan(kernel: ScanKernel, nameOf: NameOf): string[] {
  const { lane, position } = kernel;
  const emitter = new Emitter(javascript(nameOf), expressionsOf(kernel), new Map(levels([lane, position])));
  const add = update(
    { name: "sum", dtype: kernel.dtype, expr: kernel.expr },
    0,
    emitter.print(kernel.expr, 2),
  );
  const store = `${nameOf(kernel.value)}[${emitter.print(kernel.index, 2)}] = a0;`;
  const body = [...emitter.statements(2), add, store];
  return [
    ...emitter.statements(0),
    ...nest(
      [lane],
      () => [...emitter.statements(1), "let a0 = 0;"],
      nest([position], () => [], body),
    ),
  ];
}

export function printScatter(kernel: ScatterKernel, nameOf: NameOf): string[] {
  const { lane, position, source } = kernel;
  const part = (exprs: readonly Expr[], axis: Axis): [Emitter, string[]] => {
    const emitter = new Emitter(javascript(nameOf), exprs, new Map(levels([lane, axis])));
    return [emitter, exprs.map((e) => emitter.print(e, 2))];
  };
  const [copy, [to, initial]] = part([kernel.index, kernel.initial], position);
  const [add, [target, addend]] = part([kernel.target, kernel.addend], source);
  // The index of the result with its position replaced by the target.
  const [place, [at]] = part([kernel.index], position);
  const sum = kernel.dtype === "int32" ? " | 0" : kernel.dtype === "uint32" ? " >>> 0" : "";
  return [
    ...nest(
      [lane, position],
      (d) => [...(d === 1 ? [...copy.statements(0), ...copy.statements(1)] : copy.statements(2))],
      [`${nameOf(kernel.value)}[${to}] = ${initial};`],
    ),
    ...nest(
      [lane, source],
      (d) => (d === 1 ? [...add.statements(0), ...add.statements(1)] : add.statements(2)),
      [
        `const ${position.name} = ${target};`,
        `if (${position.name} < 0 || ${position.name} >= ${position.extent}) continue;`,
        `const addend = ${addend};`,
        "{", // a scope: both emitters count their names from 0
        ...place.statements(0),
        ...place.statements(1),
        ...place.statements(2),
        `const at = ${at};`,
        `${nameOf(kernel.value)}[at] = (${nameOf(kernel.value)}[at] + addend)${sum};`,
        "}",
      ],
    ),
  ];
}
