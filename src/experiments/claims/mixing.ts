import { type MatrixGauge, matrix } from "../../gauge/index.ts";
import * as random from "../../tensor/random.ts";

/** M with independent normal entries, by which A becomes M A and B becomes B M^-1. */
export async function mixture(r: number, seed: number): Promise<MatrixGauge> {
  const entries = [...(await random.normal(random.key(3).fold(seed), [r, r]).data())];
  return matrix(Array.from({ length: r }, (_, i) => entries.slice(i * r, (i + 1) * r)));
}

/** M a multiple of 1: A grows by a factor, and B falls by it. */
export function multiple(r: number, factor: number): MatrixGauge {
  return matrix(
    Array.from({ length: r }, (_, i) => Array.from({ length: r }, (_, j) => (i === j ? factor : 0))),
  );
}
