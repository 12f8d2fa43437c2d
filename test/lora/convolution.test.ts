import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as adapters from "../../src/adapters/index.ts";
import { type Device, grad, init, random, type Tensor, tree } from "../../src/index.ts";
import { openFolder, safetensors } from "../../src/io/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import type { Params } from "../../src/nn/layer.ts";
import { describeComposed } from "../devices.ts";
import { scratch } from "../scratch.ts";
import { everyNth } from "../thorough.ts";

// Adapters on convolutions: against the convolution with W + s B A for its weight, computed here from the factors, with
// oblong windows, strides, padding and dilation, a scaling other than 1 and B other than 0.

const key = random.key(5);
const draw = (name: string, shape: readonly number[]) =>
  random.normal(key.fold(name), shape).mul(0.3) as Tensor;

const shapes = [
  { name: "conv1d", base: nn.conv1d(3, 5, 4, { stride: 2, padding: 1 }), x: [2, 3, 11] },
  {
    name: "conv2d",
    base: nn.conv2d(2, 4, [2, 3], { stride: [2, 1], padding: [0, 2], dilation: [1, 2] }),
    x: [3, 2, 6, 7],
  },
  {
    name: "conv3d",
    base: nn.conv3d(2, 3, [1, 2, 3], { padding: [0, 1, 0], bias: false }),
    x: [1, 2, 3, 4, 5],
  },
] as const;

/** The tensors of an adapter. */
interface Own {
  readonly loraA: Tensor;
  readonly loraB: Tensor;
  readonly loraMagnitude?: Tensor;
  readonly loraBias?: Tensor;
}

/** Those of its layer. */
interface Given {
  readonly weight: Tensor;
  readonly bias?: Tensor;
}

const kinds: readonly { name: string; options: { dora?: boolean; branchBias?: boolean } }[] = [
  { name: "LoRA", options: {} },
  { name: "DoRA", options: { dora: true } },
  { name: "with a branch bias", options: { branchBias: true } },
];

/** Each shape and each kind once, and all pairs where every case is wanted. */
const cases = everyNth(
  4,
  shapes.flatMap((shape) => kinds.map((kind) => ({ ...shape, kind }))),
);

const ownOf = (params: Params) =>
  Object.fromEntries(Object.entries(params).filter(([name]) => name.startsWith("lora"))) as unknown as Own;

const valuesOf = async (all: Own) =>
  Promise.all(Object.entries(all).map(async ([name, x]) => [name, await (x as Tensor).toArray()]));

/** An adapter that was trained: other values of all but A. */
const moved = (params: Params): Own => {
  const { loraA, ...others } = ownOf(params);
  const drawn = Object.entries(others).map(([name, x]) => [name, draw(name, (x as Tensor).shape)]);
  return { loraA, ...Object.fromEntries(drawn) };
};

/** The largest difference beside the largest size. */
const distance = async (x: Tensor, y: Tensor) => {
  expect(x.shape).toEqual(y.shape);
  return (await x.sub(y).abs().amax().item()) / (await y.abs().amax().item());
};

