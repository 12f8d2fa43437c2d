import fc from "fast-check";
import { compile, gelu, init, ones, random, relu, type Tensor, tensor, tree, valueAndGrad } from "lorantz";
import * as nn from "lorantz/nn";
import { beforeAll, describe, expect, test } from "vitest";
import { runs } from "../thorough.ts";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const float64 = (values: readonly number[], shape: readonly number[]): Tensor =>
  tensor(Float64Array.from(values), { shape, dtype: "float64" });
const int32 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor<"int32"> =>
  tensor(Int32Array.from(values), { shape, dtype: "int32" });
const numbers = async (x: Tensor): Promise<number[]> => [...(await x.data())];
const close = (actual: readonly number[], expected: readonly number[], digits = 12): void => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((x, i) => {
    expect(x).toBeCloseTo(expected[i]!, digits);
  });
};
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const seed = random.key(7);

describe("initialisers", () => {
  const shape = [64, 256];
  const gain = Math.sqrt(2);
  test.each([
    ["kaimingUniform", nn.initializers.kaimingUniform(seed, shape), 1 / Math.sqrt(3 * 256), 1 / 16],
    [
      "kaimingUniform of gain",
      nn.initializers.kaimingUniform(seed, shape, { gain }),
      gain / 16,
      gain * Math.sqrt(3 / 256),
    ],
    [
      "kaimingUniform by outputs",
      nn.initializers.kaimingUniform(seed, shape, { fan: "out" }),
      1 / Math.sqrt(3 * 64),
      1 / 8,
    ],
    ["kaimingNormal", nn.initializers.kaimingNormal(seed, shape, { gain: 1 }), 1 / 16, Infinity],
    ["xavierUniform", nn.initializers.xavierUniform(seed, shape), Math.sqrt(2 / 320), Math.sqrt(6 / 320)],
    [
      "xavierNormal",
      nn.initializers.xavierNormal(seed, shape, { gain: 2 }),
      2 * Math.sqrt(2 / 320),
      Infinity,
    ],
    ["normal", nn.initializers.normal(seed, shape, { std: 0.02 }), 0.02, Infinity],
    ["uniform", nn.initializers.uniform(seed, shape, { min: -1, max: 1 }), Math.sqrt(1 / 3), 1],
  ])("%s has its standard deviation and bounds", async (_, weight, std, bound) => {
    const values = await numbers(weight);
    const n = values.length;
    const mean = sum(values) / n;
    const measured = Math.sqrt(sum(values.map((x) => (x - mean) ** 2)) / n);
    // Five standard errors.
    expect(Math.abs(mean)).toBeLessThan((5 * std) / Math.sqrt(n));
    expect(Math.abs(measured / std - 1)).toBeLessThan(5 / Math.sqrt(2 * n));
    const largest = Math.max(...values.map(Math.abs));
    expect(largest).toBeLessThanOrEqual(bound * (1 + 1e-6));
    if (bound < Infinity) expect(largest).toBeGreaterThan(0.99 * bound);
  });

  test("say what is wrong", () => {
    expect(() => nn.initializers.kaimingUniform(seed, [3])).toThrow(
      "initializers.kaimingUniform: shape [3] has no inputs and outputs; it is [out, in]. Use initializers.uniform or initializers.normal.",
    );
    expect(() => nn.initializers.xavierNormal(seed, [2, 2], { gain: Number.NaN })).toThrow(
      "initializers.xavierNormal: gain is NaN; it is a finite number > 0.",
    );
    // @ts-expect-error a fan is "in" or "out"
    expect(() => nn.initializers.kaimingNormal(seed, [2, 2], { fan: "both" })).toThrow(
      'fan is "both"; it is "in" or "out".',
    );
  });
});

