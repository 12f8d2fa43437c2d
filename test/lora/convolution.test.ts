import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as adapters from "../../src/adapters/index.ts";
import { type Device, init, random, type Tensor } from "../../src/index.ts";
import { safetensors } from "../../src/io/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import type { Params } from "../../src/nn/layer.ts";
import { describeComposed } from "../devices.ts";

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

  test.each(shapes)("$name: beside the weight, in it, and out again", async ({ base, x: shape }) => {
    const adapted = lora.inject(nn.sequential({ c: base }), {
      r: 2,
      alpha: 3,
      rsLora: true,
      targetModules: ["c"],
    });
    const start = adapted.init(key) as { c: Params & { weight: Tensor; loraA: Tensor; loraB: Tensor } };
    const inputs = start.c.weight.size / start.c.weight.shape[0]!;
    expect(start.c.loraA.shape).toEqual([2, inputs]);
    expect(start.c.loraB.shape).toEqual([base.out, 2]);
    // PyTorch's bound of a convolution like the layer's.
    expect(await start.c.loraA.abs().amax().item()).toBeLessThanOrEqual(1 / Math.sqrt(inputs));
    const params = { c: { ...start.c, loraB: draw("B", start.c.loraB.shape) } };
    const x = draw("x", shape);
    const change = params.c.loraB
      .matmul(params.c.loraA)
      .mul(3 / Math.SQRT2)
      .reshape(params.c.weight.shape);
    const weight = params.c.weight.add(change);
    const expected = base.apply({ ...params.c, weight }, x);
    expect(await distance(adapted.apply(params, x), expected)).toBeLessThan(2e-6);
    expect(await distance(base.apply(params.c, x), expected)).toBeGreaterThan(1e-2);
    const merged = lora.merge(adapted, params) as { c: { weight: Tensor } };
    expect(await distance(merged.c.weight, weight)).toBeLessThan(1e-6);
    const [own] = lora.partition(params);
    const back = lora.unmerge(adapted, merged, own) as typeof params;
    expect(await distance(back.c.weight, params.c.weight)).toBeLessThan(1e-6);
    expect(Object.values(await lora.mergeError(adapted, params))[0]!.merge).toBeLessThan(4);
  });

  test("partners by powers of two compute the same bits", async () => {
    const base = shapes[1].base;
    const config = { r: 2, targetModules: ["c"] };
    const model = nn.sequential({ c: base });
    const [one, other] = [8, 2].map((alpha) => lora.inject(model, { ...config, alpha }));
    const start = one!.init(key) as { c: Params & { loraA: Tensor; loraB: Tensor } };
    const params = { c: { ...start.c, loraB: draw("B", start.c.loraB.shape) } };
    // k a b = 1 with k = 1/4, a = 2, b = 2.
    const partner = { c: { ...params.c, loraA: params.c.loraA.mul(2), loraB: params.c.loraB.mul(2) } };
    const x = draw("x", shapes[1].x);
    const [y, z] = [one!.apply(params, x), other!.apply(partner, x)];
    expect(await z.toArray()).toEqual(await y.toArray());
  });
});

describe("adapters on convolutions", () => {
  const root = mkdtempSync(join(tmpdir(), "lorantz-convolutions-"));
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => {
    device.dispose();
    rmSync(root, { recursive: true });
  });

  test("refuse groups and kinds that they do not have", () => {
    const model = nn.sequential({ c: nn.conv2d(4, 4, 3, { groups: 2 }), d: nn.conv2d(4, 4, 3) });
    const config = { r: 2, alpha: 2 };
    expect(() => lora.inject(model, { ...config, targetModules: ["c"] })).toThrow(
      "the target is a conv2d that has no adapter: it has 2 groups",
    );
    expect(() => lora.inject(model, { ...config, dora: true, targetModules: ["d"] })).toThrow(
      "dora adapts linear layers; the target is a conv2d",
    );
    expect(() => lora.inject(model, { ...config, branchBias: true, targetModules: ["d"] })).toThrow(
      "branchBias adapts linear layers; the target is a conv2d",
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

  test("files of PEFT have four axes, and come back", async () => {
    const { base } = shapes[1];
    const model = nn.sequential({ c: base });
    const adapted = lora.inject(model, { r: 2, alpha: 3, targetModules: ["c"] });
    const params = adapted.init(key);
    const folder = join(root, "adapter");
    await adapters.write(folder, adapters.extract(adapted, params), "peft");
    const file = await safetensors.open(join(folder, "adapter_model.safetensors"));
    expect(Object.fromEntries(file.names.map((name) => [name, file.info(name).shape]))).toEqual({
      "base_model.model.c.lora_A.weight": [2, 2, 2, 3],
      "base_model.model.c.lora_B.weight": [4, 2, 1, 1],
    });
    const read = await adapters.open(folder);
    const again = adapters.inject(model, { c: base.init(key) }, read);
    const own = (p: Params) => (p.c as { loraA: Tensor }).loraA;
    expect(await own(again.params).toArray()).toEqual(await own(params).toArray());
    const other = nn.sequential({ c: nn.conv2d(2, 4, [3, 2]) });
    expect(() => adapters.inject(other, {}, read)).toThrow(
      "c has windows of [3,2], and its factors of [2,3]",
    );
    await expect(adapters.write(`${folder}-kohya.safetensors`, read, "kohya")).rejects.toThrow(
      "kohya's form has no place for the convolution c",
    );
  });
});
