import { ValueError } from "../base/errors.ts";
import { type AdamHyper, adam, adamw } from "./adam.ts";
import type { OptimizerOptions } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { type SgdHyper, sgd } from "./sgd.ts";

/** The hyperparameters of each optimizer by its name. */
export interface HyperOf {
  readonly sgd: SgdHyper;
  readonly adam: AdamHyper;
  readonly adamw: AdamHyper;
}

export type OptimizerName = keyof HyperOf;

/** An optimizer as plain data: its name beside its options. */
export type OptimizerConfig<N extends OptimizerName = OptimizerName> = {
  readonly [K in N]: { readonly name: K } & OptimizerOptions<HyperOf[K]>;
}[N];

const makers: {
  readonly [N in OptimizerName]: (options: OptimizerOptions<HyperOf[N]>) => Optimizer<HyperOf[N]>;
} = {
  sgd,
  adam,
  adamw,
};

/**
 * The optimizer that a config describes; `make({ name: "adamw", lr: 2e-4 })` is `adamw({ lr: 2e-4 })`.
 *
 * @throws ValueError for an unknown name, and as the optimizer's own function does.
 */
export function make<N extends OptimizerName>(
  config: { readonly name: N } & OptimizerOptions<HyperOf[N]>,
): Optimizer<HyperOf[N]> {
  const { name, ...options } = config;
  if (!Object.hasOwn(makers, name)) {
    throw new ValueError(
      `optim.make: there is no optimizer ${JSON.stringify(name)}. The optimizers are ${Object.keys(makers).join(", ")}.`,
    );
  }
  return makers[name](options as unknown as OptimizerOptions<HyperOf[N]>); // config without its name
}