describe("layers", () => {
  test("linear is x W^T + b, on vectors, matrices and batches", async () => {
    const layer = nn.linear(2, 3);
    const params = {
      weight: tensor([
        [1, 2],
        [3, 4],
        [5, 6],
      ]),
      bias: tensor([0.5, 0, -0.5]),
    };
    expect(await layer.apply(params, tensor([1, 10])).toArray()).toEqual([21.5, 43, 64.5]);
    expect(await layer.apply(params, tensor([[[1, 10]], [[0, 1]]])).toArray()).toEqual([
      [[21.5, 43, 64.5]],
      [[2.5, 4, 5.5]],
    ]);
    expect(
      await nn
        .linear(2, 3, { bias: false })
        .apply({ weight: params.weight }, tensor([1, 10]))
        .toArray(),
    ).toEqual([21, 43, 65]);
  });

  test("linear starts as PyTorch's: weight and bias within 1/sqrt(in), of the dtype asked for", async () => {
    const params = nn.linear(16, 400, { dtype: "float64" }).init(seed);
    const [bias, weight] = [params.bias as Tensor, params.weight as Tensor];
    expect([bias.dtype, bias.shape, weight.shape]).toEqual(["float64", [400], [400, 16]]);
    for (const values of [await numbers(bias), await numbers(weight)]) {
      const largest = Math.max(...values.map(Math.abs));
      expect(largest).toBeLessThanOrEqual(0.25);
      expect(largest).toBeGreaterThan(0.24);
    }
    expect(Object.keys(nn.linear(2, 3, { bias: false }).init(seed))).toEqual(["weight"]);
  });

  test("embedding takes rows, and its gradient adds up where an index repeats", async () => {
    const layer = nn.embedding(3, 2);
    const weight = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    const [y, gradient] = valueAndGrad((w: Tensor): [Tensor, Tensor] => {
      const rows = layer.apply({ weight: w }, int32([2, 0, 2, 2], [2, 2]));
      return [rows.sum(), rows];
    })(weight);
    expect(await y[1].toArray()).toEqual([
      [
        [5, 6],
        [1, 2],
      ],
      [
        [5, 6],
        [5, 6],
      ],
    ]);
    expect(await gradient.toArray()).toEqual([
      [1, 1],
      [0, 0],
      [3, 3],
    ]);
  });

  test("layerNorm has mean 0 and variance 1 to begin with", async () => {
    const layer = nn.layerNorm(50);
    const y = await numbers(layer.apply(layer.init(seed), random.normal(seed, [50], { mean: 3, std: 2 })));
    expect(sum(y) / 50).toBeCloseTo(0, 5);
    expect(sum(y.map((v) => v * v)) / 50).toBeCloseTo(1, 4);
  });

  test("mlp applies the activation between its layers", async () => {
    const net = nn.mlp([2, 2, 1], { activation: "relu" });
    expect(Object.keys(net.children!)).toEqual(["fc1", "fc2"]);
    const params = {
      fc1: {
        weight: tensor([
          [1, 0],
          [0, 1],
        ]),
        bias: tensor([0, 0]),
      },
      fc2: { weight: tensor([[2, 3]]), bias: tensor([-1]) },
    };
    expect(await net.apply(params, tensor([-5, 4])).toArray()).toEqual([11]);
    expect(await net.apply(params, tensor([-5, -4])).toArray()).toEqual([-1]);
    const same = nn.mlp([2, 2, 1], { activation: relu }).apply(params, tensor([-5, 4]));
    expect(await same.toArray()).toEqual([11]);
  });

  test("sequential runs in the order of the names", async () => {
    const double = nn.activation((x) => x.mul(2));
    const addOne = nn.activation((x) => x.add(1));
    expect(
      await nn
        .sequential({ double, addOne })
        .apply({}, tensor([3]))
        .toArray(),
    ).toEqual([7]);
    expect(
      await nn
        .sequential({ addOne, double })
        .apply({}, tensor([3]))
        .toArray(),
    ).toEqual([8]);
  });

  test("say what is wrong", () => {
    const layer = nn.linear(2, 3);
    const params = layer.init(seed);
    const x = ones([4, 5]);
    expect(() => nn.linear(0, 3)).toThrow("linear: in is 0; it is an integer >= 1.");
    expect(() => nn.linear(2, 1.5)).toThrow("linear: out is 1.5; it is an integer >= 1.");
    expect(() => nn.embedding(-1, 3)).toThrow("embedding: vocabulary is -1; it is an integer >= 1.");
    expect(() => nn.layerNorm(Number.NaN)).toThrow("layerNorm: dim is NaN; it is an integer >= 1.");
    // @ts-expect-error parameters are floats
    expect(() => nn.linear(2, 3, { dtype: "int32" })).toThrow(
      'linear: dtype is "int32"; parameters are float16, bfloat16, float32 or float64.',
    );
    expect(() => nn.dropout(1)).toThrow("dropout: p is 1; it is a probability from 0 to below 1.");
    expect(() => nn.mlp([4])).toThrow("mlp: sizes are [4]; give at least the inputs and the outputs.");
    expect(() => layer.apply(params, x)).toThrow(
      "linear: the input float32[4,5] must end in the 2 inputs of the weight float32[3,2]. Transpose the weight, or reshape the input?",
    );
    expect(() => layer.apply({ bias: params.bias }, x)).toThrow(
      "linear: the parameters have no tensor weight, but bias.",
    );
    expect(() => nn.functional.linear(ones([2]), ones([3, 2]), ones([2]))).toThrow(
      "linear: the bias is float32[2]; expected [3]",
    );
    expect(() => nn.embedding(3, 2).apply({ weight: ones([3, 2]) }, ones([2]))).toThrow(
      'embedding: the indices must be int32; given float32[2]. Cast with .astype("int32").',
    );
    expect(() => nn.functional.layerNorm(x, [4])).toThrow(
      "layerNorm: the input float32[4,5] does not end in [4]",
    );
    expect(() => nn.functional.rmsNorm(x, ones([4]))).toThrow("the weight is a vector of the last axis of x");
    // @ts-expect-error there is no such activation
    expect(() => nn.activation("rellu")).toThrow(
      "activation: there is no rellu. Give a function, such as those of lorantz/functional, or one of relu, ",
    );
  });
});

