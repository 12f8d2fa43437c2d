import { ValueError } from "../base/errors.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { Experiments } from "./discovery/experiments.ts";
import type { NoSymmetry, Symmetry } from "./discovery/findings.ts";
import { subjectOf } from "./discovery/given.ts";
import { ownerOf } from "./discovery/numbers.ts";
import { scenarios } from "./discovery/problems.ts";
import { responsive } from "./discovery/responsive.ts";
import { search } from "./discovery/search.ts";
import { checkAlone, checkSound } from "./discovery/sound.ts";

export interface DiscoverOptions<H extends object> {
  /**
   * The hyperparameters with the values to try around; passed to the function that makes the optimizer. Numbers,
   * also those of pairs, get a power; whatever else is in it is left alone. Where a value is 0, or does nothing,
   * another is tried, since the powers do not depend on it.
   */
  readonly hyper: H;
  /** Hyperparameters whose power may differ from update to update, as a schedule's can. Default none. */
  readonly perUpdate: readonly (keyof H & string)[];
  /** Updates to look at; at least 2, default 12. What happens later only is not seen. */
  readonly updates: number;
}

/**
 * Finds by experiment how an optimizer's hyperparameters and state must scale, h' = c^p h, for it to make c theta
 * out of gradients g / c wherever it made theta out of g; or that no powers do that. It looks at nothing but what
 * `init` and `update` return: no declared rule. It needs no device.
 *
 * The update and the next state are homogeneous functions with a weight for each input exactly if Euler's identity
 * holds, which is linear in the weights. So the powers solve a linear system made of derivatives, measured by
 * differences at every element of some updates. Thresholds, which have no derivative, are searched for. Then runs
 * of the optimizer and its partner are compared, state and all, bit by bit for powers of two and up to rounding
 * for others, with random gradients, persistent ones, gradients of all sizes, and zeros in gradients and
 * parameters.
 *
 * Pass an optimizer of the library without groups and schedule, or a function from hyperparameters to any
 * optimizer, with the hyperparameters to look at.
 *
 * @throws ValueError for an optimizer that changes its inputs, is not deterministic, returns NaN or infinities, or
 *   is not of the library and no function; and what the function throws for the hyperparameters as they are.
 * @example
 * const found = await discoverSymmetry(adamw({ lr: 1e-3 }));
 * found.exists && found.hyper; // { lr: 1, eps: -1, weightDecay: -1, betas: 0 }
 * const mine = await discoverSymmetry((hyper) => myOptimizer(hyper), { hyper: { lr: 0.1, floor: 1e-3 } });
 * console.log(mine.text);
 */
export async function discoverSymmetry<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<Symmetry | NoSymmetry> {
  const { updates = 12, perUpdate = [] } = options;
  if (!Number.isInteger(updates) || updates < 2)
    throw new ValueError(`discoverSymmetry: updates is ${String(updates)}; it is an integer >= 2.`);
  const { subject, numbers } = subjectOf(optimizer, options.hyper);
  for (const name of perUpdate) {
    if (![...numbers.keys()].some((own) => ownerOf(own) === name))
      throw new ValueError(
        `discoverSymmetry: perUpdate names ${name}, which is no number among the hyperparameters ${[...numbers.keys()].join(", ")}.`,
      );
  }
  const all = scenarios(updates);
  if (typeof optimizer !== "function") await checkAlone(optimizer, subject, numbers, all[0]!);
  await checkSound(subject, numbers, all);
  const { tried, thresholds } = await responsive(subject, numbers, all[0]!.problem);
  const experiments = new Experiments(subject, tried, all);
  const found = await search(experiments, thresholds, perUpdate);
  if (found.exists || perUpdate.length > 0) return found;
  for (const name of tried.keys()) {
    const phased = await search(experiments, thresholds, [name]);
    if (!phased.exists) continue;
    const text = `${found.text}\nIf ${name} may change from update to update, there is an exact rule:\n${phased.text}`;
    return { ...found, perUpdate: phased, text };
  }
  return found;
}
