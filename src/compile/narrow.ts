import { coerce, computeDType, type DType, isNarrow } from "../base/dtype.ts";
import { cast } from "../graph/cast.ts";
import { makeNode, type Node, transform } from "../graph/node.ts";
import { toOdd } from "../graph/odd.ts";

/**
 * A narrow float is how values are stored; what is computed of them is computed in a wider one. Each operation on float16
 * becomes that of float32 between casts, and where one follows another the casts in between are left out, so that means,
 * softmax and losses neither overflow nor round at each step. A value is rounded where it is an output, the operand of
 * a product, compared, or cast: that depends on the graph alone, never on what happens to be stored.
 */
export function computeWide(roots: readonly Node[]): Node[] {
  /** Values that are rounded here, and what they are in float32. */
  const rounded = new Map<Node, Node>();
  const round = (wide: Node, dtype: DType): Node => {
    const node = makeNode({ kind: "cast" }, [wide], wide.shape, dtype);
    rounded.set(node, wide);
    return node;
  };
  /** Numbers of the host are rounded from what they are, not from their float32: once. */
  const numbers = new Set<Node>();
  const number = (narrow: Node, wide: Node): Node => {
    numbers.add(narrow);
    rounded.set(narrow, wide);
    return narrow;
  };
  const whole = (x: Node): Node => cast(x, computeDType(x.dtype));
  const widen = (x: Node): Node => rounded.get(x) ?? whole(x);
  /** The value as it is rounded, made wide again; numbers that meet a narrow float in a comparison already are rounded. */
  const asStored = (x: Node): Node => {
    const wide = widen(x);
    const rounds =
      wide.operation.kind !== "constant" || coerce(wide.operation.value, x.dtype) !== wide.operation.value;
    return rounds ? whole(x) : wide;
  };
  return transform(roots, (node) => {
    const { operation, inputs, shape, dtype } = node;
    const narrow = isNarrow(dtype);
    if (!narrow && !inputs.some((input) => isNarrow(input.dtype))) return node;
    const computed = computeDType(dtype);
    const compute = (operands: readonly Node[]) => {
      const wide = makeNode(operation, operands, shape, computed);
      return narrow ? round(wide, dtype) : wide;
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
      case "procedure":
        return compute(inputs.map(widen));
      case "matmul":
        return compute(inputs.map(whole));
      // Numbers of the host keep their precision where they are computed with.
      case "constant":
      case "hostNumber":
        return number(node, makeNode(operation, [], shape, computed));
      case "cast": {
        const [x] = inputs as [Node];
        if (x.dtype === "number") return number(node, makeNode(operation, inputs, shape, computed));
        return cast(narrow ? toOdd(x) : whole(x), dtype);
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
          return number(node, makeNode(operation, inputs.map(widen), shape, computed));
        return rounded.has(inputs[0]!) ? compute(inputs.map(widen)) : node;
      // Each part is rounded for itself, so that what is stored already stays where it lies.
      case "cat":
      case "update":
        if (inputs.some((input) => rounded.has(input)))
          rounded.set(node, makeNode(operation, inputs.map(widen), shape, computed));
        return node;
      case "input":
      case "buffer":
      case "iota":
      case "identity":
      case "loop": // its body is compiled for itself
        return node;
      default:
        return operation satisfies never;
    }
  });
}
