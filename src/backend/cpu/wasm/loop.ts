import type { Loop } from "../../../compile/kernel.ts";
import { type Along, lanesAxis, none } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Module } from "./assemble.ts";
import { cutGrid, levelsOf, type Phase, phaseTypes, writeGrid } from "./grid.ts";
import {
  blocksOf,
  chooseLanes,
  columnBlocks,
  loadsAcrossLines,
  unitTime,
  walksDownRows,
} from "./heuristics.ts";
import { LoopWriter } from "./nest.ts";
import { cutReduction, defineParts } from "./parts.ts";
import { Sweep } from "./sweep.ts";
import { Values } from "./values.ts";

export interface DefinedLoop {
  readonly along: Along;
  readonly phases: readonly Phase[];
  /** Bytes of scratch memory that threads share. */
  readonly scratch: number;
}

/**
 * A loop kernel. The grid is cut into units: one place on all axes but the last, and a block of that. Lanes run
 * along the last axis of the grid (each lane its own element) or along the last reduced axis (lanes are partial
 * sums, joined at the end in a fixed order), whichever loads more by whole vectors. Long reductions with few units are
 * cut too (parts.ts).
 */
export function defineLoop(module: Module, name: string, loop: Loop, given: Arguments): DefinedLoop {
  const { grid, inner, accumulators, stores } = loop;
  const last = grid[grid.length - 1] ?? none;
  const innermost = inner[inner.length - 1] ?? none;
  const roots = [
    ...accumulators.map(({ expr }) => expr),
    ...stores.flatMap(({ index, expr }) => [index, expr]),
  ];
  const along = chooseLanes(loop, last, innermost, roots);
  const over = inner.reduce((product, { extent }) => product * extent, 1);
  const strided =
    along === "grid" && accumulators.length === 0 && grid.length > 1 && loadsAcrossLines(roots, last);
  const swept = along === "grid" && walksDownRows(loop, last);
  const cut = cutGrid(grid, swept ? columnBlocks : (axis) => blocksOf(axis, over, strided));
  const parts = accumulators.length > 0 ? cutReduction(loop, along, cut) : undefined;
  if (parts) return { along, ...defineParts(module, name, loop, along, parts, given) };

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
    const sweep = swept ? new Sweep(code, scratch, innermost.extent) : undefined;
    const writer = new LoopWriter(code, values, loop, last, along, { sweep });
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
  const cost = unitTime((last.extent / cut.blocks) * over, roots, along);
  return { along, phases: [{ name, units: cut.units, cost }], scratch: 0 };
}
