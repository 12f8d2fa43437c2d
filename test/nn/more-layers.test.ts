import { cat, compile, grad, init, ones, random, type Tensor, tensor, tree } from "lorantz";
import * as nn from "lorantz/nn";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const key = random.key(11);
const float64 = (name: string, shape: readonly number[]) =>
  random.normal(key.fold(name), shape).astype("float64");
const nested = (x: Tensor) => x.toArray() as Promise<never>;
const flat = async (x: Tensor) => Array.from(await x.data(), Number);
const close = async (actual: Tensor, expected: Tensor | readonly number[], digits = 12) => {
  const wanted = Array.isArray(expected) ? (expected as number[]) : await flat(expected as Tensor);
  const got = await flat(actual);
  expect(got.length).toBe(wanted.length);
  got.forEach((x, i) => {
    expect(x).toBeCloseTo(wanted[i]!, digits);
  });
};
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

describe("recurrent layers", () => {
  const [time, batch, inputs, hidden] = [4, 2, 3, 2];
  const x = float64("x", [time, batch, inputs]);

  /** Rows of W x + b, for one example. */
  const affine = (w: number[][], b: number[], x: number[]) =>
    w.map((row, i) => row.reduce((sum, v, j) => sum + v * x[j]!, b[i]!));

  type One = nn.Layer<nn.RecurrentParams, nn.Sequence<Tensor>, nn.Recurred<Tensor>>;
  type Stacked = nn.Layer<nn.StackedParams, nn.Sequence<Tensor>, nn.Recurred<Tensor>>;

  async function byHand(
    kind: "gru" | "lstm",
    params: nn.RecurrentParams,
    order: readonly number[],
    of: Tensor = x,
  ) {
    const [wi, wh] = [await nested(params.weight_ih), await nested(params.weight_hh)] as [
      number[][],
      number[][],
    ];
    const [bi, bh] = [await flat(params.bias_ih!), await flat(params.bias_hh!)];
    const xs = (await nested(of)) as number[][][];
    const ys: number[][][] = [];
    const [h, c] = [0, 0].map(() => Array.from({ length: batch }, () => new Array<number>(hidden).fill(0)));
    for (const t of order) {
      ys[t] = [];
      for (let b = 0; b < batch; b++) {
        const [own, of] = [affine(wi, bi, xs[t]![b]!), affine(wh, bh, h![b]!)];
        const both = (k: number, j: number) => own[k * hidden + j]! + of[k * hidden + j]!;
        const old = [...h![b]!];
        for (let j = 0; j < hidden; j++) {
          if (kind === "gru") {
            const [r, z] = [sigmoid(both(0, j)), sigmoid(both(1, j))];
            const n = Math.tanh(own[2 * hidden + j]! + r * of[2 * hidden + j]!);
            h![b]![j] = (1 - z) * n + z * old[j]!;
          } else {
            c![b]![j] = sigmoid(both(1, j)) * c![b]![j]! + sigmoid(both(0, j)) * Math.tanh(both(2, j));
            h![b]![j] = sigmoid(both(3, j)) * Math.tanh(c![b]![j]!);
          }
        }
        ys[t]![b] = [...h![b]!];
      }
    }
    return { y: ys.flat(2), h: h!.flat(), c: c!.flat() };
  }

  test.each([
    ["gru", false],
    ["gru", true],
    ["lstm", false],
    ["lstm", true],
  ] as const)("%s follows its formula, reversed: %s", async (kind, reverse) => {
    const order = [0, 1, 2, 3].map((t) => (reverse ? time - 1 - t : t));
    const made = kind === "gru" ? nn.gru : nn.lstm;
    const layer = made(inputs, hidden, { reverse, dtype: "float64" }) as One;
    const params = layer.init(key);
    const { y, state } = layer.apply(params, { x });
    const wanted = await byHand(kind, params, order);
    await close(y, wanted.y);
    const [h, c] = tree.leaves(state);
    await close(h!, wanted.h);
    if (kind === "lstm") await close(c!, wanted.c);
    expect(Object.keys(params)).toEqual(["weight_ih", "weight_hh", "bias_ih", "bias_hh"]);
  });

  // PyTorch's text: the layer above takes what both directions of the one below give, side by side.
  test.each(["gru", "lstm"] as const)("%s in layers and both directions", async (kind) => {
    const made = kind === "gru" ? nn.gru : nn.lstm;
    const layer = made(inputs, hidden, { layers: 2, bidirectional: true, dtype: "float64" }) as Stacked;
    const params = layer.init(key);
    expect(Object.keys(params)).toEqual(["l0", "l0_reverse", "l1", "l1_reverse"]);
    expect(params.l1_reverse!.weight_ih.shape).toEqual([(kind === "gru" ? 3 : 4) * hidden, 2 * hidden]);
    const { y, state } = layer.apply(params, { x });
    let below = x;
    const ends: Awaited<ReturnType<typeof byHand>>[] = [];
    for (const at of ["l0", "l1"]) {
      const there = await byHand(kind, params[at]!, [0, 1, 2, 3], below);
      const back = await byHand(kind, params[`${at}_reverse`]!, [3, 2, 1, 0], below);
      const whole = (ys: number[]) => tensor(ys, { dtype: "float64" }).reshape([time, batch, hidden]);
      below = cat([whole(there.y), whole(back.y)], -1);
      ends.push(there, back);
    }
    expect(y.shape).toEqual([time, batch, 2 * hidden]);
    await close(y, await flat(below));
    const [h, c] = tree.leaves(state);
    expect(h!.shape).toEqual([4, batch, hidden]);
    await close(
      h!,
      ends.flatMap((end) => end.h),
    );
    if (kind === "lstm")
      await close(
        c!,
        ends.flatMap((end) => end.c),
      );
  });

  test("stacked layers go on from a state, drop between each other only, and say what does not fit", async () => {
    const layer = nn.lstm(inputs, hidden, { layers: 2, dropout: 0.5, dtype: "float64" });
    const params = layer.init(key);
    const [first, rest] = [x.at([0, 1]).get(), x.at([1]).get()];
    const whole = layer.apply(params, { x });
    const a = layer.apply(params, { x: first });
    const b = layer.apply(params, { x: rest, state: a.state });
    await close(cat([a.y, b.y], 0), await flat(whole.y));
    await close(b.state.c, await flat(whole.state.c));
    const drawn = layer.apply(params, { x }, { training: true, key });
    const [h, wanted] = [await nested(drawn.state.h), await nested(whole.state.h)] as number[][][][];
    expect(h![0]).toEqual(wanted![0]);
    expect(h![1]).not.toEqual(wanted![1]);
    expect(() => layer.apply(params, { x }, { training: true })).toThrow(/dropout: training needs/);
    expect(() => layer.apply(params, { x, state: { h: ones([1, 2, 2]), c: ones([2, 2, 2]) } })).toThrow(
      /lstm: the state's h is .*expected \[2,batch,2\], one for each layer and direction/,
    );
    expect(() => nn.gru(3, 2, { layers: 2, reverse: true } as never)).toThrow(/gru: reverse is of one layer/);
    expect(() => nn.gru(3, 2, { layers: 0 })).toThrow(/gru: layers is 0/);
    expect(nn.summary(layer, params, { x } as never).text).toContain("l1");
  });

  test("a state goes on where another call left off", async () => {
    const layer = nn.lstm(inputs, hidden, { dtype: "float64" });
    const params = layer.init(key);
    const [first, rest] = [x.at([0, 1]).get(), x.at([1]).get()];
    const whole = layer.apply(params, { x });
    const a = layer.apply(params, { x: first });
    const b = layer.apply(params, { x: rest, state: a.state });
    await close(cat([a.y, b.y], 0), whole.y);
    await close(b.state.c, whole.state.c);
  });

  test("the operations of a sequence are those of its steps", () => {
    const layer = nn.gru(inputs, hidden);
    const params = layer.init(key);
    const flops = (time: number) =>
      nn.summary(layer, params, { x: ones([time, batch, inputs]) } as never).flops;
    expect(flops(8) / flops(4)).toBe(2);
    expect(flops(4)).toBeGreaterThan(4 * 2 * batch * 3 * hidden * (inputs + hidden));
  });

  test("say what does not fit", () => {
    const layer = nn.gru(inputs, hidden);
    const params = layer.init(key);
    expect(() => layer.apply(params, { x: ones([4, 2]) })).toThrow(
      /gru: x is float32\[4,2\]; expected \[time, batch, 3\]/,
    );
    expect(() => layer.apply(params, { x: ones([4, 2, 3]), state: ones([3, 2]) })).toThrow(
      /gru: the state is .*expected \[2,2\]/,
    );
    expect(() => nn.lstm(0, 2)).toThrow(/lstm: in/);
  });
});

