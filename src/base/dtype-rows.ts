import { type FloatRange, type NarrowFloat, narrowFloat } from "./narrow.ts";

/** All that Lorantz knows of one element type. */
export interface Row {
  readonly kind: "float" | "integer" | "bool";
  /** Bytes of an element on a device. */
  readonly bytes: number;
  /** Values on the host. */
  readonly array: new (
    length: number,
  ) => Float32Array | Float64Array | Int32Array | Uint32Array;
  /** What is computed of it is computed in this, and rounded where it is stored. */
  readonly compute: string;
  /** The value that a number takes: rounded to the nearest, wrapped to 32 bits, or 0 and 1. */
  readonly round: (x: number) => number;
  /** The bits that a device stores of a value, and back, where they are not what the host has. */
  readonly store?: (x: number) => number;
  readonly storeAll?: NarrowFloat["storeAll"];
  readonly load?: (bits: number) => number;
  /** Which numbers a float has. */
  readonly range?: FloatRange;
  /** The first letter of names of its values in kernels. */
  readonly letter: string;
  /** What safetensors calls it. */
  readonly file: string;
}

const brain = { digits: 8, least: -126, most: 127 };
const half = { digits: 11, least: -14, most: 15 };
const single = { digits: 24, least: -126, most: 127 };
const double = { digits: 53, least: -1022, most: 1023 };

const float64 = {
  kind: "float",
  bytes: 8,
  array: Float64Array,
  range: double,
  round: (x: number) => x,
  letter: "x",
  file: "F64",
} as const;

export const rows = {
  float16: {
    kind: "float",
    bytes: 2,
    array: Float32Array,
    compute: "float32",
    range: half,
    ...narrowFloat(half),
    letter: "h",
    file: "F16",
  },
  bfloat16: {
    kind: "float",
    bytes: 2,
    array: Float32Array,
    compute: "float32",
    range: brain,
    ...narrowFloat(brain),
    letter: "g",
    file: "BF16",
  },
  float32: {
    kind: "float",
    bytes: 4,
    array: Float32Array,
    compute: "float32",
    range: single,
    round: Math.fround,
    letter: "x",
    file: "F32",
  },
  float64: { ...float64, compute: "float64" },
  int32: {
    kind: "integer",
    bytes: 4,
    array: Int32Array,
    compute: "int32",
    round: (x: number) => x | 0,
    letter: "n",
    file: "I32",
  },
  uint32: {
    kind: "integer",
    bytes: 4,
    array: Uint32Array,
    compute: "uint32",
    round: (x: number) => x >>> 0,
    letter: "w", // not "u": u32 is a type of WGSL
    file: "U32",
  },
  bool: {
    kind: "bool",
    bytes: 4, // a word
    array: Uint32Array,
    compute: "bool",
    round: (x: number) => (x !== 0 ? 1 : 0), // NaN too
    letter: "b",
    file: "BOOL",
  },
  number: { ...float64, compute: "number" },
} as const satisfies Readonly<Record<string, Row>>;
