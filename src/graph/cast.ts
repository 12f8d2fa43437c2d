import { coerce, computeDType, convert, type DType, holds, isFloat, isNarrow } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { describe } from "../base/shape.ts";
import { constant, makeNode, type Node } from "./node.ts";

/**
 * Converts to `dtype`, as the caller asks for. Floats to integers truncate and saturate, NaN is 0 (`convert`); integers
 * keep their 32 bits; anything to bool asks whether it is not 0.
 */
export function cast(x: Node, dtype: DType): Node {
  if (x.dtype === dtype) return x;
  if (dtype === "number") {
    throw new DTypeError(
      `cast: ${describe(x)} cannot become a host number without being read. Use await .item().`,
    );
  }
  // What is passed when a program runs stays one number, however often it is used.
  if (x.operation.kind === "constant" && !(x.operation.lifted && isFloat(dtype))) {
    const { value, lifted } = x.operation;
    const own = coerce(value, x.dtype);
    // Floats keep their float64 value: it is rounded once, where it is used.
    return constant(isFloat(dtype) ? own : (isFloat(x.dtype) ? convert : coerce)(own, dtype), dtype, lifted);
  }
  return makeNode({ kind: "cast" }, [x], x.shape, dtype);
}

/**
 * A cotangent as that of a value of `dtype`.
 *
 * @throws DTypeError where that is a number of the host, and the cotangent is on a device.
 */
export function cotangent(g: Node, dtype: DType): Node {
  if (dtype === "number" && g.dtype !== "number")
    throw new DTypeError(
      `grad: a number of the host met ${describe(g)}, so its gradient is not known to the host. Differentiate with respect to a tensor, such as tensor(0.1) in place of scalar(0.1).`,
    );
  return cast(g, dtype);
}

/**
 * A number of the host as the dtype of the tensor that it meets. It keeps its meaning, or it is refused: floats take
 * any number, rounded to the nearest, but none that only rounding makes infinite; integers take integers of their
 * range, bool takes 0 and 1. What is computed of float16 is computed in float32, and there the number is one too;
 * where it is compared, it is rounded as the values are.
 *
 * @throws DTypeError for a number that the dtype does not hold; for one that is known only when a program runs, then.
 */
export function meet(x: Node, dtype: DType, operation: string, compares = false): Node {
  if (x.dtype !== "number" || dtype === "number") return x;
  if (x.operation.kind === "constant") {
    const { value, lifted } = x.operation;
    checkHeld(value, computeDType(dtype), operation);
    if (isNarrow(dtype) && compares) return cast(constant(coerce(value, dtype), "number", lifted), dtype);
  } else if (!isFloat(dtype)) return makeNode({ kind: "cast", meets: operation }, [x], x.shape, dtype);
  return cast(x, dtype);
}

/** Checks that a dtype holds a number. */
export function checkHeld(value: number, dtype: DType, operation: string): void {
  if (holds(dtype, value)) return;
  const what = Number.isFinite(value) ? String(value) : `${value}, which is no integer`;
  const advice =
    dtype === "bool"
      ? 'Use 0 or 1, or cast the tensor with .astype("float32")'
      : isFloat(dtype)
        ? "Use a smaller number, or Infinity if that is meant"
        : 'Round the number, or cast the tensor with .astype("float32")';
  throw new DTypeError(`${operation}: ${dtype} does not hold the number ${what}. ${advice}.`);
}

/** A number that is about to have axes, or to be computed of values of a device, is a float32 there. */
export function onDevice(x: Node): Node {
  return x.dtype === "number" ? cast(x, "float32") : x;
}

/** The number, if the graph knows it. */
export function hostValue(x: Node): number | undefined {
  return x.operation.kind === "constant" ? x.operation.value : undefined;
}
