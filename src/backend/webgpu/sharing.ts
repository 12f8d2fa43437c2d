import type { Accumulator } from "../../compile/kernel.ts";
import { axisAs, type Step } from "../../compile/steps.ts";
import { workgroupSize } from "./dispatch.ts";
import { valueType } from "./dtypes.ts";
import { update } from "./sums.ts";

/** Who shares a point of the grid, and how partial results become one that all of them have. */
export interface Sharing {
  readonly enable: readonly string[];
  /** Invocations that share a point, and points of a workgroup. */
  readonly invocations: number;
  readonly points: number;
  readonly builtins: string;
  /** Which of the workgroup's points. */
  readonly point: string;
  declare(accumulators: readonly Accumulator[]): readonly string[];
  /** From a0, a1, ... to r0, r1, ...: a tree, in a fixed order. */
  combine(accumulators: readonly Accumulator[]): readonly string[];
}

/** The sharing that the steps say. */
export function sharingOf(steps: readonly Step[]): Sharing | undefined {
  const subgroup = axisAs(steps, "subgroup");
  if (subgroup) return bySubgroups(subgroup.by);
  return axisAs(steps, "workgroup") ? byWorkgroups : undefined;
}

export const byWorkgroups: Sharing = {
  enable: [],
  invocations: workgroupSize,
  points: 1,
  builtins: "@builtin(local_invocation_index) local: u32",
  point: "0u",
  declare: (accumulators) =>
    accumulators.map(
      ({ dtype, index }) => `var<workgroup> partial${index}: array<${valueType(dtype)}, ${workgroupSize}>;`,
    ),
  combine: (accumulators) => [
    ...accumulators.map(({ index }) => `partial${index}[own_] = a${index};`),
    "workgroupBarrier();",
    `for (var half = ${workgroupSize / 2}; half > 0; half /= 2) {`,
    "if (own_ < half) {",
    ...accumulators.map((a) => update(a, `partial${a.index}[own_]`, `partial${a.index}[own_ + half]`)),
    "}",
    "workgroupBarrier();",
    "}",
    ...accumulators.map(({ index }) => `let r${index} = partial${index}[0];`),
  ],
};

const bySubgroups = (invocations: number): Sharing => ({
  enable: ["subgroups"],
  invocations,
  points: workgroupSize / invocations,
  builtins: "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) local: u32",
  point: "subgroup",
  declare: () => [],
  // Each pair of invocations adds the same two numbers, so all end with the same bits.
  combine: (accumulators) => [
    ...Array.from({ length: Math.log2(invocations) }, (_, i) => invocations >> (i + 1)).flatMap((mask) =>
      accumulators.map((a) => update(a, `a${a.index}`, `subgroupShuffleXor(a${a.index}, ${mask}u)`)),
    ),
    ...accumulators.map(({ index }) => `let r${index} = a${index};`),
  ],
});
