// One gradient for each example of a batch, by vmap of grad: the loop in one program. The picture shows how unequal the
// examples are; clipping each gradient and adding noise to their sum is DP-SGD (Abadi et al. 2016).
//
//   npm run example per-sample-gradients

import { compile, grad, init, random, stack, type Tensor, tree, vmap } from "lorantz";
import * as nn from "lorantz/nn";
import type { Picture } from "./picture.ts";

export async function perSampleGradients({ examples = 64 } = {}) {
  await init();
  const model = nn.mlp([8, 16, 1]);
  type Params = ReturnType<typeof model.init>;
  const params = model.init(random.key(0));
  const x = random.normal(random.key(1), [examples, 8]);
  const y = x.at([], [0, 1]).get().square(); // the square of the first number
  const loss = (p: Params, one: Tensor, target: Tensor) => model.apply(p, one).sub(target).square().mean();

  const each = compile(vmap(grad(loss), { in: [null, 0, 0] }));
  const gradients = await each(params, x, y);
  const norms = (g: object) =>
    tree
      .leaves(g)
      .map((leaf) => (leaf as Tensor).reshape([examples, -1]).square().sum(1))
      .reduce((sum, one) => sum.add(one))
      .sqrt();
  const sizes = (await norms(gradients).toArray()) as number[];

  // The same by a loop.
  const one = compile(grad(loss));
  const singles: Params[] = [];
  for (let i = 0; i < examples; i++) singles.push(await one(params, x.at(i).get(), y.at(i).get()));
  const looped = tree
    .leaves(gradients)
    .map((_, leaf) => stack(singles.map((s) => tree.leaves(s)[leaf] as Tensor)));
  const furthest = await Promise.all(
    tree.leaves(gradients).map((g, leaf) => (g as Tensor).sub(looped[leaf]!).abs().amax().item()),
  );

  // Each at most `bound` long, and noise on the sum: what one example can do to the result is bounded.
  const bound = [...sizes].sort((a, b) => a - b)[examples >> 1]!;
  const factors = norms(gradients).clamp(bound).reciprocal().mul(bound);
  const clipped = tree.map(gradients, (g: Tensor) =>
    g.mul(factors.reshape([examples, ...g.shape.slice(1).map(() => 1)])),
  );
  const picture: Picture = {
    title: "How long the gradients of single examples are",
    data: { values: sizes.map((norm) => ({ norm })) },
    width: 480,
    layer: [
      {
        mark: "bar",
        encoding: {
          x: { field: "norm", bin: { maxbins: 30 }, title: "norm of an example's gradient" },
          y: { aggregate: "count", title: "examples" },
        },
      },
      { mark: "rule", encoding: { x: { datum: bound } } },
    ],
  };
  return {
    figures: {
      longest: Math.max(...sizes),
      bound,
      longestClipped: await norms(clipped).amax().item(),
      furthestFromLoop: Math.max(...furthest),
    },
    picture,
  };
}

export default perSampleGradients;
