import { ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { eq, where } from "./elementwise.ts";
import { type IndexRange, makeNode, type Node, topological } from "./node.ts";
import { reduce } from "./reduce.ts";

// Indices that a device takes cannot be refused by it. Each public function marks those that it was given with the
// range that they should have: what the host knows of them it checks, and whoever runs a graph may ask for their least
// and largest beside its results.

/** The same indices, marked with what they should be. */
export function indices(index: Node, range: IndexRange): Node {
  return makeNode({ kind: "identity", stops: true, indices: range }, [index], index.shape, index.dtype);
}

/** Indices that are marked. */
export interface MarkedIndices {
  readonly range: IndexRange;
  readonly index: Node;
}

/** All marked indices that the roots depend on. */
export function markedIndices(roots: readonly Node[]): MarkedIndices[] {
  return topological(roots).flatMap(({ operation, inputs: [index] }) =>
    // Numbers of the host are looked at where they are computed.
    operation.kind === "identity" && operation.indices && index!.dtype !== "number" && numel(index!.shape) > 0
      ? [{ range: operation.indices, index: index! }]
      : [],
  );
}

/** The least and the largest of indices, those left out that stand for none. */
export function boundsOf({
  range: { ignored, from },
  index,
}: MarkedIndices): readonly [least: Node, most: Node] {
  const counted = ignored === undefined ? index : where(eq(index, ignored), from, index);
  const axes = index.shape.map((_, axis) => axis);
  return [reduce("min", counted, axes), reduce("max", counted, axes)];
}

/** What lies below views that have the same elements. */
export function withoutViews(node: Node): Node {
  let below = node;
  while (["identity", "reshape", "expand", "permute", "flip"].includes(below.operation.kind))
    below = below.inputs[0]!;
  return below;
}

/** @throws ValueError naming the function, the index and the length of the axis. */
export function checkIndices(
  { what, from, length, taken = 1, ignored }: IndexRange,
  values: Iterable<number>,
): void {
  const most = length - taken;
  for (const value of values) {
    if ((value >= from && value <= most) || value === ignored) continue;
    const range = most < 0 ? "there is none" : `they are ${from} to ${most}`;
    const with_ = taken === 1 ? "" : ` and ${taken} elements are taken`;
    throw new ValueError(
      `${what} ${value} is out of range: the axis has length ${length}${with_}, so ${range}.`,
    );
  }
}
