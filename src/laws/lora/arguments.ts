import { untouched } from "../compare.ts";
import { type Law, law } from "../law.ts";
import { cases } from "./cases.ts";
import type { LoraLayer, LoraParams } from "./layer.ts";

/** The layer on copies of its arguments: if it changes them, one law says so, and no other one fails for it. */
export function guarded(layer: LoraLayer): LoraLayer {
  return {
    ...layer,
    build: async (weight, config) => {
      const built = await layer.build(structuredClone(weight), structuredClone(config));
      const { forward, merge } = built;
      return {
        ...built,
        forward: (params, x) => forward.call(built, structuredClone(params), structuredClone(x)),
        ...(merge && { merge: (params: LoraParams) => merge.call(built, structuredClone(params)) }),
      };
    },
  };
}

export function leavesArguments(layer: LoraLayer): Law {
  return law(
    "arguments stay as they were",
    "build, forward and merge change nothing that they are given",
    cases(),
    async (drawn) => {
      // A copy, so that the counterexample is what was drawn.
      const { config, params, x } = structuredClone(drawn);
      await untouched({ config, params, x }, async () => {
        const built = await layer.build(params.weight, config);
        await built.forward(params, x);
        await built.merge?.(params);
      });
    },
  );
}
