import { spawnSync } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { type AdapterDescription, type OpenDevice, openDevice } from "../../src/backend/webgpu/device.ts";
import { Pipelines } from "../../src/backend/webgpu/pipelines.ts";
import {
  chooseMatmul,
  type FamilyName,
  matmulChoices,
  type TuneOptions,
} from "../../src/backend/webgpu/tune.ts";
import { DeviceError, DisposedError, DTypeError } from "../../src/base/errors.ts";
import { generator } from "../../src/base/generator.ts";
import { numel } from "../../src/base/shape.ts";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import { layerNorm } from "../../src/nn/functional.ts";
import { Device } from "../../src/runtime/device.ts";
import { compile } from "../../src/tensor/compile.ts";
import { arange, tensor, zeros } from "../../src/tensor/creation.ts";
import { where } from "../../src/tensor/functions.ts";
import { grad } from "../../src/tensor/grad.ts";
import { type PackedBlocks, pack, unpack } from "../../src/tensor/packed.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { bundle, root } from "../command.ts";
import { backends } from "../devices.ts";
import { scratch } from "../scratch.ts";
import { cases, thorough } from "../thorough.ts";

// What is particular to WebGPU: limits, errors and loss of the device, how kernels are dispatched and bound.

const webgpu = (await backends()).includes("webgpu");

async function open(): Promise<OpenDevice> {
  const opened = await openDevice();
  if ("reason" in opened) throw new Error(opened.reason);
  return opened;
}

interface Overrides extends Partial<Omit<AdapterDescription, "limits">> {
  readonly limits?: Partial<AdapterDescription["limits"]>;
}

/** A device of its own, which believes of its adapter what it is told. */
async function openAs(
  { limits, ...rest }: Overrides = {},
  tuning: TuneOptions = { tune: false },
): Promise<{ device: Device; backend: WebGpuBackend; gpu: GPUDevice }> {
  const opened = await open();
  const adapter = { ...opened.adapter, ...rest, limits: { ...opened.adapter.limits, ...limits } };
  const backend = new WebGpuBackend({ ...opened, adapter }, tuning);
  return { device: new Device(backend, 2 ** 32), backend, gpu: opened.device };
}

function values(shape: readonly number[], seed = 1): Tensor<"float32"> {
  const random = generator(seed);
  const length = numel(shape);
  return tensor(
    Float32Array.from({ length }, () => random() * 2 - 1),
    { shape },
  ) as Tensor<"float32">; // of a Float32Array
}

/** Largest difference from the reference evaluator, relative to the largest value. */
async function errorOf(
  device: Device,
  build: (...args: Tensor<"float32">[]) => Tensor,
  ...args: Tensor<"float32">[]
): Promise<number> {
  const [expected] = await referenceValues([build(...args)]);
  const result = await compile(build, { device })(...args);
  const actual = await result.data();
  let [error, size] = [0, Number.MIN_VALUE];
  expected!.forEach((value, i) => {
    size = Math.max(size, Math.abs(value));
    error = Math.max(error, Math.abs(value - actual[i]!));
  });
  return error / size;
}

describe.runIf(webgpu)("the adapter", () => {
  test("is described, and its limits are asked for", async () => {
    const { device, adapter } = await open();
    expect(adapter.description).not.toBe("");
    expect(typeof adapter.software).toBe("boolean");
    for (const [name, limit] of Object.entries(adapter.limits)) {
      expect(device.limits[name as keyof GPUSupportedLimits], name).toBe(limit);
    }
    for (const feature of adapter.features) expect(device.features.has(feature)).toBe(true);
    device.destroy();
  });

  test("a process that used it exits by itself, disposed of or not", async () => {
    const code = await bundle(`${root}src/index.ts`);
    const script = (end: string) => `${code.replace(/export \{[^}]*\};?\s*$/, "")}
      const device = await init({ backend: "webgpu" });
      console.log(await tensor([1, 2]).add(1).toArray(), device.name);
      ${end}`;
    for (const end of ["", "device.dispose();"]) {
      const { stdout, status } = spawnSync(process.execPath, ["--input-type=module", "-"], {
        cwd: root,
        input: script(end),
        encoding: "utf8",
        timeout: 20_000,
      });
      expect({ stdout, status }).toEqual({ stdout: "[ 2, 3 ] webgpu\n", status: 0 });
    }
  });
});

