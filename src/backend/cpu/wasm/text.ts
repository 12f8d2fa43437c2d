import { internal } from "../../../base/errors.ts";
import { getOrInsert } from "../../../base/group.ts";
import { instructionAt, kinds } from "./instructions.ts";

// Functions of WebAssembly as text for people, read from their bytes: what is on the stack becomes an expression, each
// local that is set a line. Operators between vectors are those of four float32; what else there is goes by its name.
// Integers are compared as unsigned ones, but for `i32.lt_s` and its like.

/** A function whose code is printed. */
export interface NamedFunction {
  readonly name: string;
  readonly params: readonly string[];
  /** Names of the locals, parameters first; those without one are numbered after a letter for their type. */
  readonly locals: readonly { readonly name?: string; readonly letter: string }[];
  readonly bytes: Uint8Array;
  readonly results: number;
  /** Of imported functions, by their index. */
  readonly imports: readonly { readonly name: string; readonly params: number; readonly results: number }[];
}

/** What is on the stack. */
interface Term {
  readonly text: string;
  /** How tightly its operator binds; names and calls bind most. */
  readonly binds: number;
  readonly reads: ReadonlySet<string>;
  readonly loads: boolean;
}

const call = 10;

const infix: Readonly<Record<string, readonly [symbol: string, binds: number]>> = {
  mul: ["*", 8],
  div: ["/", 8],
  div_u: ["/", 8],
  rem_u: ["%", 8],
  add: ["+", 7],
  sub: ["-", 7],
  shl: ["<<", 6],
  shr_s: [">>", 6],
  shr_u: [">>>", 6],
  lt: ["<", 5],
  le: ["<=", 5],
  gt: [">", 5],
  ge: [">=", 5],
  lt_u: ["<", 5],
  le_u: ["<=", 5],
  gt_u: [">", 5],
  ge_u: [">=", 5],
  eq: ["==", 4],
  ne: ["!=", 4],
  and: ["&", 3],
  xor: ["^", 2],
  or: ["|", 1],
};

/** The functions of a module, which call each other by their index. */
export function printFunctions(functions: readonly NamedFunction[]): string {
  return functions.map((f) => Printer.print(f, functions)).join("\n");
}

class Printer {
  readonly #own: NamedFunction;
  readonly #all: readonly NamedFunction[];
  readonly #lines: string[] = [];
  readonly #stack: Term[] = [];
  /** How often each local is set in the whole function. */
  readonly #sets: ReadonlyMap<number, number>;
  readonly #names = new Map<number, string>();
  /** Vectors of constants that nothing else is put into: they stand where they are used. */
  readonly #constants = new Map<number, string>();
  readonly #found = new Map<number, number>();
  readonly #numbered = new Map<string, number>();
  readonly #blocks: ("loop" | "if")[] = [];
  #at = 0;
  #spilled = 0;

  constructor(own: NamedFunction, all: readonly NamedFunction[], sets = new Map<number, number>()) {
    this.#own = own;
    this.#all = all;
    this.#sets = sets;
  }

