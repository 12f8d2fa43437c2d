import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  compile,
  type Device,
  init,
  ones,
  pack,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { describeComposed } from "../devices.ts";

// What adapters promise beside their mathematics: dtypes, ranks, names, refusals.

const all = { targetModules: "all-linear" } as const;
const key = random.key(5);
const values = (x: Tensor) => x.data().then((data) => [...data]);

describe("adapters are float32 on float16", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  const config = { r: 2, alpha: 4, init: "random", ...all } as const;
  const base = nn.linear(8, 6, { dtype: "float16" });
  const dtypes = (params: nn.Params) =>
    Object.fromEntries(tree.entries(params).map(([path, { dtype }]) => [path, dtype]));

  test("whatever the base is stored as, unless another dtype is asked for", async () => {
    const model = lora.inject(base, { ...config, branchBias: true });
    const dense = base.init(key);
    expect(dtypes(model.init(key, dense))).toEqual({
      weight: "float16",
      bias: "float16",
      loraA: "float32",
      loraB: "float32",
      loraBias: "float32",
    });
    for (const format of ["bfloat16", "nf4", "int8", "dynamic8"] as const) {
      const packed = model.init(key, { ...dense, weight: pack(dense.weight as Tensor, { format }) });
      expect((packed.loraA as Tensor).dtype).toBe("float32");
      expect(model.apply(packed, ones([3, 8], { dtype: "float16" })).dtype).toBe("float16");
    }
    for (const dtype of ["float16", "float32"] as const) {
      const own = lora.inject(base, { ...config, dtype, dora: true }).init(key, dense);
      expect([own.loraA, own.loraB, own.loraMagnitude].map((x) => (x as Tensor).dtype)).toEqual([
        dtype,
        dtype,
        dtype,
      ]);
    }
    const wide = lora.inject(nn.linear(8, 6, { dtype: "float64" }), config).init(key);
    expect((wide.loraA as Tensor).dtype).toBe("float64");
  });

  test.each(["LoRA", "DoRA", "named"])("%s: output, merge and unmerge round once", async (kind) => {
    const own = kind === "DoRA" ? ({ ...config, dora: true } as const) : config;
    const model = kind === "named" ? lora.injectNamed(base, { a: own, b: own }) : lora.inject(base, own);
    const params = model.init(key);
    const x = random.normal(key, [5, 8]).astype("float16") as Tensor;
    const y = model.apply(params, x);
    expect(y.dtype).toBe("float16");
    // The same in float64, from the same numbers.
    const wide = tree.map(params, (leaf) => leaf.astype("float64"));
    const exact = await model.apply(wide, x.astype("float64") as Tensor).data();
    (await y.data()).forEach((value, i) => {
      // Half a unit of the base's output (rounded before the branch comes to it) and of the sum.
      expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(2 ** -10 * (2 + Math.abs(exact[i]!)));
    });
    const merged = lora.merge(model, params);
    expect((merged.weight as Tensor).dtype).toBe("float16");
    const sum = await (lora.merge(model, wide).weight as Tensor).data();
    (await (merged.weight as Tensor).data()).forEach((value, i) => {
      // Of each sum on the way, which is below 2.
      const bound = kind === "named" ? 2 ** -9 : 2 ** -11 * (Math.abs(sum[i]!) + 2 ** -10) * 1.01;
      expect(Math.abs(value - sum[i]!)).toBeLessThanOrEqual(bound);
    });
    const again = await (lora.unmerge(model, merged, lora.partition(params)[0]).weight as Tensor).data();
    const before = await (params.weight as Tensor).data();
    again.forEach((value, i) => {
      expect(Math.abs(value - before[i]!)).toBeLessThan(2 ** -10 * 4);
    });
  });

  test("training one does not explode, and learns", async () => {
    const model = lora.inject(base, { r: 2, alpha: 4, ...all });
    let [adapter, frozen] = lora.partition(model.init(key));
    const optimizer = optim.lossScaling(optim.adamw({ lr: 1e-2 }));
    let state: optim.OptimizerState = optimizer.init(adapter);
    const x = random.normal(key, [16, 8]).astype("float16") as Tensor;
    const step = compile((adapter: nn.Params, state: optim.OptimizerState, frozen: nn.Params) => {
      const loss = (p: nn.Params) => {
        const y = model.apply(tree.combine(p, frozen), x).astype("float32");
        return optimizer.scaleLoss(y.sub(1).square().mean() as Tensor, state);
      };
      const [scaled, gradients] = valueAndGrad(loss)(adapter);
      const [updates, next] = optimizer.update(gradients, state, adapter);
      return {
        adapter: optim.applyUpdates(adapter, updates),
        state: next,
        loss: scaled.div(state.lossScale as Tensor),
      };
    });
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) {
      const result = await step(adapter, state, frozen);
      [adapter, state] = [result.adapter, result.state];
      losses.push(await result.loss.item());
    }
    expect(step.traces).toBe(1);
    expect(losses.at(-1)).toBeLessThan(losses[0]! * 0.7);
    expect(losses.every(Number.isFinite)).toBe(true);
  });
});

