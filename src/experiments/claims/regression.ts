import { bestRate, train } from "../exponents/rates.ts";
import { defaultSetting, type Setting } from "../exponents/setting.ts";
import { mean } from "../exponents/statistics.ts";
import { seedsOf } from "../seeds.ts";
import type { Context } from "./claim.ts";
import { alphas, ranks } from "./figures.ts";

// What whole trainings of a regression with six-factor inputs find, for claims on alpha and rank.

/** Ranks at which whole grids are trained; 128 would cost more than all others together. */
export const trainedRanks = [2, 8, 32];

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

/** What the article's 28 runs show at a learning rate. */
export interface AlphaRuns {
  /** Trainings in which some larger alpha is no better than the one before it. */
  readonly against: number;
  /** Alphas that are best in some training. */
  readonly best: readonly number[];
}

/** The article's alphas and ranks, on up to three problems. */
export async function alphaRuns({ seed: run, seeds, onProgress }: Context, lr: number): Promise<AlphaRuns> {
  let against = 0;
  const best = new Set<number>();
  const cells = alphas.map((alpha) => ({ a: lr, b: lr, alpha }));
  for (const seed of seedsOf(run, Math.min(seeds, 3))) {
    for (const r of ranks) {
      const losses = await train({ ...regression, r, seed }, cells);
      if (losses.some((loss, i) => i > 0 && !(loss < losses[i - 1]!))) against++;
      const finite = losses.map((loss) => (Number.isFinite(loss) ? loss : Number.POSITIVE_INFINITY));
      best.add(alphas[finite.indexOf(Math.min(...finite))]!);
      await onProgress(0);
    }
  }
  return { against, best: [...best].sort((a, b) => a - b) };
}

/** Loss after 50 steps relative to the start, at alphas for which both scalings agree at rank 8. */
export async function lossAt(mode: Setting["scaling"], r: number, lr: number, seed: number): Promise<number> {
  const alpha = mode === "lora" ? 8 : Math.sqrt(8);
  const setting = { ...regression, n: 1024, r, alpha, scaling: mode, seed };
  const [loss] = await train(setting, [{ a: lr, b: lr }], { steps: 50 });
  return loss!;
}
