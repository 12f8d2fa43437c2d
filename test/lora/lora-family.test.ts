import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lora from "../../src/lora/index.ts";
import {
  type Columns,
  columnsOf,
  multiply,
  qr,
  rowMajor,
  scaleColumns,
  svd,
  svdOfProduct,
  transpose,
} from "../../src/lora/linalg.ts";
import * as nn from "../../src/nn/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { compile } from "../../src/tensor/compile.ts";
import { ones, tensor, zerosLike } from "../../src/tensor/creation.ts";
import { grad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { floatBackends } from "../devices.ts";
import { runs, thorough } from "../thorough.ts";

type Params = nn.Params;

const key = random.key(7);
const all = { targetModules: "all-linear" } as const;
const largest = async (x: Tensor) => Math.max(0, ...Array.from(await x.data(), Math.abs));
const distance = (x: Tensor, y: Tensor) => largest(x.sub(y));
const bits = async (x: unknown) => {
  await tree.evaluate(x);
  return Promise.all(
    tree
      .entries(x)
      .map(async ([path, leaf]) => [path, Array.from(await leaf.data(), (v) => (v === 0 ? 0 : v))]),
  );
};
const at = (params: Params, name: string) => params[name] as Tensor;
const paths = (params: unknown) => tree.entries(params).map(([path]) => path);

describe("decompositions on the host", () => {
  const matrices = fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.boolean())
    .chain(([rows, cols, low]) =>
      fc
        .array(fc.double({ min: -4, max: 4, noNaN: true }), {
          minLength: rows * cols,
          maxLength: rows * cols,
        })
        .map((values) => {
          const a = columnsOf(values, rows, cols);
          return low ? a.map((column, j) => (j % 2 ? column.map((x) => 2 * x) : a[0]!)) : a; // rank deficient
        }),
    );
  const gap = (a: Columns, b: Columns) =>
    Math.max(0, ...rowMajor(a).map((x, i) => Math.abs(x - rowMajor(b)[i]!)));
  const isDiagonal = (a: Columns, entry: (i: number) => readonly number[]) =>
    a.every((column, j) =>
      column.every((x, i) => (i === j ? entry(i) : [0]).some((wanted) => Math.abs(x - wanted) < 1e-12)),
    );

  test("A = Q R with Q orthonormal and R upper triangular, also of the first columns only", () => {
    fc.assert(
      fc.property(matrices, (a) => {
        const { q, r } = qr(a);
        expect(gap(multiply(q, r), a)).toBeLessThan(1e-12);
        expect(isDiagonal(multiply(transpose(q), q), () => [1])).toBe(true);
        expect(r.every((column, j) => column.every((x, i) => i <= j || x === 0))).toBe(true);
        const first = qr(a, 1);
        expect(gap(first.q, q.slice(0, 1))).toBeLessThan(1e-12);
      }),
    );
  });

  test("A = U diag(s) V^T with singular values in order, and of a product without forming it", async () => {
    await fc.assert(
      fc.asyncProperty(matrices, async (a) => {
        const { u, s, v } = await svd(a);
        expect(gap(multiply(scaleColumns(u, s), transpose(v)), a)).toBeLessThan(1e-11);
        expect([...s]).toEqual([...s].sort((x, y) => y - x));
        expect(isDiagonal(multiply(transpose(v), v), () => [1, 0])).toBe(true);
        expect(isDiagonal(multiply(transpose(u), u), () => [1, 0])).toBe(true);
        const squared = multiply(a, transpose(a));
        const product = await svdOfProduct(a, transpose(a));
        expect(gap(multiply(scaleColumns(product.u, product.s), transpose(product.v)), squared)).toBeLessThan(
          1e-10,
        );
        for (const [i, value] of s.entries()) expect(product.s[i] ?? 0).toBeCloseTo(value * value, 9);
      }),
      { numRuns: runs(60) }, // each shape is a program
    );
  });

  test("singular values of known matrices", async () => {
    expect([...(await svd(columnsOf([3, 0, 0, -4], 2, 2))).s]).toEqual([4, 3]);
    const hilbert = columnsOf(
      Float64Array.from({ length: 36 }, (_, k) => 1 / (Math.floor(k / 6) + (k % 6) + 1)),
      6,
      6,
    );
    const { s } = await svd(hilbert);
    expect(s[0]).toBeCloseTo(1.6188998589243, 12);
    expect(s[5]! / 1.08279948477e-7).toBeCloseTo(1, 8);
  });
});

// Adapters are made of operations alone: where not every case is wanted, the CPU shows in float32 what they compute.
const tried = (await floatBackends()).filter(
  ({ backend, dtype }) => thorough || (backend === "cpu" && dtype === "float32"),
);

