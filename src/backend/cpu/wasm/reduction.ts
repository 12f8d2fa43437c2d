import { type Accumulator, type Axis, lastOf, product } from "../../../compile/nest.ts";
import type { Level } from "../../../compile/place.ts";
import { neutral } from "../../../graph/reduce.ts";
import {
  addNear,
  beginScalar,
  beginVector,
  finishAcross,
  finishLanes,
  finishScalar,
  isWide,
  join,
  nearSums,
  type Running,
  resume,
  updateHalves,
  updateNear,
  updateScalar,
  updateVector,
} from "./accumulators.ts";
import type { Code, Local } from "./assemble.ts";
import { apply, i32 } from "./expressions.ts";
import type { Along } from "./layout.ts";
import { loadHalves } from "./loads.ts";
import { scalarOf } from "./scalar.ts";
import type { Values } from "./values.ts";
import { vectorOf } from "./vector.ts";

// Results that are accumulated in loops: how they begin, run and end, and how they are kept in memory in between.

/** Where a loop over the outermost axis begins and ends. */
export interface Range {
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;
}

/** What runs in one nest of loops. */
export interface Reduction {
  readonly accumulators: readonly Accumulator[];
  readonly over: readonly Axis[];
  readonly along: Along;
  /** Vectors side by side: of results along the grid, else of elements. */
  readonly vectors: number;
  /** How many elements are added up in float32 before that is added to a sum in float64. */
  readonly near?: number | undefined;
  /** What is accumulated at each point of loops that are written out, in their order. */
  readonly points?: readonly (readonly Accumulator[])[] | undefined;
  /** A part of the outermost axis: whole vectors where lanes run along it, and what is left in the last one. */
  readonly range?: Range | undefined;
}

/** Registers by vector and accumulator. */
export type Registers = readonly (readonly Running[])[];

export function begin(code: Code, { accumulators, along, vectors, near }: Reduction): Registers {
  const one = along === "nothing" ? beginScalar : beginVector;
  return Array.from({ length: near ? 1 : vectors }, () => accumulators.map((a) => one(code, a)));
}

/** The results by vector: vectors along the grid, else numbers. */
export function finish(
  code: Code,
  { accumulators, along }: Reduction,
  running: Registers,
): readonly (readonly Local[])[] {
  if (along === "grid")
    return running.map((vector) => accumulators.map((a, j) => finishLanes(code, a, vector[j]!)));
  const all = (j: number) => running.map((vector) => vector[j]!);
  return [
    accumulators.map((a, j) =>
      along === "nothing" ? finishScalar(code, a, running[0]![j]!) : finishAcross(code, a, all(j)),
    ),
  ];
}

/** Joins what so many parts have kept, the first at the address in `slot`, so many bytes apart. */
export function combine(
  code: Code,
  reduction: Reduction,
  slot: Local<"i32">,
  count: number,
  apart: number,
): Registers {
  const running = begin(code, reduction);
  code.each(code.local("i32"), 0, count, 1, () => {
    let place = 0;
    for (const vector of running)
      vector.forEach((registers, j) => {
        const other = registers.map(({ type }) => code.local(type));
        resume(code, slot, other, place);
        join(code, reduction.accumulators[j]!, registers, other);
        place += other.length;
      });
    code.advance(slot, apart);
  });
  return running;
}

/** What a loop begins and ends with, beside what is placed in it. */
interface Beside {
  readonly range?: Range | undefined;
  readonly first?: (into: Code, depth: number) => void;
  readonly last?: (into: Code, depth: number) => void;
}

/** Loops over axes, outer ones first, each with what is placed in it, around code that has what is placed at the bottom. */
export function loopsAround(
  values: Values,
  over: readonly Axis[],
  bottom: Level,
  inside: Code,
  { range, first, last }: Beside = {},
): Code {
  if (over.some(({ extent }) => extent === 0)) return inside.piece();
  return over.reduceRight((body, { name, extent }, depth) => {
    const { from, to } = (depth === 0 && range) || { from: 0, to: extent };
    const loop = inside.piece();
    return loop.each(values.variable(name), from, to, 1, () => {
      first?.(loop, depth);
      if (3 + depth < bottom) loop.append(values.piece(3 + depth));
      loop.append(body);
      last?.(loop, depth);
    });
  }, inside);
}

