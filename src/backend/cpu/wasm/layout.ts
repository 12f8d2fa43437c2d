import { type Expr, walk } from "../../../compile/expr.ts";
import { type Accumulator, type Axis, lastOf, product } from "../../../compile/nest.ts";
import { axisAs, copiesOf, nearOf, type Stage } from "../../../compile/steps.ts";
import { bytesOf, registersOf } from "./accumulators.ts";
import type { VectorAxis } from "./values.ts";

/** Which loop the four lanes of a vector run along. */
export type Along = "grid" | "inner" | "nothing";

/** Can all of it be computed in lanes of 32 bits? */
export function fitsLanes(roots: readonly Expr[]): boolean {
  let fits = true;
  walk(roots, (e) => {
    if (e.dtype === "float64") fits = false;
  });
  return fits;
}

/** How a stage is taken by its steps: which loops are lanes, and how much runs side by side. */
export class Layout {
  readonly last: Axis;
  readonly along: Along;
  /** Vectors of results side by side. */
  readonly side: number;
  /** Points that are done abreast: one waits for its sums while the other works. */
  readonly abreast: number;
  /** How many elements are added up in float32 before that is added to a sum in float64. */
  readonly near: number | undefined;
  readonly #stage: Stage;

  constructor(stage: Stage) {
    const { nest, steps } = stage;
    this.#stage = stage;
    this.last = lastOf(nest.grid);
    const lanes = axisAs(steps, "lanes")?.axis;
    this.along = lanes === undefined ? "nothing" : lanes === nest.grid.at(-1)?.name ? "grid" : "inner";
    const copies = copiesOf(steps, this.last.name);
    [this.side, this.abreast] = this.along === "grid" ? [copies, 1] : [1, copies];
    this.near = nearOf(steps);
  }

  /** How far the last axis moves at a time. */
  get step(): number {
    return this.along === "grid" ? 4 * this.side : this.abreast;
  }

  /** Vectors of what is accumulated. */
  vectors(accumulators: readonly Accumulator[]): number {
    const { steps } = this.#stage;
    return this.along === "inner" ? copiesOf(steps, axisAs(steps, "lanes")!.axis, accumulators) : this.side;
  }

  /** Vectors of what is written, in these loops or once for a point. */
  written(over: readonly Axis[]): number {
    if (this.along !== "inner" || over.length === 0) return this.side;
    const { name, extent } = lastOf(over);
    const copies = copiesOf(this.#stage.steps, name);
    return extent % (4 * copies) === 0 ? copies : 1;
  }

  /** What lanes run along, so many vectors at a time: the grid, or the innermost of these loops. */
  lanes(over: readonly Axis[], vectors = 0): VectorAxis | undefined {
    if (this.along === "nothing") return undefined;
    const { name, extent } = this.along === "grid" ? this.last : lastOf(over);
    const results = this.along === "grid";
    const whole = extent === 4 * (results ? this.side : vectors);
    // Where the loop is that short, so is what goes round in the one around it.
    const around = this.near !== undefined && whole ? over[over.length - 2] : undefined;
    const twice = around && around.extent % 2 === 0 ? around.name : undefined;
    return { variable: name, results, extent, exact: extent % 4 === 0, whole, twice };
  }

  /** Bytes that parts keep of each step along the last axis, and of all of it. */
  kept(accumulators: readonly Accumulator[]): { readonly bytes: number; readonly row: number } {
    const registers = accumulators.reduce((sum, a) => sum + registersOf(a, this.along !== "nothing"), 0);
    const bytes = bytesOf(registers * this.vectors(accumulators));
    return { bytes, row: Math.ceil(this.last.extent / this.step) * bytes };
  }

  /** Bytes of scratch memory for what the parts of the stage keep. */
  get scratch(): number {
    const { grid, body } = this.#stage.nest;
    const kept = body.find((s) => s.kind === "keep");
    return kept ? product(grid.slice(0, -1)) * this.kept(kept.accumulators).row : 0;
  }
}
