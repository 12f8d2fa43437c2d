import type { DeviceDType } from "../base/dtype.ts";
import type { ScalarRow } from "../graph/node.ts";
import { type Expr, parts, walk } from "./expr.ts";

/** How one language writes the parts of an expression. Arguments are text; compound ones are in parentheses. */
export interface Dialect {
  constant(value: number, dtype: DeviceDType): string;
  hostNumber(index: number, dtype: DeviceDType): string;
  load(value: number, index: string, dtype: DeviceDType): string;
  accumulator(index: number, dtype: DeviceDType): string;
  apply(row: ScalarRow, args: readonly string[], result: DeviceDType, argument: DeviceDType): string;
  cast(arg: string, from: DeviceDType, to: DeviceDType): string;
  /** floor(arg / low) mod modulus, for arg >= 0; no modulus where it is Infinity. */
  digit(arg: string, low: number, modulus: number): string;
  clamp(arg: string, length: number): string;
  inRange(arg: string, length: number): string;
  /** `const name = text;` in the language. */
  declare(name: string, text: string): string;
}

/** Characters of an expression that gets no name; compilers of shaders refuse deep nesting. */
const longest = 400;

/** Where an expression can first be computed: outside all loops is 0, inside the n-th loop n. */
export type Level = number;

/**
 * Prints expressions into the levels of a loop nest. What is used more than once, or can be computed further
 * out than it is used, gets a name there; everything else is written where it is used.
 */
export class Emitter {
  readonly #dialect: Dialect;
  readonly #levelOfVariable: ReadonlyMap<string, Level>;
  /** Level of the accumulators: after the inner loops. */
  readonly #afterwards: Level;
  readonly #uses = new Map<Expr, number>();
  readonly #levels = new Map<Expr, Level>();
  readonly #names = new Map<Expr, string>();
  readonly #statements = new Map<Level, string[]>();
  #count = 0;

  constructor(
    dialect: Dialect,
    roots: readonly Expr[],
    levelOfVariable: ReadonlyMap<string, Level>,
    afterwards: Level = Infinity,
  ) {
    this.#dialect = dialect;
    this.#levelOfVariable = levelOfVariable;
    this.#afterwards = afterwards;
    for (const root of roots) this.#uses.set(root, (this.#uses.get(root) ?? 0) + 1);
    walk(roots, (e) => {
      for (const part of parts(e)) this.#uses.set(part, (this.#uses.get(part) ?? 0) + 1);
    });
  }

  /** The name of what is declared elsewhere; before anything is printed. */
  bind(e: Expr, name: string): void {
    this.#names.set(e, name);
  }

  /** The declarations of a level, in order; print all expressions before asking. */
  statements(level: Level): readonly string[] {
    return this.#statements.get(level) ?? [];
  }

  /** The text of `e` where level `at` is open. */
  print(e: Expr, at: Level): string {
    return this.#text(e, at);
  }

  /** As `print`, but named: a value that is read before anything is stored. */
  name(e: Expr, at: Level): string {
    const text = this.#text(e, at);
    return /^[A-Za-z_]\w*$/.test(text) ? text : this.#declare(e, this.#level(e), text);
  }

  #text(e: Expr, at: Level): string {
    const known = this.#names.get(e);
    if (known) return known;
    const own = this.#level(e);
    const simple =
      e.kind === "constant" ||
      e.kind === "variable" ||
      e.kind === "accumulator" ||
      (e.kind === "sum" && e.terms.length === 0);
    const named = !simple && (this.#uses.get(e)! > 1 || own < at);
    const text = this.#write(e, named ? own : at);
    return named || text.length > longest ? this.#declare(e, own, text) : text;
  }

