import { expect, test } from "vitest";
import { cummax, linalg, type Tensor, where } from "../../src/index.ts";
import type { Leaf, Mode } from "./case.ts";
import { judge } from "./judge.ts";
import { wrongSlope } from "./slopes.ts";
import { openTargets } from "./targets.ts";

// Graphs that once failed, as the fuzzer printed them, on every executor of the CPU.

const targets = await openTargets("cpu");

function check(
  name: string,
  mode: Mode,
  leaves: readonly Leaf[],
  build: (...leaves: never[]) => Tensor[],
): void {
  test.each(targets)(`${name} on $name`, async (target) => {
    const plain = (given: readonly unknown[]) => build(...(given as never[]));
    const { gradient } = mode;
    const { fault, judged } = await judge(leaves, plain, mode, target);
    expect(fault).toBeUndefined();
    expect(judged).toBeGreaterThan(0);
    if (gradient !== 0) expect(await wrongSlope(leaves, plain, gradient)).toBeUndefined();
  });
}

check(
  "clamp by tensors",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x7", dtype: "float32", shape: [2], values: [0, 0] },
    { id: "s5", dtype: "float32", shape: [4, 1], values: [-1.4, 1.8, 1.1, -1.7] },
  ],
  (x7: Tensor<"float32">, s5: Tensor<"float32">) => {
    const s6 = s5.clamp(null, x7);
    return [s6];
  },
);

check(
  "where, clamp, reshape of nothing",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x", dtype: "float32", shape: [0], values: [] },
    { id: "y", dtype: "float32", shape: [], values: [0] },
  ],
  (x: Tensor<"float32">, y: Tensor<"float32">) => {
    const s0 = where(y.gt(x), y, x).clamp(-6, 6);
    const s1 = s0.reshape([0]);
    return [s0, s1];
  },
);

check(
  "maximum, clamp, reshape of nothing",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x", dtype: "float32", shape: [], values: [1] },
    { id: "y", dtype: "float32", shape: [0], values: [] },
  ],
  (x: Tensor<"float32">, y: Tensor<"float32">) => {
    const s0 = y.maximum(x).clamp(-6, 6);
    const s1 = s0.reshape([0]);
    return [s0, s1];
  },
);

check(
  "pad of nothing, minimum",
  { gradient: 0, run: "together", donate: false },
  [
    { id: "x", dtype: "int32", shape: [0], values: [] },
    { id: "y", dtype: "int32", shape: [], values: [0] },
  ],
  (x: Tensor<"int32">, y: Tensor<"int32">) => {
    const s0 = x.pad([[0, 1]]);
    const s1 = s0.minimum(y);
    return [s0, s1];
  },
);

check(
  "logicalNot, reshape",
  { gradient: 0, run: "together", donate: false },
  [{ id: "y", dtype: "uint32", shape: [], values: [0] }],
  (y: Tensor<"uint32">) => {
    const s0 = y.astype("bool").logicalNot().astype("uint32");
    const s1 = s0.reshape([1]);
    const s2 = y.astype("bool").logicalNot().astype("uint32");
    return [s0, s1, s2];
  },
);

check(
  "where, clamp, slice",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x", dtype: "float32", shape: [2, 4], values: [1, -2, 3, 0, 2, -1, -3, 1] },
    { id: "y", dtype: "float32", shape: [], values: [0] },
  ],
  (x: Tensor<"float32">, y: Tensor<"float32">) => {
    const s0 = where(y.gt(x), y, x).clamp(-6, 6);
    const s1 = s0.slice([1, 1], [2, 4], [2, 2]);
    return [s0, s1];
  },
);

check(
  "softmax, pad, reshape",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x", dtype: "float32", shape: [1, 4], values: [0.3125, -0.4375, 0.8125, 0.0625] }],
  (x: Tensor<"float32">) => {
    const s0 = x.reshape([2, 2]);
    const s1 = s0.softmax(0).mul(0.25).tanh();
    const s2 = s0.pad([
      [0, 0],
      [1, 0],
    ]);
    const s3 = s2.reshape([3, 2]);
    return [s1, s2, s3];
  },
);

check(
  "one value twice",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x", dtype: "float32", shape: [], values: [0.3125] }],
  (x: Tensor<"float32">) => {
    const s0 = x.reshape([1]);
    const s1 = x.reshape([1]);
    return [s0, s1];
  },
);

