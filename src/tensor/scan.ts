import {
  checkArgument,
  type Fields,
  flag,
  functionOf,
  integer,
  oneOf,
  optional,
  readOptions,
} from "../base/arguments.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { describe, sameShape } from "../base/shape.ts";
import { treeStructure } from "../base/tree.ts";
import { batch } from "../graph/batch.ts";
import { productsOfSlices, runOf } from "../graph/loop.ts";
import { expand, reshape } from "../graph/movement.ts";
import { constant, type Node, nodeCount, placeFor, substitute } from "../graph/node.ts";
import { checkSynchronous } from "../runtime/tracing.ts";
import { Tensor } from "./tensor.ts";
import { entries, isTensor, leaves, map } from "./tree.ts";

export interface ScanOptions {
  /** Steps, where `xs` has no tensors. */
  readonly length?: number;
  /** From the last element to the first; results lie where their elements do. Default false. */
  readonly reverse?: boolean;
  /**
   * `"store"` keeps what products and sums make at each step for the gradient, and takes products of `xs` alone for all
   * steps at once; `"recompute"` keeps what is carried only, and makes the rest again on the way back. Default `"store"`.
   */
  readonly gradient?: "store" | "recompute";
}

const fields: Fields<ScanOptions> = {
  length: optional(integer(0)),
  reverse: flag,
  gradient: oneOf(["store", "recompute"], "store"),
};

/**
 * Runs `f` again and again: it takes what is carried and one element along the first axis of each tensor in `xs`, and gives
 * what is carried next and what is collected, `[carry, y]`, both trees. The result is what is carried last, and all `y` one
 * after the other. In place of as many copies of `f` as there are steps, a program holds its kernels once and runs them again
 * and again, within one submit. Gradients are scans from the other end, so that there are gradients of every order; `vmap`,
 * `jvp` and `compile` see through it, and `f` may use tensors from outside, and `scan` itself.
 *
 * What is carried keeps its structure, shapes and dtypes. `xs` may be null with a `length`. Deviation from `jax.lax.scan`:
 * numbers of the host (`scalar(0)`) are carried nowhere.
 *
 * @throws ShapeError if tensors of `xs` differ in how many steps they are, or what is carried changes its shape; DTypeError
 * if it changes its dtype; ValueError if `f` returns no pair, or it changes its structure.
 * @example
 * const [last, all] = scan((sum: Tensor, x: Tensor) => [sum.add(x), sum], tensor(0), tensor([1, 2, 3]));
 * await last.item(); // 6
 * await all.toArray(); // [0, 1, 3]
 */
