import {
  checkDType,
  coerce,
  type DeviceDType,
  type DType,
  type HostArray,
  hostArray,
  isInteger,
} from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import { add, eq, mul } from "../graph/elementwise.ts";
import { expand } from "../graph/movement.ts";
import { constant, iota, literal } from "../graph/node.ts";
import { cast } from "../graph/scalar.ts";
import { hostNode } from "../runtime/storage.ts";
import { Tensor } from "./tensor.ts";

/** Numbers or booleans, nested as deep as the tensor has axes. */
export type Nested = number | boolean | readonly Nested[];

export interface DTypeOption<D extends DeviceDType> {
  /** Default float32 (bool for booleans). */
  readonly dtype?: D;
}

export interface TensorOptions<D extends DeviceDType> extends DTypeOption<D> {
  /** Shape of the data of a typed array; its length by default. */
  readonly shape?: Shape;
}

/**
 * A tensor of the given values: a number, nested arrays, or a typed array with a shape. The values are copied.
 *
 * @throws ShapeError for ragged or empty arrays, or a shape that does not fit; DTypeError for other elements.
 * @example
 * tensor([[1, 2, 3], [4, 5, 6]]);                       // float32[2,3]
 * tensor(new Int32Array([1, 2]), { dtype: "int32" });   // int32[2]
 */
export function tensor<D extends DeviceDType = "float32">(
  values: Nested | HostArray,
  options: TensorOptions<D> = {},
): Tensor<D> {
  const flat: number[] = [];
  let shape: Shape;
  let natural: DeviceDType = "float32";
  let source: ArrayLike<number>;
  if (ArrayBuffer.isView(values)) {
    source = values;
    shape = options.shape ?? [values.length];
    natural = dtypeOf(values);
  } else {
    const found = collect(values, flat);
    shape = options.shape ?? found.shape;
    if (found.boolean) natural = "bool";
    source = flat;
  }
  const dtype = options.dtype === undefined ? natural : checkDType("tensor", options.dtype);
  checkShape("tensor", shape);
  if (numel(shape) !== source.length) {
    throw new ShapeError(
      `tensor: ${source.length} values do not fill the shape [${shape.join(",")}], which has ${numel(shape)} elements.`,
    );
  }
  const data = hostArray(dtype, source.length);
  for (let i = 0; i < source.length; i++) {
    const value = source[i]!;
    if (isInteger(dtype) && coerce(value, dtype) !== value) {
      throw new DTypeError(
        `tensor: element ${i} is ${value}, which ${dtype} cannot hold. Round it, or use float32.`,
      );
    }
    data[i] = coerce(value, dtype);
  }
  return new Tensor(hostNode(data, shape, dtype));
}

/** A tensor filled with one value. */
export function full<D extends DeviceDType = "float32">(
  shape: Shape,
  value: number,
  { dtype }: DTypeOption<D> = {},
): Tensor<D> {
  checkShape("full", shape);
  return new Tensor(expand(cast(literal(value), checkDType("full", dtype ?? "float32")), shape));
}

/** A tensor of zeros. */
export function zeros<D extends DeviceDType = "float32">(
  shape: Shape,
  options: DTypeOption<D> = {},
): Tensor<D> {
  return full(shape, 0, options);
}

/** A tensor of ones. */
export function ones<D extends DeviceDType = "float32">(
  shape: Shape,
  options: DTypeOption<D> = {},
): Tensor<D> {
  return full(shape, 1, options);
}

/** Zeros of the shape and dtype of `x`. */
export function zerosLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(expand(constant(0, x.dtype), x.shape));
}

/** Ones of the shape and dtype of `x`. */
export function onesLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(expand(constant(1, x.dtype), x.shape));
}

/** 0, 1, ..., length - 1, times `step`, plus `start`. */
export function arange<D extends DeviceDType = "int32">(
  length: number,
  { start = 0, step = 1, dtype }: DTypeOption<D> & { readonly start?: number; readonly step?: number } = {},
): Tensor<D> {
  checkShape("arange", [length]);
  const count = cast(iota([length], 0), checkDType("arange", dtype ?? "int32"));
  const scaled = step === 1 ? count : mul(count, step);
  return new Tensor(start === 0 ? scaled : add(scaled, start));
}

/** The identity matrix. */
export function eye<D extends DeviceDType = "float32">(n: number, { dtype }: DTypeOption<D> = {}): Tensor<D> {
  checkShape("eye", [n]);
  return new Tensor(cast(eq(iota([n, n], 0), iota([n, n], 1)), checkDType("eye", dtype ?? "float32")));
}

/**
 * A host number as a tensor: rank 0, float64; it takes the dtype of what it meets. Programs take it as an
 * input, where a plain JavaScript number is written into their code: use it for numbers that change, so that
 * nothing is compiled again.
 */
export function scalar(value: number): Tensor<"number"> {
  if (typeof value !== "number") throw new ValueError(`scalar: takes a number; given ${typeof value}.`);
  return new Tensor(literal(value, true));
}

function dtypeOf(values: HostArray): DeviceDType {
  if (values instanceof Float32Array) return "float32";
  if (values instanceof Float64Array) return "float64";
  if (values instanceof Int32Array) return "int32";
  if (values instanceof Uint32Array) return "uint32";
  throw new DTypeError(
    "tensor: typed arrays are Float32Array, Float64Array, Int32Array or Uint32Array. Convert with Float32Array.from.",
  );
}

function collect(values: Nested, flat: number[]): { shape: number[]; boolean: boolean } {
  let boolean = false;
  const shape: number[] = [];
  for (let at: Nested = values; Array.isArray(at); at = at[0] as Nested) {
    if (at.length === 0)
      throw new ShapeError(
        "tensor: an array is empty, so its shape is unknown. Use zeros([0, ...]) for a tensor without elements.",
      );
    shape.push(at.length);
  }
  const visit = (value: Nested, depth: number, place: string): void => {
    if (Array.isArray(value)) {
      if (value.length !== shape[depth]) {
        const expected = depth < shape.length ? `${shape[depth]} elements` : "a number";
        throw new ShapeError(
          `tensor: nested arrays are ragged: ${place || "the array"} has ${value.length} elements, expected ${expected}. Pad the rows to one length.`,
        );
      }
      value.forEach((child: Nested, i) => {
        visit(child, depth + 1, `${place}[${i}]`);
      });
      return;
    }
    if (depth !== shape.length)
      throw new ShapeError(
        `tensor: nested arrays are ragged: ${place} is ${String(value)}, expected an array of ${shape[depth]} elements.`,
      );
    if (typeof value === "boolean") boolean = true;
    else if (typeof value !== "number")
      throw new DTypeError(
        `tensor: ${place || "the value"} is ${value === null ? "null" : `a ${typeof value}`}; elements are numbers or booleans.`,
      );
    flat.push(Number(value));
  };
  visit(values, 0, "");
  return { shape, boolean };
}
