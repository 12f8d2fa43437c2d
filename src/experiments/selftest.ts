import {
  coerce,
  computeDType,
  type DeviceDType,
  type DType,
  type FloatDType,
  floatRange,
  type HostArray,
  hostArray,
  isFloat,
  isNarrow,
} from "../base/dtype.ts";
import { messageOf } from "../base/errors.ts";
import { generator } from "../base/generator.ts";
import { numel } from "../base/shape.ts";
import type { ScalarOp, TypeRule } from "../graph/node.ts";
import { scalarOps } from "../graph/scalar.ts";
import type { Device } from "../runtime/device.ts";
import { arange, tensor } from "../tensor/creation.ts";
import { bits, key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { referenceValues } from "./reference.ts";

/** Where the arguments of an operation are drawn from. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Arguments that most operations take; magnitudes from 1e-6 on. */
const ordinary: Range = { min: -100, max: 100 };
const positive: Range = { min: 1e-30, max: 1e30 };

/**
 * The ranges, argument by argument, on which the error of a row of the op table stays within its `ulp`; for rows
 * that are not here, `ordinary` ones.
 */
const ranges: Readonly<Record<string, readonly Range[]>> = {
  exp: [{ min: -87, max: 88 }],
  expm1: [{ min: -87, max: 88 }],
  log: [positive],
  log1p: [{ min: -0.999, max: 1e30 }],
  sqrt: [positive],
  pow: [
    { min: 1e-3, max: 100 },
    { min: -8, max: 8 },
  ],
  sin: [{ min: -100, max: 100 }],
  cos: [{ min: -100, max: 100 }],
  sigmoid: [{ min: -87, max: 100 }],
  tanh: [{ min: -20, max: 20 }],
  erf: [{ min: -6, max: 6 }],
  erfinv: [{ min: -0.9999, max: 0.9999 }],
  asin: [{ min: -1, max: 1 }],
  acos: [{ min: -1, max: 1 }],
};

export function rangesOf(op: ScalarOp): readonly Range[] {
  return Array.from({ length: op.row.arity }, (_, i) => ranges[op.row.name]?.[i] ?? ordinary);
}

/**
 * Arguments for an operation: half of them spread evenly over the range, half evenly in their logarithm and of
 * both signs, so that small ones are met too. Integers take any 32 bits, shift counts 0 to 31.
 */
export function samples(
  op: ScalarOp,
  argument: number,
  dtype: DeviceDType,
  count: number,
  seed = 1,
): HostArray {
  const random = generator(seed * 31 + argument);
  const { min, max } = rangesOf(op)[argument]!;
  const values = hostArray(dtype, count);
  const smallest = Math.log(Math.max(min, 1e-6));
  for (let i = 0; i < count; i++) {
    if (dtype === "bool") values[i] = random() < 0.5 ? 0 : 1;
    else if (dtype === "int32" || dtype === "uint32") {
      const word = Math.floor(random() * 2 ** 32);
      values[i] = coerce(op.row.name.endsWith("Shift") && argument === 1 ? word % 32 : word, dtype);
    } else if (i % 2 === 0) values[i] = min + random() * (max - min);
    else {
      const negative = min < 0 && random() < 0.5;
      const largest = Math.log(negative ? -min : max);
      values[i] = Math.exp(smallest + random() * (largest - smallest)) * (negative ? -1 : 1);
    }
  }
  return values;
}

/** The dtypes that an operation is tried with. */
export function dtypesOf(op: ScalarOp, floats: readonly FloatDType[]): readonly DeviceDType[] {
  const integers: readonly DeviceDType[] = ["int32", "uint32"];
  const byRule: Readonly<Record<TypeRule, readonly DeviceDType[]>> = {
    float: floats,
    test: floats,
    numeric: [...floats, ...integers],
    compare: [...floats, ...integers],
    bits: [...integers, "bool"],
    integer: integers,
    select: [...floats, ...integers, "bool"],
    any: [...floats, ...integers, "bool"],
    bitcast: ["float32", "uint32"],
    code: ["uint32"],
  };
  return byRule[op.row.types];
}

/** An operation applied to arguments from its ranges. */
export function apply(op: ScalarOp, dtype: DeviceDType, count: number, seed = 1): Tensor {
  const args = Array.from({ length: op.row.arity }, (_, i) => {
    const own = op.row.types === "select" && i === 0 ? "bool" : dtype;
    return tensor(samples(op, i, own, count, seed), { dtype: own }).node;
  });
  return new Tensor(op(...args));
}

/**
 * Operations that are no rows of the op table, on small whole numbers, so that every order of summation gives the
 * same: results are exact.
 */
export const structures: Readonly<Record<string, (dtype: DeviceDType) => Tensor>> = {
  cast: (dtype) => whole([40], dtype).astype("int32").add(1).astype(dtype).ne(0).astype("float32"),
  arange: (dtype) => arange(33, { start: 2, step: 3, dtype }),
  reshape: (dtype) => whole([4, 6], dtype).reshape([3, 8]).add(1),
  permute: (dtype) => whole([3, 4, 5], dtype).permute([2, 0, 1]).add(1),
  expand: (dtype) => whole([3, 1, 5], dtype).expand([2, 3, 4, 5]).add(1),
  flip: (dtype) => whole([3, 7], dtype).flip([0, 1]),
  slice: (dtype) => whole([9, 11], dtype).slice([1, 2], [8, 11], [2, 3]),
  pad: (dtype) =>
    whole([3, 4], dtype)
      .pad(
        [
          [1, 2],
          [0, 3],
        ],
        7,
      )
      .mul(2),
  sum: (dtype) => whole([17, 9], dtype).sum(0),
  "sum of many": (dtype) => whole([70_000], dtype).sum(),
  prod: (dtype) => whole([5, 8], dtype, 3).prod(1),
  amax: (dtype) => whole([17, 300], dtype).amax(1),
  amin: (dtype) => whole([17, 300], dtype).amin(0),
  argmax: (dtype) => whole([17, 30], dtype).argmax(1),
  matmul: (dtype) => whole([33, 65], dtype).matmul(whole([65, 17], dtype)),
  "matmul, batched": (dtype) => whole([2, 3, 5, 4], dtype).matmul(whole([3, 4, 6], dtype)),
  cumsum: (dtype) => whole([4, 50], dtype).cumsum(1),
  gather: (dtype) => whole([6, 5], dtype).gather(0, indices([9, 5], 6)),
  scatterAdd: (dtype) => whole([6, 5], dtype).scatterAdd(0, indices([40, 5], 6), whole([40, 5], dtype)),
};

/** Whole numbers around zero (from 0 for uint32), fewer than `count` on each side. */
function whole(shape: readonly number[], dtype: DeviceDType, count = 8): Tensor {
  const random = generator(shape.length + count);
  const length = numel(shape);
  const values = hostArray(dtype, length);
  for (let i = 0; i < length; i++)
    values[i] = Math.floor(random() * (2 * count - 1)) - (dtype === "uint32" ? 0 : count - 1);
  return tensor(values, { shape, dtype });
}

function indices(shape: readonly number[], length: number): Tensor<"int32"> {
  const random = generator(length);
  const count = numel(shape);
  return tensor(
    Int32Array.from({ length: count }, () => Math.floor(random() * length)),
    { shape, dtype: "int32" },
  );
}

/** Distance in units in the last place of the exact value; 0 or Infinity for what is not a finite float. */
export function ulpError(found: number, exact: number, dtype: DType): number {
  const rounded = coerce(exact, dtype);
  if (Object.is(found, rounded) || found === rounded)
    return isFloat(dtype) ? Math.min(0.5, distance(found, exact, dtype)) : 0;
  if (!isFloat(dtype) || !Number.isFinite(found) || !Number.isFinite(rounded)) return Infinity;
  return distance(found, exact, dtype);
}

function distance(found: number, exact: number, dtype: DType): number {
  if (!Number.isFinite(found)) return 0;
  const { digits, least } = floatRange(dtype as FloatDType);
  const exponent = exact === 0 ? least : Math.max(Math.floor(Math.log2(Math.abs(exact))), least);
  return Math.abs(found - exact) / 2 ** (exponent + 1 - digits);
}

const digits = (dtype: DType) => floatRange(dtype as FloatDType).digits; // a narrow one, or what it is computed in

/** How an operation did on a device. */
export interface OpResult {
  readonly name: string;
  readonly dtype: DType;
  /** Largest error against the reference evaluator, in units in the last place; 0.5 is correct rounding. */
  readonly ulp: number;
  /** What the op table promises. */
  readonly allowed: number;
  /** Why there is no error to report. */
  readonly problem?: string;
}

export function passes({ ulp, allowed, problem }: OpResult): boolean {
  return problem === undefined && ulp <= allowed;
}

/** One operation with its arguments. */
export interface Trial {
  readonly name: string;
  readonly dtype: DeviceDType;
  readonly allowed: number;
  readonly build: () => Tensor;
}

/** Every row of the op table and every other operation, with `count` arguments each. */
export function trials(floats: readonly FloatDType[], count = 512): Trial[] {
  const rows = [...scalarOps].flatMap(([name, op]) =>
    dtypesOf(op, floats).map((dtype): Trial => {
      // A narrow float rounds what a wider one gives.
      const allowed = isNarrow(dtype)
        ? 0.5 + op.row.ulp / 2 ** (digits(computeDType(dtype)) - digits(dtype))
        : Math.max(op.row.ulp, 0.5);
      return { name, dtype, allowed, build: () => apply(op, dtype, count) };
    }),
  );
  const others = Object.entries(structures).flatMap(([name, build]) =>
    [...floats, "int32" as const].map(
      // Sums of many leave the whole numbers that a narrow float holds.
      (dtype): Trial => ({ name, dtype, allowed: isNarrow(dtype) ? 0.5 : 0, build: () => build(dtype) }),
    ),
  );
  const random = () => bits(key(7).fold("self-test"), [count]);
  return [...rows, ...others, { name: "random bits", dtype: "uint32", allowed: 0, build: random }];
}

/** Runs every trial on a device, against the reference evaluator. Takes a second or two. */
export async function selfTest(
  device: Device,
  progress: (done: number, total: number) => void = () => {},
): Promise<OpResult[]> {
  const all = trials(device.backend.target.floats);
  const results: OpResult[] = [];
  for (const [i, trial] of all.entries()) {
    progress(i, all.length);
    results.push(await measure(trial, device));
  }
  return results;
}

/** The largest error of one trial on a device. */
export async function measure({ name, dtype, allowed, build }: Trial, device: Device): Promise<OpResult> {
  try {
    const result = build();
    const [exact] = await referenceValues([result]);
    await tree.evaluate([result], device);
    const found = await result.data();
    result.dispose();
    let ulp = 0;
    for (let i = 0; i < found.length; i++) ulp = Math.max(ulp, ulpError(found[i]!, exact![i]!, result.dtype));
    return { name, dtype, ulp, allowed };
  } catch (error) {
    return {
      name,
      dtype,
      ulp: Infinity,
      allowed,
      problem: messageOf(error),
    };
  }
}
