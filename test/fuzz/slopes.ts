import { generator } from "../../src/base/generator.ts";

import { evaluate } from "../../src/graph/evaluate.ts";
import { makeNode, topological } from "../../src/graph/node.ts";
import { grad, Tensor } from "../../src/index.ts";
import { type Leaf, makeLeaf } from "./case.ts";
import { type Build, isFloatTensor, settledValues, weighted } from "./judge.ts";

// Gradients against difference quotients, both by the evaluator in float64: a rule that is wrong is wrong on every
// backend alike.

/** The step along a direction. */
const step = 2 ** -17;
/** What a difference quotient may be off by, relative to the slope or 1. */
const tolerance = 1e-3;

/** Whether of some matrix two singular values or eigenvalues are equal: vectors of such are any of their plane. */
function hasEqual(spectra: readonly number[][]): boolean {
  return spectra.some((values) => {
    const rising = values.toSorted((a, b) => a - b);
    const largest = Math.max(...rising.map(Math.abs));
    return rising.some((value, i) => i > 0 && value - rising[i - 1]! < 1e-6 * largest);
  });
}

/**
 * What is wrong with the gradient of a graph along a random direction, or for `order` 2 with that of its gradient.
 * Nothing is said where the function bends or jumps nearby, nor where values are equal in one of the `spectra` whose vectors
 * the graph hands out: what hands out none has a slope there.
 */
export async function wrongSlope(
  leaves: readonly Leaf[],
  build: Build,
  order: 1 | 2,
  spectra: Build = () => [],
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
  const withInputs = (given: readonly Tensor[]) => {
    const rest = [...given];
    return made.map((leaf) => (isFloatTensor(leaf) ? rest.shift() : leaf));
  };
  const value = (given: readonly Tensor[]) => weighted(build(withInputs(given)));
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
  const found = spectra(withInputs(inputs));
  const { buffer } = await settledValues([...nodes, ...found.map(({ node }) => node)]);
  const at = (t: number, roots = nodes.slice(0, 1)) =>
    evaluate(roots, { buffer, input: (i) => points[i]!.map((x, j) => x + t * directions[i]![j]!) });
  const rows = at(
    0,
    found.map(({ node }) => node),
  ).flatMap((values, i) => {
    const n = found[i]!.shape.at(-1)!;
    return Array.from({ length: values.length / n }, (_, j) =>
      Array.from(values.subarray(j * n, (j + 1) * n)),
    );
  });
  if (hasEqual(rows)) return undefined;
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
