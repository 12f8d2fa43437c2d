import { type Fields, field, isIntegerIn, oneOf, optional, readOptions, show } from "../base/arguments.ts";
import { computeDType, type DType, type FloatDType, isFloat } from "../base/dtype.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";
import { type Code, codes, packCodes, unpackCodes } from "./codes.ts";
import { tensor } from "./creation.ts";
import { where } from "./functions.ts";
import { Tensor } from "./tensor.ts";

/** Formats in blocks, each divided by its largest magnitude. */
export type BlockFormat = keyof typeof codes;

const formats = Object.keys(codes) as readonly BlockFormat[];

export type PackFormat = "bfloat16" | BlockFormat;

/**
 * A weight in packed storage: a plain tree of tensors, so that it is stored, donated and partitioned like any other
 * parameters. The format is the name of the tensor that holds the words.
 */
export type Packed = PackedFloats | PackedBlocks;

/** The weight in bfloat16. */
export type PackedFloats = {
  /** No elements: `[0, ...shape]` of the weight, and its dtype. */
  readonly like: Tensor;
  readonly bfloat16: Tensor;
};

/** Codes in words, and the largest magnitude of each block. */
export type PackedBlocks = {
  readonly like: Tensor;
  /** `[blocks]`, of the dtype of the weight, float32 of float16; or packed itself, less its mean. */
  readonly absmax: Tensor | (PackedBlocks & { readonly offset: Tensor });
} & { readonly [F in BlockFormat]?: Tensor };

export interface PackOptions {
  readonly format: PackFormat;
  /** Consecutive elements, row by row, with one largest magnitude; a power of two. Default 64 for nf4, else 256. */
  readonly block?: number;
  /**
   * How the largest magnitudes are stored: as they are, or less their mean in blocks of 256 of an 8-bit format
   * (double quantisation). Default "dynamic8" for nf4, else "float".
   */
  readonly absmax?: "float" | "int8" | "dynamic8";
}

const fields: Fields<PackOptions> = {
  format: oneOf(["bfloat16", ...formats]),
  block: optional(
    field("a power of two", (block) => isIntegerIn(block, 1, 2 ** 30) && Number.isInteger(Math.log2(block))),
  ),
  absmax: optional(oneOf(["float", "int8", "dynamic8"])),
};

/**
 * A weight in packed storage. `unpack` makes it float again, inside the kernels that read it: where its result is
 * an operand of a matmul, no float copy of the weight exists. Layers take a packed weight where they take a dense
 * one; it gets no gradient.
 *
 * | format | bits per weight | |
 * | --- | --- | --- |
 * | `"bfloat16"` | 16 | float32 without the lower half of its bits, rounded to nearest even |
 * | `"nf4"` | 4.127 | levels at normal quantiles (Dettmers et al. 2023, arXiv:2305.14314); 4.5 with `absmax: "float"` |
 * | `"int8"` | 8.125 | 255 even steps |
 * | `"dynamic8"` | 8.125 | relative steps that are finest for large values (Dettmers 2015, arXiv:1511.04561) |
 *
 * Words hold codes row by row, from their lowest bits. Deviations
 * from bitsandbytes: it has the first of two 4-bit codes in the upper half of a byte. A tie goes to the lower level.
 *
 * @param weight A float of any shape. Levels of float16 are computed in float32 and rounded once.
 * @throws DTypeError for a weight that is no float, ValueError for an unknown format or a bad block.
 * @example
 * const weight = random.normal(random.key(0), [32, 64]);
 * const packed = await tree.evaluate(pack(weight, { format: "nf4" })); // and `weight` can go
 * const y = ones([4, 64]).matmul(unpack(packed).transpose());
 */
export function pack(weight: Tensor, options: PackOptions): Packed {
  const { format, block: size, absmax: chosen } = readOptions("pack", fields, options);
  if (!(weight instanceof Tensor) || !isFloat(weight.dtype) || weight.dtype === "number")
    throw new DTypeError(
      `pack: the weight is ${show(weight)}; float tensors are packed. Cast with .astype("float32").`,
    );
  const given = (weight as Tensor<FloatDType>).detach(); // just checked
  if (format === "bfloat16") return packedFloats(given.astype("bfloat16"), given.dtype);
  const block = size ?? (format === "nf4" ? 64 : 256);
  const second = chosen ?? (format === "nf4" ? "dynamic8" : "float");
  const { codes: own, absmax } = quantise(given.astype(computeDType(given.dtype)), codes[format], block);
  const words = { like: like(given), [format]: packCodes(own, codes[format].bits) };
  if (second === "float") return { ...words, absmax };
  return { ...words, absmax: packLargest(absmax, second) };
}

