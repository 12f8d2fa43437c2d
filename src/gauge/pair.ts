import { ValueError } from "../base/errors.ts";
import { isPairOptimizerName, make, type PairOptimizerConfig, pairRules } from "../optim/make.ts";
import type { PairScaling } from "../optim/pair.ts";
import { checked, type Gauge } from "./gauge.ts";
import { power, scaleHyper } from "./rules.ts";

/**
 * The optimizer of both factors of a layer under a gauge: with it, `applyParams` of the parameters and alpha times k the run
 * is the same one, its factors being a A and b B. Its groups are those of loraA and of loraB.
 *
 * @throws ValueError for an optimizer that is none of pairs, groups other than loraA and loraB, or a gauge that is none.
 * @example
 * gauge.applyPair(gauge.of({ a: 2, b: 4 }), { name: "scaledSgd", lr: 0.1, reg: 0.5 }).groups;
 * // loraA with lr 6.4 and reg 8, loraB with lr 6.4 and reg 2
 */
export function applyPair(g: Gauge, config: PairOptimizerConfig): PairOptimizerConfig {
  const operation = "gauge.applyPair";
  const { a, b } = checked(operation, g);
  if (!isPairOptimizerName(config.name))
    throw new ValueError(
      `${operation}: ${JSON.stringify(config.name)} is no optimizer of pairs. They are ${Object.keys(pairRules).join(", ")}.`,
    );
  for (const { match } of config.groups ?? []) {
    if (match !== "loraA" && match !== "loraB")
      throw new ValueError(
        `${operation}: a group matches ${String(match)}; the groups of a layer are "loraA" and "loraB".`,
      );
  }
  // The rule of that name, with the hyperparameters of that name.
  const { scaling } = pairRules[config.name] as unknown as { readonly scaling: PairScaling<object> };
  const optimizer = make(config as { readonly name: "scaledSgd"; readonly lr: number });
  const groups = (
    [
      ["loraA", a, b],
      ["loraB", b, a],
    ] as const
  ).map(([match, c, d]) => {
    const hyper = optimizer.hyper(match);
    const powers = scaling.hyper(hyper) as Record<"own" | "partner", Readonly<Record<string, number>>>;
    const scaled = Object.entries(hyper).map(([name, value]) => {
      const factor = (x: number) => x * power(c, powers.own[name] ?? 0) * power(d, powers.partner[name] ?? 0);
      return [name, scaleHyper(value, factor)];
    });
    return { match, ...Object.fromEntries(scaled) };
  });
  return { ...config, groups } as PairOptimizerConfig; // one optimizer's name, hyperparameters and groups
}
