import type { Accumulator, Axis, Loop } from "../../../compile/kernel.ts";
import { product } from "../../../compile/nest.ts";
import { neutral } from "../../../graph/reduce.ts";
import {
  addNear,
  beginScalar,
  beginVector,
  finishAcross,
  finishLanes,
  finishScalar,
  join,
  nearSums,
  type Running,
  registersOf,
  updateNear,
  updateScalar,
  updateVector,
} from "./accumulators.ts";
import { type Along, none } from "./along.ts";
import type { Code, Local } from "./assemble.ts";
import { apply, i32, loadAs, select } from "./expressions.ts";
import { storeLanes, writeStores } from "./stores.ts";
import type { Sweep } from "./sweep.ts";
import type { Values } from "./values.ts";

/** Bytes in which a part of a reduction keeps a register. */
const slotBytes = 16;

/** Bytes that a part of a reduction keeps for each step of the last axis. */
export function partBytes({ accumulators }: Loop, along: Along, vectors: number): number {
  const registers = accumulators.map((a) => registersOf(a, along !== "nothing"));
  return slotBytes * vectors * registers.reduce((sum, count) => sum + count, 0);
}

/** The level inside all loops. */
function bottomOf(inner: readonly Axis[]): number {
  return 2 + inner.length;
}

/** Where a loop over the outermost reduced axis begins and ends. */
export interface Range {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
}

interface Options {
  /** Vectors side by side. */
  readonly vectors: number;
  readonly sweep?: Sweep | undefined;
  /** How many elements are added up in float32 before that is added to a sum in float64. */
  readonly near?: number | undefined;
  /** A part of the outermost reduced axis: whole vectors where lanes run along it, and what is left in the last one. */
  readonly range?: Range | undefined;
}

export class LoopWriter {
  /** How far the last axis of the grid moves at a time. */
  readonly step: number;
  readonly #code: Code;
  readonly #values: Values;
  readonly #loop: Loop;
  readonly #last: Axis;
  readonly #along: Along;
  readonly #vectors: number;
  readonly #sweep: Sweep | undefined;
  readonly #near: number | undefined;
  readonly #range: Range | undefined;

  constructor(
    code: Code,
    values: Values,
    loop: Loop,
    last: Axis,
    along: Along,
    { vectors, sweep, near, range = sweep }: Options,
  ) {
    this.#code = code;
    this.#values = values;
    this.#loop = loop;
    this.#last = last;
    this.#along = along;
    this.#vectors = vectors;
    this.#sweep = sweep;
    this.#near = near;
    this.#range = range;
    this.step = along === "grid" ? 4 * vectors : 1;
  }

