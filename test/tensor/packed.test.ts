import { beforeAll, describe, expect, test } from "vitest";
import { bytesPerElement } from "../../src/base/dtype.ts";
import * as accountant from "../../src/experiments/accountant.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import * as gauge from "../../src/gauge/index.ts";
import {
  compile,
  type Device,
  grad,
  type Inspection,
  init,
  isPacked,
  type PackFormat,
  type PackOptions,
  pack,
  random,
  type Tensor,
  tensor,
  tree,
  unpack,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { nf4Levels } from "../../src/tensor/codes.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { casesOn, thorough } from "../thorough.ts";
import { type Problem, type Setting, train } from "../trainer.ts";

// Weights in packed storage: what is stored, that no kernel writes a float copy of it, and that adapters on it keep
// their laws.

const key = random.key(31);
const formats: readonly PackFormat[] = ["bfloat16", "nf4", "int8", "dynamic8"];

const bitsPer = (packed: object, weights: number) =>
  tree.leaves(packed).reduce((sum, { size, dtype }) => sum + 8 * bytesPerElement(dtype) * size, 0) / weights;

/** Elements of the largest value that a kernel writes. */
function largestWritten({ schedule }: Inspection): number {
  const sizes = [...schedule.matchAll(/writes (.*)/g)].flatMap(([, list]) =>
    [...list!.matchAll(/\[(\d+)\]/g)].map(([, size]) => Number(size)),
  );
  return Math.max(...sizes);
}

describeBackends("packed weights", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });

  test("bfloat16 rounds to nearest even and keeps what is not finite", async () => {
    const cases = [
      [1, 1],
      [1 + 2 ** -8, 1], // halfway: to even
      [1 + 3 * 2 ** -8, 1 + 2 ** -6],
      [1 + 2 ** -8 + 2 ** -20, 1 + 2 ** -7],
      [-3 * 2 ** -9 * 2 ** 120 - 2 ** 120, -(2 ** 120) * (1 + 2 ** -7)],
      [3.4e38, Infinity],
      [-Infinity, -Infinity],
      [Number.NaN, Number.NaN],
      [-0, -0],
    ] as const;
    const packed = pack(tensor(cases.map(([x]) => x)), { format: "bfloat16" });
    const values = await unpack(packed).data();
    for (const [i, [, expected]] of cases.entries()) expect(values[i]).toBe(expected);
  });

  test.each(casesOn(backend, [[[3, 70]]], [[[16, 64]], [[7]], [[2, 5, 33]]]))(
    "every format is near what it packs: %j",
    async (shape) => {
      const weight = random.normal(key.fold("round trip"), shape);
      const values = await weight.data();
      const largest = Math.max(...Array.from(values, Math.abs));
      // Half of a step: of bfloat16's 8 bits, NF4's widest gap, a 127th, and the dynamic code's 64 steps of 0.9.
      const bounds: Readonly<Record<PackFormat, number>> = {
        bfloat16: 2 ** -8,
        nf4: 0.16,
        int8: 0.5 / 127,
        dynamic8: 0.0071,
      };
      for (const format of formats) {
        const packed = await tree.evaluate(pack(weight, { format }), device);
        const unpacked = unpack(packed);
        expect(unpacked.toString()).toBe(`float32[${shape.join(",")}]`);
        (await unpacked.data()).forEach((x, i) => {
          expect(Math.abs(x - values[i]!), format).toBeLessThanOrEqual(bounds[format] * largest * 1.01);
        });
      }
    },
  );

  test("NF4 takes the nearest level of each block, and zeros stay zero", async () => {
    const weight = random
      .normal(key.fold("levels"), [130])
      .mul(tensor(Array.from({ length: 130 }, (_, i) => (i < 64 ? 0 : i))));
    const values = await weight.data();
    const packed = pack(weight, { format: "nf4", absmax: "float" });
    const found = await unpack(packed).data();
    for (let start = 0; start < 130; start += 64) {
      const block = values.slice(start, start + 64);
      const scale = Math.max(...Array.from(block, Math.abs));
      block.forEach((x, i) => {
        const nearest = nf4Levels.reduce((best, level) =>
          Math.abs(x - level * scale) < Math.abs(x - best * scale) ? level : best,
        );
        expect(found[start + i]).toBe(Math.fround(nearest * scale) + 0);
      });
    }
  });

  longOn(backend)("magnitudes of blocks that are packed too keep the signs of small blocks", async () => {
    // Of one length, so that they share kernels, and one alone.
    const sizes = [
      [1, 1, 2.4, 1e-3, 1],
      [5, 1e-6, 1e-4, 4, 1e-2],
      [1, 0, 1e-30, 0, 0],
      [1e-3],
      [0, 0, 0, 0, 0],
      [3, 3, 3, 0.02, 2.9],
    ];
    for (const dtype of backend === "cpu"
      ? (["float32", "float64", "float16"] as const)
      : (["float32"] as const))
      for (const magnitudes of sizes)
        for (const absmax of ["int8", "dynamic8"] as const)
          for (const format of ["nf4", "int8", "dynamic8"] as const) {
            const values = magnitudes.flatMap((m) => Array.from({ length: 64 }, (_, i) => (i % 3 ? m : -m)));
            const weight = tensor(values, { dtype });
            const given = await weight.data();
            const back = unpack(pack(weight, { format, block: 64, absmax }));
            expect(back.dtype).toBe(dtype);
            // Half a step of the magnitudes, or a whole one where the nearest is not positive: at most 1/64 of the range.
            const range = Math.max(...magnitudes);
            (await back.data()).forEach((value, i) => {
              expect(Math.sign(value) === Math.sign(given[i]!)).toBe(true);
              expect(Math.abs(value - given[i]!)).toBeLessThanOrEqual(range / 40);
            });
          }
  });

  test("bits per weight are those of the accountant", async () => {
    const weight = random.normal(key.fold("bits"), [256, 512]);
    const bits = (options: PackOptions) => bitsPer(pack(weight, options), weight.size);
    expect(bits({ format: "bfloat16" })).toBe(16);
    expect(bits({ format: "nf4", absmax: "float" })).toBe(accountant.bitsPerWeight(accountant.nf4));
    // One offset for the whole weight.
    const offset = 32 / weight.size;
    expect(bits({ format: "nf4" })).toBe(accountant.bitsPerWeight(accountant.nf4Double) + offset);
    expect(bits({ format: "nf4" })).toBeCloseTo(4.127, 3);
    expect(bits({ format: "int8" })).toBe(8.125);
  });

  const shapes = casesOn<readonly [name: string, batch: number, out: number, inputs: number]>(
    backend,
    [["odd sizes", 19, 45, 37]],
    [
      ["one row", 1, 64, 96],
      ["one output", 48, 1, 192],
      ["a batch", 48, 64, 96],
    ],
  );
  test.each(shapes)(
    "no kernel writes a float copy, forward and backward: %s",
    async (_, batch, out, inputs) => {
      const x = random.normal(key.fold("x"), [batch, inputs]);
      const target = random.normal(key.fold("target"), [batch, out]);
      for (const format of casesOn<PackFormat>(
        backend,
        ["nf4"],
        formats.filter((format) => format !== "nf4"),
      )) {
        const packed = await tree.evaluate(
          pack(random.normal(key.fold("w"), [out, inputs]), { format }),
          device,
        );
        const forward = (x: Tensor, w: typeof packed): Tensor => x.matmul(unpack(w).transpose());
        const loss = (x: Tensor, w: typeof packed, t: Tensor) => forward(x, w).mul(t).sum();
        const step = compile(
          (x: Tensor, w: typeof packed, t: Tensor) => ({ y: forward(x, w), gradient: grad(loss)(x, w, t) }),
          { device },
        );
        const { y, gradient } = await step(x, packed, target);
        const inspection = step.inspect();
        // What is written are the results, and the scales.
        const scales = format === "nf4" ? Math.ceil((out * inputs) / 64) : 0;
        expect(largestWritten(inspection)).toBe(Math.max(batch * out, batch * inputs, scales));
        const weight = (await tree.evaluate(unpack(packed), device)) as Tensor<"float32">; // what was packed is
        const [wantedY, wantedGradient] = await referenceValues([
          x.matmul(weight.transpose()),
          target.matmul(weight),
        ]);
        await near(y, wantedY!);
        await near(gradient, wantedGradient!);
      }
    },
  );

  test("operands made from less than they are stay in the kernel, others are stored", async () => {
    const [a, b] = [random.normal(key.fold("a"), [40, 32]), random.normal(key.fold("b"), [32, 24])];
    const inspect = async (f: (a: Tensor, b: Tensor) => Tensor) => {
      const compiled = compile(f, { device });
      const [wanted] = await referenceValues([f(a, b)]);
      await near(await compiled(a, b), wanted!);
      return compiled.inspect();
    };
    const outer = await inspect((a, b) => a.matmul(b.slice([0, 0], [32, 1]).mul(b.slice([0, 0], [1, 24]))));
    expect(outer.kernels).toBe(2); // the slices are all of b
    const column = random.normal(key.fold("column"), [32, 1]);
    const small = await inspect((a) => a.matmul(column.mul(column.reshape([1, 32]))));
    expect(small.kernels).toBe(1);
    expect((await inspect((a, b) => a.matmul(b.abs()))).kernels).toBe(2);
  });

  test("a linear layer and an embedding take packed weights", async () => {
    const linear = nn.linear(24, 16);
    const embedding = nn.embedding(16, 24);
    const params = linear.init(key);
    const weight = pack(params.weight as Tensor, { format: "nf4" }); // a linear layer's is a tensor
    const x = random.normal(key.fold("input"), [5, 24]);
    const dense = { ...params, weight: unpack(weight) };
    expect(await linear.apply({ ...params, weight }, x).data()).toEqual(await linear.apply(dense, x).data());
    const index = tensor([3, 0, 15, 3], { dtype: "int32" });
    expect(await embedding.apply({ weight }, index).data()).toEqual(
      await embedding.apply({ weight: unpack(weight) }, index).data(),
    );
  });

  // Adapters are made of operations alone: see describeComposed.
  const composed: (name: string, suite: () => void) => void =
    backend === "cpu" || thorough ? describe : () => {};
  composed("under adapters", () => {
    const base = nn.mlp([32, 48, 16], { activation: "gelu" });
    const config = { r: 4, alpha: 10, init: "random", targetModules: "all-linear" } as const;
    const model = lora.inject(base, config);
    const build = (format: PackFormat) => {
      const packed = lora.packBase(model, base.init(key.fold("base")), { format });
      return tree.evaluate(model.init(key.fold("adapter"), packed), device);
    };
    /** The same parameters with dense weights. */
    const dense = (params: nn.Params): nn.Params =>
      Object.fromEntries(
        Object.entries(params).map(([name, child]) => {
          const { weight, ...rest } = child as nn.Params; // of a layer
          return [
            name,
            weight === undefined ? rest : { ...rest, weight: isPacked(weight) ? unpack(weight) : weight },
          ];
        }),
      );

    test("the adapted model computes what it does on the unpacked weight", async () => {
      const x = random.normal(key.fold("input"), [6, 32]);
      for (const format of formats) {
        const params = await build(format);
        const [wanted] = await referenceValues([model.apply(dense(params), x)]);
        await near(model.apply(params, x), wanted!);
        const [adapter, frozen] = lora.partition(params);
        expect(tree.entries(adapter).map(([path]) => path)).toEqual([
          "fc1.loraA",
          "fc1.loraB",
          "fc2.loraA",
          "fc2.loraB",
        ]);
        expect(lora.trainableCount(params)).toBe(4 * (32 + 48 + 48 + 16));
        expect(tree.leaves(frozen).some(({ size, dtype }) => dtype === "float32" && size >= 32 * 48)).toBe(
          false,
        );
      }
    });

    test("merging gives a dense weight, and unmerging what was unpacked", async () => {
      const params = await build("nf4");
      const [adapter] = lora.partition(params);
      const merged = lora.merge(model, params);
      const expected = lora.merge(model, dense(params));
      expect(
        tree
          .entries(merged)
          .map(([path]) => path)
          .sort(),
      ).toEqual(["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
      for (const [path, values] of tree.entries(expected)) {
        const found = tree.entries(merged).find(([other]) => other === path)![1];
        expect(await found.data(), path).toEqual(await values.data());
      }
      const again = lora.unmerge(model, merged, adapter);
      for (const layer of ["fc1", "fc2"] as const) {
        const [found, wanted] = [again, dense(params)].map(
          (all) => (all[layer] as nn.Params).weight as Tensor,
        );
        await near(found!, Float64Array.from(await wanted!.data()));
      }
    });

    test("DoRA starts from the lengths of the packed rows", async () => {
      const dora = lora.inject(base, { ...config, init: "standard", dora: true });
      const packed = lora.packBase(dora, base.init(key.fold("base")), { format: "nf4" });
      const params = dora.init(key.fold("adapter"), packed);
      const x = random.normal(key.fold("input"), [6, 32]);
      const [wanted] = await referenceValues([base.apply(dense(packed), x)]);
      await near(dora.apply(params, x), wanted!);
    });

    const optimizers = casesOn<gauge.Recipe["optimizer"]>(
      backend,
      [{ name: "adamw", lr: 1e-2 }],
      [{ name: "sgd", lr: 1e-2 }],
    );
    test.each(optimizers)(
      "a gauge of powers of two trains the same model with $name, bit for bit",
      async (optimizer) => {
        const problem: Problem = {
          base: nn.mlp([24, 16, 8]),
          inputs: 24,
          outputs: 8,
          batch: 6,
          adapter: { r: 4, targetModules: "all-linear" },
          trainBiases: false,
          loss: "mse",
        };
        const setting: Setting = { problem, dtype: "float32", seed: 5, steps: 4 };
        const recipe: gauge.Recipe = { r: 4, alpha: 10, init: "random", optimizer } as gauge.Recipe;
        const g = gauge.of({ a: 1 / 4, b: 1 / 2 });
        expect(gauge.bitwise(g)).toBe(true);
        const adapted = lora.inject(problem.base, { ...problem.adapter, ...config, r: 4 });
        const start = await tree.evaluate(
          adapted.init(
            key.fold("adapter"),
            lora.packBase(adapted, problem.base.init(key.fold("base")), { format: "nf4" }),
          ),
          device,
        );
        const one = await train(setting, recipe, { params: start, done: 0 });
        const other = await train(setting, gauge.apply(g, recipe), {
          params: gauge.applyParams(g, start),
          done: 0,
        });
        let seen = 0;
        for (const [t, step] of one.steps.entries()) {
          for (const [path, values] of step) {
            const by = path.endsWith("loraA") ? g.a : path.endsWith("loraB") ? g.b : 1;
            expect(other.steps[t]!.get(path), `${path} at ${t}`).toEqual(values.map((x) => x * by));
            seen++;
          }
        }
        expect(seen).toBe(4 * (2 + 4));
        const moved = tree.entries(one.end.params).filter(([path]) => path.endsWith("loraB"));
        for (const [path, B] of moved)
          expect(await B.data(), path).not.toEqual(
            await tree
              .entries(start)
              .find(([other]) => other === path)![1]
              .data(),
          );
      },
    );
  });
});

