import { checkCount, type Fields, field, isIntegerIn, readOptions, show } from "../base/arguments.ts";
import { isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { treeStructure } from "../base/tree.ts";
import { meet } from "../graph/cast.ts";
import { backward } from "../graph/grad.ts";
import { expand } from "../graph/movement.ts";
import { constant, makeNode, type Node, placeFor, transform } from "../graph/node.ts";
import { checkSynchronous } from "../runtime/tracing.ts";
import { Tensor } from "./tensor.ts";
import { entries, isTensor, leaves, map } from "./tree.ts";

export interface GradOptions<N extends number | readonly number[] = number | readonly number[]> {
  /** Which arguments: a position, or a list of them, which gives a list of gradients. Default 0, the first. */
  readonly argnums?: N;
}

/** The gradients with respect to the arguments at N. */
export type Gradients<A extends readonly unknown[], N> = N extends readonly number[]
  ? { [K in keyof N]: A[N[K] & keyof A] }
  : A[N & keyof A];

const isPosition = (value: unknown) => isIntegerIn(value, 0);
const gradFields: Fields<Required<GradOptions>> = {
  argnums: field<number | readonly number[]>(
    "the position of an argument, an integer >= 0, or a list of different ones",
    (value) =>
      isPosition(value) ||
      (Array.isArray(value) && value.every(isPosition) && new Set(value).size === value.length),
    0,
  ),
};

/**
 * The value of `f` and its gradient with respect to the first argument, or those that `argnums` names: trees of float
 * tensors. `f` returns a scalar, or `[scalar, aux]` with whatever else is to be kept. Graph in, graph out: gradients can
 * be differentiated again, and arguments that are not differentiated cost nothing.
 *
 * @throws ShapeError if the value is not a scalar; DTypeError if a leaf of such an argument is not float; ValueError if
 * there is no such argument.
 * @example
 * const [loss, gradient] = valueAndGrad((w: Tensor) => w.square().sum())(tensor([1, 2, 3]));
 * await gradient.toArray(); // [2, 4, 6]
 */
export function valueAndGrad<P, A extends readonly unknown[], V extends Tensor | readonly [Tensor, unknown]>(
  f: (params: P, ...rest: A) => V,
): (params: P, ...rest: A) => [value: V, gradient: P];
export function valueAndGrad<
  A extends readonly unknown[],
  V extends Tensor | readonly [Tensor, unknown],
  const N extends number | readonly number[],
>(f: (...args: A) => V, options: GradOptions<N>): (...args: A) => [value: V, gradients: Gradients<A, N>];
export function valueAndGrad(
  f: (...args: readonly unknown[]) => Tensor | readonly [Tensor, unknown],
  options: GradOptions = {},
): (...args: readonly unknown[]) => [value: unknown, gradient: unknown] {
  return differentiated("valueAndGrad", f, options);
}

/**
 * The gradient of a scalar function with respect to its first argument, or those that `argnums` names: trees of float
 * tensors.
 *
 * @example
 * const third = grad((x: Tensor) => grad((x: Tensor) => x.pow(3).sum())(x).sum()); // 6 x
 * const both = grad((x: Tensor, y: Tensor) => x.mul(y).sum(), { argnums: [0, 1] }); // [y, x]
 */
export function grad<P, A extends readonly unknown[]>(
  f: (params: P, ...rest: A) => Tensor,
): (params: P, ...rest: A) => P;
export function grad<A extends readonly unknown[], const N extends number | readonly number[]>(
  f: (...args: A) => Tensor,
  options: GradOptions<N>,
): (...args: A) => Gradients<A, N>;
export function grad(
  f: (...args: readonly unknown[]) => Tensor,
  options: GradOptions = {},
): (...args: readonly unknown[]) => unknown {
  const both = differentiated("grad", f, options);
  return (...args) => both(...args)[1];
}

function differentiated(
  operation: string,
  f: (...args: readonly unknown[]) => Tensor | readonly [Tensor, unknown],
  options: GradOptions,
): (...args: readonly unknown[]) => [value: unknown, gradient: unknown] {
  checkFunction(operation, f);
  const { argnums } = readOptions(operation, gradFields, options);
  const positions = typeof argnums === "number" ? [argnums] : argnums;
  return (...args) => {
    for (const position of positions) {
      if (position >= args.length)
        throw new ValueError(`${operation}: argnums names argument ${position}; given ${args.length}.`);
    }
    const chosen = positions.map((position) => args[position]);
    if (argnums === 0) checkFloats("grad", chosen[0]);
    else checkFloats("grad", Object.fromEntries(positions.map((position, i) => [position, chosen[i]])));
    const place = new Map(positions.map((position, i) => [position, i]));
    const { outputs, inputs } = differentiable(
      "grad",
      (fresh) => f(...args.map((arg, at) => (place.has(at) ? fresh[place.get(at)!] : arg))),
      chosen,
    );
    const loss = isTensor(outputs) ? outputs : outputs?.[0];
    if (!isTensor(loss))
      throw new ValueError("grad: the function must return a scalar tensor, or [scalar, aux].");
    if (loss.size !== 1 || loss.rank !== 0)
      throw new ShapeError(
        `grad: the function returned ${loss}; a gradient is of a scalar. Sum or average it, or use jacrev.`,
      );
    const gradients = backward([loss.node], [constant(1, loss.dtype)], inputs);
    let at = 0;
    const trees = map(chosen, () => new Tensor(gradients[at++]!));
    return [outputs, typeof argnums === "number" ? trees[0] : trees];
  };
}

/** Calls a function with other vertices of the tensors in `params`, so that only its uses of them count. */
export function differentiable<P, V>(
  operation: string,
  f: (params: P) => V,
  params: P,
): { readonly outputs: V; readonly inputs: readonly Node[] } {
  const fresh = map(params, (leaf) => new Tensor(alias(leaf.node)));
  const outputs = f(fresh);
  checkSynchronous(operation, outputs);
  const inputs = leaves(fresh).map((leaf) => leaf.node);
  return { outputs, inputs };
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
  checkFunction("vjp", f);
  checkCount("vjp", arguments, 2, "Take a function of one tree, as of { x, y }.");
  checkFloats("vjp", params);
  const { outputs, inputs } = differentiable("vjp", f, params);
  const results = leaves(outputs).map((leaf) => leaf.node);
  // The way back is walked now: a node that is evaluated forgets how it was made.
  const places = results.map(placeFor);
  const gradients = backward(results, places, inputs);
  return [
    outputs,
    (cotangents) => {
      const seeds = seedsOf("vjp", "cotangent", cotangents, outputs, places);
      const given = new Map(places.map((place, i) => [place, seeds[i]!]));
      const pulled = transform(gradients, (node, original) => given.get(original) ?? node);
      let at = 0;
      return map(params, () => new Tensor(pulled[at++]!));
    },
  ];
}

/** The leaves of a tree of cotangents or tangents, each of the dtype and shape of its node in a tree of that structure. */
export function seedsOf(
  operation: string,
  what: string,
  tree: unknown,
  like: unknown,
  nodes: readonly Node[],
): Node[] {
  const [got, wanted] = [treeStructure(tree, isTensor), treeStructure(like, isTensor)];
  if (got !== wanted)
    throw new ValueError(`${operation}: the ${what}s have the structure ${got}; they need ${wanted}.`);
  return leaves(tree).map((seed, i) => {
    const { shape, dtype } = nodes[i]!;
    if (seed.dtype !== dtype && seed.dtype !== "number")
      throw new DTypeError(
        `${operation}: a ${what} is ${seed}, where ${dtype} is expected. Cast with .astype("${dtype}").`,
      );
    return expand(meet(seed.node, dtype, operation), shape, operation);
  });
}

function checkFunction(operation: string, f: unknown): void {
  if (typeof f !== "function")
    throw new ValueError(
      `${operation}: takes a function; given ${show(f)}. Call what it returns with the arguments.`,
    );
}

/** Another vertex of the same value, so that only uses of the argument count, not of a tensor it came from. */
function alias(x: Node): Node {
  return makeNode({ kind: "identity", stops: false }, [x], x.shape, x.dtype);
}

/** @throws DTypeError for a leaf that is no float. */
export function checkFloats(operation: string, tree: unknown): void {
  for (const [path, leaf] of entries(tree)) {
    if (!isFloat(leaf.dtype))
      throw new DTypeError(
        `${operation}: ${path || "the argument"} is ${leaf}; only floats have gradients. Pass it as a later argument.`,
      );
  }
}