describe.each(tried)("on $backend in $dtype", ({ backend, dtype }) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const eps = dtype === "float64" ? 2 ** -52 : 2 ** -23;
  const tries = { numRuns: backend === "webgpu" ? 2 : runs(15) };
  const start = (shape: readonly number[], name: string): Tensor =>
    random.normal(key.fold(name), shape).astype(dtype);
  const dense = (inputs: number, outputs: number, bias = true) => nn.linear(inputs, outputs, { bias, dtype });

  const draws = fc.record({
    seed: fc.nat({ max: 1000 }),
    inputs: fc.integer({ min: 2, max: 9 }),
    outputs: fc.integer({ min: 2, max: 9 }),
    alpha: fc.double({ min: 0.25, max: 16, noNaN: true }),
    rsLora: fc.boolean(),
    even: fc.boolean(),
  });
  /** A layer and its rank, one that the layer has room for. */
  const drawn = ({
    inputs,
    outputs,
    alpha,
    rsLora,
    even,
    seed,
  }: typeof draws extends fc.Arbitrary<infer T> ? T : never) => ({
    base: dense(inputs, outputs),
    config: { r: even && Math.min(inputs, outputs) > 1 ? 2 : 1, alpha, rsLora, ...all },
    seed: random.key(seed),
    x: random.normal(random.key(seed).fold("x"), [3, inputs]).astype(dtype),
  });

  test("residual initialisations keep weight + scaling B A, at every scale, and merge gives the weight back", async () => {
    await fc.assert(
      fc.asyncProperty(draws, fc.constantFrom("pissa", "olora"), async (draw, init) => {
        const { base, config, seed, x } = drawn(draw);
        const given = base.init(seed);
        const model = lora.inject(base, { ...config, init });
        const params = await lora.initialize(model, seed, given);
        const size = Math.max(1, model.apply(params, x).size, await largest(at(params, "weight")));
        expect(await distance(at(lora.merge(model, params), "weight"), at(given, "weight"))).toBeLessThan(
          8 * eps * size,
        );
        expect(await distance(at(params, "weight"), at(given, "weight"))).toBeGreaterThan(1e-3);
        expect(await distance(model.apply(params, x), base.apply(given, x))).toBeLessThan(200 * eps * size);
        expect(await bits(at(params, "bias"))).toEqual(await bits(at(given, "bias")));
      }),
      tries,
    );
  });

  test("DoRA: starts as the base, is the formula, and its merge computes the same; gradients pass the length by", async () => {
    const base = dense(5, 4);
    const model = lora.inject(base, { r: 2, alpha: 3, dora: true, ...all });
    const given = base.init(key);
    const x = start([3, 5], "x");
    const fresh = model.init(key, given);
    expect(await distance(model.apply(fresh, x), base.apply(given, x))).toBeLessThan(8 * eps);

    const params = { ...fresh, loraB: start([4, 2], "b"), loraMagnitude: start([4], "m") } as const;
    const { weight, bias, loraA, loraB, loraMagnitude } = params as unknown as {
      readonly [name: string]: Tensor; // one layer has no deeper levels
    };
    const formula = ({ loraA, loraB, loraMagnitude }: { readonly [name: string]: Tensor }) => {
      const direction = weight!.add(loraB!.matmul(loraA!).mul(1.5));
      const length = direction.square().sum(1, { keepdim: true }).sqrt().detach();
      return x.matmul(direction.mul(loraMagnitude!.unsqueeze(-1).div(length)).transpose()).add(bias!);
    };
    const own = { loraA: loraA!, loraB: loraB!, loraMagnitude: loraMagnitude! };
    const y = formula(own);
    expect(await distance(model.apply(params, x), y)).toBeLessThan(100 * eps);
    const merged = lora.merge(model, params);
    expect(await distance(base.apply(merged, x), y)).toBeLessThan(100 * eps);
    const again = lora.unmerge(model, merged, lora.partition(params as Params)[0]);
    expect(paths(again).sort()).toEqual(paths(params).sort());
    expect(await distance(at(again, "weight"), weight!)).toBeLessThan(50 * eps);

    const gradients = grad((varied: typeof own) =>
      model
        .apply({ weight: weight!, bias: bias!, ...varied }, x)
        .square()
        .sum(),
    )(own);
    const wanted = grad((varied: typeof own) => formula(varied).square().sum())(own);
    for (const name of ["loraA", "loraB", "loraMagnitude"] as const)
      expect(await distance(gradients[name], wanted[name]), name).toBeLessThan(1000 * eps);
  });

  test("an adapted embedding is weight[i] + scaling A^T[i] B^T, and starts as the base", async () => {
    const base = nn.embedding(7, 4, { dtype });
    const given = base.init(key);
    const ids = tensor(
      [
        [1, 6, 1],
        [0, 3, 3],
      ],
      { dtype: "int32" },
    );
    const model = lora.embedding(base, { r: 2, alpha: 4 });
    const fresh = lora.inject(base, { r: 2, alpha: 4, targetModules: [/^$/] }).init(key, given);
    expect(await bits(model.apply(fresh, ids))).toEqual(await bits(base.apply(given, ids)));
    expect([at(fresh, "loraA").shape, at(fresh, "loraB").shape]).toEqual([
      [2, 7],
      [4, 2],
    ]);
    expect(await largest(at(fresh, "loraA"))).toBe(0);
    const params: Params = { ...fresh, loraA: start([2, 7], "a") };
    const whole = at(params, "weight").add(
      at(params, "loraA").transpose().matmul(at(params, "loraB").transpose()).mul(2),
    );
    const y = nn.functional.embedding(ids, whole);
    expect(await distance(model.apply(params, ids), y)).toBeLessThan(20 * eps);
    expect(await distance(at(lora.merge(model, params), "weight"), whole)).toBeLessThan(20 * eps);
    const loss = (apply: (own: Params) => Tensor) => (own: Params) => apply(own).square().sum();
    const [own, frozen] = lora.partition(params as Params);
    const gradients = grad(loss((own) => model.apply(tree.combine(frozen, own), ids)))(own);
    const wanted = grad(
      loss((own) =>
        nn.functional.embedding(
          ids,
          at(params, "weight").add(at(own, "loraA").transpose().matmul(at(own, "loraB").transpose()).mul(2)),
        ),
      ),
    )(own);
    for (const name of ["loraA", "loraB"])
      expect(await distance(at(gradients, name), at(wanted, name)), name).toBeLessThan(200 * eps);
  });

  test.each(["linear", "dora", "embedding"])("%s: a gauge by powers of two changes no bit", async (kind) => {
    const [i, j] = [3, -5]; // A times 2^3, B times 2^-5, alpha times 2^2
    const adapt = (alpha: number) =>
      kind === "embedding"
        ? lora.embedding(nn.embedding(6, 4, { dtype }), { r: 2, alpha, init: "random" })
        : lora.linear(dense(6, 4), { r: 2, alpha, init: "random", dora: kind === "dora" });
    const [model, other] = [adapt(3), adapt(12)];
    const x = kind === "embedding" ? tensor([1, 5, 1], { dtype: "int32" }) : start([3, 6], "x");
    const params = model.init(key);
    const moved = {
      ...params,
      loraA: at(params, "loraA").mul(2 ** i),
      loraB: at(params, "loraB").mul(2 ** j),
    };
    const gradients = (layer: lora.LoraLayer, from: Params) => {
      const [own, frozen] = lora.partition(from);
      return grad((varied: Params) => layer.apply(tree.combine(frozen, varied), x).square().sum())(own);
    };
    expect(await bits(other.apply(moved, x))).toEqual(await bits(model.apply(params, x)));
    expect(await bits(lora.merge(other, moved))).toEqual(await bits(lora.merge(model, params)));
    const [mine, theirs] = [gradients(model, params), gradients(other, moved)];
    const back = {
      ...theirs,
      loraA: at(theirs, "loraA").mul(2 ** i),
      loraB: at(theirs, "loraB").mul(2 ** j),
    };
    expect(await bits(back)).toEqual(await bits(mine));
  });

  test("several adapters add up, setAdapter takes some, and each sample its own, bit for bit", async () => {
    const base = nn.sequential({ up: dense(4, 6), act: nn.activation("relu"), down: dense(6, 3) });
    const config = { r: 2, alpha: 4, init: "random" } as const;
    const model = lora.injectNamed(base, {
      english: { ...config, ...all },
      french: { ...config, alpha: 3, r: 1, ...all },
      latin: { ...config, targetModules: ["down"] },
    });
    const params = model.init(key);
    const x = start([5, 4], "x");
    const one = (name: string) => lora.setAdapter(model, name).apply(params, x);
    const choice = tensor([2, -1, 0, 1, 0], { dtype: "int32" });
    const mixed = lora.perSample(model, choice).apply(params, x);
    const names = ["latin", undefined, "english", "french", "english"];
    const rows = await mixed.toArray();
    for (const [i, name] of names.entries()) {
      const alone = name ? one(name) : base.apply(params, x);
      expect((rows as unknown[])[i], name).toEqual(((await alone.toArray()) as unknown[])[i]);
    }
    const none = lora.setAdapter(model, []);
    expect(await bits(none.apply(params, x))).toEqual(await bits(base.apply(params, x)));
    const twoMerged = lora.merge(lora.setAdapter(model, ["french", "latin"]), params);
    const two = lora.setAdapter(model, ["french", "latin"]).apply(params, x);
    expect(await distance(base.apply(twoMerged, x), two)).toBeLessThan(200 * eps);
    const back = lora.merge(lora.setAdapter(model, ["latin", "french"]), params);
    for (const [path, leaf] of tree.entries(back))
      expect(
        await distance(leaf, tree.entries(twoMerged).find(([other]) => other === path)![1]),
      ).toBeLessThan(8 * eps);
    const chosen = compile((p: Params, input: Tensor, which: Tensor) =>
      lora.perSample(model, which).apply(p, input),
    );
    expect(await distance(await chosen(params, x, choice), mixed)).toBeLessThan(50 * eps);
    await chosen(params, x, tensor([0, 0, 0, 0, 0], { dtype: "int32" }));
    expect(chosen.traces).toBe(1);
  });

  // What follows is multiplications and joining of factors, and the host: the CPU says enough.
  if (backend !== "cpu") return;

  test("combinations are the weighted sum, of one adapter with weight 1 that adapter, and change nothing given", async () => {
    const weight = fc.double({ min: -2, max: 2, noNaN: true });
    await fc.assert(
      fc.asyncProperty(draws, weight, weight, async (draw, w, v) => {
        const { base, config, seed, x } = drawn(draw);
        const model = lora.injectNamed(base, {
          one: { ...config, init: "random" },
          two: { ...config, alpha: 2, rsLora: false, init: "random" },
        });
        const params = model.init(seed);
        const before = await bits(params);
        const layer = (name: string) => lora.setAdapter(model, name);
        const change = (m: nn.Layer, p: Params) =>
          at(lora.merge(m, { ...p, weight: zerosLike(at(p, "weight")) }), "weight");
        const sum = change(layer("one"), params)
          .mul(w)
          .add(change(layer("two"), params).mul(v));
        const size = 100 * eps * (1 + (await largest(sum)) + Math.abs(w) + Math.abs(v));
        const combine = (options: lora.CombineOptions) => lora.combineAdapters(model, params, options);
        const weights = { one: w, two: v };
        const rank = Math.min(2 * config.r, draw.inputs, draw.outputs);
        for (const options of [
          { weights, method: "cat" } as const,
          { weights, method: "svd", rank } as const,
        ]) {
          const made = await combine(options);
          expect(await distance(change(made.model, made.params), sum), options.method).toBeLessThan(size);
          expect(paths(made.params).sort()).toEqual(["bias", "loraA", "loraB", "weight"]);
          const y = base.apply({ ...params, weight: at(params, "weight").add(sum) }, x);
          expect(await distance(made.model.apply(made.params, x), y)).toBeLessThan(10 * size);
        }
        for (const method of ["cat", "linear", "svd"] as const) {
          const made = await combine({ weights: { one: 1 }, method });
          const own = change(layer("one"), params);
          expect(await distance(change(made.model, made.params), own), method).toBeLessThan(
            100 * eps * (1 + (await largest(own))),
          );
        }
        expect(await bits(params)).toEqual(before);
      }),
      tries,
    );
  });

  test("attenuation: 0 is the base, 1 the adapter, bit for bit; singular values are multiplied between", async () => {
    await fc.assert(
      fc.asyncProperty(draws, fc.double({ min: 0, max: 1.5, noNaN: true }), async (draw, t) => {
        const { base, config, seed, x } = drawn(draw);
        const model = lora.inject(base, { ...config, branchBias: true, init: "random" });
        const params = model.init(seed);
        await tree.evaluate(params);
        const outputs = async (p: Params) => [
          await bits(model.apply(p, x)),
          await bits(lora.merge(model, p)),
        ];
        const off = [
          await bits(base.apply(params, x)),
          await bits({ weight: params.weight, bias: params.bias }),
        ];
        expect(await outputs(lora.attenuate(model, params, 1))).toEqual(await outputs(params));
        expect(await outputs(lora.attenuate(model, params, 0))).toEqual(off);
        const all = await lora.attenuateSpectrum(model, params, () => 1);
        expect(await outputs(all)).toEqual(await outputs(params));
        const none = await lora.attenuateSpectrum(
          model,
          { ...params, loraBias: zerosLike(at(params, "loraBias")) },
          () => 0,
        );
        expect(await outputs(none)).toEqual(off);

        const spectrum = async (p: Params) => [...(await lora.spectrum(model, p))[""]!];
        const whole = await spectrum(params);
        const tolerance = 50 * eps * (1 + whole[0]!);
        for (const [i, value] of (await spectrum(lora.attenuate(model, params, t))).entries())
          expect(Math.abs(value - t * whole[i]!)).toBeLessThan(tolerance);
        const cut = await lora.attenuateSpectrum(model, params, (_, i) => (i === 0 ? t : 0));
        for (const [i, value] of (await spectrum(cut)).entries())
          expect(Math.abs(value - (i === 0 ? t * whole[0]! : 0))).toBeLessThan(tolerance);
      }),
      tries,
    );
  });
});

