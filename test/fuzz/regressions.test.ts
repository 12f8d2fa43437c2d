import { expect, test } from "vitest";
import type { Tensor } from "../../src/index.ts";
import type { Leaf, Mode } from "./case.ts";
import { judge } from "./judge.ts";
import { wrongSlope } from "./slopes.ts";
import { openTargets } from "./targets.ts";

// Graphs that once failed, as the fuzzer printed them, on every executor of the CPU.

const targets = await openTargets("cpu");

function check(
  name: string,
  mode: Mode,
  leaves: readonly Leaf[],
  build: (...leaves: never[]) => Tensor[],
): void {
  test.each(targets)(`${name} on $name`, async (target) => {
    const plain = (given: readonly unknown[]) => build(...(given as never[]));
    const { gradient } = mode;
    const { fault, judged } = await judge(leaves, plain, mode, target);
    expect(fault).toBeUndefined();
    expect(judged).toBeGreaterThan(0);
    if (gradient !== 0) expect(await wrongSlope(leaves, plain, gradient)).toBeUndefined();
  });
}

check(
  "clamp by tensors",
  { gradient: 1, run: "together", donate: false },
  [
    { id: "x7", dtype: "float32", shape: [2], values: [0, 0] },
    { id: "s5", dtype: "float32", shape: [4, 1], values: [-1.4, 1.8, 1.1, -1.7] },
  ],
  (x7: Tensor<"float32">, s5: Tensor<"float32">) => {
    const s6 = s5.clamp(null, x7);
    return [s6];
  },
);
