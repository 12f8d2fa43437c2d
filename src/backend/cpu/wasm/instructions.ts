// The instructions of WebAssembly that kernels use, with their opcodes: a misspelt one is a type error. Encoding:
// https://webassembly.github.io/spec/core/binary/instructions.html

/** What instructions take from the stack, and which numbers follow them in the code. */
export const kinds = {
  unary: { takes: 1, gives: 1, follows: "" },
  binary: { takes: 2, gives: 1, follows: "" },
  ternary: { takes: 3, gives: 1, follows: "" },
  drop: { takes: 1, gives: 0, follows: "" },
  /** Of a vector. */
  extract: { takes: 1, gives: 1, follows: "lane" },
  replace: { takes: 2, gives: 1, follows: "lane" },
  /** At an address. */
  load: { takes: 1, gives: 1, follows: "memory" },
  store: { takes: 2, gives: 0, follows: "memory" },
  loadLane: { takes: 2, gives: 1, follows: "memory lane" },
  storeLane: { takes: 2, gives: 0, follows: "memory lane" },
} as const;

export type Kind = keyof typeof kinds;

/** Opcodes of one byte, and those after the prefixes 0xfc and 0xfd; from the first name on. */
const plain = 0;
const saturating = 0xfc00;
const vector = 0xfd0000;

const table = [
  ["drop", plain + 0x1a, "drop"],
  ["ternary", plain + 0x1b, "select"],
  ["load", plain + 0x28, "i32.load i64.load f32.load f64.load"],
  ["load", plain + 0x2e, "i32.load16_s"],
  ["store", plain + 0x36, "i32.store i64.store f32.store f64.store"],
  ["store", plain + 0x3b, "i32.store16"],
  ["unary", plain + 0x45, "i32.eqz"],
  ["binary", plain + 0x46, "i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u"],
  ["binary", plain + 0x4e, "i32.ge_s i32.ge_u"],
  ["binary", plain + 0x5b, "f32.eq f32.ne f32.lt f32.gt f32.le f32.ge"],
  ["binary", plain + 0x61, "f64.eq f64.ne f64.lt f64.gt f64.le f64.ge"],
  ["binary", plain + 0x6a, "i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u"],
  ["binary", plain + 0x71, "i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u"],
  ["unary", plain + 0x8b, "f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt"],
  ["binary", plain + 0x92, "f32.add f32.sub f32.mul f32.div f32.min f32.max"],
  ["unary", plain + 0x99, "f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt"],
  ["binary", plain + 0xa0, "f64.add f64.sub f64.mul f64.div f64.min f64.max"],
  ["unary", plain + 0xb2, "f32.convert_i32_s f32.convert_i32_u"],
  ["unary", plain + 0xb6, "f32.demote_f64 f64.convert_i32_s f64.convert_i32_u"],
  ["unary", plain + 0xbb, "f64.promote_f32 i32.reinterpret_f32"],
  ["unary", plain + 0xbe, "f32.reinterpret_i32"],
  ["unary", saturating + 0x00, "i32.trunc_sat_f32_s i32.trunc_sat_f32_u"],
  ["unary", saturating + 0x02, "i32.trunc_sat_f64_s i32.trunc_sat_f64_u"],
  ["load", vector + 0x00, "v128.load"],
  ["load", vector + 0x03, "v128.load16x4_s"],
  ["load", vector + 0x09, "v128.load32_splat v128.load64_splat"],
  ["store", vector + 0x0b, "v128.store"],
  ["binary", vector + 0x0e, "i8x16.swizzle"],
  ["unary", vector + 0x11, "i32x4.splat"],
  ["unary", vector + 0x13, "f32x4.splat f64x2.splat"],
  ["extract", vector + 0x1b, "i32x4.extract_lane"],
  ["replace", vector + 0x1c, "i32x4.replace_lane"],
  ["extract", vector + 0x1f, "f32x4.extract_lane"],
  ["replace", vector + 0x20, "f32x4.replace_lane"],
  ["extract", vector + 0x21, "f64x2.extract_lane"],
  ["binary", vector + 0x37, "i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u"],
  ["binary", vector + 0x3d, "i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u"],
  ["binary", vector + 0x41, "f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge"],
  ["binary", vector + 0x47, "f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge"],
  ["binary", vector + 0x4e, "v128.and v128.andnot v128.or v128.xor"],
  ["ternary", vector + 0x52, "v128.bitselect"],
  ["unary", vector + 0x53, "v128.any_true"],
  ["loadLane", vector + 0x56, "v128.load32_lane v128.load64_lane"],
  ["storeLane", vector + 0x59, "v128.store16_lane v128.store32_lane v128.store64_lane"],
  ["load", vector + 0x5d, "v128.load64_zero"],
  ["unary", vector + 0x5e, "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4"],
  ["unary", vector + 0x67, "f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest"],
  ["unary", vector + 0x74, "f64x2.ceil f64x2.floor"],
  ["binary", vector + 0x86, "i16x8.narrow_i32x4_u"],
  ["unary", vector + 0x94, "f64x2.nearest"],
  ["unary", vector + 0xa0, "i32x4.abs i32x4.neg"],
  ["unary", vector + 0xa3, "i32x4.all_true"],
  ["binary", vector + 0xab, "i32x4.shl i32x4.shr_s i32x4.shr_u i32x4.add"],
  ["binary", vector + 0xb1, "i32x4.sub"],
  ["binary", vector + 0xb5, "i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s"],
  ["binary", vector + 0xcb, "i64x2.shl i64x2.shr_s i64x2.shr_u i64x2.add"],
  ["unary", vector + 0xe0, "f32x4.abs f32x4.neg"],
  ["unary", vector + 0xe3, "f32x4.sqrt"],
  ["binary", vector + 0xe4, "f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max"],
  ["binary", vector + 0xea, "f32x4.pmin f32x4.pmax"],
  ["unary", vector + 0xec, "f64x2.abs f64x2.neg"],
  ["binary", vector + 0xf0, "f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max"],
  ["unary", vector + 0xf8, "i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u"],
  ["unary", vector + 0xfa, "f32x4.convert_i32x4_s f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero"],
  ["ternary", vector + 0x105, "f32x4.relaxed_madd"],
  ["ternary", vector + 0x107, "f64x2.relaxed_madd"],
] as const;

