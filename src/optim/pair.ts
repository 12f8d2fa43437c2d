import { ShapeError, ValueError } from "../base/errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { OptimizerOptions } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { assemble, type Beside, type Powers, type Slots, type View } from "./rule.ts";

/**
 * How the numbers of a pair rule follow A' = a A, B' = b B with gradients divided by a and b: for a factor that is
 * multiplied by c beside one that is multiplied by d, each is multiplied by c to its own power times d to that of the
 * partner; what is left out has power 0.
 */
export interface PairScaling<H> {
  readonly hyper: (hyper: H) => { readonly own: Partial<Powers<H>>; readonly partner: Partial<Powers<H>> };
  readonly state: (hyper: H) => {
    readonly own: Readonly<Record<string, number>>;
    readonly partner: Readonly<Record<string, number>>;
  };
  /** Whether the first update of a factor beside a partner of 0, with a gradient of 0 then, is NaN, in every gauge. */
  readonly dividesZeroByZero: (hyper: H) => boolean;
  /** For which matrices M the run from A' = M A, B' = B M^-1 is the same one with its factors mixed likewise. */
  readonly mixes: (hyper: H) => Mixes;
}

export type Mixes = "signed permutations" | "orthogonal" | "any";

/**
 * An update rule of the two factors of a layer, loraA `[r, in]` and loraB `[out, r]`, which need each other. It is written
 * for one factor with the rank first, `[r, k]`, beside the other one likewise, `[r, l]`; loraB is turned, so one step serves
 * both. All else is as in `Rule`.
 */
export interface PairRule<H extends { readonly lr: number }, S extends Slots> extends Beside<H, S> {
  readonly scaling: PairScaling<H>;
}

const sides = { loraA: "loraB", loraB: "loraA" } as const;

/**
 * The optimizer of a pair rule with the given hyperparameters, groups and schedule. Its state has the shapes of factors
 * with the rank first: of loraB it is transposed.
 *
 * @throws ValueError as the rule says, and in `init` and `update` for a parameter that is no loraA or loraB, or without the
 *   other one beside it; ShapeError where the two do not fit.
 */
export function makePairOptimizer<H extends { readonly lr: number }, S extends Slots>(
  rule: PairRule<H, S>,
  options: OptimizerOptions<H>,
): Optimizer<H> {
  return assemble(rule, options, (path, parameters) => viewOf(rule.name, path, parameters));
}

function viewOf(name: string, path: string, parameters: ReadonlyMap<string, Tensor>): View {
  const start = path.slice(0, path.lastIndexOf(".") + 1);
  const side = path.slice(start.length);
  if (side !== "loraA" && side !== "loraB")
    throw new ValueError(
      `${name}: ${path} is no factor of a pair; this optimizer updates loraA and loraB of a layer together. Split it off with tree.partition, and train it with another optimizer.`,
    );
  const partner = `${start}${sides[side]}`;
  const [own, other] = [parameters.get(path)!, parameters.get(partner)];
  if (!other)
    throw new ValueError(
      `${name}: there is no ${partner} beside ${path}; this optimizer updates the two together. Train both.`,
    );
  const [a, b] = side === "loraA" ? [own, other] : [other, own];
  if (a.rank !== 2 || b.rank !== 2 || a.shape[0] !== b.shape[1])
    throw new ShapeError(
      `${name}: ${path} is ${own} beside ${partner}, ${other}; loraA is [r, in] and loraB [out, r].`,
    );
  if (side === "loraA") return { turn: (x) => x, back: (x) => x, partner };
  return { turn: (x) => x.transpose(), back: (x) => x.transpose(), partner };
}
