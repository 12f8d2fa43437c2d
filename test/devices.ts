import type { FloatDType } from "../src/base/dtype.ts";
import { DeviceError } from "../src/base/errors.ts";
import { init } from "../src/runtime/init.ts";

export type BackendName = "cpu" | "webgpu";

let found: Promise<BackendName[]> | undefined;

/**
 * The backends that tests run on: the CPU, and WebGPU where there is an adapter. Without one a warning says
 * that WebGPU was left out, and LORANTZ_REQUIRE_WEBGPU=1 makes it an error instead.
 */
export function backends(): Promise<BackendName[]> {
  found ??= probe();
  return found;
}

/** Every pair of a backend and a float dtype that it computes in. */
export async function floatBackends(): Promise<{ backend: BackendName; dtype: FloatDType }[]> {
  return (await backends()).flatMap((backend) =>
    (backend === "cpu" ? (["float32", "float64"] as const) : (["float32"] as const)).map((dtype) => ({
      backend,
      dtype,
    })),
  );
}

async function probe(): Promise<BackendName[]> {
  try {
    (await init({ backend: "webgpu" })).dispose();
    return ["cpu", "webgpu"];
  } catch (error) {
    if (!(error instanceof DeviceError) || process.env.LORANTZ_REQUIRE_WEBGPU === "1") throw error;
    console.warn(`WebGPU tests are SKIPPED. ${error.message} CONTRIBUTING.md names a software driver.`);
    return ["cpu"];
  }
}
