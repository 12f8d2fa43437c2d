import type { Loop } from "../../../compile/kernel.ts";
import { product } from "../../../compile/nest.ts";
import { axisAs, type Step } from "../../../compile/steps.ts";
import { alongOf, lanesAxis, none } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Module } from "./assemble.ts";
import { cutGrid, type DefinedStage, levelsOf, phaseTypes, writeGrid } from "./grid.ts";
import { unitTime } from "./heuristics.ts";
import { LoopWriter } from "./nest.ts";
import { Sweep } from "./sweep.ts";
import { Values } from "./values.ts";

/** A loop, as its steps say. */
export function defineLoop(
  module: Module,
  name: string,
  loop: Loop,
  steps: readonly Step[],
  given: Arguments,
): DefinedStage {
  const { grid, inner, accumulators, stores } = loop;
  const along = alongOf(steps, grid);
  const cut = cutGrid(grid, steps);
  const last = grid[grid.length - 1] ?? none;
  const innermost = inner[inner.length - 1] ?? none;
  const vectors = axisAs(steps, "copies")?.by ?? 1;
  const roots = [
    ...accumulators.map(({ expr }) => expr),
    ...stores.flatMap(({ index, expr }) => [index, expr]),
  ];
  const rows = axisAs(steps, "blocks", innermost.name)?.by;
  module.define(name, phaseTypes, (code, { begin, end, args, scratch }) => {
    const afterwards = 3 + inner.length;
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots,
      levels: levelsOf(grid, inner),
      ...(accumulators.length > 0 ? { afterwards } : {}),
      vector: lanesAxis(along, last, innermost),
      ...given.access(start, args),
    });
    const sweep = rows ? new Sweep(code, scratch, innermost.extent, rows) : undefined;
    const writer = new LoopWriter(code, values, loop, last, along, { vectors, sweep });
    const stop = code.local("i32");
    const element = writer.element(values.variable(last.name), stop);
    writeGrid(code, begin, end, cut, {
      variable: (axis) => values.variable(axis),
      stop,
      step: writer.step,
      start,
      pieces: [0, 1].map((level) => [values.piece(level)]),
      element,
      ...(sweep ? { around: sweep.around } : {}),
    });
  });
  const cost = unitTime((last.extent / cut.blocks) * product(inner), roots, along);
  return { phase: { name, units: cut.units, cost }, scratch: 0 };
}
