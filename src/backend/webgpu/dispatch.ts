import type { Axis, Store } from "../../compile/kernel.ts";
import { product } from "../../compile/nest.ts";
import type { Step } from "../../compile/steps.ts";
import type { ShaderOptions } from "./shader.ts";

// Which invocation computes what. Every kernel relies on workgroups of at most 64 invocations, which every WebGPU device
// has; dispatches of more workgroups than one dimension takes go on in the second.

export const workgroupSize = 64;

/** A kernel without its bindings and helpers. */
export interface Body {
  /** How its loops run, where that was chosen. */
  readonly steps?: readonly Step[];
  /** Language extensions that the kernel relies on, beside f16. */
  readonly enable?: readonly string[];
  readonly declarations?: readonly string[];
  readonly body: readonly string[];
  readonly workgroups: readonly [x: number, y: number];
}

/** Workgroups in two dimensions, and the flat number of a workgroup in terms of them. */
export function spread(
  count: number,
  { maxWorkgroups }: ShaderOptions,
): { workgroups: readonly [number, number]; width: number } {
  const width = Math.min(count, maxWorkgroups);
  return { workgroups: [width, Math.ceil(count / width)], width };
}

/** Workgroups from which they may be of full size. */
const manyWorkgroups = 64;

/** `for (var name = from; name < to; name += by) {` */
export interface LoopHead {
  readonly name: string;
  readonly from: number | string;
  readonly to: number | string;
  readonly by: number;
}

/** A line of code. Heads of loops become text when it is known what the driver may know of their lengths. */
export type Line = string | LoopHead;

export const loop = (name: string, from: number | string, to: number | string, by: number): LoopHead => ({
  name,
  from,
  to,
  by,
});

/** Rounds up to which a loop may be written out. */
const fewRounds = 4;

/** The lines as text. Loops of which lengths are hidden are kept by the driver: points could be negative, so none is a constant to it. */
function written(lines: readonly Line[], { hideLengths }: ShaderOptions): readonly string[] {
  const isHidden = ({ from, to, by }: LoopHead) =>
    hideLengths && typeof from === "number" && typeof to === "number" && (to - from) / by > fewRounds;
  const text = lines.map((line) => {
    if (typeof line === "string") return line;
    const { name, from, to, by } = line;
    const end = isHidden(line) ? `${to} + zero_` : to;
    return `for (var ${name} = ${from}; ${name} < ${end}; ${by === 1 ? `${name}++` : `${name} += ${by}`}) {`;
  });
  const hides = lines.some((line) => typeof line !== "string" && isHidden(line));
  return hides ? ["let zero_ = point >> 31u;", ...text] : text;
}

/** One invocation for each of `count` points, named `point`. */
export function perPoint(count: number, options: ShaderOptions, body: readonly Line[]): Body {
  const size = count < manyWorkgroups * workgroupSize ? options.leastWorkgroup : workgroupSize;
  const { workgroups, width } = spread(Math.ceil(count / size), options);
  const flat = workgroups[1] === 1 ? "id.x" : `id.x + id.y * ${width * size}u`;
  return {
    workgroups,
    body: [
      `@compute @workgroup_size(${size})`,
      "fn main(@builtin(global_invocation_id) id: vec3<u32>) {",
      `let point = i32(${flat});`,
      ...(width * workgroups[1] * size === count ? [] : [`if (point >= ${count}) {`, "return;", "}"]),
      ...written(body, options),
      "}",
    ],
  };
}

/** So many invocations of a workgroup, numbered `own_`, for each of `count` points, of which a workgroup has so many. */
export function perGroup(
  count: number,
  options: ShaderOptions,
  { points, point, builtins }: { readonly points: number; readonly point: string; readonly builtins: string },
  body: readonly Line[],
): Body {
  const { workgroups, width } = spread(Math.ceil(count / points), options);
  const group = workgroups[1] === 1 ? "workgroup.x" : `(workgroup.x + workgroup.y * ${width}u)`;
  const flat = points === 1 ? group : `${group} * ${points}u + ${point}`;
  return {
    workgroups,
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      `fn main(@builtin(workgroup_id) workgroup: vec3<u32>, ${builtins}) {`,
      `let point = i32(${flat});`,
      ...(width * workgroups[1] * points === count ? [] : [`if (point >= ${count}) {`, "return;", "}"]),
      "let own_ = i32(local);",
      ...written(body, options),
      "}",
    ],
  };
}

/** Declares the axes as digits of a flat position. */
export function digits(axes: readonly Axis[], flat: string): string[] {
  let below = product(axes);
  return axes.flatMap(({ name, extent }, i) => {
    below /= extent;
    if (extent <= 1) return [];
    const quotient = below === 1 ? flat : `${flat} / ${below}`;
    const outermost = axes.slice(0, i).every((axis) => axis.extent === 1);
    return [`let ${name} = ${outermost ? quotient : `${quotient} % ${extent}`};`];
  });
}

/** A grid in quads along its last axis. */
export interface QuadGrid {
  readonly points: number;
  /** Declares the indices at the start of the quad that is the point. */
  readonly unpack: readonly string[];
}

/** Rows must be whole quads; the end of the only one may lie in the padding of buffers, if `stores` fill whole values. */
export function quadGrid(grid: readonly Axis[], stores: readonly Store[] = []): QuadGrid | undefined {
  const outer = grid.slice(0, -1);
  const last = grid[grid.length - 1];
  if (!last) return undefined;
  if (last.extent % 4 !== 0 && (outer.length > 0 || stores.some(({ part }) => part))) return undefined;
  const quads = { name: "quad", extent: Math.ceil(last.extent / 4) };
  const axes = [...outer, quads];
  const start = quads.extent > 1 ? "quad * 4" : "0";
  return {
    points: product(axes),
    unpack:
      outer.length === 0
        ? [`let ${last.name} = point * 4;`]
        : [...digits(axes, "point"), `let ${last.name} = ${start};`],
  };
}
