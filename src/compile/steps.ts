import type { Axis, Nest } from "./nest.ts";

// How the loops of a kernel run, as data: a backend's heuristics choose steps, its printer follows them, inspect() shows
// them. A step never changes what is computed, and the order of sums that follows from it is the kernel's.

/** How iterations of a loop run that are taken together. */
export type By =
  /** As one vector: neighbours of an element. */
  | "lanes"
  /** Written out one after the other. */
  | "copies"
  /** In a loop of their own inside of what is left of the loop. */
  | "blocks"
  /** By one thread, as the unit that threads take. */
  | "units"
  /** By the invocations of a subgroup or of a workgroup, whose partial results are combined in a fixed order. */
  | "subgroup"
  | "workgroup";

export type Step =
  /** Takes `by` iterations of a loop together. */
  | {
      readonly split: string;
      readonly by: number;
      readonly as: By;
      /** Only where these are accumulated; by default wherever the loop runs. */
      readonly results?: readonly number[];
    }
  /** Cuts a reduction into so many parts that run beside each other and are combined in a fixed order. */
  | { readonly cut: string; readonly into: number }
  /** Adds up so many elements at most in float32, before their sum is added to one in float64. */
  | { readonly near: number }
  /** Runs loops that are inside of each other as one. */
  | { readonly join: readonly string[]; readonly as: string }
  /** Runs the second loop inside of the first, which was inside of it. */
  | { readonly swap: readonly [inner: string, outer: string] };

/** A nest with how it runs. A kernel is several where one has to be done before the next begins. */
export interface Stage {
  readonly nest: Nest;
  readonly steps: readonly Step[];
}

/** The axis of which iterations run in some way, with how many; the first one, or that of a name. */
export function axisAs(
  steps: readonly Step[],
  as: By,
  name?: string,
): { readonly axis: string; readonly by: number } | undefined {
  for (const step of steps)
    if ("split" in step && step.as === as && (name === undefined || step.split === name))
      return { axis: step.split, by: step.by };
  return undefined;
}

/** How many copies of a loop run where some results are accumulated, or elements are written. */
export function copiesOf(
  steps: readonly Step[],
  name: string,
  accumulators?: readonly { readonly index: number }[],
): number {
  for (const step of steps)
    if ("split" in step && step.as === "copies" && step.split === name) {
      const { results, by } = step;
      if (!results || accumulators?.every(({ index }) => results.includes(index))) return by;
    }
  return 1;
}

/** Whether loops over a few points are written out, all of them. */
export function isWrittenOut(steps: readonly Step[], over: readonly Axis[]): boolean {
  return over.length > 0 && over.every(({ name, extent }) => copiesOf(steps, name) === extent);
}

/** How many elements are added up in float32; undefined where all sums are in float64. */
export function nearOf(steps: readonly Step[]): number | undefined {
  return steps.find((step) => "near" in step)?.near;
}

/** Whether a loop runs outside of one that was outside of it. */
export function isSwapped(steps: readonly Step[], inner: string, outer: string): boolean {
  return steps.some((step) => "swap" in step && step.swap[0] === inner && step.swap[1] === outer);
}

/** The name of the loop as which these run together. */
export function joinedAs(steps: readonly Step[], axes: readonly Axis[]): string | undefined {
  for (const step of steps)
    if ("join" in step && axes.every(({ name }) => step.join.includes(name))) return step.as;
  return undefined;
}

/** For people: `i1 by 4 as lanes, swap i1 and i0`. */
export function showSteps(steps: readonly Step[]): string {
  const show = (step: Step): string => {
    if ("swap" in step) return `swap ${step.swap[0]} and ${step.swap[1]}`;
    if ("join" in step) return `join ${step.join.join(" and ")} as ${step.as}`;
    if ("near" in step) return `${step.near} added up in float32`;
    if ("cut" in step) return `cut ${step.cut} into ${step.into}`;
    const only = step.results ? ` for results ${step.results.join(" and ")}` : "";
    return `${step.split} by ${step.by} as ${step.as}${only}`;
  };
  return steps.map(show).join(", ");
}