  #declare(e: Expr, level: Level, text: string): string {
    const name = `${prefix[e.dtype]}${this.#count++}`;
    this.#names.set(e, name);
    const list = this.#statements.get(level);
    const statement = this.#dialect.declare(name, text);
    if (list) list.push(statement);
    else this.#statements.set(level, [statement]);
    return name;
  }

  #level(e: Expr): Level {
    let level = this.#levels.get(e);
    if (level === undefined) {
      if (e.kind === "variable") level = this.#levelOfVariable.get(e.name) ?? 0;
      else if (e.kind === "accumulator") level = this.#afterwards;
      else level = parts(e).reduce((most, part) => Math.max(most, this.#level(part)), 0);
      this.#levels.set(e, level);
    }
    return level;
  }

  /** As an operand: compound text in parentheses. */
  #operand(e: Expr, at: Level): string {
    const text = this.#text(e, at);
    return isAtomic(text) ? text : `(${text})`;
  }

  #write(e: Expr, at: Level): string {
    const d = this.#dialect;
    switch (e.kind) {
      case "constant":
        return d.constant(e.value, e.dtype);
      case "hostNumber":
        return d.hostNumber(e.index, e.dtype);
      case "load":
        return d.load(e.value, this.#text(e.index, at), e.dtype);
      case "accumulator":
        return d.accumulator(e.index, e.dtype);
      case "apply":
        return d.apply(
          e.row,
          e.args.map((arg) => this.#operand(arg, at)),
          e.dtype,
          e.args[e.args.length - 1]!.dtype,
        );
      case "cast":
        return d.cast(this.#operand(e.arg, at), e.arg.dtype, e.dtype);
      case "variable":
        return e.name;
      case "sum":
        return this.#sum(e, at);
      case "digit":
        return d.digit(this.#operand(e.arg, at), e.low, e.high / e.low);
      case "clamp":
        return d.clamp(this.#operand(e.arg, at), e.length);
      case "inRange":
        return d.inRange(this.#operand(e.arg, at), e.length);
      default:
        return e satisfies never;
    }
  }

  /** Terms that do not change in the inner loops are added up outside of them. */
  #sum(e: Extract<Expr, { kind: "sum" }>, at: Level): string {
    const d = this.#dialect;
    const levels = [...new Set(e.terms.map(({ atom }) => this.#level(atom)))].sort((a, b) => a - b);
    let text = "";
    const append = (negative: boolean, part: string) => {
      text = text === "" ? (negative ? `-${part}` : part) : `${text} ${negative ? "-" : "+"} ${part}`;
    };
    levels.forEach((level, i) => {
      const last = i === levels.length - 1;
      for (const { coefficient, atom } of e.terms) {
        if (this.#level(atom) !== level) continue;
        const size = Math.abs(coefficient);
        const operand = this.#operand(atom, last ? at : level);
        append(coefficient < 0, size === 1 ? operand : `${operand} * ${d.constant(size, "int32")}`);
      }
      if (i === 0 && e.constant !== 0) append(e.constant < 0, d.constant(Math.abs(e.constant), "int32"));
      if (!last && level < at && !isAtomic(text)) {
        const name = `i${this.#count++}_`;
        const statement = d.declare(name, text);
        this.#statements.set(level, [...(this.#statements.get(level) ?? []), statement]);
        text = name;
      }
    });
    return text === "" ? d.constant(e.constant, "int32") : text;
  }
}

const prefix: Record<DeviceDType, string> = {
  float16: "h",
  float32: "x",
  float64: "x",
  int32: "n",
  uint32: "w", // not "u": u32 is a type of WGSL
  bool: "b",
};

/** A name, a number, or one call or element: needs no parentheses. */
function isAtomic(text: string): boolean {
  const head = /^[\w.]*/.exec(text)![0];
  const rest = text.slice(head.length);
  if (rest === "") return head !== "";
  const open = rest[0];
  if (open !== "(" && open !== "[" && open !== "<") return false;
  let depth = 0;
  for (let i = 0; i < rest.length; i++) {
    if ("([".includes(rest[i]!)) depth++;
    if (")]".includes(rest[i]!) && --depth === 0) return i === rest.length - 1;
  }
  return false;
}
