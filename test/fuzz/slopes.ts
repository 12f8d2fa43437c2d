import { generator } from "../../src/base/generator.ts";

import { evaluate } from "../../src/graph/evaluate.ts";
import { makeNode, type Operation, topological } from "../../src/graph/node.ts";
import { grad, Tensor } from "../../src/index.ts";
import { type Leaf, makeLeaf } from "./case.ts";
import { type Build, isFloatTensor, settledValues, weighted } from "./judge.ts";

// Gradients against difference quotients, both by the evaluator in float64: a rule that is wrong is wrong on every
// backend alike.

/** The step along a direction. */
const step = 2 ** -17;
/** What a difference quotient may be off by, relative to the slope or 1. */
const tolerance = 1e-3;

/** The sides of the matrices that an operation finds singular vectors of. */
function sidesOf(operation: Operation): readonly [m: number, n: number] | undefined {
  const sides =
    operation.kind === "procedure" && /^orthogonalise (\d+) (\d+) /.exec(operation.procedure.text);
  return sides ? [Number(sides[1]), Number(sides[2])] : undefined;
}

/** Whether two singular values are equal: vectors of such are any of their plane. */
function hasEqual(values: Float64Array, [m, n]: readonly [number, number]): boolean {
  const whole = n * m + n * n;
  return Array.from({ length: values.length / whole }, (_, i) =>
    values.subarray(i * whole, i * whole + n * m),
  ).some((columns) => {
    const lengths = Array.from({ length: n }, (_, j) =>
      Math.hypot(...columns.subarray(j * m, (j + 1) * m)),
    ).sort((a, b) => a - b);
    return lengths.some((length, j) => j > 0 && length - lengths[j - 1]! < 1e-6 * lengths.at(-1)!);
  });
}

/**
 * What is wrong with the gradient of a graph along a random direction, or for `order` 2 with that of its gradient.
 * Nothing is said where the function bends or jumps nearby, nor, of a graph that hands out `vectors`, where singular values
 * are equal: what hands out none has a slope there.
 */
export async function wrongSlope(
  leaves: readonly Leaf[],
  build: Build,
  order: 1 | 2,
  vectors = false,
): Promise<string | undefined> {
  const made = leaves.map(makeLeaf);
  const random = generator(7);
  // Off the values, whose ties would be bends on top of each other: what is smooth together is none by rules for each.
  const points = leaves.flatMap(({ values }, i) =>
    isFloatTensor(made[i]) ? [Float64Array.from(values, (x) => x + (random() - 0.5) / 16)] : [],
  );
  const inputs = made
    .filter(isFloatTensor)
    .map(({ shape, dtype }, index) => new Tensor(makeNode({ kind: "input", index }, [], shape, dtype)));
  const value = (given: readonly Tensor[]) => {
    const rest = [...given];
    return weighted(build(made.map((leaf) => (isFloatTensor(leaf) ? rest.shift() : leaf))));
  };
  // A step from a large value is none.
  const small = points.every((x) => x.every((at) => Math.abs(at) < 2 ** 20));
  if (inputs.length === 0 || !small || !value(inputs)) return undefined;
  const slope = grad((given: readonly Tensor[]) => value(given)!);
  const f = order === 1 ? value : (given: readonly Tensor[]) => weighted(slope(given));
  const nodes = [f(inputs)!, ...grad((given: readonly Tensor[]) => f(given)!)(inputs)].map(
    ({ node }) => node,
  );

  // Stairs that are finer than the step look smooth, and have no slope.
  const stairs = topological(nodes.slice(0, 1)).some(
    ({ operation }) => operation.kind === "scalar" && /^(?:round|floor|ceil)$/.test(operation.op.row.name),
  );
  if (stairs) return undefined;
  const directions = points.map((x) => x.map(() => 2 * random() - 1));
  const { buffer } = await settledValues(nodes);
  const at = (t: number, roots = nodes.slice(0, 1)) =>
    evaluate(roots, { buffer, input: (i) => points[i]!.map((x, j) => x + t * directions[i]![j]!) });
  const turned = vectors ? topological(nodes.slice(0, 1)).filter(({ operation }) => sidesOf(operation)) : [];
  if (at(0, turned).some((values, i) => hasEqual(values as Float64Array, sidesOf(turned[i]!.operation)!)))
    return undefined;
  const [[here], ...slopes] = at(0, nodes) as [Float64Array, ...Float64Array[]];
  const along = slopes.reduce(
    (sum, s, i) => sum + s.reduce((part, y, j) => part + y * directions[i]![j]!, 0),
    0,
  );
  const quotient = (from: number, to: number) => (at(to)[0]![0]! - at(from)[0]![0]!) / (to - from);
  const right = quotient(0, step);
  const agree = (other: number) => Math.abs(other - right) <= tolerance * Math.max(1, Math.abs(right));
  // Bends and jumps make the quotients of both sides, or of smaller steps, differ; large values have no digits left.
  const smooth =
    Math.abs(here!) < 1e4 && [quotient(-step, 0), quotient(-step / 8, 0), quotient(0, step / 8)].every(agree);
  // Zero times an infinite slope is NaN, as in PyTorch.
  if (!smooth || agree(along) || !Number.isFinite(along)) return undefined;
  return `the slope of order ${order} is ${along}, the difference quotient ${right}`;
}