describe.runIf(webgpu)("memory", () => {
  test("a tensor above the limits is refused before anything is created", async () => {
    const { device } = await openAs({ limits: { maxBufferSize: 4096, maxStorageBufferBindingSize: 1024 } });
    expect(() => device.backend.allocate(8192)).toThrow(
      'webgpu: a tensor of 8192 bytes is larger than this adapter\'s maxBufferSize of 4096. Split it, use a smaller batch, or init({ backend: "cpu" }).',
    );
    expect(() => device.backend.allocate(2048)).toThrow("maxStorageBufferBindingSize of 1024");
    await expect(
      compile((x: Tensor<"float32">) => x.expand([1024]), { device })(values([1])),
    ).rejects.toThrow(DeviceError);
    expect(device.backend.allocate(1024).bytes).toBe(1024);
    device.dispose();
  });

  test("what the device cannot allocate is an error of the next call, once", async () => {
    const { backend, gpu } = await openAs();
    const { popErrorScope } = gpu;
    // No machine has so little memory that a test could use it up: the report is made up, its way is not.
    gpu.popErrorScope = async () => {
      await popErrorScope.call(gpu);
      return new GPUOutOfMemoryError("no memory");
    };
    backend.allocate(64);
    gpu.popErrorScope = popErrorScope;
    await expect(backend.finish().then(() => backend.finish())).rejects.toThrow(
      "webgpu: the device is out of memory: for a tensor of 64 bytes. Dispose of large tensors, or use a smaller batch.",
    );
    await backend.finish();
    backend.dispose();
  });

  test("float64 is refused, in tensors and in programs", async () => {
    const { device } = await openAs();
    const x = tensor([1, 2], { dtype: "float64" });
    await expect(compile((y: Tensor<"float64">) => y.add(1), { device })(x)).rejects.toThrow(DTypeError);
    await expect(
      compile((y: Tensor<"float32">) => y.astype("float64"), { device })(values([2])),
    ).rejects.toThrow('Use float32, or init({ backend: "cpu" }).');
    device.dispose();
  });

  test("tensors of no elements, and reads side by side", async () => {
    const { device } = await openAs();
    const empty = await compile((x: Tensor) => x.mul(2), { device })(zeros([0, 3]));
    expect(await empty.data()).toEqual(new Float32Array());
    const parts = await Promise.all(
      Array.from({ length: 20 }, (_, i) => compile((x: Tensor) => x.add(i), { device })(arange(3))),
    );
    const read = await Promise.all(parts.map((part) => part.toArray()));
    expect(read).toEqual(Array.from({ length: 20 }, (_, i) => [i, i + 1, i + 2]));
    device.dispose();
  });
});

/** Counts calls of a method of the device or its queue from now on. */
function counting<K extends string>(
  of: { [key in K]: (...args: never[]) => unknown },
  name: K,
): () => number {
  const original = of[name].bind(of);
  let count = 0;
  Object.defineProperty(of, name, {
    configurable: true,
    value: (...args: never[]) => {
      count++;
      return original(...args);
    },
  });
  return () => count;
}

describe.runIf(webgpu)("round trips", () => {
  /** Counts submits, and maps of buffers that are read. */
  function count(gpu: GPUDevice): { readonly submits: () => number; readonly maps: () => number } {
    let maps = 0;
    const create = gpu.createBuffer.bind(gpu);
    gpu.createBuffer = (descriptor) => {
      const buffer = create(descriptor);
      if ((descriptor.usage & GPUBufferUsage.MAP_READ) === 0) return buffer;
      const map = buffer.mapAsync.bind(buffer);
      buffer.mapAsync = (...args) => {
        maps++;
        return map(...args);
      };
      return buffer;
    };
    return { submits: counting(gpu.queue, "submit"), maps: () => maps };
  }

  test("a step is one submit, and none waits for the device", async () => {
    const { device, gpu } = await openAs();
    const step = compile((x: Tensor, n: Tensor<"number">) => x.mul(n).add(1), { device, donate: [0] });
    let x: Tensor = await step(values([40]), 0.5);
    const { submits, maps } = count(gpu);
    for (let i = 0; i < 50; i++) x = await step(x, 1 / (i + 1));
    expect([submits(), maps()]).toEqual([50, 0]);
    await x.data();
    expect([submits(), maps()]).toEqual([51, 1]);
    device.dispose();
  });

  test("trees are evaluated by one submit; values asked for together come back by one", async () => {
    const { device, gpu } = await openAs();
    const { submits, maps } = count(gpu);
    const trees = Array.from({ length: 30 }, (_, i) => arange(i + 1).mul(i));
    await tree.evaluate(trees, device);
    expect([submits(), maps()]).toEqual([1, 0]);
    const read = await Promise.all(trees.map((x) => x.toArray()));
    expect(read).toEqual(trees.map((_, i) => Array.from({ length: i + 1 }, (_, j) => i * j)));
    expect([submits(), maps()]).toEqual([2, 1]);
    // One after the other there is nothing to share: a round trip each.
    for (const [i, x] of trees.entries()) expect(await x.slice([i]).reshape([]).item()).toBe(i * i);
    expect(maps()).toBe(31);
    device.dispose();
  });

  test("reads that wait for others are of the values before later work", async () => {
    const { backend } = await openAs();
    const [buffer, other] = [backend.allocate(8), backend.allocate(4)];
    backend.write(buffer, Float32Array.of(1, 2));
    backend.write(other, Float32Array.of(3));
    const into = [new Float32Array(2), new Float32Array(1), new Float32Array(2)] as const;
    const reads = [backend.read(buffer, into[0]), backend.read(other, into[1])];
    backend.write(buffer, Float32Array.of(4, 5));
    reads.push(backend.read(buffer, into[2]));
    backend.free(buffer);
    await Promise.all(reads);
    expect(into.map((values) => [...values])).toEqual([[1, 2], [3], [4, 5]]);
    backend.dispose();
  });
});