describe("on cpu", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  const block = (size: number) => nn.sequential({ q: nn.linear(size, size), norm: nn.layerNorm(size) });
  const model = nn.sequential({
    tok: nn.embedding(9, 4),
    first: block(4),
    second: block(4),
    head: nn.linear(4, 9),
  });
  const config = { r: 2, alpha: 4 } as const;

  describe("patterns", () => {
    const ranks = (more: Partial<lora.InjectConfig>) =>
      Object.fromEntries(
        tree
          .entries(lora.inject(model, { ...config, targetModules: ["tok", "q", "head"], ...more }).init(key))
          .filter(([path]) => path.endsWith("loraA"))
          .map(([path, leaf]) => [path.slice(0, -".loraA".length), leaf.shape[0]]),
      );

    test("keys match a path or its end as regular expressions, the first that does", () => {
      expect(ranks({ rankPattern: { "first.q": 1, q: 3 } })).toEqual({
        tok: 2,
        "first.q": 1,
        "second.q": 3,
        head: 2,
      });
      expect(ranks({ rankPattern: { q: 3, "first.q": 1 } })).toMatchObject({ "first.q": 3, "second.q": 3 });
      expect(ranks({ rankPattern: { "(first|tok).*": 4 } })).toEqual({
        tok: 4,
        "first.q": 4,
        "second.q": 2,
        head: 2,
      });
      expect(ranks({ rankPattern: { "^tok": 1 } })).toMatchObject({ tok: 1, head: 2 });
    });

    test("alpha and rank give each layer its own scaling, with rsLoRA too", () => {
      const scalings = (more: object) =>
        lora
          .adaptedLayers(lora.inject(model, { ...config, ...all, ...more }))
          .map(([, layer]) => layer.adapters[""]!.scaling.value);
      const more = { alphaPattern: { head: 8 }, rankPattern: { "second.q": 4 } };
      expect(scalings(more)).toEqual([2, 1, 4]);
      expect(scalings({ ...more, rsLora: true })).toEqual([4 / Math.SQRT2, 2, 8 / Math.SQRT2]);
    });

    test("refuses keys that match nothing, are no expressions, and bad values", () => {
      expect(() => ranks({ rankPattern: { irst: 1 } })).toThrow(
        "lora.inject: rankPattern: the key irst matches none of the adapted layers: tok, first.q, second.q, head",
      );
      expect(() => ranks({ alphaPattern: { norm: 1 } })).toThrow("alphaPattern: the key norm matches none");
      expect(() => ranks({ rankPattern: { "(": 1 } })).toThrow("the key ( is not a regular expression");
      expect(() => ranks({ rankPattern: { q: 0 } })).toThrow("r is 0");
      expect(() => ranks({ rankPattern: { "(q)\\1": 1 } })).toThrow("have no back references");
      expect(() => ranks({ alphaPattern: { q: Number.NaN } })).toThrow("alpha is NaN");
    });
  });

  test("embeddings are adapted where they are named, and count", () => {
    const adapted = lora.inject(model, { ...config, targetModules: ["tok"] });
    expect(lora.trainableCount(adapted.init(key))).toBe(2 * (9 + 4));
    expect(lora.adaptedLayers(lora.inject(model, { ...config, ...all })).map(([path]) => path)).not.toContain(
      "tok",
    );
    expect(() => lora.inject(model, { ...config, targetModules: ["tok"], dora: true })).toThrow(
      "dora adapts linear, conv1d, conv2d, conv3d layers",
    );
    expect(() => lora.inject(model, { ...config, targetModules: ["nothing"] })).toThrow(
      "Embeddings are: tok.",
    );
  });

  test("partition trains the biases it is told to, and the adapters of the names given", () => {
    const params = lora.inject(model, { ...config, targetModules: ["q"], dora: true }).init(key);
    const trained = (options: lora.PartitionOptions, from: Params = params) => {
      const [own, frozen] = lora.partition(from, options);
      expect(tree.combine(frozen, own)).toEqual(from);
      return paths(own).map((path) => path.replace("first", "1").replace("second", "2"));
    };
    const adapters = ["loraA", "loraB", "loraMagnitude"];
    const of = (layer: string) => adapters.map((name) => `${layer}.${name}`);
    expect(trained({})).toEqual([...of("1.q"), ...of("2.q")]);
    expect(trained({ bias: "lora_only" })).toEqual(["1.q.bias", ...of("1.q"), "2.q.bias", ...of("2.q")]);
    expect(trained({ bias: "all" })).toEqual([
      "1.q.bias",
      ...of("1.q"),
      "1.norm.bias",
      "2.q.bias",
      ...of("2.q"),
      "2.norm.bias",
      "head.bias",
    ]);
    const named = lora.injectNamed(model, {
      a: { ...config, targetModules: ["q"] },
      b: { ...config, targetModules: ["head"] },
    });
    expect(trained({ adapters: ["b"], bias: "lora_only" }, named.init(key))).toEqual([
      "head.bias",
      "head.b.loraA",
      "head.b.loraB",
    ]);
    expect(() => lora.partition(params, { bias: "some" as "all" })).toThrow('bias is "some"; it is "none"');
    expect(() => lora.partition(named.init(key), { adapters: ["c"] })).toThrow(
      'no adapter "c". There are: a, b.',
    );
  });

  test("adapters with a name stay when others are added, and one made alone can be given a name", async () => {
    const base = nn.linear(4, 3);
    const alone = lora.inject(base, { ...config, ...all, init: "random" });
    const given = alone.init(key);
    const both = lora.injectNamed(base, { old: { ...config, ...all }, fresh: { ...config, ...all } });
    const params = both.init(random.key(1), lora.nameAdapter(alone, given, "old"));
    expect(paths(params)).toEqual(["weight", "bias", "old.loraA", "old.loraB", "fresh.loraA", "fresh.loraB"]);
    const x = ones([2, 4]);
    expect(await bits(lora.setAdapter(both, "old").apply(params, x))).toEqual(
      await bits(alone.apply(given, x)),
    );
  });

  test("orthogonal: B A = 0 with neither zero; gaussian has standard deviation 1 / r", async () => {
    const wide = nn.linear(96, 64);
    const model = lora.inject(wide, { r: 8, alpha: 8, init: "orthogonal", ...all });
    const params = await lora.initialize(model, key);
    const [a, b] = [at(params, "loraA"), at(params, "loraB")];
    expect(await largest(b.matmul(a))).toBeLessThan(1e-6);
    // Each entry is a tenth of a normal number times a row of half of an orthogonal matrix: variance 0.01 / 2.
    for (const x of [a, b]) expect(await x.std().item()).toBeCloseTo(0.1 * Math.SQRT1_2, 2);
    const normal = lora.inject(wide, { r: 8, alpha: 8, init: "gaussian", ...all }).init(key);
    expect((await at(normal, "loraA").std().item()) * 8).toBeCloseTo(1, 1);
    expect(await largest(at(normal, "loraB"))).toBe(0);
    expect(() => lora.inject(wide, { r: 3, alpha: 1, init: "orthogonal", ...all })).toThrow(
      "r is even. Use r 4.",
    );
    expect(() => model.init(key)).toThrow("Use await lora.initialize(model, key, params)");
  });

  test("PiSSA takes the largest singular values of the weight, divided by the scaling between both sides", async () => {
    const base = nn.linear(6, 5, { dtype: "float64" });
    const given = base.init(key);
    const model = lora.inject(base, { ...config, alpha: 6, init: "pissa", ...all });
    const params = await lora.initialize(model, key, given);
    const { s } = await svd(columnsOf(await at(given, "weight").data(), 5, 6));
    const found = (await lora.spectrum(model, params))[""]!;
    for (const [i, value] of found.entries()) expect(value).toBeCloseTo(s[i]!, 12);
    const { s: rest } = await svd(columnsOf(await at(params, "weight").data(), 5, 6));
    for (const [i, value] of [...s.slice(2), 0, 0].entries()) expect(rest[i]).toBeCloseTo(value, 12);
    const [a, b] = [at(params, "loraA"), at(params, "loraB")];
    const rows = await a.square().sum(1).data();
    const columns = await b.square().sum(0).data();
    for (const i of [0, 1]) {
      expect(rows[i]).toBeCloseTo(s[i]! / 3, 12);
      expect(columns[i]).toBeCloseTo(s[i]! / 3, 12);
    }
    expect(() => lora.injectNamed(base, { one: { ...config, init: "pissa", ...all } })).toThrow(
      "starts as pissa, which changes the weight that all adapters share",
    );
  });

  test("what PiSSA learned is an ordinary adapter of the base: the trained one less the first", async () => {
    const base = nn.linear(6, 5, { dtype: "float64" });
    const given = base.init(key);
    const model = lora.inject(base, { ...config, init: "pissa", ...all });
    const first = await lora.initialize(model, key, given);
    const trained = { ...first, loraB: at(first, "loraB").add(random.normal(key, [5, 2]).astype("float64")) };
    const two = lora.injectNamed(base, { first: { ...config, ...all }, trained: { ...config, ...all } });
    const both = tree.combine<Params>(
      lora.nameAdapter(model, first, "first"),
      lora.nameAdapter(model, trained, "trained"),
    );
    const made = await lora.combineAdapters(two, both, { weights: { trained: 1, first: -1 }, method: "cat" });
    const x = random.normal(key.fold("x"), [3, 6]).astype("float64");
    const y = made.model.apply({ ...made.params, ...given }, x);
    expect(await distance(y, model.apply(trained, x))).toBeLessThan(1e-12);
  });

  test("combinations keep to the layers that have adapters, add branch biases, and refuse what they cannot do", async () => {
    const two = lora.injectNamed(model, {
      a: { ...config, targetModules: ["first.q"], branchBias: true },
      b: { ...config, r: 1, targetModules: ["first.q", "head"] },
      d: { ...config, targetModules: ["first.q"], dora: true },
    });
    const fresh = two.init(key);
    const params = tree.map(fresh, (leaf, path) => (path.endsWith("loraBias") ? ones(leaf.shape) : leaf));
    const combine = (options: object) =>
      lora.combineAdapters(two, params, {
        method: "cat",
        weights: { a: 1 },
        ...options,
      } as lora.CombineOptions);
    const made = await combine({ weights: { a: 3, b: 1 } });
    expect(lora.adaptedLayers(made.model).map(([path]) => path)).toEqual(["first.q", "head"]);
    const q = (made.params.first as Params).q as Params;
    expect([at(q, "loraA").shape, await at(q, "loraBias").toArray()]).toEqual([
      [3, 4],
      [6, 6, 6, 6],
    ]);
    expect(paths((await combine({})).params)).not.toContain("head.loraA");
    await expect(combine({ method: "linear", weights: { a: 1, b: 1 } })).rejects.toThrow(
      "linear needs equal ranks; at first.q a has 2 and b has 1. Use cat or svd.",
    );
    await expect(combine({ weights: { z: 1 } })).rejects.toThrow(
      'no adapter "z". Its adapters are: a, b, d.',
    );
    await expect(combine({ weights: { a: Number.NaN } })).rejects.toThrow("the weight of a is NaN");
    await expect(combine({ weights: {} })).rejects.toThrow("names no adapter");
    await expect(combine({ method: "mean" })).rejects.toThrow("method is mean");
    await expect(combine({ method: "svd", rank: 0 })).rejects.toThrow("rank is 0");
    await expect(combine({ weights: { d: 1 } })).rejects.toThrow('"d" of first.q is DoRA');
  });

  test("attenuation per layer, of DoRA, and bad strengths", async () => {
    const adapted = lora.inject(model, { ...config, ...all, init: "random" });
    const params = adapted.init(key);
    const less = lora.attenuate(adapted, params, { q: 0.5, head: 0 });
    const found = await lora.spectrum(adapted, less);
    const whole = await lora.spectrum(adapted, params);
    expect(found["first.q"]![0]! / whole["first.q"]![0]!).toBeCloseTo(0.5, 6);
    expect([...found.head!]).toEqual([0, 0]);
    for (const bad of [-1, Number.NaN, Infinity])
      expect(() => lora.attenuate(adapted, params, bad)).toThrow(
        `the strength is ${bad}; it is a finite number >= 0`,
      );
    expect(() => lora.attenuate(adapted, params, { nothing: 1 })).toThrow("the key nothing matches none");
    await expect(lora.attenuateSpectrum(adapted, params, () => -1)).rejects.toThrow("a share is -1");

    const base = nn.linear(4, 3);
    const dora = lora.inject(base, { ...config, ...all, dora: true });
    const moved = { ...dora.init(key), loraB: random.normal(key, [3, 2]), loraMagnitude: ones([3]) };
    const x = ones([1, 4]);
    expect(await bits(dora.apply(lora.attenuate(dora, moved, 1), x))).toEqual(
      await bits(dora.apply(moved, x)),
    );
    expect(await distance(dora.apply(lora.attenuate(dora, moved, 0), x), base.apply(moved, x))).toBeLessThan(
      1e-6,
    );
    await expect(lora.attenuateSpectrum(dora, moved, () => 1)).rejects.toThrow("is DoRA");
  });

  test("the error of merging is measured: near half a unit for a small change, and unmerging within one unit", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: 1000 }), fc.boolean(), fc.boolean(), async (seed, dora, small) => {
        const initScale = { B: small ? 2 ** -10 : 1 };
        const adapted = lora.inject(nn.mlp([16, 24, 8]), {
          ...config,
          ...all,
          init: "random",
          initScale,
          dora,
        });
        // Weights of 1/2 and more: a unit in the last place is at least 2^-24.
        const params = tree.map(adapted.init(random.key(seed)), (leaf, path) => {
          if (path.endsWith("weight")) return leaf.abs().add(0.5);
          return path.endsWith("loraMagnitude") ? leaf.mul(1.1) : leaf;
        });
        const errors = await lora.mergeError(adapted, params);
        expect(Object.keys(errors)).toEqual(["fc1", "fc2"]);
        for (const { merge, unmerge } of Object.values(errors)) {
          expect(merge).toBeGreaterThan(0);
          if (!dora) expect(unmerge).toBeLessThanOrEqual(1);
          // The change is below 2^-10, and its rounding negligible beside that of the sum, half a unit.
          if (small && !dora) expect(merge).toBeLessThan(0.51);
          if (small && dora) expect(Math.max(merge, unmerge)).toBeLessThan(4);
        }
      }),
      { numRuns: 20 },
    );
    const double = lora.inject(nn.linear(2, 2, { dtype: "float64" }), { ...config, ...all });
    await expect(lora.mergeError(double, double.init(key))).rejects.toThrow("float32 only");
  });

  test("refuses unknown adapters, bad names and choices, and merges that are not one change", () => {
    const named = lora.injectNamed(model, { a: { ...config, ...all }, d: { ...config, ...all, dora: true } });
    const params = named.init(key);
    expect(() => lora.setAdapter(named, "b")).toThrow(
      'the model has no adapter "b". Its adapters are: a, d.',
    );
    expect(() => lora.setAdapter(named, ["a", "a"])).toThrow('"a" is named twice');
    expect(() => lora.perSample(named, ones([2]))).toThrow("expected int32[batch]");
    expect(() => lora.perSample(named, undefined as unknown as Tensor)).toThrow(
      "the choice is undefined; expected",
    );
    const mixed = lora.perSample(named, tensor([0, 1], { dtype: "int32" }));
    expect(() => mixed.apply(params, tensor([1, 2, 3], { dtype: "int32" }))).toThrow(
      "another number of samples",
    );
    expect(() => lora.merge(mixed, params)).toThrow("an adapter for each sample");
    expect(() => lora.merge(named, params)).toThrow("a and d act on one layer, and one of them is DoRA");
    for (const name of ["", "weight", "bias", "a.b", "loraA"])
      expect(() => lora.injectNamed(model, { [name]: { ...config, ...all } })).toThrow("cannot be called");
    expect(() => lora.injectNamed(model, {})).toThrow("there is no adapter");
    expect(() => named.apply(model.init(key), tensor([1], { dtype: "int32" }))).toThrow(
      "have no adapter a here",
    );
    const dora = lora.setAdapter(named, "d");
    const { loraFactor: _, ...head } = lora.merge(dora, params).head as Params;
    expect(() =>
      lora.unmerge(dora, { ...lora.merge(dora, params), head }, lora.partition(params)[0]),
    ).toThrow("its loraFactor is gone");
    expect(() => lora.inject(model, { ...config, ...all, dora: true, branchBias: true })).toThrow(
      "two kinds of adapters",
    );
    const table = lora.embedding(nn.embedding(4, 2), { ...config, branchBias: true });
    expect(Object.keys(table.init(random.key(0)))).toEqual(["weight", "loraA", "loraB"]);
    const plain = lora.linear(nn.linear(4, 3), config);
    const stray = { ...plain.init(random.key(0)), loraMagnitude: ones([3]) };
    expect(() => plain.apply(stray, ones([1, 4]))).toThrow("a loraMagnitude here, and the adapter is LoRA");
  });

  test.each(["LoRA", "DoRA"])(
    "%s: no kernel of a training step writes a matrix of the size of B A",
    async (kind) => {
      const [inputs, outputs, r, batch] = [96, 80, 4, 6];
      const adapted = lora.inject(nn.linear(inputs, outputs), { r, alpha: 8, ...all, dora: kind === "DoRA" });
      const [own, frozen] = lora.partition(adapted.init(key));
      const x = random.normal(key, [batch, inputs]);
      const step = compile((own: Params, frozen: Params, x: Tensor) => {
        const loss = (own: Params) => adapted.apply(tree.combine(frozen, own), x).square().sum();
        return [loss(own), grad(loss)(own)];
      });
      await step(own, frozen, x);
      const { schedule, bytes } = step.inspect();
      const size = `[${inputs * outputs}]`;
      const lines = schedule.split("\n").filter((line) => line.includes(size));
      expect(lines.length).toBeGreaterThan(0); // the weight is read
      expect(lines.filter((line) => line.includes("writes") || line.split(size).length > 2)).toEqual([]);
      expect(bytes).toBeLessThan(4 * outputs * inputs);
    },
  );
});
