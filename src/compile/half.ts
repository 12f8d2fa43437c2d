import { coerce } from "../base/dtype.ts";
import { cast } from "../graph/cast.ts";
import { makeNode, type Node, transform } from "../graph/node.ts";
import { toOdd } from "../graph/odd.ts";

/**
 * float16 is how values are stored; what is computed of them is computed in float32. Each operation on float16 becomes
 * that of float32 between casts, and where one follows another the casts in between are left out, so that means,
 * softmax and losses neither overflow nor round at each step. A value is rounded where it is an output, the operand of
 * a product, compared, or cast: that depends on the graph alone, never on what happens to be stored.
 */
export function computeHalfInFloat(roots: readonly Node[]): Node[] {
  /** Values that are rounded here, and what they are in float32. */
  const rounded = new Map<Node, Node>();
  const round = (wide: Node): Node => {
    const node = makeNode({ kind: "cast" }, [wide], wide.shape, "float16");
    rounded.set(node, wide);
    return node;
  };
  /** Numbers of the host are rounded from what they are, not from their float32: once. */
  const numbers = new Set<Node>();
  const number = (half: Node, wide: Node): Node => {
    numbers.add(half);
    rounded.set(half, wide);
    return half;
  };
  const widen = (x: Node): Node => (x.dtype !== "float16" ? x : (rounded.get(x) ?? cast(x, "float32")));
  /** The value in float32 as it is rounded; numbers that meet float16 in a comparison already are. */
  const asStored = (x: Node): Node => {
    const wide = widen(x);
    const rounds =
      wide.operation.kind !== "constant" || coerce(wide.operation.value, "float16") !== wide.operation.value;
    return rounds ? cast(x, "float32") : wide;
  };
  return transform(roots, (node) => {
    const { operation, inputs, shape, dtype } = node;
    const half = dtype === "float16";
    if (!half && !inputs.some((input) => input.dtype === "float16")) return node;
    const compute = (operands: readonly Node[]) => {
      const wide = makeNode(operation, operands, shape, half ? "float32" : dtype);
      return half ? round(wide) : wide;
    };
    switch (operation.kind) {
      case "scalar": {
        const { types } = operation.op.row;
        const seen = types === "compare" || types === "test"; // what is asked of a value is asked of the rounded one
        return compute(inputs.map(seen ? asStored : widen));
      }
      case "reduce":
      case "cumsum":
      case "scatterAdd":
        return compute(inputs.map(widen));
      case "matmul":
        return compute(inputs.map((input) => cast(input, "float32")));
      // Numbers of the host keep the precision of float32 where they are computed with.
      case "constant":
      case "hostNumber":
        return number(node, makeNode(operation, [], shape, "float32"));
      case "cast": {
        const [x] = inputs as [Node];
        if (x.dtype === "number") return number(node, makeNode(operation, inputs, shape, "float32"));
        return cast(half ? toOdd(x) : cast(x, "float32"), dtype);
      }
      // What moves elements leaves them as they are.
      case "reshape":
      case "expand":
      case "permute":
      case "flip":
      case "windows":
      case "slice":
      case "pad":
      case "after":
      case "gather":
        if (numbers.has(inputs[0]!))
          return number(node, makeNode(operation, inputs.map(widen), shape, "float32"));
        return rounded.has(inputs[0]!) ? compute(inputs.map(widen)) : node;
      // Each part is rounded for itself, so that what is stored already stays where it lies.
      case "cat":
      case "update":
        if (inputs.some((input) => rounded.has(input)))
          rounded.set(node, makeNode(operation, inputs.map(widen), shape, "float32"));
        return node;
      case "input":
      case "buffer":
      case "iota":
      case "identity":
        return node;
      default:
        return operation satisfies never;
    }
  });
}
