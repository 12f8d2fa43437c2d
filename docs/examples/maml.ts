// Learning to learn (Finn, Abbeel and Levine 2017): sines of any height and phase, five points each. The outer gradient goes
// through the inner step: it is a gradient of a gradient.
//
//   npm run example maml

import { compile, grad, init, random, type Tensor, tree, valueAndGrad, vmap } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import type { Picture } from "./picture.ts";

export async function maml({ steps = 600, tasks = 16, points = 5, innerLr = 0.05 } = {}) {
  await init();
  const model = nn.mlp([1, 40, 40, 1], { activation: "tanh" });
  type Params = ReturnType<typeof model.init>;
  const loss = (params: Params, x: Tensor, y: Tensor) => nn.mseLoss(model.apply(params, x), y);

  /** One step of gradient descent on the task's points. */
  const adapt = (params: Params, x: Tensor, y: Tensor): Params => {
    const gradients = grad(loss)(params, x, y);
    return tree.zip<Params>([params, gradients], ([p, g]) => p!.sub(g!.mul(innerLr)));
  };
  /** Sines with heights from 0.1 to 2 and any phase, at points from -3 to 3. */
  const draw = (key: random.Key, count: number) => {
    const height = random.uniform(key.fold("height"), [count, 1, 1], { min: 0.1, max: 2 });
    const phase = random.uniform(key.fold("phase"), [count, 1, 1], { max: Math.PI });
    const x = random.uniform(key.fold("x"), [count, 2 * points, 1], { min: -3, max: 3 });
    return { x, y: x.add(phase).sin().mul(height) };
  };
  // The loss on the points of each task that its step did not see.
  const after = (params: Params, x: Tensor, y: Tensor) => {
    const [seen, fresh] = [[0, points] as const, [points, 2 * points] as const];
    const own = adapt(params, x.at(seen).get(), y.at(seen).get());
    return loss(own, x.at(fresh).get(), y.at(fresh).get());
  };
  const outer = (params: Params, x: Tensor, y: Tensor) =>
    vmap(after, { in: [null, 0, 0] })(params, x, y).mean();

  const optimizer = optim.adam({ lr: 3e-3 });
  const step = compile(
    (params: Params, state: optim.OptimizerState, x: Tensor, y: Tensor) => {
      const [value, gradients] = valueAndGrad(outer)(params, x, y);
      const [updates, next] = optimizer.update(gradients, state, params);
      return { params: optim.applyUpdates(params, updates) as Params, state: next, value };
    },
    { donate: [0, 1] },
  );
  let params = model.init(random.key(0));
  let state = optimizer.init(params);
  const losses: { step: number; loss: number }[] = [];
  for (let i = 0; i < steps; i++) {
    const { x, y } = draw(random.key(1).fold(i), tasks);
    const result = await step(params, state, x, y);
    ({ params, state } = result);
    if (i % 10 === 0 || i === steps - 1) losses.push({ step: i, loss: await result.value.item() });
  }

  // On tasks that nobody saw: before the inner step, and after it.
  const { x, y } = draw(random.key(2), 200);
  const before = vmap(loss, { in: [null, 0, 0] })(params, x, y).mean();
  const picture: Picture = {
    title: "Loss after one step on five points",
    data: { values: losses },
    width: 480,
    mark: "line",
    encoding: {
      x: { field: "step", type: "quantitative" },
      y: { field: "loss", type: "quantitative", scale: { type: "log" } },
    },
  };
  return {
    figures: {
      untrained: losses[0]!.loss,
      beforeInnerStep: await before.item(),
      afterInnerStep: await outer(params, x, y).item(),
    },
    picture,
  };
}

export default maml;
