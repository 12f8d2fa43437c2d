import * as gauge from "../src/gauge/index.ts";
import * as lora from "../src/lora/index.ts";
import * as nn from "../src/nn/index.ts";
import { applyUpdates } from "../src/optim/index.ts";
import { compile } from "../src/tensor/compile.ts";
import { scalar, tensor } from "../src/tensor/creation.ts";
import { valueAndGrad } from "../src/tensor/grad.ts";
import * as random from "../src/tensor/random.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import * as tree from "../src/tensor/tree.ts";

// The smallest network with everything that a recipe speaks of: an embedding, linear layers with biases, a branch
// bias, DoRA, dropout. Two recipes are one run if its losses are the same.

const base = nn.sequential({
  words: nn.embedding(5, 4),
  up: nn.linear(4, 6),
  act: nn.activation((x) => x.tanh()),
  down: nn.linear(6, 3),
});

/**
 * The losses before each of the updates, and after the last. A small `strength`, a factor on the loss, makes gradients small:
 * constants beside them count then, and a large one has them clipped. In float64 every difference shows.
 */
export async function losses(
  recipe: gauge.Recipe,
  {
    updates = 8,
    strength = 1,
    dtype = "float32",
  }: { readonly updates?: number; readonly strength?: number; readonly dtype?: "float32" | "float64" } = {},
): Promise<readonly number[]> {
  const kinds = recipe.adapts ?? ["linear"];
  const targetModules = [
    ...(kinds.includes("embedding") ? ["words"] : []),
    ...(kinds.includes("linear") ? ["up", "down"] : []),
  ];
  const { r, alpha, rsLora, dropout, init, initScale, branchBias, dora } = recipe;
  const given = Object.entries({ rsLora, dropout, init, initScale, branchBias, dora });
  const adapter = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  const model = lora.inject(base, { r, alpha, ...adapter, targetModules });
  const whole = tree.map(base.init(random.key(2)), (leaf) => leaf.astype(dtype));
  const params = await tree.evaluate(await lora.initialize(model, random.key(1), whole));
  const optimizer = gauge.optimizerOf(recipe, { updates });
  const [trained, frozen] = gauge.trainable(recipe, params);
  const [x, y] = [
    tensor([0, 3, 1, 4, 3, 2], { dtype: "int32" }),
    random.normal(random.key(3), [6, 3]).astype(dtype),
  ];

  const step = compile(
    (
      own: nn.Params,
      state: ReturnType<typeof optimizer.init>,
      fixed: nn.Params,
      x: Tensor,
      y: Tensor,
      t: Tensor<"number">,
    ) => {
      const [loss, gradients] = valueAndGrad((own: nn.Params) => {
        const context = { training: true, key: random.key(4).fold(t) };
        return nn.mseLoss(model.apply(tree.combine<nn.Params>(fixed, own), x, context), y).mul(strength);
      })(own);
      const [change, next] = optimizer.update(gradients, state, own);
      return { own: applyUpdates(own, change), state: next, loss };
    },
  );
  let [own, state] = [trained, optimizer.init(trained)];
  const seen: Tensor[] = [];
  for (let t = 0; t <= updates; t++) {
    const after = await step(own, state, frozen, x, y, scalar(t));
    ({ own, state } = after);
    seen.push(after.loss);
  }
  return Promise.all(seen.map((loss) => loss.item()));
}

/** The largest relative difference of two runs; 0 also where both are NaN from the same update on. */
export function apart(x: readonly number[], y: readonly number[]): number {
  return Math.max(
    ...x.map((loss, i) => {
      if (Object.is(loss, y[i])) return 0;
      const difference = Math.abs(loss - y[i]!) / Math.max(Math.abs(loss), Math.abs(y[i]!));
      return Number.isNaN(difference) ? Infinity : difference;
    }),
  );
}
