import { internal } from "../../../base/errors.ts";
import { type Named, type Operator, opcodeOf, unsigned } from "./instructions.ts";
import type { NamedFunction } from "./text.ts";

// An assembler for WebAssembly: instructions by their names, functions, one module with imported memory.
// Encoding: https://webassembly.github.io/spec/core/binary/

/** A single number, or a vector. */
export type Scalar = "i32" | "f32" | "f64";
export type ValueType = Scalar | "v128";

const letters: Record<ValueType, string> = { i32: "n", f32: "x", f64: "d", v128: "v" };
const typeCodes: Record<ValueType, number> = { i32: 0x7f, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** A parameter or local variable of a function. */
export interface Local<T extends ValueType = ValueType> {
  readonly index: number;
  readonly type: T;
  /** For people. */
  readonly name?: string;
}

/** Writes code that pushes a value of a type. */
export type Push<T extends ValueType = ValueType> = ((code: Code) => void) & { readonly pushes?: T };

/** A value of a type: an expression, what a local holds, or a constant. */
export type Value<T extends ValueType> = Push<T> | Local<T> | (T extends "i32" ? number : never);

function signed(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; ) {
    const byte = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0)) {
      bytes.push(byte);
      return bytes;
    }
    bytes.push(byte | 0x80);
  }
}

function little(array: Float32Array | Float64Array | Int32Array): number[] {
  return [...new Uint8Array(array.buffer)];
}

/**
 * Instructions in order. A function can be written in several pieces, one for each level of a loop nest, that are
 * appended to each other at the end.
 */
export class Code {
  readonly bytes: number[] = [];
  readonly #locals: Local[];

  constructor(locals: Local[]) {
    this.#locals = locals;
  }

  /** An empty piece of the same function. */
  piece(): Code {
    return new Code(this.#locals);
  }

  append(...pieces: readonly Code[]): this {
    for (const { bytes } of pieces) for (const byte of bytes) this.bytes.push(byte);
    return this;
  }

  local<T extends ValueType>(type: T, name?: string): Local<T> {
    const local: Local<T> = { index: this.#locals.length, type, ...(name === undefined ? {} : { name }) };
    this.#locals.push(local);
    return local;
  }

  /** Instructions without immediates. */
  op(...names: readonly Operator[]): this {
    for (const name of names) this.#write(opcodeOf(name));
    return this;
  }

  /** A load or store at a constant offset from the address on the stack. */
  memory(name: Named<"load" | "store">, offset?: number): this;
  memory(name: Named<"loadLane" | "storeLane">, offset: number, lane: number): this;
  memory(name: Named<"load" | "store" | "loadLane" | "storeLane">, offset = 0, lane?: number): this {
    this.#write(opcodeOf(name)).#write([0, ...unsigned(offset)]);
    return lane === undefined ? this : this.#write([lane]);
  }

  lane(name: Named<"extract" | "replace">, lane: number): this {
    return this.#write(opcodeOf(name)).#write([lane]);
  }

  /** Bytes of two vectors: 0 to 15 of the first, 16 to 31 of the second. */
  shuffle(bytes: readonly number[]): this {
    return this.#write([0xfd, 0x0d, ...bytes]);
  }

  /** Shuffles whole 32-bit lanes: 0 to 3 of the first vector, 4 to 7 of the second. */
  lanes(a: number, b: number, c: number, d: number): this {
    return this.shuffle([a, b, c, d].flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]));
  }

  i32(value: number): this {
    return this.#write([0x41, ...signed(value)]);
  }

  f32(value: number): this {
    return this.#write([0x43, ...little(new Float32Array([value]))]);
  }

  f64(value: number): this {
    return this.#write([0x44, ...little(new Float64Array([value]))]);
  }

  v128(values: Float32Array | Float64Array | Int32Array): this {
    return this.#write([0xfd, 0x0c, ...little(values)]);
  }

  get(local: Local): this {
    return this.#write([0x20, ...unsigned(local.index)]);
  }

  set(local: Local): this {
    return this.#write([0x21, ...unsigned(local.index)]);
  }

  tee(local: Local): this {
    return this.#write([0x22, ...unsigned(local.index)]);
  }

  call(index: number): this {
    return this.#write([0x10, ...unsigned(index)]);
  }

  push(value: Value<ValueType>): this {
    if (typeof value === "number") return this.i32(value);
    if (typeof value !== "function") return this.get(value);
    value(this);
    return this;
  }

  /** local = value */
  assign<T extends ValueType>(local: Local<T>, value: Value<T>): this {
    return this.push(value).set(local);
  }

  /** A new local with that value. */
  let<T extends ValueType>(type: T, value: Value<T>): Local<T> {
    const local = this.local(type);
    this.assign(local, value);
    return local;
  }

  /** local += by */
  advance(local: Local<"i32">, by: Value<"i32">): this {
    return this.get(local).push(by).op("i32.add").set(local);
  }

  /** local = min(local, most) */
  atMost(local: Local<"i32">, most: Value<"i32">): this {
    return this.get(local)
      .push(most)
      .op("i32.gt_u")
      .when(() => this.assign(local, most));
  }

  store(name: Named<"store">, address: Value<"i32">, offset: number, value: Value<ValueType>): this {
    return this.push(address).push(value).memory(name, offset);
  }

  if(condition: Value<"i32">, then: () => void, otherwise?: () => void): this {
    return this.push(condition).when(then, otherwise);
  }

  /** At least once, and again while the condition holds after it. */
  doWhile(body: () => void, condition: Value<"i32">): this {
    this.#write([0x03, 0x40]);
    body();
    return this.push(condition).#write([0x0d, 0, 0x0b]);
  }

