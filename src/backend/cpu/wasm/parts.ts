import type { Axis } from "../../../compile/kernel.ts";
import { type Along, costOf, lanesAxis } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { type Cut, cutGrid, levelsOf, none, type Phase, phaseTypes, writeGrid } from "./grid.ts";
import { type Loop, LoopWriter, vectorsOf } from "./nest.ts";
import { Values } from "./values.ts";

/** Units that keep all threads busy to the end. */
const enoughUnits = 8;
/** Elements of a part, about. */
const partElements = 16384;

/** A cut through reduced axes: `outer` ones become axes of the grid, and so do the parts of the next one. */
export interface Parts {
  readonly outer: readonly Axis[];
  readonly inner: readonly Axis[];
  /** Of the first axis in `inner`; the last part also has what is left. */
  readonly length: number;
  readonly count: number;
}

/**
 * Cuts a long reduction whose grid has few units: a sum over everything is one. The cut follows from sizes alone, so
 * that results do not depend on the number of threads.
 */
export function cutReduction(loop: Loop, along: Along, cut: Cut): Parts | undefined {
  const { inner } = loop;
  const over = inner.reduce((product, { extent }) => product * extent, 1);
  const wanted = Math.floor((over * cut.last.extent) / cut.blocks / partElements);
  if (cut.units >= enoughUnits || wanted < 4) return undefined;
  let [depth, places] = [0, 1];
  while (depth < inner.length - 1 && places * inner[depth]!.extent < wanted) places *= inner[depth++]!.extent;
  const { extent } = inner[depth]!;
  // Parts are whole vectors where lanes run along them.
  const step = along === "inner" && depth === inner.length - 1 ? 4 * vectorsOf(loop, along) : 1;
  const most = Math.floor(extent / step);
  const count = Math.max(1, Math.min(Math.ceil(wanted / places), most));
  const length = Math.max(1, Math.floor(most / count)) * step;
  return { outer: inner.slice(0, depth), inner: inner.slice(depth), length, count };
}

/**
 * Two phases: each part leaves what runs in registers in scratch memory, float64 where sums are; then the parts of each
 * element are joined in order, and the element is stored.
 */
export function defineParts(
  module: Module,
  name: string,
  { grid, accumulators, stores }: Loop,
  along: Along,
  { outer, inner, length, count }: Parts,
  given: Arguments,
): { readonly phases: readonly Phase[]; readonly scratch: number } {
  const last = grid[grid.length - 1] ?? none;
  const others = grid.slice(0, -1);
  const innermost = inner[inner.length - 1]!;
  const part: Axis = { name: "part", extent: count };
  const first: Loop = { grid: [...others, ...outer, part, last], inner, accumulators, stores: [] };
  const second: Loop = { grid, inner: [], accumulators, stores };
  const vectors = vectorsOf(first, along);
  const product = (axes: readonly Axis[]) => axes.reduce((n, { extent }) => n * extent, 1);
  const over = length * product(inner.slice(1));
  const sums = accumulators.map(({ expr }) => expr);
  const results = stores.flatMap(({ index, expr }) => [index, expr]);
  const cuts = [cutGrid(first.grid, over), cutGrid(grid, product(outer) * count)] as const;
  let partBytes = 0;
  let step = 1;
  /** The address of what a part keeps of the current step of the last axis. */
  const slotOf = (code: Code, shared: Local, place: Local, v: Local): Local => {
    const slot = code.local("i32");
    const steps = Math.ceil(last.extent / step);
    code
      .get(place)
      .i32(steps * partBytes)
      .op("i32.mul");
    code.get(v).i32(step).op("i32.div_u").i32(partBytes).op("i32.mul", "i32.add").get(shared).op("i32.add");
    code.set(slot);
    return slot;
  };

  module.define(name, phaseTypes, (code, begin, end, args, shared) => {
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots: sums,
      levels: levelsOf(first.grid, inner),
      vector: lanesAxis(along, last, innermost),
      ...given.access(start, args),
    });
    const range = { from: code.local("i32"), to: code.local("i32") };
    const writer = new LoopWriter(code, values, first, last, along, { vectors, range });
    ({ step, partBytes } = writer);
    const stop = code.local("i32");
    const unit = code.piece();
    const p = values.variable(part.name);
    const whole = along === "inner" && inner.length === 1 ? 4 * vectors : 1;
    unit.get(p).i32(length).op("i32.mul").tee(range.from).i32(length).op("i32.add").set(range.to);
    unit
      .get(p)
      .i32(count - 1)
      .op("i32.eq");
    unit.when(() => unit.i32(inner[0]!.extent - (inner[0]!.extent % whole)).set(range.to));
    const place = linear(unit, values, first.grid.slice(0, -1));
    const element = code.piece();
    const slot = slotOf(element, shared!, place, values.variable(last.name));
    element.append(writer.part(slot));
    writeGrid(code, begin, end, cuts[0], {
      variable: (axis) => values.variable(axis),
      stop,
      step,
      start,
      pieces: [[values.piece(0)], [unit, values.piece(1)]],
      element,
    });
  });

  module.define(`${name}Joined`, phaseTypes, (code, begin, end, args, shared) => {
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots: results,
      levels: levelsOf(grid, []),
      afterwards: 3,
      vector: lanesAxis(along, last, none),
      ...given.access(start, args),
    });
    const writer = new LoopWriter(code, values, second, last, along, { vectors });
    const stop = code.local("i32");
    const unit = code.piece();
    const place = linear(unit, values, others);
    const parts = product(outer) * count;
    unit.get(place).i32(parts).op("i32.mul").set(place);
    const v = values.variable(last.name);
    const element = code.piece();
    const slot = slotOf(element, shared!, place, v);
    const apart = Math.ceil(last.extent / step) * partBytes;
    element.append(writer.joined(v, stop, slot, parts, apart));
    writeGrid(code, begin, end, cuts[1], {
      variable: (axis) => values.variable(axis),
      stop,
      step,
      start,
      pieces: [[values.piece(0)], [unit, values.piece(1)]],
      element,
    });
  });

  const steps = Math.ceil(last.extent / step);
  const width = (cut: Cut) => last.extent / cut.blocks;
  return {
    phases: [
      { name, units: cuts[0].units, cost: costOf(width(cuts[0]) * over, sums, along) },
      {
        name: `${name}Joined`,
        units: cuts[1].units,
        cost: costOf(width(cuts[1]) * product(outer) * count, results, along),
      },
    ],
    scratch: product(others) * product(outer) * count * steps * partBytes,
  };
}

/** The number of a place on some axes, in row-major order. */
function linear(code: Code, values: Values, axes: readonly Axis[]): Local {
  const place = code.local("i32");
  code.i32(0);
  for (const { name, extent } of axes)
    code.i32(extent).op("i32.mul").get(values.variable(name)).op("i32.add");
  code.set(place);
  return place;
}
