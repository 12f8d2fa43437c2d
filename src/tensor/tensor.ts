import "../base/disposable.ts";
import {
  checkArgument,
  type Fields,
  flag,
  integer,
  isIntegerIn,
  nonNegative,
  number,
  readOptions,
  refuseFurther,
  show,
} from "../base/arguments.ts";
import {
  checkDType,
  computeDType,
  type DeviceDType,
  type DType,
  type FloatDType,
  type HostArrayOf,
  integerRange,
  isFloat,
} from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import {
  broadcastShapes,
  checkIntegers,
  checkShape,
  describe,
  normalizeAxes,
  normalizeAxis,
  numel,
  type Shape,
} from "../base/shape.ts";
import { cast, checkHeld, hostValue, onDevice } from "../graph/cast.ts";
import * as ops from "../graph/elementwise.ts";
import * as movement from "../graph/movement.ts";
import { iota, literal, makeNode, type Node } from "../graph/node.ts";
import * as reductions from "../graph/reduce.ts";
import { asSoftmax } from "../graph/softmax.ts";
import { disposeNode, readNode, valuesAtHand } from "../runtime/evaluate.ts";
import { checkReadable } from "../runtime/tracing.ts";
import { At, type AtIndex } from "./at.ts";
import { checkInt32, fromEither } from "./indices.ts";
import { printValues } from "./print.ts";

/** A tensor, or a number that takes the tensor's dtype. */
export type Operand<D extends DType = DType> = Same<D> | Tensor<"number"> | number;

/** A tensor of that dtype, or one of which only running shows whether it has it. */
export type Same<D extends DType> = Tensor<D> | AnyTensor;

/** A `Tensor` whose dtype is not known when types are checked; a `Tensor<"int32">` is none. */
export type AnyTensor = Tensor & { readonly ofDType?: (dtype: DeviceDType) => void };

export type Axes = number | readonly number[] | null;

export interface KeepDim {
  /** Keep reduced axes with length 1. Default false. */
  readonly keepdim?: boolean;
}

export interface VarianceOptions extends KeepDim {
  /** Subtracted from the count: 1 (default) for the unbiased estimate, 0 for the biased one. */
  readonly correction?: number;
}

/** What picks elements along an axis, see `Tensor.at`. */
export type Index = AtIndex<Tensor<"int32"> | Tensor<"number"> | Tensor<"bool"> | Tensor<"bool" | "int32">>;

/** Values at the extremes and where they first occur. */
export interface Extremes<D extends DType> {
  readonly values: Tensor<D>;
  readonly indices: Tensor<"int32">;
}

/** What `toArray` gives: a number or boolean for a scalar, nested arrays otherwise. */
export type NestedArray = number | boolean | readonly NestedArray[];

const wrap = <D extends DType>(node: Node): Tensor<D> => new Tensor<D>(node);

/** The vertex of an operand. @throws ValueError for what is neither a tensor nor a number. */
export function nodeOf(operation: string, operand: Operand): Node {
  if (typeof operand === "number") return literal(operand);
  if (operand instanceof Tensor) return operand.node;
  throw new ValueError(`${operation}: takes a tensor or a number; given ${show(operand)}.`);
}

/** The vertex of a tensor. @throws ValueError for anything else. */
export function tensorNode(operation: string, what: string, tensor: Tensor): Node {
  if (tensor instanceof Tensor) return tensor.node;
  throw new ValueError(
    `${operation}: ${what} is ${show(tensor)}; it is a tensor. Make one with tensor(...).`,
  );
}

function checkShift(operation: string, y: Operand): void {
  const by = typeof y === "number" ? y : hostValue(nodeOf(operation, y));
  if (by !== undefined) checkArgument(operation, "the shift", by, integer(0, 31));
}

const int32 = integer(...integerRange.int32);
const keepDim: Fields<Required<KeepDim>> = { keepdim: flag };
const variance: Fields<Required<VarianceOptions>> = { ...keepDim, correction: nonNegative(1) };

/**
 * An immutable array of numbers: a handle on a vertex of a lazy graph. Nothing is computed until values are
 * asked for (`data`, `item`, `toArray`, `evaluate`) or a compiled function runs.
 *
 * Binary methods broadcast as in NumPy and take numbers, which take the tensor's dtype; two tensors must have
 * one dtype (`DTypeError` otherwise) and shapes that broadcast (`ShapeError`). Axes count from the end when
 * negative. Gradients are PyTorch's, at ties, zeros and NaN too.
 *
 * @example
 * const x = tensor([[1, 2], [3, 4]]);
 * await x.mul(2).sum(0).toArray(); // [8, 12]
 */
export class Tensor<D extends DType = DType> {
  /** @internal */
  readonly node: Node;

  /** @internal */
  constructor(node: Node) {
    this.node = node;
  }

  /** Nothing, but for types: it tells a tensor of one dtype from one of any. */
  ofDType?(dtype: D): void;

  get shape(): Shape {
    return this.node.shape;
  }

  get dtype(): D {
    return this.node.dtype as D; // D names the dtype the node was made with
  }

  /** Number of axes. */
  get rank(): number {
    return this.node.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return numel(this.node.shape);
  }

  /** dtype and shape, `float32[2,3]`. */
  toString(): string {
    return describe(this);
  }