  /** for (variable = from; variable < end; variable += step), at least once. */
  each(
    variable: Local<"i32">,
    from: Value<"i32">,
    end: number | Local<"i32">,
    step: number,
    body: () => void,
  ): this {
    return this.assign(variable, from).repeat(variable, end, step, body);
  }

  /** Runs `then` if the number on the stack is not 0. */
  when(then: () => void, otherwise?: () => void): this {
    this.#write([0x04, 0x40]);
    then();
    if (otherwise) {
      this.#write([0x05]);
      otherwise();
    }
    return this.#write([0x0b]);
  }

  /** for (variable = start; variable < end; variable += step), at least once; `end` is a constant or a local. */
  repeat(variable: Local<"i32">, end: number | Local<"i32">, step: number, body: () => void): this {
    return this.doWhile(body, (code) =>
      code.get(variable).i32(step).op("i32.add").tee(variable).push(end).op("i32.lt_u"),
    );
  }

  #write(bytes: readonly number[]): this {
    for (const byte of bytes) this.bytes.push(byte);
    return this;
  }
}

interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

interface FunctionBody extends Signature {
  readonly name: string;
  readonly exported: boolean;
  /** Parameters first. */
  readonly locals: readonly Local[];
  readonly code: Code;
}

/** Parameters of a function by their names, in order, as locals in its code. */
type Params = Readonly<Record<string, ValueType>>;
type LocalsOf<P extends Params> = { readonly [name in keyof P]: Local<P[name]> };

/** Where numbers lie in the memory, as float32, for as long as the module is used. */
export type TableAt = (numbers: readonly number[]) => number;

/** A module: one imported memory, imported functions, functions. */
export class Module {
  readonly tableAt: TableAt;
  readonly #imports: (Signature & { readonly name: string })[] = [];
  readonly #functions: FunctionBody[] = [];

  constructor(tableAt: TableAt = () => internal("a table in a module without any")) {
    this.tableAt = tableAt;
  }

  /** Names of the imported functions. */
  get imports(): readonly string[] {
    return this.#imports.map(({ name }) => name);
  }

  /** The index of a function imported from `evaluators`; import all before the first is defined. */
  import(name: string, signature: Signature): number {
    const known = this.#imports.findIndex((entry) => entry.name === name);
    return known >= 0 ? known : this.#imports.push({ name, ...signature }) - 1;
  }

  /** Defines a function; `write` gets its code and its parameters. */
  define<const P extends Params>(
    name: string,
    params: P,
    write: (code: Code, params: LocalsOf<P>) => void,
    { exported = true, results = [] }: { exported?: boolean; results?: readonly ValueType[] } = {},
  ): number {
    const locals: Local[] = Object.entries(params).map(([own, type], index) => ({ index, type, name: own }));
    const types = locals.map(({ type }) => type);
    const code = new Code(locals);
    const named = Object.fromEntries(locals.map((local) => [local.name!, local]));
    write(code, named as LocalsOf<P>); // made of P, one by one
    this.#functions.push({ name, params: types, results, exported, locals, code });
    return this.#imports.length + this.#functions.length - 1;
  }

  /** The functions in a form to be printed (text.ts). */
  get functions(): readonly NamedFunction[] {
    const imports = this.#imports.map(({ name, params, results }) => {
      return { name, params: params.length, results: results.length };
    });
    return this.#functions.map(({ name, params, results, locals, code }) => {
      const names = locals.slice(0, params.length).map((local) => local.name!);
      const all = locals.map((local) => ({ name: local.name!, letter: letters[local.type] }));
      const bytes = Uint8Array.from(code.bytes);
      return { name, params: names, results: results.length, locals: all, bytes, imports };
    });
  }

  encode(memory: { readonly shared: boolean; readonly maximum: number }): Uint8Array<ArrayBuffer> {
    const types: string[] = [];
    const typeOf = ({ params, results }: Signature): number => {
      const bytes = [0x60, ...vec(params.map(type)), ...vec(results.map(type))].join();
      const known = types.indexOf(bytes);
      return known >= 0 ? known : types.push(bytes) - 1;
    };
    const imports = [
      [...text("env"), ...text("memory"), 0x02, memory.shared ? 0x03 : 0x01, 1, ...unsigned(memory.maximum)],
      ...this.#imports.map((entry) => [
        ...text("evaluators"),
        ...text(entry.name),
        0x00,
        ...unsigned(typeOf(entry)),
      ]),
    ];
    const shift = this.#imports.length;
    const functions = this.#functions.map((f) => unsigned(typeOf(f)));
    const exports = this.#functions.flatMap(({ name, exported }, i) =>
      exported ? [[...text(name), 0x00, ...unsigned(shift + i)]] : [],
    );
    const bodies = this.#functions.map(({ params, locals, code }) => {
      const own = locals.slice(params.length);
      const body = join(vec(own.map((local) => [1, ...type(local.type)])), code.bytes, [0x0b]);
      return join(unsigned(body.length), body);
    });
    const section = (id: number, content: Uint8Array) => join([id], unsigned(content.length), content);
    return join(
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, vec(types.map((bytes) => bytes.split(",").map(Number)))),
      section(2, vec(imports)),
      section(3, vec(functions)),
      section(7, vec(exports)),
      section(10, vec(bodies)),
    );
  }
}

function type(name: ValueType): number[] {
  return [typeCodes[name]];
}

function join(...parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  // Byte by byte: parts are short and many, and `set` of a list is slow (V8 of Node 20).
  for (const part of parts) for (let i = 0; i < part.length; i++) bytes[at++] = part[i]!;
  return bytes;
}

function vec(items: readonly ArrayLike<number>[]): Uint8Array {
  return join(unsigned(items.length), ...items);
}

function text(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  return join(unsigned(bytes.length), bytes);
}
