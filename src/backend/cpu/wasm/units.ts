import { type Axis, lastOf } from "../../../compile/nest.ts";
import { axisAs, isSwapped, type Step } from "../../../compile/steps.ts";
import type { Code, Local } from "./assemble.ts";
import { i32, tee } from "./expressions.ts";

const { add, mul, div, rem, gt, ge } = i32;

/** A part of a kernel that threads share: a function of a range of units, any split of which gives the same. */
export interface Phase {
  readonly name: string;
  readonly units: number;
  /** Units of a round: those of all phases run before the next round begins, in the same scratch memory. Default all. */
  readonly round?: number;
  /** Rough time of a unit in nanoseconds. */
  readonly cost: number;
}

/** What functions of a kernel take: the units, arguments, scratch that threads share, scratch of the thread. */
export const phaseTypes = { begin: "i32", end: "i32", args: "i32", shared: "i32", scratch: "i32" } as const;

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
  const last = lastOf(grid);
  const block = axisAs(steps, "units", last.name)?.by ?? last.extent;
  const blocks = Math.ceil(last.extent / block);
  const down = outer.length > 0 && isSwapped(steps, last.name, outer[outer.length - 1]!.name);
  return { outer, last, block, blocks, units: outer.reduce((n, { extent }) => n * extent, blocks), down };
}

/** What runs in the loops over a grid. */
export interface Grid {
  readonly variable: (name: string) => Local<"i32">;
  /** Where the block ends. */
  readonly stop: Local<"i32">;
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
export function writeGrid(code: Code, begin: Local<"i32">, end: Local<"i32">, cut: Cut, grid: Grid): void {
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
  code.append(...grid.pieces[0]!);
  code.each(unit, begin, end, 1, () => {
    code.append(...grid.pieces[1]!);
    const around = grid.around ?? ((_, body) => body());
    around(code, () => {
      code.assign(v, mul(at, block));
      const toEnd = () => code.assign(stop, last.extent);
      if (blocks === 1) toEnd();
      else code.if(gt(tee(stop, add(v, block)), last.extent), toEnd);
      code.repeat(v, stop, grid.step, () => code.append(element));
    });
    advance(code, counters);
  });
}

/** Splits a unit number into counters, the last of which runs fastest. */
export function decode(
  code: Code,
  unit: Local<"i32">,
  counters: readonly { readonly local: Local<"i32">; readonly extent: number }[],
): void {
  let factor = 1;
  for (const { local, extent } of [...counters].reverse()) {
    code.assign(local, rem(factor > 1 ? div(unit, factor) : unit, extent));
    factor *= extent;
  }
}

/** The next unit, without division. */
function advance(
  code: Code,
  counters: readonly { readonly local: Local<"i32">; readonly extent: number }[],
): void {
  const step = (at: number) => {
    const { local, extent } = counters[at]!;
    const next = tee(local, add(local, 1));
    if (at === 0) code.push(next).op("drop");
    else
      code.if(ge(next, extent), () => {
        code.assign(local, 0);
        step(at - 1);
      });
  };
  step(counters.length - 1);
}