  /** dtype and shape: values have to be waited for, `JSON.stringify(await x.toArray())`. */
  toJSON(): string {
    return describe(this);
  }

  /** @throws ValueError except for text: JavaScript's own operators, `x * 2` or `loss < best`, know no tensors. */
  [Symbol.toPrimitive](hint: "string" | "number" | "default"): string {
    if (hint === "string") return describe(this);
    throw new ValueError(
      `${this} is no number: JavaScript's operators do not compute with tensors. Use methods such as .mul(2) or .lt(best), ` +
        "or the number itself, await x.item().",
    );
  }

  /** What Node prints: dtype, shape, and the values where they are at hand; inside of trees dtype and shape. */
  [Symbol.for("nodejs.util.inspect.custom")](
    depth: number,
    options: { readonly depth?: number | null },
  ): string {
    const inside = typeof options?.depth === "number" && depth < options.depth;
    const values = inside ? undefined : valuesAtHand(this.node);
    return values ? `${this} ${printValues(values, this.shape, this.dtype)}` : describe(this);
  }

  // Values.

  // In a function that is traced these throw at once: nobody waits there for a promise.

  /** The values, row-major. `bool` gives a Uint32Array of 0 and 1. Computes them if need be. */
  data(): Promise<HostArrayOf<D>> {
    checkReadable("data", [this.node]);
    return readNode(this.node) as Promise<HostArrayOf<D>>; // what hostArray makes of the dtype
  }

  /** The value of a tensor of one element. */
  item(): Promise<number> {
    checkReadable("item", [this.node]);
    return this.#item();
  }

