import type { Limits } from "./limits.ts";

// What the processor can do at most from WebAssembly with SIMD, measured in worker threads: multiply-adds whose
// operands stay in registers, and copies of memory much larger than the caches.

/** Accumulators in registers: enough to hide the latency of a multiply and an add, few enough for 16 registers. */
const accumulators = 12;

/**
 * A module that exports `peak(n)`: n rounds of `accumulator * x + y` on each of twelve vectors of four floats, by
 * a multiply and an add, or by the multiply-add of relaxed SIMD. Returns a sum so that nothing is optimised away.
 */
export function peakModule(relaxed: boolean): Uint8Array<ArrayBuffer> {
  const [x, y] = [1, 2]; // locals; 0 is n
  const locals = Array.from({ length: accumulators }, (_, i) => 3 + i);
  const get = (local: number) => [0x20, local];
  const set = (local: number) => [0x21, local];
  const splat = (value: number) => [
    0x43,
    ...new Uint8Array(Float32Array.of(value).buffer),
    ...[0xfd, 0x13], // f32x4.splat
  ];
  const [mul, add] = [
    [0xfd, 0xe6, 0x01],
    [0xfd, 0xe4, 0x01],
  ];
  const multiplyAdd = (local: number) =>
    relaxed
      ? [...get(local), ...get(x), ...get(y), 0xfd, 0x85, 0x02] // f32x4.relaxed_madd
      : [...get(local), ...get(x), ...mul, ...get(y), ...add];
  const body = [
    ...[0x01, locals.length + 2, 0x7b], // locals: v128
    ...[...splat(0.999), ...set(x)],
    ...[...splat(0.001), ...set(y)],
    ...locals.flatMap((local) => [...splat(local), ...set(local)]),
    ...[0x03, 0x40], // loop
    ...locals.flatMap((local) => [...multiplyAdd(local), ...set(local)]),
    ...[...get(0), 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b], // n - 1, again unless it is 0
    ...get(locals[0]!),
    ...locals.slice(1).flatMap((local) => [...get(local), ...add]),
    ...[0xfd, 0x1f, 0, 0x0b], // the first lane
  ];
  const section = (id: number, content: readonly number[]) => [id, ...leb128(content.length), ...content];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 1, 0x7f, 1, 0x7d]), // (i32) -> f32
    ...section(3, [1, 0]),
    ...section(7, [1, 4, ...new TextEncoder().encode("peak"), 0, 0]),
    ...section(10, [1, ...leb128(body.length), ...body]),
  ]);
}

function leb128(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb128(value >>> 7)];
}

/** Runs in a worker: medians over slices of the time, in billions per second. */
const worker = `
const { parentPort, workerData } = require("node:worker_threads");
const { bytes, accumulators, copied, milliseconds } = workerData;
const { peak } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
const from = new Float32Array(copied / 4).fill(1), to = new Float32Array(copied / 4);
const median = (work, f) => {
  f();
  const rates = [], end = performance.now() + milliseconds;
  do {
    const start = performance.now();
    f();
    rates.push(work / (performance.now() - start) / 1e6);
  } while (performance.now() < end);
  return rates.sort((a, b) => a - b)[rates.length >> 1];
};
const rounds = 100_000;
parentPort.on("message", (what) => {
  // A multiply and an add on four floats each; a copy reads and writes.
  const rate = what === "peak"
    ? median(rounds * accumulators * 8, () => peak(rounds))
    : median(2 * copied, () => to.set(from));
  parentPort.postMessage(rate);
});
parentPort.postMessage("ready");
`;

/** Bytes that all threads copy together. */
const copied = 64 * 2 ** 20;

/** Measures on one thread and on all that the process may use. Takes about eight times `milliseconds`. */
export async function probeCpu(milliseconds: number): Promise<Limits> {
  const { availableParallelism } = await import("node:os");
  const relaxed = WebAssembly.validate(peakModule(true));
  const threads = availableParallelism();
  const one = await onThreads(1, relaxed, milliseconds);
  const all = threads > 1 ? await onThreads(threads, relaxed, milliseconds) : one;
  const how = relaxed ? "multiply-add of relaxed SIMD" : "SIMD multiply and add";
  return {
    gflops: Math.max(one.peak, all.peak),
    gbs: Math.max(one.copy, all.copy),
    about: `WebAssembly ${how} in registers, and a copy of ${copied / 2 ** 20} MiB, on ${threads} thread${threads > 1 ? "s" : ""}`,
    oneThread: { gflops: one.peak, gbs: one.copy },
  };
}

async function onThreads(threads: number, relaxed: boolean, milliseconds: number) {
  const { Worker } = await import("node:worker_threads");
  const workerData = { bytes: peakModule(relaxed), accumulators, copied: copied / threads, milliseconds };
  const workers = Array.from({ length: threads }, () => new Worker(worker, { eval: true, workerData }));
  const answers = () =>
    Promise.all(
      workers.map(
        (thread) =>
          new Promise<unknown>((resolve, reject) => thread.once("message", resolve).once("error", reject)),
      ),
    );
  try {
    await answers();
    const measure = async (what: "peak" | "copy") => {
      const rates = answers();
      for (const thread of workers) thread.postMessage(what);
      return ((await rates) as number[]).reduce((sum, rate) => sum + rate, 0); // the worker answers with numbers
    };
    return { peak: await measure("peak"), copy: await measure("copy") };
  } finally {
    await Promise.all(workers.map((thread) => thread.terminate()));
  }
}
