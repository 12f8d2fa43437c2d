// Small programs over an array: what elementwise operations and reductions do not describe, such as a sort or the
// factorisation of a small matrix. One is written once; both backends print it and the reference evaluator interprets it.
// An array is one row of the last axis of a tensor, each row by itself. It is changed in place, and so is all the room that
// a program needs: what else it computes lies behind.

/** Numbers of a program: indices and elements of integers (32 bits, wrapping), elements of floats, and conditions. */
export type Type = "int" | "real" | "truth";

export type Operator =
  | ("add" | "sub" | "mul" | "div") // quotients of integers are truncated
  | ("rem" | "and" | "xor" | "shl" | "shr") // of integers; shr fills with zeros
  | ("sqrt" | "abs" | "toReal" | "toInt") // toInt truncates
  | ("lt" | "le" | "eq" | "both" | "either" | "select");

/** What is computed; float locals have the precision of float64 where there is one. */
export type Term =
  | { readonly kind: "number"; readonly type: Type; readonly value: number }
  | { readonly kind: "local"; readonly type: Type; readonly index: number }
  | { readonly kind: "load"; readonly type: Type; readonly at: Term }
  | {
      readonly kind: "apply";
      readonly type: Type;
      readonly operator: Operator;
      readonly args: readonly Term[];
    }
  /** The sum of products of `length` elements from two places on. */
  | {
      readonly kind: "dot";
      readonly type: "real";
      readonly x: Term;
      readonly y: Term;
      readonly length: Term;
    }
  /** Which of `length` whole numbers from a place on is the first that is less than `bound`; `length` where none is. */
  | {
      readonly kind: "firstBelow";
      readonly type: "int";
      readonly from: Term;
      readonly length: Term;
      readonly bound: Term;
    };

export type Statement =
  | { readonly kind: "set"; readonly local: number; readonly value: Term }
  | { readonly kind: "store"; readonly at: Term; readonly value: Term }
  | {
      readonly kind: "if";
      readonly condition: Term;
      readonly holds: readonly Statement[];
      readonly otherwise: readonly Statement[];
    }
  | { readonly kind: "while"; readonly condition: Term; readonly body: readonly Statement[] }
  /** From `from` up to `to`, one after the other. */
  | {
      readonly kind: "for";
      readonly local: number;
      readonly from: Term;
      readonly to: Term;
      readonly body: readonly Statement[];
    }
  /** From 0 up to `count`, in any order or side by side: none reads what another writes. */
  | {
      readonly kind: "each";
      readonly local: number;
      readonly count: Term;
      readonly body: readonly Statement[];
    }
  /** y += factor x, for `length` elements. */
  | {
      readonly kind: "addMultiple";
      readonly y: Term;
      readonly x: Term;
      readonly length: Term;
      readonly factor: Term;
    }
  /** y -= the sum of `count` rows x, `step` apart, each times its factor, for `length` elements. */
  | ({ readonly kind: "subtractMultiples" } & Multiples<Term>)
  /** Rows of `length` elements, `step` apart, are turned, each and the next, by so many rotations one after the other. */
  | ({ readonly kind: "rotations" } & Rotations<Term>);

export interface Multiples<T> {
  readonly y: T;
  /** The first row. */
  readonly x: T;
  readonly step: T;
  readonly length: T;
  readonly count: T;
  /** Where the first factor is. */
  readonly factors: T;
}

/** The i-th of `count` rotations makes (c x + s y, c y - s x) of the i-th row x and the next row y. */
export interface Rotations<T> {
  /** The first row. */
  readonly rows: T;
  readonly step: T;
  readonly length: T;
  readonly count: T;
  /** Where the first c is, and the first s. */
  readonly cosines: T;
  readonly sines: T;
}

export interface Code {
  readonly statements: readonly Statement[];
  /** The types of locals, by their numbers. */
  readonly locals: readonly Type[];
}

