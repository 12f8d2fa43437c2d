import fc from "fast-check";
import type { HyperOf, OptimizerConfig, OptimizerName } from "../../optim/make.ts";

export interface OptimizerArbitraryOptions {
  /** Which ones. Default all. */
  readonly names?: readonly OptimizerName[];
  /** Only forms with an exact scaling rule: two rates for RAdam, two eps for Adadelta. Default false. */
  readonly exact?: boolean;
}

/**
 * An optimizer with its options as plain data, for `optim.make` and for recipes. Numbers that matter only when
 * they are large (eps, weight decay) are large often.
 */
export function optimizer({
  names,
  exact = false,
}: OptimizerArbitraryOptions = {}): fc.Arbitrary<OptimizerConfig> {
  const all = Object.keys(options(exact)) as OptimizerName[]; // the table has all names
  return fc.constantFrom(...(names ?? all)).chain((name) => optimizerOptions(name, exact));
}

function optimizerOptions(name: OptimizerName, exact: boolean): fc.Arbitrary<OptimizerConfig> {
  const own: fc.Arbitrary<object> = options(exact)[name];
  // The name and the options of one optimizer: the union keeps them together.
  return fc.tuple(rate, own).map(([lr, rest]) => ({ name, lr, ...rest }) as OptimizerConfig);
}

const rate = fc.constantFrom(1e-3, 1e-2, 0.1);
const eps = fc.constantFrom(1e-8, 1e-3, 0.1);
const weightDecay = fc.constantFrom(0, 0.01, 0.3);
const betas = fc.constantFrom<readonly [number, number]>([0.9, 0.999], [0.5, 0.75], [0, 0.9]);
const momentum = fc.constantFrom(0, 0.5, 0.9);
const flag = fc.boolean();

/** Options of which any may be missing. */
function some<T extends object>(
  model: { readonly [K in keyof T]: fc.Arbitrary<T[K]> },
): fc.Arbitrary<Partial<T>> {
  return fc.record<T>(model, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>;
}

type Options = { readonly [N in OptimizerName]: fc.Arbitrary<Partial<HyperOf[N]>> };

function options(exact: boolean): Options {
  const adam = { betas, eps, weightDecay, amsgrad: flag, epsInsideRoot: flag };
  // RAdam's two rates and Adadelta's two eps are options; an exact rule needs them.
  const early = fc.record({ lrUnrectified: rate });
  const twoEps = fc.record({ epsGradient: eps, epsUpdate: eps });
  const maybe = <T>(pair: fc.Arbitrary<T>): fc.Arbitrary<Partial<T>> =>
    exact ? pair : fc.oneof(pair, fc.constant({}));
  const both = <S extends object, T extends object>(x: fc.Arbitrary<S>, y: fc.Arbitrary<T>) =>
    fc.tuple(x, y).map(([first, second]) => ({ ...first, ...second }));
  return {
    sgd: fc.oneof(
      some({ momentum, dampening: fc.constantFrom(0, 0.5), weightDecay, decoupledWeightDecay: flag }),
      fc.record({ momentum: fc.constantFrom(0.5, 0.9), nesterov: fc.constant(true), weightDecay }),
    ),
    adam: some(adam),
    adamw: some({ ...adam, decayTimesLr: flag }),
    adamax: some({ betas, eps, weightDecay }),
    nadam: some({ betas, eps, weightDecay, momentumDecay: fc.constantFrom(4e-3, 0.1) }),
    radam: both(
      some({ betas: fc.constantFrom<readonly [number, number]>([0.9, 0.999], [0.5, 0.9]), eps, weightDecay }),
      maybe(early),
    ),
    rmsprop: some({ alpha: fc.constantFrom(0.5, 0.99), eps, momentum, centered: flag, weightDecay }),
    adagrad: some({
      lrDecay: fc.constantFrom(0, 0.1),
      initialAccumulatorValue: fc.constantFrom(0, 0.1),
      eps,
      weightDecay,
    }),
    adadelta: both(some({ rho: fc.constantFrom(0.5, 0.9), eps, weightDecay }), maybe(twoEps)),
    rprop: some({ stepSizes: fc.constantFrom<readonly [number, number]>([1e-6, 50], [1e-3, 0.1]) }),
    lion: some({ betas: fc.constantFrom<readonly [number, number]>([0.9, 0.99], [0.5, 0.75]), weightDecay }),
    signSgd: some({ momentum }),
    lamb: some({ betas, eps, weightDecay }),
    adafactor: some({
      decayRate: fc.constantFrom(0.5, 0.8),
      epsGradient: fc.constantFrom(1e-30, 1e-3),
      epsParameter: eps,
      clipThreshold: fc.constantFrom(0.5, 1),
      weightDecay,
      scaleParameter: flag,
    }),
  };
}
