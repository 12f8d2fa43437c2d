import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { floatDTypes } from "../../src/base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../../src/base/errors.ts";
import { generator } from "../../src/base/generator.ts";
import { numel } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { measure, passes, trials } from "../../src/experiments/selftest.ts";
import { scalarOps } from "../../src/graph/scalar.ts";
import { bceWithLogits } from "../../src/nn/losses.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { ones, scalar, tensor, zeros } from "../../src/tensor/creation.ts";
import { cat, gelu, oneHot, relu, sigmoid, softplus, stack, where } from "../../src/tensor/functions.ts";
import { grad, vjp } from "../../src/tensor/grad.ts";
import { unpack } from "../../src/tensor/packed.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { backends } from "../devices.ts";

// Every row of the op table and every structural operation: both backends against the reference evaluator,
// gradients and second derivatives against finite differences, conventions at ties, zeros, NaN and nothing.

const available = await backends();

describe.each(available)("on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: name });
  });
  afterAll(() => device.dispose());

  // Adapters of the tests have shader-f16: one that lacks it would fail here, and should be looked at.
  const all = trials(name === "cpu" ? floatDTypes : floatDTypes.filter((dtype) => dtype !== "float64"), 2000);
  test.each([...new Set(all.map((trial) => trial.name))])("%s is as accurate as its row says", async (op) => {
    for (const trial of all.filter((other) => other.name === op)) {
      const result = await measure(trial, device);
      expect(result, JSON.stringify(result)).toSatisfy(passes);
    }
  });

  describe("conventions", () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const gradientOf = (f: (x: Tensor) => Tensor, at: readonly number[]) =>
      grad((x: Tensor) => f(x).sum())(tensor(at));

    /** Indices that the host does not know. */
    const onDevice = (index: readonly number[]) => tensor(index, { dtype: "int32" }).add(0);

    /** What is computed, and the elements it must have. */
    const cases: readonly [what: string, build: () => Tensor, expected: readonly number[]][] = [
      ["maximum of NaN", () => tensor([nan, 1]).maximum(tensor([1, nan])), [nan, nan]],
      ["minimum of NaN", () => tensor([nan, 1]).minimum(tensor([1, nan])), [nan, nan]],
      ["amax of NaN", () => tensor([1, nan, 2]).amax(), [nan]],
      ["relu of NaN", () => relu(tensor([nan, -1, 2])), [nan, 0, 2]],
      ["sign of NaN and zeros", () => tensor([nan, 0, -0, -3]).sign(), [0, 0, 0, -1]],
      [
        "comparisons with NaN",
        () => stack([tensor([nan]).eq(nan), tensor([nan]).lt(1), tensor([nan]).ge(1), tensor([nan]).ne(nan)]),
        [0, 0, 0, 1],
      ],
      [
        "isNaN and isFinite",
        () => cat([tensor([nan, inf, 1]).isNaN(), tensor([nan, inf, 1]).isFinite()]),
        [1, 0, 0, 0, 0, 1],
      ],
      [
        "argmax finds NaN first",
        () =>
          tensor([
            [1, nan, 3, nan],
            [1, 3, 3, 2],
          ]).argmax(1),
        [1, 1],
      ],
      ["clamp with min above max", () => tensor([-5, 0, 5]).clamp(2, 1), [1, 1, 1]],
      [
        "softmax of minus infinity",
        () =>
          tensor([
            [-inf, 0],
            [-inf, -inf],
          ]).softmax(1),
        [0, 1, nan, nan],
      ],
      [
        "logsumexp of minus infinity",
        () =>
          tensor([
            [-inf, -inf],
            [-inf, 2],
          ]).logsumexp(1),
        [-inf, 2],
      ],
      ["softmax of nothing", () => zeros([2, 0]).softmax(1), []],
      ["logSoftmax of nothing", () => zeros([2, 0]).logSoftmax(1), []],
      ["logsumexp of nothing", () => zeros([2, 0]).logsumexp(1), [-inf, -inf]],
      ["round half to even", () => tensor([0.5, 1.5, 2.5, -0.5, -1.5]).round(), [0, 2, 2, 0, -2]],
      ["sum over nothing", () => zeros([0, 2]).sum(0), [0, 0]],
      ["prod over nothing", () => zeros([0, 2]).prod(0), [1, 1]],
      ["mean over nothing", () => zeros([0]).mean(), [nan]],
      ["matmul over nothing", () => zeros([2, 0]).matmul(zeros([0, 2])), [0, 0, 0, 0]],
      ["an empty chain", () => zeros([3, 0]).mul(2).exp().sum(1), [0, 0, 0]],
      ["variance of one", () => tensor([3]).var(), [nan]],
      [
        "negative indices",
        () => tensor([1, 2, 3]).gather(0, tensor([-1, 0, -3], { dtype: "int32" })),
        [3, 1, 1],
      ],
      ["gather is clamped", () => tensor([1, 2, 3]).gather(0, onDevice([-4, 7])), [1, 3]],
      // Its place does not move, and is read again for each source all the same.
      [
        "scatterAdd to one place",
        () => zeros([1, 1]).scatterAdd(0, onDevice([0, 0, 0]).reshape([3, 1]), tensor([[-0.5], [0.25], [4]])),
        [3.75],
      ],
      ["scatterAdd drops", () => zeros([2]).scatterAdd(0, onDevice([-3, -1, 2]), ones([3])), [0, 1]],
      [
        "the gradient goes where gather is clamped",
        () => gradientOf((x) => x.gather(0, onDevice([-9, -1, 7])).mul(tensor([1, 2, 4])), [0, 0, 0]),
        [1, 0, 6],
      ],
      [
        "no gradient comes from where scatterAdd drops",
        () =>
          gradientOf(
            (x) => (zeros([2]) as Tensor).scatterAdd(0, onDevice([-3, -1, 2]), x).mul(tensor([1, 2])),
            [0, 0, 0],
          ),
        [0, 2, 0],
      ],
      ["gradient of maximum at ties", () => gradientOf((x) => x.maximum(1), [0, 1, 2]), [0, 0.5, 1]],
      ["gradient of amax at ties", () => gradientOf((x) => x.amax(), [2, 1, 2, 2]), [1 / 3, 0, 1 / 3, 1 / 3]],
      ["gradient of max at ties", () => gradientOf((x) => x.max(0).values, [2, 1, 2]), [1, 0, 0]],
      [
        "gradient of relu and abs at 0",
        () => gradientOf((x) => relu(x).add(x.abs()), [-1, 0, 1]),
        [-1, 0, 2],
      ],
      [
        "gradient of clamp",
        () => gradientOf((x) => x.clamp(-1, 1), [-2, -1, 0, 1, 2, nan]),
        [0, 1, 1, 1, 0, 0],
      ],
      [
        "gradient of the bounds of clamp",
        () =>
          gradientOf((b) => (tensor([-2, -1, 0, 1, 2]) as Tensor).clamp(b, b.add(2)), [-1, -1, -1, -1, -1]),
        [1, 0, 0, 0, 1],
      ],
      ["gradient of x^0", () => gradientOf((x) => x.pow(0), [0, 2]), [0, 0]],
      [
        "second derivatives of x^0 and of 0^y",
        () =>
          cat([
            gradientOf((x) => grad((z: Tensor) => z.pow(0).sum())(x), [0, 2]),
            gradientOf(
              (y) =>
                grad((z: Tensor) =>
                  tensor([0, 0])
                    .pow(z as Tensor<"float32">)
                    .sum(),
                )(y),
              [0, 2],
            ),
          ] as Tensor[]),
        [0, 0, 0, 0],
      ],
      ["gradient of prod at zeros", () => gradientOf((x) => x.prod(), [2, 0, 3]), [0, 6, 0]],
      [
        "gradient of sigmoid and softplus at 0",
        () => gradientOf((x) => sigmoid(x).add(softplus(x)), [0]),
        [0.75],
      ],
      [
        "second derivative of softplus at 0",
        () => gradientOf((x) => grad((y: Tensor) => softplus(y).sum())(x), [0]),
        [0.25],
      ],
      [
        "second derivative of bceWithLogits at 0",
        () => gradientOf((x) => grad((y: Tensor) => bceWithLogits(y, y.detach()))(x), [0]),
        [0.25],
      ],
      [
        "nothing flows to the other branch",
        () => gradientOf((x) => where(tensor([true, false, true]), 1, x), [nan, 2, inf]),
        [0, 1, 0],
      ],
      [
        "masked values get no gradient",
        () => gradientOf((x) => x.maskedFill(x.isNaN(), 0).square(), [nan, 3]),
        [0, 6],
      ],
      ["cat and stack of empties", () => cat([zeros([0]), tensor([1, 2])]), [1, 2]],
      ["a tensor handed back", () => vjp((x: Tensor) => x.sum([]), tensor([1, 2]))[0], [1, 2]],
    ];

    test.each(cases)("%s", async (_, build, expected) => {
      const values = [...(await build().data())].map((value) => value + 0); // zeros have no sign here
      expect(values).toHaveLength(expected.length);
      values.forEach((value, i) => {
        if (Number.isFinite(expected[i])) expect(value).toBeCloseTo(expected[i]!, 6);
        else expect(value).toBe(expected[i]);
      });
    });
  });
});

