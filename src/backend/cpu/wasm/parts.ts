import type { Expr } from "../../../compile/expr.ts";
import type { Axis, Loop } from "../../../compile/kernel.ts";
import { product } from "../../../compile/nest.ts";
import type { Step } from "../../../compile/steps.ts";
import { type Along, lanesAxis, none } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { cutGrid, levelsOf, type Phase, phaseTypes, writeGrid } from "./grid.ts";
import { partMultiple, unitSteps, unitTime, vectorsOf } from "./heuristics.ts";
import { LoopWriter, partBytes } from "./nest.ts";
import { Values } from "./values.ts";

/** A cut through reduced axes: `outer` ones become axes of the grid, and so do the parts of the next one. */
export interface Parts {
  readonly outer: readonly Axis[];
  readonly inner: readonly Axis[];
  /** Of the first axis in `inner`; the last part also has what is left. */
  readonly length: number;
  readonly count: number;
}

/** The cut that the steps say. */
export function partsOf(loop: Loop, along: Along, steps: readonly Step[]): Parts | undefined {
  const { inner } = loop;
  for (const step of steps) {
    if (!("cut" in step)) continue;
    const depth = inner.findIndex(({ name }) => name === step.cut);
    const multiple = partMultiple(loop, along, depth);
    const length = Math.max(1, Math.floor(inner[depth]!.extent / multiple / step.into)) * multiple;
    return { outer: inner.slice(0, depth), inner: inner.slice(depth), length, count: step.into };
  }
  return undefined;
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
  const part: Axis = { name: "part", extent: count };
  const first: Loop = { grid: [...others, ...outer, part, last], inner, accumulators, stores: [] };
  const second: Loop = { grid, inner: [], accumulators, stores };
  const vectors = vectorsOf(first, along);
  const parts = product(outer) * count;
  // What the parts of one place keep lies by part, then by steps along the last axis.
  const step = along === "grid" ? 4 * vectors : 1;
  const bytes = partBytes(first, along, vectors);
  const rowBytes = Math.ceil(last.extent / step) * bytes;

  /** A phase over the grid of `loop`; `write` writes its units with the address of what the first part there keeps. */
  const phase = (
    phaseName: string,
    loop: Loop,
    over: number,
    roots: readonly Expr[],
    innermost: Axis,
    write: (unit: Code, element: Code, values: Values, slot: Local, stop: Local) => void,
  ): Phase => {
    const cut = cutGrid(loop.grid, unitSteps(loop.grid, over));
    module.define(phaseName, phaseTypes, (code, { begin, end, args, shared }) => {
      const start = code.piece();
      const values = new Values(code, {
        module,
        roots,
        levels: levelsOf(loop.grid, loop.inner),
        afterwards: 3 + loop.inner.length,
        vector: lanesAxis(along, last, innermost),
        ...given.access(start, args),
      });
      const [unit, element] = [code.piece(), code.piece()];
      const [stop, place, slot] = [code.local("i32"), code.local("i32"), code.local("i32")];
      unit.i32(0);
      for (const { name: axis, extent } of loop.grid.slice(0, -1))
        unit.i32(extent).op("i32.mul").get(values.variable(axis)).op("i32.add");
      unit
        .i32(loop === first ? rowBytes : parts * rowBytes)
        .op("i32.mul")
        .get(shared!)
        .op("i32.add")
        .set(place);
      element.get(values.variable(last.name)).i32(step).op("i32.div_u").i32(bytes).op("i32.mul");
      element.get(place).op("i32.add").set(slot);
      write(unit, element, values, slot, stop);
      writeGrid(code, begin, end, cut, {
        variable: (axis) => values.variable(axis),
        stop,
        step,
        start,
        pieces: [[values.piece(0)], [unit, values.piece(1)]],
        element,
      });
    });
    return {
      name: phaseName,
      units: cut.units,
      cost: unitTime((last.extent / cut.blocks) * over, roots, along),
    };
  };

  const sums = accumulators.map(({ expr }) => expr);
  const results = stores.flatMap(({ index, expr }) => [index, expr]);
  const [cut, ...rest] = inner as [Axis, ...Axis[]];
  const phases = [
    phase(
      name,
      first,
      length * product(rest),
      sums,
      inner[inner.length - 1]!,
      (unit, element, values, slot) => {
        const range = { from: element.local("i32"), to: element.local("i32") };
        const p = values.variable(part.name);
        const whole = along === "inner" && rest.length === 0 ? 4 * vectors : 1;
        unit.get(p).i32(length).op("i32.mul").tee(range.from).i32(length).op("i32.add").set(range.to);
        unit
          .get(p)
          .i32(count - 1)
          .op("i32.eq");
        unit.when(() => unit.i32(cut.extent - (cut.extent % whole)).set(range.to));
        element.append(new LoopWriter(element, values, first, last, along, { vectors, range }).part(slot));
      },
    ),
    phase(`${name}Joined`, second, parts, results, none, (_, element, values, slot, stop) => {
      const writer = new LoopWriter(element, values, second, last, along, { vectors });
      element.append(writer.joined(values.variable(last.name), stop, slot, parts, rowBytes));
    }),
  ];
  return { phases, scratch: product(others) * parts * rowBytes };
}