export interface Procedure {
  /** What it is, with all its parameters: equal texts are equal programs. */
  readonly text: string;
  /** Rough work on one row, in additions. */
  readonly work: number;
  /** For one thread. */
  readonly code: () => Code;
  /** For many invocations that work on one row together, where that is another program. */
  readonly together?: () => Code;
}

type Operand<T extends Type> = Value<T> | number;

/** An expression in the making. */
export class Value<T extends Type = Type> {
  readonly term: Term;
  declare readonly type: T;

  constructor(term: Term) {
    this.term = term;
  }

  #apply<R extends Type>(operator: Operator, type: R, ...others: readonly Operand<Type>[]): Value<R> {
    const args = [this.term, ...others.map((other) => termOf(other, this.term.type))];
    return new Value<R>({ kind: "apply", type, operator, args });
  }

  plus(other: Operand<T>): Value<T> {
    return this.#apply("add", this.term.type as T, other);
  }
  minus(other: Operand<T>): Value<T> {
    return this.#apply("sub", this.term.type as T, other);
  }
  times(other: Operand<T>): Value<T> {
    return this.#apply("mul", this.term.type as T, other);
  }
  over(other: Operand<T>): Value<T> {
    return this.#apply("div", this.term.type as T, other);
  }
  rem(other: Operand<T>): Value<T> {
    return this.#apply("rem", this.term.type as T, other);
  }
  and(other: Operand<T>): Value<T> {
    return this.#apply("and", this.term.type as T, other);
  }
  xor(other: Operand<T>): Value<T> {
    return this.#apply("xor", this.term.type as T, other);
  }
  shl(other: Operand<T>): Value<T> {
    return this.#apply("shl", this.term.type as T, other);
  }
  shr(other: Operand<T>): Value<T> {
    return this.#apply("shr", this.term.type as T, other);
  }
  negated(): Value<T> {
    return new Value<T>(termOf(0, this.term.type)).minus(this);
  }
  sqrt(): Value<T> {
    return this.#apply("sqrt", this.term.type as T);
  }
  abs(): Value<T> {
    return this.#apply("abs", this.term.type as T);
  }
  toReal(): Value<"real"> {
    return this.#apply("toReal", "real");
  }
  toInt(): Value<"int"> {
    return this.#apply("toInt", "int");
  }
  lt(other: Operand<T>): Value<"truth"> {
    return this.#apply("lt", "truth", other);
  }
  gt(other: Operand<T>): Value<"truth"> {
    return new Value<T>(termOf(other, this.term.type)).lt(this);
  }
  le(other: Operand<T>): Value<"truth"> {
    return this.#apply("le", "truth", other);
  }
  eq(other: Operand<T>): Value<"truth"> {
    return this.#apply("eq", "truth", other);
  }
  both(other: Value<"truth">): Value<"truth"> {
    return this.#apply("both", "truth", other);
  }
  either(other: Value<"truth">): Value<"truth"> {
    return this.#apply("either", "truth", other);
  }
  /** The first where this holds, else the second. */
  select<R extends "int" | "real">(then: Value<R>, otherwise: Operand<R>): Value<R> {
    const { type } = then.term;
    const args = [this.term, then.term, termOf(otherwise, type)];
    return new Value<R>({ kind: "apply", type, operator: "select", args });
  }
}

function termOf(operand: Operand<Type>, type: Type): Term {
  return typeof operand === "number" ? { kind: "number", type, value: operand } : operand.term;
}

type Index = Operand<"int">;
const index = (operand: Index) => termOf(operand, "int");
const indices = <K extends string>(of: Readonly<Record<K, Index>>) =>
  Object.fromEntries(Object.entries<Index>(of).map(([key, at]) => [key, index(at)])) as Record<K, Term>; // the same keys

/** Writes a program, whose elements are of type E. */
export class Writer<E extends "int" | "real"> {
  readonly #element: E;
  readonly #locals: Type[];
  readonly #statements: Statement[] = [];