describe("derivatives", () => {
  // Away from kinks, poles and zeros of logarithms.
  const spread = (seed: number, length: number, min: number, max: number) => {
    const random = generator(seed);
    return Float64Array.from({ length }, () => min + (max - min) * random());
  };
  const positive = new Set(["log", "sqrt", "pow", "log1p", "div"]);

  const rows = [...scalarOps].filter(([, { row }]) => row.vjp && row.types !== "select");
  test.each(rows.map(([name]) => name))("of %s", async (name) => {
    const op = scalarOps.get(name)!;
    const [min, max] = positive.has(name)
      ? [0.4, 2.5]
      : ["erfinv", "asin", "acos"].includes(name)
        ? [-0.9, 0.8]
        : [-2.3, 2.4];
    const inputs = Array.from({ length: op.row.arity }, (_, i) => tensor(spread(i + 3, 6, min, max)));
    await checkDerivatives((...args) => new Tensor(op(...args.map((x) => x.node))), inputs);
  });

  const index = tensor(
    [
      [1, 0, 1],
      [2, 2, 0],
    ],
    { dtype: "int32" },
  );
  const structural: Readonly<Record<string, [f: (...args: Tensor[]) => Tensor, ...shapes: number[][]]>> = {
    where: [(x, y) => where(tensor([true, false, true, true]), x, y), [4], [4]],
    "broadcast add": [(x, y) => x.add(y).mul(x), [2, 3], [3]],
    cast: [(x) => x.astype("float64").mul(2), [3]],
    reshape: [(x) => x.reshape([3, 2]).square(), [2, 3]],
    expand: [(x) => x.expand([2, 3, 4]).sin(), [3, 1]],
    permute: [(x) => x.permute([2, 0, 1]).square(), [2, 3, 2]],
    flip: [(x) => x.flip([0, 1]).cumsum(1), [2, 3]],
    slice: [(x) => x.slice([1, 0], [6, 4], [2, 3]).square(), [7, 5]],
    pad: [
      (x) =>
        x
          .pad(
            [
              [1, 2],
              [0, 1],
            ],
            3,
          )
          .square(),
      [2, 2],
    ],
    sum: [(x) => x.sum(1).square(), [3, 4]],
    prod: [(x) => x.prod(1), [3, 4]],
    "prod of all": [(x) => x.prod(), [5]],
    amax: [(x) => x.amax(0).square(), [4, 3]],
    amin: [(x) => x.amin([0, 1]).square(), [4, 3]],
    matmul: [(x, y) => x.matmul(y), [2, 3], [3, 4]],
    "matmul, batched": [(x, y) => x.matmul(y), [2, 1, 2, 3], [3, 3, 2]],
    "matmul with vectors": [(x, y) => x.matmul(y).mul(y.matmul(x)), [3], [3]],
    cumsum: [(x) => x.cumsum(0).square(), [4, 2]],
    gather: [(x) => x.gather(0, index).square(), [3, 3]],
    scatterAdd: [(x, y) => x.scatterAdd(0, index, y).square(), [3, 3], [2, 3]],
    var: [(x) => x.var(1).sqrt(), [2, 4]],
    softmax: [(x) => x.softmax(1), [2, 4]],
    logsumexp: [(x) => x.logsumexp([0, 1]), [2, 3]],
    gelu: [(x) => gelu(x), [5]],
  };
  test.each(Object.keys(structural))("of %s", async (name) => {
    const [f, ...shapes] = structural[name]!;
    const inputs = shapes.map((shape, i) => {
      const size = numel(shape);
      return tensor(spread(i + 11, size, -1.7, 1.9), { shape });
    });
    await checkDerivatives(f, inputs);
  });

  /** The value of a scalar in float64 by the evaluator. */
  async function numberOf(x: Tensor): Promise<number> {
    return (await referenceValues([x]))[0]![0]!;
  }

  /**
   * Compares the slope of sum(w f) along a random direction, and of that slope along another one, with central
   * differences.
   */
  async function checkDerivatives(f: (...args: Tensor[]) => Tensor, inputs: Tensor[]): Promise<void> {
    const direction = (seed: number) =>
      inputs.map((x, i) => tensor(spread(seed + i, x.size, -1, 1), { shape: x.shape }));
    const [u, v] = [direction(100), direction(200)];
    const probe = f(...inputs);
    const weights = tensor(spread(300, probe.size, -1, 1), { shape: probe.shape });
    const value = (args: Tensor[]) =>
      f(...args)
        .mul(weights)
        .sum();
    const along = (slopes: Tensor[], d: Tensor[]) =>
      slopes.reduce((sum, slope, i) => sum.add(slope.mul(d[i]!).sum()), scalar(0) as Tensor);
    const slope = (args: Tensor[]) => along(grad(value)(args), u);
    const curvature = (args: Tensor[]) => along(grad(slope)(args), v);

    const h = 1e-5;
    const shifted = (d: Tensor[], t: number) => inputs.map((x, i) => x.add(d[i]!.mul(t)));
    const difference = async (of: (args: Tensor[]) => Tensor, d: Tensor[]) =>
      ((await numberOf(of(shifted(d, h)))) - (await numberOf(of(shifted(d, -h))))) / (2 * h);
    expect(await numberOf(slope(inputs))).toBeCloseTo(await difference(value, u), 6);
    expect(await numberOf(curvature(inputs))).toBeCloseTo(await difference(slope, v), 6);
  }
});

