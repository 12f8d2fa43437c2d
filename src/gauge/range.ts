import { ValueError } from "../base/errors.ts";

/** Smallest and largest normal float32. */
const smallest = 2 ** -126;
const largest = (2 - 2 ** -23) * 2 ** 127;

/**
 * Returns `x` if it is 0 or a normal float32 in size: what every device keeps to full precision.
 *
 * @throws ValueError otherwise, since a subnormal has fewer digits, or is flushed to 0.
 */
export function normal(operation: string, name: string, x: number): number {
  const size = Math.abs(x);
  if (size === 0 || (size >= smallest && size <= largest)) return x;
  throw new ValueError(
    `${operation}: ${name} becomes ${x}, which is outside the normal range of float32, 2^-126 to 2^128. Use a gauge with factors nearer to 1.`,
  );
}
