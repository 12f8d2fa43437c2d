import { isUnusual, isUnusualRank, type LoraConfig, namesOf } from "../arbitrary/lora.ts";
import { untouched } from "../compare.ts";
import { type Law, law, orRefused } from "../law.ts";
import { cases } from "./cases.ts";
import type { LayerUnderTest, LoraParams } from "./layer.ts";

/**
 * The layer on copies of its arguments: if it changes them, one law says so, and no other one fails for it. What
 * a layer takes it has to honour; what is `unusual` it may refuse.
 */
export function guarded(layer: LayerUnderTest): LayerUnderTest {
  return {
    ...layer,
    build: async (weight, config) => {
      const built = await orRefused(unusual(config), () =>
        layer.build(structuredClone(weight), structuredClone(config)),
      );
      const { forward, merge } = built;
      return {
        ...built,
        forward: (params, x) => forward.call(built, structuredClone(params), structuredClone(x)),
        ...(merge && { merge: (params: LoraParams) => merge.call(built, structuredClone(params)) }),
      };
    },
  };
}

/**
 * A negative or fractional alpha, a rank above the smaller side of the weight, and patterns with names that are no
 * layer's, or with two that are this one's.
 */
function unusual({ r, alpha, alphaPattern = {}, rankPattern = {}, path, ...sides }: LoraConfig): boolean {
  const own = namesOf(path);
  return (
    [alpha, ...Object.values(alphaPattern)].some(isUnusual) ||
    [r, ...Object.values(rankPattern)].some((rank) => isUnusualRank(rank, sides)) ||
    [alphaPattern, rankPattern].some((pattern) => {
      const names = Object.keys(pattern);
      return names.length > 1 || names.some((name) => !own.includes(name));
    })
  );
}

export function leavesArguments(layer: LayerUnderTest): Law {
  return law(
    "arguments stay as they were",
    "build, forward and merge change nothing that they are given",
    cases(),
    async (drawn) => {
      // A copy, so that the counterexample is what was drawn.
      const { config, params, x } = structuredClone(drawn);
      await untouched({ config, params, x }, async () => {
        const built = await orRefused(unusual(config), () => layer.build(params.weight, config));
        await built.forward(params, x);
        await built.merge?.(params);
      });
    },
  );
}
