import type { Axis, Loop, Nest } from "../../../compile/kernel.ts";
import { product, type Share } from "../../../compile/nest.ts";
import { axisAs, type Step } from "../../../compile/steps.ts";
import { alongOf, lanesAxis, none } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Module } from "./assemble.ts";
import { cutGrid, type DefinedStage, levelsOf, phaseTypes, writeGrid } from "./grid.ts";
import { unitTime } from "./heuristics.ts";
import { LoopWriter, partBytes } from "./nest.ts";
import { Values } from "./values.ts";

/** A nest of parts, or of results that combine them, as a loop of its own. */
interface Part extends Loop {
  /** What a part has of its first inner axis. */
  readonly share: Share | undefined;
  /** Whose parts are joined, where they are. */
  readonly over: readonly Axis[] | undefined;
}

/** The nest as a part, if it keeps something or combines what was kept. */
export function asPart({ grid, body: [first, second] }: Nest): Part | undefined {
  if (first?.kind === "for" && second?.kind === "keep")
    return {
      grid,
      inner: first.over,
      share: first.share,
      accumulators: second.accumulators,
      stores: [],
      over: undefined,
    };
  if (first?.kind === "combine" && second?.kind === "write")
    return {
      grid,
      inner: [],
      share: undefined,
      accumulators: first.accumulators,
      stores: second.stores,
      over: first.over,
    };
  return undefined;
}

/**
 * Parts leave what runs in registers in scratch memory, float64 where sums are: by part, then by steps along the last axis
 * of the grid. Results join the parts of each element in order, and store the element.
 */
export function definePart(
  module: Module,
  name: string,
  part: Part,
  steps: readonly Step[],
  given: Arguments,
): DefinedStage {
  const { grid, inner, share, accumulators, stores, over } = part;
  const last = grid[grid.length - 1] ?? none;
  const along = alongOf(steps, grid);
  const vectors = axisAs(steps, "copies")?.by ?? 1;
  const step = along === "grid" ? 4 * vectors : 1;
  const bytes = partBytes(part, along, vectors);
  const rowBytes = Math.ceil(last.extent / step) * bytes;
  const joined = over ? product(over) : 1;
  const roots = over
    ? stores.flatMap(({ index, expr }) => [index, expr])
    : accumulators.map(({ expr }) => expr);
  const [cutAxis = none, ...rest] = inner;
  const length = share?.length ?? 0;
  // Of the last part, what makes no whole vectors comes after its loop.
  const multiple = along === "inner" && rest.length === 0 ? 4 * vectors : 1;
  const cut = cutGrid(grid, steps);
  module.define(name, phaseTypes, (code, { begin, end, args, shared }) => {
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots,
      levels: levelsOf(grid, inner),
      afterwards: 3 + inner.length,
      vector: lanesAxis(along, last, inner[inner.length - 1] ?? none),
      ...given.access(start, args),
    });
    const [unit, element] = [code.piece(), code.piece()];
    const [stop, place, slot] = [code.local("i32"), code.local("i32"), code.local("i32")];
    unit.i32(0);
    for (const { name: axis, extent } of grid.slice(0, -1))
      unit.i32(extent).op("i32.mul").get(values.variable(axis)).op("i32.add");
    unit
      .i32(joined * rowBytes)
      .op("i32.mul")
      .get(shared!)
      .op("i32.add")
      .set(place);
    element.get(values.variable(last.name)).i32(step).op("i32.div_u").i32(bytes).op("i32.mul");
    element.get(place).op("i32.add").set(slot);
    if (!share) {
      const writer = new LoopWriter(element, values, part, last, along, { vectors });
      element.append(writer.joined(values.variable(last.name), stop, slot, joined, rowBytes));
    } else {
      const range = { from: element.local("i32"), to: element.local("i32") };
      const p = values.variable(share.part.name);
      unit.get(p).i32(length).op("i32.mul").tee(range.from).i32(length).op("i32.add").set(range.to);
      unit
        .get(p)
        .i32(share.part.extent - 1)
        .op("i32.eq");
      unit.when(() => unit.i32(cutAxis.extent - (cutAxis.extent % multiple)).set(range.to));
      element.append(new LoopWriter(element, values, part, last, along, { vectors, range }).part(slot));
    }
    writeGrid(code, begin, end, cut, {
      variable: (axis) => values.variable(axis),
      stop,
      step,
      start,
      pieces: [[values.piece(0)], [unit, values.piece(1)]],
      element,
    });
  });
  const elements = over ? joined : length * product(rest);
  return {
    phase: { name, units: cut.units, cost: unitTime((last.extent / cut.blocks) * elements, roots, along) },
    scratch: over ? 0 : product(grid.slice(0, -1)) * rowBytes,
  };
}
