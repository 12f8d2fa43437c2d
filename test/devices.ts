import { describe } from "vitest";
import type { ComputeFloat } from "../src/base/dtype.ts";
import { DeviceError } from "../src/base/errors.ts";
import { type BackendName, init } from "../src/runtime/init.ts";
import { thorough } from "./thorough.ts";

export type { BackendName };

const adapter = await probe();

/**
 * The backends that tests run on: the CPU, and WebGPU where there is an adapter. Without one a warning says
 * that WebGPU was left out, and LORANTZ_REQUIRE_WEBGPU=1 makes it an error instead.
 */
export async function backends(): Promise<BackendName[]> {
  return adapter ? ["cpu", "webgpu"] : ["cpu"];
}

/** Every pair of a backend and a float dtype that it computes in: float16 is only stored. */
export async function floatBackends(): Promise<{ backend: BackendName; dtype: ComputeFloat }[]> {
  return (await backends()).flatMap((backend) =>
    (backend === "cpu" ? (["float32", "float64"] as const) : (["float32"] as const)).map((dtype) => ({
      backend,
      dtype,
    })),
  );
}

/** A suite for each backend; that of WebGPU is reported as skipped where there is no adapter. */
export function describeBackends(name: string, suite: (backend: BackendName) => void): void {
  describe(`${name} on cpu`, () => suite("cpu"));
  describe.skipIf(!adapter)(`${name} on webgpu`, () => suite("webgpu"));
}

/**
 * A suite for what is made of operations alone, whose graphs any backend runs: on the CPU, and on WebGPU too where every
 * case is wanted. Operations and kernels themselves are tested on both in every run.
 */
export function describeComposed(name: string, suite: (backend: BackendName) => void): void {
  if (thorough) describeBackends(name, suite);
  else describe(`${name} on cpu`, () => suite("cpu"));
}

async function probe(): Promise<boolean> {
  if (process.env.LORANTZ_TEST_WEBGPU === "off") return false; // the CPU alone is at stake: see vitest.config.ts
  try {
    (await init({ backend: "webgpu" })).dispose();
    return true;
  } catch (error) {
    if (!(error instanceof DeviceError) || process.env.LORANTZ_REQUIRE_WEBGPU === "1") throw error;
    console.warn(`WebGPU tests are SKIPPED. ${error.message} CONTRIBUTING.md names a software driver.`);
    return false;
  }
}
