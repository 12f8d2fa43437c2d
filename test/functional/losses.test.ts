import { afterAll, beforeAll, expect, test } from "vitest";
import * as F from "../../src/functional/index.ts";
import { type Device, grad, init, sigmoid, type Tensor, tensor, valueAndGrad } from "../../src/index.ts";
import { klDiv } from "../../src/nn/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Losses with margins, likelihoods and alignments.

const int32 = (values: readonly number[]) => tensor(Int32Array.from(values));
const lengths = int32;
const labels = () =>
  tensor(
    [
      [1, 2, 2],
      [3, 1, 0],
      [2, 2, 2],
    ],
    { dtype: "int32" },
  );
/** In the dtype of the input beside it. */
const like = (x: Tensor, values: readonly number[]) =>
  tensor(values, { dtype: x.dtype as "float32" }) as Tensor;

describeComposed("further losses", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x, y) =>
        F.cosineEmbeddingLoss(x, y.sub(0.3), like(x, [1, -1, 1]), { reduction: "none", margin: 0.1 }),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [3],
      values: [0.0955911, 0.771133878, 0.180089833],
      sum: 1.04681481,
      squares: [0.200895238, 0.303737434],
    },
    {
      of: (x, y) =>
        F.marginRankingLoss(x, y.mul(0.5), like(x, [1, -1, 1]), { reduction: "none", margin: 0.7 }),
      inputs: [[3], [3]],
      shape: [3],
      values: [0.279264508, 0.371598752, 0.271506701],
      sum: 0.922369961,
      squares: [1.46510477, 0.366276193],
    },
    {
      of: (x) => F.hingeEmbeddingLoss(x, like(x, [1, -1, 1]), { reduction: "none" }),
      inputs: [[3]],
      shape: [3],
      values: [0.841470985, 1.6568025, 0.856986599],
      sum: 3.35526008,
      squares: [1.46510477],
    },
    {
      of: (a, p, n) =>
        F.tripletMarginLoss(a, p.mul(0.5).add(0.3), n.mul(-0.4).add(0.2), { reduction: "none" }),
      inputs: [
        [3, 4],
        [3, 4],
        [3, 4],
      ],
      shape: [3],
      values: [0, 0.0901889983, 0.239337452],
      sum: 0.32952645,
      squares: [0.489444004, 0.116276193, 0.0744167634],
    },
    {
      of: (a, p, n) =>
        F.tripletMarginLoss(a, p.mul(0.5).add(0.3), n.mul(-0.4).add(0.2), { swap: true, p: 3 }),
      inputs: [
        [3, 4],
        [3, 4],
        [3, 4],
      ],
      shape: [],
      values: [0.439401783],
      sum: 0.439401783,
      squares: [0.267811079, 0.155519122, 0.0427493618],
    },
    {
      of: (x, y) => F.binaryCrossEntropy(sigmoid(x), sigmoid(y.neg()), { reduction: "none" }),
      inputs: [[5], [5]],
      shape: [5],
      values: [0.946425405, 0.850259224, 0.955409054, 0.715385217],
      sum: 4.4017895,
      squares: [0.294617599, 0.0597938377],
    },
    {
      of: (x, y) => F.binaryCrossEntropy(sigmoid(x), y.square(), { weight: like(x, [1, 2, 0.5]) }),
      inputs: [
        [2, 3],
        [2, 3],
      ],
      shape: [],
      values: [0.759053889],
      sum: 0.759053889,
      squares: [0.0067569578, 0.354957086],
    },
    {
      of: (x, y, v) => F.gaussianNllLoss(x, y.mul(0.5), v.square(), { full: true, reduction: "none" }),
      inputs: [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
      shape: [2, 3],
      values: [0.871334787, 0.623566612, 0.889605535, -0.366562004],
      sum: 2.35686169,
      squares: [5.30196214, 1.32549053, 11.9294148],
    },
    {
      of: (x, y, v) => F.gaussianNllLoss(x, y.mul(0.5), v.square(), { eps: 0.5 }),
      inputs: [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
      shape: [],
      values: [-0.175987428],
      sum: -0.175987428,
      squares: [0.0444734584, 0.0111183646, 0.10705913],
    },
    {
      of: (x, y) => F.poissonNllLoss(x, y.mul(4).add(4), { full: true, reduction: "none" }),
      inputs: [[4], [4]],
      shape: [4],
      values: [5.38171543, 1.55969153, 5.37890185, 3.31579099],
      sum: 15.6360998,
      squares: [35.0507303, 72.4328269],
    },
    {
      of: (x, y) => F.poissonNllLoss(x.square(), y, { logInput: false }),
      inputs: [[4], [4]],
      shape: [],
      values: [0.311963386],
      sum: 0.311963386,
      squares: [1.0845417, 0.554958699],
    },
    {
      of: (x, y) =>
        klDiv(x.logSoftmax(1), y.mul(2).logSoftmax(1), { logTarget: true, reduction: "batchmean" }),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [],
      values: [0.0655609563],
      sum: 0.0655609563,
      squares: [0.00897988679, 0.0244791687],
    },
    {
      of: (x) =>
        F.ctcLoss(x.logSoftmax(-1), labels(), lengths([7, 5, 7]), lengths([3, 2, 1]), { reduction: "none" }),
      inputs: [[7, 3, 4]],
      shape: [3],
      values: [5.66871992, 3.45505983, 8.34535177],
      sum: 17.4691315,
      squares: [3.064427],
    },
    {
      of: (x) =>
        F.ctcLoss(x.logSoftmax(-1), labels(), lengths([7, 5, 7]), lengths([3, 2, 1]), { reduction: "mean" }),
      inputs: [[7, 3, 4]],
      shape: [],
      values: [3.987485],
      sum: 3.987485,
      squares: [0.391875271],
    },
    {
      of: (x) =>
        F.ctcLoss(x.logSoftmax(-1), labels(), lengths([7, 5, 7]), lengths([3, 2, 1]), { reduction: "sum" }),
      inputs: [[7, 3, 4]],
      shape: [],
      values: [17.4691315],
      sum: 17.4691315,
      squares: [6.36468327],
    },
    {
      of: (x) =>
        F.ctcLoss(x.logSoftmax(-1), labels(), lengths([3, 5, 7]), lengths([3, 0, 1]), {
          reduction: "none",
          zeroInfinity: true,
        }),
      inputs: [[7, 3, 4]],
      shape: [3],
      values: [0, 8.05203007, 8.34535177],
      sum: 16.3973818,
      squares: [1.69493126],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of).replace(/\s+/g, " "), reference] as const))(
    "%s",
    (_, reference) => agrees(reference, backend),
  );
});

