import { internal, ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { eq, where } from "./elementwise.ts";
import { loopsOf, resultOf } from "./loop.ts";
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

/** All marked indices that the roots depend on, without those inside loops. */
export function markedIndices(roots: readonly Node[]): MarkedIndices[] {
  return topological(roots).flatMap(({ operation, inputs: [index] }) =>
    // Numbers of the host are looked at where they are computed.
    operation.kind === "identity" && operation.indices && index!.dtype !== "number" && numel(index!.shape) > 0
      ? [{ range: operation.indices, index: index! }]
      : [],
  );
}

/** The least and the largest of indices, those left out that stand for none. */
export interface IndexBounds {
  readonly range: IndexRange;
  readonly least: Node;
  readonly most: Node;
}

/** The bounds of all marked indices that the roots depend on; of those inside a loop, over all of its steps. */
export function boundsOf(roots: readonly Node[]): IndexBounds[] {
  const own = markedIndices(roots).map(({ range, index }): IndexBounds => {
    const { ignored, from } = range;
    const counted = ignored === undefined ? index : where(eq(index, ignored), from, index);
    const axes = index.shape.map((_, axis) => axis);
    return { range, least: reduce("min", counted, axes), most: reduce("max", counted, axes) };
  });
  const inside = [...loopsOf(topological(roots)).values()].flatMap((members) => {
    const [{ operation, inputs }] = members as [Node];
    if (operation.kind !== "loop") return internal(`${operation.kind} is no loop`);
    const { loop } = operation;
    const body = members.map((member) => (member.operation as typeof operation).output);
    const over = (kind: "min" | "max", of: Node) => reduce(kind, resultOf(loop, inputs, of, false), [0]);
    return boundsOf([...loop.next, ...body]).map(({ range, least, most }) => ({
      range,
      least: over("min", least),
      most: over("max", most),
    }));
  });
  return [...own, ...inside];
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
