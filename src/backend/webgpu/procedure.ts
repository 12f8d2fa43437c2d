import type { ProcedureKernel } from "../../compile/kernel.ts";
import type { Operator, Statement, Term, Type } from "../../graph/procedure.ts";
import { type Body, digits, perGroup, perPoint, workgroupSize } from "./dispatch.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { byWorkgroups } from "./sharing.ts";
import { printConstant, whole, write } from "./text.ts";

const infix: Partial<Record<Operator, string>> = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  rem: "%",
  and: "&",
  xor: "^",
  lt: "<",
  le: "<=",
  eq: "==",
  both: "&&",
  either: "||",
};

const types: Record<Type, string> = { int: "i32", real: "f32", truth: "bool" };

/**
 * A program whose invocations work on one row together: what is `each` they share, and wait for each other after it. What all
 * have to have read is not written before: they wait there too.
 */
class Together {
  readonly #load: (at: string) => string;
  readonly #store: (at: string, value: string) => string;
  readonly #declared = new Map<string, readonly string[]>();
  #made = 0;
  /** Whether some may still read what they all read. */
  #reading = false;

  constructor(load: (at: string) => string, store: (at: string, value: string) => string) {
    this.#load = load;
    this.#store = store;
  }

  /** What its statements refer to; ask after they are printed. */
  get declarations(): string[] {
    return [...this.#declared.values()].flatMap((lines) => ["", ...lines]);
  }

  /** @param alone Within the work of one invocation. */
  statements(list: readonly Statement[], alone: boolean): string[] {
    return list.flatMap((s) => this.#statement(s, alone));
  }

  #statement(s: Statement, alone: boolean): string[] {
    /** After what all read, and before what they read next. */
    const between = (lines: string[]) => {
      const first = this.#reading ? ["storageBarrier();"] : [];
      this.#reading = false;
      return [...first, ...lines, "storageBarrier();"];
    };
    /** What one invocation does for all. */
    const once = (lines: string[]) => (alone ? lines : between(["if (own_ == 0) {", ...lines, "}"]));
    const inner = (list: readonly Statement[]) => this.statements(list, alone);
    const reads = (...terms: Term[]) => {
      if (!alone && terms.some(isRead)) this.#reading = true;
    };
    /** What may come again, where its end may still be read at its beginning. */
    const again = (list: readonly Statement[]) => {
      const before = this.#reading;
      const lines = inner(list);
      return this.#reading && !before ? inner(list) : lines;
    };
    /** A loop over columns, which invocations share; terms are named before it. */
    const columns = <K extends string>(
      terms: Readonly<Record<K | "length", Term>>,
      body: (at: (name: K) => string) => string[],
    ): string[] => {
      const made = this.#made++;
      const entries = Object.entries<Term>(terms);
      reads(...entries.map(([, term]) => term));
      const [from, by] = alone ? [0, 1] : ["own_", workgroupSize];
      const lines = [
        `for (var column = ${from}; column < length${made}; column += ${by}) {`,
        ...body((name) => `${name}${made}`),
        "}",
      ];
      return [
        "{",
        ...entries.map(([name, term]) => `let ${name}${made} = ${this.text(term)};`),
        ...(alone ? lines : between(lines)),
        "}",
      ];
    };
    switch (s.kind) {
      case "set":
        reads(s.value);
        return [`v${s.local} = ${this.text(s.value)};`];
      case "store":
        return once([this.#store(this.text(s.at), this.text(s.value))]);
      case "if": {
        reads(s.condition);
        const before = this.#reading;
        const holds = inner(s.holds);
        const after = this.#reading;
        this.#reading = before;
        const otherwise = inner(s.otherwise);
        this.#reading ||= after;
        return [
          `if (${this.text(s.condition)}) {`,
          ...holds,
          ...(otherwise.length > 0 ? ["} else {", ...otherwise] : []),
          "}",
        ];
      }
      case "while":
        if (alone || !isRead(s.condition))
          return [`while (${this.text(s.condition)}) {`, ...again(s.body), "}"];
        // What is loaded is told by one: all have to go on or stop together.
        this.#declared.set("more", ["var<workgroup> more: i32;"]);
        return [
          "loop {",
          ...["if (own_ == 0) {", `more = select(0, 1, ${this.text(s.condition)});`, "}"],
          ...["if (workgroupUniformLoad(&more) == 0) {", "break;", "}"],
          ...again(s.body),
          "}",
        ];
      case "for": {
        reads(s.from, s.to);
        const [v, end] = [`v${s.local}`, `end${this.#made++}`];
        return [
          `let ${end} = ${this.text(s.to)};`,
          `for (${v} = ${this.text(s.from)}; ${v} < ${end}; ${v}++) {`,
          ...again(s.body),
          "}",
        ];
      }
      case "each": {
        if (alone) return this.#statement({ ...s, kind: "for", from: none, to: s.count }, true);
        const [v, end] = [`v${s.local}`, `end${this.#made++}`];
        reads(s.count);
        return [
          `let ${end} = ${this.text(s.count)};`,
          ...between([
            `for (${v} = own_; ${v} < ${end}; ${v} += ${workgroupSize}) {`,
            ...this.statements(s.body, true),
            "}",
          ]),
        ];
      }
      case "addMultiple": {
        const { places, at, loop } = this.#run(s.length, { x: s.x, y: s.y });
        const factor = `factor${this.#made++}`;
        return once([
          "{",
          ...places,
          `let ${factor} = ${this.text(s.factor)};`,
          loop,
          this.#store(at("y"), `${this.#load(at("y"))} + ${factor} * ${this.#load(at("x"))}`),
          "}",
          "}",
        ]);
      }
      case "subtractMultiples": {
        const { kind, ...terms } = s;
        return columns(terms, (at) => [
          `var left = ${this.#load(`${at("y")} + column`)};`,
          `for (var i = 0; i < ${at("count")}; i++) {`,
          `left -= ${this.#load(`${at("factors")} + i`)} * ${this.#load(`${at("x")} + i * ${at("step")} + column`)};`,
          "}",
          this.#store(`${at("y")} + column`, "left"),
        ]);
      }
      case "rotations": {
        const { kind, ...terms } = s;
        return columns(terms, (at) => [
          `var row = ${at("rows")} + column;`,
          `var x = ${this.#load("row")};`,
          `for (var i = 0; i < ${at("count")}; i++) {`,
          `let c = ${this.#load(`${at("cosines")} + i`)};`,
          `let s = ${this.#load(`${at("sines")} + i`)};`,
          `let y = ${this.#load(`row + ${at("step")}`)};`,
          this.#store("row", "c * x + s * y"),
          "x = c * y - s * x;",
          `row += ${at("step")};`,
          "}",
          this.#store("row", "x"),
        ]);
      }
      default:
        return s satisfies never;
    }
  }

  /** A loop along two runs of elements. */
  #run(length: Term, of: Readonly<Record<"x" | "y", Term>>) {
    const made = this.#made++;
    return {
      places: [`let x${made} = ${this.text(of.x)};`, `let y${made} = ${this.text(of.y)};`],
      at: (which: "x" | "y") => `${which}${made} + i${made}`,
      loop: `for (var i${made} = 0; i${made} < ${this.text(length)}; i${made}++) {`,
    };
  }

  #call(name: string, ...args: readonly Term[]): string {
    return `${name}(first, ${args.map((arg) => this.text(arg)).join(", ")})`;
  }

  text(term: Term): string {
    switch (term.kind) {
      case "number":
        return term.type === "truth"
          ? String(term.value !== 0)
          : printConstant(term.value, term.type === "int" ? "int32" : "float32");
      case "local":
        return `v${term.index}`;
      case "load":
        return this.#load(this.text(term.at));
      case "dot":
        this.#declared.set("dotOf", [
          "fn dotOf(first: i32, x: i32, y: i32, length: i32) -> f32 {",
          "var sum = 0.0f;",
          "for (var i = 0; i < length; i++) {",
          `sum += ${this.#load("x + i")} * ${this.#load("y + i")};`,
          "}",
          "return sum;",
          "}",
        ]);
        return this.#call("dotOf", term.x, term.y, term.length);
      case "firstBelow":
        this.#declared.set("firstBelow", [
          "fn firstBelow(first: i32, x: i32, length: i32, bound: i32) -> i32 {",
          "var i = 0;",
          "while (i < length) {",
          `if (${this.#load("x + i")} < bound) {`,
          "break;",
          "}",
          "i++;",
          "}",
          "return i;",
          "}",
        ]);
        return this.#call("firstBelow", term.from, term.length, term.bound);
      case "apply": {
        const [x, y, z] = term.args.map((arg) => this.text(arg));
        switch (term.operator) {
          case "sqrt":
          case "abs":
            return `${term.operator}(${x})`;
          case "toReal":
            return `f32(${x})`;
          case "toInt":
            return `i32(${x})`;
          case "shl":
            return `(${x} << u32(${y}))`;
          case "shr":
            return `bitcast<i32>(bitcast<u32>(${x}) >> u32(${y}))`;
          case "select":
            return `select(${z}, ${y}, ${x})`;
          default:
            return `(${x} ${infix[term.operator]} ${y})`;
        }
      }
      default:
        return term satisfies never;
    }
  }
}