test("alignments are those that there are", async () => {
  await init({ backend: "cpu" });
  // Three frames, one label: of the 8 paths of blank and label, 6 give it once.
  const even = tensor(new Array(6).fill(Math.log(0.5)), { shape: [3, 1, 2] });
  const loss = F.ctcLoss(even, tensor([[1]], { dtype: "int32" }), int32([3]), int32([1]));
  expect(await loss.item()).toBeCloseTo(-Math.log(6 / 8), 5);
  // The gradient by log-probabilities is minus how probable a class is at a time.
  const [, g] = valueAndGrad((x: Tensor) =>
    F.ctcLoss(x, tensor([[1]], { dtype: "int32" }), int32([3]), int32([1])),
  )(even);
  const sums = (await g.sum(-1).data()) as Float32Array;
  for (const sum of sums) expect(sum).toBeCloseTo(-1, 5);
  const impossible = F.ctcLoss(even, tensor([[1, 1, 1]], { dtype: "int32" }), int32([3]), int32([3]));
  expect(await impossible.item()).toBe(Infinity);
});

test("ends of probabilities and variances", async () => {
  await init({ backend: "cpu" });
  const p = tensor([0, 1, 0, 1]);
  const t = tensor([0, 1, 1, 0]);
  const loss = (p: Tensor) => F.binaryCrossEntropy(p, t, { reduction: "sum" });
  expect(await F.binaryCrossEntropy(p, t, { reduction: "none" }).add(0).toArray()).toEqual([0, 0, 100, 100]);
  expect(await grad(loss)(p).isFinite().toArray()).toEqual([true, true, true, true]);
});

test("what they refuse", () => {
  const x = tensor([
    [1, 2],
    [3, 4],
  ]);
  const v = tensor([1, 1]);
  expect(() => F.cosineEmbeddingLoss(x, x, x)).toThrow(
    /cosineEmbeddingLoss: input float32\[2\] and target float32\[2,2\]/,
  );
  expect(() => F.tripletMarginLoss(x, x, v)).toThrow(/tripletMarginLoss: input .* must have one shape/);
  expect(() => F.tripletMarginLoss(x, x, x, { p: 0 })).toThrow("tripletMarginLoss: p is 0");
  expect(() => F.gaussianNllLoss(x, x, tensor([1, 2, 3]))).toThrow(/expand/);
  expect(() => F.hingeEmbeddingLoss(v, v, { margin: Number.NaN })).toThrow(
    "hingeEmbeddingLoss: margin is NaN",
  );
  const scores = tensor([[[0, 0]]]);
  const one = tensor([[1]], { dtype: "int32" });
  expect(() => F.ctcLoss(x, one, int32([1]), int32([1]))).toThrow(/expected \[time, batch, classes\]/);
  expect(() => F.ctcLoss(scores, one, int32([1, 1]), int32([1]))).toThrow(
    "the input lengths are int32[2]; expected int32[1]",
  );
  expect(() => F.ctcLoss(scores, one, int32([1]), int32([1]), { blank: 2 })).toThrow(
    "the blank 2 is none of 2 classes",
  );
  expect(() => F.ctcLoss(scores.astype("float16") as Tensor, one, int32([1]), int32([1]))).toThrow(
    /expected float32 or float64/,
  );
});