describe("module", () => {
  const small = () =>
    nn.module({ fc1: nn.linear(3, 4), fc2: nn.linear(4, 2) }, ({ fc1, fc2 }, x) => fc2(gelu(fc1(x))));
  const larger = () =>
    nn.module(
      { norm: nn.layerNorm(3), fc2: nn.linear(4, 2), fc1: nn.linear(3, 4), extra: nn.linear(2, 2) },
      ({ norm, fc1, fc2, extra }, x) => extra(fc2(fc1(norm(x)))),
    );

  test("a layer's initial values depend on its name alone", async () => {
    const [a, b] = [small().init(seed), larger().init(seed)];
    const values = async (params: nn.Params) =>
      Object.fromEntries(
        await Promise.all(
          tree.entries(params).map(async ([path, leaf]) => [path, await numbers(leaf)] as const),
        ),
      );
    const [ofSmall, ofLarger] = [await values(a), await values(b)];
    expect(ofLarger).toMatchObject(ofSmall);
    expect(ofLarger["extra.bias"]).not.toEqual(ofLarger["fc2.bias"]);
  });

  test("takes a tensor, or an object or a list of them", async () => {
    const both = nn.module({ fc: nn.linear(3, 2) }, ({ fc }, [a, b]: readonly [Tensor, Tensor]) =>
      fc(a).sub(fc(b)),
    );
    expect(await numbers(both.apply(both.init(seed), [ones([3]), ones([3])]))).toEqual([0, 0]);
    expect(() => small().apply(small().init(seed), 3 as never)).toThrow(
      "module: the input is 3; it is a tensor.",
    );
  });

  test("a replaced child is used, the others stay", async () => {
    const model = small();
    const params = model.init(seed);
    const zero = nn.activation((x) => x.mul(0));
    const [x, changed] = [ones([3]), model.withChildren!({ fc1: zero })];
    expect(Object.keys(changed.children!)).toEqual(["fc1", "fc2"]);
    expect(changed.children!.fc2).toBe(model.children!.fc2);
    const wide = nn.sequential({ fc1: nn.linear(3, 4), fc2: nn.linear(4, 2) }).withChildren!({
      fc1: nn.activation(() => ones([4]).mul(0)),
    });
    expect(await wide.apply(params, x).toArray()).toEqual(
      await (params.fc2 as { bias: Tensor }).bias.toArray(),
    );
    expect(() => model.withChildren!({ fc3: zero })).toThrow(
      "module: there is no child fc3 to replace. The children are fc1, fc2.",
    );
  });

  test("names with dots, and parameters of another structure", () => {
    expect(() => nn.sequential({ "a.b": nn.dropout(0) })).toThrow(
      'module: the child\'s name "a.b" is empty or has a dot in it',
    );
    expect(() => small().apply({ fc1: ones([1]) }, ones([3]))).toThrow(
      "module: the parameters have a tensor at fc1, where the layer has a child.",
    );
  });
});

