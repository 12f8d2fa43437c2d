import { checkArgument, checkCount, functionOf } from "../base/arguments.ts";
import { numel } from "../base/shape.ts";
import { batch } from "../graph/batch.ts";
import { cast } from "../graph/cast.ts";
import { eq } from "../graph/elementwise.ts";
import { backward, forward } from "../graph/grad.ts";
import { expand, permute, reshape } from "../graph/movement.ts";
import { iota, type Node, placeFor } from "../graph/node.ts";
import { checkFloats, differentiable, grad, seedsOf } from "./grad.ts";
import { Tensor } from "./tensor.ts";
import { leaves, map } from "./tree.ts";

/** Of each output (a leaf of V) with respect to each input (a leaf of P): their shapes one behind the other. */
export type Jacobian<V, P> = V extends Tensor ? Derivatives<P> : { [K in keyof V]: Jacobian<V[K], P> };

/** Of one output with respect to each leaf of P. */
export type Derivatives<P> = P extends Tensor ? Tensor : { [K in keyof P]: Derivatives<P[K]> };

/**
 * The Jacobian-vector product (forward mode): outputs of `f`, a function of one tree of float tensors, and how fast they
 * change when the inputs change by `tangents`. Both are made by the transpose of the transpose of `f`, so that whatever
 * has a gradient has a tangent (J. Townsend 2017, "A new trick for calculating Jacobian vector products").
 *
 * @throws ValueError if tangents and inputs differ in structure; ShapeError, DTypeError if they do in shape or dtype.
 * @example
 * const [y, dy] = jvp((x: Tensor) => x.square(), tensor([1, 2]), tensor([1, 10]));
 * await dy.toArray(); // [2, 40]
 */
export function jvp<P, V>(f: (params: P) => V, params: P, tangents: P): [outputs: V, tangents: V] {
  checkArgument("jvp", "f", f, functionOf("a function"));
  checkCount("jvp", arguments, 3, "Take a function of one tree, as of { x, y }.");
  checkFloats("jvp", params);
  const { outputs, inputs } = differentiable("jvp", f, params);
  const results = nodesOf(outputs);
  const seeds = seedsOf("jvp", "tangent", tangents, params, inputs);
  const moved = forward(results, inputs, seeds);
  let at = 0;
  return [outputs, map(outputs, () => new Tensor(moved[at++]!))];
}

/**
 * The Jacobian of `f` with respect to its first argument, a tree of float tensors, by reverse mode: one pass back for
 * each element of the output, all side by side. Right for few outputs. `jacobian[i.., j..]` is the derivative of
 * `output[i..]` with respect to `input[j..]`; trees of outputs and inputs give trees of such.
 *
 * @example
 * const J = jacrev((x: Tensor) => x.square())(tensor([1, 2]));
 * await J.toArray(); // [[2, 0], [0, 4]]
 */
export function jacrev<P, A extends readonly unknown[], V>(
  f: (params: P, ...rest: A) => V,
): (params: P, ...rest: A) => Jacobian<V, P> {
  checkArgument("jacrev", "f", f, functionOf("a function"));
  return (params, ...rest) => {
    checkFloats("jacrev", params);
    const { outputs, inputs } = differentiable("jacrev", (fresh: P) => f(fresh, ...rest), params);
    const results = nodesOf(outputs);
    const blocks = results.map((output) => {
      const place = placeFor(output);
      return along(output, place, backward([output], [place], inputs));
    });
    return nested(outputs, params, (output, input) => {
      const x = inputs[input]!;
      return reshape(blocks[output]![input]!, [...results[output]!.shape, ...x.shape]);
    });
  };
}

/**
 * The Jacobian of `f` with respect to its first argument by forward mode: one pass for each element of the input, all
 * side by side. Right for few inputs; the result is that of `jacrev`.
 *
 * @example
 * const J = jacfwd((x: Tensor) => x.square())(tensor([1, 2]));
 * await J.toArray(); // [[2, 0], [0, 4]]
 */
export function jacfwd<P, A extends readonly unknown[], V>(
  f: (params: P, ...rest: A) => V,
): (params: P, ...rest: A) => Jacobian<V, P> {
  checkArgument("jacfwd", "f", f, functionOf("a function"));
  return (params, ...rest) => {
    checkFloats("jacfwd", params);
    const { outputs, inputs } = differentiable("jacfwd", (fresh: P) => f(fresh, ...rest), params);
    const results = nodesOf(outputs);
    const blocks = inputs.map((input) => {
      const place = placeFor(input);
      return along(input, place, forward(results, [input], [place]));
    });
    return nested(outputs, params, (output, input) => {
      const y = results[output]!;
      const columns = blocks[input]![output]!; // elements of the input, then the output's shape
      const rows = permute(columns, [...y.shape.map((_, axis) => axis + 1), 0]);
      return reshape(rows, [...y.shape, ...inputs[input]!.shape]);
    });
  };
}

/**
 * The matrix of second derivatives of a scalar function of its first argument, a tree of float tensors: for a vector of
 * n an n x n matrix; for a tree one block for each pair of its tensors, with their shapes one behind the other.
 *
 * @example
 * const H = hessian((x: Tensor) => x.pow(3).sum())(tensor([1, 2]));
 * await H.toArray(); // [[6, 0], [0, 12]]
 */
export function hessian<P, A extends readonly unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => Jacobian<P, P> {
  checkArgument("hessian", "f", f, functionOf("a function"));
  return jacrev(grad(f));
}

/**
 * The Hessian of a scalar function of one tree, times a tree of its structure, without the matrix: the cost of a few
 * gradients.
 *
 * @example
 * const Hv = hvp((x: Tensor) => x.pow(3).sum(), tensor([1, 2]), tensor([1, 1]));
 * await Hv.toArray(); // [6, 12]
 */
export function hvp<P>(f: (params: P) => Tensor, params: P, vector: P): P {
  checkArgument("hvp", "f", f, functionOf("a function"));
  checkCount("hvp", arguments, 3, "Take a function of one tree, as of { x, y }.");
  return jvp(grad(f), params, vector)[1];
}

const nodesOf = (tree: unknown) => leaves(tree).map((leaf) => leaf.node);

/** What `linear`, a graph linear in `place`, gives for each unit vector of the node that the place stands for. */
function along({ shape, dtype }: Node, place: Node, linear: readonly Node[]): Node[] {
  const size = numel(shape);
  const units = reshape(cast(eq(iota([size, size], 0), iota([size, size], 1)), dtype), [size, ...shape]);
  const rows = batch(linear, new Map([[place, units]]), size);
  return rows.map((row, i) => row ?? expand(linear[i]!, [size, ...linear[i]!.shape]));
}

/** The structure of the outputs with that of the inputs at each of their tensors. */
function nested<V, P>(outputs: V, params: P, block: (output: number, input: number) => Node): Jacobian<V, P> {
  let output = 0;
  return map(outputs, () => {
    const from = output++;
    let input = 0;
    return map(params, () => new Tensor(block(from, input++)));
  }) as unknown as Jacobian<V, P>; // a tree in the place of each tensor
}
