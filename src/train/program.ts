import { bytesPerElement } from "../base/dtype.ts";
import type { Optimizer, OptimizerState } from "../optim/index.ts";
import { type CompileOptions, compile, type MemoryPlan, type Work } from "../tensor/compile.ts";
import { scalar } from "../tensor/creation.ts";
import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import type { Loss } from "./loss.ts";
import { added, gradientsOf, noGradients, together, type Updated, updated } from "./step.ts";

/** What an update reports, as read by the host. */
export interface Report {
  /** The mean over all that counted. */
  readonly loss: number;
  readonly count: number;
  readonly norm: number;
  /** The place of the first parameter whose gradient is not finite; the number of parameters if there is none. */
  readonly broken: number;
}

/** The compiled update of a run. */
export interface Update<P, B> {
  /** One update on some batches, the first of which has a place. Parameters and state are used up. */
  run(
    own: P,
    state: OptimizerState,
    frozen: unknown,
    batches: readonly B[],
    place: number,
  ): Promise<Updated<P> & { readonly report: Report }>;
  /** What an update on batches like this one would take. */
  plan(own: P, state: OptimizerState, frozen: unknown, batch: B): Promise<MemoryPlan>;
}

/** The update: one program for one batch, two for several. */
export function updateOf<P, B>(
  loss: Loss<P, B>,
  optimizer: Optimizer,
  key: Key,
  accumulate: number,
  on: Pick<CompileOptions, "device" | "gang">,
): Update<P, B> {
  const gradients = (own: P, frozen: unknown, batch: B, place: Tensor<"number">) =>
    gradientsOf(loss, own, frozen, batch, { training: true, key: key.fold(place) });

  const whole = compiled(
    (own: P, state: OptimizerState, frozen: unknown, batch: B, place: Tensor<"number">) => {
      const seen = gradients(own, frozen, batch, place);
      const { params, state: next, norm, broken } = updated(optimizer, seen.gradients, state, own);
      return { params, state: next, report: together([seen.loss, seen.count, norm, broken]) };
    },
    { donate: [0, 1], ...on },
  );
  const add = compiled(
    (sum: P, own: P, frozen: unknown, batch: B, place: Tensor<"number">) => {
      const seen = gradients(own, frozen, batch, place);
      return { sum: added(sum, seen.gradients, seen.count), report: together([seen.loss, seen.count]) };
    },
    { donate: [0], ...on },
  );
  const finish = compiled(
    (own: P, state: OptimizerState, sum: P, count: Tensor<"number">) => {
      const mean = tree.map(sum, (gradient) => gradient.div(count));
      const { params, state: next, norm, broken } = updated(optimizer, mean, state, own);
      return { params, state: next, report: together([norm, broken]) };
    },
    { donate: [0, 1, 2], ...on },
  );

  return {
    run: async (own, state, frozen, batches, place) => {
      if (accumulate === 1) {
        const { report, ...after } = await whole(own, state, frozen, batches[0]!, scalar(place));
        const [loss = 0, count = 0, norm = 0, broken = 0] = await read(report);
        return { ...after, report: { loss, count, norm, broken } };
      }
      let sum = noGradients(own);
      let [losses, counted] = [0, 0];
      for (const [i, batch] of batches.entries()) {
        const after = await add(sum, own, frozen, batch, scalar(place + i));
        ({ sum } = after);
        const [loss = 0, count = 0] = await read(after.report);
        if (count > 0) losses += loss * count; // the mean over nothing is NaN
        counted += count;
      }
      // Where nothing counted the caller says so, whatever comes out.
      const { report, ...after } = await finish(own, state, sum, scalar(counted));
      const [norm = 0, broken = 0] = await read(report);
      return { ...after, report: { loss: losses / counted, count: counted, norm, broken } };
    },
    plan: async (own, state, frozen, batch) => {
      if (accumulate === 1) return whole.plan(own, state, frozen, batch, scalar(0));
      const sum = noGradients(own);
      const { inputs, work, ...rest } = await add.plan(sum, own, frozen, batch, scalar(0));
      const last = await finish.plan(own, state, sum, scalar(1));
      const kept = tree
        .leaves(state)
        .reduce(
          (sum, leaf) => sum + (leaf.dtype === "number" ? 0 : leaf.size * bytesPerElement(leaf.dtype)),
          0,
        );
      const all = (field: keyof Work) => accumulate * work[field] + last.work[field];
      return {
        inputs: inputs + kept,
        ...rest,
        work: { flops: all("flops"), bytesRead: all("bytesRead"), bytesWritten: all("bytesWritten") },
      };
    },
  };
}

/** A compiled function of trees of any type. */
interface OfTrees<A extends readonly unknown[], R> {
  (...args: A): Promise<R>;
  plan(...args: A): Promise<MemoryPlan>;
}

/** `compile` for trees of any type: its own types widen numbers in arguments, and cannot look into a type parameter. */
export function compiled<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: CompileOptions,
): OfTrees<A, R> {
  return compile(f, options) as unknown as OfTrees<A, R>; // the same arguments, not widened
}

async function read(report: Tensor): Promise<ArrayLike<number> & Iterable<number>> {
  const values = await report.data();
  report.dispose();
  return values;
}
