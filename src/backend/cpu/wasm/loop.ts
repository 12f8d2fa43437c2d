import type { Loop } from "../../../compile/kernel.ts";
import { axisAs, nearOf, type Step } from "../../../compile/steps.ts";
import { alongOf, lanesAxis, nearLanes, none } from "./along.ts";
import { type Grid, levelsOf, type Site } from "./grid.ts";
import { LoopWriter } from "./nest.ts";
import { Sweep } from "./sweep.ts";
import { Values } from "./values.ts";

/** A loop, as its steps say. */
export function writeLoop(
  { module, given, code, start, params }: Site,
  loop: Loop,
  steps: readonly Step[],
): Omit<Grid, "start"> {
  const { grid, inner, accumulators, stores } = loop;
  const along = alongOf(steps, grid);
  const last = grid[grid.length - 1] ?? none;
  const innermost = inner[inner.length - 1] ?? none;
  const vectors = axisAs(steps, "copies")?.by ?? 1;
  const rows = axisAs(steps, "blocks", innermost.name)?.by;
  const near = nearOf(steps);
  const values = new Values(code, {
    module,
    roots: [...accumulators.map(({ expr }) => expr), ...stores.flatMap(({ index, expr }) => [index, expr])],
    levels: levelsOf(grid, inner),
    ...(accumulators.length > 0 ? { afterwards: 3 + inner.length } : {}),
    vector: near ? nearLanes(inner, vectors) : lanesAxis(along, last, innermost, vectors),
    ...given.access(start, params.args),
  });
  const sweep = rows ? new Sweep(code, params.scratch, innermost.extent, rows) : undefined;
  const writer = new LoopWriter(code, values, loop, last, along, { vectors, sweep, near });
  const stop = code.local("i32");
  const element = writer.element(values.variable(last.name), stop);
  return {
    variable: (axis) => values.variable(axis),
    stop,
    step: writer.step,
    pieces: [0, 1].map((level) => [values.piece(level)]),
    element,
    ...(sweep ? { around: sweep.around } : {}),
  };
}
