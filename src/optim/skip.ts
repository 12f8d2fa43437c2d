import { scalar, tensor } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { checkOptimizer, type Optimizer, type OptimizerState } from "./optimizer.ts";

/** A state of `skipNonFinite`. */
export interface SkippingState extends OptimizerState {
  /** float32: how many updates were left out. */
  readonly skipped: Tensor;
}

/**
 * An optimizer that leaves out an update whose gradients, or whose result, are not finite: updates of zero, and a state
 * that stays as it was, `step` too, so that the run goes on as if the update had not been asked for (`apply_if_finite`
 * of optax). Nothing is read on the host, so it works inside of `compile`.
 *
 * What is done then depends on values of the device, so `step` is no host number but a float32, and what is computed of
 * it (schedules, bias corrections) is float32 as well. Where nothing is left out the optimizer is the bare one to some
 * units in the last place of a rate (1e-4 of RAdam's), and bit for bit where neither rule nor schedule counts. Powers of two pass through, so gauges stay exact.
 * The state is that of the optimizer and `skipped`.
 *
 * @example
 * const optimizer = skipNonFinite(adamw({ lr: 1e-3 }));
 */
export function skipNonFinite<H>(optimizer: Optimizer<H>): Optimizer<H> {
  checkOptimizer("skipNonFinite", optimizer);
  return {
    ...optimizer,
    init: (params): SkippingState => ({ ...onDevice(optimizer.init(params)), skipped: tensor(0) }),
    update<P>(gradients: P, { skipped, ...state }: OptimizerState, params: P): [P, OptimizerState] {
      const before = onDevice(state as OptimizerState); // with its step, which the optimizer checks
      const [updates, after] = optimizer.update(gradients, before, params);
      const finite = allFinite([gradients, updates]);
      const missed = where(finite, 0, scalar(1).astype("float32"));
      return [
        tree.map(updates, (update) => where(finite, update, 0)),
        {
          ...tree.zip([after, before], ([now, old]) => where(finite, now!, old!)),
          skipped: missed.add(device(skipped)),
        },
      ];
    },
  };
}

/** True if no element of a tree of floats is infinite or NaN. */
export function allFinite(values: unknown): Tensor<"bool"> {
  const others = tree
    .leaves(values)
    .map((leaf) => leaf.isFinite().logicalNot().astype("float32").sum() as Tensor<"float32">);
  return others.reduce((sum, count) => sum.add(count), scalar(0).astype("float32")).eq(0);
}

/** A state in which numbers of the host are float32 of rank 0, as they are once they depend on values. */
function onDevice(state: OptimizerState): OptimizerState {
  return Object.fromEntries(
    Object.entries(state).map(([slot, part]) => [
      slot,
      typeof part === "number" ? device(part) : tree.map(part, device),
    ]),
  ) as unknown as OptimizerState; // the same slots
}

function device(x: unknown): Tensor<"float32"> {
  if (typeof x === "number") return tensor(x);
  const leaf = x as Tensor; // a leaf of a state
  return (leaf.dtype === "number" ? leaf.astype("float32") : leaf) as Tensor<"float32">;
}
