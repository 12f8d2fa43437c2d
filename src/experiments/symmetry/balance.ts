import type { Recipe } from "../../gauge/index.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { grad } from "../../tensor/grad.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { train } from "../../train/index.ts";

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
  const recipe: Recipe<"sgd"> = {
    r: sizes.r,
    alpha: 3 / (a * b),
    init: "random",
    initScale: { A: a, B: b },
    optimizer: { name: "sgd", lr: own.A },
    groups: { B: { lr: own.B } },
  };
  const layer = nn.linear(sizes.inputs, sizes.outputs, { dtype: "float64" });
  const model = lora.inject(layer, { ...recipe, targetModules: "all-linear" });
  const key = random.key(seed);
  const draw = (name: number, width: number) => random.normal(key.fold(name), [8, width]).astype("float64");
  const batch = { x: draw(1, sizes.inputs), y: draw(2, sizes.outputs) };
  const loss = (params: nn.Params, { x, y }: typeof batch) => nn.mseLoss(model.apply(params, x), y);
  /** D, and by how much the next step is to change it. */
  const look = async (params: nn.Params) => {
    const { loraA: A, loraB: B } = params as Factors; // of one adapted linear layer
    const { loraA: gA, loraB: gB } = grad((params: nn.Params) => loss(params, batch))(params) as Factors;
    const D = A.matmul(A.transpose()).div(own.A).sub(B.transpose().matmul(B).div(own.B));
    const due = gA.matmul(gA.transpose()).mul(own.A).sub(gB.transpose().matmul(gB).mul(own.B));
    return { D: [...(await D.data())], due: [...(await due.data())] };
  };
  const run = train({ params: model.init(key.fold(0)), loss, batches: { at: () => batch }, recipe, steps });
  const first = await look(run.params);
  let [last, error] = [first, 0];
  for await (const { kind } of run) {
    if (kind !== "step") continue;
    const after = await look(run.params);
    error = Math.max(error, ...after.D.map((x, i) => Math.abs(x - last.D[i]! - last.due[i]!)));
    last = after;
  }
  return { error, moved: Math.max(...last.D.map((x, i) => Math.abs(x - first.D[i]!))), D: last.D };
}

type Factors = { readonly loraA: Tensor; readonly loraB: Tensor };
