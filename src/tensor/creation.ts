import {
  checkArgument,
  checkCount,
  type Fields,
  field,
  finite,
  integer,
  number,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import {
  checkDType,
  coerce,
  computeDType,
  type DeviceDType,
  type DType,
  type HostArray,
  holds,
  hostArray,
  integerRange,
  isFloat,
} from "../base/dtype.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import { cast, checkHeld } from "../graph/cast.ts";
import { add, eq, mul } from "../graph/elementwise.ts";
import { expand } from "../graph/movement.ts";
import { constant, iota, literal } from "../graph/node.ts";
import { hostNode } from "../runtime/storage.ts";
import { Tensor, tensorNode } from "./tensor.ts";

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

/** What `checkDType` looks at afterwards, for an error of its own class. */
const dtypeField = { dtype: optional(field<DeviceDType>("a dtype", () => true)) };
const tensorFields: Fields<TensorOptions<DeviceDType>> = {
  ...dtypeField,
  shape: optional(field("a list of lengths such as [2, 3]", Array.isArray)),
};

/** Booleans in nested arrays. */
type Truth = boolean | readonly Truth[];
/** Numbers in nested arrays. */
type Numbers = number | readonly Numbers[];
/** The dtype that a typed array has by itself. */
type DTypeOfArray<A extends HostArray> = A extends Float32Array
  ? "float32"
  : A extends Float64Array
    ? "float64"
    : A extends Int32Array
      ? "int32"
      : "uint32";
type ShapeOption = Pick<TensorOptions<DeviceDType>, "shape">;

/**
 * A tensor of the given values: a number, nested arrays, or a typed array with a shape. The values are copied. The dtype is
 * that of the typed array, bool for booleans and float32 for numbers, unless it is given.
 *
 * @throws ShapeError for ragged or empty arrays, or a shape that does not fit; DTypeError for other elements.
 * @example
 * tensor([[1, 2, 3], [4, 5, 6]]);                          // float32[2,3]
 * tensor([1, 2], { dtype: "int32" });                      // int32[2]
 * tensor(new Int32Array([1, 2, 3, 4]), { shape: [2, 2] }); // int32[2,2]
 */
export function tensor(values: Numbers, options?: ShapeOption): Tensor<"float32">;
export function tensor(values: Truth, options?: ShapeOption): Tensor<"bool">;
export function tensor<A extends HostArray>(values: A, options?: ShapeOption): Tensor<DTypeOfArray<A>>;
export function tensor<D extends DeviceDType = "float32">(
  values: Nested | HostArray,
  options?: TensorOptions<D>,
): Tensor<D>;
export function tensor<D extends DeviceDType>(
  values: Nested | HostArray,
  options: TensorOptions<D> = {},
): Tensor<D> {
  const given = readOptions("tensor", tensorFields, options);
  const flat: number[] = [];
  let shape: Shape;
  let natural: DeviceDType = "float32";
  let source: ArrayLike<number>;
  if (ArrayBuffer.isView(values)) {
    natural = dtypeOf(values);
    source = values;
    shape = given.shape ?? [values.length];
  } else {
    const found = collect(values, flat);
    shape = given.shape ?? found.shape;
    if (found.booleans) natural = "bool";
    if (found.booleans && found.numbers && given.dtype === undefined)
      throw new DTypeError(
        'tensor: numbers and booleans are mixed, so the dtype is not clear. Say which one is meant, { dtype: "float32" }.',
      );
    source = flat;
  }
  const dtype = checkDType("tensor", given.dtype ?? natural);
  checkShape("tensor", shape);
  if (numel(shape) !== source.length) {
    throw new ShapeError(
      `tensor: ${source.length} values do not fill the shape [${shape.join(",")}], which has ${numel(shape)} elements.`,
    );
  }
  const data = hostArray(dtype, source.length);
  for (let i = 0; i < source.length; i++) {
    const value = source[i]!;
    if (!isFloat(dtype) && !holds(dtype, value)) {
      const advice = dtype === "bool" ? "Compare it with 0" : "Round it, or use float32";
      throw new DTypeError(`tensor: element ${i} is ${value}, which ${dtype} cannot hold. ${advice}.`);
    }
    data[i] = coerce(value, dtype);
  }
  return new Tensor(hostNode(data, shape, dtype));
}

/** A tensor filled with one value, which the dtype holds. */
export function full<D extends DeviceDType = "float32">(
  shape: Shape,
  value: number,
  options: DTypeOption<D> = {},
): Tensor<D> {
  return filled("full", shape, value, options);
}

function filled<D extends DeviceDType>(
  operation: string,
  shape: Shape,
  value: number,
  options: DTypeOption<D>,
): Tensor<D> {
  checkShape(operation, shape);
  const dtype = checkDType(operation, readOptions(operation, dtypeField, options).dtype ?? "float32");
  checkHeld(checkArgument(operation, "value", value, number), dtype, operation);
  return new Tensor(expand(cast(literal(value), dtype), shape));
}

/** A tensor of zeros. */
export function zeros<D extends DeviceDType = "float32">(
  shape: Shape,
  options: DTypeOption<D> = {},
): Tensor<D> {
  return filled("zeros", shape, 0, options);
}

/** A tensor of ones. */
export function ones<D extends DeviceDType = "float32">(
  shape: Shape,
  options: DTypeOption<D> = {},
): Tensor<D> {
  return filled("ones", shape, 1, options);
}

/** Zeros of the shape and dtype of `x`. */
export function zerosLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkCount("zerosLike", arguments, 1, "It takes the shape and dtype of x; cast with .astype(...).");
  const { shape, dtype } = tensorNode("zerosLike", "x", x);
  return new Tensor(expand(constant(0, dtype), shape));
}

