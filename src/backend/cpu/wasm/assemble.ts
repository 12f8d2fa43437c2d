// An assembler for WebAssembly: instructions by their names, functions, one module with imported memory.
// Encoding: https://webassembly.github.io/spec/core/binary/

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

const typeCodes: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** A parameter or local variable of a function. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** Opcodes of one byte, from the first name on; a dash skips one. */
const plain = new Map<string, number>();
/** Opcodes after the prefix 0xfd. */
const vector = new Map<string, number>();

function list(table: Map<string, number>, from: number, names: string): void {
  names.split(" ").forEach((name, i) => {
    if (name !== "-") table.set(name, from + i);
  });
}

list(plain, 0x28, "i32.load i64.load f32.load f64.load");
list(plain, 0x2e, "i32.load16_s");
list(plain, 0x36, "i32.store i64.store f32.store f64.store - i32.store16");
list(
  plain,
  0x45,
  "i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u",
);
list(plain, 0x5b, "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge");
list(plain, 0x6a, "i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and i32.or i32.xor");
list(plain, 0x74, "i32.shl i32.shr_s i32.shr_u");
list(
  plain,
  0x8b,
  "f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul",
);
list(plain, 0x95, "f32.div f32.min f32.max");
list(
  plain,
  0x99,
  "f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul",
);
list(plain, 0xa3, "f64.div f64.min f64.max - i32.wrap_i64");
list(
  plain,
  0xb2,
  "f32.convert_i32_s f32.convert_i32_u - - f32.demote_f64 f64.convert_i32_s f64.convert_i32_u",
);
list(plain, 0xbb, "f64.promote_f32 i32.reinterpret_f32 - f32.reinterpret_i32");
list(plain, 0x1a, "drop select");

list(vector, 0x00, "v128.load");
list(vector, 0x03, "v128.load16x4_s");
list(vector, 0x09, "v128.load32_splat v128.load64_splat v128.store");
list(vector, 0x0e, "i8x16.swizzle");
list(vector, 0x11, "i32x4.splat - f32x4.splat f64x2.splat");
list(vector, 0x1b, "i32x4.extract_lane i32x4.replace_lane - - f32x4.extract_lane f32x4.replace_lane");
list(vector, 0x21, "f64x2.extract_lane f64x2.replace_lane");
list(vector, 0x37, "i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u i32x4.le_s i32x4.le_u");
list(vector, 0x3f, "i32x4.ge_s i32x4.ge_u f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge");
list(vector, 0x47, "f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge");
list(vector, 0x4d, "v128.not v128.and v128.andnot v128.or v128.xor v128.bitselect v128.any_true");
list(
  vector,
  0x56,
  "v128.load32_lane v128.load64_lane - v128.store16_lane v128.store32_lane v128.store64_lane",
);
list(vector, 0x5e, "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4");
list(vector, 0x67, "f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest");
list(vector, 0x74, "f64x2.ceil f64x2.floor");
list(vector, 0x86, "i16x8.narrow_i32x4_u");
list(vector, 0x94, "f64x2.nearest");
list(vector, 0xa0, "i32x4.abs i32x4.neg");
list(vector, 0xab, "i32x4.shl i32x4.shr_s i32x4.shr_u i32x4.add - - i32x4.sub - - - i32x4.mul");
list(vector, 0xb6, "i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s");
list(vector, 0xcb, "i64x2.shl i64x2.shr_s i64x2.shr_u i64x2.add - - i64x2.sub");
list(
  vector,
  0xe0,
  "f32x4.abs f32x4.neg - f32x4.sqrt f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax",
);
list(
  vector,
  0xec,
  "f64x2.abs f64x2.neg - f64x2.sqrt f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max",
);
list(
  vector,
  0xf8,
  "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u",
);
list(vector, 0xfc, "i32x4.trunc_sat_f64x2_s_zero - f64x2.convert_low_i32x4_s");
list(vector, 0x105, "f32x4.relaxed_madd - f64x2.relaxed_madd");

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}

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
  readonly lines: string[] = [];
  readonly #locals: Local[];

  constructor(locals: Local[]) {
    this.#locals = locals;
  }

  /** An empty piece of the same function. */
  piece(): Code {
    return new Code(this.#locals);
  }

  append(piece: Code): void {
    for (const byte of piece.bytes) this.bytes.push(byte);
    for (const line of piece.lines) this.lines.push(line);
  }

  local(type: ValueType): Local {
    const local: Local = { index: this.#locals.length, type };
    this.#locals.push(local);
    return local;
  }

  /** An instruction without immediates. */
  op(...names: readonly string[]): this {
    for (const name of names) this.#write(name, this.#opcode(name), "");
    return this;
  }

  /** A load or store at a constant offset from the address on the stack. */
  memory(name: string, offset = 0, lane?: number): this {
    const immediates = [0, ...unsigned(offset), ...(lane === undefined ? [] : [lane])];
    this.#write(
      name,
      [...this.#opcode(name), ...immediates],
      ` offset=${offset}${lane === undefined ? "" : ` ${lane}`}`,
    );
    return this;
  }

  lane(name: string, lane: number): this {
    this.#write(name, [...this.#opcode(name), lane], ` ${lane}`);
    return this;
  }

  /** Bytes of two vectors: 0 to 15 of the first, 16 to 31 of the second. */
  shuffle(bytes: readonly number[]): this {
    this.#write("i8x16.shuffle", [0xfd, 0x0d, ...bytes], ` ${bytes.join(" ")}`);
    return this;
  }

  /** Shuffles whole 32-bit lanes: 0 to 3 of the first vector, 4 to 7 of the second. */
  lanes(a: number, b: number, c: number, d: number): this {
    return this.shuffle([a, b, c, d].flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]));
  }

  i32(value: number): this {
    this.#write("i32.const", [0x41, ...signed(value)], ` ${value | 0}`);
    return this;
  }

  f32(value: number): this {
    this.#write("f32.const", [0x43, ...little(new Float32Array([value]))], ` ${value}`);
    return this;
  }

  f64(value: number): this {
    this.#write("f64.const", [0x44, ...little(new Float64Array([value]))], ` ${value}`);
    return this;
  }

  v128(values: Float32Array | Float64Array | Int32Array): this {
    this.#write("v128.const", [0xfd, 0x0c, ...little(values)], ` ${values.join(" ")}`);
    return this;
  }

  get(local: Local): this {
    this.#write("local.get", [0x20, ...unsigned(local.index)], ` ${local.index}`);
    return this;
  }

  set(local: Local): this {
    this.#write("local.set", [0x21, ...unsigned(local.index)], ` ${local.index}`);
    return this;
  }

  tee(local: Local): this {
    this.#write("local.tee", [0x22, ...unsigned(local.index)], ` ${local.index}`);
    return this;
  }

  call(index: number): this {
    this.#write("call", [0x10, ...unsigned(index)], ` ${index}`);
    return this;
  }

  /** Truncates; beyond the range the least or largest integer, 0 for NaN. */
  saturate(from: "f32" | "f64", to: "int32" | "uint32"): this {
    const sign = to === "int32" ? "s" : "u";
    this.#write(
      `i32.trunc_sat_${from}_${sign}`,
      [0xfc, (from === "f32" ? 0 : 2) + (sign === "s" ? 0 : 1)],
      "",
    );
    return this;
  }

  /** `body` again and again until it branches out or ends; `again(condition)` in it goes back to the start. */
  loop(body: (again: (condition: "always" | "if") => void) => void): this {
    this.#write("loop", [0x03, 0x40], "");
    body((condition) =>
      condition === "if" ? this.#write("br_if", [0x0d, 0], " 0") : this.#write("br", [0x0c, 0], " 0"),
    );
    this.#write("end", [0x0b], "");
    return this;
  }

  /** Runs `then` if the number on the stack is not 0. */
  when(then: () => void, otherwise?: () => void): this {
    this.#write("if", [0x04, 0x40], "");
    then();
    if (otherwise) {
      this.#write("else", [0x05], "");
      otherwise();
    }
    this.#write("end", [0x0b], "");
    return this;
  }

  /** for (variable = start; variable < end; variable += step), at least once; `end` is a constant or a local. */
  repeat(variable: Local, end: number | Local, step: number, body: () => void): this {
    return this.loop((again) => {
      body();
      this.get(variable).i32(step).op("i32.add").tee(variable);
      if (typeof end === "number") this.i32(end);
      else this.get(end);
      this.op("i32.lt_u");
      again("if");
    });
  }

  #opcode(name: string): number[] {
    const simple = plain.get(name);
    if (simple !== undefined) return [simple];
    const code = vector.get(name);
    if (code === undefined) throw new Error(`internal: no opcode ${name}`);
    return [0xfd, ...unsigned(code)];
  }

  #write(name: string, bytes: readonly number[], immediates: string): void {
    for (const byte of bytes) this.bytes.push(byte);
    this.lines.push(name + immediates);
  }
}

interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

interface FunctionBody extends Signature {
  readonly name: string;
  readonly exported: boolean;
  readonly locals: readonly Local[];
  readonly code: Code;
}

/** A module: one imported memory, imported functions, functions. */
export class Module {
  readonly #imports: (Signature & { readonly name: string })[] = [];
  readonly #functions: FunctionBody[] = [];

  /** Names of the imported functions. */
  get imports(): readonly string[] {
    return this.#imports.map(({ name }) => name);
  }

  /** The index of a function imported from `rows`; import all before the first is defined. */
  import(name: string, signature: Signature): number {
    const known = this.#imports.findIndex((entry) => entry.name === name);
    return known >= 0 ? known : this.#imports.push({ name, ...signature }) - 1;
  }

  /** Defines a function; `write` gets its code and its parameters. */
  define(
    name: string,
    params: readonly ValueType[],
    write: (code: Code, ...params: readonly Local[]) => void,
    { exported = true } = {},
  ): number {
    const locals: Local[] = params.map((type, index) => ({ index, type }));
    const code = new Code(locals);
    write(code, ...locals);
    this.#functions.push({ name, params, results: [], exported, locals: locals.slice(params.length), code });
    return this.#imports.length + this.#functions.length - 1;
  }

  /** The text format, near enough to read. */
  get text(): string {
    return this.#functions
      .map(({ name, code }) => {
        let depth = 1;
        const lines = code.lines.map((line) => {
          if (line === "end" || line === "else") depth--;
          const text = "  ".repeat(depth) + line;
          if (/^(loop|if|else)/.test(line)) depth++;
          return text;
        });
        return [`(func $${name}`, ...lines, ")"].join("\n");
      })
      .join("\n");
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
        ...text("rows"),
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
    const bodies = this.#functions.map(({ locals, code }) => {
      const body = [...vec(locals.map((local) => [1, ...type(local.type)])), ...code.bytes, 0x0b];
      return [...unsigned(body.length), ...body];
    });
    const section = (id: number, content: readonly number[]) => [id, ...unsigned(content.length), ...content];
    return new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vec(types.map((bytes) => bytes.split(",").map(Number)))),
      ...section(2, vec(imports)),
      ...section(3, vec(functions)),
      ...section(7, vec(exports)),
      ...section(10, vec(bodies)),
    ]);
  }
}

function type(name: ValueType): number[] {
  return [typeCodes[name]];
}

function vec(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(name: string): number[] {
  return vec([...new TextEncoder().encode(name)].map((byte) => [byte]));
}