describe("dropout", () => {
  const context = (name: string): nn.Context => ({ training: true, key: seed.fold(name) });
  const x = () => ones([100, 200]);

  test("keeps 1 - p of the elements, scaled so that the mean stays", async () => {
    for (const p of [0.1, 0.5, 0.9]) {
      const values = await numbers(nn.functional.dropout(x(), p, context("mean")));
      const kept = values.filter((v) => v !== 0);
      expect(new Set(kept)).toEqual(new Set([Math.fround(1 / (1 - p))]));
      expect(Math.abs(kept.length / values.length - (1 - p))).toBeLessThan(
        5 * Math.sqrt((p * (1 - p)) / values.length),
      );
    }
  });

  test("is not left out in silence", () => {
    const act = () => (nn.functional.dropout as (...args: unknown[]) => unknown)(x(), 0.5);
    expect(act).toThrow(/^dropout: the context is missing/);
  });

  test("is a function of the key, off outside training, and passes the gradient where it passes the value", async () => {
    const run = (name: string) => numbers(nn.functional.dropout(x(), 0.5, context(name)));
    expect(await run("a")).toEqual(await run("a"));
    expect(await run("a")).not.toEqual(await run("b"));
    const input = x();
    expect(nn.functional.dropout(input, 0.5, { key: seed })).toBe(input);
    expect(nn.functional.dropout(input, 0, context("a"))).toBe(input);
    expect(() => nn.dropout(0.5).apply({}, input, { training: true })).toThrow(
      "dropout: training needs random numbers; the context has no key. Pass { training: true, key: random.key(seed).fold(step) }.",
    );
    const [[, y], gradient] = valueAndGrad((v: Tensor): [Tensor, Tensor] => {
      const out = nn.functional.dropout(v, 0.5, context("a"));
      return [out.sum(), out];
    })(input);
    expect(await numbers(gradient)).toEqual(await numbers(y));
  });

  test("differs between layers and between calls of one, and not when a layer is added", async () => {
    const drop = nn.dropout(0.5);
    const of = (layer: nn.Layer) => numbers(layer.apply({}, x(), context("module")));
    const [a, b] = [await of(nn.sequential({ a: drop })), await of(nn.sequential({ b: drop }))];
    expect(a).not.toEqual(b);
    expect(await of(nn.module({ b: drop, a: drop }, ({ a }, x) => a(x)))).toEqual(a);
    expect(await of(nn.module({ a: drop }, ({ a }, x) => a(x).mul(0).add(a(x))))).not.toEqual(a);
  });

  test("draws anew at each step of a program that is traced once", async () => {
    const layer = nn.dropout(0.5);
    const step = compile((v: Tensor, t: Tensor<"number">) =>
      layer.apply({}, v, { training: true, key: seed.fold(t) }),
    );
    const input = x();
    const [first, second, again] = [await step(input, 0), await step(input, 1), await step(input, 0)];
    expect(step.traces).toBe(1);
    expect(await numbers(second)).not.toEqual(await numbers(first));
    expect(await numbers(again)).toEqual(await numbers(first));
  });
});

