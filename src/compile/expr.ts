import type { DeviceDType } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { bitwiseAnd, where } from "../graph/elementwise.ts";
import type { ScalarRow } from "../graph/node.ts";
import type { ValueId } from "./value.ts";

/** One term of an index: a coefficient times something that is not itself a sum. */
export interface Term {
  readonly coefficient: number;
  readonly atom: Expr;
}

interface Base {
  readonly id: number;
  readonly dtype: DeviceDType;
  /** What it is made of. */
  readonly operands: readonly Expr[];
}

/** A scalar expression: what one element of a kernel's result is. Equal expressions are one object. */
export type Expr = Base &
  (
    | { readonly kind: "constant"; readonly value: number }
    | { readonly kind: "hostNumber"; readonly index: number }
    | { readonly kind: "load"; readonly value: ValueId; readonly index: Expr }
    | { readonly kind: "accumulator"; readonly index: number } // what the core of the kernel gives
    | { readonly kind: "apply"; readonly row: ScalarRow; readonly args: readonly Expr[] }
    | { readonly kind: "cast"; readonly arg: Expr }
    // Indices: int32, with known bounds.
    | { readonly kind: "variable"; readonly name: string; readonly extent: number }
    | { readonly kind: "sum"; readonly terms: readonly Term[]; readonly constant: number }
    | { readonly kind: "digit"; readonly arg: Expr; readonly low: number; readonly high: number } // floor(arg / low) mod (high / low)
    | { readonly kind: "clamp"; readonly arg: Expr; readonly length: number } // into [0, length)
    | { readonly kind: "inRange"; readonly arg: Expr; readonly length: number } // 0 <= arg < length
  );

type Shape<E> = E extends unknown ? Omit<E, "id" | "operands"> : never;

/** Bounds of an index expression, inclusive. */
export interface Bounds {
  readonly min: number;
  readonly max: number;
}

const unbounded: Bounds = { min: -Infinity, max: Infinity };

/**
 * Makes expressions, equal ones once, and simplifies index arithmetic: the pull-back of a reshape is divisions
 * and remainders, most of which cancel. Floats are never simplified: bits would change.
 */
export class Expressions {
  readonly #made = new Map<string, Expr>();
  readonly #bounds = new Map<Expr, Bounds>();

  constant(value: number, dtype: DeviceDType): Expr {
    if (dtype === "int32") return this.index(value);
    return this.#make(`c${dtype}${Object.is(value, -0) ? "-0" : value}`, { kind: "constant", dtype, value });
  }

  hostNumber(index: number, dtype: DeviceDType): Expr {
    return this.#make(`h${dtype}${index}`, { kind: "hostNumber", dtype, index });
  }

  load(value: ValueId, index: Expr, dtype: DeviceDType): Expr {
    return this.#make(`l${value},${index.id}`, { kind: "load", dtype, value, index });
  }

  accumulator(index: number, dtype: DeviceDType): Expr {
    return this.#make(`a${dtype}${index}`, { kind: "accumulator", dtype, index });
  }