test("a float64 is rounded to bfloat16 once", async () => {
  await init({ backend: "cpu" });
  const cases = [
    [1 + 2 ** -8, 1],
    [1 + 2 ** -8 + 2 ** -40, 1 + 2 ** -7],
    [1 + 3 * 2 ** -8 - 2 ** -40, 1 + 2 ** -7],
    [-1 - 2 ** -8 - 2 ** -40, -1 - 2 ** -7],
    [1e300, Infinity],
    [-0, -0],
    [2 ** -134 * (1 + 2 ** -30), 2 ** -133],
    [Number.NaN, Number.NaN],
  ] as const;
  const x = tensor(Float64Array.from(cases, ([given]) => given));
  expect([...(await unpack(pack(x, { format: "bfloat16" })).data())]).toEqual(
    cases.map(([, rounded]) => rounded),
  );
});

test("a float64 weight unpacks to float64", async () => {
  await init({ backend: "cpu" });
  const weight = tensor([0.3, -1.7, 2.5], { dtype: "float64" });
  for (const format of formats) expect(unpack(pack(weight, { format })).dtype).toBe("float64");
  const [found] = await unpack(pack(weight, { format: "nf4", absmax: "float" }))
    .slice([2], [3])
    .data();
  expect(found).toBe(2.5);
});