describe("losses", () => {
  const value = fc.double({ min: -5, max: 5, noNaN: true });
  const pairs = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 8 });
  const reductions = ["none", "sum", "mean"] as const;

  type Loss = (input: Tensor, target: Tensor, options: nn.LossOptions) => Tensor;
  const elementwise: readonly [name: string, loss: Loss, formula: (x: number, y: number) => number][] = [
    ["mseLoss", nn.mseLoss, (x, y) => (x - y) ** 2],
    ["l1Loss", nn.l1Loss, (x, y) => Math.abs(x - y)],
    [
      "smoothL1Loss",
      (x, y, o) => nn.smoothL1Loss(x, y, { ...o, beta: 2 }),
      (x, y) => (Math.abs(x - y) < 2 ? (x - y) ** 2 / 4 : Math.abs(x - y) - 1),
    ],
    [
      "smoothL1Loss at beta 0",
      (x, y, o) => nn.smoothL1Loss(x, y, { ...o, beta: 0 }),
      (x, y) => Math.abs(x - y),
    ],
    [
      "huberLoss",
      (x, y, o) => nn.huberLoss(x, y, { ...o, delta: 2 }),
      (x, y) => (Math.abs(x - y) <= 2 ? (x - y) ** 2 / 2 : 2 * Math.abs(x - y) - 2),
    ],
    [
      "bceWithLogits",
      (x, y, o) => nn.bceWithLogits(x, y.abs().div(5), o),
      (x, y) => {
        const [p, t] = [1 / (1 + Math.exp(-x)), Math.abs(y) / 5];
        return -t * Math.log(p) - (1 - t) * Math.log(1 - p);
      },
    ],
    ["klDiv", (x, y, o) => nn.klDiv(x, relu(y), o), (x, y) => (y > 0 ? y * (Math.log(y) - x) : 0)],
  ];

  test.each(elementwise)("%s follows its formula, reduced each way", async (_, loss, formula) => {
    await fc.assert(
      fc.asyncProperty(pairs, async (data) => {
        const [input, target] = [0, 1].map((i) =>
          float64(
            data.map((pair) => pair[i]!),
            [data.length],
          ),
        ) as [Tensor, Tensor];
        const expected = data.map(([x, y]) => formula(x, y));
        const [none, total, mean] = await Promise.all(
          reductions.map((reduction) => numbers(loss(input, target, { reduction }))),
        );
        close(none!, expected, 10);
        close(total!, [sum(expected)], 10);
        close(mean!, [sum(expected) / data.length], 10);
      }),
      { numRuns: runs(20) },
    );
  });

  /** Cross-entropy of one row in plain numbers. */
  function entropy(logits: readonly number[], target: number, smoothing: number): number {
    const top = Math.max(...logits);
    const normaliser = top + Math.log(sum(logits.map((x) => Math.exp(x - top))));
    const terms = logits.map((x) => normaliser - x);
    return (1 - smoothing) * terms[target]! + (smoothing * sum(terms)) / terms.length;
  }

  test("crossEntropy follows its formula with smoothing and ignored targets, and nllLoss agrees with it", async () => {
    const row = fc.tuple(
      fc.array(value, { minLength: 3, maxLength: 3 }),
      fc.integer({ min: 0, max: 2 }),
      fc.boolean(),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(0, 0.25, 1),
        async (rows, labelSmoothing) => {
          const logits = float64(
            rows.flatMap(([x]) => x),
            [rows.length, 3],
          );
          const classes = int32(rows.map(([, target, ignored]) => (ignored ? -100 : target)));
          const expected = rows.map(([x, target, ignored]) =>
            ignored ? 0 : entropy(x, target, labelSmoothing),
          );
          const counted = rows.filter(([, , ignored]) => !ignored).length;
          const [none, total, mean] = await Promise.all(
            reductions.map((reduction) =>
              numbers(nn.crossEntropy(logits, classes, { reduction, labelSmoothing })),
            ),
          );
          close(none!, expected, 10);
          close(total!, [sum(expected)], 10);
          if (counted === 0) expect(mean![0]).toBeNaN();
          else close(mean!, [sum(expected) / counted], 10);
          if (labelSmoothing === 0)
            close(
              await numbers(nn.nllLoss(logits.logSoftmax(-1), classes, { reduction: "none" })),
              expected,
              10,
            );
        },
      ),
      { numRuns: runs(30) },
    );
  });

  test("crossEntropy takes any leading axes and an ignored class of choice", async () => {
    const logits = float64([1, 2, 0, 3, -1, 1, 0, 0], [2, 2, 2]);
    const losses = nn.crossEntropy(logits, int32([0, 1, 1, 0], [2, 2]), {
      reduction: "none",
      ignoreIndex: 1,
    });
    expect(losses.shape).toEqual([2, 2]);
    close(await numbers(losses), [entropy([1, 2], 0, 0), 0, 0, entropy([0, 0], 0, 0)]);
  });

  test("crossEntropy's gradient is softmax minus the target, in float32 and at large logits", async () => {
    const gradient = await numbers(
      valueAndGrad((x: Tensor) => nn.crossEntropy(x, int32([0, 1]), { reduction: "sum" }))(
        tensor([
          [1000, 0],
          [0.5, 0.5],
        ]),
      )[1],
    );
    expect(gradient).toEqual([0, 0, 0.5, -0.5]);
  });

  test("say what is wrong", () => {
    const [x, classes] = [ones([2, 3]), int32([0, 1])];
    expect(() => nn.mseLoss(x, ones([3]))).toThrow(
      "mseLoss: input float32[2,3] and target float32[3] must have one shape.",
    );
    expect(() => nn.crossEntropy(x, ones([2]))).toThrow(
      "crossEntropy: the classes must be int32; given float32[2].",
    );
    expect(() => nn.crossEntropy(x, int32([0, 1, 2]))).toThrow(
      "crossEntropy: the classes are int32[3], the input is float32[2,3]; expected one class for each row, int32[2].",
    );
    expect(() => nn.crossEntropy(x, classes, { labelSmoothing: 2 })).toThrow(
      "crossEntropy: labelSmoothing is 2; it is from 0 to 1.",
    );
    expect(() => nn.nllLoss(x, classes, { ignoreIndex: 0.5 })).toThrow(
      "nllLoss: ignoreIndex is 0.5; it is an integer",
    );
    expect(() => nn.huberLoss(x, x, { delta: 0 })).toThrow(
      "huberLoss: delta is 0; it is a finite number > 0.",
    );
    // @ts-expect-error there is no such reduction
    expect(() => nn.mseLoss(x, x, { reduction: "batchmean" })).toThrow(
      'mseLoss: reduction is "batchmean"; it is "mean", "sum" or "none".',
    );
  });
});

