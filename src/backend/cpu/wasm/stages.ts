import { asLoop } from "../../../compile/nest.ts";
import { type Stage, showSteps } from "../../../compile/steps.ts";
import type { Arguments } from "./arguments.ts";
import type { Module } from "./assemble.ts";
import { cutGrid, type Grid, type Phase, phaseTypes, type Site, writeGrid } from "./grid.ts";
import { unitCost } from "./heuristics.ts";
import { writeLoop } from "./loop.ts";
import { asPart, partsBytes, writePart } from "./parts.ts";
import { writeRows } from "./rows.ts";

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
  const phases = stages.map((stage, i) => defineStage(module, i === 0 ? name : `${name}${i}`, stage, given));
  return {
    phases,
    scratch: Math.max(...stages.map(partsBytes)),
    note: stages.flatMap(({ steps }) => showSteps(steps) || []).join("; then "),
  };
}

function defineStage(module: Module, name: string, stage: Stage, given: Arguments): Phase {
  const { nest, steps } = stage;
  const cut = cutGrid(nest.grid, steps);
  module.define(name, phaseTypes, (code, { begin, end, ...params }) => {
    const site = { module, given, code, start: code.piece(), params };
    writeGrid(code, begin, end, cut, { start: site.start, ...write(site, stage) });
  });
  return { name, units: cut.units, cost: unitCost(stage, cut.blocks) };
}

function write(site: Site, stage: Stage): Omit<Grid, "start"> {
  const { nest, steps } = stage;
  const loop = asLoop(nest);
  if (loop) return writeLoop(site, loop, steps);
  const part = asPart(nest);
  return part ? writePart(site, stage, part) : writeRows(site, nest, steps);
}