/** Ones of the shape and dtype of `x`. */
export function onesLike<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkCount("onesLike", arguments, 1, "It takes the shape and dtype of x; cast with .astype(...).");
  const { shape, dtype } = tensorNode("onesLike", "x", x);
  return new Tensor(expand(constant(1, dtype), shape));
}

export interface ArangeOptions<D extends DeviceDType> extends DTypeOption<D> {
  /** The first number. Default 0. */
  readonly start?: number;
  /** From one number to the next. Default 1. */
  readonly step?: number;
}

const arangeFields: Fields<ArangeOptions<DeviceDType>> = { ...dtypeField, start: finite(0), step: finite(1) };

/**
 * `length` numbers, `start`, `start + step`, ... Unlike NumPy's it takes how many there are, not where they end.
 *
 * @throws DTypeError for numbers that the dtype, int32 by default, does not hold.
 * @example
 * arange(4, { start: 2 });                          // int32[4]: 2, 3, 4, 5
 * arange(4, { step: 0.25, dtype: "float32" });      // float32[4]: 0, 0.25, 0.5, 0.75
 */
export function arange<D extends DeviceDType = "int32">(
  length: number,
  options: ArangeOptions<D> = {},
): Tensor<D> {
  checkArgument("arange", "the length", length, integer(0, integerRange.int32[1]));
  const { start = 0, step = 1, ...given } = readOptions("arange", arangeFields, options);
  const dtype = checkDType("arange", given.dtype ?? "int32");
  const ends = [start, step, start + step * Math.max(length - 1, 0)];
  for (const value of ends) checkHeld(value, dtype, "arange");
  // Rounded once: floats that are whole numbers are counted as integers, others in what their dtype is computed in.
  const whole = isFloat(dtype) && ends.every((value) => holds("int32", value));
  const count = cast(iota([length], 0), whole ? "int32" : computeDType(dtype));
  const scaled = step === 1 ? count : mul(count, step);
  return new Tensor(cast(start === 0 ? scaled : add(scaled, start), dtype));
}

/** The identity matrix. */
export function eye<D extends DeviceDType = "float32">(n: number, options: DTypeOption<D> = {}): Tensor<D> {
  checkArgument("eye", "n", n, integer(0, integerRange.int32[1]));
  const dtype = checkDType("eye", readOptions("eye", dtypeField, options).dtype ?? "float32");
  return new Tensor(cast(eq(iota([n, n], 0), iota([n, n], 1)), dtype));
}

/**
 * A host number as a tensor: rank 0, float64; it takes the dtype of what it meets. Programs take it as an
 * input, where a plain JavaScript number is written into their code: use it for numbers that change, so that
 * nothing is compiled again.
 */
export function scalar(value: number): Tensor<"number"> {
  return new Tensor(literal(checkArgument("scalar", "value", value, number), true));
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

function collect(
  values: Nested,
  flat: number[],
): { readonly shape: number[]; readonly booleans: boolean; readonly numbers: boolean } {
  let [booleans, numbers] = [false, false];
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
    if (typeof value === "boolean") booleans = true;
    else if (typeof value === "number") numbers = true;
    else
      throw new DTypeError(
        `tensor: ${place || "the value"} is ${show(value)}; elements are numbers or booleans.`,
      );
    flat.push(Number(value));
  };
  visit(values, 0, "");
  return { shape, booleans, numbers };
}