describe.runIf(webgpu)("the first call", () => {
  test("creates all pipelines at once, and after a warm-up none", async () => {
    const { device, gpu } = await openAs();
    const pending = { now: 0, most: 0 };
    const create = gpu.createComputePipelineAsync.bind(gpu);
    gpu.createComputePipelineAsync = async (descriptor) => {
      pending.most = Math.max(pending.most, ++pending.now);
      const pipeline = await create(descriptor);
      pending.now--;
      return pipeline;
    };
    const f = compile((x: Tensor) => ({ s: x.sum(0), m: x.matmul(x.transpose()), e: x.exp() }), { device });
    await f.warmup(zeros([5, 7]));
    expect(f.inspect().kernels).toBe(3);
    expect(pending).toEqual({ now: 0, most: 3 });
    const [pipelines, submits] = [counting(gpu, "createComputePipelineAsync"), counting(gpu.queue, "submit")];
    await f(values([5, 7]));
    expect([pipelines(), submits()]).toEqual([0, 1]);
    device.dispose();
  });
});

describe.runIf(webgpu)("errors of the device", () => {
  test("a kernel that does not compile: the compiler's message and the numbered source", async () => {
    const { gpu, backend } = await openAs();
    const source = "// a broken kernel\n\n@compute @workgroup_size(64)\nfn main() {\n  let x: f32 = 1u;\n}\n";
    const made = new Pipelines(gpu).get({ source, bindings: [], scalars: [], workgroups: [1, 1] });
    await expect(made).rejects.toThrow(DeviceError);
    await expect(made).rejects.toThrow(/line 5:\d+: .*\n(.|\n)* 5 {4}let x: f32 = 1u;/);
    await backend.finish(); // and nothing is left over for the next call
    backend.dispose();
  });

  test("a validation error that nobody waits for is thrown by the next call, once", async () => {
    const { gpu, backend } = await openAs();
    gpu.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE });
    await expect(backend.finish().then(() => backend.finish())).rejects.toThrow(/^webgpu: internal: /);
    await backend.finish();
    backend.dispose();
  });

  test("a lost device is a named error, for reads in flight and for later calls", async () => {
    const { device, backend, gpu } = await openAs();
    const double = compile((x: Tensor) => x.mul(2), { device });
    const x = await double(values([4]));
    const buffer = backend.allocate(16);
    gpu.destroy();
    expect(await backend.lost).not.toBe("");
    expect(() => backend.allocate(4)).toThrow(/^webgpu: the device was lost: .* Call init\(\) again/);
    await expect(backend.read(buffer, new Float32Array(4))).rejects.toThrow("the device was lost");
    await expect(x.data()).rejects.toThrow(DeviceError);
    await expect(double(x)).rejects.toThrow(DeviceError);
    device.dispose();
  });

  test("a disposed device is a named error; disposing twice is safe", async () => {
    const { device, backend } = await openAs();
    const x = await compile((y: Tensor) => y.mul(2), { device })(values([4]));
    device.dispose();
    device.dispose();
    backend.dispose();
    expect(() => backend.allocate(4)).toThrow(DisposedError);
    await expect(x.data()).rejects.toThrow(DisposedError);
  });
});

/** Kinds of kernels that are printed in ways of their own. */
const kinds = ["sums", "rows", "products", "ordered", "elements", "blocks", "grid"] as const;
type Kind = (typeof kinds)[number];

/**
 * Adapters whose limits and size lead to other kernels, and families of matmul: each choice has to run here. Of which
 * kinds of kernels the code is another one than that of adapters before stands beside; the others run where every case
 * is wanted.
 */
const adapters: readonly (readonly [
  name: string,
  overrides: Overrides,
  matmul: FamilyName | undefined,
  own: readonly Kind[],
])[] = [
  ["as it is", {}, undefined, kinds],
  ["with tiles in workgroup memory", {}, "shared", []], // their products are those as a large GPU
  ["as a large GPU", { software: false }, "shared", kinds],
  ["as a large GPU without subgroups", { software: false, features: [] }, "shared", ["rows"]],
  [
    "with 3 workgroups in a dimension",
    { limits: { maxComputeWorkgroupsPerDimension: 3 } },
    undefined,
    ["rows", "ordered", "grid"],
  ],
];