  async #item(): Promise<number> {
    if (this.size !== 1)
      throw new ShapeError(`item: ${this} has ${this.size} elements, not one. Use .data() or .toArray().`);
    return (await this.data())[0]!;
  }

  /** The values as nested arrays; booleans for `bool`. */
  toArray(): Promise<NestedArray> {
    checkReadable("toArray", [this.node]);
    return this.#toArray();
  }

  async #toArray(): Promise<NestedArray> {
    const data = await this.data();
    const element = (i: number) => (this.dtype === "bool" ? data[i] !== 0 : data[i]!);
    const build = (axis: number, offset: number, stride: number): NestedArray => {
      if (axis === this.rank) return element(offset);
      const length = this.shape[axis]!;
      const inner = stride / Math.max(length, 1);
      return Array.from({ length }, (_, i) => build(axis + 1, offset + i * inner, inner));
    };
    return build(0, 0, this.size);
  }

  /** Frees the values now rather than when they are collected; later use is a `DisposedError`. */
  dispose(): void {
    disposeNode(this.node);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  // Arithmetic.

  /** x + y. */
  add(y: Operand<D>): Tensor<D> {
    return wrap(ops.add(this.node, nodeOf("add", y)));
  }

  /** x - y. */
  sub(y: Operand<D>): Tensor<D> {
    return wrap(ops.sub(this.node, nodeOf("sub", y)));
  }

  /** x * y, element by element. */
  mul(y: Operand<D>): Tensor<D> {
    return wrap(ops.mul(this.node, nodeOf("mul", y)));
  }

  /** x / y; floats only. */
  div(y: Operand<D>): Tensor<D> {
    return wrap(ops.div(this.node, nodeOf("div", y)));
  }

  /** x to the power y; floats only. The gradient is 0 where the exponent is 0. */
  pow(y: Operand<D>): Tensor<D> {
    if (y === 2 && isFloat(this.dtype)) return this.square();
    return wrap(ops.pow(this.node, nodeOf("pow", y)));
  }

  /** The larger of x and y; NaN if either is. Ties share the gradient. */
  maximum(y: Operand<D>): Tensor<D> {
    return wrap(ops.maximum(this.node, nodeOf("maximum", y)));
  }

  /** The smaller of x and y; NaN if either is. Ties share the gradient. */
  minimum(y: Operand<D>): Tensor<D> {
    return wrap(ops.minimum(this.node, nodeOf("minimum", y)));
  }

  neg(): Tensor<D> {
    return wrap(ops.neg(this.node));
  }

  /** x * x. */
  square(): Tensor<D> {
    return wrap(ops.mul(this.node, this.node));
  }

  /** 1 / x. */
  reciprocal(): Tensor<D> {
    return wrap(ops.div(1, this.node));
  }

  // Comparisons.

  eq(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.eq(this.node, nodeOf("eq", y)));
  }

  ne(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.ne(this.node, nodeOf("ne", y)));
  }

  lt(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.lt(this.node, nodeOf("lt", y)));
  }

  le(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.le(this.node, nodeOf("le", y)));
  }

  gt(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.gt(this.node, nodeOf("gt", y)));
  }

  ge(y: Operand<D>): Tensor<"bool"> {
    return wrap(ops.ge(this.node, nodeOf("ge", y)));
  }

  isNaN(): Tensor<"bool"> {
    return wrap(ops.isnan(this.node));
  }

  /** Neither infinite nor NaN. */
  isFinite(): Tensor<"bool"> {
    return wrap(ops.isfinite(this.node));
  }

  // Bits of integers, logic of booleans.

  bitwiseAnd(y: Operand<D>): Tensor<D> {
    return wrap(ops.bitwiseAnd(this.node, nodeOf("bitwiseAnd", y)));
  }

  bitwiseOr(y: Operand<D>): Tensor<D> {
    return wrap(ops.bitwiseOr(this.node, nodeOf("bitwiseOr", y)));
  }

  bitwiseXor(y: Operand<D>): Tensor<D> {
    return wrap(ops.bitwiseXor(this.node, nodeOf("bitwiseXor", y)));
  }

  /** Shift by 0 to 31 bits; of other shifts in a tensor the lowest five bits count. */
  leftShift(y: Operand<D>): Tensor<D> {
    checkShift("leftShift", y);
    return wrap(ops.leftShift(this.node, nodeOf("leftShift", y)));
  }

  /** As `leftShift`; int32 keeps its sign. */
  rightShift(y: Operand<D>): Tensor<D> {
    checkShift("rightShift", y);
    return wrap(ops.rightShift(this.node, nodeOf("rightShift", y)));
  }

  /**
   * The same 32 bits as the other type: a uint32 as the float32 that has them, a float32 as a uint32. There is no
   * gradient. A GPU may take subnormal floats for zero.
   *
   * @throws DTypeError for other dtypes.
   * @example
   * tensor([1]).bitcast(); // uint32[1], 0x3f800000
   */
  bitcast(): Tensor<D extends "uint32" ? "float32" : "uint32"> {
    return wrap(ops.bitcast(this.node));
  }

  /** True where false. */
  logicalNot(): Tensor<"bool"> {
    return wrap(ops.bitwiseXor(cast(this.node, "bool"), 1));
  }

  // Functions of one float.

  exp(): Tensor<D> {
    return wrap(ops.exp(this.node));
  }

  /** exp(x) - 1, accurate near 0. */
  expm1(): Tensor<D> {
    return wrap(ops.expm1(this.node));
  }

  log(): Tensor<D> {
    return wrap(ops.log(this.node));
  }

  log2(): Tensor<D> {
    return wrap(ops.mul(ops.log(this.node), Math.LOG2E));
  }

  /** log(1 + x), accurate near 0. */
  log1p(): Tensor<D> {
    return wrap(ops.log1p(this.node));
  }

  sqrt(): Tensor<D> {
    return wrap(ops.sqrt(this.node));
  }

  /** 1 / sqrt(x). */
  rsqrt(): Tensor<D> {
    return wrap(ops.div(1, ops.sqrt(this.node)));
  }

  sin(): Tensor<D> {
    return wrap(ops.sin(this.node));
  }

  cos(): Tensor<D> {
    return wrap(ops.cos(this.node));
  }

  tanh(): Tensor<D> {
    return wrap(ops.tanh(this.node));
  }

  /** The error function. */
  erf(): Tensor<D> {
    return wrap(ops.erf(this.node));
  }

  /** The number whose error function is x, for x from -1 to 1; infinite at both ends, NaN beyond. */
  erfinv(): Tensor<D> {
    return wrap(ops.erfinv(this.node));
  }

  /** Gradient 0 at 0. */
  abs(): Tensor<D> {
    return wrap(ops.abs(this.node));
  }

  /** -1, 0 or 1; 0 for NaN. */
  sign(): Tensor<D> {
    return wrap(ops.sign(this.node));
  }

  floor(): Tensor<D> {
    return wrap(ops.floor(this.node));
  }

  ceil(): Tensor<D> {
    return wrap(ops.ceil(this.node));
  }

  /** To the nearest integer, halves to the even one. */
  round(): Tensor<D> {
    return wrap(ops.round(this.node));
  }

  /**
   * At least `min` and at most `max`; null leaves a side open. The gradient passes to x on both boundaries and to the
   * bound beyond one; NaN stays NaN with gradient 0; where min > max the result is max.
   */
  clamp(min: Operand<D> | null, max: Operand<D> | null = null): Tensor<D> {
    const x = this.node;
    let inside = ops.eq(x, x);
    let clamped = stopped(x);
    if (min !== null) {
      clamped = ops.maximum(clamped, nodeOf("clamp", min));
      inside = ops.bitwiseAnd(inside, ops.ge(x, nodeOf("clamp", min)));
    }
    if (max !== null) {
      clamped = ops.minimum(clamped, nodeOf("clamp", max));
      inside = ops.bitwiseAnd(inside, ops.le(x, nodeOf("clamp", max)));
    }
    return wrap(ops.where(inside, x, clamped));
  }

  /** `value` where `mask` is true; no gradient flows there. */
  maskedFill(mask: Tensor<"bool">, value: number): Tensor<D> {
    return wrap(
      ops.where(tensorNode("maskedFill", "the mask", mask), nodeOf("maskedFill", value), this.node),
    );
  }

  /** Converts to a dtype; floats to integers truncate, anything to bool asks whether it is not 0. */
  astype<E extends Exclude<DType, "number">>(dtype: E): Tensor<E> {
    return wrap(cast(this.node, checkDType("astype", dtype)));
  }

  /** The same values, through which no gradient flows. */
  detach(): Tensor<D> {
    return wrap(stopped(this.node));
  }

  // Reductions. Over nothing: sum 0, prod 1, mean NaN.

  /** Sum over `axes` (all by default); of bool the count of true ones, int32. */
  sum(this: Tensor<"bool">, axes?: Axes, options?: KeepDim): Tensor<"int32">;
  sum(axes?: Axes, options?: KeepDim): Tensor<D>;
  sum(axes: Axes = null, options: KeepDim = {}): Tensor<D | "int32"> {
    const { keepdim } = readOptions("sum", keepDim, options);
    if (this.dtype === "bool") return this.astype("int32").#reduce("sum", axes, keepdim);
    return this.#reduce("sum", axes, keepdim);
  }

  /** Product over `axes`; its gradient is exact at zeros and takes n multiplications per element. */
  prod(axes: Axes = null, options: KeepDim = {}): Tensor<D> {
    return this.#reduce("prod", axes, readOptions("prod", keepDim, options).keepdim);
  }

  /** Largest value over `axes`; NaN if one is. Tied elements share the gradient evenly. */
  amax(axes: Axes = null, options: KeepDim = {}): Tensor<D> {
    return this.#extreme("max", "amax", axes, readOptions("amax", keepDim, options).keepdim);
  }

  /** Smallest value over `axes`; NaN if one is. Tied elements share the gradient evenly. */
  amin(axes: Axes = null, options: KeepDim = {}): Tensor<D> {
    return this.#extreme("min", "amin", axes, readOptions("amin", keepDim, options).keepdim);
  }

  /** Arithmetic mean over `axes`. */
  mean(axes: Axes = null, options: KeepDim = {}): Tensor<D> {
    this.#float("mean");
    const { keepdim } = readOptions("mean", keepDim, options);
    const count = numel(normalizeAxes("mean", axes, this.rank).map((axis) => this.shape[axis]!));
    const sum = this.#reduce("sum", axes, keepdim);
    // Not 0 / 0, which a shader compiler may take for 0.
    return count > 0
      ? sum.div(count)
      : wrap(movement.expand(cast(literal(Number.NaN, true), this.dtype), sum.shape));
  }

  /** Variance over `axes`. */
  var(axes: Axes = null, options: VarianceOptions = {}): Tensor<D> {
    this.#float("var");
    const { keepdim, correction } = readOptions("var", variance, options);
    const count = numel(normalizeAxes("var", axes, this.rank).map((axis) => this.shape[axis]!));
    return centered(this, axes)
      .square()
      .sum(axes, { keepdim })
      .div(Math.max(count - correction, 0));
  }

  /** Standard deviation over `axes`; its gradient is 0 where it is 0. */
  std(axes: Axes = null, options: VarianceOptions = {}): Tensor<D> {
    const variance = this.var(axes, options).node;
    const none = ops.eq(variance, 0);
    // The root of 1 has a gradient that can be multiplied by 0; that of 0 has none.
    return wrap(ops.where(none, 0, ops.sqrt(ops.where(none, 1, variance))));
  }

  /** Largest values along `axis` (of the flattened tensor for null) and where they first occur. */
  max(axis: number | null = null): Extremes<D> {
    return this.#extremes(axis, (x) => x.argmax(axis));
  }

  /** Smallest values along `axis` (of the flattened tensor for null) and where they first occur. */
  min(axis: number | null = null): Extremes<D> {
    return this.#extremes(axis, (x) => x.argmin(axis));
  }

  /** Where the largest value along `axis` first occurs; the first NaN counts as largest. */
  argmax(axis: number | null = null): Tensor<"int32"> {
    return this.#argExtreme("max", "argmax", axis);
  }

  /** Where the smallest value along `axis` first occurs; the first NaN counts as smallest. */
  argmin(axis: number | null = null): Tensor<"int32"> {
    return this.#argExtreme("min", "argmin", axis);
  }

  /** log(sum(exp(x))) over `axes`, without overflow; -Infinity where all elements are, and of none. */
  logsumexp(axes: Axes = null, options: KeepDim = {}): Tensor<D> {
    this.#float("logsumexp");
    const { keepdim } = readOptions("logsumexp", keepDim, options);
    const top = this.#top(axes);
    const shift = wrap<D>(ops.where(ops.isfinite(top.node), top.node, 0));
    const sum = this.sub(shift).exp().sum(axes, { keepdim: true }).log().add(shift);
    return keepdim ? sum : sum.#drop(axes);
  }

  /** Running sums along `axis`. */
  cumsum(axis: number): Tensor<D> {
    return wrap(reductions.cumsum(this.node, normalizeAxis("cumsum", axis, this.rank)));
  }

  /** exp(x) / sum(exp(x)) along `axis`; NaN where all elements are -Infinity. */
  softmax(axis: number): Tensor<D> {
    this.#float("softmax");
    const at = normalizeAxis("softmax", axis, this.rank);
    const e = this.sub(this.#top(at)).exp();
    return wrap(asSoftmax(e.div(e.sum(at, { keepdim: true })).node, this.node, at));
  }

  /** log(softmax(x)) along `axis`. */
  logSoftmax(axis: number): Tensor<D> {
    this.#float("logSoftmax");
    const at = normalizeAxis("logSoftmax", axis, this.rank);
    const shifted = this.sub(this.#top(at));
    return shifted.sub(shifted.exp().sum(at, { keepdim: true }).log());
  }

  // Linear algebra.

  /**
   * Matrix product: `[..., m, k] x [..., k, n]` gives `[..., m, n]`, batch axes broadcast; a vector on the
   * left is a row, on the right a column, and its axis is dropped from the result.
   */
  matmul(y: Same<D>): Tensor<D> {
    return wrap(matmul(this.node, tensorNode("matmul", "the right operand", y)));
  }

  /** `x[i] * y[j]` for two vectors. */
  outer(y: Same<D>): Tensor<D> {
    tensorNode("outer", "the operand", y);
    if (this.rank !== 1 || y.rank !== 1)
      throw new ShapeError(`outer: takes two vectors; given ${this} and ${y}.`);
    return this.unsqueeze(1).mul(y.unsqueeze(0));
  }

  // Movement.

  /** The same elements in another shape; one length may be -1 and is then worked out. */
  reshape(shape: Shape): Tensor<D> {
    checkIntegers("reshape", "the shape", shape, { least: -1 });
    const known = numel(shape.filter((length) => length !== -1));
    const open = shape.filter((length) => length === -1).length;
    if (open > 1 || (open === 1 && (known === 0 || this.size % known !== 0))) {
      throw new ShapeError(
        `reshape: ${this} does not go into [${shape.join(",")}]. Lengths are integers >= 0, at most one is -1, and the counts must be equal.`,
      );
    }
    return wrap(
      movement.reshape(
        this.node,
        shape.map((length) => (length === -1 ? this.size / known : length)),
      ),
    );
  }

  /** Stretches axes of length 1, and adds leading axes; -1 keeps a length. */
  expand(shape: Shape): Tensor<D> {
    checkIntegers("expand", "the shape", shape, { least: -1 });
    const missing = shape.length - this.rank;
    const lengths = shape.map((length, axis) =>
      length === -1 ? (this.shape[axis - missing] ?? -1) : length,
    );
    if (lengths.includes(-1))
      throw new ShapeError(
        `expand: ${this} has no length for the new axis ${lengths.indexOf(-1)} of [${shape.join(",")}] to keep. Give one.`,
      );
    checkShape("expand", lengths);
    return wrap(movement.expand(this.node, lengths));
  }

  /** Axis `i` of the result is axis `axes[i]` of x. */
  permute(axes: readonly number[]): Tensor<D> {
    checkIntegers("permute", "axes", axes);
    const normalized = axes.map((axis) => normalizeAxis("permute", axis, this.rank));
    if (normalized.length !== this.rank || new Set(normalized).size !== this.rank) {
      throw new ShapeError(`permute: axes [${axes.join(",")}] do not name each axis of ${this} once.`);
    }
    return wrap(movement.permute(this.node, normalized));
  }

  /** Swaps two axes, the last two by default. */
  transpose(axis0 = -2, axis1 = -1): Tensor<D> {
    const [a, b] = [
      normalizeAxis("transpose", axis0, this.rank),
      normalizeAxis("transpose", axis1, this.rank),
    ];
    return wrap(movement.transpose(this.node, a, b));
  }

  /** Reverses the order along `axes` (all by default). */
  flip(axes: Axes = null): Tensor<D> {
    return wrap(movement.flip(this.node, normalizeAxes("flip", axes, this.rank)));
  }

  /**
   * Elements `start, start + step, ...` below `end` of each axis, as in NumPy: negative bounds count from the
   * end, bounds beyond the axis are cut to it, null means the whole axis. Steps are at least 1.
   */
  slice(
    start: readonly (number | null)[],
    end: readonly (number | null)[] = [],
    step: readonly (number | null)[] = [],
  ): Tensor<D> {
    checkIntegers("slice", "start", start, { orNull: true });
    checkIntegers("slice", "end", end, { orNull: true });
    checkIntegers("slice", "step", step, { orNull: true });
    if (Math.max(start.length, end.length, step.length) > this.rank) {
      throw new ShapeError(
        `slice: ${this} has ${this.rank} axes; given bounds for ${Math.max(start.length, end.length, step.length)}.`,
      );
    }
    const from: number[] = [];
    const by: number[] = [];
    const shape = this.shape.map((length, axis) => {
      const bound = (value: number | null | undefined, otherwise: number) =>
        value === null || value === undefined
          ? otherwise
          : Math.min(Math.max(value < 0 ? value + length : value, 0), length);
      const s = step[axis] ?? 1;
      if (s < 1)
        throw new ShapeError(
          `slice: step ${s} of axis ${axis}; steps are integers >= 1. Use flip to reverse.`,
        );
      from[axis] = bound(start[axis], 0);
      by[axis] = s;
      return Math.max(0, Math.ceil((bound(end[axis], length) - from[axis]) / s));
    });
    return wrap(movement.slice(this.node, from, shape, by));
  }

  /**
   * Picks elements by NumPy's rules, to be read or replaced: `x.at(0, [1, 3]).get()`, `x.at(-1).set(y)`; also `add`,
   * `mul`, `min` and `max`. x itself stays as it is. Each argument is for one axis: an integer (which drops the axis),
   * `[start, stop, step]` of which each may be left out or null, "..." for the axes that are not named, null for a new
   * axis, a tensor of int32, or a mask of bool, whose values the host has; tensors broadcast to each other, and their shape
   * stands where they did, or in front where other axes lie between. A scalar tensor as an integer, or as the start of a window `{ start, length }`, is passed when a program runs,
   * so that none is compiled for each place; a number of the host is then checked, an int32 of a device is moved to where
   * the elements fit.
   *
   * Only the picked elements are written, in the place of x, where nobody needs x any more: it was donated, or is a value
   * that a program makes and uses nowhere later. Else x is copied first.
   *
   * @throws ValueError for an index out of range; ShapeError for too many of them.
   * @example
   * const write = compile((cache: Tensor, row: Tensor, at: Tensor<"number">) => cache.at(at).set(row), { donate: [0] });
   * cache = await write(cache, row, 7); // one row is written
   */
  at(...index: readonly Index[]): At<Tensor<D>, Operand<D>> {
    return new At<Tensor<D>, Operand<D>>(this.node, index, { wrap, nodeOf });
  }

  /** Adds `[before, after]` elements of `value` to each axis. */
  pad(padding: readonly (readonly [number, number])[], value = 0): Tensor<D> {
    const isPair = (pair: unknown) =>
      Array.isArray(pair) && pair.length === 2 && pair.every((n) => isIntegerIn(n, 0));
    if (!Array.isArray(padding) || padding.length !== this.rank || ![...padding].every(isPair)) {
      const given = Array.isArray(padding) ? `[${[...padding].map(show).join(", ")}]` : show(padding);
      throw new ShapeError(
        `pad: ${this} takes ${this.rank} pairs [before, after] of integers >= 0; given ${given}.`,
      );
    }
    checkShape(
      "pad",
      this.shape.map((length, i) => length + padding[i]![0] + padding[i]![1]),
    );
    checkArgument("pad", "value", value, number);
    if (this.dtype !== "number") checkHeld(value, computeDType(this.dtype), "pad");
    return wrap(
      movement.pad(
        this.node,
        padding.map(([before]) => before),
        padding.map(([, after]) => after),
        value,
      ),
    );
  }

  /** Drops `axis`, which must have length 1. */
  squeeze(axis: number): Tensor<D> {
    const at = normalizeAxis("squeeze", axis, this.rank);
    if (this.shape[at] !== 1)
      throw new ShapeError(`squeeze: axis ${axis} of ${this} has length ${this.shape[at]}, not 1.`);
    return wrap(
      movement.reshape(
        this.node,
        this.shape.filter((_, i) => i !== at),
      ),
    );
  }

  /** Adds an axis of length 1 at `axis` of the result. */
  unsqueeze(axis: number): Tensor<D> {
    const at = normalizeAxis("unsqueeze", axis, this.rank + 1);
    return wrap(movement.reshape(this.node, [...this.shape.slice(0, at), 1, ...this.shape.slice(at)]));
  }

  /** The lower triangle of the last two axes: zero above `diagonal`. */
  tril(diagonal = 0): Tensor<D> {
    checkArgument("tril", "diagonal", diagonal, int32);
    return this.#triangle("tril", (row, column) => ops.le(column, ops.add(row, diagonal)));
  }

  /** The upper triangle of the last two axes: zero below `diagonal`. */
  triu(diagonal = 0): Tensor<D> {
    checkArgument("triu", "diagonal", diagonal, int32);
    return this.#triangle("triu", (row, column) => ops.ge(column, ops.add(row, diagonal)));
  }

  /**
   * Pieces along `axis`: as many equal ones as a number says, or of the lengths in a list, which together are the axis.
   *
   * @example
   * const [q, k, v] = x.split([64, 16, 16], -1);
   */
  split(parts: number | readonly number[], axis = 0): Tensor<D>[] {
    const at = normalizeAxis("split", axis, this.rank);
    const whole = this.shape[at]!;
    const lengths: readonly number[] =
      typeof parts !== "number"
        ? parts
        : isIntegerIn(parts, 1, Math.max(whole, 2 ** 16))
          ? new Array(parts).fill(whole / parts)
          : [];
    if (
      !Array.isArray(lengths) ||
      !lengths.every((length) => isIntegerIn(length, 0)) ||
      lengths.reduce((sum, length) => sum + length, 0) !== whole ||
      lengths.length === 0
    )
      throw new ShapeError(
        `split: axis ${axis} of ${this} does not split into ${show(parts)}${Array.isArray(parts) ? "" : " equal parts"}.`,
      );
    let end = 0;
    return lengths.map((length) => {
      const start = end;
      end += length;
      return wrap(
        movement.slice(
          this.node,
          this.shape.map((_, i) => (i === at ? start : 0)),
          this.shape.map((n, i) => (i === at ? length : n)),
        ),
      );
    });
  }

  /** Each element `repeats` times in a row along `axis`. */
  repeatInterleave(repeats: number, axis: number): Tensor<D> {
    if (!isIntegerIn(repeats, 0))
      throw new ShapeError(`repeatInterleave: repeats is ${show(repeats)}; it is an integer >= 0.`);
    const at = normalizeAxis("repeatInterleave", axis, this.rank);
    const stretched = this.shape.flatMap((length, i) => (i === at ? [length, repeats] : [length]));
    return this.unsqueeze(at + 1)
      .expand(stretched)
      .reshape(this.shape.map((length, i) => (i === at ? length * repeats : length)));
  }

  // Indexing by data. Negative indices count from the end, as in NumPy. Those whose values the host has are checked when
  // they are used. A device cannot throw: out of range it gathers the first or last element, which then gets the
  // gradient too, and adds nothing when scattering, from where no gradient flows. `init({ checkIndices: true })` looks.

  /** `out[i, j] = x[index[i, j], j]` for axis 0, and likewise; other axes of `index` may be shorter. */
  gather(axis: number, index: Tensor<"int32">): Tensor<D> {
    const at = this.#indexed("gather", axis, index);
    const node = fromEither("gather: index", index.node, this.shape[at]!);
    checkPicked("gather", this.shape, at, index.shape);
    const shape = this.shape.map((length, i) => (i === at ? length : index.shape[i]!));
    return wrap(
      reductions.gather(
        movement.slice(
          this.node,
          shape.map(() => 0),
          shape,
        ),
        node,
        at,
      ),
    );
  }

  /** The slices at `index` (a vector) along `axis`. */
  indexSelect(axis: number, index: Tensor<"int32">): Tensor<D> {
    const at = normalizeAxis("indexSelect", axis, this.rank);
    checkInt32("indexSelect", "the index", index);
    if (index.rank !== 1) throw new ShapeError(`indexSelect: the index is an int32 vector; given ${index}.`);
    return wrap(select("indexSelect", this.node, at, index.node));
  }

  /** x with `source` added at `index` along `axis`, one after the other, so that sums are reproducible. */
  scatterAdd(axis: number, index: Tensor<"int32">, source: Same<D>): Tensor<D> {
    const at = this.#indexed("scatterAdd", axis, index);
    tensorNode("scatterAdd", "the source", source);
    if (source.dtype !== this.dtype || source.shape.join() !== index.shape.join()) {
      throw new ShapeError(
        `scatterAdd: source ${source} must have the dtype of ${this} and the shape of ${index}.`,
      );
    }
    const node = fromEither("scatterAdd: index", index.node, this.shape[at]!);
    // Axes that are shorter in the index are filled up with additions of 0.
    const none = this.shape.map(() => 0);
    const fill = this.shape.map((length, i) => (i === at ? 0 : length - index.shape[i]!));
    const filled = (x: Node) => movement.pad(x, none, fill);
    return wrap(reductions.scatterAdd(onDevice(this.node), filled(node), filled(onDevice(source.node)), at));
  }

  // Parts of the above.

  #float(operation: string): void {
    if (!isFloat(this.dtype))
      throw new DTypeError(`${operation}: takes floats; given ${this}. Cast with .astype("float32").`);
  }

  #reduce(name: "sum" | "prod" | "max" | "min", axes: Axes, keepdim: boolean): Tensor<D> {
    const reduced = wrap<D>(reductions.reduce(name, this.node, normalizeAxes(name, axes, this.rank)));
    return keepdim ? reduced.#keep(this.shape, axes) : reduced;
  }

  #extreme(name: "max" | "min", operation: string, axes: Axes, keepdim: boolean): Tensor<D> {
    const at = normalizeAxes(operation, axes, this.rank);
    if (at.some((axis) => this.shape[axis] === 0))
      throw new ShapeError(
        `${operation}: ${this} has no elements along the axis; nothing is largest or smallest.`,
      );
    return this.#reduce(name, axes, keepdim);
  }

  /** The largest values, by which exponents are shifted: 0 of none. */
  #top(axes: Axes): Tensor<D> {
    const none = normalizeAxes("amax", axes, this.rank).some((axis) => this.shape[axis] === 0);
    return none ? this.sum(axes, { keepdim: true }) : this.amax(axes, { keepdim: true }).detach();
  }

  #keep(shape: Shape, axes: Axes): Tensor<D> {
    const gone = normalizeAxes("keepdim", axes, shape.length);
    return wrap(
      movement.reshape(
        this.node,
        shape.map((length, axis) => (gone.includes(axis) ? 1 : length)),
      ),
    );
  }

  #drop(axes: Axes): Tensor<D> {
    const gone = normalizeAxes("keepdim", axes, this.rank);
    return wrap(
      movement.reshape(
        this.node,
        this.shape.filter((_, axis) => !gone.includes(axis)),
      ),
    );
  }

  #argExtreme(name: "max" | "min", operation: string, axis: number | null): Tensor<"int32"> {
    if (axis === null) return this.reshape([-1]).#argExtreme(name, operation, 0);
    const at = normalizeAxis(operation, axis, this.rank);
    const extreme = this.detach().#extreme(name, operation, at, true);
    // NaN is found by not being equal to itself.
    const x = this.node;
    const found = isFloat(this.dtype)
      ? ops.bitwiseOr(ops.eq(x, extreme.node), ops.isnan(x))
      : ops.eq(x, extreme.node);
    const place = ops.where(found, iota(this.shape, at), this.shape[at]!);
    return wrap(reductions.reduce("min", place, [at]));
  }

  #extremes(axis: number | null, find: (x: Tensor<D>) => Tensor<"int32">): Extremes<D> {
    const flat = axis === null ? this.reshape([-1]) : this;
    const at = axis === null ? 0 : normalizeAxis("max", axis, this.rank);
    const indices = find(this);
    return { values: flat.gather(at, indices.unsqueeze(at)).squeeze(at), indices };
  }

  #triangle(operation: string, keep: (row: Node, column: Node) => Node): Tensor<D> {
    if (this.rank < 2) throw new ShapeError(`${operation}: takes matrices; given ${this}.`);
    const kept = keep(iota(this.shape, this.rank - 2), iota(this.shape, this.rank - 1));
    return wrap(ops.where(kept, this.node, 0));
  }

  #indexed(operation: string, axis: number, index: Tensor<"int32">): number {
    const at = normalizeAxis(operation, axis, this.rank);
    checkInt32(operation, "the index", index);
    if (index.rank !== this.rank || index.shape.some((length, i) => i !== at && length > this.shape[i]!)) {
      throw new ShapeError(
        `${operation}: index ${index} must have the rank of ${this} and be no longer than it except along axis ${axis}.`,
      );
    }
    return at;
  }
}