describeComposed("adapters on convolutions", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test.each(cases)(
    "$name, $kind.name: beside the weight, in it, and out again",
    async ({ base, x: shape, kind }) => {
      const adapted = lora.inject(nn.sequential({ c: base }), {
        r: 2,
        alpha: 3,
        rsLora: true,
        targetModules: ["c"],
        ...kind.options,
      });
      const start = adapted.init(key) as { c: Params & Own & Given };
      const { weight, bias } = start.c;
      const inputs = weight.size / base.out;
      expect(start.c.loraA.shape).toEqual([2, inputs]);
      expect(start.c.loraB.shape).toEqual([base.out, 2]);
      // PyTorch's bound of a convolution like the layer's.
      expect(await start.c.loraA.abs().amax().item()).toBeLessThanOrEqual(1 / Math.sqrt(inputs));
      const x = draw("x", shape);
      expect(await distance(adapted.apply(start, x), base.apply(start.c, x))).toBeLessThan(2e-6);

      const params = { c: { ...start.c, ...moved(start.c) } };
      const own = ownOf(params.c);
      /** The layer with the formula of the adapter in its weight, and what it adds beside it. */
      const formula = ({ loraA, loraB, loraMagnitude, loraBias }: Own) => {
        const direction = loraB
          .matmul(loraA)
          .mul(3 / Math.SQRT2)
          .reshape(weight.shape)
          .add(weight);
        const perOutput = (v: Tensor, axes: number) => v.reshape([base.out, ...Array(axes).fill(1)]);
        const rest = weight.shape.slice(1).map((_, i) => i + 1);
        // As in PEFT no gradient goes through the length.
        const length = direction.square().sum(rest).sqrt().detach();
        const changed = loraMagnitude
          ? direction.mul(perOutput(loraMagnitude.div(length), rest.length))
          : direction;
        const y = base.apply({ ...(bias && { bias }), weight: changed }, x);
        const added = loraBias?.mul(3 / Math.SQRT2);
        return { weight: changed, y: added ? y.add(perOutput(added, rest.length - 1)) : y };
      };
      const expected = formula(own);
      expect(await distance(adapted.apply(params, x), expected.y)).toBeLessThan(4e-6);
      expect(await distance(base.apply(params.c, x), expected.y)).toBeGreaterThan(1e-2);
      const slopes = (apply: (own: Own) => Tensor) => grad((own: Own) => apply(own).square().sum())(own);
      const [found, wanted] = [
        slopes((own) => adapted.apply({ c: { ...params.c, ...own } }, x)),
        slopes((own) => formula(own).y),
      ];
      for (const [name, slope] of Object.entries(wanted))
        expect(await distance(found[name as keyof Own]!, slope!), name).toBeLessThan(1e-5);

      if (kind.options.branchBias && !bias) {
        expect(() => lora.merge(adapted, params)).toThrow("has no bias of the base layer to go into");
        return;
      }
      const merged = lora.merge(adapted, params) as { c: { weight: Tensor } };
      expect(await distance(merged.c.weight, expected.weight)).toBeLessThan(2e-6);
      expect(await distance(base.apply(merged.c, x), expected.y)).toBeLessThan(4e-6);
      const [adapter] = lora.partition(params);
      const back = lora.unmerge(adapted, merged, adapter) as typeof params & { c: { weight: Tensor } };
      expect(await distance(back.c.weight, weight)).toBeLessThan(2e-6);
      const error = Object.values(await lora.mergeError(adapted, params))[0]!;
      expect(Math.max(error.merge, error.unmerge)).toBeLessThan(16);
    },
  );

  test.each(kinds)("$name: partners by powers of two compute the same bits", async ({ options }) => {
    const { base, x: shape } = shapes[1];
    const x = draw("x", shape);
    const adapt = (alpha: number) =>
      lora.inject(nn.sequential({ c: base }), { r: 2, alpha, targetModules: ["c"], ...options });
    const start = adapt(8).init(key) as { c: Params & Own };
    const act = async (alpha: number, given: Own) => {
      const model = adapt(alpha);
      const own = await tree.evaluate(given); // a driver may fuse what makes them into what uses them
      const apply = (varied: Own) => model.apply({ c: { ...start.c, ...varied } }, x);
      const slopes = grad((varied: Own) => apply(varied).square().sum())(own);
      const { weight } = lora.merge(model, { c: { ...start.c, ...own } }).c as { weight: Tensor };
      return Promise.all([apply(own), weight, slopes.loraA, slopes.loraB].map((x) => x.data()));
    };
    const own = moved(start.c);
    const [y, weight, a, b] = await act(8, own);
    // k a b = 1 with k = 1/4, a = 2, b = 2; a branch bias lies inside the scaling.
    const partner = { ...own, loraA: own.loraA.mul(2), loraB: own.loraB.mul(2) };
    const found = await act(2, own.loraBias ? { ...partner, loraBias: own.loraBias.mul(4) } : partner);
    const doubled = (values: ArrayLike<number>) => Float32Array.from(values, (v) => 2 * v);
    expect([found[0], found[1], doubled(found[2]!), doubled(found[3]!)]).toEqual([y, weight, a, b]);
  });

  test("DoRA goes back to the base as it is attenuated, and rounds once beside float16", async () => {
    const base = shapes[1].base;
    const config = { r: 2, alpha: 3, dora: true, targetModules: ["c"] };
    const adapted = lora.inject(nn.sequential({ c: base }), config);
    const start = adapted.init(key) as { c: Params & Own & Given };
    const params = { c: { ...start.c, ...moved(start.c) } };
    const x = draw("x", shapes[1].x);
    const at = (strength: number) => adapted.apply(lora.attenuate(adapted, params, strength), x);
    expect(await at(1).toArray()).toEqual(await adapted.apply(params, x).toArray());
    expect(await distance(at(0), base.apply(params.c, x))).toBeLessThan(2e-6);
    const half = { c: { ...params.c, weight: params.c.weight.astype("float16") } };
    const bias = params.c.bias!.astype("float16");
    const y = adapted.apply({ c: { ...half.c, bias } }, x.astype("float16"));
    expect(y.dtype).toBe("float16");
    expect(await distance(y.astype("float32"), adapted.apply(params, x))).toBeLessThan(4e-3);
  });
});

