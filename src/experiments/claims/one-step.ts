import type { Recipe } from "../../gauge/index.ts";
import { optimizerOf, trainable } from "../../gauge/index.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { applyUpdates } from "../../optim/index.ts";
import { grad } from "../../tensor/grad.ts";
import * as linalg from "../../tensor/linalg.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

// Starts that are made of the gradient of all weights, beside a step of SGD on all weights.

const sizes = { inputs: 24, outputs: 16, samples: 48, r: 3 } as const;
const lr = 2 ** -6;

/** How far weights' changes are from the step of SGD on all weights, cut to its first singular triples; relative, by Frobenius norms. */
export interface OneStep {
  /** The start of LoRA-One, -lr times the first r triples of the gradient, cut to r. */
  readonly start: number;
  /** The first update from LoRA-GA's start, over lr, without the product of both updates: cut to r, and to 2 r. */
  readonly update: { readonly cutToR: number; readonly cutToTwoR: number };
}

export async function oneStep(seed: number): Promise<OneStep> {
  const { inputs, outputs, samples, r } = sizes;
  const key = random.key(5).fold(seed);
  const recipe = {
    r,
    alpha: 6,
    init: "random",
    optimizer: { name: "sgd", lr },
  } as const satisfies Recipe;
  const model = lora.inject(nn.linear(inputs, outputs, { bias: false, dtype: "float64" }), {
    ...recipe,
    targetModules: "all-linear",
  });
  const draw = (name: string, shape: readonly number[]) =>
    random.normal(key.fold(name), shape).astype("float64") as Tensor;
  const { weight } = await tree.evaluate(model.base.init(key.fold("layer")) as { weight: Tensor });
  const [x, y] = [draw("x", [samples, inputs]), draw("y", [samples, outputs])];
  const loss = (params: nn.Params) => nn.mseLoss(model.apply(params, x), y);

  /** What a step of SGD on what a recipe trains adds. */
  const stepped = (own: Recipe, params: nn.Params) => {
    const [trained, frozen] = trainable(own, params);
    const gradients = grad((some: nn.Params) => loss(tree.combine<nn.Params>(some, frozen)))(trained);
    const optimizer = optimizerOf(own);
    const [updates] = optimizer.update(gradients, optimizer.init(trained), trained);
    return tree.combine<nn.Params>(applyUpdates(trained, updates), frozen);
  };
  const zero = { loraA: draw("A", [r, inputs]).mul(0), loraB: draw("B", [outputs, r]).mul(0) };
  const all = { ...recipe, trained: ["base"] } as const;
  const full = (stepped(all, { weight, ...zero }).weight as Tensor).sub(weight);
  const { u, s, v } = linalg.svd(full);
  const triples = (from: number, to: number) => ({
    u: u.slice([0, from], [null, to]),
    s: s.slice([from], [to]),
    v: v.slice([0, from], [null, to]),
  });
  const cut = (rank: number) => {
    const { u, s, v } = triples(0, rank);
    return u.mul(s).matmul(v.transpose());
  };
  const scale = recipe.alpha / r;

  // LoRA-One: B A is the first r triples of the step.
  const first = triples(0, r);
  const roots = first.s.div(scale).sqrt();
  const one = { weight, loraA: first.v.mul(roots).transpose(), loraB: first.u.mul(roots) };
  const start = lora.merge(model, one) as { readonly weight: Tensor };

  // LoRA-GA: B the first r left vectors, A the next r right ones, and the rest stays with the weight.
  const ga = { loraB: first.u, loraA: triples(r, 2 * r).v.transpose() };
  const params = { ...ga, weight: weight.sub(ga.loraB.matmul(ga.loraA).mul(scale)) };
  const after = stepped(recipe, params) as { readonly loraA: Tensor; readonly loraB: Tensor };
  const [dA, dB] = [after.loraA.sub(ga.loraA), after.loraB.sub(ga.loraB)];
  const update = dB.matmul(ga.loraA).add(ga.loraB.matmul(dA)).mul(scale);

  const apart = (found: Tensor, due: Tensor) =>
    found.sub(due).square().sum().sqrt().div(due.square().sum().sqrt());
  const square = scale ** 2;
  const found = {
    start: apart(start.weight.sub(weight), cut(r)),
    cutToR: apart(update, cut(r).mul(square)),
    cutToTwoR: apart(update, cut(2 * r).mul(square)),
  };
  await tree.evaluate(found);
  const [from, cutToR, cutToTwoR] = await Promise.all(
    [found.start, found.cutToR, found.cutToTwoR].map((each) => each.item()),
  );
  return { start: from!, update: { cutToR: cutToR!, cutToTwoR: cutToTwoR! } };
}
