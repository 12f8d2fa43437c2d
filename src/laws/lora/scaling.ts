import fc from "fast-check";
import { anyAlpha, scalingOf } from "../arbitrary/lora.ts";
import { powerOfTwo, rough } from "../arbitrary/values.ts";
import { close, identical, largest } from "../compare.ts";
import { type Law, LawError, law } from "../law.ts";
import { type Matrix, map, multiply, plus, times, transpose } from "../matrix.ts";
import { cases } from "./cases.ts";
import type { Subject } from "./layer.ts";
import { checkScaling, options, output, sizeOf } from "./output.ts";

export function scaled({ layer, tolerance }: Subject, rsLora: boolean): Law[] {
  const [formula, suffix] = rsLora ? ["alpha / sqrt(r)", ", with rsLoRA"] : ["alpha / r", ""];
  const forward = law(
    `forward applies the scaling once${suffix}`,
    `y = x W^T + s (x A^T) B^T with s = ${formula}`,
    cases({ rsLora }),
    async ({ config, params, x }) => {
      const built = await layer.build(params.weight, config);
      const y = await built.forward(params, x);
      close("y", y, output(params, x, scalingOf(config)), options(tolerance, config, params, x));
    },
  );
  const declared = law(
    `scaling is ${formula}${suffix}`,
    `scaling = ${formula}`,
    cases({ rsLora }),
    async ({ config, params }) => {
      const { scaling } = await layer.build(params.weight, config);
      checkScaling(scaling, config, tolerance);
    },
  );
  if (!layer.supports.includes("merge")) return [declared, forward];
  const merged = law(
    `merge equals forward${suffix}`,
    `x merge(W, A, B)^T = forward(x), s = ${formula}`,
    cases({ rsLora }),
    async ({ config, params, x }) => {
      const built = await layer.build(params.weight, config);
      if (!built.merge)
        throw new LawError(
          'The layer supports "merge", and build returned no merge. Return one, or drop "merge".',
        );
      const y = multiply(x, transpose(await built.merge(params)));
      close("x merge(W, A, B)^T", y, await built.forward(params, x), options(tolerance, config, params, x));
    },
  );
  return [declared, forward, merged];
}

export function linearInAlpha({ layer, tolerance }: Subject): Law {
  return law(
    "linear in alpha",
    "forward(t alpha) - x W^T = t (forward(alpha) - x W^T)",
    cases().chain((one) => fc.record({ one: fc.constant(one), t: fc.constantFrom(2, 3, 0.5) })),
    async ({ one: { config, params, x }, t }) => {
      const base = multiply(x, transpose(params.weight));
      const change = async (alpha: number) => {
        const built = await layer.build(params.weight, { ...config, alpha });
        return plus(await built.forward(params, x), times(-1, base));
      };
      const found = await change(t * config.alpha);
      const size = t * sizeOf(params, x, scalingOf(config)) + largest(base);
      close(`what the adapter adds at ${t} alpha`, found, times(t, await change(config.alpha)), {
        tolerance,
        size,
      });
    },
  );
}

export function linearInX({ layer, tolerance }: Subject): Law {
  // Formats that round more have less room too.
  const reach = tolerance > 1e-4 ? 3 : 30;
  return law(
    "linear in x, bitwise",
    "forward(t x) = t forward(x) to the last bit, t = 2^i",
    cases({ values: rough }).chain((one) => fc.record({ one: fc.constant(one), t: powerOfTwo(reach) })),
    async ({ one: { config, params, x }, t }) => {
      const built = await layer.build(params.weight, config);
      const y = await built.forward(params, x);
      identical(`y of ${t} x`, await built.forward(params, times(t, x)), times(t, y));
    },
  );
}

export function zeroB({ layer, tolerance }: Subject): Law {
  return law("B = 0 gives the base", "forward(W, A, 0) = x W^T", cases(), async ({ config, params, x }) => {
    const built = await layer.build(params.weight, config);
    const y = await built.forward({ ...params, B: map(params.B, () => 0) }, x);
    const base = multiply(x, transpose(params.weight));
    close("y", y, base, { tolerance, size: sizeOf(params, x, 0) });
  });
}

export function keepsNothing({ layer, tolerance }: Subject): Law {
  return law(
    "nothing is kept from call to call",
    "forward is that of a fresh layer, whatever was passed to forward and merge before",
    cases().chain((one) => fc.record({ one: fc.constant(one), t: fc.constantFrom(-2, 0.5) })),
    async ({ one: { config, params, x }, t }) => {
      const other = { weight: times(t, params.weight), A: times(-t, params.A), B: times(t, params.B) };
      const calls = [
        { params, x },
        { params: other, x: times(t, x) },
        { params, x },
      ];
      const used = await layer.build(params.weight, config);
      for (const call of calls) {
        const fresh = await layer.build(params.weight, config);
        const size = sizeOf(call.params, call.x, scalingOf(config));
        const alike = (what: string, found: Matrix, due: Matrix) =>
          close(`${what} of a layer that was used before`, found, due, { tolerance, size });
        alike("y", await used.forward(call.params, call.x), await fresh.forward(call.params, call.x));
        if (used.merge && fresh.merge)
          alike("W", await used.merge(call.params), await fresh.merge(call.params));
      }
    },
  );
}

export function ownScaling({ layer, tolerance }: Subject): Law {
  return law(
    "each layer keeps its own scaling",
    "building a second layer leaves the first one as it was",
    cases().chain((one) => fc.record({ one: fc.constant(one), other: anyAlpha(one.config.r) })),
    async ({ one: { config, params, x }, other }) => {
      const built = await layer.build(params.weight, config);
      const before = await built.forward(params, x);
      const second = await layer.build(params.weight, { ...config, alpha: other });
      await second.forward(params, x);
      const size = sizeOf(params, x, scalingOf(config));
      close("y of the first layer", await built.forward(params, x), before, { tolerance, size });
    },
  );
}
