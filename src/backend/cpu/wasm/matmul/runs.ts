import type { Level } from "../../../../compile/place.ts";
import type { Runs } from "../../../../compile/runs.ts";
import type { Code, Local } from "../assemble.ts";
import { apply, extractLane, i32, type Vector, v128 } from "../expressions.ts";
import { addedUp, addressOf } from "../scalar.ts";
import type { Values, VectorAxis } from "../values.ts";
import { vectorOf } from "../vector.ts";
import { type Site, valuesIn } from "./site.ts";
import { type Panel, storeTransposed } from "./transpose.ts";

// Packing of operands that are read in runs, such as the windows of a convolution: four elements come as one vector. Each lane is
// guarded by itself; where a run is not whole, what `otherwise` writes packs it.

/** Runs along columns of b, or rows of a: vectors are stored as they are. */
export function packRuns(code: Code, site: Site, p: Panel, runs: Runs, otherwise: (p: Panel) => void): void {
  const { batch, along, inner, width, into } = p;
  const { name: variable, extent } = along;
  const vector = { variable, extent, exact: extent % width === 0, run: width };
  const values = new RunValues(code, site, runs, [batch, along, inner], vector);
  const offsets = Array.from({ length: width / 4 }, (_, i) => 4 * i);
  const whole = values.whole(offsets);
  const loads = offsets.map((offset) => values.load(offset));
  code.assign(values.variable(batch.name), batch.local).append(...values.pieces(0));
  code.assign(values.variable(along.name), p.first).append(...values.pieces(1));
  const all = () => {
    const [k, target] = [code.local("i32"), code.let("i32", into)];
    code.each(k, 0, p.innerCount, 1, () => {
      code.assign(values.variable(inner.name), i32.add(p.innerFirst, k));
      loads.forEach(({ pieces, held }, i) => {
        code.append(...pieces).store("v128.store", target, 16 * i, held);
      });
      code.advance(target, 4 * width);
    });
  };
  if (whole) code.if(whole, all, () => otherwise(p));
  else all();
}

/** Runs along the inner axis: four vectors are transposed in registers. */
export function packTurnedRuns(
  code: Code,
  site: Site,
  p: Panel,
  runs: Runs,
  otherwise: (p: Panel) => void,
): void {
  const { batch, along, inner, width, first, innerCount } = p;
  const vector = { variable: inner.name, extent: inner.extent, exact: inner.extent % 4 === 0, run: 4 };
  const values = new RunValues(code, site, runs, [batch, inner, along], vector);
  const whole = values.whole([0]);
  const loads = Array.from({ length: width }, () => values.load(0));
  code.assign(values.variable(batch.name), batch.local).append(...values.pieces(0));
  const [k, rest] = [code.let("i32", p.innerFirst), code.let("i32", innerCount)];
  const target = code.let("i32", p.into);
  const lane = values.variable(along.name);
  const slow = (innerCount: Local<"i32"> | number) =>
    otherwise({ ...p, innerFirst: k, innerCount, into: target });
  const fast = () => {
    loads.forEach(({ pieces }, i) => {
      code.assign(lane, i32.add(first, i));
      code.if(i32.ge(lane, along.extent), () => code.assign(lane, along.extent - 1));
      code.append(...pieces);
    });
    for (let at = 0; at < width; at += 4) {
      const [a, b, c, d] = loads.slice(at).map(({ held }) => held) as [V, V, V, V];
      storeTransposed(code, [a, b, c, d], target, width, at);
    }
  };
  const four = () => {
    code.assign(values.variable(inner.name), k).append(...values.pieces(1));
    if (whole) code.if(whole, fast, () => slow(4));
    else fast();
    code.advance(target, 16 * width).advance(k, 4);
    code.assign(rest, i32.sub(rest, 4));
  };
  code.if(i32.ge(rest, 4), () => code.doWhile(four, i32.ge(rest, 4)));
  if (innerCount !== inner.extent || inner.extent % 4 !== 0) code.if(rest, () => slow(rest));
}