describe("norms over channels", () => {
  const x = float64("channels", [3, 4, 5]);
  const moments = (values: readonly number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return { mean, variance: values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length };
  };

  test.each([1, 2, 4])("groupNorm normalises each of %i groups of each example", async (groups) => {
    const y = (await nested(
      nn
        .groupNorm(groups, 4, { dtype: "float64" })
        .apply(
          { weight: tensor([1, 2, 3, 4]).astype("float64"), bias: tensor([0, 1, 0, 1]).astype("float64") },
          x,
        ),
    )) as number[][][];
    const xs = (await nested(x)) as number[][][];
    for (let b = 0; b < 3; b++)
      for (let c = 0; c < 4; c++) {
        const group = Math.floor((c * groups) / 4);
        const same = xs[b]!.filter((_, other) => Math.floor((other * groups) / 4) === group).flat();
        const { mean, variance } = moments(same);
        xs[b]![c]!.forEach((v, i) => {
          const wanted = ((v - mean) / Math.sqrt(variance + 1e-5)) * (c + 1) + (c % 2);
          expect(y[b]![c]![i]).toBeCloseTo(wanted, 10);
        });
      }
  });

  test("instanceNorm is groupNorm of single channels, without parameters", async () => {
    const layer = nn.instanceNorm(4);
    expect(layer.init(key)).toEqual({});
    await close(layer.apply({}, x), nn.functional.groupNorm(x, 4));
  });

  test("batchNorm takes and gives its state", async () => {
    const layer = nn.batchNorm(4, { dtype: "float64", momentum: 0.25 });
    const params = layer.init(key);
    const xs = (await nested(x)) as number[][][];
    const seen = [0, 1, 2, 3].map((c) => moments(xs.flatMap((one) => one[c]!)));
    const { y, state } = layer.apply(params, { x }, { training: true });
    await close(
      state.mean,
      seen.map(({ mean }) => 0.25 * mean),
      10,
    );
    await close(
      state.variance,
      seen.map(({ variance }) => 0.75 + (0.25 * variance * 15) / 14),
      10,
    );
    const ys = (await nested(y)) as number[][][];
    expect(ys[1]![2]![3]).toBeCloseTo(
      (xs[1]![2]![3]! - seen[2]!.mean) / Math.sqrt(seen[2]!.variance + 1e-5),
      10,
    );
    const after = layer.apply(params, { x, state });
    expect(after.state).toBe(state);
    await close(after.y, nn.functional.batchNorm(x, state));
    // Statistics of the batch have gradients, what is kept of them has none.
    const g = grad((x: Tensor) => layer.apply(params, { x }, { training: true }).y.sum())(x);
    await close(
      g,
      (await flat(x)).map(() => 0),
      10,
    );
    const none = grad((x: Tensor) => layer.apply(params, { x }, { training: true }).state.mean.sum())(x);
    await close(
      none,
      (await flat(x)).map(() => 0),
      15,
    );
  });

  test("say what does not fit", () => {
    expect(() => nn.groupNorm(3, 4)).toThrow(/4 channels do not divide into 3 groups/);
    expect(() => nn.batchNorm(3).apply({}, { x: ones([2, 4]) })).toThrow(
      /batchNorm: x is float32\[2,4\]; expected \[batch, 3/,
    );
    expect(() => nn.functional.groupNorm(ones([4]), 1)).toThrow(/expected \[batch, channels/);
    // One value has no variance; outside of training none is asked for.
    const one = nn.batchNorm(3, { affine: false });
    expect(() => one.apply({}, { x: ones([1, 3]) }, { training: true })).toThrow(
      /batchNorm: x is float32\[1,3\], one value of each channel/,
    );
    expect(one.apply({}, { x: ones([1, 3]) }).y.shape).toEqual([1, 3]);
  });
});

describe("multiHeadAttention", () => {
  const layer = nn.multiHeadAttention(8, 4, { kvHeads: 2, causal: true, rope: 100 });
  const params = layer.init(key);
  const x = random.normal(key.fold("tokens"), [2, 6, 8]);

  test("gives the same token by token, with a cache, as at once", async () => {
    const { y } = layer.apply(params, { x });
    const step = compile((x: Tensor, cache: nn.AttentionCache) => layer.apply(params, { x, cache }));
    let cache = nn.attentionCache(2, 8, { kvHeads: 2, headDim: 2 });
    const parts: Tensor[] = [];
    for (const [from, to] of [
      [0, 3],
      [3, 4],
      [4, 6],
    ] as const) {
      const out = await step(x.at([], [from, to]).get(), cache);
      parts.push(out.y);
      cache = out.cache!;
    }
    await close(cat(parts, 1), y, 5);
    expect(step.traces).toBe(3); // one for each length
    expect(Object.keys(params)).toEqual(["q", "k", "v", "out"]);
    expect(params.k.weight.shape).toEqual([4, 8]);
  });

  test("a mask that is added leaves slots unseen that are not filled, and what comes later", async () => {
    const bias = random.normal(key.fold("bias"), [1, 1, 6, 6]);
    const { y } = layer.apply(params, { x, mask: bias });
    const slots = cat([bias, ones([1, 1, 6, 2])], -1);
    const cache = nn.attentionCache(2, 8, { kvHeads: 2, headDim: 2 });
    await close(layer.apply(params, { x, mask: slots, cache }).y, y, 5);
  });

  test("dropout zeroes weights on keys in training, and nothing else", async () => {
    const [heads, p] = [2, 0.5];
    const dropping = nn.multiHeadAttention(8, heads, { dropout: p, dtype: "float64", bias: false });
    const params = dropping.init(key);
    const x = float64("seen", [1, 3, 8]);
    const plain = nn.multiHeadAttention(8, heads, { dtype: "float64", bias: false });
    await close(dropping.apply(params, { x }).y, plain.apply(params, { x }).y, 15);
    const { y } = dropping.apply(params, { x }, { training: true, key });
    // Attention is linear in its weights: with those of the keys that stay, over 1 - p, by hand.
    const split = (w: Tensor) => x.matmul(w.transpose()).reshape([1, 3, heads, 4]).permute([0, 2, 1, 3]);
    const [q, k, v] = [params.q, params.k, params.v].map(({ weight }) => split(weight)) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const shares = q.matmul(k.transpose()).mul(0.5).softmax(-1);
    const stays = random.bernoulli(key.fold("dropout"), 1 - p, [1, heads, 3, 3]).astype("float64");
    const joined = shares.mul(stays).mul(2).matmul(v).permute([0, 2, 1, 3]).reshape([1, 3, 8]);
    await close(y, joined.matmul(params.out.weight.transpose()));
    expect([...(await stays.data())]).toContain(0);
    expect(() => dropping.apply(params, { x }, { training: true })).toThrow(/dropout: training needs/);
    expect(() => nn.multiHeadAttention(8, 2, { dropout: 1 })).toThrow(/multiHeadAttention: dropout is 1/);
  });

  test("looks at other keys than its own, and says what does not fit", async () => {
    const across = nn.multiHeadAttention(8, 2, { kvDim: 3 });
    const { y } = across.apply(across.init(key), { x, keys: ones([2, 5, 3]) });
    expect(y.shape).toEqual([2, 6, 8]);
    expect(() => nn.multiHeadAttention(8, 3)).toThrow(/do not divide into 3 heads/);
    expect(() => nn.multiHeadAttention(8, 4, { kvHeads: 3 })).toThrow(/cannot share 3/);
    expect(() => layer.apply(params, { x: ones([2, 8]) })).toThrow(/expected \[batch, length, 8\]/);
  });
});

describe("convolution, pooling and bare parameters", () => {
  test("a convolution is its function of its parameters", async () => {
    const layer = nn.conv2d(4, 6, [3, 2], { stride: 2, padding: 1, groups: 2 });
    const params = layer.init(key) as { weight: Tensor; bias: Tensor };
    expect([params.weight.shape, params.bias.shape]).toEqual([[6, 2, 3, 2], [6]]);
    const x = random.normal(key.fold("image"), [2, 4, 5, 5]);
    const wanted = nn.functional.conv2d(x, params.weight, params.bias, { stride: 2, padding: 1, groups: 2 });
    await close(layer.apply(params, x), wanted, 15);
    for (const value of await params.weight.data())
      expect(Math.abs(value)).toBeLessThanOrEqual(1 / Math.sqrt(12));
    const up = nn.convTranspose2d(6, 4, 2, { stride: 2, bias: false });
    expect(up.apply(up.init(key), ones([1, 6, 3, 3])).shape).toEqual([1, 4, 6, 6]);
    expect(nn.maxPool(2, 2).apply({}, x).shape).toEqual([2, 4, 2, 2]);
    expect(nn.avgPool(1, 3).apply({}, ones([2, 4, 9])).shape).toEqual([2, 4, 3]);
    expect(() => nn.conv1d(3, 4, 2, { groups: 2 })).toThrow(/do not divide into 2 groups/);
    expect(() => layer.apply(params, ones([1, 3, 5, 5]))).toThrow(/expected \[batch, 4/);
    expect(() => nn.maxPool(4, 2)).toThrow(/1, 2 or 3 axes/);
  });

  test("a parameter is a tensor under its own name", async () => {
    const scaled = nn.module(
      { scale: nn.parameter([3], { init: () => ones([3]).mul(2) }), up: nn.linear(3, 2) },
      ({ scale, up }, x: Tensor) => up(x.mul(scale())),
    );
    const params = scaled.init(key);
    expect(params.scale.shape).toEqual([3]);
    const { layers } = nn.summary(scaled, params, ones([1, 3]));
    expect(layers.map(({ path, tensors }) => [path, tensors])).toEqual([
      ["", { scale: [3] }],
      ["up", { weight: [2, 3], bias: [2] }],
    ]);
    const x = ones([1, 3]);
    await close(scaled.apply(params, x), nn.functional.linear(x.mul(2), params.up.weight, params.up.bias), 6);
    const g = grad((p: typeof params) => scaled.apply(p, x).sum())(params);
    expect(g.scale.shape).toEqual([3]);
    expect(() => scaled.apply({ up: params.up } as never, x)).toThrow(/no tensor scale/);
  });
});

describe("losses with weights", () => {
  const logits = float64("logits", [4, 3]);
  const classes = tensor([0, 2, 1, -100], { dtype: "int32" });
  const weight = tensor(Float64Array.of(0.5, 2, 3), { dtype: "float64" });

  const logSoftmax = async () =>
    ((await nested(logits)) as number[][]).map((row) => {
      const total = Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0));
      return row.map((v) => v - total);
    });

  test.each([0, 0.2])("class weights are in the loss and in its mean, smoothed by %d", async (e) => {
    const logs = await logSoftmax();
    const w = [0.5, 2, 3];
    const each = [0, 2, 1].map((k, i) => {
      const smooth = logs[i]!.reduce((sum, v, c) => sum + v * w[c]!, 0) / 3;
      return -((1 - e) * logs[i]![k]! * w[k]! + e * smooth);
    });
    const options = { weight, labelSmoothing: e };
    await close(nn.crossEntropy(logits, classes, { ...options, reduction: "none" }), [...each, 0], 10);
    const total = each.reduce((a, b) => a + b, 0);
    await close(nn.crossEntropy(logits, classes, options), [total / (0.5 + 3 + 2)], 10);
    if (e === 0) await close(nn.nllLoss(logits.logSoftmax(-1), classes, { weight }), [total / 5.5], 10);
  });

  test("soft targets are probabilities, and those of one class are that class", async () => {
    const one = tensor(Float64Array.of(1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1), {
      dtype: "float64",
      shape: [4, 3],
    });
    const hard = tensor([0, 2, 1, 2], { dtype: "int32" });
    for (const options of [{}, { labelSmoothing: 0.3 }, { reduction: "none" as const, weight }])
      await close(nn.crossEntropy(logits, one, options), nn.crossEntropy(logits, hard, options), 10);
    // The mean is over rows, whatever the weights.
    const rows = await flat(nn.crossEntropy(logits, one, { weight, reduction: "none" }));
    await close(nn.crossEntropy(logits, one, { weight }), [rows.reduce((a, b) => a + b, 0) / 4], 10);
    expect(() => nn.crossEntropy(logits, one, { weight: ones([3]) })).toThrow(
      /a factor for each class, float64\[3\]/,
    );
    expect(() => nn.crossEntropy(logits, ones([3, 3]).astype("float64"))).toThrow(/one shape/);
    expect(() => nn.crossEntropy(logits, one, { ignoreIndex: 0 })).toThrow(
      /^crossEntropy: ignoreIndex is 0, and the classes are probabilities, float64\[4,3\]/,
    );
  });

  test("posWeight counts positive targets as often, without overflow", async () => {
    const x = tensor(Float64Array.of(-2, 0, 3, 800, -800), { dtype: "float64" });
    const y = tensor(Float64Array.of(1, 0.5, 0, 1, 0), { dtype: "float64" });
    const softplus = (v: number) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
    const wanted = [-2, 0, 3, 800, -800].map((v, i) => {
      const t = [1, 0.5, 0, 1, 0][i]!;
      return 3 * t * softplus(-v) + (1 - t) * softplus(v);
    });
    await close(nn.bceWithLogits(x, y, { posWeight: 3, reduction: "none" }), wanted, 10);
    await close(
      nn.bceWithLogits(x, y, { posWeight: 1, reduction: "none" }),
      nn.bceWithLogits(x, y, { reduction: "none" }),
      12,
    );
    const slope = grad((x: Tensor) => nn.bceWithLogits(x, y, { posWeight: 3, reduction: "sum" }))(x);
    const at = [-2, 0, 3, 800, -800].map((v, i) => {
      const t = [1, 0.5, 0, 1, 0][i]!;
      return -3 * t * sigmoid(-v) + (1 - t) * sigmoid(v);
    });
    await close(slope, at, 10);
    const factors = tensor(Float64Array.of(1, 2, 0, 1, 1), { dtype: "float64" });
    await close(
      nn.bceWithLogits(x, y, { posWeight: 3, weight: factors, reduction: "none" }),
      wanted.map((v, i) => v * [1, 2, 0, 1, 1][i]!),
      10,
    );
    expect(() => nn.bceWithLogits(x, y, { posWeight: ones([2]) })).toThrow();
  });
});
