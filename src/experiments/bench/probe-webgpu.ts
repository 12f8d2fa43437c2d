import { openGpu } from "#gpu";
import { DeviceError } from "../../base/errors.ts";
import type { Limits } from "./limits.ts";

// What the adapter can do at most from WGSL: multiply-adds whose operands stay in registers, and copies of
// memory by vectors of four floats.

// More vectors than four spill on drivers that compute on the processor, and a round of one step is mostly loop.
const [accumulators, steps, rounds, workgroup] = [4, 4, 64, 64];

const peakShader = `
@group(0) @binding(0) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let x = vec4f(0.999 + f32(groups.y) * 1e-9);
  let y = vec4f(0.001);
  ${each((i) => `var a${i} = vec4f(f32(id.x + ${i}u));`)}
  for (var round = 0u; round < ${rounds}u; round++) {
    ${each((i) => `a${i} = fma(a${i}, x, y);`)
      .concat("\n  ")
      .repeat(steps)}
  }
  result[id.x % arrayLength(&result)] = ${Array.from({ length: accumulators }, (_, i) => `a${i}`).join(" + ")};
}`;

const copyShader = `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4f>;
@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < arrayLength(&result); i += groups.x * ${workgroup}u) {
    result[i] = source[i];
  }
}`;

function each(line: (i: number) => string): string {
  return Array.from({ length: accumulators }, (_, i) => line(i)).join("\n  ");
}

/** Bytes of each buffer of the copy. */
const copied = 64 * 2 ** 20;

/**
 * Measures the default adapter on a device of its own, for about twice `milliseconds` at each limit.
 *
 * @throws DeviceError without an adapter.
 */
export async function probeWebGpu(milliseconds: number): Promise<Limits> {
  const opened = await openGpu();
  if ("reason" in opened) throw new DeviceError(`bench: WebGPU cannot be had: ${opened.reason}.`);
  const { gpu, wait } = opened;
  const adapter = await wait(gpu.requestAdapter({ powerPreference: "high-performance" }));
  if (!adapter) throw new DeviceError("bench: there is no WebGPU adapter. See `lorantz doctor`.");
  const device = await wait(adapter.requestDevice());
  try {
    const buffer = (size: number) => device.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
    const [source, result] = [buffer(copied), buffer(copied)];

    /** The median of billions per second; the number of dispatches grows until a submit takes a while. */
    const measure = async (code: string, buffers: GPUBuffer[], groups: number, work: number) => {
      const compute = { module: device.createShaderModule({ code }) };
      const pipeline = await wait(device.createComputePipelineAsync({ layout: "auto", compute }));
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      const submit = async (dispatches: number) => {
        const start = performance.now();
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        for (let i = 0; i < dispatches; i++) pass.dispatchWorkgroups(groups);
        pass.end();
        device.queue.submit([encoder.finish()]);
        await wait(device.queue.onSubmittedWorkDone());
        return performance.now() - start;
      };
      await submit(1); // drivers compile at the first dispatch
      let dispatches = 1;
      while (dispatches < 4096 && (await submit(dispatches)) < milliseconds / 8) dispatches *= 2;
      const rates: number[] = [];
      const end = performance.now() + milliseconds;
      do rates.push((work * dispatches) / (await submit(dispatches)) / 1e6);
      while (performance.now() < end);
      return rates.sort((a, b) => a - b)[rates.length >> 1]!;
    };

    const groups = 1024;
    const operations = 2 * 4 * accumulators * steps * rounds * workgroup * groups;
    const gflops = await measure(peakShader, [result], groups, operations);
    const gbs = await measure(copyShader, [source, result], 2048, 2 * copied);
    return {
      gflops,
      gbs,
      about: `WGSL fma in registers, and a copy of ${copied / 2 ** 20} MiB by vectors of four`,
    };
  } finally {
    device.destroy();
  }
}