const none: Term = { kind: "number", type: "int", value: 0 };

/** Whether something that others may write is read. */
const isRead = (term: Term): boolean =>
  term.kind === "apply" ? term.args.some(isRead) : !["number", "local"].includes(term.kind);

/** Work on a row, in additions, up to which one invocation does it, where there are many rows. */
const littleWork = 4096;
const manyRows = 64;

/** A workgroup for each row, or an invocation. */
export function printProcedure(kernel: ProcedureKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { fiber, position, initial, dtype, procedure } = kernel;
  const [{ value, index }] = kernel.stores;
  const alone = procedure.work <= littleWork && fiber.extent >= manyRows;
  const { statements, locals } = alone ? procedure.code() : (procedure.together ?? procedure.code)();
  const copy = write(
    [index, initial].map((expr) => ({ expr, at: 0 })),
    bindings,
  );
  const together = new Together(
    (at) => whole(bindings.load(value, `first + ${at}`, dtype)),
    (at, text) => bindings.store(value, `first + ${at}`, text, dtype),
  );
  const { name, extent } = position;
  const body = [
    ...digits([fiber], "point"),
    `let first = point * ${extent};`,
    `for (var ${name} = ${alone ? 0 : "own_"}; ${name} < ${extent}; ${name} += ${alone ? 1 : workgroupSize}) {`,
    ...copy.statements(0),
    bindings.store(value, copy.text(index), copy.text(initial), dtype),
    "}",
    ...(alone ? [] : ["storageBarrier();"]),
    ...locals.map((type, i) => `var v${i}: ${types[type]};`),
    ...together.statements(statements, alone),
  ];
  const { declarations } = together;
  const dispatched = alone
    ? perPoint(fiber.extent, options, body)
    : perGroup(fiber.extent, options, byWorkgroups, body);
  return { declarations, ...dispatched };
}
