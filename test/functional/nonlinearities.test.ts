import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { type Device, elu, grad, init, random, type Tensor, tensor } from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Activations beside those of the oracle, and distances.

const { celu, glu, gumbelSoftmax, hardshrink, hardSigmoid, hardSwish, hardtanh, mish, prelu, relu6, selu } =
  functional;
const { cdist, cosineSimilarity, normalize, pairwiseDistance, softshrink, softsign, tanhshrink } = functional;

describeComposed("activations and distances", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x) => selu(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [4.42067197, -1.69221004, 4.50218333, -1.23911016],
      sum: 26.0926763,
      squares: [197.808972],
    },
    {
      of: (x) => celu(x, 2),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.841470985, -0.559851933, 0.856986599, -0.229721949],
      sum: 4.47482578,
      squares: [7.01903607],
    },
    {
      of: (x) => elu(x, 0.5),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.841470985, -0.240746693, 0.856986599, -0.108264453],
      sum: 5.45774348,
      squares: [4.84846786],
    },
    {
      of: (x) => mish(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [4.20554505, -0.120772079, 4.28335114, -0.30874263],
      sum: 29.8452632,
      squares: [116.03965],
    },
    {
      of: (x) => hardtanh(x, -0.5, 0.7),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.7, -0.5, 0.7, -0.244021111],
      sum: 3.35020252,
      squares: [3.89637714],
    },
    {
      of: (x) => relu6(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [4.20735492, 0, 4.28493299, 0],
      sum: 30.4029349,
      squares: [85.8249332],
    },
    {
      of: (x) => hardSigmoid(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [1, 0, 1, 0.296649074],
      sum: 9.62516877,
      squares: [2.70581746],
    },
    {
      of: (x) => hardSwish(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [4.20735492, 0, 4.28493299, -0.361943183],
      sum: 29.5841429,
      squares: [126.124747],
    },
    {
      of: (x) => softsign(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.807963925, -0.766573976, 0.810782842, -0.549570966],
      sum: 3.05821324,
      squares: [18.9933278],
    },
    {
      of: (x) => tanhshrink(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [3.20779799, -2.28681767, 3.2853124, -0.380420245],
      sum: 17.3906007,
      squares: [126.883226],
    },
    {
      of: (x) => softshrink(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [3.70735492, -2.78401248, 3.78493299, -0.720105554],
      sum: 19.7276301,
      squares: [174.082408],
    },
    {
      of: (x) => hardshrink(x.mul(5)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [4.20735492, -3.28401248, 4.28493299, -1.22010555],
      sum: 21.2276301,
      squares: [174.082408],
    },
    {
      of: (x, w) => prelu(x, w),
      inputs: [[2, 3, 2], [3]],
      shape: [2, 3, 2],
      values: [0.841470985, -0.552680243, 0.856986599, 0.160273675],
      sum: 4.41282214,
      squares: [4.99114663, 0.198992071],
    },
    {
      of: (x, w) => prelu(x, w),
      inputs: [[2, 3], [1]],
      shape: [2, 3],
      values: [0.841470985, -0.552680243, 0.856986599, -0.205336684],
      sum: 1.97270438,
      squares: [2.5815701, 0.0128352662],
    },
    {
      of: (x) => glu(x, 1),
      inputs: [[2, 4, 2]],
      shape: [2, 2, 2],
      values: [0.584209572, -0.363097685, 0.582024114, -0.121470582],
      sum: 1.68822087,
      squares: [1.49468126],
    },
    {
      of: (x) => glu(x),
      inputs: [[3, 4]],
      shape: [3, 2],
      values: [0.590738451, -0.288530479, 0.557018037, 0.105579011],
      sum: 1.28705708,
      squares: [1.05694396],
    },
    {
      of: (x, y) => cosineSimilarity(x, y.sub(0.3)),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [3],
      values: [0.9044089, 0.871133878, 0.819910167],
      sum: 2.59545295,
      squares: [0.200895238, 0.303737434],
    },
    {
      of: (x, y) => cosineSimilarity(x, y.sub(0.3), { axis: 0, eps: 2 }),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [4],
      values: [0.223252035, 0.172566697, 0.214179461, 0.179989052],
      sum: 0.789987245,
      squares: [0.115044959, 0.169779945],
    },
    {
      of: (x, y) => pairwiseDistance(x, y.mul(0.5), { p: 3 }),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [3],
      values: [0.575279068, 0.497137373, 0.484094388],
      sum: 1.55651083,
      squares: [1.08890707, 0.272226768],
    },
    {
      of: (x, y) => pairwiseDistance(x, y.mul(0.5), { keepdim: true, eps: 0.1 }),
      inputs: [
        [3, 4],
        [3, 4],
      ],
      shape: [3, 1],
      values: [0.776609435, 0.733036322, 0.663750141],
      sum: 2.1733959,
      squares: [1.46510477, 0.366276193],
    },
    {
      of: (x, y) => cdist(x, y.mul(0.7)),
      inputs: [
        [3, 2],
        [2, 2],
      ],
      shape: [3, 2],
      values: [0.320236888, 0.542720126, 0.344012975, 0.267315375],
      sum: 2.62654078,
      squares: [4.03911533, 1.28507656],
    },
    {
      of: (x, y) => cdist(x, y.mul(0.7), 1),
      inputs: [
        [2, 3, 2],
        [2, 2, 2],
      ],
      shape: [2, 3, 2],
      values: [0.449482044, 0.727568083, 0.483697545, 0.330302313],
      sum: 9.04420563,
      squares: [16.8276534, 8.78743753],
    },
    {
      of: (x, y) => cdist(x, y.mul(0.7), Infinity),
      inputs: [
        [3, 2],
        [2, 2],
      ],
      shape: [3, 2],
      values: [0.252441295, 0.485987718, 0.267956909, 0.25709598],
      sum: 2.31825179,
      squares: [3.40604067, 0.888901059],
    },
    {
      of: (x) => normalize(x),
      inputs: [[3, 2]],
      shape: [3, 2],
      values: [0.788295494, -0.615296851, 0.961770265, -0.273857548],
      sum: 2.07942839,
      squares: [2.65062114],
    },
    {
      of: (x) => normalize(x, { p: 1, axis: 0 }),
      inputs: [[3, 2]],
      shape: [3, 2],
      values: [0.334099404, -0.590161309, 0.340259756, -0.219261984],
      sum: 0.381153413,
      squares: [1.40604044],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of).replace(/\s+/g, " "), reference] as const))(
    "%s",
    (_, reference) => agrees(reference, backend),
  );
});

const slope = (f: (x: Tensor) => Tensor, at: readonly number[]) =>
  grad((x: Tensor) => f(x).sum())(tensor(at)).toArray();

test("slopes at corners are those of PyTorch's kernels, and NaN stays NaN", async () => {
  await init({ backend: "cpu" });
  expect(await slope(relu6, [0, 6, 3])).toEqual([0, 0, 1]);
  expect(await slope(hardtanh, [-1, 1])).toEqual([0, 0]);
  expect(await slope(hardSigmoid, [-3, 3])).toEqual([0, 0]);
  expect(await slope(hardSwish, [-3, 3, -4, 4])).toEqual([0, 1, 0, 1]);
  expect(await slope(softshrink, [-0.5, 0, 0.5])).toEqual([0, 0, 0]);
  expect(await slope((x) => elu(x, 2), [0])).toEqual([2]);
  for (const f of [
    selu,
    celu,
    mish,
    hardtanh,
    relu6,
    hardSigmoid,
    hardSwish,
    softsign,
    softshrink,
    hardshrink,
    tanhshrink,
  ])
    expect(await f(tensor([Number.NaN])).item()).toBeNaN();
});

test("a distance of 0 has gradient 0, and near rows keep their digits", async () => {
  await init({ backend: "cpu" });
  const x = tensor([
    [1000, 1],
    [1000, 1.5],
  ]);
  expect(await cdist(x, x).toArray()).toEqual([
    [0, 0.5],
    [0.5, 0],
  ]);
  const g = grad((x: Tensor) => cdist(x, x.detach()).sum())(x);
  expect(await g.toArray()).toEqual([
    [0, -1],
    [0, 1],
  ]);
  expect(await normalize(tensor([0, 0])).toArray()).toEqual([0, 0]);
  expect(await cosineSimilarity(tensor([0, 0]), tensor([1, 0])).item()).toBe(0);
});

test("gumbelSoftmax draws one class, with the gradient of the soft one, and as often as the softmax says", async () => {
  await init({ backend: "cpu" });
  const logits = tensor([[0, 1, 2]]).expand([4000, 3]);
  const key = random.key(4);
  const hard = gumbelSoftmax(key, logits, { hard: true });
  const counts = (await hard.mean(0).toArray()) as number[];
  const wanted = (await tensor([0, 1, 2]).softmax(0).toArray()) as number[];
  counts.forEach((share, i) => {
    expect(Math.abs(share - wanted[i]!)).toBeLessThan(0.025);
  });
  const weights = tensor([1, 2, 5]);
  const of = (hard: boolean) => (x: Tensor) =>
    gumbelSoftmax(key, x, { hard, tau: 0.7, axis: 0 }).mul(weights.unsqueeze(1)).sum();
  const x = tensor([
    [0, 1],
    [1, 0],
    [2, 2],
  ]);
  expect(await grad(of(true))(x).toArray()).toEqual(await grad(of(false))(x).toArray());
  expect(await gumbelSoftmax(key, x, { hard: true, axis: 0 }).sum(0).toArray()).toEqual([1, 1]);
});

test("what they refuse", () => {
  const x = tensor([
    [1, 2],
    [3, 4],
  ]);
  const whole = tensor([1], { dtype: "int32" }) as Tensor;
  expect(() => selu(whole)).toThrow(/selu: takes floats/);
  expect(() => (mish as (...given: unknown[]) => Tensor)(x, 1)).toThrow(/mish/);
  expect(() => hardtanh(x, 1, -1)).toThrow("hardtanh: max is -1; it is a finite number >= min, 1.");
  expect(() => celu(x, 0)).toThrow("celu: alpha is 0");
  expect(() => softshrink(x, -1)).toThrow("softshrink: lambda is -1");
  expect(() => prelu(x, tensor([1, 2, 3]))).toThrow(
    "prelu: the weight is float32[3]; expected one element, or [2]",
  );
  expect(() => glu(tensor([1, 2, 3]))).toThrow("glu: axis -1 of float32[3] does not divide by 2.");
  expect(() => cdist(x, tensor([[1, 2, 3]]))).toThrow("cdist: x is float32[2,2] and y is float32[1,3]");
  expect(() => cdist(x, x, 0)).toThrow("cdist: p is 0");
  expect(() => pairwiseDistance(x, x.astype("float64") as Tensor)).toThrow("pairwiseDistance: dtypes differ");
  expect(() => normalize(x, { dim: 1 } as never)).toThrow(/normalize: .*dim/);
  expect(() => gumbelSoftmax(random.key(0), x, { tau: 0 })).toThrow("gumbelSoftmax: tau is 0");
});