describe("ranks", () => {
  test("above the smaller side of a weight work, and are noted", async () => {
    using _ = await init({ backend: "cpu" });
    const base = nn.sequential({ up: nn.linear(3, 8), down: nn.linear(8, 2) });
    const config = { r: 4, alpha: 4, init: "random", ...all } as const;
    const model = lora.inject(base, config);
    expect(model.notes).toEqual([
      "r 4 is above 3, the smaller side of the weight [8,3] of up: B A reaches every matrix at r 3.",
      "r 4 is above 2, the smaller side of the weight [2,8] of down: B A reaches every matrix at r 2.",
    ]);
    expect(lora.inject(base, { ...config, r: 2 }).notes).toEqual([]);
    expect(lora.injectNamed(base, { a: config }).notes[0]).toMatch(/^a: r 4 is above 3/);
    const params = model.init(key);
    const x = random.normal(key, [5, 3]);
    const [y, merged] = [model.apply(params, x), lora.merge(model, params)];
    const apart = await values(y.sub(base.apply(merged, x)).abs().amax());
    expect(apart[0]).toBeLessThan(1e-5);
    expect(Object.keys(await lora.spectrum(model, params))).toEqual(["up", "down"]);
    for (const method of ["cat", "linear", "svd"] as const) {
      const one = await lora.combineAdapters(model, params, { weights: { "": 1 }, method });
      const found = await values(one.model.apply(one.params, x).sub(y).abs().amax());
      expect(found[0]).toBeLessThan(1e-5);
    }
    const half = lora.attenuate(model, params, 0.5);
    const kept = await lora.attenuateSpectrum(model, params, () => 0.5);
    const apartToo = await values(model.apply(half, x).sub(model.apply(kept, x)).abs().amax());
    expect(apartToo[0]).toBeLessThan(1e-5);
    for (const init of ["pissa", "olora"] as const)
      expect(() => lora.inject(base, { ...config, init })).toThrow(
        `init is ${init} and r 4; the weight [8,3] has only 3 ranks to take from. Use r <= 3.`,
      );
    const turned = await lora.initialize(lora.inject(base, { ...config, init: "orthogonal" }), key);
    expect((turned.up as nn.Params).loraA).toMatchObject({ shape: [4, 3] });
    const dora = lora.inject(base, { ...config, dora: true });
    expect(dora.apply(dora.init(key), x).shape).toEqual([5, 2]);
  });
});

