import { expect, test } from "vitest";
import type { Tensor } from "../../src/index.ts";
import type { Leaf, Mode } from "./case.ts";
import { judge } from "./judge.ts";
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
    const { fault, judged } = await judge(leaves, (given) => build(...(given as never[])), mode, target);
    expect(fault).toBeUndefined();
    expect(judged).toBeGreaterThan(0);
  });
}

check(
  "where, slice",
  { gradient: 1, run: "together", donate: false },
  [{ id: "x0", dtype: "float32", shape: [2, 4], values: [1, -2, 3, 0, 2, -1, -3, 1] }],
  (x0: Tensor) => {
    const s0 = x0.slice([1, 1], [2, 4], [1, 2]);
    return [s0];
  },
);
