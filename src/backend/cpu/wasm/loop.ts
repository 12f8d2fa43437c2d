import { bytesPerElement, type DeviceDType } from "../../../base/dtype.ts";
import { type Expr, walk } from "../../../compile/expr.ts";
import type { Accumulator, Axis, Store } from "../../../compile/kernel.ts";
import { neutral } from "../../../graph/reduce.ts";
import {
  beginScalar,
  beginVector,
  finishAcross,
  finishLanes,
  finishScalar,
  type Running,
  updateScalar,
  updateVector,
} from "./accumulators.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { cutColumns, cutGrid, levelsOf, none, type Phase, phaseTypes, writeGrid } from "./grid.ts";
import { halfBits } from "./half.ts";
import { hasVector, valueType } from "./operations.ts";
import { hasStrides, strideIn } from "./strides.ts";
import { Sweep, walksDownRows } from "./sweep.ts";
import { Values } from "./values.ts";

export interface Loop {
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly accumulators: readonly Accumulator[];
  readonly stores: readonly Store[];
}

/** Which loop the four lanes of a vector run along. */
export type Along = "grid" | "inner" | "nothing";

/**
 * A loop kernel. The grid is cut into units: one place on all axes but the last, and a block of that. Lanes run
 * along the last axis of the grid (each lane its own element) or along the last reduced axis (lanes are partial
 * sums, joined at the end in a fixed order), whichever loads more by whole vectors.
 */
