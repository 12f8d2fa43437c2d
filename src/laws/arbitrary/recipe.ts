import fc from "fast-check";
import type { Clip, Recipe } from "../../gauge/recipe.ts";
import type { OptimizerConfig } from "../../optim/make.ts";
import { alpha } from "./lora.ts";
import { type OptimizerArbitraryOptions, optimizer } from "./optimizer.ts";

/**
 * A recipe: adapter, optimizer, rates by role, clipping. Every one is valid. With `exact`, each has a partner
 * under every gauge of moderate factors: no clipping by the plain global norm, and no trust ratio from zero.
 */
export function recipe(options: OptimizerArbitraryOptions = {}): fc.Arbitrary<Recipe> {
  const { exact = false } = options;
  return fc.tuple(fc.integer({ min: 2, max: 4 }), optimizer(options)).chain(([r, config]) => {
    const start = exact && config.name === "lamb" ? fc.constant("random" as const) : inits;
    const adapter = fc.record({
      alpha: alpha(r),
      rsLora: fc.boolean(),
      init: start,
      branchBias: fc.constant(false),
      clip: fc.option(clip(exact), { nil: undefined }),
      ratio: fc.constantFrom(1, 4, 16),
    });
    return adapter.map(({ clip, ratio, ...own }) => build({ r, ...own }, config, ratio, clip));
  });
}

const inits = fc.constantFrom("standard" as const, "swapped" as const, "random" as const);

function build(
  adapter: Pick<Recipe, "r" | "alpha" | "rsLora" | "init" | "branchBias">,
  config: OptimizerConfig,
  ratio: number,
  clip: Clip | undefined,
): Recipe {
  const groups = ratio === 1 ? undefined : { B: { lr: config.lr * ratio } };
  // Name and hyperparameters are of one optimizer, as in the config.
  return { ...adapter, optimizer: config, ...(groups && { groups }), ...(clip && { clip }) } as Recipe;
}

function clip(exact: boolean): fc.Arbitrary<Clip> {
  const bound = fc.constantFrom(0.1, 1);
  const exactOnes: fc.Arbitrary<Clip>[] = [
    fc.record({ kind: fc.constant("value" as const), maxValue: bound }),
    fc.record({ kind: fc.constant("tensorNorm" as const), maxNorm: bound }),
    fc.record({
      kind: fc.constant("globalNorm" as const),
      maxNorm: bound,
      weights: fc.constant({ A: 1, B: 1 }),
    }),
  ];
  const plain = fc.record({ kind: fc.constant("globalNorm" as const), maxNorm: bound });
  return exact ? fc.oneof(...exactOnes) : fc.oneof(plain, ...exactOnes);
}