describe("functional", () => {
  test("rmsNorm divides by the root of the mean square", async () => {
    close(
      await numbers(nn.functional.rmsNorm(float64([3, 4], [2]), float64([1, 2], [2]), { eps: 0 })),
      [3, 8].map((v) => v / Math.sqrt(12.5)),
    );
  });

  test("layerNorm normalises over several axes with weight and bias", async () => {
    const [weight, bias] = [float64([1, 2, 3, 4], [2, 2]), float64([1, 1, 1, 1], [2, 2])];
    const y = nn.functional.layerNorm(float64([1, 1, 3, 3], [1, 2, 2]), [2, 2], { weight, bias, eps: 0 });
    close(await numbers(y), [0, -1, 4, 5]);
  });

  test("attention: equal keys share, masks cut, causal sees the past only", async () => {
    const [q, k, v] = [float64([1, 1, 1], [3, 1]), float64([2, 2, 2], [3, 1]), float64([1, 2, 6], [3, 1])];
    const attend = (options: nn.functional.AttentionOptions) =>
      numbers(nn.functional.scaledDotProductAttention(q, k, v, options));
    close(await attend({}), [3, 3, 3]);
    close(await attend({ causal: true }), [1, 1.5, 3]);
    close(await attend({ mask: tensor([[true, false, true]]) }), [3.5, 3.5, 3.5]);
    close(await attend({ mask: float64([0, -1e9, 0], [1, 3]) }), [3.5, 3.5, 3.5]);
    const [sharp] = [float64([0, 1, 0], [3, 1])];
    const scaled = nn.functional.scaledDotProductAttention(q, sharp, v, { scale: Math.log(2) });
    close(await numbers(scaled), [11 / 4, 11 / 4, 11 / 4]);
    expect(() => nn.functional.scaledDotProductAttention(q, float64([1, 2], [1, 2]), v)).toThrow(
      "scaledDotProductAttention: q float64[3,1], k float64[1,2]",
    );
    expect(() => nn.functional.scaledDotProductAttention(q, k, v, { mask: ones([3, 3]) })).toThrow(
      "it is bool or of the dtype of q, float64",
    );
  });

  test("rope turns pairs: position 0 stays, lengths stay, products depend on distances alone", async () => {
    const [x, y] = [float64([1, 2, 3, 4], [1, 4]), float64([0.5, -1, 2, 1], [1, 4])];
    const at = (v: Tensor, position: number) =>
      numbers(nn.functional.rope(v, { theta: 100, positions: [position] }));
    const dot = (a: readonly number[], b: readonly number[]) => sum(a.map((v, i) => v * b[i]!));
    close(await at(x, 0), [1, 2, 3, 4]);
    const [c, s, c2, s2] = [Math.cos(3), Math.sin(3), Math.cos(0.3), Math.sin(0.3)];
    close(await at(x, 3), [c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2]);
    expect(dot(await at(x, 9), await at(x, 9))).toBeCloseTo(30, 11);
    expect(dot(await at(x, 9), await at(y, 4))).toBeCloseTo(dot(await at(x, 6), await at(y, 1)), 11);
    expect(() => nn.functional.rope(ones([2, 3]))).toThrow(
      "rope: takes [..., length, d] with d even; given float32[2,3].",
    );
    expect(() => nn.functional.rope(ones([2, 4]), { positions: [1] })).toThrow(
      "rope: the positions are int32[1]; expected int32[2]",
    );
  });
});
