import { ValueError } from "../base/errors.ts";
import { adapterTensors } from "../lora/kinds/index.ts";
import type { AdapterTensor } from "../lora/kinds/kind.ts";
import type { Role } from "../lora/roles.ts";

/**
 * A symmetry of a LoRA layer: positive numbers with k a b = 1 that act by
 *
 *     A' = a A,   B' = b B,   alpha' = k alpha
 *
 * and leave the layer's function as it is.
 */
export interface Gauge {
  readonly a: number;
  readonly b: number;
  readonly k: number;
}

/**
 * The gauge of factors a on A and b on B; k is 1 / (a b).
 *
 * @throws ValueError if a factor is not positive and finite.
 * @example
 * of({ a: 2, b: 0.25 }); // { a: 2, b: 0.25, k: 2 }
 */
export function of({ a, b }: Pick<Gauge, "a" | "b">): Gauge {
  return checked("gauge.of", { a, b, k: 1 / (a * b) });
}

/**
 * The gauge that multiplies alpha by k and shares the rest evenly: a = b = 1 / sqrt(k). It is bitwise when k is
 * a power of four.
 */
export function common(k: number): Gauge {
  const factor = 1 / Math.sqrt(k);
  return checked("gauge.common", { a: factor, b: factor, k });
}

/**
 * The gauge that multiplies alpha by k and leaves A alone: a = 1, b = 1 / k. Where B starts at zero it changes
 * no initial value.
 */
export function onlyB(k: number): Gauge {
  return checked("gauge.onlyB", { a: 1, b: 1 / k, k });
}

/** The gauge that leads back. */
export function inverse(g: Gauge): Gauge {
  return checked("gauge.inverse", { a: 1 / g.a, b: 1 / g.b, k: 1 / g.k });
}

/**
 * The constant c by which the gauge multiplies a parameter of that role: a for A, b for B, 1 / k for a bias
 * inside the scaled branch, 1 for everything outside adapters. Its gradient is divided by c.
 */
export function factor(g: Gauge, role: Role): number {
  const { gauge = {} }: Partial<AdapterTensor> = adapterTensors.find((tensor) => tensor.role === role) ?? {};
  return (["a", "b", "k"] as const).reduce((c, name) => {
    const power = gauge[name];
    return power === undefined ? c : c * (power > 0 ? g[name] : 1 / g[name]);
  }, 1);
}

/**
 * Whether all factors are powers of two. Then multiplying by them commutes with rounding, and a run and its
 * gauge partner agree bit for bit as long as no number leaves the normal range; otherwise up to rounding.
 */
export function bitwise(g: Gauge): boolean {
  return [g.a, g.b, g.k].every((x) => 2 ** Math.round(Math.log2(x)) === x);
}

/**
 * Checks that a gauge is one, wherever it came from, and returns it.
 *
 * @throws ValueError if a factor is not positive and finite, or k a b is not 1 up to rounding.
 */
export function checked(operation: string, g: Gauge): Gauge {
  for (const name of ["a", "b", "k"] as const) {
    if (!(g[name] > 0 && Number.isFinite(g[name]))) {
      throw new ValueError(
        `${operation}: ${name} is ${g[name]}; the factors of a gauge are positive and finite.`,
      );
    }
  }
  // 1/sqrt(k) twice and two products: four roundings.
  if (!(Math.abs(g.k * g.a * g.b - 1) <= 4 * Number.EPSILON)) {
    throw new ValueError(
      `${operation}: k a b is ${g.k * g.a * g.b} for a = ${g.a}, b = ${g.b}, k = ${g.k}; it must be 1. Use gauge.of({ a, b }).`,
    );
  }
  return g;
}
