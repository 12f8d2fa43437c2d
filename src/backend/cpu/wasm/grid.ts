import type { Axis } from "../../../compile/kernel.ts";
import { axisAs, isSwapped, type Step } from "../../../compile/steps.ts";
import { none } from "./along.ts";
import type { Code, Local } from "./assemble.ts";

/** A part of a kernel that threads share: a function of a range of units, any split of which gives the same. */
export interface Phase {
  readonly name: string;
  readonly units: number;
  /** Rough time of a unit in nanoseconds. */
  readonly cost: number;
}

/** A nest as a phase. */
export interface DefinedStage {
  readonly phase: Phase;
  /** Bytes of scratch memory that threads share. */
  readonly scratch: number;
}

/** What functions of a kernel take: the units, arguments, scratch that threads share, scratch of the thread. */
export const phaseTypes = { begin: "i32", end: "i32", args: "i32", shared: "i32", scratch: "i32" } as const;

/** Levels: the axes of the grid but the last, the last, then each reduced one. */
export function levelsOf(grid: readonly Axis[], inner: readonly Axis[]): Map<string, number> {
  const depth = (i: number): number => (i === grid.length - 1 ? 2 : 1);
  return new Map([
    ...grid.map(({ name }, i): [string, number] => [name, depth(i)]),
    ...inner.map(({ name }, i): [string, number] => [name, 3 + i]),
  ]);
}

/** A grid in units: one place on all axes but the last, and a block of that. */
export interface Cut {
  readonly outer: readonly Axis[];
  readonly last: Axis;
  readonly block: number;
  readonly blocks: number;
  readonly units: number;
  /** Neighbouring units are neighbours on the other axes, and not blocks of one place. */
  readonly down: boolean;
}

/** The grid by the steps: how much of its last axis is a unit, and whether units follow each other down another one. */
export function cutGrid(grid: readonly Axis[], steps: readonly Step[]): Cut {
  const outer = grid.slice(0, -1);
  const last = grid[grid.length - 1] ?? none;
  const block = axisAs(steps, "units", last.name)?.by ?? last.extent;
  const blocks = Math.ceil(last.extent / block);
  const down = outer.length > 0 && isSwapped(steps, last.name, outer[outer.length - 1]!.name);
  return { outer, last, block, blocks, units: outer.reduce((n, { extent }) => n * extent, blocks), down };
}

interface Grid {
  readonly variable: (name: string) => Local;
  /** Where the block ends. */
  readonly stop: Local;
  /** How far the last axis moves at a time. */
  readonly step: number;
  readonly start: Code;
  /** Code of level 0, before all units, and of level 1, for each unit. */
  readonly pieces: readonly (readonly Code[])[];
  readonly element: Code;
  /** Writes the loop over a block, once or in a loop of its own. */
  readonly around?: (code: Code, block: () => void) => void;
}

/** The loops over the units from `begin` to `end`, and in each over its block. */
export function writeGrid(code: Code, begin: Local, end: Local, cut: Cut, grid: Grid): void {
  const { outer, last, block, blocks } = cut;
  const { stop, element } = grid;
  const unit = code.local("i32");
  const at = code.local("i32");
  const v = grid.variable(last.name);
  const places = outer.map(({ name, extent }) => ({ local: grid.variable(name), extent }));
  const which = { local: at, extent: blocks };
  const counters = cut.down ? [which, ...places] : [...places, which];
  code.append(grid.start);
  decode(code, begin, counters);
  for (const piece of grid.pieces[0]!) code.append(piece);
  code.get(begin).set(unit);
  code.loop((again) => {
    for (const piece of grid.pieces[1]!) code.append(piece);
    const around = grid.around ?? ((_, body) => body());
    around(code, () => {
      code.get(at).i32(block).op("i32.mul").set(v);
      if (blocks === 1) code.i32(last.extent).set(stop);
      else {
        code.get(v).i32(block).op("i32.add").tee(stop).i32(last.extent).op("i32.gt_u");
        code.when(() => code.i32(last.extent).set(stop));
      }
      code.loop((more) => {
        code.append(element);
        code.get(v).i32(grid.step).op("i32.add").tee(v).get(stop).op("i32.lt_u");
        more("if");
      });
    });
    advance(code, counters);
    code.get(unit).i32(1).op("i32.add").tee(unit).get(end).op("i32.lt_u");
    again("if");
  });
}

/** Splits a unit number into counters, the last of which runs fastest. */
export function decode(
  code: Code,
  unit: Local,
  counters: readonly { readonly local: Local; readonly extent: number }[],
): void {
  let factor = 1;
  for (const { local, extent } of [...counters].reverse()) {
    code.get(unit);
    if (factor > 1) code.i32(factor).op("i32.div_u");
    code.i32(extent).op("i32.rem_u").set(local);
    factor *= extent;
  }
}

/** The next unit, without division. */
function advance(code: Code, counters: readonly { readonly local: Local; readonly extent: number }[]): void {
  const step = (at: number) => {
    const { local, extent } = counters[at]!;
    code.get(local).i32(1).op("i32.add").tee(local);
    if (at === 0) {
      code.op("drop");
      return;
    }
    code
      .i32(extent)
      .op("i32.ge_u")
      .when(() => {
        code.i32(0).set(local);
        step(at - 1);
      });
  };
  step(counters.length - 1);
}