/** A weight that is in bfloat16, and unpacks to a dtype. */
export function packedFloats(weight: Tensor, dtype: FloatDType): PackedFloats {
  return { like: like({ shape: weight.shape, dtype }), bfloat16: weight };
}

/** The largest magnitudes of blocks in an 8-bit format, less their mean; what is unpacked is positive. */
function packLargest(absmax: Tensor<FloatDType>, format: "int8" | "dynamic8"): PackedBlocks["absmax"] {
  const offset = absmax.mean();
  const block = 256;
  const inner = quantise(absmax.sub(offset), codes[format], block);
  const packed = (nearest: Tensor<"uint32">) => ({
    like: like(absmax),
    [format]: packCodes(nearest, codes[format].bits),
    absmax: inner.absmax,
    offset,
  });
  // Beside a large mean the level nearest to a small magnitude may lie at 0 or below, which would turn the signs of its
  // block. The next level is above the magnitude.
  const level = largest({ like: like(absmax), absmax: packed(inner.codes) });
  const raised = inner.codes.add(level.le(0).astype("uint32"));
  return packed(raised);
}

/**
 * The weight as floats of the dtype and shape it was packed from. Made of elementwise operations, so it is computed
 * where it is used.
 *
 * @throws ValueError for anything but what `pack` returns.
 * @example
 * const rounded = unpack(pack(tensor([1.001, -2.3]), { format: "bfloat16" })); // float32[2]: 1, -2.296875
 */
export function unpack(packed: Packed): Tensor<FloatDType> {
  if (!isPacked(packed))
    throw new ValueError(`unpack: takes a tree that pack returned; given ${show(packed)}.`);
  const {
    shape: [, ...shape],
    dtype,
  } = packed.like as Tensor<FloatDType>; // of a float weight
  const size = numel(shape);
  if ("bfloat16" in packed) return stored(packed.bfloat16, "bfloat16").detach().astype(dtype);
  const format = formats.find((name) => packed[name]);
  if (!format)
    throw new ValueError(
      `unpack: the tree has ${Object.keys(packed).join(", ")}, and no words of a format. Pass what pack returned.`,
    );
  const { bits, decode } = codes[format];
  const levels = decode(unpackCodes(stored(packed[format]!, "uint32"), bits, size), computeDType(dtype));
  return levels
    .mul(eachBlock(largest(packed), size))
    .astype(dtype)
    .reshape(shape);
}

/** Whether part of a tree is a packed weight. */
export function isPacked(value: unknown): value is Packed {
  return typeof value === "object" && value !== null && "like" in value && value.like instanceof Tensor;
}

/** The largest magnitude of each block. */
export function largest({ absmax }: PackedBlocks): Tensor<FloatDType> {
  if (absmax instanceof Tensor) return absmax as Tensor<FloatDType>; // as `pack` made it
  return unpack(absmax).add(absmax.offset as Tensor<FloatDType>);
}

/** The codes of a vector and the largest magnitude of each block, the last of which may be short. */
export function quantise(
  x: Tensor<FloatDType>,
  code: Code,
  block: number,
): { readonly codes: Tensor<"uint32">; readonly absmax: Tensor<FloatDType> } {
  const vector = x.reshape([-1]);
  const blocks = Math.ceil(vector.size / block);
  const absmax = vector
    .pad([[0, blocks * block - vector.size]])
    .reshape([blocks, block])
    .abs()
    .amax(1);
  // A block of zeros is divided by 1.
  const divisor = where(absmax.eq(0), 1, absmax);
  return { codes: code.encode(vector.div(eachBlock(divisor, vector.size))), absmax };
}

/** One number for each block, repeated for its elements. */
function eachBlock(x: Tensor<FloatDType>, size: number): Tensor<FloatDType> {
  // The power of two with which `size` elements make that many blocks: with one block, any that is large enough.
  let block = 1;
  while (block * x.size < size) block *= 2;
  return x.unsqueeze(-1).expand([x.size, block]).reshape([-1]).slice([0], [size]);
}

function like({ shape, dtype }: { readonly shape: Shape; readonly dtype: FloatDType }): Tensor {
  return tensor(new Float32Array(0), { shape: [0, ...shape], dtype });
}

function stored<D extends DType>(x: Tensor, dtype: D): Tensor<D> {
  if (x.dtype !== dtype)
    throw new ValueError(`unpack: what is stored is ${x}; expected ${dtype}. Pass what pack returned.`);
  return x as Tensor<DType> as Tensor<D>; // just checked
}