describeComposed("names of adapters", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const base = nn.linear(4, 3);
  const config = { r: 2, alpha: 4, init: "random", ...all } as const;
  const odd = [
    "constructor",
    "toString",
    "__proto__",
    "10",
    "9",
    "hasOwnProperty",
    "ü é",
    "then",
    "choice",
    "like",
    "0",
  ];
  const x = random.normal(key, [odd.length, 4]);

  test("any text is one, in its order", async () => {
    const model = lora.injectNamed(
      base,
      odd.map((name) => [name, config]),
    );
    expect(model.adapterNames).toEqual(odd);
    expect(lora.injectNamed(base, new Map(odd.map((name) => [name, config]))).adapterNames).toEqual(odd);
    const params = model.init(key);
    const choice = tensor(
      odd.map((_, i) => i),
      { dtype: "int32" },
    );
    const mixed = await lora.perSample(model, choice).apply(params, x).data();
    for (const [i, name] of odd.entries()) {
      const alone = await lora.setAdapter(model, name).apply(params, x).data();
      expect([...mixed.subarray(3 * i, 3 * i + 3)], name).toEqual([...alone.subarray(3 * i, 3 * i + 3)]);
      const weights = Object.fromEntries([[name, 2]]);
      const combined = await lora.combineAdapters(model, params, { weights, method: "cat" });
      expect(combined.model.adapterNames).toEqual([""]);
      const [adapter] = lora.partition(params, { adapters: [name] });
      expect(tree.leaves(adapter).length).toBe(2);
      const one = lora.setAdapter(model, name);
      const merged = lora.merge(one, params);
      expect(Object.keys(merged)).toEqual(["weight", "bias"]);
      const back = lora.unmerge(one, merged, adapter);
      const error = await values(
        (back.weight as Tensor)
          .sub(params.weight as Tensor)
          .abs()
          .amax(),
      );
      expect(error[0]).toBeLessThan(1e-6);
    }
    // In a compiled function as outside of it.
    const step = compile(
      (p: nn.Params, x: Tensor) => ({ y: model.apply(p, x), p: tree.map(p, (leaf) => leaf.mul(2)) }),
      {
        donate: [0],
      },
    );
    const expected = [...(await model.apply(params, x).data())];
    const copy = await tree.evaluate(tree.map(params, (leaf) => leaf.mul(1)));
    const result = await step(copy, x);
    expect([...(await result.y.data())]).toEqual(expected);
    expect(tree.entries(result.p).map(([path]) => path)).toEqual(tree.entries(params).map(([path]) => path));
    // Each has parameters of its own, and a key of its own.
    const first = await Promise.all(
      odd.map(
        async (name) => (await values((params as Record<string, nn.Params>)[name]!.loraA as Tensor))[0],
      ),
    );
    expect(new Set(first).size).toBe(odd.length);
  });

  test("names that the model lacks are refused, whatever an object has by itself", () => {
    const model = lora.injectNamed(base, { english: config });
    const params = model.init(key);
    for (const name of odd) {
      expect(() => lora.setAdapter(model, name)).toThrow(`the model has no adapter ${JSON.stringify(name)}`);
      expect(() => lora.partition(params, { adapters: [name] })).toThrow("there is no adapter");
      const other = lora.injectNamed(base, [[name, config]]);
      expect(() => other.apply(params, x)).toThrow(`have no adapter ${name} here`);
    }
  });

  test("an object whose keys JavaScript would sort is refused, a single one is not", () => {
    expect(() => lora.injectNamed(base, { 10: config, 9: config })).toThrow(
      'JavaScript puts keys such as 9 of an object first and sorts them, so the order of these adapters is lost. Give a list of pairs, [["9", { ... }], ...], or a Map.',
    );
    expect(lora.injectNamed(base, { 10: config }).adapterNames).toEqual(["10"]);
    expect(() =>
      lora.injectNamed(base, [
        ["a", config],
        ["a", config],
      ]),
    ).toThrow('two adapters are called "a"');
  });

  test("what was never merged is not unmerged", async () => {
    const model = lora.inject(base, config);
    const plain = base.init(key);
    const params = model.init(key, plain);
    const [adapter, frozen] = lora.partition(params);
    expect(() => lora.unmerge(model, params, adapter)).toThrow(
      "have their adapter beside the weight, so it is not merged",
    );
    for (const never of [plain, frozen])
      expect(() => lora.unmerge(model, never, adapter)).toThrow(
        "lora.unmerge: the adapter is not merged into the weight of the model; taking it off makes another weight.",
      );
    const merged = await tree.evaluate(lora.merge(model, params));
    const again = lora.unmerge(model, merged, adapter);
    expect(() => lora.unmerge(model, lora.partition(again)[1], adapter)).toThrow("is not merged into");
    expect(() => lora.merge(model, tree.combine(merged, adapter))).toThrow(
      "already; once more would add its change twice",
    );
    // Another adapter on the merged weight goes in too, and both come off, the last one first.
    const next = model.init(key.fold("next"), merged);
    const [second] = lora.partition(next);
    const twice = lora.merge(model, next);
    const once = lora.partition(lora.unmerge(model, twice, second))[1];
    const none = lora.unmerge(model, once, adapter);
    const error = await values(
      (none.weight as Tensor)
        .sub(plain.weight as Tensor)
        .abs()
        .amax(),
    );
    expect(error[0]).toBeLessThan(1e-6);
    // Of other names.
    const named = lora.injectNamed(base, { a: config, b: config });
    const both = named.init(key);
    const [a, b] = [lora.setAdapter(named, "a"), lora.setAdapter(named, "b")];
    const [own] = lora.partition(both);
    expect(() => lora.unmerge(b, lora.merge(a, both), own)).toThrow(
      'the adapter "b" is not merged into the weight of the model, but the adapter "a"',
    );
    // Read from a file nothing is known of a weight.
    const read = { ...merged, weight: tensor(await (merged.weight as Tensor).data(), { shape: [3, 4] }) };
    expect(() => lora.unmerge(model, read, adapter)).not.toThrow();
    // Packed, and with DoRA.
    const packed = { ...plain, weight: pack(plain.weight as Tensor, { format: "int8" }) };
    expect(() => lora.unmerge(model, packed, lora.partition(model.init(key, packed))[0])).toThrow(
      "is not merged into",
    );
    const dora = lora.inject(base, { ...config, dora: true });
    expect(() => lora.unmerge(dora, plain, lora.partition(dora.init(key, plain))[0])).toThrow(
      /loraFactor|is not merged into/,
    );
  });
});

