import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { applyUpdates, sgd } from "../../optim/index.ts";
import { grad } from "../../tensor/grad.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

/** What SGD does to D = A A^T / lr_A - B^T B / lr_B. */
export interface Balance {
  /** The largest error, in any step, of `lr_A G_A G_A^T - lr_B G_B^T G_B` as the change of D. */
  readonly error: number;
  /** How far D moved in all. */
  readonly moved: number;
  readonly D: readonly number[];
}

export interface BalanceOptions {
  /** Factors of a gauge on A and B; the scaling and the rates follow. Default 1. */
  readonly a?: number;
  readonly b?: number;
  /** A factor on both rates. Default 1. */
  readonly rate?: number;
  /** Default 50. */
  readonly steps?: number;
  readonly seed?: number;
}

interface Factors {
  readonly loraA: Tensor;
  readonly loraB: Tensor;
}

const sizes = { inputs: 6, outputs: 5, r: 3 } as const;
const rates = { A: 0.02, B: 0.05 } as const;

/** Trains a layer by SGD in float64, and looks at D in every step. */
export async function balance({
  a = 1,
  b = 1,
  rate = 1,
  steps = 50,
  seed = 0,
}: BalanceOptions = {}): Promise<Balance> {
  const own = { A: rates.A * rate * a * a, B: rates.B * rate * b * b };
  const balanceOf = ({ loraA, loraB }: Factors): Tensor =>
    loraA.matmul(loraA.transpose()).div(own.A).sub(loraB.transpose().matmul(loraB).div(own.B));
  const model = lora.inject(nn.linear(sizes.inputs, sizes.outputs, { dtype: "float64" }), {
    r: sizes.r,
    alpha: 3 / (a * b),
    init: "random",
    initScale: { A: a, B: b },
    targetModules: "all-linear",
  });
  const key = random.key(seed);
  const params = await tree.evaluate(model.init(key.fold(0)));
  const x = random.normal(key.fold(1), [8, sizes.inputs]).astype("float64") as Tensor;
  const y = random.normal(key.fold(2), [8, sizes.outputs]).astype("float64") as Tensor;
  const [trained, frozen] = lora.partition(params);
  let factors = trained as unknown as Factors; // of one adapted linear layer
  const first = await tree.evaluate(balanceOf(factors));
  const optimizer = sgd({ lr: own.A, groups: [{ match: "loraB", lr: own.B }] });
  let state = optimizer.init(factors);
  let error = 0;
  for (let t = 0; t < steps; t++) {
    const gradients = grad((factors: Factors) =>
      nn.mseLoss(model.apply(tree.combine<nn.Params>(frozen, factors as unknown as nn.Params), x), y),
    )(factors);
    const [updates, next] = optimizer.update(gradients, state, factors);
    const after = await tree.evaluate(applyUpdates(factors, updates));
    const { loraA: gA, loraB: gB } = gradients;
    const said = gA.matmul(gA.transpose()).mul(own.A).sub(gB.transpose().matmul(gB).mul(own.B));
    const change = balanceOf(after).sub(balanceOf(factors));
    error = Math.max(error, await change.sub(said).abs().amax().item());
    [factors, state] = [after, next];
  }
  const D = await tree.evaluate(balanceOf(factors));
  return { error, moved: await D.sub(first).abs().amax().item(), D: [...(await D.data())] };
}