describe("adapters on convolutions", () => {
  const { root } = scratch("convolutions");
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  test("refuse groups", () => {
    const model = nn.sequential({ c: nn.conv2d(4, 4, 3, { groups: 2 }) });
    const config = { r: 2, alpha: 2 };
    expect(() => lora.inject(model, { ...config, targetModules: ["c"] })).toThrow(
      "the target is a conv2d that has no adapter: it has 2 groups",
    );
  });

  test("PiSSA takes the largest part of the weight as a matrix", async () => {
    const base = nn.conv2d(2, 4, [2, 3]);
    const model = lora.inject(nn.sequential({ c: base }), {
      r: 4,
      alpha: 4,
      init: "pissa",
      targetModules: ["c"],
    });
    const given = { c: base.init(key) };
    const params = (await lora.initialize(model, key, given)) as { c: { weight: Tensor } };
    // At the full rank nothing is left.
    expect(await params.c.weight.abs().amax().item()).toBeLessThan(1e-6);
    const merged = lora.merge(model, params) as { c: { weight: Tensor } };
    expect(await distance(merged.c.weight, given.c.weight as Tensor)).toBeLessThan(1e-6);
  });

  test("DoRA is the formula in float64, computed by plain loops", async () => {
    const base = nn.conv2d(2, 3, [2, 3], { stride: [2, 1], padding: [0, 1], dtype: "float64" });
    const adapted = lora.inject(base, { r: 2, alpha: 3, dora: true, targetModules: [/^$/] });
    const start = adapted.init(key) as Params & Own;
    const draw64 = (name: string, shape: readonly number[]) => draw(name, shape).astype("float64") as Tensor;
    const own = {
      loraA: start.loraA,
      loraB: draw64("B", [3, 2]),
      loraMagnitude: draw64("m", [3]),
    };
    const params = { ...start, ...own };
    const input = draw64("x", [1, 2, 4, 5]);
    const y = await adapted.apply(params, input).data();
    const [w, bias, a, b, m, x] = await Promise.all(
      [start.weight as Tensor, start.bias as Tensor, own.loraA, own.loraB, own.loraMagnitude, input].map(
        (tensor) => tensor.data(),
      ),
    );
    const expected: number[] = [];
    for (let out = 0; out < 3; out++) {
      const row = Array.from({ length: 12 }, (_, j) => {
        const change = b![out * 2]! * a![j]! + b![out * 2 + 1]! * a![12 + j]!;
        return w![out * 12 + j]! + 1.5 * change;
      });
      const factor = m![out]! / Math.hypot(...row);
      for (let i = 0; i < 4; i += 2)
        for (let j = -1; j < 4; j++) {
          let sum = 0;
          for (let place = 0; place < 12; place++) {
            const [channel, p, q] = [Math.floor(place / 6), Math.floor(place / 3) % 2, place % 3];
            const inside = j + q >= 0 && j + q < 5;
            if (inside) sum += row[place]! * x![channel * 20 + (i + p) * 5 + j + q]!;
          }
          expected.push(factor * sum + bias![out]!);
        }
    }
    expect(y.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(Math.abs(y[i]! - value)).toBeLessThan(1e-14);
  });

  test.each(cases)(
    "$name, $kind.name: files of PEFT have the axes of its layers, come back, and are merged",
    async ({ base, kind }) => {
      const model = nn.sequential({ c: base });
      const adapted = lora.inject(model, { r: 2, alpha: 3, targetModules: ["c"], ...kind.options });
      const start = adapted.init(key) as { c: Params & Own & { weight: Tensor } };
      const params = { c: { ...start.c, ...moved(start.c) } };
      const folder = join(root, `${base.kind} ${kind.name}`);
      await adapters.write(folder, adapters.extract(adapted, params), "peft");
      const file = await safetensors.open(join(folder, "adapter_model.safetensors"));
      const [inputs, ...window] = start.c.weight.shape.slice(1);
      const places = window.map(() => 1);
      // As PEFT 0.16 has them: tuners/lora/dora.py keeps the axes that it takes the norm over, and turns the first two.
      expect(Object.fromEntries(file.names.map((name) => [name, file.info(name).shape]))).toEqual({
        "base_model.model.c.lora_A.weight": [2, inputs, ...window],
        "base_model.model.c.lora_B.weight": [base.out, 2, ...places],
        ...(kind.options.dora && { "base_model.model.c.lora_magnitude_vector": [1, base.out, ...places] }),
        ...(kind.options.branchBias && { "base_model.model.c.lora_B.bias": [base.out] }),
      });
      const read = await adapters.open(folder);
      const again = adapters.inject(model, { c: base.init(key) }, read);
      expect(await valuesOf(ownOf(again.params.c as Params))).toEqual(await valuesOf(ownOf(params.c)));
      await expect(adapters.write(`${folder}-kohya.safetensors`, read, "kohya")).rejects.toThrow(
        "kohya's form has no place for the convolution c",
      );
      const checkpoint = join(root, "checkpoint", base.kind);
      await safetensors.write(join(checkpoint, "model.safetensors"), { "c.weight": params.c.weight });
      const merging = adapters.mergeCheckpoint(await openFolder(checkpoint), read, `${folder} merged`);
      if (kind.options.branchBias) {
        await expect(merging).rejects.toThrow("of which more than the weight changes");
        return;
      }
      await merging;
      const merged = await safetensors.open(join(`${folder} merged`, "model.safetensors"));
      const { weight } = lora.merge(adapted, params).c as { weight: Tensor };
      expect(await distance(await merged.read("c.weight"), weight)).toBeLessThan(2e-6);
    },
  );

  test("files for convolutions with other windows, or with a magnitude of another form, are refused", async () => {
    const { base } = shapes[1];
    const adapted = lora.inject(nn.sequential({ c: base }), {
      r: 2,
      alpha: 3,
      dora: true,
      targetModules: ["c"],
    });
    const folder = join(root, "other");
    await adapters.write(folder, adapters.extract(adapted, adapted.init(key)), "peft");
    const read = await adapters.open(folder);
    const other = nn.sequential({ c: nn.conv2d(2, 4, [3, 2]) });
    expect(() => adapters.inject(other, {}, read)).toThrow(
      "c has windows of [3,2], and its factors of [2,3]",
    );
    const path = join(folder, "adapter_model.safetensors");
    const file = await safetensors.open(path);
    const tensors = Object.fromEntries(
      await Promise.all(file.names.map(async (name) => [name, await file.read(name)] as const)),
    );
    const name = "base_model.model.c.lora_magnitude_vector";
    await safetensors.write(path, { ...tensors, [name]: tensors[name]!.reshape([4, 1, 1, 1]) });
    await expect(adapters.open(folder)).rejects.toThrow(
      "c has the magnitude (DoRA) float32[4,1,1,1]; expected [out], here [4]",
    );
  });
});
