import { inject } from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { train } from "../../train/index.ts";
import type { Facts, Memory } from "./study.ts";

interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** Trains a network of two layers, which knows nothing, on facts made up at random. */
export async function memorise({
  recipe,
  width,
  classes,
  facts,
  batch,
  steps,
  seed,
}: Facts): Promise<Memory> {
  const base = nn.mlp([width, width, classes], { activation: "relu" });
  const model = inject(base, { ...recipe, targetModules: "all-linear" });
  const key = random.key(3).fold(seed);
  const x = random.normal(key.fold("x"), [facts, width]);
  const y = random.randint(key.fold("y"), [facts], { min: 0, max: classes });
  const batches: Batch[] = await Promise.all(
    Array.from({ length: Math.ceil(facts / batch) }, (_, i) => {
      const [from, to] = [i * batch, Math.min(facts, (i + 1) * batch)];
      return tree.evaluate({ x: x.slice([from], [to]), y: y.slice([from], [to]) });
    }),
  );
  const training = train({
    params: await tree.evaluate(model.init(key.fold("layer"))),
    loss: (own: nn.Params, { x, y }: Batch, context) => nn.crossEntropy(model.apply(own, x, context), y),
    recipe,
    batches: (step) => batches[step % batches.length]!,
    steps,
    key: key.fold("dropout"),
    nonFinite: "continue",
  });
  await training.toEnd();
  const nothing = Math.log(classes);
  const memory = {
    losses: training.losses.map((loss) => (Number.isFinite(loss) ? loss : nothing)),
    trained: tree.count(training.trained),
  };
  tree.dispose([training.params, training.state, batches]);
  return memory;
}
