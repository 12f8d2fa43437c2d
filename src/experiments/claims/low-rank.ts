import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { muon, type Optimizer } from "../../optim/index.ts";
import { make } from "../../optim/make.ts";
import { cosine } from "../../optim/schedule.ts";
import * as linalg from "../../tensor/linalg.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { train } from "../../train/index.ts";

// Fewer samples than inputs, and an adapter of full rank that starts near 0: what the samples leave open, the optimizer decides.

const sizes = { inputs: 16, outputs: 12, samples: 8, rank: 2, start: 0.01, steps: 400 } as const;

const schedule = cosine({ tMax: sizes.steps });

/** Rates that were chosen by draws of another key, so that the loss falls below a hundredth. */
export const optimizers = {
  keep: {
    "gradient descent": () => make({ name: "sgd", lr: 0.5, schedule }),
    Muon: () => muon({ lr: 0.02, weightDecay: 0, schedule }),
  },
  lose: {
    Adam: () => make({ name: "adam", lr: 0.01, schedule }),
    RMSprop: () => make({ name: "rmsprop", lr: 0.003, schedule }),
    Lion: () => make({ name: "lion", lr: 0.003, weightDecay: 0, schedule }),
    signum: () => make({ name: "signSgd", lr: 0.003, schedule }),
    Adafactor: () => make({ name: "adafactor", lr: 0.1, schedule }),
  },
} as const satisfies { readonly [group: string]: { readonly [name: string]: () => Optimizer } };

/** How a run ended. */
export interface Ended {
  /** Of the change of the weight, the share of its energy behind as many singular values as the teacher has. */
  readonly tail: number;
  /** Over the first one. */
  readonly loss: number;
}

export async function ended(optimizer: Optimizer, seed: number): Promise<Ended> {
  const { inputs, outputs, samples, rank, start, steps } = sizes;
  const key = random.key(6).fold(seed);
  const draw = (name: string, shape: readonly number[], size = 1) =>
    random.normal(key.fold(name), shape).astype("float64").mul(size) as Tensor;
  const model = lora.inject(nn.linear(inputs, outputs, { bias: false, dtype: "float64" }), {
    r: outputs,
    alpha: outputs,
    init: "random",
    initScale: { A: start, B: start },
    targetModules: "all-linear",
  });
  const params = await tree.evaluate(model.init(key.fold("layer")));
  const x = draw("x", [samples, inputs]);
  const change = draw("left", [inputs, rank], inputs ** -0.5).matmul(
    draw("right", [rank, outputs], rank ** -0.5),
  );
  const y = model.base.apply(params, x).add(x.matmul(change));
  await tree.evaluate([x, y]);
  const run = train({
    params,
    loss: (own: nn.Params, data: { readonly x: Tensor; readonly y: Tensor }) =>
      nn.mseLoss(model.apply(own, data.x), data.y),
    optimizer,
    trainable: (_, path) => path.startsWith("lora"),
    batches: () => ({ x, y }),
    steps,
    nonFinite: "continue",
  });
  await run.toEnd();
  const { loraA, loraB } = run.params as { readonly loraA: Tensor; readonly loraB: Tensor }; // of an adapted layer
  const energies = [...(await linalg.svdvals(loraB.matmul(loraA)).data())].map((value) => value ** 2);
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  const result = {
    tail: sum(energies.slice(rank)) / sum(energies),
    loss: run.losses.at(-1)! / run.losses[0]!,
  };
  tree.dispose([run.params, run.state, x, y]);
  return result;
}