const tried = adapters.filter(([, , , own]) => thorough || own.length > 0);
describe.runIf(webgpu).each(tried)("kernels, %s", (_, overrides, matmul, own) => {
  /** A suite of kernels of a kind, where they are of an adapter's own. */
  const of = (kind: Kind, suite: () => void): void => {
    if (thorough || own.includes(kind)) suite();
  };

  let device: Device;
  beforeAll(async () => {
    ({ device } = await openAs(overrides, { matmul, tune: false }));
  });
  afterAll(() => device.dispose());

  const reductions = cases<readonly [shape: readonly number[], axes: readonly number[]]>(
    [
      [[300, 257], [1]],
      [
        [3, 40, 5, 7],
        [0, 2],
      ],
    ],
    [
      [[1000], [0]],
      [[257, 300], [0]],
      [[7], [0]],
      [[5, 300], [1]],
      [[300, 5], [0]],
      [
        [3, 40, 5, 7],
        [1, 3],
      ],
      [[2, 5000], [1]],
    ],
  );
  of("sums", () => {
    test.each(reductions)("reductions of %j along %j", async (shape, axes) => {
      const x = values(shape);
      expect(await errorOf(device, (y) => y.sum(axes), x)).toBeLessThan(1e-6);
      expect(await errorOf(device, (y) => y.amax(axes), x)).toBe(0);
      expect(await errorOf(device, (y) => y.mul(0.1).add(1).prod(axes), x)).toBeLessThan(1e-4);
      expect(await errorOf(device, (y) => y.var(axes), x)).toBeLessThan(1e-6);
    });
  });

  const rowsOf = cases(
    [[300, 257]],
    [
      [3, 5000],
      [130, 128],
      [70, 1000],
    ],
  );
  of("rows", () => {
    test.each(rowsOf)("rows of [%i, %i]", async (rows, length) => {
      const x = values([rows, length]);
      expect(await errorOf(device, (y) => y.softmax(1), x)).toBeLessThan(1e-6);
      expect(await errorOf(device, (y) => y.logsumexp(1), x)).toBeLessThan(1e-6);
      expect(await errorOf(device, (y) => layerNorm(y, [length]), x)).toBeLessThan(2e-6);
      expect(
        await errorOf(device, (y) => grad((z: Tensor) => layerNorm(z, [length]).pow(3).sum())(y), x),
      ).toBeLessThan(5e-6);
    });
  });

  of("rows", () => {
    test("rows are shared by whom the adapter has", async () => {
      const step = compile((x: Tensor) => x.softmax(1), { device });
      await step(values([300, 257]));
      const [source] = step.inspect().sources;
      const shuffles = overrides.software === false && !overrides.features;
      const partial = overrides.software === false && overrides.features;
      expect(source!.includes("subgroupShuffleXor")).toBe(shuffles);
      expect(source!.includes("workgroupBarrier")).toBe(Boolean(partial));
    });
  });

  const products = cases<readonly [m: number, k: number, n: number]>(
    [
      [33, 19, 35],
      [36, 40, 68],
    ],
    [
      [2, 600, 2],
      [1, 1, 1],
      [1, 65, 3],
      [3, 2, 65],
      [129, 40, 8],
      [8, 40, 132],
      [2, 9000, 2],
      [130, 1, 131],
    ],
  );
  of("products", () => {
    test.each(products)(
      "matmul %i x %i x %i, operands as they are and transposed",
      { timeout: 120_000 },
      async (m, k, n) => {
        const [a, at, b, bt] = [values([m, k]), values([k, m]), values([k, n], 2), values([n, k], 2)];
        expect(await errorOf(device, (x, y) => x.matmul(y), a, b)).toBeLessThan(1e-6);
        if (!thorough && m !== 33) return; // the others of the first product
        expect(
          await errorOf(device, (x, y) => x.transpose().matmul(y.transpose()).add(1).maximum(0), at, bt),
        ).toBeLessThan(1e-6);
        if (!thorough) return; // one alone
        expect(await errorOf(device, (x, y) => x.transpose().matmul(y), at, b)).toBeLessThan(1e-6);
        expect(await errorOf(device, (x, y) => x.matmul(y.transpose()), a, bt)).toBeLessThan(1e-6);
      },
    );
  });

  of("products", () => {
    const sides = cases(
      [[20, 36, 40]],
      [
        [20, 44, 68],
        [1, 64, 96],
        [33, 19, 35],
      ],
    ); // whole quads, at the edges of tiles
    test.each(sides)("matmul %i x %i x %i of operands that are computed", async (m, k, n) => {
      const [x, w] = [values([m, k]), values([n, k], 2)];
      const packed = (await tree.evaluate(pack(w, { format: "int8" }), device)) as PackedBlocks;
      const weight = (words: Tensor, absmax: Tensor) =>
        unpack({ ...packed, int8: words, absmax } as PackedBlocks) as Tensor<"float32">;
      const [words, absmax] = [packed.int8!, packed.absmax as Tensor] as Tensor<"float32">[]; // as they are passed on
      const along = (x: Tensor, words: Tensor, absmax: Tensor) => x.matmul(weight(words, absmax).transpose());
      expect(await errorOf(device, along, x, words!, absmax!)).toBeLessThan(1e-6);
      const across = (y: Tensor, words: Tensor, absmax: Tensor) => y.matmul(weight(words, absmax));
      expect(await errorOf(device, across, values([m, n]), words!, absmax!)).toBeLessThan(1e-6);
    });
  });

  of("ordered", () => {
    test("batched matmul, scans and scatters", async () => {
      const [a, b] = [values([5, 2, 9, 10]), values([5, 2, 10, 7], 2)];
      expect(await errorOf(device, (x, y) => x.matmul(y), a, b)).toBeLessThan(1e-6);
      expect(await errorOf(device, (x) => x.cumsum(0), values([300, 257]))).toBeLessThan(1e-6);
      expect(await errorOf(device, (x) => x.cumsum(1), values([3, 100]))).toBeLessThan(1e-6);
      const index = arange(600).mul(7).sub(3).bitwiseAnd(15).reshape([600, 1]).expand([600, 40]);
      expect(
        await errorOf(device, (x) => zeros([9, 40]).scatterAdd(0, index, x), values([600, 40])),
      ).toBeLessThan(1e-6);
    });
  });

  of("elements", () => {
    test("elementwise kernels in quads: tails, broadcasts, shifts, selections, several results", async () => {
      for (const length of cases([5, 1024], [1025, 1063])) {
        const [x, y] = [values([length]), values([length], 2)];
        expect(await errorOf(device, (a, b) => a.mul(b).add(0.5).exp(), x, y)).toBeLessThan(1e-6);
        expect(await errorOf(device, (a, b) => a.gt(b).astype("float32"), x, y)).toBe(0);
        expect(await errorOf(device, (a, b) => where(a.gt(b), a, b.mul(2)), x, y)).toBe(0);
      }
      const [wide, row, column] = [values([36, 36]), values([36], 2), values([36, 1], 3)];
      expect(await errorOf(device, (a, b, c) => a.add(b).mul(c), wide, row, column)).toBeLessThan(1e-6);
      expect(await errorOf(device, (a) => a.slice([0, 4], [36, 36]).add(1), wide)).toBeLessThan(1e-6);
      expect(await errorOf(device, (a) => a.slice([1, 3], [36, 35]).add(1), wide)).toBeLessThan(1e-6);
      expect(await errorOf(device, (a) => a.transpose().add(a), wide)).toBeLessThan(1e-6);
      expect(await errorOf(device, (a) => a.flip([1]).sub(a), wide)).toBeLessThan(1e-6);
      const [sum, product] = await compile(
        (a: Tensor<"float32">, b: Tensor<"float32">) => [a.add(b), a.mul(b).gt(0)] as const,
        { device },
      )(wide, row);
      const [sums, products] = await referenceValues([wide.add(row), wide.mul(row).gt(0)]);
      (await sum.data()).forEach((value, i) => {
        expect(value).toBeCloseTo(sums![i]!, 6);
      });
      expect([...(await product.data())].map(Number)).toEqual([...products!]);
    });
  });

  /** Whether a kernel of the function loads, and stores, in quads. */
  async function quadsOf(
    build: (x: Tensor) => Tensor,
    x: Tensor,
  ): Promise<{ loads: boolean; stores: boolean }> {
    const step = compile(build, { device });
    (await step(x)).dispose();
    const [source] = step.inspect().sources;
    return { loads: /in0: array<vec4</.test(source!), stores: /out0: array<vec4</.test(source!) };
  }

  of("sums", () => {
    test("sums of quads along what is reduced, and along what is kept", async () => {
      const large = overrides.software === false ? 4 * 65536 : 1024; // results in quads that keep the adapter busy
      const sums = cases<readonly [shape: readonly number[], axes: readonly number[], quads: string]>(
        [
          [[9, 1000], [1], "loads"],
          [[5, large], [0], "loads stores"],
          [[9, 66, 64], [0], overrides.software === false ? "" : "loads stores"],
        ],
        [
          [[9, 1001], [1], ""],
          [[70, 3, 20], [1, 2], "loads"],
          [[600, 8], [1], "loads"],
          [[4, large], [0], "loads stores"],
          [[3, 7, large / 2], [1], "loads stores"],
          [[11, large + 1], [0], ""],
        ],
      );
      for (const [shape, axes, quads] of sums) {
        const x = values(shape);
        const found = await quadsOf((y) => y.sum(axes), x);
        expect([shape, found.loads, found.stores]).toEqual([
          shape,
          quads.includes("loads"),
          quads.includes("stores"),
        ]);
        expect(await errorOf(device, (y) => y.square().mean(axes).add(1).sqrt(), x)).toBeLessThan(1e-6);
        expect(await errorOf(device, (y) => y.mul(16).astype("int32").sum(axes), x)).toBe(0);
        if (!thorough && x.size > 65536) continue; // whose reference takes a second each
        expect(await errorOf(device, (y) => y.sum(axes), x)).toBeLessThan(1e-6);
        expect(await errorOf(device, (y) => y.amin(axes), x)).toBe(0);
        expect(await errorOf(device, (y) => y.gt(0).astype("int32").amax(axes), x)).toBe(0);
      }
    });
  });

  of("sums", () => {
    test("sums over everything, in two stages, of any length", async () => {
      for (const shape of cases([[4097], [70_001]], [[350, 201], [70_002], [70_004], [301, 200]])) {
        const x = values(shape);
        expect(await errorOf(device, (y) => y.add(1).sum(), x)).toBeLessThan(1e-6);
        expect(await errorOf(device, (y) => y.amax(), x)).toBe(0);
      }
      const kernels = async (shape: readonly number[], axis: number) => {
        const step = compile((y: Tensor) => y.sum(axis), { device });
        (await step(values(shape))).dispose();
        return step.inspect().kernels;
      };
      expect(await kernels([70_001], 0)).toBe(2);
      // Rows are for a thread each, or a workgroup on a GPU; of columns a thread has four.
      expect(await kernels([63, 5000], 1)).toBe(2);
      expect(await kernels([64, 5000], 1)).toBe(overrides.software === false ? 2 : 1);
      expect(await kernels([5000, 252], 0)).toBe(2);
      expect(await kernels([5000, 256], 0)).toBe(overrides.software === false ? 2 : 1);
      // What is kept stays innermost.
      for (const shape of [
        [9001, 4],
        [9000, 5],
      ])
        expect(await errorOf(device, (y) => y.add(1).sum(0), values(shape))).toBeLessThan(1e-6);
      expect(await errorOf(device, (y) => y.add(1).sum([0, 2]), values([90, 3, 81]))).toBeLessThan(1e-6);
    });
  });

  of("elements", () => {
    test("padding beside quads", async () => {
      const x = values([40, 52]);
      for (const [before, after] of [
        [
          [0, 0],
          [0, 12],
        ],
        [
          [1, 4],
          [2, 8],
        ],
        [
          [0, 2],
          [0, 2],
        ],
      ] as const) {
        const build = (y: Tensor) =>
          y.exp().pad(
            before.map((n, i) => [n, after[i]!] as const),
            0.5,
          );
        expect(await errorOf(device, build, x)).toBeLessThan(1e-6);
        expect(await errorOf(device, (y) => build(y).sum(1), x)).toBeLessThan(1e-6);
      }
      // Rows that are no whole quads, and one that is padded.
      expect(await errorOf(device, (y) => y.pad([[0, 7]]).mul(2), values([4001]))).toBe(0);
    });
  });

  of("blocks", () => {
    test("transposes in blocks, with what stands beside them", async () => {
      const side = overrides.software === false ? 1024 : 64;
      const x = values([side, side]);
      const found = await quadsOf((y) => y.transpose(), x);
      expect(found).toEqual({ loads: true, stores: true });
      expect(await errorOf(device, (y) => y.transpose(), x)).toBe(0);
      expect(await errorOf(device, (y) => y.transpose().add(y).mul(0.5), x)).toBeLessThan(1e-6);
      // The reference of a million elements takes a second, for each of the others: they are tried on the smaller side.
      if (!thorough && side > 64) return;
      expect(await errorOf(device, (y) => y.mul(8).astype("int32").transpose(), x)).toBe(0);
      expect(await errorOf(device, (y) => y.gt(0).transpose().astype("float32"), x)).toBe(0);
      const [column, row] = [values([side, 1], 2), values([side], 3)];
      expect(await errorOf(device, (y, a, b) => y.transpose().mul(a).add(b), x, column, row)).toBeLessThan(
        1e-6,
      );
      // Batched, by other permutations, and where blocks do not fill a line or do not divide.
      const batched = cases(
        [[2, side, side / 2 + 4]],
        [
          [3, side, side / 2 + 2],
          [2, side + 2, side / 2],
          [side / 32, 4, side / 8, 64],
        ],
      );
      for (const shape of batched) {
        const y = values(shape);
        const rank = shape.length;
        expect(await errorOf(device, (z) => z.transpose(rank - 2, rank - 1), y)).toBe(0);
        expect(await errorOf(device, (z) => z.permute([rank - 1, ...shape.keys()].slice(0, rank)), y)).toBe(
          0,
        );
      }
    });
  });

  of("grid", () => {
    test("a grid larger than a dispatch in one dimension", async () => {
      const length = 64 * 40 + 5;
      const result = await compile((x: Tensor) => x.add(1), { device })(arange(length));
      expect(await result.data()).toEqual(Int32Array.from({ length }, (_, i) => i + 1));
    });
  });

  of("grid", () => {
    test("results do not vary from run to run", async () => {
      const x = values([3, thorough ? 4001 : 1001]);
      const step = compile(
        (y: Tensor<"float32">) => ({ s: y.sum(1), v: y.var(), m: y.matmul(y.transpose()) }),
        { device },
      );
      const runs = await Promise.all([step(x), step(x), step(x)]);
      const [first, ...others] = await Promise.all(
        runs.map(async ({ s, v, m }) => [...(await s.data()), ...(await v.data()), ...(await m.data())]),
      );
      for (const other of others) expect(other).toEqual(first);
    });
  });
});

