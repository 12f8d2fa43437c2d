import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A host number: float64, computed before the program runs, and an input of it. */
export type HostNumber = Tensor<"number">;

/**
 * A factor on every learning rate as a function of the number of updates done so far (0 at the first). Written
 * with methods of host numbers, so that it is computed in float64 whatever the backend, and traces.
 */
export type Schedule = (step: HostNumber) => HostNumber;

/**
 * An optimizer: `init` makes the state, `update` maps gradients to updates that `applyUpdates` adds to the
 * parameters. State is a plain tree: pass it in, donate it, keep what comes back. Gradients and parameters are
 * trees of one structure; a leaf that is undefined is not trained. `H` names the hyperparameters.
 *
 * State and updates of float16 parameters are float32, and the state keeps the `remainder`, how much of the sum of all
 * updates the 16 bits of a parameter lack: master weights, as a difference. So no update is too small to count, and
 * a parameter that is changed from outside stays changed. Gradients of float16 parameters are float16 or float32.
 *
 * A state that was saved is read back as it was: tensors of the same dtypes, and numbers for host numbers (`step`).
 */
export interface Optimizer<H = unknown> {
  /** The update rule's name: "sgd", "adam", "adamw", ... */
  readonly name: string;
  /** The hyperparameters of parameters that no group matches, as plain data. */
  readonly defaults: H;
  /** The hyperparameters of the parameter at a path such as `layers.0.weight`, as plain data. */
  hyper(path: string): H;
  /**
   * The state before the first update.
   * @throws ValueError if a group matches no parameter; DTypeError if a parameter is not float.
   */
  init<P>(params: P): OptimizerState;
  /**
   * What to add to the parameters, and the next state.
   * @throws ValueError if the structures differ or the state is of another optimizer; ShapeError or DTypeError
   * if a gradient does not fit its parameter.
   */
  update<P>(gradients: P, state: OptimizerState, params: P): [updates: P, state: OptimizerState];
}

/** Checks what a wrapper wraps. @throws ValueError unless it has the functions of an optimizer. */
export function checkOptimizer(where: string, optimizer: unknown): void {
  const { init, update } = (optimizer ?? {}) as Partial<Optimizer>; // whatever the caller wrote
  if (typeof init !== "function" || typeof update !== "function")
    throw new ValueError(
      `${where}: the optimizer is ${show(optimizer)}; it is what adamw({ lr: 1e-3 }) and the like return.`,
    );
}

export interface OptimizerState {
  /** Number of updates done. */
  readonly step: HostNumber;
  /**
   * State per parameter, by its name in the update rule (`m` and `v` of Adam): trees of the structure of the
   * parameters, with undefined where a parameter has no such state.
   */
  readonly [slot: string]: unknown;
}
