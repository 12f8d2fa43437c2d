import fc from "fast-check";
import { gauge } from "../arbitrary/gauge.ts";
import { scalingOf } from "../arbitrary/lora.ts";
import { rough } from "../arbitrary/values.ts";
import { close, identical } from "../compare.ts";
import { type Law, law } from "../law.ts";
import { type Matrix, times } from "../matrix.ts";
import { type Case, cases } from "./cases.ts";
import type { LayerUnderTest, Subject } from "./layer.ts";
import { sizeOf } from "./output.ts";

export function bitwiseGauge({ layer }: Subject): Law {
  return law(
    "gauge by powers of two, bitwise",
    "forward(a A, b B, alpha / (a b)) = forward(A, B, alpha), to the last bit",
    cases({ values: rough }).chain((one) =>
      fc.record({ one: fc.constant(one), gauge: gauge({ powersOfTwo: true }) }),
    ),
    async ({ one, gauge }) => {
      const [y, partner] = await gauged(layer, one, gauge);
      identical("y of the gauge partner", partner, y);
    },
  );
}

export function anyGauge({ layer, tolerance }: Subject): Law {
  return law(
    "gauge by any factors",
    "forward(a A, b B, alpha / (a b)) = forward(A, B, alpha), to rounding",
    cases().chain((one) => fc.record({ one: fc.constant(one), gauge: gauge({ powersOfTwo: false }) })),
    async ({ one, gauge }) => {
      const [y, partner] = await gauged(layer, one, gauge);
      const size = sizeOf(one.params, one.x, scalingOf(one.config));
      close("y of the gauge partner", partner, y, { tolerance, size });
    },
  );
}

async function gauged(
  layer: LayerUnderTest,
  { config, params, x }: Case,
  { a, b, k }: { readonly a: number; readonly b: number; readonly k: number },
): Promise<[y: Matrix, partner: Matrix]> {
  const one = await layer.build(params.weight, config);
  const y = await one.forward(params, x);
  const other = await layer.build(params.weight, { ...config, alpha: k * config.alpha });
  const moved = { weight: params.weight, A: times(a, params.A), B: times(b, params.B) };
  return [y, await other.forward(moved, x)];
}
