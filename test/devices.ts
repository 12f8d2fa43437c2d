import { openGpu } from "#gpu";
import type { FloatDType } from "../src/base/dtype.ts";

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
  const opened = await openGpu();
  const adapter = "reason" in opened ? null : await opened.wait(opened.gpu.requestAdapter());
  if (adapter) return ["cpu", "webgpu"];
  const reason = "reason" in opened ? opened.reason : "no WebGPU adapter was found";
  if (process.env.LORANTZ_REQUIRE_WEBGPU === "1") throw new Error(`LORANTZ_REQUIRE_WEBGPU=1, but ${reason}`);
  console.warn(`WebGPU tests are SKIPPED: ${reason}. See CONTRIBUTING.md for a software driver.`);
  return ["cpu"];
}
