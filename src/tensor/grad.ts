import { checkCount, show } from "../base/arguments.ts";
import { isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { meet } from "../graph/cast.ts";
import { backward } from "../graph/grad.ts";
import { expand } from "../graph/movement.ts";
import { constant, makeNode, type Node, transform } from "../graph/node.ts";
import { checkSynchronous } from "../runtime/tracing.ts";
import { Tensor } from "./tensor.ts";
import { entries, isTensor, leaves, map } from "./tree.ts";

/**
 * The value of `f` and its gradient with respect to the first argument, a tree of float tensors. `f` returns a
 * scalar, or `[scalar, aux]` with whatever else is to be kept. Graph in, graph out: gradients can be
 * differentiated again, and what is not in the first argument costs nothing.
 *
 * @throws ShapeError if the value is not a scalar; DTypeError if a leaf of the first argument is not float.
 * @example
 * const [loss, gradient] = valueAndGrad((w: Tensor) => w.square().sum())(tensor([1, 2, 3]));
 * await gradient.toArray(); // [2, 4, 6]
 */
export function valueAndGrad<P, A extends readonly unknown[], V extends Tensor | readonly [Tensor, unknown]>(
  f: (params: P, ...rest: A) => V,
): (params: P, ...rest: A) => [value: V, gradient: P] {
  checkFunction("valueAndGrad", f, arguments);
  return (params, ...rest) => {
    checkFloats("grad", params);
    const fresh = map(params, (leaf) => new Tensor(alias(leaf.node)));
    const value = f(fresh, ...rest);
    checkSynchronous("grad", value);
    const loss = isTensor(value) ? value : value?.[0];
    if (!isTensor(loss))
      throw new ValueError("grad: the function must return a scalar tensor, or [scalar, aux].");
    if (loss.size !== 1 || loss.rank !== 0)
      throw new ShapeError(
        `grad: the function returned ${loss}; a gradient is of a scalar. Sum or average it.`,
      );
    const nodes = leaves(fresh).map((leaf) => leaf.node);
    const gradients = backward([loss.node], [constant(1, loss.dtype)], nodes);
    let at = 0;
    return [value, map(params, () => new Tensor(gradients[at++]!))];
  };
}

/**
 * The gradient of a scalar function with respect to its first argument, a tree of float tensors.
 *
 * @example
 * const third = grad((x: Tensor) => grad((x: Tensor) => x.pow(3).sum())(x).sum()); // 6 x
 */
export function grad<P, A extends readonly unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => P {
  checkFunction("grad", f, arguments);
  const both = valueAndGrad(f);
  return (params, ...rest) => both(params, ...rest)[1];
}

/**
 * The vector-Jacobian product: outputs of `f` and a function from cotangents of the outputs to cotangents of
 * the inputs.
 *
 * @example
 * const [y, pull] = vjp((x: Tensor) => x.square(), x);
 * pull(onesLike(y)); // 2 x
 */
export function vjp<P, V>(f: (params: P) => V, params: P): [outputs: V, pull: (cotangents: V) => P] {
  checkFunction("vjp", f, [f]);
  checkCount("vjp", arguments, 2, "Take a function of one tree, as of { x, y }.");
  checkFloats("vjp", params);
  const fresh = map(params, (leaf) => new Tensor(alias(leaf.node)));
  const outputs = f(fresh);
  checkSynchronous("vjp", outputs);
  const from = leaves(outputs).map((leaf) => leaf.node);
  // The way back is walked now: a node that is evaluated forgets how it was made.
  const places = from.map(({ shape, dtype }, index) => makeNode({ kind: "input", index }, [], shape, dtype));
  const gradients = backward(
    from,
    places,
    leaves(fresh).map((leaf) => leaf.node),
  );
  return [
    outputs,
    (cotangents) => {
      const given = leaves(cotangents);
      if (given.length !== from.length)
        throw new ValueError(
          `vjp: ${given.length} cotangents for ${from.length} outputs; give one for each.`,
        );
      const seeds = new Map(places.map((place, i) => [place, seed(given[i]!, place)]));
      const pulled = transform(gradients, (node, original) => seeds.get(original) ?? node);
      let at = 0;
      return map(params, () => new Tensor(pulled[at++]!));
    },
  ];
}

function seed(cotangent: Tensor, { shape, dtype }: Node): Node {
  if (cotangent.dtype !== dtype && cotangent.dtype !== "number")
    throw new DTypeError(
      `vjp: a cotangent is ${cotangent}, its output is ${dtype}. Cast with .astype("${dtype}").`,
    );
  return expand(meet(cotangent.node, dtype, "vjp"), shape, "vjp");
}

function checkFunction(operation: string, f: unknown, given: ArrayLike<unknown>): void {
  if (typeof f !== "function")
    throw new ValueError(
      `${operation}: takes a function; given ${show(f)}. Call what it returns with the arguments.`,
    );
  checkCount(
    operation,
    given,
    1,
    "The gradient is always that of the function's first argument: reorder, or put what is differentiated into one tree.",
  );
}

/** Another vertex of the same value, so that only uses of the argument count, not of a tensor it came from. */
function alias(x: Node): Node {
  return makeNode({ kind: "identity", stops: false }, [x], x.shape, x.dtype);
}

function checkFloats(operation: string, tree: unknown): void {
  for (const [path, leaf] of entries(tree)) {
    if (!isFloat(leaf.dtype))
      throw new DTypeError(
        `${operation}: ${path || "the argument"} is ${leaf}; only floats have gradients. Pass it as a later argument.`,
      );
  }
}