/**
 * x less its mean over `axes`: what is near to the mean is taken off before it and is exact for numbers of one size, so that
 * equal numbers become 0 and others keep the digits of their differences. (Shifted data, T. F. Chan et al. 1983.)
 */
export function centered<D extends DType>(x: Tensor<D>, axes: Axes): Tensor<D> {
  const near = x.sub(sampleMean(x, axes).detach());
  return near.sub(near.mean(axes, { keepdim: true }));
}

/** The mean of two elements, a quarter from the ends of `axes`, which are kept with length 1: little work, done again at each use. */
function sampleMean<D extends DType>(x: Tensor<D>, axes: Axes): Tensor<D> {
  const over = normalizeAxes("mean", axes, x.rank);
  if (over.some((axis) => x.shape[axis] === 0)) return x.sum(axes, { keepdim: true });
  const share = (quarters: number) => {
    const from = x.shape.map((length, axis) =>
      over.includes(axis) ? Math.floor((quarters * length) / 4) : 0,
    );
    const to = x.shape.map((length, axis) => (over.includes(axis) ? from[axis]! + 1 : length));
    return x.slice(from, to).mul(0.5);
  };
  return share(1).add(share(3));
}

refuseFurther(Tensor.prototype, {
  // Functions count their parameters up to the first that may be left out.
  clamp: 2,
  ...Object.fromEntries(
    ["sum", "prod", "amax", "amin", "mean", "var", "std", "logsumexp"].map((name) => [name, 2]),
  ),
  ...Object.fromEntries(
    ["max", "min", "argmax", "argmin", "tril", "triu", "toJSON"].map((name) => [name, 1]),
  ),
  flip: 1,
  transpose: 2,
  slice: 3,
  pad: 2,
  split: 2,
  at: Infinity,
});

