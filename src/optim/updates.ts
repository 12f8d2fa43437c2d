import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { applied } from "../tensor/precision.ts";
import { zip } from "../tensor/tree.ts";

/**
 * The parameters plus the updates of an optimizer, leaf by leaf, each of the dtype of its parameter.
 *
 * @throws ValueError if the trees have different structures.
 * @example
 * const [updates, next] = optimizer.update(gradients, state, params);
 * params = applyUpdates(params, updates);
 */
export function applyUpdates<P>(params: P, updates: P): P {
  if (params === undefined || params === null)
    throw new ValueError(`applyUpdates: the parameters are ${show(params)}; they are a tree of tensors.`);
  return zip([params, updates], ([parameter, update]) => applied(parameter!, update!));
}
