import { DeviceError, LorantzError } from "../../base/errors.ts";
import { type BackendName, init } from "../../runtime/init.ts";
import type { Answer, BenchCase, Prepared, Work } from "./case.ts";
import { adapterCost } from "./cases.ts";
import type { Limits } from "./limits.ts";
import { probeCpu } from "./probe-cpu.ts";
import { probeWebGpu } from "./probe-webgpu.ts";
import type { BackendResults, CaseResult, Failure, Spread } from "./results.ts";

export interface BenchOptions {
  readonly cases: readonly BenchCase[];
  /** Milliseconds for each case, and for each probe. */
  readonly time: number;
  readonly onProgress?: (done: number, total: number, what: string) => Promise<void>;
}

/**
 * Largest error relative to the largest magnitude of an answer: float32 sums of about a thousand terms, in any
 * order.
 */
export const tolerance = 2e-5;

/** Every case is measured this often, in turn, so that a busy moment of the machine spoils none of them. */
const rounds = 3;

/** What measures the limits of each backend. */
const probes: { readonly [B in BackendName]: (milliseconds: number) => Promise<Limits> } = {
  cpu: probeCpu,
  webgpu: probeWebGpu,
};

/**
 * Measures the limits of a backend and then every case on it: the answer is checked before it is timed.
 *
 * @throws DeviceError if the backend cannot be had.
 */
export async function benchBackend(
  backend: BackendName,
  { cases, time, onProgress = async () => {} }: BenchOptions,
): Promise<BackendResults> {
  const { Bench } = await loadTinybench();
  using device = await init({ backend });
  const total = 1 + cases.length * (1 + rounds);
  let done = 0;
  const progress = (what: string) => onProgress(done++, total, `${what} on ${backend}`);

  await progress("limits");
  const limits = await probes[backend](time / 4);
  const failures: Failure[] = [];
  const ready: Ready[] = [];
  for (const one of cases) {
    await progress(`checking ${one.name}`);
    try {
      const prepared = await one.prepare(device);
      const error = worst(await prepared.answers());
      if (error <= tolerance) ready.push({ case: one, prepared, error, samples: [] });
      else {
        const reason = `the answer is wrong: error ${error.toExponential(1)} relative to the largest magnitude, allowed ${tolerance}`;
        failures.push({ name: one.name, reason });
      }
    } catch (error) {
      failures.push({ name: one.name, reason: reasonOf(error) });
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, prepared, samples } of ready) {
      await progress(one.name);
      if (failures.some(({ name }) => name === one.name)) continue;
      const bench = new Bench({
        time: one.cold ? 0 : time / rounds,
        iterations: one.cold ? 1 : 2,
        warmup: !one.cold,
        warmupTime: 0,
        warmupIterations: 1,
        retainSamples: true,
        throws: true,
      });
      bench.add(one.name, () => prepared.run(), { async: true });
      try {
        const [task] = await bench.run();
        const result = task?.result;
        if (result && "latency" in result) samples.push(...(result.latency.samples ?? []));
      } catch (error) {
        failures.push({ name: one.name, reason: reasonOf(error) });
      }
    }
  }
  const failed = new Set(failures.map(({ name }) => name));
  const results = ready
    .filter(({ case: one }) => !failed.has(one.name))
    .map((entry) => caseResult(entry, limits));
  return {
    name: backend,
    description: device.description,
    limits,
    results,
    ratios: ratiosOf(results),
    failures,
  };
}

interface Ready {
  readonly case: BenchCase;
  readonly prepared: Prepared;
  readonly error: number;
  readonly samples: number[];
}

/** The largest error of several answers, each relative to its largest magnitude. */
function worst(answers: readonly Answer[]): number {
  return answers.reduce((most, { expected, got }) => {
    if (expected.length !== got.length) return Number.POSITIVE_INFINITY;
    let [error, magnitude] = [0, 0];
    for (let i = 0; i < expected.length; i++) {
      const distance = Math.abs(expected[i]! - got[i]!);
      // NaN is an error however large.
      error = Math.max(error, Number.isNaN(distance) ? Number.POSITIVE_INFINITY : distance);
      magnitude = Math.max(magnitude, Math.abs(expected[i]!));
    }
    return Math.max(most, error === 0 ? 0 : error / magnitude);
  }, 0);
}

function caseResult({ case: { name, about, work }, error, samples }: Ready, limits: Limits): CaseResult {
  const ms = spreadOf(samples);
  const rate = rateOf(work, ms.median);
  const limit = { "GFLOP/s": limits.gflops, "GB/s": limits.gbs, "us/op": undefined }[rate?.unit ?? "us/op"];
  return {
    name,
    about,
    work,
    ms,
    samples: samples.length,
    error,
    ...(rate ? { rate } : {}),
    ...(rate && limit ? { shareOfLimit: rate.value / limit } : {}),
  };
}

function rateOf(work: Work, ms: number): CaseResult["rate"] {
  // 10^9 per second are 10^6 per millisecond.
  if ("flops" in work) return { value: work.flops / ms / 1e6, unit: "GFLOP/s" };
  if ("bytes" in work) return { value: work.bytes / ms / 1e6, unit: "GB/s" };
  if ("operations" in work) return { value: (1000 * ms) / work.operations, unit: "us/op" };
  return undefined;
}

function spreadOf(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) => {
    const place = share * (sorted.length - 1);
    const [low, high] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    return low + (place % 1) * (high - low);
  };
  return { median: at(0.5), p25: at(0.25), p75: at(0.75), min: at(0), max: at(1) };
}

function ratiosOf(results: readonly CaseResult[]) {
  const median = (name: string) => results.find((result) => result.name === name)?.ms.median;
  const [adapted, frozen] = [median(adapterCost.adapted), median(adapterCost.frozen)];
  if (adapted === undefined || frozen === undefined) return [];
  return [{ name: `${adapterCost.adapted} / ${adapterCost.frozen}`, value: adapted / frozen }];
}

function reasonOf(error: unknown): string {
  if (error instanceof LorantzError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function loadTinybench(): Promise<typeof import("tinybench")> {
  try {
    return await import("tinybench");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new DeviceError(
      "bench: the package tinybench is not installed. Run `npm install --save-dev tinybench`.",
    );
  }
}