describe("tuning", () => {
  const { fresh } = scratch("tuning");
  type Times = Partial<Record<FamilyName, number>>;
  const limits = { maxComputeInvocationsPerWorkgroup: 256 } as AdapterDescription["limits"]; // the one that matters
  const adapter = (rest: Partial<AdapterDescription>): AdapterDescription => ({
    vendor: "v",
    architecture: "a",
    device: `tuning test ${process.pid} ${Math.random()}`,
    description: "d",
    software: true,
    features: ["subgroups"],
    subgroupSize: 8,
    matrices: [],
    limits,
    ...rest,
  });

  test("defaults: subgroups of eight on software, workgroup memory elsewhere", () => {
    expect(matmulChoices(adapter({}), "float32")[0]).toEqual({ family: "subgroup" });
    for (const rest of [
      { software: false },
      { subgroupSize: 4 },
      { subgroupSize: undefined },
      { features: [] },
    ])
      expect(matmulChoices(adapter(rest), "float32")[0]!.family).toBe("shared");
    expect(
      matmulChoices(adapter({ software: false, subgroupSize: 32 }), "float32").map(({ family }) => family),
    ).not.toContain("subgroup");
    expect(() => matmulChoices(adapter({ subgroupSize: 32 }), "float32", "subgroup")).toThrow(
      "webgpu: LORANTZ_MATMUL=subgroup needs subgroups of 8 lanes, and this adapter has 32. Leave LORANTZ_MATMUL unset.",
    );
  });

  test("subgroup matrices are taken for the precisions that have them", () => {
    const features = ["subgroups", "chromium-experimental-subgroup-matrix"];
    const small = { precision: "float16", rows: 8, columns: 8, inner: 8 } as const;
    const large = { precision: "float16", rows: 16, columns: 16, inner: 16 } as const;
    const bytes = { ...limits, maxComputeWorkgroupStorageSize: 32768 };
    const one = adapter({
      software: false,
      features,
      subgroupSize: 32,
      matrices: [small, large],
      limits: bytes,
    });
    const expected = { family: "matrix", lanes: 32, workgroupBytes: 32768, ...large };
    expect(matmulChoices(one, "float16")[0]).toEqual(expected);
    expect(matmulChoices(one, "float32").map(({ family }) => family)).not.toContain("matrix");
    expect(matmulChoices(one, "float16", "matrix")).toEqual([expected]);
    expect(matmulChoices(one, "float32", "matrix")).toEqual(matmulChoices(one, "float32"));
    expect(matmulChoices(one, "float16", "shared").map(({ family }) => family)).not.toContain("matrix");
    // Its subgroups may be of several sizes, or the feature was not given.
    for (const rest of [{ subgroupSize: undefined }, { features: ["subgroups"] }, { matrices: [] }])
      expect(() => matmulChoices({ ...one, ...rest }, "float16", "matrix")).toThrow(
        "LORANTZ_MATMUL=matrix needs subgroup matrices of float16 or float32",
      );
  });

  test("the fastest is chosen, measured once and kept; noise does not change the default", async () => {
    const folder = fresh();
    const before = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = folder;
    try {
      const one = adapter({});
      let measured = 0;
      const measure = (times: Times) => async (choice: { family: FamilyName }) => {
        measured++;
        return times[choice.family]!;
      };
      const choose = (times: Times, on = one) => chooseMatmul(on, "float32", {}, measure(times));
      expect((await choose({ shared: 1, subgroup: 2 })).family).toBe("shared");
      expect(measured).toBe(2);
      expect((await choose({ shared: 2, subgroup: 1 })).family).toBe("shared");
      expect(measured).toBe(2);
      expect((await choose({ shared: 0.95, subgroup: 1 }, adapter({}))).family).toBe("subgroup");
      expect(
        (await chooseMatmul(one, "float32", { tune: false }, measure({ shared: 1, subgroup: 9 }))).family,
      ).toBe("subgroup");
      expect(await readdir(join(folder, "lorantz"))).toEqual(["tuning-1.json"]);
      for (const broken of ["", "{", "[]", "null", '"text"']) {
        await writeFile(join(folder, "lorantz", "tuning-1.json"), broken);
        expect((await choose({ shared: 1, subgroup: 2 })).family).toBe("shared");
      }
      // No folder can be made below a file.
      process.env.XDG_CACHE_HOME = join(folder, "lorantz", "tuning-1.json");
      expect((await choose({ shared: 1, subgroup: 2 })).family).toBe("shared");
    } finally {
      if (before === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = before;
    }
  });
});

describe.runIf(webgpu)("programs", () => {
  let device: Device;
  let backend: WebGpuBackend;
  beforeAll(async () => {
    ({ device, backend } = await openAs());
  });
  afterAll(() => device.dispose());

  test("more elements than 65535 workgroups of 64 have invocations", async () => {
    const length = 65535 * 64 + 70;
    const ends = compile((x: Tensor<"int32">) => x.mul(2).slice([length - 3]), { device });
    const doubled = await compile((x: Tensor<"int32">) => x.add(arange(length, { dtype: "int32" })), {
      device,
    })(tensor([1], { dtype: "int32" }));
    expect(await (await ends(doubled)).toArray()).toEqual([length - 2, length - 1, length].map((x) => 2 * x));
  });

  test("long sums of one sign keep six digits and more", async () => {
    const length = 1_000_000;
    const x = tensor(new Float32Array(length).fill(0.1));
    const exact = length * Math.fround(0.1);
    const sum = await (await compile((y: Tensor) => y.sum(), { device })(x)).item();
    expect(Math.abs(sum / exact - 1)).toBeLessThan(1e-6);
    const wide = tensor(new Float32Array(length).fill(0.1), { shape: [1000, 1000] });
    const rows = await (await compile((y: Tensor) => y.sum(1), { device })(wide)).data();
    for (const row of rows) expect(Math.abs(row / (1000 * Math.fround(0.1)) - 1)).toBeLessThan(1e-6);
  });

  test("a donated tensor is updated in its own buffer, which the kernel binds once", async () => {
    const step = compile((w: Tensor, g: Tensor) => w.sub(g.mul(0.5)), { device, donate: [0] });
    const created: number[] = [];
    const { allocate } = backend;
    let w = await step(values([1024]), values([1024], 2));
    backend.allocate = (bytes) => {
      created.push(bytes);
      return allocate.call(backend, bytes);
    };
    const g = await compile((x: Tensor) => x.mul(1), { device })(values([1024], 3));
    created.length = 0;
    for (let i = 0; i < 5; i++) w = await step(w, g);
    backend.allocate = allocate;
    expect(created).toEqual([]);
    expect(step.inspect().sources[0]).toContain("var<storage, read_write> inout0: array<vec4<f32>>;");
    const [expected] = await referenceValues([
      values([1024])
        .sub(values([1024], 2).mul(0.5))
        .sub(values([1024], 3).mul(2.5)),
    ]);
    (await w.data()).forEach((value, i) => {
      expect(value).toBeCloseTo(expected![i]!, 5);
    });
  });

  test("host numbers change without new code, and are written only then", async () => {
    const { gpu, device: other } = await openAs();
    const scale = compile(
      (x: Tensor, by: Tensor<"number">, shift: Tensor<"number">) => x.mul(by).add(shift),
      { device: other },
    );
    const x = await compile((y: Tensor) => y.mul(1), { device: other })(tensor([0, 1, 2]));
    await scale(x, 1, 0);
    let modules = 0;
    let writes = 0;
    const { createShaderModule } = gpu;
    const { writeBuffer } = gpu.queue;
    gpu.createShaderModule = (descriptor) => {
      modules++;
      return createShaderModule.call(gpu, descriptor);
    };
    Object.defineProperty(gpu.queue, "writeBuffer", {
      value: (...args: Parameters<GPUQueue["writeBuffer"]>) => {
        writes++;
        return writeBuffer.apply(gpu.queue, args);
      },
    });
    expect(await (await scale(x, 2, 1)).toArray()).toEqual([1, 3, 5]);
    expect(await (await scale(x, 2, 1)).toArray()).toEqual([1, 3, 5]);
    expect(await (await scale(x, -1, 0.5)).toArray()).toEqual([0.5, -0.5, -1.5]);
    expect({ modules, writes, traces: scale.traces }).toEqual({ modules: 0, writes: 2, traces: 1 });
    other.dispose();
  });

  test("equal kernels of different programs are compiled once", async () => {
    const { gpu, device: other } = await openAs();
    let modules = 0;
    const { createShaderModule } = gpu;
    gpu.createShaderModule = (descriptor) => {
      modules++;
      return createShaderModule.call(gpu, descriptor);
    };
    const [x, y] = [tensor([1, 2, 3]), values([2, 5])];
    await compile((a: Tensor) => a.mul(2).sum(), { device: other })(x);
    expect(modules).toBe(1);
    await compile((a: Tensor, b: Tensor) => [b.sum(0), a.mul(2).sum()], { device: other })(x, y);
    expect(modules).toBe(2);
    other.dispose();
  });

  test("two results with one value have buffers of their own", async () => {
    const twice = compile((x: Tensor) => [x.add(1), x.add(1)] as const, { device });
    const [a, b] = await twice(arange(3));
    expect([await a.toArray(), await b.toArray()]).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    a.dispose();
    expect(await b.toArray()).toEqual([1, 2, 3]);
  });

  test("an output may keep out of the input that the plan lets it take", async () => {
    const canonical = canonicalise([values([4]).mul(2).node], false);
    const program = compileGraph(canonical.build(), {
      target: backend.target,
      inputs: canonical.leaves,
      donated: new Set([0]),
    });
    expect(program.replaces).toEqual([0]);
    const executable = await backend.load(program);
    const [input, output] = [backend.allocate(16), backend.allocate(16)];
    backend.write(input, Float32Array.of(1, 2, 3, 4));
    executable.run({ inputs: [input], outputs: [output], scalars: [] });
    const [old, now] = [new Float32Array(4), new Float32Array(4)];
    await Promise.all([backend.read(input, old), backend.read(output, now)]);
    expect([[...old], [...now]]).toEqual([
      [1, 2, 3, 4],
      [2, 4, 6, 8],
    ]);
  });
});
