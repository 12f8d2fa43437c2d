// How the loops of a kernel run, as data: a backend's heuristics choose steps, its printer follows them, inspect() shows
// them. A step never changes what is computed, and the order of sums that follows from it is the kernel's.

/** How the iterations of a loop run that are split off. */
export type By =
  /** As one vector: neighbours of an element. */
  | "lanes"
  /** Written out one after the other. */
  | "copies"
  /** By the invocations of a subgroup or of a workgroup, whose partial results are combined in a fixed order. */
  | "subgroup"
  | "workgroup";

export type Step =
  /** Takes `by` iterations of a loop together. */
  | { readonly split: string; readonly by: number; readonly as: By }
  /** Runs the second loop outside of the first. */
  | { readonly swap: readonly [inner: string, outer: string] };

/** The axis of which iterations run in some way, with how many. */
export function axisAs(
  steps: readonly Step[],
  as: By,
): { readonly axis: string; readonly by: number } | undefined {
  for (const step of steps) if ("split" in step && step.as === as) return { axis: step.split, by: step.by };
  return undefined;
}

/** For people: `i1 by 4 as lanes, swap i1 and i0`. */
export function showSteps(steps: readonly Step[]): string {
  return steps
    .map((step) =>
      "swap" in step
        ? `swap ${step.swap[0]} and ${step.swap[1]}`
        : `${step.split} by ${step.by} as ${step.as}`,
    )
    .join(", ");
}