describe("options that there are not", () => {
  const base = nn.linear(4, 3);
  const config = { r: 2, alpha: 4 };
  test.each([
    ["use_dora", true, "dora"],
    ["lora_dropout", 0.1, "dropout"],
    ["rsLoRA", true, "rsLora"],
    ["use_rslora", true, "rsLora"],
    ["lora_alpha", 16, "alpha"],
    ["loraAlpha", 16, "alpha"],
    ["target_modules", ["q"], "targetModules"],
    ["rank_pattern", {}, "rankPattern"],
    ["init_lora_weights", "pissa", "init"],
  ])("%s is refused, with what may be meant", (name, value, meant) => {
    const given = { ...config, ...all, [name]: value };
    const message = `there is no option ${name}. Do you mean ${meant}? The options are r, alpha, rsLora,`;
    expect(() => lora.inject(base, given)).toThrow(`lora.inject: ${message}`);
    expect(() => lora.injectNamed(base, { english: given })).toThrow(
      `lora.injectNamed: "english": ${message}`,
    );
    if (name === "target_modules" || name === "rank_pattern") return;
    for (const make of [
      () => lora.linear(base, given as never),
      () => lora.embedding(nn.embedding(4, 3), given as never),
    ])
      expect(make).toThrow(/there is no option/);
  });

  test("wrong arguments say what they are", () => {
    const model = lora.inject(base, { ...config, ...all });
    const wrong: readonly (readonly [() => unknown, string])[] = [
      [
        () => lora.inject(base, undefined as never),
        "lora.inject: takes an object of options; given undefined",
      ],
      [() => lora.injectNamed(base, undefined as never), "lora.injectNamed: takes adapters by name"],
      [
        () => lora.injectNamed(base, { a: undefined } as never),
        'lora.injectNamed: "a": takes an object of options',
      ],
      [() => lora.injectNamed(base, [[3, config]] as never), "an adapter cannot be called 3"],
      [() => lora.inject(base, { ...config, ...all, r: "2" } as never), 'r is "2"; a rank is an integer'],
      [() => lora.inject(base, { ...config, ...all, alpha: "1" } as never), 'alpha is "1"'],
      [() => lora.inject(base, { ...config, ...all, dropout: "0.1" } as never), 'dropout is "0.1"'],
      [() => lora.setAdapter(model, 3 as never), "lora.setAdapter: the names are 3"],
      [
        () => lora.attenuate(model, {}, "0.5" as never),
        'the strength is "0.5"; it is a number, or numbers by patterns',
      ],
      [
        () => lora.merge(model, undefined as never),
        "lora: the parameters are undefined; they are a tree of tensors",
      ],
      [
        () => optim.skipNonFinite(undefined as never),
        "skipNonFinite: the optimizer is undefined; it is what adamw",
      ],
      [() => optim.lossScaling({} as never), "lossScaling: the optimizer is an object"],
      [() => optim.accumulate(3 as never, 2), "accumulate: the optimizer is 3"],
    ];
    for (const [call, message] of wrong) expect(call).toThrow(message);
  });

  test("of other functions, and values of another kind", async () => {
    const model = lora.inject(base, { ...config, ...all });
    const params = model.init(key);
    expect(() => lora.partition(params, { biases: "all" } as object)).toThrow(
      "lora.partition: there is no option biases",
    );
    expect(() => lora.trainableCount(params, { adapter: [""] } as object)).toThrow(
      "there is no option adapter",
    );
    await expect(
      lora.combineAdapters(model, params, { weights: { "": 1 }, method: "cat", ranks: 2 } as never),
    ).rejects.toThrow("lora.combineAdapters: there is no option ranks");
    expect(() => lora.packBase(model, params, { format: "nf4", blockSize: 64 } as never)).toThrow(
      "pack: there is no option blockSize",
    );
    expect(() => lora.inject(base, { ...config, ...all, dora: 1 } as never)).toThrow(
      "lora: dora is 1; it is true or false",
    );
    expect(() => lora.inject(base, { ...config, ...all, initScale: { C: 2 } } as never)).toThrow(
      "there is no option C",
    );
    expect(() => lora.inject(base, { ...config, ...all, dtype: "float8" } as never)).toThrow("float8");
  });
});