describe("dtypes", () => {
  test("numbers take the dtype of what they meet, and float64 stays", () => {
    const x = tensor([1, 2], { dtype: "float64" });
    expect(x.mul(2).add(scalar(1)).dtype).toBe("float64");
    expect(tensor([1, 2], { dtype: "int32" }).add(1).dtype).toBe("int32");
    expect(x.gt(1).dtype).toBe("bool");
    expect(x.argmax(0).dtype).toBe("int32");
    expect(scalar(2).mul(scalar(3)).dtype).toBe("number");
    expect(oneHot(tensor([0, 1], { dtype: "int32" }), 3).dtype).toBe("int32");
  });

  const int = tensor([1, 2], { dtype: "int32" });
  const float = tensor([1, 2]);
  const bool = tensor([true, false]);
  const double = tensor([1, 2], { dtype: "float64" });
  type Misuse = readonly [
    what: string,
    act: () => unknown,
    error: new (message: string) => Error,
    message: RegExp,
  ];
  const misuses: readonly Misuse[] = [
    [
      "two dtypes",
      () => float.add(double as never),
      DTypeError,
      /^add: operands have different dtypes: float32\[2\], float64\[2\]\. Cast/,
    ],
    ["exp of integers", () => int.exp(), DTypeError, /^exp: takes floats; given int32\[2\]\. Cast/],
    ["product of bool", () => bool.prod(), DTypeError, /^prod: takes numbers; given bool\[2\]\. Cast/],
    ["mul of bool", () => bool.mul(bool), DTypeError, /^mul: takes numbers; given bool\[2\], bool\[2\]/],
    [
      "bits of floats",
      () => float.bitwiseAnd(1),
      DTypeError,
      /^bitwiseAnd: takes integers or bool; given float32\[2\]/,
    ],
    [
      "a condition of floats",
      () => where(float as never, 1, float),
      DTypeError,
      /^where: the condition must be bool/,
    ],
    [
      "shapes that do not broadcast",
      () => float.add(ones([3])),
      ShapeError,
      /^add: shapes \[2\] and \[3\] do not broadcast: axis -1/,
    ],
    [
      "inner axes",
      () => ones([8, 16]).matmul(ones([32, 4])),
      ShapeError,
      /^matmul: inner axes differ: left float32\[8,16\] has 16, right float32\[32,4\] has 32/,
    ],
    [
      "matmul of scalars",
      () => ones([]).matmul(ones([2])),
      ShapeError,
      /^matmul: takes vectors and matrices/,
    ],
    [
      "an axis that is not there",
      () => float.sum(1),
      ShapeError,
      /^sum: axis 1 does not exist; axes of rank 1 are -1 to 0/,
    ],
    ["an axis twice", () => ones([2, 2]).sum([0, -2]), ShapeError, /^sum: axes \[0,-2\] name an axis twice/],
    ["amax of nothing", () => zeros([0]).amax(), ShapeError, /^amax: float32\[0\] has no elements/],
    ["a reshape that does not fit", () => float.reshape([3]), ShapeError, /^reshape: float32\[2\]/],
    [
      "an index of floats",
      () => float.gather(0, float as never),
      DTypeError,
      /^gather: the index must be int32/,
    ],
    [
      "a source of another shape",
      () => float.scatterAdd(0, int, ones([3])),
      ShapeError,
      /^scatterAdd: source float32\[3\]/,
    ],
    ["a negative step", () => float.slice([0], [2], [-1]), ShapeError, /^slice: step -1 .* Use flip/],
    ["negative padding", () => float.pad([[-1, 0]]), ShapeError, /^pad: float32\[2\] takes 1 pairs/],
    ["cat of nothing", () => cat([]), ShapeError, /^cat: takes at least one tensor/],
    ["cat of two dtypes", () => cat([float, int as never]), DTypeError, /^cat: dtypes differ/],
    [
      "ragged arrays",
      () => tensor([[1, 2], [3]]),
      ShapeError,
      /^tensor: nested arrays are ragged: \[1\] has 1 elements, expected 2/,
    ],
    ["empty arrays", () => tensor([[]]), ShapeError, /^tensor: an array is empty/],
    [
      "a shape that does not fit",
      () => tensor([1, 2], { shape: [3] }),
      ShapeError,
      /^tensor: 2 values do not fill the shape \[3\]/,
    ],
    [
      "a fraction as integer",
      () => tensor([0.5], { dtype: "int32" }),
      DTypeError,
      /^tensor: element 0 is 0\.5, which int32 cannot hold/,
    ],
    [
      "an unknown dtype",
      () => tensor([1], { dtype: "float8" as never }),
      DTypeError,
      /^tensor: dtype float8 is unknown/,
    ],
    [
      "a gradient of a vector",
      () => grad((x: Tensor) => x.mul(2))(float),
      ShapeError,
      /^grad: the function returned float32\[2\]; a gradient is of a scalar/,
    ],
    [
      "a gradient for integers",
      () => grad((x: Tensor) => x.sum())(int),
      DTypeError,
      /^grad: the argument is int32\[2\]; only floats have gradients/,
    ],
    [
      "a bigint of parts",
      () => ones([10]).split(5n as never),
      ShapeError,
      /^split: axis 0 of float32\[10\].* does not split into 5n equal parts/,
    ],
    [
      "softmax over no axis",
      () => float.logSoftmax(null as never),
      ShapeError,
      /^logSoftmax: axis null does not exist; axes of rank 1 are -1 to 0/,
    ],
    [
      "unpacking what is not packed",
      () => unpack({} as never),
      ValueError,
      /^unpack: takes a tree that pack returned; given/,
    ],
    ["no classes", () => oneHot(int, 0), ValueError, /^oneHot: numClasses is 0/],
  ];
  test.each(misuses)("%s: says so", (_, act, error, message) => {
    expect(act).toThrow(error);
    expect(act).toThrow(message);
  });
});