  constructor(element: E, locals: Type[] = []) {
    this.#element = element;
    this.#locals = locals;
  }

  get finished(): Code {
    return { statements: this.#statements, locals: this.#locals };
  }

  int(value: number): Value<"int"> {
    return new Value({ kind: "number", type: "int", value });
  }

  real(value: number): Value<"real"> {
    return new Value({ kind: "number", type: "real", value });
  }

  /** The element at an index, as it is now: keep it with `let` before it changes. */
  load(at: Index): Value<E> {
    return new Value({ kind: "load", type: this.#element, at: index(at) });
  }

  store(at: Index, value: Operand<E>): void {
    this.#statements.push({ kind: "store", at: index(at), value: termOf(value, this.#element) });
  }

  #local<T extends Type>(type: T): { readonly number: number; readonly value: Value<T> } {
    const number = this.#locals.push(type) - 1;
    return { number, value: new Value<T>({ kind: "local", type, index: number }) };
  }

  /** A local with that value, to be changed with `set`. */
  let<T extends Type>(value: Value<T>): Value<T> {
    const { type } = value.term;
    const { number, value: local } = this.#local(type as T);
    this.#statements.push({ kind: "set", local: number, value: value.term });
    return local;
  }

  set<T extends Type>(local: Value<T>, value: Operand<T>): void {
    const { term } = local;
    if (term.kind !== "local") return;
    this.#statements.push({ kind: "set", local: term.index, value: termOf(value, term.type) });
  }

  #block(write: (w: Writer<E>) => void): readonly Statement[] {
    const inner = new Writer(this.#element, this.#locals);
    write(inner);
    return inner.finished.statements;
  }

  if(condition: Value<"truth">, holds: (w: Writer<E>) => void, otherwise?: (w: Writer<E>) => void): void {
    const statement: Statement = {
      kind: "if",
      condition: condition.term,
      holds: this.#block(holds),
      otherwise: otherwise ? this.#block(otherwise) : [],
    };
    this.#statements.push(statement);
  }

  while(condition: Value<"truth">, body: (w: Writer<E>) => void): void {
    this.#statements.push({ kind: "while", condition: condition.term, body: this.#block(body) });
  }

  for(from: Index, to: Index, body: (w: Writer<E>, i: Value<"int">) => void): void {
    this.#statements.push({ kind: "for", from: index(from), to: index(to), ...this.#counted(body) });
  }

  each(count: Index, body: (w: Writer<E>, i: Value<"int">) => void): void {
    this.#statements.push({ kind: "each", count: index(count), ...this.#counted(body) });
  }

  #counted(body: (w: Writer<E>, i: Value<"int">) => void) {
    const { number: local, value } = this.#local("int");
    return { local, body: this.#block((w) => body(w, value)) };
  }

  dot(x: Index, y: Index, length: Index): Value<"real"> {
    return new Value({ kind: "dot", type: "real", x: index(x), y: index(y), length: index(length) });
  }

  firstBelow(from: Index, length: Index, bound: Value<"int">): Value<"int"> {
    const [place, count] = [index(from), index(length)];
    return new Value({ kind: "firstBelow", type: "int", from: place, length: count, bound: bound.term });
  }

  addMultiple(y: Index, x: Index, length: Index, factor: Value<"real">): void {
    const statement: Statement = {
      kind: "addMultiple",
      y: index(y),
      x: index(x),
      length: index(length),
      factor: factor.term,
    };
    this.#statements.push(statement);
  }

  subtractMultiples(given: Multiples<Index>): void {
    this.#statements.push({ kind: "subtractMultiples", ...indices(given) });
  }

  rotations(given: Rotations<Index>): void {
    this.#statements.push({ kind: "rotations", ...indices(given) });
  }
}

export function written<E extends "int" | "real">(element: E, write: (w: Writer<E>) => void): Code {
  const writer = new Writer(element);
  write(writer);
  return writer.finished;
}

/** Runs a program on an array. */
export function interpret({ statements, locals: types }: Code, array: Float64Array): void {
  const locals = new Float64Array(types.length);
  const run = (list: readonly Statement[]): void => {
    for (const s of list) execute(s);
  };
  const execute = (s: Statement): void => {
    switch (s.kind) {
      case "set":
        locals[s.local] = value(s.value);
        break;
      case "store":
        array[value(s.at)] = value(s.value);
        break;
      case "if":
        run(value(s.condition) !== 0 ? s.holds : s.otherwise);
        break;
      case "while":
        while (value(s.condition) !== 0) run(s.body);
        break;
      case "for":
      case "each": {
        const [from, to] = s.kind === "for" ? [value(s.from), value(s.to)] : [0, value(s.count)];
        for (let i = from; i < to; i++) {
          locals[s.local] = i;
          run(s.body);
        }
        break;
      }
      case "addMultiple": {
        const [y, x, length, factor] = [value(s.y), value(s.x), value(s.length), value(s.factor)];
        for (let i = 0; i < length; i++) array[y + i]! += factor * array[x + i]!;
        break;
      }
      case "subtractMultiples": {
        const [y, x, step, length] = [value(s.y), value(s.x), value(s.step), value(s.length)];
        const [count, factors] = [value(s.count), value(s.factors)];
        for (let i = 0; i < count; i++)
          for (let j = 0; j < length; j++) array[y + j]! -= array[factors + i]! * array[x + i * step + j]!;
        break;
      }
      case "rotations": {
        const [rows, step, length, count] = [value(s.rows), value(s.step), value(s.length), value(s.count)];
        const [cosines, sines] = [value(s.cosines), value(s.sines)];
        for (let i = 0; i < count; i++) {
          const [c, d] = [array[cosines + i]!, array[sines + i]!];
          const first = rows + i * step;
          for (let at = first; at < first + length; at++) {
            const [x, y] = [array[at]!, array[at + step]!];
            array[at] = c * x + d * y;
            array[at + step] = c * y - d * x;
          }
        }
        break;
      }
      default:
        s satisfies never;
    }
  };
  const value = (term: Term): number => {
    switch (term.kind) {
      case "number":
        return term.value;
      case "local":
        return locals[term.index]!;
      case "load":
        return array[value(term.at)]!;
      case "dot": {
        const [x, y, length] = [value(term.x), value(term.y), value(term.length)];
        let sum = 0;
        for (let i = 0; i < length; i++) sum += array[x + i]! * array[y + i]!;
        return sum;
      }
      case "firstBelow": {
        const [from, length, bound] = [value(term.from), value(term.length), value(term.bound)];
        let i = 0;
        while (i < length && array[from + i]! >= bound) i++;
        return i;
      }
      case "apply": {
        const [x, y, z] = term.args.map(value) as [number, number, number];
        const result = applied(term.operator, x, y, z, term.type === "int");
        return term.type === "int" ? result | 0 : Number(result);
      }
      default:
        return term satisfies never;
    }
  };
  run(statements);
}

function applied(operator: Operator, x: number, y: number, z: number, whole: boolean): number {
  switch (operator) {
    case "add":
      return x + y;
    case "sub":
      return x - y;
    case "mul":
      return whole ? Math.imul(x, y) : x * y;
    case "div":
      return x / y;
    case "rem":
      return x % y;
    case "and":
      return x & y;
    case "xor":
      return x ^ y;
    case "shl":
      return x << y;
    case "shr":
      return x >>> y;
    case "sqrt":
      return Math.sqrt(x);
    case "abs":
      return Math.abs(x);
    case "toReal":
      return x;
    case "toInt":
      return Math.trunc(x);
    case "lt":
      return Number(x < y);
    case "le":
      return Number(x <= y);
    case "eq":
      return Number(x === y);
    case "both":
      return x & y;
    case "either":
      return x | y;
    case "select":
      return x !== 0 ? y : z;
    default:
      return operator satisfies never;
  }
}
