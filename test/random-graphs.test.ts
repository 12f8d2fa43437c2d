import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { coerce, type DeviceDType, type HostArray, hostArray, isFloat } from "../src/base/dtype.ts";
import { numel, type Shape } from "../src/base/shape.ts";
import { referenceValues } from "../src/experiments/reference.ts";
import type { Device } from "../src/runtime/device.ts";
import { init } from "../src/runtime/init.ts";
import { arange, ones, tensor } from "../src/tensor/creation.ts";
import { relu, sigmoid, where } from "../src/tensor/functions.ts";
import { vjp } from "../src/tensor/grad.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import * as tree from "../src/tensor/tree.ts";
import { backends } from "./devices.ts";

// Random graphs on the evaluator and on each backend. There are two families, because rounding and jumps do not go
// together: `whole` graphs keep to small whole numbers, where arithmetic is exact, jumps are harmless and results
// are equal; `smooth` graphs round and have no jumps. A failure prints the seed and the shrunk graph.

type Family = "whole" | "smooth";

/** One operation: which, on which of the tensors so far, and numbers for its parameters. */
interface Step {
  readonly operation: string;
  readonly operands: readonly [number, number];
  readonly parameters: readonly [number, number, number, number];
}

/** Makes a tensor of others, or says that it cannot. */
type Operation = (x: Tensor, y: Tensor, p: Step["parameters"]) => Tensor | undefined;

const axisOf = (x: Tensor, p: number) => (x.rank === 0 ? undefined : p % x.rank);

const broadcasts = (x: Tensor, y: Tensor) =>
  x.shape.every((length, i) => {
    const other = y.shape[y.rank - x.rank + i];
    return other === undefined || other === length || other === 1 || length === 1;
  });

const pairwise =
  (f: (x: Tensor, y: Tensor) => Tensor): Operation =>
  (x, y) =>
    broadcasts(x, y) ? f(x, y) : f(x, x);

/** An int32 index of the shape of `x` but for `length` along an axis, with some entries out of range. */
function indexLike(x: Tensor, axis: number, length: number, [a, b]: Step["parameters"]): Tensor<"int32"> {
  const shape = x.shape.map((n, i) => (i === axis ? length : n));
  const count = arange(numel(shape)).reshape(shape);
  return count
    .mul(a + 1)
    .add(b)
    .bitwiseAnd(7)
    .sub(1);
}

const movement: Readonly<Record<string, Operation>> = {
  reshape: (x) => x.reshape(x.size > 0 && x.size % 2 === 0 ? [x.size / 2, 2] : [x.size]),
  permute: (x, _, p) => x.permute(x.shape.map((_, axis) => (axis + p[0]) % x.rank)),
  expand: (x, _, p) =>
    x.rank < 3 && x.size < 100
      ? x
          .unsqueeze(p[1] % (x.rank + 1))
          .expand(x.unsqueeze(p[1] % (x.rank + 1)).shape.map((n) => (n === 1 ? (p[0] % 2) + 2 : n)))
      : undefined,
  flip: (x, _, p) => (x.rank > 0 ? x.flip(p[0] % x.rank) : undefined),
  slice: (x, _, p) =>
    x.rank > 0
      ? x.slice(
          x.shape.map((n) => Math.min(p[0] % 2, n)),
          x.shape,
          x.shape.map(() => (p[1] % 2) + 1),
        )
      : undefined,
  pad: (x, _, p) =>
    x.size < 100
      ? x.pad(
          x.shape.map((_, axis) => [(p[0] + axis) % 2, p[1] % 2] as [number, number]),
          p[2] % 3,
        )
      : undefined,
  gather: (x, _, p) => {
    const axis = axisOf(x, p[0]);
    return axis === undefined || x.size === 0
      ? undefined
      : x.gather(axis, indexLike(x, axis, (p[1] % 5) + 1, p));
  },
};

/** Linear combinations: exact on small whole numbers. */
const linear: Readonly<Record<string, Operation>> = {
  add: pairwise((x, y) => x.add(y)),
  sub: pairwise((x, y) => x.sub(y)),
  sum: (x, _, p) => x.sum(x.rank === 0 ? null : p[0] % x.rank, { keepdim: p[1] % 2 === 0 }),
  scatterAdd: (x, _, p) => {
    const axis = axisOf(x, p[0]);
    if (axis === undefined || x.size === 0) return undefined;
    const index = indexLike(x, axis, (p[1] % 4) + 1, p);
    return x.scatterAdd(axis, index, x.gather(axis, index));
  },
  cumsum: (x, _, p) => (x.rank > 0 ? x.cumsum(p[0] % x.rank) : undefined),
  detach: (x) => x.add(x.detach()),
};