describe("errors", () => {
  const weight = tensor([1, 2]);
  test.each([
    [
      "a format",
      () => pack(weight, { format: "nf3" as never }),
      /^pack: format is "nf3"; it is "bfloat16", "nf4"/,
    ],
    ["a block", () => pack(weight, { format: "nf4", block: 48 }), /^pack: block is 48; it is a power of two/],
    [
      "half a block",
      () => pack(weight, { format: "nf4", block: 0.5 }),
      /^pack: block is 0\.5; it is a power/,
    ],
    [
      "scales",
      () => pack(weight, { format: "nf4", absmax: "nf4" as never }),
      /^pack: absmax is "nf4"; it is "float"/,
    ],
    [
      "integers",
      () => pack(tensor([1], { dtype: "int32" }), { format: "nf4" }),
      /^pack: the weight is int32\[1\]/,
    ],
    [
      "no words",
      () => unpack({ like: weight, absmax: weight }),
      /^unpack: the tree has like, absmax, and no words/,
    ],
    [
      "float words",
      () => unpack({ like: weight, bfloat16: weight }),
      /^unpack: what is stored is float32\[2\]/,
    ],
    [
      "bits of int32",
      () => tensor([1], { dtype: "int32" }).bitcast(),
      /^bitcast: takes float32 or uint32; given int32/,
    ],
  ] as const)("%s: says so", (_, act, message) => {
    expect(act).toThrow(message);
  });

  test("a residual initialisation refuses a packed weight", async () => {
    await init({ backend: "cpu" });
    const model = lora.inject(nn.linear(8, 4), {
      r: 2,
      alpha: 3,
      init: "pissa",
      targetModules: "all-linear",
    });
    const packed = lora.packBase(model, model.base.init(key), { format: "nf4" });
    await expect(lora.initialize(model, key, packed)).rejects.toThrow(
      /^lora: the initialisation pissa changes the frozen weight, and this one is packed\./,
    );
  });
});

/** Within float32 rounding of the largest magnitude. */
async function near(found: Tensor, wanted: ArrayLike<number>): Promise<void> {
  const values = await found.data();
  expect(values.length).toBe(wanted.length);
  const largest = Math.max(...Array.from(wanted, Math.abs));
  for (let i = 0; i < values.length; i++)
    expect(Math.abs(values[i]! - wanted[i]!)).toBeLessThanOrEqual(2e-6 * largest);
}
