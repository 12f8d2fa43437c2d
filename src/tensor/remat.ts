import { checkArgument, functionOf } from "../base/arguments.ts";
import { inScope, newScope } from "../graph/node.ts";
import { checkSynchronous } from "../runtime/tracing.ts";

/**
 * The same function, of whose intermediate values none are kept for the backward pass: they are computed again when it
 * comes to them, which gives the same bits for less memory and about a third more work (where a shader compiler joins
 * multiplications and additions as it sees fit, the same within that). A model of n blocks, each of them
 * in `remat`, keeps the inputs of the blocks, and the values of one. `f` takes and gives whatever it likes, may use tensors
 * from outside of its arguments, draw random numbers by key, and contain `remat` itself.
 *
 * @throws ValueError for what is no function, or one that is asynchronous.
 * @example
 * const block = remat((x: Tensor, w: Tensor) => x.matmul(w).tanh());
 * await grad((w: Tensor) => block(block(ones([2, 2]), w), w).sum())(eye(2)).toArray();
 */
export function remat<A extends readonly unknown[], R>(f: (...args: A) => R): (...args: A) => R {
  checkArgument("remat", "f", f, functionOf("a function"));
  return (...args) => {
    const result = inScope(newScope(), () => f(...args));
    checkSynchronous("remat", result);
    return result;
  };
}
