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
  return zip([params, updates], ([parameter, update]) => applied(parameter!, update!));
}
