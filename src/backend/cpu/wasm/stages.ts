import { asLoop } from "../../../compile/nest.ts";
import { type Stage, showSteps } from "../../../compile/steps.ts";
import type { Arguments } from "./arguments.ts";
import type { Module } from "./assemble.ts";
import type { Phase } from "./grid.ts";
import { defineLoop } from "./loop.ts";
import { asPart, definePart } from "./parts.ts";
import { defineRows } from "./rows.ts";

/** What the functions of a kernel are, and how they run. */
export interface Defined {
  readonly phases: readonly Phase[];
  readonly scratch?: number;
  readonly note?: string;
}

/** A function for each stage of a nest. */
export function defineStages(
  module: Module,
  stages: readonly Stage[],
  given: Arguments,
  name = "run",
): Defined {
  const defined = stages.map((stage, i) => {
    const own = i === 0 ? name : `${name}${i}`;
    const { nest, steps } = stage;
    const loop = asLoop(nest);
    if (loop) return defineLoop(module, own, loop, steps, given);
    const part = asPart(nest);
    return part ? definePart(module, own, part, steps, given) : defineRows(module, own, stage, given);
  });
  return {
    phases: defined.map(({ phase }) => phase),
    scratch: Math.max(...defined.map(({ scratch }) => scratch)),
    note: stages.flatMap(({ steps }) => showSteps(steps) || []).join("; then "),
  };
}