  apply(row: ScalarRow, args: readonly Expr[], dtype: DeviceDType): Expr {
    if (row === where.row && args[0]!.kind === "constant") return args[0]!.value ? args[1]! : args[2]!;
    return this.#make(`${row.name}:${dtype}${args.map((arg) => arg.id).join()}`, {
      kind: "apply",
      dtype,
      row,
      args,
    });
  }

  cast(arg: Expr, dtype: DeviceDType): Expr {
    return arg.dtype === dtype ? arg : this.#make(`>${dtype}${arg.id}`, { kind: "cast", dtype, arg });
  }

  variable(name: string, extent: number): Expr {
    if (extent === 1) return this.index(0);
    return this.#make(`v${name},${extent}`, { kind: "variable", dtype: "int32", name, extent });
  }

  index(value: number): Expr {
    return this.#make(`s+${value}`, { kind: "sum", dtype: "int32", terms: [], constant: value });
  }

  /** The sum of `factor * part` over the parts, plus a constant. */
  combine(parts: readonly (readonly [factor: number, part: Expr])[], constant = 0): Expr {
    const terms = new Map<Expr, number>();
    let total = constant;
    for (const [factor, part] of parts) {
      total += factor * constantOf(part);
      for (const { coefficient, atom } of termsOf(part))
        terms.set(atom, (terms.get(atom) ?? 0) + factor * coefficient);
    }
    return this.#sum(terms, total);
  }

  /** floor(x / by) */
  divide(x: Expr, by: number): Expr {
    return this.digit(x, by, Infinity);
  }

  /** x mod by */
  remainder(x: Expr, by: number): Expr {
    return this.digit(x, 1, by);
  }

  /** floor(x / low) mod (high / low), with rounding towards minus infinity. */
  digit(x: Expr, low: number, high: number): Expr {
    let { min, max } = this.bounds(x);
    if (high === low || max < low) if (min >= 0) return this.index(0);
    const [terms, constant] = [termsOf(x), constantOf(x)];
    if (high !== Infinity && !(min >= 0 && max < high)) {
      // Multiples of `high` do not matter, but what is left must not become negative.
      const kept = terms.filter(({ coefficient }) => coefficient % high !== 0);
      const least = this.bounds(this.combine(kept.map(asPart))).min;
      const offset = ((constant % high) + high) % high;
      const missing = least > -Infinity ? Math.max(0, Math.ceil(-(least + offset) / high)) : 0;
      const rest = offset + missing * high;
      if (kept.length < terms.length || rest !== constant)
        return this.digit(this.combine(kept.map(asPart), rest), low, high);
    } else high = Infinity;
    if (low === 1 && high === Infinity) return x;
    if (terms.length === 0)
      return this.index(
        high === Infinity ? Math.floor(constant / low) : Math.floor(constant / low) % (high / low),
      );
    // x = by * quotient + rest.
    const cut = (by: number) => {
      const isWhole = ({ coefficient }: Term) => coefficient % by === 0;
      const quotient = terms
        .filter(isWhole)
        .map(({ coefficient, atom }): [number, Expr] => [coefficient / by, atom]);
      const rest = terms.filter((term) => !isWhole(term)).map(asPart);
      return {
        quotient: this.combine(quotient, Math.floor(constant / by)),
        rest: this.combine(rest, ((constant % by) + by) % by),
      };
    };
    // Where `by` divides low, a rest that is less than it carries nothing over.
    for (const by of divisorsOf(low, terms)) {
      const { quotient, rest } = cut(by);
      const bounds = this.bounds(rest);
      if (bounds.min >= 0 && bounds.max < by) return this.digit(quotient, low / by, high / by);
    }
    if (low > 1 && high === Infinity) {
      const { quotient, rest } = cut(low);
      if (rest !== x && this.bounds(rest).min >= 0)
        return this.combine([
          [1, quotient],
          [1, this.digit(rest, low, Infinity)],
        ]);
    }
    if (x.kind === "digit" && (x.high === Infinity || (x.high / x.low) % low === 0)) {
      const upper = Math.min(x.high, high * x.low);
      if (x.high === Infinity || upper === x.high || x.high % upper === 0)
        return this.digit(x.arg, x.low * low, upper);
    }
    ({ min, max } = this.bounds(x));
    return this.#make(`d${x.id},${low},${high}`, { kind: "digit", dtype: "int32", arg: x, low, high });
  }

  clamp(arg: Expr, length: number): Expr {
    const { min, max } = this.bounds(arg);
    if (min >= 0 && max < length) return arg;
    return this.#make(`m${arg.id},${length}`, { kind: "clamp", dtype: "int32", arg, length });
  }

  inRange(arg: Expr, length: number): Expr {
    const { min, max } = this.bounds(arg);
    if (min >= 0 && max < length) return this.constant(1, "bool");
    if (max < 0 || min >= length) return this.constant(0, "bool");
    return this.#make(`r${arg.id},${length}`, { kind: "inRange", dtype: "bool", arg, length });
  }

  and(x: Expr, y: Expr): Expr {
    if (x.kind === "constant") return x.value ? y : x;
    if (y.kind === "constant") return y.value ? x : y;
    return x === y ? x : this.apply(bitwiseAnd.row, [x, y], "bool");
  }

  select(condition: Expr, x: Expr, y: Expr): Expr {
    return x === y ? x : this.apply(where.row, [condition, x, y], x.dtype);
  }

  bounds(e: Expr): Bounds {
    return getOrInsert(this.#bounds, e, () => this.#computeBounds(e));
  }

  /** The expression with parts replaced: `f` gives a replacement, or undefined to go on inside. */
  rewrite(e: Expr, f: (e: Expr) => Expr | undefined, memo = new Map<Expr, Expr>()): Expr {
    return getOrInsert(memo, e, () => f(e) ?? this.#rebuild(e, (part) => this.rewrite(part, f, memo)));
  }

  #rebuild(e: Expr, go: (part: Expr) => Expr): Expr {
    switch (e.kind) {
      case "constant":
      case "hostNumber":
      case "accumulator":
      case "variable":
        return e;
      case "load":
        return this.load(e.value, go(e.index), e.dtype);
      case "apply": {
        const args = e.args.map(go);
        const isCondition = e.row === bitwiseAnd.row && e.dtype === "bool";
        return isCondition ? this.and(args[0]!, args[1]!) : this.apply(e.row, args, e.dtype);
      }
      case "cast":
        return this.cast(go(e.arg), e.dtype);
      case "sum":
        return this.combine(
          e.terms.map(({ coefficient, atom }) => [coefficient, go(atom)]),
          e.constant,
        );
      case "digit":
        return this.digit(go(e.arg), e.low, e.high);
      case "clamp":
        return this.clamp(go(e.arg), e.length);
      case "inRange":
        return this.inRange(go(e.arg), e.length);
      default:
        return e satisfies never;
    }
  }

  #computeBounds(e: Expr): Bounds {
    switch (e.kind) {
      case "variable":
        return { min: 0, max: e.extent - 1 };
      case "sum": {
        let [min, max] = [e.constant, e.constant];
        for (const { coefficient, atom } of e.terms) {
          const inner = this.bounds(atom);
          min += coefficient * (coefficient > 0 ? inner.min : inner.max);
          max += coefficient * (coefficient > 0 ? inner.max : inner.min);
        }
        return { min, max };
      }
      case "digit": {
        const inner = this.bounds(e.arg);
        if (e.high === Infinity)
          return { min: Math.floor(inner.min / e.low), max: Math.floor(inner.max / e.low) };
        return {
          min: 0,
          max: Math.min(e.high / e.low - 1, inner.min >= 0 ? Math.floor(inner.max / e.low) : Infinity),
        };
      }
      case "clamp":
        return { min: 0, max: e.length - 1 };
      default:
        return unbounded;
    }
  }

  #sum(terms: Map<Expr, number>, constant: number): Expr {
    const total = constant + joinDigits(terms, this);
    const list: Term[] = [];
    for (const [atom, coefficient] of terms) if (coefficient !== 0) list.push({ coefficient, atom });
    if (list.length === 0) return this.index(total);
    if (list.length === 1 && list[0]!.coefficient === 1 && total === 0) return list[0]!.atom;
    list.sort((a, b) => a.atom.id - b.atom.id);
    const key = `s${list.map(({ coefficient, atom }) => `${coefficient}*${atom.id}`).join("+")}+${total}`;
    return this.#make(key, { kind: "sum", dtype: "int32", terms: list, constant: total });
  }

  #make(key: string, shape: Shape<Expr>): Expr {
    const make = () => ({ id: this.#made.size, operands: operandsOf(shape), ...shape }) as Expr; // these make it whole
    return getOrInsert(this.#made, key, make);
  }
}

/** What a sum adds up to its constant; anything else is one term. */
export const termsOf = (e: Expr): readonly Term[] =>
  e.kind === "sum" ? e.terms : [{ coefficient: 1, atom: e }];
export const constantOf = (e: Expr): number => (e.kind === "sum" ? e.constant : 0);

const asPart = ({ coefficient, atom }: Term): [number, Expr] => [coefficient, atom];

/**
 * Digits of one number that lie beside each other are one digit: 6 floor(x/6) + 3 (floor(x/3) mod 2) + x mod 3
 * is x. Returns the constant that this adds.
 */
function joinDigits(terms: Map<Expr, number>, expressions: Expressions): number {
  let added = 0;
  for (let joined = true; joined; ) {
    joined = false;
    for (const [upper, factor] of terms) {
      if (upper.kind !== "digit") continue;
      for (const [lower, small] of terms) {
        const [arg, low, high] =
          lower.kind === "digit" ? [lower.arg, lower.low, lower.high] : [lower, 1, Infinity];
        if (arg !== upper.arg || high !== upper.low || factor * low !== small * high) continue;
        terms.delete(upper);
        terms.delete(lower);
        const whole = expressions.digit(arg, low, upper.high);
        added += small * constantOf(whole);
        for (const { coefficient, atom } of termsOf(whole))
          terms.set(atom, (terms.get(atom) ?? 0) + small * coefficient);
        joined = true;
        break;
      }
      if (joined) break;
    }
  }
  return added;
}

/** Divisors of a number but 1 that it has in common with coefficients, with ever more of them. */
function divisorsOf(number: number, terms: readonly Term[]): readonly number[] {
  const shared = terms.map(({ coefficient }) => gcd(number, coefficient)).sort((one, other) => other - one);
  const all = [number];
  for (const each of shared) all.push(gcd(all.at(-1)!, each));
  return [...new Set(all)].filter((each) => each > 1);
}

function gcd(a: number, b: number): number {
  let [x, y] = [Math.abs(a), Math.abs(b)];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

const none: readonly Expr[] = [];

function operandsOf(e: Shape<Expr>): readonly Expr[] {
  switch (e.kind) {
    case "apply":
      return e.args;
    case "load":
      return [e.index];
    case "cast":
    case "digit":
    case "clamp":
    case "inRange":
      return [e.arg];
    case "sum":
      return e.terms.map(({ atom }) => atom);
    case "constant":
    case "hostNumber":
    case "accumulator":
    case "variable":
      return none;
    default:
      return e satisfies never;
  }
}

/** Visits every distinct part of the expressions, parts before wholes. */
export function walk(roots: Iterable<Expr>, visit: (e: Expr) => void, seen = new Set<Expr>()): void {
  const go = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    for (const part of e.operands) go(part);
    visit(e);
  };
  for (const e of roots) go(e);
}
