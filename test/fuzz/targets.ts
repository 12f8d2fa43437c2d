import type { Backend } from "../../src/backend/backend.ts";
import { WasmBackend } from "../../src/backend/cpu/wasm.ts";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { openGpu } from "../../src/backend/webgpu/gpu-node.ts";
import { Device } from "../../src/runtime/device.ts";
import { nestDevice, stagesOf } from "../nests.ts";
import type { Target } from "./judge.ts";

const bytes = 2 ** 30;
const ieee = { reorders: false, flushes: false, specials: true };
const shader = { reorders: true, flushes: true, specials: false };

/** The executors of a backend. */
export async function openTargets(backend: string, bindings?: number): Promise<Target[]> {
  if (backend === "webgpu") return [await openWebGpuTarget(bindings)];
  if (backend === "cpu")
    return [
      cpu("wasm, one thread", new WasmBackend({ threads: 1 })),
      // Small kernels are shared too.
      cpu("wasm, three threads", new WasmBackend({ threads: 3, worthSharing: 0 })),
      { name: "nests as JavaScript", device: nestDevice(stagesOf), arithmetic: ieee },
    ];
  throw new Error(`the backend ${backend} is unknown: it is cpu, webgpu or all`);
}

const cpu = (name: string, backend: Backend): Target => ({
  name,
  device: new Device(backend, bytes),
  arithmetic: ieee,
});

async function openWebGpuTarget(limit: number | undefined): Promise<Target> {
  const opened = await openDevice();
  if ("reason" in opened) throw new Error(`no WebGPU: ${opened.reason}`);
  if (limit === undefined)
    return { name: "webgpu", device: new Device(new WebGpuBackend(opened), bytes), arithmetic: shader };
  // A device that refuses more than the limit, not just a compiler that believes in it.
  opened.device.destroy();
  const limits = { ...opened.adapter.limits, maxStorageBuffersPerShaderStage: limit };
  const gpu = await openGpu();
  const adapter = "gpu" in gpu ? await gpu.gpu.requestAdapter({ powerPreference: "high-performance" }) : null;
  const device = await adapter!.requestDevice({
    requiredFeatures: opened.adapter.features as GPUFeatureName[],
    requiredLimits: limits,
  });
  const backend = new WebGpuBackend({ device, wait: opened.wait, adapter: { ...opened.adapter, limits } });
  return { name: `webgpu, ${limit} bindings`, device: new Device(backend, bytes), arithmetic: shader };
}
