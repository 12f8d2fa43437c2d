import { anAxis, checkArgument, type Fields, field, functionOf, readOptions } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { normalizeAxis } from "../base/shape.ts";
import { flattenTree, mapTree, pathName } from "../base/tree.ts";
import { batch } from "../graph/batch.ts";
import { expand, permute } from "../graph/movement.ts";
import { type Node, placeFor } from "../graph/node.ts";
import { checkSynchronous, whileTracing } from "../runtime/tracing.ts";
import { Key } from "./random.ts";
import { Tensor } from "./tensor.ts";

type Leaf = Tensor | Key | number;

/** What arguments and results hold; only tensors are mapped. */
const isLeaf = (value: unknown): value is Leaf =>
  value instanceof Tensor || value instanceof Key || typeof value === "number";

export interface VmapOptions {
  /**
   * The axis of the arguments' tensors along which the calls stand side by side: one for all arguments, or a list with
   * one for each and null for those that all calls share. Default 0.
   */
  readonly in?: number | readonly (number | null)[];
  /** The axis along which the results stand. Default 0. */
  readonly out?: number;
}

const isAxis = (value: unknown) => value === null || Number.isInteger(value);
const options: Fields<Required<VmapOptions>> = {
  in: field<number | readonly (number | null)[]>(
    "an axis, or a list with an axis or null for each argument",
    (value) => Number.isInteger(value) || (Array.isArray(value) && value.every(isAxis)),
    0,
  ),
  out: anAxis(0),
};

/**
 * A function of one example as a function of many: `f` is called once, with tensors that lack the axis, and what it
 * builds is vectorised, graph to graph. Works on gradients too (`vmap(grad(loss))` gives one for each example), nests,
 * and may stand inside `compile`, `grad` and the other transforms.
 *
 * Random numbers of one key are the same in all calls; `key.fold(i)` with `i` a tensor of integers among the arguments
 * makes them differ. Numbers are the same for all calls.
 *
 * @throws ShapeError if the lengths of the axes differ or a tensor has no such axis; ValueError if no argument has one.
 * @example
 * const norms = vmap((row: Tensor) => row.square().sum().sqrt());
 * await norms(tensor([[3, 4], [6, 8]])).toArray(); // [5, 10]
 */
export function vmap<A extends readonly unknown[], V>(
  f: (...args: A) => V,
  given: VmapOptions = {},
): (...args: A) => V {
  checkArgument("vmap", "f", f, functionOf("a function"));
  const { in: axes, out } = readOptions("vmap", options, given);
  return (...args) => {
    if (Array.isArray(axes) && axes.length !== args.length)
      throw new ValueError(
        `vmap: in has ${axes.length} axes for ${args.length} arguments; give one for each, or one for all.`,
      );
    const places = new Map<Node, Node>();
    let size: number | undefined;
    const single = args.map((arg, i) => {
      const axis = typeof axes === "number" ? axes : axes[i]!;
      if (axis === null) return arg;
      return mapTree(
        arg,
        isLeaf,
        (leaf, path) => {
          if (!(leaf instanceof Tensor)) return leaf;
          const name = `argument ${pathName([i, ...path])}`;
          const front = leading(leaf.node, axis, name);
          const length = front.shape[0]!;
          if (size !== undefined && length !== size)
            throw new ShapeError(
              `vmap: ${name} is ${leaf}, with ${length} along axis ${axis}, where others have ${size}. All must be equal; use null for what all calls share.`,
            );
          size = length;
          const place = placeFor({ shape: front.shape.slice(1), dtype: front.dtype });
          places.set(place, front);
          return new Tensor(place);
        },
        `vmap: argument ${i}:`,
      );
    }) as unknown as A; // of the same structure
    if (size === undefined)
      throw new ValueError(
        "vmap: no argument has a tensor with an axis to go along; call the function itself.",
      );
    const calls = size;
    const results = whileTracing(() => f(...single));
    checkSynchronous("vmap", results);
    const nodes = flattenTree(results, isLeaf, "vmap: of what the function returned,").flatMap(({ leaf }) =>
      leaf instanceof Tensor ? [leaf.node] : [],
    );
    const batched = batch(nodes, places, calls);
    let at = 0;
    return mapTree(results, isLeaf, (leaf) => {
      if (!(leaf instanceof Tensor)) return leaf;
      const front = batched[at++] ?? expand(leaf.node, [calls, ...leaf.shape]);
      return new Tensor(trailing(front, out));
    }) as V; // of the same structure
  };
}

/** The axis moved to the front. */
function leading(x: Node, axis: number, name: string): Node {
  if (x.shape.length === 0)
    throw new ShapeError(
      `vmap: ${name} is ${x.dtype}[], which has no axis to go along; use null to share it.`,
    );
  const at = normalizeAxis(`vmap: ${name}`, axis, x.shape.length);
  return permute(x, [at, ...x.shape.flatMap((_, i) => (i === at ? [] : [i]))]);
}

/** The first axis moved to its place among those of the result. */
function trailing(x: Node, axis: number): Node {
  const at = normalizeAxis("vmap: out", axis, x.shape.length);
  const rest = x.shape.map((_, i) => i).slice(1);
  return permute(x, [...rest.slice(0, at), 0, ...rest.slice(at)]);
}
