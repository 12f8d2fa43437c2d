import type { KernelTimes } from "../backend.ts";
import type { OpenGpu } from "./gpu-web.ts";

/** One run of a program, taken apart: what is encoded before the kernels, and each kernel. */
export interface Work {
  readonly before: (encoder: GPUCommandEncoder) => void;
  readonly kernels: readonly ((pass: GPUComputePassEncoder) => void)[];
}

/** Submits work with a pass for each kernel and times them: by timestamps where the device has them. */
export function timeKernels(device: GPUDevice, wait: OpenGpu["wait"], work: Work): Promise<KernelTimes> {
  return device.features.has("timestamp-query")
    ? timeByDevice(device, wait, work)
    : timeByHost(device, wait, work);
}

/** Passes that one query set holds, at two timestamps each. */
const passesPerSet = 2048;

async function timeByDevice(device: GPUDevice, wait: OpenGpu["wait"], work: Work): Promise<KernelTimes> {
  const { kernels } = work;
  if (kernels.length === 0) return timeByHost(device, wait, work);
  const sets = Array.from({ length: Math.ceil(kernels.length / passesPerSet) }, (_, i) =>
    device.createQuerySet({
      type: "timestamp",
      count: 2 * Math.min(passesPerSet, kernels.length - i * passesPerSet),
    }),
  );
  const size = 16 * kernels.length;
  const resolved = device.createBuffer({
    size,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  work.before(encoder);
  kernels.forEach((kernel, i) => {
    const at = 2 * (i % passesPerSet);
    const querySet = sets[Math.floor(i / passesPerSet)]!;
    const timestampWrites = { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
    const pass = encoder.beginComputePass({ timestampWrites });
    kernel(pass);
    pass.end();
  });
  sets.forEach((set, i) => {
    encoder.resolveQuerySet(set, 0, set.count, resolved, i * 16 * passesPerSet);
  });
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  try {
    await wait(staging.mapAsync(GPUMapMode.READ));
    const nanoseconds = new BigUint64Array(staging.getMappedRange());
    const milliseconds = (i: number) => Number(nanoseconds[i]!) / 1e6;
    const spans = kernels.map((_, i) => ({ start: milliseconds(2 * i), end: milliseconds(2 * i + 1) }));
    return { clock: "device", spans };
  } finally {
    for (const used of [...sets, resolved, staging]) used.destroy();
  }
}

/** A submit for each kernel; it ran from when the one before was done. */
async function timeByHost(device: GPUDevice, wait: OpenGpu["wait"], work: Work): Promise<KernelTimes> {
  const submit = (encode: (encoder: GPUCommandEncoder) => void): Promise<number> => {
    const encoder = device.createCommandEncoder();
    encode(encoder);
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone().then(() => performance.now());
  };
  const done = [submit(work.before)];
  for (const kernel of work.kernels) {
    done.push(
      submit((encoder) => {
        const pass = encoder.beginComputePass();
        kernel(pass);
        pass.end();
      }),
    );
  }
  const ends = await wait(Promise.all(done));
  return { clock: "host", spans: ends.slice(1).map((end, i) => ({ start: ends[i]!, end })) };
}
