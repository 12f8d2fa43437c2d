import type { TheirOptimizer } from "../library.ts";

/** `torch.optim`, whose defaults are those of the optimizers here. `at` says where an argument is set. */
export function torch(at: (name: string) => string): { readonly [name: string]: TheirOptimizer } {
  const places = (pairs: { readonly [hyper: string]: string }) =>
    Object.fromEntries(Object.entries(pairs).map(([own, theirs]) => [own, at(theirs)]));
  const common = { lr: "lr", weightDecay: "weight_decay" };
  const moments = { ...common, betas: "betas", eps: "eps" };
  return {
    AdamW: { is: "adamw", places: places({ ...moments, amsgrad: "amsgrad" }) },
    Adam: { is: "adam", places: places({ ...moments, amsgrad: "amsgrad" }) },
    SGD: {
      is: "sgd",
      places: places({ ...common, momentum: "momentum", dampening: "dampening", nesterov: "nesterov" }),
    },
    Adamax: { is: "adamax", places: places(moments) },
    NAdam: { is: "nadam", places: places({ ...moments, momentumDecay: "momentum_decay" }) },
    RAdam: { is: "radam", places: places(moments) },
    RMSprop: {
      is: "rmsprop",
      places: places({ ...common, alpha: "alpha", eps: "eps", momentum: "momentum", centered: "centered" }),
    },
    Adagrad: {
      is: "adagrad",
      places: places({
        ...common,
        eps: "eps",
        lrDecay: "lr_decay",
        initialAccumulatorValue: "initial_accumulator_value",
      }),
    },
    Adadelta: { is: "adadelta", places: places({ ...common, rho: "rho", eps: "eps" }) },
    Rprop: { is: "rprop", places: places({ lr: "lr", etas: "etas", stepSizes: "step_sizes" }) },
  };
}

/** Arguments of `torch.optim` that say how it computes, and those that change it. */
export const torchOthers = ["foreach", "fused", "capturable", "differentiable"];
export const torchOnly = { maximize: [false], decoupled_weight_decay: [false] };
export const placed = <T>(at: (name: string) => string, of: { readonly [name: string]: T }) =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [at(name), value]));

/** Classes of `torch.optim` by their full names, their arguments below a place. */
export const dotted = (below: string) =>
  Object.fromEntries(
    Object.entries(torch((name) => `${below}.${name}`)).map(([name, each]) => [`torch.optim.${name}`, each]),
  );
