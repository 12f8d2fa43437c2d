import type { Role } from "../../lora/roles.ts";
import type { AnyOptimizerName } from "../../optim/make.ts";
import type { Essence } from "../../optim/rule.ts";
import { essenceOf } from "../live.ts";
import { hyperOf, type Recipe, trainedRoles } from "../recipe.ts";

// A recipe's optimizer in the words of others: what rules make the same updates, and with which numbers.

export type Hypers = { readonly [R in Role]?: Readonly<Record<string, unknown>> };

type Numbers = Readonly<Record<string, unknown>>;

/** The numbers with which an optimizer is what an essence says, if it can be, up to rounding. */
type Spelling = (hyper: Numbers) => Numbers | undefined;

/** The optimizers that libraries have and others come to, by the rule of the essence. */
const spellings: { readonly [rule: string]: { readonly [N in AnyOptimizerName]?: Spelling } } = {
  adam: {
    adam: (hyper) => (hyper.decoupledWeightDecay ? undefined : moments(hyper)),
    adamw: ({ decoupledWeightDecay, decayTimesLr = true, ...hyper }) => {
      if (hyper.weightDecay !== undefined && !decoupledWeightDecay) return undefined;
      if (decayTimesLr) return moments(hyper);
      return hyper.lr === 0
        ? undefined
        : moments({ ...hyper, weightDecay: Number(hyper.weightDecay) / Number(hyper.lr) });
    },
    rmsprop: ({ lr, betas, eps = 0, weightDecay = 0, biasCorrection, ...forms }) => {
      const [first, alpha] = betas as readonly [number, number];
      if (first !== 0 || (alpha !== 0 && biasCorrection !== false)) return undefined;
      if (forms.decoupledWeightDecay || forms.amsgrad || forms.epsInsideRoot) return undefined;
      return { lr, alpha, eps, weightDecay, momentum: 0, centered: false };
    },
  },
  sgd: {
    sgd: ({ lr, momentum = 0, dampening = 0, nesterov = false, weightDecay = 0, decoupledWeightDecay }) => ({
      ...{ lr, momentum, dampening, nesterov, weightDecay },
      decoupledWeightDecay: momentum !== 0 && decoupledWeightDecay === true,
    }),
  },
  lion: {
    lion: ({ lr, betas = [0, 0.9], weightDecay = 0 }) => ({ lr, betas, weightDecay }),
  },
  adadelta: {
    // Two eps are one, and another rate.
    adadelta: ({ lr, rho, epsUpdate, epsGradient, weightDecay = 0 }) =>
      epsGradient === undefined
        ? undefined
        : {
            lr:
              epsUpdate === epsGradient
                ? lr
                : Number(lr) * Math.sqrt(Number(epsUpdate) / Number(epsGradient)),
            rho,
            eps: epsGradient,
            weightDecay,
          },
  },
};

function moments({ lr, betas, eps = 0, weightDecay = 0, ...forms }: Numbers): Numbers {
  const { amsgrad = false, epsInsideRoot = false, biasCorrection = true } = forms;
  return { lr, betas, eps, weightDecay, amsgrad, epsInsideRoot, biasCorrection };
}

/** The recipe's optimizer in its own words, and in others that make the same updates, up to rounding. */
export function spelt(recipe: Recipe): readonly (readonly [AnyOptimizerName, Hypers])[] {
  const { name } = recipe.optimizer;
  const all = trainedRoles(recipe).map(
    (role) => [role, essenceOf(recipe, role), { ...hyperOf<AnyOptimizerName>(recipe, role) }] as const,
  );
  // A library may correct no bias where nothing is said.
  const implied = name === "adam" || name === "adamw" ? { biasCorrection: true } : {};
  const own = all.map(([role, , hyper]) => [role, { ...implied, ...hyper }]);
  const rules = new Set(all.map(([, { rule }]) => rule).filter((rule) => rule !== "none"));
  const [rule] = rules;
  const others = Object.entries((rules.size === 1 && spellings[rule!]) || {}).map(([other, spell]) => {
    // What never moves has a rate of 0 in all words.
    const words = ({ rule, hyper }: Essence) => (rule === "none" ? { lr: 0 } : spell(hyper));
    const hypers = all.map(([role, essence]) => [role, words(essence)] as const);
    return hypers.every(([, hyper]) => hyper) ? [[other, Object.fromEntries(hypers)]] : [];
  });
  return [[name, Object.fromEntries(own)], ...others.flat()] as (readonly [AnyOptimizerName, Hypers])[];
}