/** The loops in which results run. @param use Makes earlier results of a vector known. */
export function accumulate(
  code: Code,
  values: Values,
  reduction: Reduction,
  running: Registers,
  use: (vector: number) => void,
): Code {
  const { accumulators, over, along, vectors, range } = reduction;
  if (over.some(({ extent }) => extent === 0)) return code.piece();
  const bottom = 2 + Math.max(1, over.length);
  const deepest = over.length - 1;
  const { name, extent } = lastOf(over);
  const near = reduction.near ? nearSums(code, vectors, accumulators.length) : undefined;
  const updates = (offsets: readonly number[], lanes: number): Code => {
    const piece = code.piece();
    offsets.forEach((offset, i) => {
      const body = values.restart(bottom, offset);
      use(i);
      const into = near ? near[i]!.map((sum) => [sum]) : running[i]!;
      for (const own of reduction.points ?? [accumulators])
        takeIn(body, values, { ...reduction, accumulators: own }, into, lanes);
      piece.append(body);
    });
    return piece;
  };
  /** What is near is added before it has too many terms. */
  const settle = (into: Code, depth: number) => {
    const each = product(over.slice(depth + 1));
    const most = reduction.near ?? 0;
    if (!near || each > most || each * over[depth]!.extent <= most) return;
    const points = 2 ** Math.floor(Math.log2(most / each));
    const left = apply<"i32">("i32.and", values.variable(over[depth]!.name), points - 1);
    into.if(i32.isZero(left), () => addNear(into, running[0]!, near));
  };
  const offsets = Array.from({ length: vectors }, (_, i) => 4 * i);
  let nest: Code;
  let around = over;
  if (along !== "inner") nest = updates(offsets, 4);
  else {
    // The innermost axis by whole steps, then the rest, vector by vector, the last one with lanes left out.
    around = over.slice(0, -1);
    const k = values.variable(name);
    const step = 4 * vectors;
    const whole = extent - (extent % step);
    const own = deepest === 0 ? range : undefined;
    nest = code.piece();
    if (whole > 0) {
      const body = updates(offsets, 4);
      if (whole === step && !own) nest.assign(k, 0).append(body);
      else
        nest.each(k, own?.from ?? 0, own?.to ?? whole, step, () => {
          settle(nest, deepest);
          nest.append(body);
        });
    }
    const rest = code.piece();
    for (let from = whole; from < extent; from += 4) {
      const body = updates([0], Math.min(4, extent - from));
      rest.assign(k, from).append(body);
    }
    if (own) nest.if(i32.eq(own.to, whole), () => nest.append(rest));
    else nest.append(rest);
  }
  nest = loopsAround(values, around, bottom, nest, {
    range,
    first: settle,
    last: (loop, depth) => {
      if (over[depth]!.name !== values.scope.vector?.twice) return;
      values.restart(3 + depth);
      const second = updates(offsets, 4);
      loop.advance(values.variable(over[depth]!.name), 1).append(values.piece(3 + depth), second);
    },
  });
  if (near) addNear(nest, running[0]!, near);
  return nest;
}

/** Takes in an element, or four, of which so many count. */
export function takeIn(
  code: Code,
  values: Values,
  { accumulators, along, near }: Omit<Reduction, "vectors">,
  running: readonly Running[],
  lanes = 4,
): void {
  accumulators.forEach((a, j) => {
    if (along === "nothing") {
      updateScalar(code, a, running[j]!, scalarOf(values, a.expr));
      return;
    }
    // What has a name is loaded for others too.
    const halves =
      isWide(a) && lanes === 4 && !near && values.placement.name(a.expr) === undefined
        ? loadHalves(values, a.expr, code)
        : undefined;
    if (halves) {
      updateHalves(code, a, running[j]!, halves);
      return;
    }
    const update = near ? updateNear : updateVector;
    const x = vectorOf(values, a.expr);
    if (lanes === 4) {
      update(code, a, running[j]!, x);
      return;
    }
    // Lanes beyond the end take the identity.
    const start = neutral(a.name, a.dtype);
    const l = values.lanes(code);
    const inside = l.i32s(...[0, 1, 2, 3].map((lane) => (lane < lanes ? -1 : 0)));
    update(code, a, running[j]!, l.select(inside, x, a.dtype === "float32" ? l.f32(start) : l.i32(start)));
  });
}
