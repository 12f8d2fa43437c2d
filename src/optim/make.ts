import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { type AdadeltaHyper, adadeltaRule } from "./adadelta.ts";
import { type AdafactorHyper, adafactorRule } from "./adafactor.ts";
import { type AdagradHyper, adagradRule } from "./adagrad.ts";
import { type AdamHyper, type AdamWHyper, adamRule, adamwRule } from "./adam.ts";
import { type AdamaxHyper, adamaxRule } from "./adamax.ts";
import type { OptimizerOptions } from "./hyper.ts";
import { type LambHyper, lambRule } from "./lamb.ts";
import { type LionHyper, lionRule } from "./lion.ts";
import { type LoraMuonHyper, loraMuonRule } from "./lora-muon.ts";
import { type LoraRiteHyper, loraRiteRule } from "./lora-rite.ts";
import { type NAdamHyper, nadamRule } from "./nadam.ts";
import type { Optimizer } from "./optimizer.ts";
import { makePairOptimizer, type PairRule } from "./pair.ts";
import { type RAdamHyper, radamRule } from "./radam.ts";
import { type RmspropHyper, rmspropRule } from "./rmsprop.ts";
import { type RpropHyper, rpropRule } from "./rprop.ts";
import { makeOptimizer, type Rule, type Slots } from "./rule.ts";
import { type ScaledAdamWHyper, type ScaledSgdHyper, scaledAdamwRule, scaledSgdRule } from "./scaled.ts";
import { type SgdHyper, sgdRule } from "./sgd.ts";
import { type SignSgdHyper, signSgdRule } from "./sign-sgd.ts";

/** The hyperparameters of each optimizer by its name. */
export interface HyperOf {
  readonly sgd: SgdHyper;
  readonly adam: AdamHyper;
  readonly adamw: AdamWHyper;
  readonly adamax: AdamaxHyper;
  readonly nadam: NAdamHyper;
  readonly radam: RAdamHyper;
  readonly rmsprop: RmspropHyper;
  readonly adagrad: AdagradHyper;
  readonly adadelta: AdadeltaHyper;
  readonly rprop: RpropHyper;
  readonly lion: LionHyper;
  readonly signSgd: SignSgdHyper;
  readonly lamb: LambHyper;
  readonly adafactor: AdafactorHyper;
}

export type OptimizerName = keyof HyperOf;

/** The hyperparameters of each optimizer of pairs of factors by its name. */
export interface PairHyperOf {
  readonly scaledSgd: ScaledSgdHyper;
  readonly scaledAdamw: ScaledAdamWHyper;
  readonly loraRite: LoraRiteHyper;
  readonly loraMuon: LoraMuonHyper;
}

export type PairOptimizerName = keyof PairHyperOf;

/** The hyperparameters of every optimizer, of single tensors and of pairs, by its name. */
export interface AnyHyperOf extends HyperOf, PairHyperOf {}

export type AnyOptimizerName = keyof AnyHyperOf;

/** An optimizer of pairs as plain data: its name beside its options. */
export type PairOptimizerConfig<N extends PairOptimizerName = PairOptimizerName> = {
  readonly [K in N]: { readonly name: K } & OptimizerOptions<PairHyperOf[K]>;
}[N];

/** An optimizer as plain data: its name beside its options. */
export type OptimizerConfig<N extends OptimizerName = OptimizerName> = {
  readonly [K in N]: { readonly name: K } & OptimizerOptions<HyperOf[K]>;
}[N];

/** The update rule of each optimizer by its name. */
export const rules: { readonly [N in OptimizerName]: Rule<HyperOf[N], Slots> } = {
  sgd: erased(sgdRule),
  adam: erased(adamRule),
  adamw: erased(adamwRule),
  adamax: erased(adamaxRule),
  nadam: erased(nadamRule),
  radam: erased(radamRule),
  rmsprop: erased(rmspropRule),
  adagrad: erased(adagradRule),
  adadelta: erased(adadeltaRule),
  rprop: erased(rpropRule),
  lion: erased(lionRule),
  signSgd: erased(signSgdRule),
  lamb: erased(lambRule),
  adafactor: erased(adafactorRule),
};

/** The update rule of each optimizer of pairs of factors by its name. */
export const pairRules: { readonly [N in PairOptimizerName]: PairRule<PairHyperOf[N], Slots> } = {
  scaledSgd: scaledSgdRule,
  scaledAdamw: scaledAdamwRule,
  loraRite: loraRiteRule as unknown as PairRule<LoraRiteHyper, Slots>, // as `erased`
  loraMuon: loraMuonRule as unknown as PairRule<LoraMuonHyper, Slots>,
};

/** What rules of both kinds have. */
export type AnyRule = Pick<
  Rule<{ readonly lr: number }, Slots> | PairRule<{ readonly lr: number }, Slots>,
  "name" | "fields" | "essence" | "conflict"
>;

/** The update rule of an optimizer of either kind, as far as all have it. */
export function anyRule(name: AnyOptimizerName): AnyRule {
  return (isPairOptimizerName(name) ? pairRules[name] : rules[name]) as unknown as AnyRule; // with hyperparameters of its own
}

/** The names of all optimizers. */
export const optimizerNames: readonly AnyOptimizerName[] = [
  ...(Object.keys(rules) as OptimizerName[]),
  ...(Object.keys(pairRules) as PairOptimizerName[]),
];

/** A rule among rules of other slots: `makeOptimizer` gives each its own. */
function erased<H extends { readonly lr: number }, S extends Slots>(rule: Rule<H, S>): Rule<H, Slots> {
  return rule as unknown as Rule<H, Slots>;
}

/** Whether there is an optimizer of pairs of factors of that name. */
export function isPairOptimizerName(name: string): name is PairOptimizerName {
  return Object.hasOwn(pairRules, name);
}

/** Whether there is an optimizer of that name. */
export function isOptimizerName(name: string): name is OptimizerName {
  return Object.hasOwn(rules, name);
}

/**
 * The optimizer that a config describes; `make({ name: "adamw", lr: 2e-4 })` is `adamw({ lr: 2e-4 })`.
 *
 * @throws ValueError for an unknown name, and as the optimizer's own function does.
 */
export function make<N extends PairOptimizerName>(
  config: { readonly name: N } & OptimizerOptions<PairHyperOf[N]>,
): Optimizer<PairHyperOf[N]>;
export function make<N extends OptimizerName>(
  config: { readonly name: N } & OptimizerOptions<HyperOf[N]>,
): Optimizer<HyperOf[N]>;
export function make(config: { readonly name: string } & object): Optimizer {
  if (!isPlainObject(config))
    throw new ValueError(
      `optim.make: takes a name and options in one object, { name: "adamw", lr: 1e-3 }; given ${show(config)}.`,
    );
  const { name, ...rest } = config;
  type Any = { readonly lr: number };
  const options = rest as OptimizerOptions<Any>; // of the rule of that name
  if (isOptimizerName(name)) return makeOptimizer(rules[name] as unknown as Rule<Any, Slots>, options);
  if (isPairOptimizerName(name))
    return makePairOptimizer(pairRules[name] as unknown as PairRule<Any, Slots>, options);
  throw new ValueError(
    `optim.make: there is no optimizer ${show(name)}. The optimizers are ${optimizerNames.join(", ")}.`,
  );
}