const product: Readonly<Record<string, Operation>> = {
  mul: pairwise((x, y) => x.mul(y)),
  matmul: (x) => (x.rank >= 2 ? x.matmul(x.transpose()) : x.rank === 1 ? x.outer(x) : undefined),
};

const jumping: Readonly<Record<string, Operation>> = {
  maximum: pairwise((x, y) => x.maximum(y)),
  minimum: pairwise((x, y) => x.minimum(y)),
  where: pairwise((x, y) => where(x.gt(y), x, y)),
  compare: pairwise((x, y) =>
    x
      .le(y)
      .astype("int32")
      .astype(x.dtype as DeviceDType),
  ),
  neg: (x) => x.neg(),
  amax: (x, _, p) => (x.rank > 0 && x.size > 0 ? x.amax(p[0] % x.rank) : undefined),
  amin: (x) => (x.size > 0 ? x.amin(null, { keepdim: true }) : undefined),
  argmax: (x, _, p) =>
    x.rank > 0 && x.size > 0 ? x.argmax(p[0] % x.rank).astype(x.dtype as DeviceDType) : undefined,
  bool: (x) =>
    x
      .astype("bool")
      .logicalNot()
      .astype(x.dtype as DeviceDType),
};

const bits: Readonly<Record<string, Operation>> = {
  bitwiseAnd: pairwise((x, y) => x.bitwiseAnd(y)),
  bitwiseXor: pairwise((x, y) => x.bitwiseXor(y)),
  bitwiseOr: (x) => x.bitwiseOr(5),
  leftShift: (x, _, p) => x.leftShift(p[0]),
  rightShift: (x, _, p) => x.rightShift(p[0]),
};

const curved: Readonly<Record<string, Operation>> = {
  sin: (x) => x.sin(),
  tanh: (x) => x.tanh(),
  sigmoid,
  exp: (x) => x.tanh().exp(),
  log: (x) => x.square().add(0.5).log(),
  div: pairwise((x, y) => x.div(y.square().add(1))),
  sqrt: (x) => x.square().add(0.25).sqrt(),
  softmax: (x, _, p) => (x.rank > 0 && x.size > 0 ? x.softmax(p[0] % x.rank) : undefined),
  variance: (x) => (x.size > 1 ? x.sub(x.mean()).square().mean() : undefined),
};

function operationsOf(family: Family, dtype: DeviceDType): Readonly<Record<string, Operation>> {
  if (family === "smooth") return { ...movement, ...linear, ...product, ...curved };
  if (!isFloat(dtype)) return { ...movement, ...linear, ...product, ...jumping, ...bits };
  return {
    ...movement,
    ...linear,
    ...product,
    ...jumping,
    abs: (x) => x.abs(),
    relu,
    floor: (x) => x.mul(0.5).floor(),
  };
}

/** Keeps values small, so that they stay exact, or do not overflow. Integers wrap instead. */
function bounded(x: Tensor, family: Family): Tensor {
  if (!isFloat(x.dtype)) return x;
  return family === "whole" ? x.clamp(-6, 6) : x.mul(0.25).tanh();
}

interface Graph {
  readonly shapes: readonly [Shape, Shape];
  readonly values: readonly number[];
  readonly steps: readonly Step[];
}

/** All results of a graph, and the gradients of their sum for floats. */
function build(graph: Graph, family: Family, dtype: DeviceDType): Tensor[] {
  const operations = operationsOf(family, dtype);
  const leaf = (shape: Shape, from: number) => {
    const values = hostArray(dtype, numel(shape));
    for (let i = 0; i < values.length; i++) {
      const value = graph.values[(from + i) % graph.values.length]!;
      values[i] = coerce(family === "whole" ? value : value / 4 + 1 / 16, dtype);
    }
    return tensor(values, { shape, dtype });
  };
  const run = (leaves: readonly Tensor[]): Tensor[] => {
    const made = [...leaves];
    for (const { operation, operands, parameters } of graph.steps) {
      const x = made[made.length - 1 - (operands[0] % made.length)]!;
      const y = made[operands[1] % made.length]!;
      const result = operations[operation]!(x, y, parameters);
      if (result && result.size <= 4096) made.push(operation in movement ? result : bounded(result, family));
    }
    return made.slice(leaves.length).slice(-3);
  };
  const leaves = [leaf(graph.shapes[0], 0), leaf(graph.shapes[1], 3)];
  if (!isFloat(dtype)) return run(leaves);
  const [results, pull] = vjp(run, leaves);
  return [...results, ...pull(results.map((x) => ones(x.shape, { dtype: dtype as "float32" })))];
}

