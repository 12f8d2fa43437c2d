import { mul, sub } from "./elementwise.ts";
import { makeNode, type Node } from "./node.ts";
import { reduce, spread } from "./reduce.ts";

/** `p`, which is the softmax of `x` along an axis, with a gradient that is made of p: so that nothing else is kept for it. */
export function asSoftmax(p: Node, x: Node, axis: number): Node {
  const pull = (g: Node, [y]: readonly Node[]) => {
    const mean = reduce("sum", mul(g, y!), [axis]);
    return [mul(y!, sub(g, spread(mean, [axis], p.shape)))];
  };
  return makeNode(
    { kind: "identity", stops: false, custom: { given: 1, pull } },
    [p, x, p],
    p.shape,
    p.dtype,
  );
}
