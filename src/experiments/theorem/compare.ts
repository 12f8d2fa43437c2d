import type { Comparison, Expectation } from "./results.ts";
import type { Trained } from "./train.ts";

type Measured = Omit<Comparison, "reference" | "gauge" | "expected" | "asPredicted">;

/**
 * Compares a run with its reference: losses as they are, parameters after division by the factor of the gauge
 * that `factorOf` gives for their path.
 */
export function compare(run: Trained, reference: Trained, factorOf: (path: string) => number): Measured {
  const parameters = run.snapshots.map((snapshot, i) =>
    compareTensors(snapshot.tensors, reference.snapshots[i]!.tensors, factorOf),
  );
  return {
    lossesBitwise:
      equalBits(run.losses, reference.losses) &&
      equalBits(run.validation.losses, reference.validation.losses),
    lossDeviation: largest(
      run.losses,
      (loss, i) => Math.abs(loss - reference.losses[i]!) / Math.abs(reference.losses[i]!),
    ),
    parameterSteps: run.snapshots.map(({ step }) => step),
    parametersBitwise: parameters.every(({ bitwise }) => bitwise),
    parameterDeviation: largest(parameters, ({ deviation }) => deviation),
  };
}

/**
 * Whether the measurements are as the theory says. A run whose losses are not finite proves nothing, so that it
 * is never as predicted.
 */
export function asPredicted(expected: Expectation, measured: Measured): boolean {
  const { lossDeviation, lossesBitwise, parametersBitwise, parameterDeviation } = measured;
  if (!Number.isFinite(lossDeviation) || !Number.isFinite(parameterDeviation)) return false;
  switch (expected.kind) {
    case "bitwise":
      return lossesBitwise && parametersBitwise;
    case "rounding":
      return lossDeviation <= expected.bound;
    case "different":
      return lossDeviation > expected.bound;
    default:
      return expected satisfies never;
  }
}

type Tensors = ReadonlyMap<string, Float32Array>;

function compareTensors(tensors: Tensors, references: Tensors, factorOf: (path: string) => number) {
  const each = [...tensors].map(([path, values]) => {
    const c = factorOf(path);
    const reference = references.get(path)!;
    // Exact for powers of two; else rounded in float64, which is far finer than what is compared.
    const rescaled = Float64Array.from(values, (value) => value / c);
    const distance = norm(rescaled.map((value, i) => value - reference[i]!));
    return {
      bitwise: equalBits(rescaled, reference),
      deviation: distance === 0 ? 0 : distance / norm(reference),
    };
  });
  return {
    bitwise: each.every(({ bitwise }) => bitwise),
    deviation: largest(each, ({ deviation }) => deviation),
  };
}

/** Object.is tells 0 from -0 and takes NaN for equal to itself, as bits do. */
function equalBits(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  return a.length === b.length && Array.prototype.every.call(a, (x: number, i) => Object.is(x, b[i]));
}

/** The largest value, at least 0; NaN if one is. */
function largest<T>(items: ArrayLike<T>, value: (item: T, i: number) => number): number {
  let result = 0;
  for (let i = 0; i < items.length; i++) {
    result = Math.max(result, value(items[i]!, i));
  }
  return result;
}

function norm(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
}
