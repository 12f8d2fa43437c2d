import type { DeviceDType } from "../../base/dtype.ts";
import { internal } from "../../base/errors.ts";
import type { Accumulator, Axis, Store } from "../../compile/kernel.ts";
import { exprsOf } from "../../compile/nest.ts";
import type { Level } from "../../compile/place.ts";
import type { ReduceName } from "../../graph/node.ts";
import { neutral } from "../../graph/reduce.ts";
import { type Line, loop } from "./dispatch.ts";
import { valueType } from "./dtypes.ts";
import { printQuad } from "./elements.ts";
import type { Bindings } from "./shader.ts";
import { depthOf, printConstant, write } from "./text.ts";

// How results of reductions add up, one element at a time or four: in which order is fixed by the kernel.

/** Float sums are added up in blocks of this many, blocks of blocks, ...: errors grow like the logarithm of the length. */
export const block = 32;

/** What the steps of a loop add to accumulators: one element each, or four. */
export interface Terms {
  readonly declarations: readonly string[];
  statements(level: Level): readonly string[];
  updates(sums: readonly string[]): readonly string[];
}

export interface TermOptions {
  /** The loops in which they stand. */
  readonly levels: ReadonlyMap<string, Level>;
  readonly name?: string;
  /** The index that moves within four elements of a result, or of four results. */
  readonly variable?: string | undefined;
  /** What is stored for each element on the way, if there are four. */
  readonly before?: readonly Store[];
}

export function printTerms(
  accumulators: readonly Accumulator[],
  { levels, name = "term", variable, before = [] }: TermOptions,
  bindings: Bindings,
): Terms {
  const exprs = exprsOf(accumulators);
  if (variable === undefined) {
    const at = depthOf(levels);
    const text = write(
      exprs.map((expr) => ({ expr, at })),
      bindings,
      { levels },
    );
    return {
      declarations: [],
      statements: (level) => text.statements(level),
      updates: (sums) => accumulators.map((a, i) => update(a, sums[i]!, text.text(a.expr))),
    };
  }
  const quad = printQuad({ exprs, stores: before, name, variable, levels }, bindings);
  return {
    declarations: quad.declarations,
    statements: quad.statements,
    updates: (sums) => [
      ...quad.writes,
      ...accumulators.map((a, i) => updateFour(a, sums[i]!, quad.values(i))),
    ],
  };
}

interface BlockedLoop {
  readonly axis: Axis;
  readonly start: number | string;
  readonly step: number;
  readonly accumulators: readonly Accumulator[];
  /** Names of the variables that take the results. */
  readonly sums: readonly string[];
  /** Whether the variables are vectors of four. */
  readonly wide: boolean;
  /** Whether the body of one step is a sum of its own. */
  readonly partial: boolean;
  /** Steps that are written out together, if more than one; the loop starts at 0 and has a multiple of as many. */
  readonly together: number;
}

/** A loop over an axis; float sums go through partial sums of blocks, so that no long sum swallows small terms. */
export function blockedLoop(
  { axis: { name, extent }, start, step, accumulators, sums, wide, partial, together }: BlockedLoop,
  body: (sums: readonly string[]) => readonly Line[],
): Line[] {
  const isSum = accumulators.map((a) => a.name === "sum" && a.dtype === "float32");
  const sizes = [step];
  if (isSum.includes(true)) while (sizes[0]! * block < extent) sizes.unshift(sizes[0]! * block);
  const zero = wide ? "vec4<f32>()" : "0.0f";
  const open = (
    level: number,
    from: number | string,
    to: number | string,
    names: readonly string[],
  ): Line[] => {
    const size = sizes[level]!;
    const last = level === sizes.length - 1;
    const variable = last ? name : `${name}_${sizes.length - 1 - level}`;
    if (last && together > 1) {
      return [
        loop(`${name}_`, from, to, together * size),
        loop("step", 0, together, 1),
        `let ${name} = ${name}_ + step${size === 1 ? "" : ` * ${size}`};`,
        ...body(names),
        "}",
        "}",
      ];
    }
    const head = loop(variable, from, to, size);
    if (last && !partial) return [head, ...body(names), "}"];
    const inside = names.map((sum, i) => (isSum[i] ? `${sum}_` : sum));
    const end = extent % size === 0 ? `${variable} + ${size}` : `min(${variable} + ${size}, ${extent})`;
    return [
      head,
      ...inside.flatMap((sum, i) => (isSum[i] ? [`var ${sum} = ${zero};`] : [])),
      ...(last ? body(inside) : open(level + 1, variable, end, inside)),
      ...inside.flatMap((sum, i) => (isSum[i] ? [`${names[i]} += ${sum};`] : [])),
      "}",
    ];
  };
  return open(0, start, extent, sums);
}