/** The slices of `x` at `index`, a vector, along `axis`, for the public function of that name. */
export function select(operation: string, x: Node, axis: number, index: Node): Node {
  checkPicked(operation, x.shape, axis, index.shape);
  const shape = x.shape.map((length, i) => (i === axis ? index.shape[0]! : length));
  const column = movement.reshape(
    fromEither(`${operation}: index`, index, x.shape[axis]!),
    shape.map((length, i) => (i === axis ? length : 1)),
  );
  return reductions.gather(x, movement.expand(column, shape), axis);
}

function checkPicked(operation: string, shape: Shape, axis: number, index: Shape): void {
  if (shape[axis] === 0 && numel(index) > 0)
    throw new ShapeError(
      `${operation}: axis ${axis} of [${shape.join(",")}] has length 0; there is nothing at any index.`,
    );
}

function stopped(x: Node): Node {
  return makeNode({ kind: "identity", stops: true }, [x], x.shape, x.dtype);
}

function matmul(a: Node, b: Node): Node {
  const given = `left ${describe(a)}, right ${describe(b)}`;
  if (a.shape.length === 0 || b.shape.length === 0)
    throw new ShapeError(`matmul: takes vectors and matrices; given ${given}. Use mul for scalars.`);
  if (a.dtype !== b.dtype || a.dtype === "bool")
    throw new DTypeError(`matmul: operands need one numeric dtype; given ${given}. Cast with .astype(...).`);
  if (a.shape.length === 1)
    return dropAxis(matmul(movement.reshape(a, [1, ...a.shape]), b), -2 - (b.shape.length === 1 ? -1 : 0));
  if (b.shape.length === 1) return dropAxis(matmul(a, movement.reshape(b, [...b.shape, 1])), -1);
  const [m, k] = a.shape.slice(-2) as [number, number];
  const [inner, n] = b.shape.slice(-2) as [number, number];
  if (k !== inner) {
    throw new ShapeError(
      `matmul: inner axes differ: left ${describe(a)} has ${k}, right ${describe(b)} has ${inner}. Transpose one operand?`,
    );
  }
  const batchA = a.shape.slice(0, -2);
  if (b.shape.length === 2) {
    // One matrix on the right: the batch is more rows.
    const rows = movement.reshape(a, [numel(batchA) * m, k]);
    return movement.reshape(reductions.matmul(rows, b), [...batchA, m, n]);
  }
  const batch = broadcastShapes("matmul", batchA, b.shape.slice(0, -2));
  return reductions.matmul(movement.expand(a, [...batch, m, k]), movement.expand(b, [...batch, k, n]));
}

function dropAxis(x: Node, axis: number): Node {
  const at = axis + x.shape.length;
  return movement.reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  );
}

export type FloatTensor = Tensor<FloatDType>;