  /** How often locals are set is known when all has been read. */
  static print(own: NamedFunction, all: readonly NamedFunction[]): string {
    const first = new Printer(own, all);
    first.print();
    return new Printer(own, all, first.#found).print();
  }

  print(): string {
    const { name, params, bytes, results } = this.#own;
    while (this.#at < bytes.length) this.#instruction();
    if (results > 0) this.#line(`return ${this.#pop().text}`);
    if (this.#stack.length > 0 || this.#blocks.length > 0) internal(`${name} leaves something open`);
    return [`function ${name}(${params.join(", ")}) {`, ...this.#lines, "}"].join("\n");
  }

  #instruction(): void {
    const byte = this.#byte();
    switch (byte) {
      case 0x03:
        this.#open("loop", "do {");
        break;
      case 0x04:
        this.#open("if", `if (${this.#pop().text}) {`);
        break;
      case 0x05:
        this.#blocks.pop();
        this.#line("} else {");
        this.#blocks.push("if");
        break;
      case 0x0b:
        this.#blocks.pop();
        this.#line("}");
        break;
      case 0x0d:
        this.#again();
        break;
      case 0x10:
        this.#call(this.#unsigned());
        break;
      case 0x20: {
        const index = this.#unsigned();
        const constant = this.#constants.get(index);
        if (constant === undefined) this.#push(this.#name(index));
        else this.#constant(constant);
        break;
      }
      case 0x21: {
        const index = this.#setting();
        const { text, reads } = this.#pop();
        const constant = !this.#blocks.includes("if") && reads.size === 0 && this.#sets.get(index) === 1;
        if (constant && this.#own.locals[index]!.letter === "v") this.#constants.set(index, text);
        else this.#statement(`${this.#name(index)} = ${text}`, this.#name(index));
        break;
      }
      case 0x22: {
        const name = this.#name(this.#setting());
        this.#statement(`${name} = ${this.#pop().text}`, name);
        this.#push(name);
        break;
      }
      case 0x41:
        this.#constant(showWhole(this.#signed()));
        break;
      case 0x43:
        this.#constant(showFloat(this.#view(4).getFloat32(0, true)));
        break;
      case 0x44:
        this.#constant(String(this.#view(8).getFloat64(0, true)));
        break;
      default:
        this.#table(byte);
    }
  }

  #table(byte: number): void {
    const { bytes } = this.#own;
    if (byte === 0xfd && bytes[this.#at] === 0x0c) {
      this.#byte();
      this.#constant(showVector(this.#view(16)));
      return;
    }
    if (byte === 0xfd && bytes[this.#at] === 0x0d) {
      this.#byte();
      this.#shuffle();
      return;
    }
    const { name, kind } =
      instructionAt(byte, () => this.#unsigned()) ?? internal(`no instruction begins with ${byte}`);
    const { takes, gives, follows } = kinds[kind];
    let offset = 0;
    if (follows.startsWith("memory")) {
      this.#byte();
      offset = this.#unsigned();
    }
    const lane = follows.endsWith("lane") ? this.#byte() : undefined;
    const operands = Array.from({ length: takes }, () => this.#pop()).reverse();
    if (kind === "drop") {
      // A number that was set a line before.
      return;
    }
    const texts = operands.map(({ text }) => text);
    if (offset > 0) texts[0] = `${within(operands[0]!, 7)} + ${offset}`;
    if (lane !== undefined) texts.push(String(lane));
    if (gives === 0) {
      this.#statement(`${name}(${texts.join(", ")})`, undefined, true);
      return;
    }
    const loads = follows.startsWith("memory");
    const [text, binds] = spell(name, operands) ?? [`${name}(${texts.join(", ")})`, call];
    this.#push(text, binds, operands, loads);
  }

  #shuffle(): void {
    const places = Array.from({ length: 16 }, () => this.#byte());
    const [y, x] = [this.#pop(), this.#pop()];
    const whole = [0, 4, 8, 12].every(
      (i) => places[i]! % 4 === 0 && [1, 2, 3].every((j) => places[i + j] === places[i]! + j),
    );
    const text = whole ? [0, 4, 8, 12].map((i) => places[i]! / 4) : places;
    const name = whole ? "lanes" : "i8x16.shuffle";
    this.#push(`${name}(${x.text}, ${y.text}, ${text.join(" ")})`, call, [x, y]);
  }

  #call(index: number): void {
    const imported = this.#own.imports[index];
    const f = this.#all[index - this.#own.imports.length];
    const name = imported?.name ?? f!.name;
    const count = imported?.params ?? f!.params.length;
    const args = Array.from({ length: count }, () => this.#pop()).reverse();
    const text = `${name}(${args.map((arg) => arg.text).join(", ")})`;
    if ((imported ?? f!).results > 0) this.#push(text, call, args, true);
    else this.#statement(text, undefined, true);
  }

  /** Back to the start of a loop if the number on the stack is not 0: the last that it does. */
  #again(): void {
    this.#at += 2; // which loop, and its end
    const { text } = this.#pop();
    this.#spill(() => true);
    this.#blocks.pop();
    this.#line(`} while (${text})`);
  }

  #open(block: "loop" | "if", text: string): void {
    this.#byte();
    this.#spill(() => true);
    this.#line(text);
    this.#blocks.push(block);
  }

  /** A line of its own. What still waits on the stack was computed before, and is named if the line would change it. */
  #statement(text: string, name?: string, stores = false): void {
    this.#spill((term) => (stores && term.loads) || (name !== undefined && term.reads.has(name)));
    this.#line(text);
  }

  #spill(changes: (term: Term) => boolean): void {
    this.#stack.forEach((term, i) => {
      if (term.reads.size === 0 || !changes(term)) return;
      const name = `t${this.#spilled++}`;
      this.#line(`${name} = ${term.text}`);
      this.#stack[i] = { text: name, binds: call, reads: new Set([name]), loads: false };
    });
  }

  #line(text: string): void {
    this.#lines.push("  ".repeat(this.#blocks.length + 1) + text);
  }

  #push(text: string, binds = call, of: readonly Term[] = [], loads = false): void {
    this.#stack.push({
      text,
      binds,
      reads: new Set(of.length === 0 ? [text] : of.flatMap(({ reads }) => [...reads])),
      loads: loads || of.some((term) => term.loads),
    });
  }

  #constant(text: string): void {
    const binds = text.startsWith("-") ? 9 : call;
    this.#stack.push({ text, binds, reads: new Set(), loads: false });
  }

  #pop(): Term {
    return this.#stack.pop() ?? internal(`the stack of ${this.#own.name} is empty at byte ${this.#at}`);
  }

  #setting(): number {
    const index = this.#unsigned();
    this.#found.set(index, (this.#found.get(index) ?? 0) + 1);
    return index;
  }

  #name(index: number): string {
    const { name, letter } = this.#own.locals[index]!;
    if (name !== undefined) return name;
    return getOrInsert(this.#names, index, () => {
      const number = this.#numbered.get(letter) ?? 0;
      this.#numbered.set(letter, number + 1);
      return `${letter}${number}`;
    });
  }

  #byte(): number {
    return this.#own.bytes[this.#at++]!;
  }

  #view(bytes: number): DataView {
    this.#at += bytes;
    return new DataView(this.#own.bytes.slice(this.#at - bytes, this.#at).buffer);
  }

  #unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  #signed(): number {
    let value = 0;
    for (let shift = 0; ; ) {
      const byte = this.#byte();
      value |= (byte & 0x7f) << shift;
      shift += 7;
      if (byte < 0x80) return shift < 32 && byte & 0x40 ? value | (-1 << shift) : value;
    }
  }
}