type Entry = (typeof table)[number];
type Words<Text extends string> = Text extends `${infer First} ${infer Rest}` ? First | Words<Rest> : Text;

/** The names of the instructions of one kind. */
export type Named<K extends Kind> = Words<Extract<Entry, readonly [K, number, string]>[2]>;

/** The names of instructions that nothing follows. */
export type Operator = Named<"unary" | "binary" | "ternary" | "drop">;
export type Instruction = Named<Kind>;

export interface Opcode {
  readonly name: string;
  readonly kind: Kind;
  readonly bytes: readonly number[];
}

/** Opcodes by name, and by number: of one byte, or with their prefix in front. */
const byName = new Map<string, Opcode>();
const byNumber = new Map<number, Opcode>();

for (const [kind, first, names] of table) {
  names.split(" ").forEach((name, i) => {
    const number = first + i;
    const bytes =
      number >= vector
        ? [0xfd, ...unsigned(number - vector)]
        : number >= saturating
          ? [0xfc, number - saturating]
          : [number];
    const opcode = { name, kind, bytes };
    byName.set(name, opcode);
    byNumber.set(number, opcode);
  });
}

export function opcodeOf(name: Instruction): readonly number[] {
  return byName.get(name)!.bytes;
}

/** The instruction that begins with a byte, and after a prefix with that number. */
export function instructionAt(prefix: number, rest: () => number): Opcode | undefined {
  if (prefix === 0xfd) return byNumber.get(vector + rest());
  return byNumber.get(prefix === 0xfc ? saturating + rest() : prefix);
}

/** Whole numbers from 0 on, in groups of seven bits (LEB128). */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}