export function defineLoop(
  module: Module,
  name: string,
  loop: Loop,
  given: Arguments,
): Phase & { along: Along } {
  const { grid, inner, accumulators, stores } = loop;
  const last = grid[grid.length - 1] ?? none;
  const innermost = inner[inner.length - 1] ?? none;
  const roots = [
    ...accumulators.map(({ expr }) => expr),
    ...stores.flatMap(({ index, expr }) => [index, expr]),
  ];
  const along = chooseLanes(loop, last, innermost, roots);
  const over = inner.reduce((product, { extent }) => product * extent, 1);
  const strided = along === "grid" && accumulators.length === 0 && hasStrides(roots, last.name);
  const swept = along === "grid" && walksDownRows(loop, last);
  const cut = swept ? cutColumns(grid) : cutGrid(grid, over, strided);

  module.define(name, phaseTypes, (code, begin, end, args, _, scratch) => {
    const axis = along === "grid" ? last : along === "inner" ? innermost : undefined;
    const afterwards = 3 + inner.length;
    const start = code.piece();
    const values = new Values(code, {
      module,
      roots,
      levels: levelsOf(grid, inner),
      ...(accumulators.length > 0 ? { afterwards } : {}),
      vector: axis && { name: axis.name, extent: axis.extent, exact: axis.extent % 4 === 0 },
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
  const elements = (last.extent / cut.blocks) * over;
  const cost = elements * countNodes(roots) * (along === "nothing" ? 0.6 : 0.2) + 5;
  return { name, units: cut.units, cost, along };
}

export function countNodes(roots: readonly Expr[]): number {
  let count = 0;
  walk(roots, (e) => {
    count += e.kind === "apply" ? (e.row.cost ?? 1) : 1;
  });
  return count;
}

/** Can all of it be computed in lanes of 32 bits along `axis`? */
export function fitsLanes(roots: readonly Expr[]): boolean {
  let fits = true;
  walk(roots, (e) => {
    if (e.dtype === "float64") fits = false;
    if (e.kind === "apply" && !hasVector(e.row, e.args[e.args.length - 1]!.dtype)) fits = false;
  });
  return fits;
}

function chooseLanes(
  { accumulators, stores }: Loop,
  last: Axis,
  innermost: Axis,
  roots: readonly Expr[],
): Along {
  if (!fitsLanes(roots)) return "nothing";
  const contiguous = stores.every(({ index }) => last.extent === 1 || strideIn(index, last.name) === 1);
  if (accumulators.length === 0) return contiguous && last.extent > 1 ? "grid" : "nothing";
  const cost = (axis: Axis) =>
    laneCost(
      accumulators.map(({ expr }) => expr),
      axis,
    );
  const options: [Along, number][] = [];
  if (contiguous && last.extent > 1) options.push(["grid", cost(last)]);
  if (innermost.extent > 1) options.push(["inner", cost(innermost) + 8 / innermost.extent]);
  options.sort((a, b) => a[1] - b[1]);
  return options[0]?.[0] ?? "nothing";
}

/** Rough work for an element when lanes run along `axis`: loads that are not whole vectors cost most. */
export function laneCost(exprs: readonly Expr[], axis: Axis): number {
  let sum = 0;
  walk(exprs, (e) => {
    if (e.kind === "apply") sum += e.row.cost ?? 1;
    if (e.kind !== "load") return;
    const stride = strideIn(e.index, axis.name);
    sum += stride === 1 || stride === 0 ? 1 : stride === undefined ? 10 : 6;
  });
  return sum * ((Math.ceil(axis.extent / 4) * 4) / axis.extent);
}

/** The level inside all loops. */
function bottomOf(inner: readonly Axis[]): number {
  return 2 + inner.length;
}

export class LoopWriter {
  /** How far the last axis of the grid moves at a time. */
  readonly step: number;
  readonly #code: Code;
  readonly #values: Values;
  readonly #loop: Loop;
  readonly #last: Axis;
  readonly #along: Along;
  /** Vectors side by side: along the grid they read whole cache lines, along a reduction they hide latency. */
  readonly #vectors: number;
  readonly #sweep: Sweep | undefined;

  constructor(
    code: Code,
    values: Values,
    loop: Loop,
    last: Axis,
    along: Along,
    { vectors, sweep }: { readonly vectors?: number | undefined; readonly sweep?: Sweep | undefined } = {},
  ) {
    this.#code = code;
    this.#values = values;
    this.#loop = loop;
    this.#last = last;
    this.#along = along;
    const reduced = loop.accumulators.length;
    const innermost = loop.inner[loop.inner.length - 1] ?? none;
    if (along === "grid")
      this.#vectors =
        reduced === 1 && last.extent % 16 === 0 ? 4 : reduced > 0 && last.extent % 8 === 0 ? 2 : 1;
    else this.#vectors = along === "inner" && innermost.extent >= 16 && reduced <= 2 ? 2 : 1;
    if (vectors !== undefined) this.#vectors = vectors;
    this.#sweep = sweep;
    this.step = along === "grid" ? 4 * this.#vectors : 1;
  }

  /** All that is done at one place of the last axis of the grid: code of level 2 and of everything inside. */
  element(v: Local, stop: Local): Code {
    const { accumulators, inner } = this.#loop;
    const code = this.#code.piece();
    if (accumulators.length === 0) {
      const stores = this.#stores(2, v, stop);
      code.append(this.#values.piece(2));
      code.append(stores);
      return code;
    }
    const { registers, begin, nest, finish } = this.#reduction();
    const endings: Code[] = [];
    for (let i = 0; i < (this.#along === "grid" ? this.#vectors : 1); i++) {
      const after = this.#values.restart(bottomOf(inner) + 1, 4 * i);
      finish(after, i).forEach((result, j) => {
        this.#values.setAccumulator(j, result);
      });
      // Its variables may go into `after` as well: it is complete when the stores are.
      const stores = this.#stores(bottomOf(inner) + 1, v, stop);
      endings.push(after, stores);
    }
    const sweep = this.#sweep;
    if (sweep) sweep.begin(code, registers, begin);
    else code.append(begin);
    code.append(this.#values.piece(2));
    code.append(nest);
    if (sweep) sweep.end(code, registers, endings);
    else for (const part of endings) code.append(part);
    return code;
  }

  /** As `element`, without stores: the results are left in locals, one for each accumulator. */
  reduce(): { readonly code: Code; readonly results: readonly Local[] } {
    const { begin, nest, finish } = this.#reduction();
    const code = this.#code.piece();
    for (const part of [begin, this.#values.piece(2), nest]) code.append(part);
    return { code, results: finish(code, 0) };
  }

  /** All sums run in one nest of loops; `finish` joins those of one vector. */
  #reduction(): {
    readonly registers: readonly Local[];
    readonly begin: Code;
    readonly nest: Code;
    readonly finish: (code: Code, vector: number) => readonly Local[];
  } {
    const { accumulators, inner } = this.#loop;
    const begin = this.#code.piece();
    const running = Array.from({ length: this.#vectors }, () =>
      accumulators.map((a) => this.#begin(begin, a)),
    );
    const empty = inner.some(({ extent }) => extent === 0);
    const nest = empty ? this.#code.piece() : this.#nest(running, bottomOf(inner));
    const finish = (code: Code, vector: number) =>
      accumulators.map((a, j) =>
        this.#finish(
          code,
          a,
          running.map((vectors) => vectors[j]!),
          vector,
        ),
      );
    return { registers: running.flat(2), begin, nest, finish };
  }

  #nest(running: readonly (readonly Running[])[], bottom: number): Code {
    const { inner, accumulators } = this.#loop;
    const values = this.#values;
    const innermost = inner[inner.length - 1] ?? none;
    const updates = (offsets: readonly number[], lanes: number): Code => {
      const piece = this.#code.piece();
      offsets.forEach((offset, i) => {
        const body = values.restart(bottom, offset);
        accumulators.forEach((a, j) => {
          this.#update(body, a, running[i]![j]!, bottom, lanes);
        });
        piece.append(body);
      });
      return piece;
    };
    const offsets = Array.from({ length: this.#vectors }, (_, i) => 4 * i);
    const code = this.#code.piece();
    const k = values.variable(innermost.name);
    if (this.#along !== "inner") {
      const body = updates(offsets, 4);
      if (inner.length === 0) code.append(body);
      else {
        const sweep = this.#sweep;
        if (sweep) code.get(sweep.from);
        else code.i32(0);
        code.set(k).repeat(k, sweep?.to ?? innermost.extent, 1, () => code.append(body));
      }
    } else {
      const step = 4 * this.#vectors;
      const whole = innermost.extent - (innermost.extent % step);
      if (whole > 0) {
        const body = updates(offsets, 4);
        code
          .i32(0)
          .set(k)
          .repeat(k, whole, step, () => code.append(body));
      }
      // The rest, vector by vector, the last one with lanes left out.
      for (let from = whole; from < innermost.extent; from += 4) {
        const body = updates([0], Math.min(4, innermost.extent - from));
        code.i32(from).set(k).append(body);
      }
    }
    // The other reduced axes around it.
    let nest = code;
    for (let depth = inner.length - 1; depth > 0; depth--) {
      const wrapped = this.#code.piece();
      const variable = values.variable(inner[depth - 1]!.name);
      const body = nest;
      wrapped
        .i32(0)
        .set(variable)
        .repeat(variable, inner[depth - 1]!.extent, 1, () => {
          wrapped.append(values.piece(2 + depth));
          wrapped.append(body);
        });
      nest = wrapped;
    }
    return nest;
  }

  #begin(code: Code, a: Accumulator): Running {
    return this.#along === "nothing" ? beginScalar(code, a) : beginVector(code, a);
  }

  #update(code: Code, a: Accumulator, running: Running, at: number, lanes: number): void {
    const values = this.#values;
    if (this.#along === "nothing") {
      updateScalar(code, a, running, (into) => values.scalar(a.expr, into, at));
      return;
    }
    updateVector(code, a, running, (into) => {
      values.vector(a.expr, into, at);
      if (lanes === 4) return;
      // Lanes beyond the end take the identity.
      const start = neutral(a.name, a.dtype);
      const l = values.lanes(into);
      (a.dtype === "float32" ? l.f32(start) : l.i32(start))(into);
      l.i32s(...[0, 1, 2, 3].map((lane) => (lane < lanes ? -1 : 0)))(into);
      into.op("v128.bitselect");
    });
  }

  /** The result: a vector along the grid, else one number. */
  #finish(code: Code, a: Accumulator, running: readonly Running[], vector: number): Local {
    if (this.#along === "nothing") return finishScalar(code, a, running[0]!);
    return this.#along === "grid" ? finishLanes(code, a, running[vector]!) : finishAcross(code, a, running);
  }

  /** Computes all results before the first is stored: a result may replace what another one reads. */
  #stores(at: number, v: Local, stop: Local): Code {
    const values = this.#values;
    const body = values.piece(at);
    return writeStores(body, values, this.#loop.stores, at, this.#along === "grid", (code, address, held) => {
      storeLanes(code, address, held, this.#last.extent % 4 === 0, v, stop);
    });
  }
}

/** Where a store goes. */
export interface Destination {
  readonly base: (code: Code) => void;
  readonly offset: number;
  /** Of an element. */
  readonly bytes: number;
}

/** Stores a vector, or what of it lies before `stop`. */
export function storeLanes(
  code: Code,
  { base, offset, bytes }: Destination,
  held: Local,
  exact: boolean,
  v: Local,
  stop: Local,
): void {
  const whole = () => {
    base(code);
    code.get(held);
    if (bytes === 2) code.memory("v128.store64_lane", offset, 0);
    else code.memory("v128.store", offset);
  };
  if (exact) {
    whole();
    return;
  }
  const rest = code.local("i32");
  code
    .get(stop)
    .get(v)
    .op("i32.sub")
    .tee(rest)
    .i32(4)
    .op("i32.ge_u")
    .when(whole, () => {
      const lane = (i: number) => {
        base(code);
        code.get(held).memory(`v128.store${8 * bytes}_lane`, offset + bytes * i, i);
      };
      lane(0);
      for (const i of [1, 2])
        code
          .get(rest)
          .i32(i)
          .op("i32.gt_u")
          .when(() => lane(i));
    });
}

/** The code that computes stores goes to `body`; what comes back stores them. */
export function writeStores(
  body: Code,
  values: Values,
  stores: readonly Store[],
  at: number,
  vector: boolean,
  put: (code: Code, destination: Destination, held: Local) => void,
): Code {
  const held = stores.map(({ expr }) => {
    const half = expr.dtype === "float16";
    const local = body.local(vector ? "v128" : half ? "i32" : valueType(expr.dtype));
    if (vector) values.vector(expr, body, at);
    else values.scalar(expr, body, at);
    if (half) {
      if (!vector) body.op("f32x4.splat");
      const bits = halfBits(values.lanes(body), () => {});
      bits(body);
      if (!vector) body.lane("i32x4.extract_lane", 0);
      else {
        bits(body);
        body.op("i16x8.narrow_i32x4_u");
      }
    } else if (vector && expr.dtype === "bool") {
      values.lanes(body).i32(1)(body);
      body.op("v128.and");
    }
    body.set(local);
    return local;
  });
  const code = body.piece();
  stores.forEach(({ value, index, expr }, i) => {
    const address = values.address(value, index, expr.dtype, at);
    const base = body.local("i32");
    address.base(body);
    body.set(base);
    const bytes = bytesPerElement(expr.dtype);
    if (vector) put(code, { base: (into) => into.get(base), offset: address.offset, bytes }, held[i]!);
    else code.get(base).get(held[i]!).memory(storeName(expr.dtype), address.offset);
  });
  return code;
}

export function storeName(dtype: DeviceDType): string {
  return dtype === "float16" ? "i32.store16" : `${valueType(dtype)}.store`;
}