export function scan<C, X, Y>(
  f: (carry: C, x: X) => readonly [carry: C, y: Y],
  init: C,
  xs: X,
  options: ScanOptions = {},
): [carry: C, ys: Y] {
  checkArgument("scan", "f", f, functionOf("a function of what is carried and an element"));
  const { length, reverse, gradient } = readOptions("scan", fields, options);
  for (const [what, tree] of [
    ["init", init],
    ["xs", xs],
  ] as const)
    for (const [path, leaf] of entries(tree))
      if (leaf.dtype === "number")
        throw new DTypeError(
          `scan: ${[what, path].filter(Boolean).join(".")} is a number of the host. Use tensor(0), or .astype("float32").`,
        );
  const steps = stepsOf(xs, length);
  const since = nodeCount();
  const carried = leaves(init).map(({ node }) => ({ init: node, place: placeFor(node) }));
  const sliced = leaves(xs).map(({ node: stack }) => ({
    stack,
    place: placeFor({ shape: stack.shape.slice(1), dtype: stack.dtype }),
  }));
  const result = f(
    refilled(
      init,
      carried.map(({ place }) => place),
    ),
    refilled(
      xs,
      sliced.map(({ place }) => place),
    ),
  );
  checkSynchronous("scan", result);
  if (!Array.isArray(result) || result.length !== 2)
    throw new ValueError("scan: f must return [what is carried next, what is collected].");
  const [after, collected] = result as unknown as readonly [C, Y];
  checkCarried(init, after);
  const next = leaves(after).map(({ node }) => node);
  const outputs = leaves(collected).map((leaf) => {
    if (leaf.dtype === "number")
      throw new DTypeError('scan: f collects a number of the host. Use .astype("float32").');
    return leaf.node;
  });
  if (steps === 0) {
    const none = outputs.map(({ shape, dtype }) => expand(constant(0, dtype), [0, ...shape]));
    return [init, refilled(collected, none)];
  }
  if (steps === 1) {
    const first = new Map([
      ...carried.map(({ place, init: node }) => [place, node] as const),
      ...sliced.map(({ place, stack }) => [place, reshape(stack, place.shape)] as const),
    ]);
    const made = substitute([...next, ...outputs], first);
    const ys = made.slice(next.length).map((node) => reshape(node, [1, ...node.shape]));
    return [refilled(init, made.slice(0, next.length)), refilled(collected, ys)];
  }
  const keeps = gradient !== "recompute";
  const slices = new Map(sliced.map(({ place, stack }) => [place, stack]));
  const places = carried.map(({ place }) => place);
  const products = keeps ? productsOfSlices([...next, ...outputs], places, [...slices.keys()], since) : [];
  const before = batch(products, slices, steps);
  const stacks = products.map((node, i) => ({ node, place: placeFor(node), stack: before[i]! }));
  const body = substitute([...next, ...outputs], new Map(stacks.map(({ node, place }) => [node, place])));
  const run = runOf({
    steps,
    reversed: reverse === true,
    keeps,
    carries: carried.map(({ place, init: node }, i) => ({ place, init: node, next: body[i]! })),
    slices: [...sliced, ...stacks],
    given: new Map(),
    outputs: body.slice(next.length),
    since,
  });
  return [
    refilled(
      init,
      next.map((_, i) => run.last(body[i]!)),
    ),
    refilled(
      collected,
      outputs.map((_, i) => run.each(body[next.length + i]!)),
    ),
  ];
}

/** How many steps there are. */
function stepsOf(xs: unknown, length: number | undefined): number {
  let steps = length;
  for (const [path, { shape, dtype }] of entries(xs)) {
    const name = path ? `xs.${path}` : "xs";
    if (shape.length === 0)
      throw new ShapeError(
        `scan: ${name} is ${dtype}[], which has no axis to go along. Use it from outside.`,
      );
    if (steps !== undefined && shape[0] !== steps)
      throw new ShapeError(
        `scan: ${name} is ${describe({ shape, dtype })}, of ${shape[0]} steps where there are ${steps}.`,
      );
    steps = shape[0];
  }
  if (steps === undefined)
    throw new ValueError("scan: xs has no tensors. Say how many steps there are: { length: 10 }.");
  return steps;
}

/** What is carried stays as it is but for its values. */
function checkCarried(init: unknown, after: unknown): void {
  const [wanted, got] = [treeStructure(init, isTensor), treeStructure(after, isTensor)];
  if (got !== wanted)
    throw new ValueError(`scan: what is carried was ${wanted}, and f carries on ${got}. They must be alike.`);
  const now = entries(after);
  entries(init).forEach(([path, was], i) => {
    const [, is] = now[i]!;
    const name = path ? `what is carried as ${path}` : "what is carried";
    if (!sameShape(was.shape, is.shape))
      throw new ShapeError(`scan: ${name} was ${was}, and f carries on ${is}. Its shape must stay.`);
    if (was.dtype !== is.dtype)
      throw new DTypeError(
        `scan: ${name} was ${was}, and f carries on ${is}. Cast with .astype("${was.dtype}").`,
      );
  });
}

/** The tree with other nodes in its places. */
function refilled<T>(tree: T, nodes: readonly Node[]): T {
  let at = 0;
  return map(tree, () => new Tensor(nodes[at++]!));
}