/** An instruction as an operator, where it has one. */
function spell(name: string, operands: readonly Term[]): readonly [text: string, binds: number] | undefined {
  const [type, verb] = name.split(".") as [string, string];
  const [x, y, z] = operands;
  if (name === "select") return [`${within(z!, 1)} ? ${within(x!, 1)} : ${within(y!, 1)}`, 0];
  if (name === "i32.eqz") return [`!${within(x!, 9)}`, 9];
  if (!["i32", "f32", "f64", "f32x4", "v128"].includes(type)) return undefined;
  if (verb === "neg") return [`-${within(x!, 9)}`, 9];
  const operator = infix[verb];
  if (!operator) return undefined;
  const [symbol, binds] = operator;
  return [`${within(x!, binds)} ${symbol} ${within(y!, binds + 1)}`, binds];
}

/** In parentheses if something that binds more loosely would be torn apart. */
function within({ text, binds }: Term, least: number): string {
  return binds < least ? `(${text})` : text;
}

function showWhole(value: number): string {
  return Math.abs(value) < 1 << 16 ? String(value) : hex(value);
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).padStart(8, "0")}`;
}

/** The shortest decimal that is nearest to this float32. */
function showFloat(value: number): string {
  for (let digits = 1; digits < 10; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return Object.is(value, -0) ? "-0" : text;
  }
  return String(value);
}

/** A constant of four equal lanes as a number, else lane by lane. What looks like no number is shown by its bits. */
function showVector(bytes: DataView): string {
  const words = [0, 4, 8, 12].map((at) => bytes.getInt32(at, true));
  const show = (word: number, at: number): string => {
    if (Math.abs(word) < 1 << 16) return String(word);
    const float = bytes.getFloat32(at, true);
    if (Number.isNaN(float)) return hex(word);
    return Number.isFinite(float) ? `${showFloat(float)}f` : showFloat(float);
  };
  if (words.every((word) => word === words[0])) return `splat(${show(words[0]!, 0)})`;
  if (words[0] === words[2] && words[1] === words[3] && Math.abs(words[1]!) >= 1 << 16)
    return `f64x2.splat(${bytes.getFloat64(0, true)})`;
  return `v128(${words.map((word, i) => show(word, 4 * i)).join(", ")})`;
}