  /** All that is done at one place of the last axis of the grid: code of level 2 and of everything inside. */
  element(v: Local<"i32">, stop: Local<"i32">): Code {
    const { accumulators } = this.#loop;
    const code = this.#code.piece();
    if (accumulators.length === 0) {
      const stores = this.#stores(2, v, stop);
      return code.append(this.#values.piece(2), stores);
    }
    const { running, begin, nest } = this.#reduction();
    const registers = running.flat(2);
    const endings = this.#endings(running, v, stop);
    const sweep = this.#sweep;
    if (sweep) sweep.begin(code, registers, begin);
    else code.append(begin);
    code.append(this.#values.piece(2), nest);
    if (sweep) sweep.end(code, registers, endings);
    else code.append(...endings);
    return code;
  }

  /** As `element`, without stores: the results are left in locals, one for each accumulator. */
  reduce(): { readonly code: Code; readonly results: readonly Local[] } {
    const { running, begin, nest } = this.#reduction();
    const code = this.#code.piece().append(begin, this.#values.piece(2), nest);
    return { code, results: this.#finish(code, running, 0) };
  }

  /** As `element`, but what runs is kept at the address in `slot` instead of being finished. */
  part(slot: Local<"i32">): Code {
    const { running, begin, nest } = this.#reduction();
    const code = this.#code.piece().append(begin, this.#values.piece(2), nest);
    running.flat(2).forEach((register, i) => {
      code.store(`${register.type}.store`, slot, slotBytes * i, register);
    });
    return code;
  }

  /** As `element`, from what parts have left: the first at the address in `slot`, `count` of them, so many bytes apart. */
  joined(v: Local<"i32">, stop: Local<"i32">, slot: Local<"i32">, count: number, apart: number): Code {
    const code = this.#code.piece();
    const running = this.#begin(code);
    const endings = this.#endings(running, v, stop);
    code.each(code.local("i32"), 0, count, 1, () => {
      let at = 0;
      for (const vectors of running)
        vectors.forEach((registers, j) => {
          const other = registers.map(({ type }) => code.let(type, loadAs(type, slot, slotBytes * at++)));
          join(code, this.#loop.accumulators[j]!, registers, other);
        });
      code.advance(slot, apart);
    });
    return code.append(this.#values.piece(2), ...endings);
  }

  /** Results and stores, vector by vector. */
  #endings(running: readonly (readonly Running[])[], v: Local<"i32">, stop: Local<"i32">): Code[] {
    const after = bottomOf(this.#loop.inner) + 1;
    const count = this.#along === "grid" ? this.#vectors : 1;
    return Array.from({ length: count }, (_, i) => {
      const code = this.#values.restart(after, 4 * i);
      this.#finish(code, running, i).forEach((result, j) => {
        this.#values.setAccumulator(j, result);
      });
      // Its variables may go into `code` as well: it is complete when the stores are.
      const stores = this.#stores(after, v, stop);
      return this.#code.piece().append(code, stores);
    });
  }

  /** All sums run in one nest of loops. */
  #reduction(): {
    /** By vector and accumulator. */
    readonly running: readonly (readonly Running[])[];
    readonly begin: Code;
    readonly nest: Code;
  } {
    const { inner } = this.#loop;
    const begin = this.#code.piece();
    const running = this.#begin(begin);
    const empty = inner.some(({ extent }) => extent === 0);
    const nest = empty ? this.#code.piece() : this.#nest(running, bottomOf(inner));
    return { running, begin, nest };
  }

  #nest(running: readonly (readonly Running[])[], bottom: number): Code {
    const { inner, accumulators } = this.#loop;
    const values = this.#values;
    const innermost = inner[inner.length - 1] ?? none;
    const near = this.#near ? nearSums(this.#code, this.#vectors, accumulators.length) : undefined;
    const updates = (offsets: readonly number[], lanes: number): Code => {
      const piece = this.#code.piece();
      offsets.forEach((offset, i) => {
        const body = values.restart(bottom, offset);
        accumulators.forEach((a, j) => {
          this.#update(body, a, near ? [near[i]![j]!] : running[i]![j]!, bottom, lanes);
        });
        piece.append(body);
      });
      return piece;
    };
    // What is near is added before it has too many terms.
    const settle = (into: Code, depth: number) => {
      const each = product(inner.slice(depth + 1));
      const most = this.#near ?? 0;
      if (!near || each > most || each * inner[depth]!.extent <= most) return;
      const points = 2 ** Math.floor(Math.log2(most / each));
      const variable = values.variable(inner[depth]!.name);
      const left = apply<"i32">("i32.and", variable, points - 1);
      into.if(i32.isZero(left), () => addNear(into, running[0]!, near));
    };
    const offsets = Array.from({ length: this.#vectors }, (_, i) => 4 * i);
    const code = this.#code.piece();
    const k = values.variable(innermost.name);
    const loop = (
      into: Code,
      variable: Local<"i32">,
      depth: number,
      end: number,
      step: number,
      body: () => void,
    ) => {
      const { from, to } = (depth === 0 && this.#range) || { from: 0, to: end };
      into.each(variable, from, to, step, body);
    };
    const deepest = inner.length - 1;
    if (this.#along !== "inner") {
      const body = updates(offsets, 4);
      if (inner.length === 0) code.append(body);
      else loop(code, k, deepest, innermost.extent, 1, () => code.append(body));
    } else {
      const step = 4 * this.#vectors;
      const whole = innermost.extent - (innermost.extent % step);
      if (whole > 0) {
        const body = updates(offsets, 4);
        if (whole === step && !this.#range) code.assign(k, 0).append(body);
        else
          loop(code, k, deepest, whole, step, () => {
            settle(code, deepest);
            code.append(body);
          });
      }
      // The rest, vector by vector, the last one with lanes left out.
      const rest = this.#code.piece();
      for (let from = whole; from < innermost.extent; from += 4) {
        const body = updates([0], Math.min(4, innermost.extent - from));
        rest.assign(k, from).append(body);
      }
      if (deepest > 0 || !this.#range) code.append(rest);
      else code.if(i32.eq(this.#range.to, whole), () => code.append(rest));
    }
    // The other reduced axes around it.
    let nest = code;
    for (let depth = deepest - 1; depth >= 0; depth--) {
      const wrapped = this.#code.piece();
      const { name, extent } = inner[depth]!;
      const body = nest;
      const variable = values.variable(name);
      loop(wrapped, variable, depth, extent, 1, () => {
        settle(wrapped, depth);
        wrapped.append(values.piece(3 + depth), body);
        if (name !== values.scope.vector?.pairs) return;
        values.restart(3 + depth, 0, 1);
        const second = updates(offsets, 4);
        wrapped.advance(variable, 1).append(values.piece(3 + depth), second);
        values.restart(3 + depth, 0, 0);
      });
      nest = wrapped;
    }
    if (near) addNear(nest, running[0]!, near);
    return nest;
  }

  #begin(code: Code): readonly (readonly Running[])[] {
    const begin = this.#along === "nothing" ? beginScalar : beginVector;
    const vectors = this.#near ? 1 : this.#vectors;
    return Array.from({ length: vectors }, () => this.#loop.accumulators.map((a) => begin(code, a)));
  }

  #update(code: Code, a: Accumulator, running: Running, at: number, lanes: number): void {
    const values = this.#values;
    if (this.#along === "nothing") {
      updateScalar(code, a, running, values.scalar(a.expr, at));
      return;
    }
    const update = this.#near ? updateNear : updateVector;
    const x = values.vector(a.expr, at);
    if (lanes === 4) {
      update(code, a, running, x);
      return;
    }
    // Lanes beyond the end take the identity.
    const start = neutral(a.name, a.dtype);
    const l = values.lanes(code);
    const inside = l.i32s(...[0, 1, 2, 3].map((lane) => (lane < lanes ? -1 : 0)));
    update(code, a, running, select(inside, x, a.dtype === "float32" ? l.f32(start) : l.i32(start)));
  }

  /** The results: vectors along the grid, else numbers. */
  #finish(code: Code, running: readonly (readonly Running[])[], vector: number): readonly Local[] {
    return this.#loop.accumulators.map((a, j) => {
      if (this.#along === "nothing") return finishScalar(code, a, running[0]![j]!);
      if (this.#along === "grid") return finishLanes(code, a, running[vector]![j]!);
      return finishAcross(
        code,
        a,
        running.map((vectors) => vectors[j]!),
      );
    });
  }

  /** Computes all results before the first is stored: a result may replace what another one reads. */
  #stores(at: number, v: Local<"i32">, stop: Local<"i32">): Code {
    const values = this.#values;
    const body = values.piece(at);
    return writeStores(body, values, this.#loop.stores, at, this.#along === "grid", (code, address, held) => {
      storeLanes(code, address, held, this.#last.extent % 4 === 0, v, stop);
    });
  }
}
