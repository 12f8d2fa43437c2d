import { expect } from "vitest";
import { compile, type Device, type Tensor, tensor } from "../src/index.ts";

/** Calls a compiled function with tensors of 1 to `count` elements: more programs than a device keeps, each of them right. */
export async function manySignatures(device: Device, count: number): Promise<void> {
  const f = compile((x: Tensor) => x.add(1), { donate: [0], device });
  const of = (n: number): Tensor => tensor(new Float32Array(n).fill(n));
  for (let n = 1; n <= count; n++) (await f(of(n))).dispose();
  expect(f.traces).toBe(count);
  expect(device.programs).toBeLessThanOrEqual(256);
  for (const n of [1, 2, count, 3])
    expect(await (await f(of(n))).data()).toEqual(new Float32Array(n).fill(n + 1));
  // Many at a time push each other out while they load.
  const results = await Promise.all(Array.from({ length: count }, (_, i) => f(of(count - i))));
  for (const [i, result] of results.entries()) {
    if (i % 29 === 0) expect(await result.data()).toEqual(new Float32Array(count - i).fill(count - i + 1));
  }
}