/**
 * A sum that is known at each step of a loop. Float sums are that within the block, that of the whole blocks before it in
 * this block of blocks, and so on.
 */
export function runningSums(a: Accumulator, axes: readonly Axis[]) {
  const [axis, ...others] = axes as [Axis, ...Axis[]];
  if (others.length > 0 || a.name !== "sum") internal("what runs up is a sum along one axis");
  const { name, extent } = axis;
  const levels = a.dtype === "float32" ? Math.max(2, Math.ceil(Math.log(extent) / Math.log(block))) : 1;
  const sums = Array.from({ length: levels }, (_, level) => `sum${a.index}_${level}`);
  const end = sums.slice(1).flatMap((sum, level) => {
    const full = block ** (level + 1);
    const reset = printConstant(neutral(a.name, a.dtype), a.dtype);
    return [
      `if (${name} % ${full} == ${full - 1}) {`,
      `${sum} += ${sums[level]};`,
      `${sums[level]} = ${reset};`,
    ];
  });
  return {
    sum: sums[0]!,
    begin: sums.map((sum) => declareSum(a, sum)),
    soFar: sums
      .slice(1)
      .reduce((inner, sum) => `${sum} + ${inner.includes("+") ? `(${inner})` : inner}`, sums[0]!),
    end: [...end, ...sums.slice(1).map(() => "}")],
  };
}

export function declareSum({ name, dtype }: Accumulator, variable: string, wide = false): string {
  const type = wide ? `vec4<${valueType(dtype)}>` : valueType(dtype);
  const start = printConstant(neutral(name, dtype), dtype);
  return `var ${variable}: ${type} = ${wide ? `${type}(${start})` : start};`;
}

/** How two partial results become one: by an operator or a function. */
const joins: Readonly<Record<ReduceName, "+" | "*" | ((dtype: DeviceDType) => string)>> = {
  sum: "+",
  prod: "*",
  max: (dtype) => (dtype === "float32" ? "lorantz_maximum" : "max"),
  min: (dtype) => (dtype === "float32" ? "lorantz_minimum" : "min"),
};

function joined({ name, dtype }: Accumulator, x: string, y: string): string {
  const by = joins[name];
  return typeof by === "string" ? `(${x} ${by} ${y})` : `${by(dtype)}(${x}, ${y})`;
}

export function update(a: Accumulator, sum: string, x: string): string {
  const by = joins[a.name];
  return typeof by === "string" ? `${sum} ${by}= ${x};` : `${sum} = ${joined(a, sum, x)};`;
}

/** As `update`, of four results by four elements. */
function updateFour(a: Accumulator, sum: string, elements: readonly string[]): string {
  const type = `vec4<${valueType(a.dtype)}>`;
  // Extremes of floats, which know NaN, are functions of numbers.
  if (typeof joins[a.name] === "function" && a.dtype === "float32") {
    const each = elements.map((x, i) => joined(a, `${sum}.${"xyzw"[i]}`, x));
    return `${sum} = ${type}(${each.join(", ")});`;
  }
  return update(a, sum, `${type}(${elements.join(", ")})`);
}

/** One result of four, in pairs. */
export function fold(a: Accumulator, sum: string): string {
  return joined(a, joined(a, `${sum}.x`, `${sum}.y`), joined(a, `${sum}.z`, `${sum}.w`));
}
