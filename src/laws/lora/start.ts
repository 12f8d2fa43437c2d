import fc from "fast-check";
import { scalingOf } from "../arbitrary/lora.ts";
import { powerOfTwo } from "../arbitrary/values.ts";
import { close, difference, identical, largest } from "../compare.ts";
import { type Law, LawError, law } from "../law.ts";
import { multiply, transpose } from "../matrix.ts";
import { cases } from "./cases.ts";
import type { Subject } from "./layer.ts";
import { sizeOf } from "./output.ts";

export function start({ layer, tolerance }: Subject, init: "zero" | "residual"): Law {
  const statement =
    init === "zero" ? "W' = W, and A or B is 0, not both" : "W' + s B A = W, at every scaling s";
  const drawn = cases({ rsLora: layer.supports.includes("rsLora") ? "either" : false });
  return law(`initial values: ${init}`, statement, drawn, async ({ config, params: { weight }, x }) => {
    const built = await layer.build(weight, config);
    const { params } = built;
    if (init === "zero") {
      identical("W'", params.weight, weight);
      const zeroSides = [params.A, params.B].filter((side) => largest(side) === 0).length;
      if (zeroSides !== 1)
        throw new LawError(
          zeroSides === 0
            ? "Neither A nor B starts at zero."
            : "Both A and B start at zero: their gradients are zero for good.",
        );
    } else if (Math.min(largest(params.A), largest(params.B)) === 0) {
      throw new LawError("A or B starts at zero: there is nothing of the weight in the adapter.");
    }
    const expected = multiply(x, transpose(weight));
    const size = Math.max(sizeOf(params, x, scalingOf(config)), sizeOf({ ...params, weight }, x, 0));
    close("y of the fresh layer", await built.forward(params, x), expected, { tolerance, size });
  });
}
export function startWithoutAlpha({ layer }: Subject): Law {
  return law(
    "initial values do not depend on alpha",
    "A, B and W at the start are the same for every alpha",
    cases().chain((one) => fc.record({ one: fc.constant(one), t: powerOfTwo(3) })),
    async ({ one: { config, params }, t }) => {
      const first = await layer.build(params.weight, config);
      const second = await layer.build(params.weight, { ...config, alpha: t * config.alpha });
      const at = difference(first.params, second.params);
      if (at !== undefined)
        throw new LawError(
          `params${at} differs between alpha ${config.alpha} and ${t * config.alpha}, seed ${config.seed}.`,
        );
    },
  );
}
