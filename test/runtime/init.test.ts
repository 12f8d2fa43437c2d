import { expect, test, vi } from "vitest";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { compile, init, type Tensor, tensor, tree } from "../../src/index.ts";
import { backends } from "../devices.ts";

const webgpu = (await backends()).includes("webgpu");

test.runIf(webgpu)("a software driver of WebGPU is taken where it is asked for, and only there", async () => {
  const opened = await openDevice();
  if ("reason" in opened) throw new Error(opened.reason);
  opened.device.destroy();
  const { software } = opened.adapter;
  const taken = async (options?: Parameters<typeof init>[0]) => {
    using device = await init(options);
    return device.name;
  };
  expect(await taken()).toBe(software ? "cpu" : "webgpu");
  expect(await taken({ software: true })).toBe("webgpu");
  expect(await taken({ backend: "webgpu" })).toBe("webgpu");
  expect(await taken({ backend: "cpu", software: true })).toBe("cpu");
});

test("without SIMD in WebAssembly the CPU backend says what it takes", async () => {
  const validate = vi.spyOn(WebAssembly, "validate").mockReturnValue(false);
  try {
    await expect(init({ backend: "cpu" })).rejects.toThrow(/takes WebAssembly with SIMD.*--jitless.*WebGPU/s);
  } finally {
    validate.mockRestore();
  }
});

test("init again: tensors stay where they are, and meeting another device's is an error that says so", async () => {
  using first = await init({ backend: "cpu", threads: 1 });
  const x: Tensor<"float32"> = await tree.evaluate(tensor([1, 2, 3]).add(1));
  using second = await init({ backend: "cpu", threads: 1 });
  const y: Tensor<"float32"> = await tree.evaluate(tensor([10, 20, 30]).add(1));
  expect(await x.mul(2).toArray()).toEqual([4, 6, 8]); // on the first
  const meant =
    /lives on the device cpu \(WebAssembly SIMD, one thread.*each init\(\) opens a new device.*copy the tensor/s;
  await expect(x.add(y).data()).rejects.toThrow(meant);
  await expect(compile((a: Tensor) => a.mul(2))(x)).rejects.toThrow(meant);
  expect(await (await compile((a: Tensor) => a.mul(2), { device: first })(x)).toArray()).toEqual([4, 6, 8]);
  const copy: Tensor = tensor(await x.data(), { shape: x.shape, dtype: x.dtype });
  expect(await copy.add(y).toArray()).toEqual([13, 24, 35]);
  first.dispose();
  await expect(x.add(y).data()).rejects.toThrow(/the device was disposed/);
  await expect(x.data()).rejects.toThrow(/the device was disposed/);
  expect(second.disposed).toBe(false);
});