check(
  "div, sub of nothing",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x", dtype: "float32", shape: [0], values: [] },
    { id: "y", dtype: "float32", shape: [], values: [0.0625] },
  ],
  (x: Tensor<"float32">, y: Tensor<"float32">) => {
    const s0 = y.div(x.square().add(1)).mul(0.25).tanh();
    const s1 = s0.sub(x).mul(0.25).tanh();
    return [s0, s1];
  },
);

check(
  "reshape, flip",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x", dtype: "float32", shape: [2, 3], values: [0.3125, -0.4375, 0.8125, 0.0625, 0.5625, -0.1875] }],
  (x: Tensor<"float32">) => {
    const s0 = x.reshape([3, 2]);
    const s1 = s0.flip(0);
    const s2 = s1.reshape([3, 2]);
    return [s0, s1, s2];
  },
);

check(
  "flip, reshape, where",
  { gradient: 1, run: "together", donate: false },
  [{ id: "y", dtype: "float64", shape: [4], values: [0, 2, -1, -3] }],
  (y: Tensor<"float64">) => {
    const s0 = y.flip(0);
    const s1 = s0.reshape([2, 2]);
    const s2 = where(s1.gt(s1), s1, s1).clamp(-6, 6);
    return [s0, s1, s2];
  },
);

check(
  "a number behind detach",
  { gradient: 0, run: "together", donate: false },
  [{ id: "s2", dtype: "number", shape: [], values: [1] }],
  (s2: Tensor<"number">) => {
    const s3 = s2.detach();
    const s4 = s3.expand([1, 1]);
    return [s4];
  },
);

check(
  "a number clamped by a tensor, and again",
  { gradient: 0, run: "compiled", donate: false },
  [
    { id: "x5", dtype: "float32", shape: [], values: [1] },
    { id: "s4", dtype: "number", shape: [], values: [-1] },
  ],
  (x5: Tensor<"float32">, s4: Tensor<"number">) => {
    const s5 = (s4 as Tensor).clamp(x5);
    const s6 = s5.clamp(null);
    return [s6];
  },
);

check(
  "a power whose exponent rounds",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x2", dtype: "float32", shape: [2], values: [-2, 0.5] }],
  (x2: Tensor<"float32">) => {
    const s0 = x2.pow(4294967296);
    const s1 = s0.pow(1);
    return [s1];
  },
);

for (const dtype of ["float16", "float32", "float64"] as const)
  check(
    `infinite powers of ${dtype}`,
    { gradient: 0, run: "together", donate: false },
    [{ id: "x5", dtype, shape: [5], values: [2, 1, 0.5, -1, -2] }],
    (x5: Tensor<"float32">) => [x5.pow(-Infinity), x5.pow(Infinity)],
  );

check(
  "an update of the whole of a product",
  { gradient: 0, run: "together", donate: false },
  [
    { id: "x4", dtype: "float32", shape: [1, 1], values: [1] },
    { id: "x7", dtype: "number", shape: [], values: [0] },
  ],
  (x4: Tensor<"float32">, x7: Tensor<"number">) => {
    const s2 = x4.matmul(x4);
    const s3 = s2.at(...[]).max(x7);
    return [s3];
  },
);

check(
  "a power whose exponent is nearly whole",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x2", dtype: "bfloat16", shape: [2], values: [2, -1] }],
  (x2: Tensor<"bfloat16">) => {
    const s2 = x2.pow(1e-8);
    return [s2];
  },
);

check(
  "pseudo-inverses of orthogonal matrices",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x0", dtype: "float32", shape: [3, 3], values: [1, 2, 0, -1, 1, 3, 2, 0, 1] }],
  (x0: Tensor<"float32">) => {
    const s0 = linalg.pinv(linalg.svd(x0).v);
    const s1 = linalg.pinv(linalg.pinv(x0));
    return [s0, s1, x0.square()];
  },
);

check(
  "a choice between elements of a narrow float",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x2", dtype: "bfloat16", shape: [2, 1, 1, 3, 1], values: [3, -3, -2, 3, -2, 2] }],
  (x2: Tensor<"bfloat16">) => [cummax(x2, -5).values],
);
