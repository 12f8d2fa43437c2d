import { mul, sub } from "./elementwise.ts";
import { expand, reshape } from "./movement.ts";
import { makeNode, type Node } from "./node.ts";
import { reduce } from "./reduce.ts";

/** `p`, which is the softmax of `x` along an axis, with a gradient that is made of p: so that nothing else is kept for it. */
export function asSoftmax(p: Node, x: Node, axis: number): Node {
  const single = p.shape.with(axis, 1);
  const pull = (g: Node, [y]: readonly Node[]) => {
    const mean = reshape(reduce("sum", mul(g, y!), [axis]), single);
    return [mul(y!, sub(g, expand(mean, p.shape)))];
  };
  return makeNode(
    { kind: "identity", stops: false, custom: { given: 1, pull } },
    [p, x, p],
    p.shape,
    p.dtype,
  );
}
