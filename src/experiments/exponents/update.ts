import { applyUpdates, make } from "../../optim/index.ts";
import { compile } from "../../tensor/compile.ts";
import { scalar, zeros } from "../../tensor/creation.ts";
import { grad, valueAndGrad } from "../../tensor/grad.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Setting, scalingOf } from "./setting.ts";

interface Adapter {
  readonly loraA: Tensor;
  readonly loraB: Tensor;
}

/** One update on one sample, and the inputs to look at it with. */
export interface Update {
  /** A `[r, n]` and B `[outputs, r]` before the update. */
  readonly before: Adapter;
  /** What the optimizer adds. */
  readonly change: Adapter;
  readonly gradient: Adapter;
  /** The gradient on the same sample after the update. */
  readonly nextGradient: Adapter;
  /** The scaling s. */
  readonly s: Tensor<"number">;
  /** Inputs of the setting's kind, `[count, n]`. */
  readonly z: Tensor;
}

/** How many inputs that are not the sample itself a quantity is averaged over. */
const evaluationInputs = 32;

/**
 * A measurement of the first update: y = s B A x on one sample with a normal target and the squared error. The
 * result maps a seed to the number that `quantity` makes of the update; numbers but the sizes are inputs of one
 * program.
 */
export function firstUpdate(
  setting: Omit<Setting, "seed">,
  quantity: (update: Update) => Tensor,
): (seed: number) => Promise<number> {
  const { n, outputs, r, inputs, start } = setting;
  const optimizer = make(setting.optimizer);
  const scaling = scalingOf({ ...setting, seed: 0 }).value;

  const program = compile((seed: Tensor<"number">, s: Tensor<"number">) => {
    // Sizes are part of the key, so that measurements of one seed are independent too.
    const key = random.key(0).fold(seed).fold(n).fold(r);
    const mean = inputs === "commonMean" ? 1 : 0;
    const x: Tensor = random.normal(key.fold("x"), [1, n], { mean });
    const target: Tensor = random.normal(key.fold("target"), [1, outputs]);
    const z: Tensor =
      inputs === "training" ? x : random.normal(key.fold("z"), [evaluationInputs, n], { mean });
    const before: Adapter = {
      loraA: random.normal(key.fold("A"), [r, n]).mul(scalar(1 / Math.sqrt(n))),
      loraB: start === "zeroB" ? zeros([outputs, r]) : random.normal(key.fold("B"), [outputs, r]),
    };
    const loss = ({ loraA, loraB }: Adapter): Tensor =>
      x.matmul(loraA.transpose()).matmul(loraB.transpose()).mul(s).sub(target).square().sum().mul(0.5);
    const gradientOf = (adapter: Adapter) => valueAndGrad(loss)(adapter)[1];

    const gradient = gradientOf(before);
    const [change] = optimizer.update(gradient, optimizer.init(before), before);
    const nextGradient = gradientOf(applyUpdates(before, change));
    return quantity({ before, change, gradient, nextGradient, s, z });
  });
  return async (seed) => {
    const result = await program(seed, scaling);
    const value = await result.item();
    result.dispose();
    return value;
  };
}

/** Updates of `laterChange`. */
const updates = 5;

/**
 * Mean size of an entry of A's fifth update, over the learning rate. Each update is from a sample of its own, so that
 * an optimizer's averages are of gradients that differ. The loss is averaged over n, so that gradients fall with it.
 */
export function laterChange(setting: Omit<Setting, "seed">): (seed: number) => Promise<number> {
  const { n, outputs, r } = setting;
  const optimizer = make(setting.optimizer);
  const program = compile((seed: Tensor<"number">, s: Tensor<"number">) => {
    const key = random.key(3).fold(seed).fold(n).fold(r);
    let adapter: Adapter = {
      loraA: random.normal(key.fold("A"), [r, n]).mul(scalar(1 / Math.sqrt(n))),
      loraB: random.normal(key.fold("B"), [outputs, r]),
    };
    let state = optimizer.init(adapter);
    let change = adapter;
    for (let t = 0; t < updates; t++) {
      const x: Tensor = random.normal(key.fold("x").fold(t), [1, n]);
      const target: Tensor = random.normal(key.fold("target").fold(t), [1, outputs]);
      const gradients = grad(({ loraA, loraB }: Adapter) =>
        product(product(x, loraA), loraB)
          .mul(s)
          .sub(target)
          .square()
          .sum()
          .mul(0.5 / n),
      )(adapter);
      [change, state] = optimizer.update(gradients, state, adapter);
      adapter = applyUpdates(adapter, change);
    }
    return change.loraA.abs().mean();
  });
  const scaling = scalingOf({ ...setting, seed: 0 }).value;
  return async (seed) => {
    const result = await program(seed, scaling);
    const value = await result.item();
    result.dispose();
    return value / setting.optimizer.lr;
  };
}

const product = (z: Tensor, x: Tensor): Tensor => z.matmul(x.transpose());
const rms = (x: Tensor): Tensor => x.square().mean().sqrt();
const norm = (x: Tensor): Tensor => x.square().sum().sqrt();

/** What can be measured of a first update; sizes are root mean squares over entries and inputs. */
export const updateQuantities = {
  /** Entries of (change of A) z. */
  deltaA: ({ change, z }) => rms(product(z, change.loraA)),
  /** Entries of (change of B) A z. */
  deltaB: ({ change, before, z }) => rms(product(product(z, before.loraA), change.loraB)),
  /** Entries of the change of the layer's output on z, the scaling included. */
  deltaOutput: ({ change, before, s, z }) => {
    const moved = product(product(z, before.loraA), change.loraB);
    const after = before.loraB.add(change.loraB);
    return rms(moved.add(product(product(z, change.loraA), after)).mul(s));
  },
  /** Norm of the gradient of A. */
  gradientA: ({ gradient }) => norm(gradient.loraA),
  /** Norm of the gradient of B. */
  gradientB: ({ gradient }) => norm(gradient.loraB),
  /** Norm of the gradient of A on the same sample after the update. */
  nextGradientA: ({ nextGradient }) => norm(nextGradient.loraA),
  /** Mean size of an entry of the change of A. */
  changeA: ({ change }) => change.loraA.abs().mean(),
  /**
   * Frobenius norm of s (change of B) A, the change of the weight by B: from r x r products, as
   * |D A|^2 = sum of (D^T D) * (A A^T).
   */
  deltaWeight: ({ change, before, s }) => {
    const [gram, outer] = [
      product(change.loraB.transpose(), change.loraB.transpose()),
      product(before.loraA, before.loraA),
    ];
    return gram.mul(outer).sum().sqrt().mul(s);
  },
} as const satisfies { readonly [name: string]: (update: Update) => Tensor };

export type UpdateQuantity = keyof typeof updateQuantities;
