import type { Axis, Loop, Nest } from "../../../compile/kernel.ts";
import { product, type Share } from "../../../compile/nest.ts";
import { axisAs, type Stage } from "../../../compile/steps.ts";
import { alongOf, lanesAxis, none } from "./along.ts";
import type { Value } from "./assemble.ts";
import { i32, tee } from "./expressions.ts";
import { type Grid, levelsOf, type Site } from "./grid.ts";
import { LoopWriter, partBytes } from "./nest.ts";
import { Values } from "./values.ts";

const { add, mul, div, eq } = i32;

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

/** How what a part keeps of each step along the last axis lies in memory. */
function layoutOf({ nest: { grid }, steps }: Stage, part: Part) {
  const along = alongOf(steps, grid);
  const vectors = axisAs(steps, "copies")?.by ?? 1;
  const step = along === "grid" ? 4 * vectors : 1;
  const bytes = partBytes(part, along, vectors);
  const last = grid[grid.length - 1] ?? none;
  return { along, vectors, step, bytes, last, rowBytes: Math.ceil(last.extent / step) * bytes };
}

/** Bytes of scratch memory for what the parts of a stage keep. */
export function partsBytes(stage: Stage): number {
  const part = asPart(stage.nest);
  return part?.share ? product(part.grid.slice(0, -1)) * layoutOf(stage, part).rowBytes : 0;
}

/**
 * Parts leave what runs in registers in scratch memory, float64 where sums are: by part, then by steps along the last axis
 * of the grid. Results join the parts of each element in order, and store the element.
 */
export function writePart(
  { module, given, code, start, params }: Site,
  stage: Stage,
  part: Part,
): Omit<Grid, "start"> {
  const { grid, inner, share, accumulators, stores, over } = part;
  const { along, vectors, step, bytes, last, rowBytes } = layoutOf(stage, part);
  const joined = over ? product(over) : 1;
  const values = new Values(code, {
    module,
    roots: over ? stores.flatMap(({ index, expr }) => [index, expr]) : accumulators.map(({ expr }) => expr),
    levels: levelsOf(grid, inner),
    afterwards: 3 + inner.length,
    vector: lanesAxis(along, last, inner[inner.length - 1] ?? none),
    ...given.access(start, params.args),
  });
  const [unit, element] = [code.piece(), code.piece()];
  const [stop, place, slot] = [code.local("i32"), code.local("i32"), code.local("i32")];
  const outer = grid
    .slice(0, -1)
    .reduce<Value<"i32">>((at, { name, extent }) => add(mul(at, extent), values.variable(name)), 0);
  const v = values.variable(last.name);
  unit.assign(place, add(mul(outer, joined * rowBytes), params.shared));
  element.assign(slot, add(mul(div(v, step), bytes), place));
  if (!share) {
    const writer = new LoopWriter(element, values, part, last, along, { vectors });
    element.append(writer.joined(v, stop, slot, joined, rowBytes));
  } else {
    const range = { from: element.local("i32"), to: element.local("i32") };
    const [cut = none, ...rest] = inner;
    const p = values.variable(share.part.name);
    unit.assign(range.to, add(tee(range.from, mul(p, share.length)), share.length));
    // Of the last part, what makes no whole vectors comes after its loop.
    const whole = along === "inner" && rest.length === 0 ? 4 * vectors : 1;
    unit.if(eq(p, share.part.extent - 1), () => unit.assign(range.to, cut.extent - (cut.extent % whole)));
    element.append(new LoopWriter(element, values, part, last, along, { vectors, range }).part(slot));
  }
  return {
    variable: (axis) => values.variable(axis),
    stop,
    step,
    pieces: [[values.piece(0)], [unit, values.piece(1)]],
    element,
  };
}
