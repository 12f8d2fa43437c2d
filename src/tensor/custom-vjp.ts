import { checkArgument, functionOf } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { describe, type Shape, sameShape } from "../base/shape.ts";
import { treeStructure } from "../base/tree.ts";
import { cotangent } from "../graph/cast.ts";
import { zeros } from "../graph/movement.ts";
import { makeNode, type Node } from "../graph/node.ts";
import { Tensor } from "./tensor.ts";
import { isTensor, leaves, map } from "./tree.ts";

/**
 * A function with a gradient of its own. `forward` gives the outputs and what `backward` needs (a tree of tensors);
 * `backward` gets that and the cotangents of the outputs, and gives a cotangent for each argument, of its structure, or null
 * where there is none.
 * Both build graphs: of what `backward` builds there are gradients again, and `vmap`, `jvp` (where `backward` is linear in
 * the cotangents) and `compile` see through it. `backward` may use nothing but its arguments and constants. With several
 * outputs it is called once for each of them, with zeros for the others.
 *
 * @throws ValueError if `forward` returns no pair, or the cotangents have not the structure and shapes of the arguments.
 * @example
 * // The identity, whose gradient is clipped.
 * const clipped = customVjp((x: Tensor) => [x, null], (_, g: Tensor) => [g.clamp(-1, 1)]);
 * await grad((x: Tensor) => clipped(x).mul(5).sum())(tensor([1, 2])).toArray(); // [1, 1]
 */
export function customVjp<A extends readonly unknown[], V, R>(
  forward: (...args: A) => readonly [outputs: V, kept: R],
  backward: (kept: R, cotangents: V) => { readonly [K in keyof A]: unknown },
): (...args: A) => V {
  checkArgument("customVjp", "forward", forward, functionOf("a function"));
  checkArgument("customVjp", "backward", backward, functionOf("a function"));
  return (...args) => {
    const pair = forward(...args);
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new ValueError("customVjp: forward must return [outputs, what backward needs].");
    const [outputs, kept] = pair as unknown as readonly [V, R];
    const given = args.flatMap((arg) => leaves(arg).map((leaf) => leaf.node));
    const values = leaves(outputs).map((leaf) => leaf.node);
    const saved = leaves(kept).map((leaf) => leaf.node);
    const [shapes, expected] = [values.map(kindOf), given.map(kindOf)];
    const pull = (output: number) => (g: Node, now: readonly Node[]) => {
      const seeds = shapes.map((shape, i) => (i === output ? g : zeros(shape)));
      const cotangents: unknown = backward(refilled(kept, now), refilled(outputs, seeds));
      return checked(cotangents, args, expected);
    };
    const nodes = values.map((value, i) =>
      makeNode(
        { kind: "identity", stops: false, custom: { given: given.length, pull: pull(i) } },
        [value, ...given, ...saved],
        value.shape,
        value.dtype,
      ),
    );
    return refilled(outputs, nodes);
  };
}

type Kind = { readonly shape: Shape; readonly dtype: DType };

const kindOf = ({ shape, dtype }: Node): Kind => ({ shape, dtype });

/** The tree with other nodes in its places. */
function refilled<T>(tree: T, nodes: readonly Node[]): T {
  let at = 0;
  return map(tree, () => new Tensor(nodes[at++]!));
}

function checked(given: unknown, args: readonly unknown[], expected: readonly Kind[]): (Node | undefined)[] {
  const parts = Array.isArray(given) ? (given as readonly unknown[]) : [];
  const [got, wanted] = [structure(given), structure(args)];
  if (parts.length !== args.length || parts.some((part, i) => part && structure(part) !== structure(args[i])))
    throw new ValueError(
      `customVjp: backward returned ${got}; it returns a list with a cotangent for each argument, ${wanted}, or null for one that gets none.`,
    );
  const cotangents = args.flatMap((arg, i) =>
    parts[i] ? leaves(parts[i]) : leaves(arg).map(() => undefined),
  );
  return cotangents.map((found, i) => {
    if (!found) return undefined;
    const { node } = found;
    const { shape, dtype } = expected[i]!;
    if (dtype === "number") return cotangent(node, dtype);
    if (!sameShape(node.shape, shape) || node.dtype !== dtype)
      throw new ShapeError(
        `customVjp: cotangent ${i} of backward is ${describe(node)}; its argument is ${describe({ shape, dtype })}.`,
      );
    return node;
  });
}

const structure = (tree: unknown) => treeStructure(tree, isTensor);
