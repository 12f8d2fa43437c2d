import { bestRate, train } from "../exponents/rates.ts";
import { defaultSetting, type Setting } from "../exponents/setting.ts";
import { mean } from "../exponents/statistics.ts";
import { overSeeds } from "./checks.ts";
import type { Context } from "./claim.ts";

// What whole trainings of a regression with six-factor inputs find, for claims on alpha and rank.

/** The article's alphas and ranks. */
const alphas = [0.5, 2, 8, 32, 128, 256, 512];
/** Ranks at which whole grids are trained; 128 would cost more than all others together. */
export const trainedRanks = [2, 8, 32];
const articleRanks = [2, 8, 32, 128];

/** Six-factor regression of width 256, from B = 0. */
export const regression: Setting = { ...defaultSetting, n: 256, outputs: 32, seed: 0 };

/** The best alpha at fixed rates, between powers of two, from a few problems. */
export async function bestAlpha(
  setting: Setting,
  rates: { readonly a: number; readonly b: number },
): Promise<number> {
  const values = Array.from({ length: 17 }, (_, i) => 2 ** (i - 2));
  const cells = values.map((alpha) => ({ ...rates, alpha }));
  const problems: number[][] = [];
  for (let i = 0; i < 4; i++) problems.push(await train({ ...setting, seed: 4 * setting.seed + i }, cells));
  const losses = values.map((_, i) => Math.exp(mean(problems.map((each) => Math.log(each[i]!)))));
  return bestRate({ rates: values, losses });
}

/** Ranks of the article at which some larger alpha is not better. */
export async function ranksAgainst(context: Context, lr: number): Promise<number> {
  const against = await overSeeds({ ...context, seeds: Math.min(context.seeds, 3) }, async (seed) => {
    let count = 0;
    for (const r of articleRanks) {
      const cells = alphas.map((alpha) => ({ a: lr, b: lr, alpha }));
      const losses = await train({ ...regression, r, seed }, cells);
      if (losses.some((loss, i) => i > 0 && !(loss < losses[i - 1]!))) count++;
    }
    return count;
  });
  return against.value;
}

/** Loss after 50 steps relative to the start, at alphas for which both scalings agree at rank 8. */
export async function lossAt(mode: Setting["scaling"], r: number, lr: number, seed: number): Promise<number> {
  const alpha = mode === "lora" ? 8 : Math.sqrt(8);
  const setting = { ...regression, n: 1024, r, alpha, scaling: mode, seed };
  const [loss] = await train(setting, [{ a: lr, b: lr }], { steps: 50 });
  return loss!;
}