type V = Local<"v128">;

/** What is known of runs in three loops: where their first element is, and what guards their lanes. */
class RunValues {
  readonly #runs: Runs;
  readonly #pointer: Local<"i32">;
  readonly #variables = new Map<string, Local<"i32">>();
  readonly #first: Values;
  readonly #lanes: Values;

  /**
   * @param axes Of the loops, outermost first.
   * @param vector Its run begins at multiples of its length.
   */
  constructor(
    code: Code,
    site: Site,
    runs: Runs,
    axes: readonly { readonly name: string }[],
    vector: VectorAxis & { readonly run: number },
  ) {
    const { guard, index, moving = [], load } = runs;
    const variables = this.#variables;
    this.#runs = runs;
    this.#pointer = site.access.pointer(load.value);
    this.#first = valuesIn(code, site, axes, { variables, uses: [{ expr: index, at: 2, address: true }] });
    this.#lanes = valuesIn(code, site, axes, {
      variables,
      uses: [
        ...(guard ? [{ expr: guard, at: 2 }] : []),
        ...moving.map(({ atom }) => ({ expr: atom, at: 1 })),
      ],
      // What lies beyond the end is clamped.
      vector: vector.exact ? vector : { variable: vector.variable, extent: vector.extent, exact: false },
    });
  }

  variable(name: string): Local<"i32"> {
    return this.#lanes.variable(name);
  }

  /** The code of a level, when all is written. */
  pieces(level: Level): readonly Code[] {
    return [this.#first.piece(level), this.#lanes.piece(level)];
  }

  /** Whether vectors at these offsets are one run, known at level 1; undefined where they always are. */
  whole(offsets: readonly number[]): Local<"i32"> | undefined {
    const { moving, step } = this.#runs;
    if (!moving) return undefined;
    const into = this.#lanes.piece(1);
    const l = this.#lanes.lanes(into);
    const [first, broken] = [into.local("v128"), into.let("v128", l.i32(0))];
    for (const offset of offsets) {
      this.#lanes.restart(2, offset);
      const places = moving.reduce<Vector>((sum, { coefficient, atom }) => {
        const term = apply("i32x4.mul", vectorOf(this.#lanes, atom), l.i32(coefficient));
        return apply("i32x4.add", sum, term);
      }, l.i32(0));
      const expected = [0, 1, 2, 3].map((lane) => step * (offset + lane));
      const starts = into.let("v128", apply("i32x4.sub", places, l.i32s(...expected)));
      if (offset === 0) {
        const one = extractLane<"i32">("i32x4.extract_lane", starts, 0);
        into.assign(first, apply("i32x4.splat", one));
      }
      into.assign(broken, apply("v128.or", broken, apply("i32x4.ne", starts, first)));
    }
    return into.let("i32", i32.isZero(apply<"i32">("v128.any_true", broken)));
  }

  /** The vector at an offset, and the code that loads it. Lanes that are guarded may lie anywhere, so that nothing is read where all are. */
  load(offset: number): { readonly pieces: readonly Code[]; readonly held: V } {
    const { load, index, guard, step } = this.#runs;
    this.#first.restart(2);
    this.#lanes.restart(2, offset);
    const [code, lanes] = [this.#first.piece(2), this.#lanes.piece(2)];
    let at = code.let("i32", addedUp(addressOf(this.#first, load.value, index, load.dtype, code)));
    const mask = guard && lanes.let("v128", vectorOf(this.#lanes, guard));
    if (mask) at = lanes.let("i32", apply("select", at, this.#pointer, apply<"i32">("v128.any_true", mask)));
    const vector = (i: number) => v128.load(at, 4 * step * offset + 16 * i);
    const elements = step === 1 ? vector(0) : v128.lanes(vector(0), vector(1), 0, 2, 4, 6);
    const held = lanes.let("v128", mask ? apply("v128.and", elements, mask) : elements);
    return { pieces: [code, lanes], held };
  }
}
