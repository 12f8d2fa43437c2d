// Three spirals, a small network, AdamW: the picture shows where it draws the borders.
//
//   npm run example spirals

import { compile, init, random, type Tensor, tensor, valueAndGrad } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import type { Picture } from "./picture.ts";

export async function spirals({ steps = 400, perArm = 60, grid = 40 } = {}) {
  await init();
  const arms = 3;
  const noise = await random.normal(random.key(0), [arms, perArm], { std: 0.15 }).toArray();
  const points = (noise as number[][]).flatMap((angles, arm) =>
    angles.map((off, i) => {
      const radius = (i + 1) / perArm;
      const angle = (2 * Math.PI * arm) / arms + 4 * radius + off;
      return { arm, x: radius * Math.cos(angle), y: radius * Math.sin(angle) };
    }),
  );
  const xs = tensor(points.map(({ x, y }) => [x, y]));
  const classes = tensor(
    points.map(({ arm }) => arm),
    { dtype: "int32" },
  );

  const model = nn.mlp([2, 32, 32, arms], { activation: "tanh" });
  const optimizer = optim.adamw({ lr: 1e-2 });
  type Params = ReturnType<typeof model.init>;
  const loss = (params: Params) => nn.crossEntropy(model.apply(params, xs), classes);
  const step = compile(
    (params: Params, state: optim.OptimizerState, x: Tensor, y: Tensor) => {
      const [value, gradients] = valueAndGrad((p: Params) => nn.crossEntropy(model.apply(p, x), y))(params);
      const [updates, next] = optimizer.update(gradients, state, params);
      return { params: optim.applyUpdates(params, updates) as Params, state: next, value };
    },
    { donate: [0, 1] },
  );

  let params = model.init(random.key(1));
  let state = optimizer.init(params);
  const before = await loss(params).item();
  for (let i = 0; i < steps; i++) ({ params, state } = await step(params, state, xs, classes));

  const right = model.apply(params, xs).argmax(1).eq(classes).astype("float32").mean();
  const ticks = Array.from({ length: grid }, (_, i) => -1.2 + (2.4 * i) / (grid - 1));
  const cells = ticks.flatMap((x) => ticks.map((y) => [x, y] as const));
  const winners = await model
    .apply(params, tensor(cells.map((cell) => [...cell])))
    .argmax(1)
    .toArray();
  const picture: Picture = {
    title: "Three spirals and what the network makes of the plane",
    width: 420,
    height: 420,
    encoding: {
      x: { field: "x", type: "quantitative", scale: { domain: [-1.2, 1.2] } },
      y: { field: "y", type: "quantitative", scale: { domain: [-1.2, 1.2] } },
      color: { field: "arm", type: "nominal" },
    },
    layer: [
      {
        data: { values: cells.map(([x, y], i) => ({ x, y, arm: (winners as number[])[i] })) },
        mark: { type: "square", size: 130, opacity: 0.25 },
      },
      { data: { values: points }, mark: { type: "circle", size: 30, opacity: 1 } },
    ],
  };
  return { figures: { before, after: await loss(params).item(), accuracy: await right.item() }, picture };
}

export default spirals;
