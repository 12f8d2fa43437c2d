import { expect, test } from "vitest";
import { openGpu } from "#gpu";

// The package `webgpu` is a development dependency, so it loads wherever the tests run; an adapter is another
// matter and needs a driver.
async function open() {
  const opened = await openGpu();
  if ("reason" in opened) throw new Error(opened.reason);
  return opened;
}

test("opens one instance per process and installs what browsers have as globals", async () => {
  const [first, second] = [await open(), await open()];
  expect(second.gpu).toBe(first.gpu);
  expect(GPUMapMode.READ).toBe(1);
  expect(GPUBufferUsage.STORAGE).toBe(0x80);
});

test("leaves a global that is there already", async () => {
  const before = globalThis.GPUMapMode;
  await open();
  expect(globalThis.GPUMapMode).toBe(before);
});

test("wait passes on values and rejections, also of promises that overlap", async () => {
  const { wait } = await open();
  const after = (ms: number) => new Promise<number>((resolve) => setTimeout(() => resolve(ms), ms));
  expect(await Promise.all([wait(after(1)), wait(after(20)), wait(Promise.resolve(0))])).toEqual([1, 20, 0]);
  await expect(wait(Promise.reject(new Error("lost")))).rejects.toThrow("lost");
});

const adapter = await (await open()).gpu.requestAdapter();
const required = process.env.LORANTZ_REQUIRE_WEBGPU === "1";

test.runIf(adapter !== null || required)("finds an adapter and reads a buffer back", async () => {
  if (adapter === null) throw new Error("no WebGPU adapter, although LORANTZ_REQUIRE_WEBGPU=1");
  const { wait } = await open();
  const device = await adapter.requestDevice();
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const buffer = device.createBuffer({ size: 16, usage });
  device.queue.writeBuffer(buffer, 0, new Float32Array([1, 2, 3, 4]));
  await wait(buffer.mapAsync(GPUMapMode.READ));
  expect([...new Float32Array(buffer.getMappedRange())]).toEqual([1, 2, 3, 4]);
  device.destroy();
});