const length = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 1, arbitrary: fc.constant(0) },
);
const shapes = fc.tuple(fc.array(length, { maxLength: 3 }), fc.array(length, { maxLength: 2 }));
const values = fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 7, maxLength: 7 });
const number = fc.nat({ max: 11 });

function graphs(family: Family, dtype: DeviceDType): fc.Arbitrary<Graph> {
  const anyStep = fc.record({
    operation: fc.constantFrom(...Object.keys(operationsOf(family, dtype))),
    operands: fc.tuple(number, number),
    parameters: fc.tuple(number, number, number, number),
  });
  return fc.record({ shapes, values, steps: fc.array(anyStep, { minLength: 1, maxLength: 9 }) });
}

const step = (
  operation: string,
  operands: Step["operands"] = [0, 0],
  parameters: Step["parameters"] = [0, 0, 0, 0],
): Step => ({ operation, operands, parameters });

/** Graphs that once failed. */
const regressions: readonly (readonly [Family, DeviceDType, Pick<Graph, "shapes" | "steps">])[] = [
  ["whole", "float32", { shapes: [[0], []], steps: [step("where"), step("reshape")] }],
  ["whole", "float32", { shapes: [[], [0]], steps: [step("maximum"), step("reshape")] }],
  [
    "whole",
    "int32",
    { shapes: [[0], []], steps: [step("pad", [9, 0], [0, 9, 0, 0]), step("minimum", [0, 1])] },
  ],
  ["whole", "uint32", { shapes: [[], []], steps: [step("bool"), step("reshape"), step("bool", [6, 0])] }],
  ["whole", "float32", { shapes: [[2, 4], []], steps: [step("where"), step("slice", [0, 0], [7, 1, 0, 0])] }],
  [
    "smooth",
    "float32",
    {
      shapes: [[1, 4], []],
      steps: [step("reshape", [9, 0]), step("softmax"), step("pad", [1, 0]), step("reshape")],
    },
  ],
  ["smooth", "float32", { shapes: [[], []], steps: [step("reshape", [1, 0]), step("reshape", [2, 0])] }],
  ["smooth", "float32", { shapes: [[0], []], steps: [step("div"), step("sub")] }],
  [
    "smooth",
    "float32",
    { shapes: [[2, 3], []], steps: [step("reshape", [3, 0]), step("flip"), step("reshape")] },
  ],
  ["whole", "float64", { shapes: [[], [4]], steps: [step("flip"), step("reshape"), step("where", [0, 1])] }],
];

/** Largest error over the largest magnitude, at least 1; Infinity where one is NaN and the other not. */
function distance(found: HostArray, expected: Float64Array): number {
  let [error, size] = [0, 1];
  expected.forEach((value, i) => {
    if (Object.is(found[i], value)) return;
    error = Math.max(error, Number.isFinite(value) ? Math.abs(found[i]! - value) : Infinity);
    if (Number.isNaN(found[i])) error = Infinity;
    size = Math.max(size, Math.abs(value));
  });
  return error / size;
}

function examplesOf(family: Family, dtype: DeviceDType): [Graph][] {
  const own = regressions.filter(([f, d]) => f === family && d === dtype);
  return own.map(([, , graph]) => [{ ...graph, values: [1, -2, 3, 0, 2, -1, -3] }]);
}

const available = await backends();

describe.each(available)("on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: name });
  });
  afterAll(() => device.dispose());

  const trials: readonly (readonly [Family, DeviceDType])[] = [
    ["whole", "float32"],
    ["whole", "int32"],
    ["whole", "uint32"],
    ["smooth", "float32"],
    ["whole", "float16"],
    ["smooth", "float16"],
    ["whole", "float64"],
    ["smooth", "float64"],
  ];
  // Rounding grows with the number of steps; gradients of whole graphs may hold thirds, from ties of three.
  const bounds: Partial<Record<DeviceDType, number>> = { float64: 1e-12, float32: 3e-5, float16: 2 ** -7 };
  const allowed = (dtype: DeviceDType) => bounds[dtype] ?? 0;

  test.each(trials.filter(([, dtype]) => name === "cpu" || dtype !== "float64"))(
    "%s graphs of %s give what the evaluator gives",
    async (family, dtype) => {
      await fc.assert(
        fc.asyncProperty(graphs(family, dtype), async (graph) => {
          const results = build(graph, family, dtype);
          const expected = await referenceValues(results);
          await tree.evaluate(results, device);
          for (const [i, result] of results.entries()) {
            const error = distance(await result.data(), expected[i]!);
            expect(error, `result ${i} of ${results.length}, ${result}`).toBeLessThanOrEqual(allowed(dtype));
          }
        }),
        { numRuns: name === "cpu" ? 300 : 30, examples: examplesOf(family, dtype) },
      );
    },
    120_000,
  );
});
