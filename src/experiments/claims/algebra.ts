import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { cat } from "../../tensor/functions.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

// Identities of adapters that hold up to rounding, measured.

const sizes = { inputs: 24, outputs: 16, samples: 8, r: 4 } as const;
const key = random.key(3);

/** The largest |W0 x + (alpha/r) B A x - layer(x)|, by sums on the host, over the largest output; float64. */
export async function forwardDifference(): Promise<number> {
  const { inputs, outputs, samples, r } = sizes;
  const alpha = 3;
  const layer = lora.inject(nn.linear(inputs, outputs, { bias: false, dtype: "float64" }), {
    r,
    alpha,
    init: "random",
    targetModules: "all-linear",
  });
  const params = await tree.evaluate(layer.init(key.fold("layer")));
  const x = random.normal(key.fold("x"), [samples, inputs]).astype("float64");
  const [weight, A, B] = await Promise.all(
    ["weight", "loraA", "loraB"].map((name) => (params[name] as Tensor).data()),
  ); // one layer's tensors
  const [xs, ys] = await Promise.all([x.data(), layer.apply(params, x as Tensor).data()]);
  const sum = (count: number, term: (i: number) => number) =>
    Array.from({ length: count }, (_, i) => term(i)).reduce((a, b) => a + b, 0);
  let [difference, largest] = [0, 0];
  for (let row = 0; row < samples; row++) {
    for (let out = 0; out < outputs; out++) {
      const at = (i: number) => xs[row * inputs + i]!;
      const inner = (k: number) => sum(inputs, (i) => A![k * inputs + i]! * at(i));
      const expected =
        sum(inputs, (i) => weight![out * inputs + i]! * at(i)) +
        (alpha / r) * sum(r, (k) => B![out * r + k]! * inner(k));
      difference = Math.max(difference, Math.abs(ys[row * outputs + out]! - expected));
      largest = Math.max(largest, Math.abs(expected));
    }
  }
  return difference / largest;
}

/** How a merged model differs from the adapted one. */
export interface MergeErrors {
  /** Largest difference of outputs over the largest output. */
  readonly outputs: number;
  /** Largest difference of a weight that was merged and unmerged, over the bound of half a unit of each number. */
  readonly weights: number;
}

/** Merges, compares, and unmerges a two-layer model; float32. */
export async function mergeErrors(seed: number): Promise<MergeErrors> {
  const own = key.fold("merge").fold(seed);
  const base = nn.mlp([24, 32, 16], { activation: "tanh" });
  const model = lora.inject(base, { r: 4, alpha: 8, init: "random", targetModules: "all-linear" });
  const params = model.init(own);
  const x: Tensor = random.normal(own.fold("x"), [32, 24]);
  const merged = lora.merge(model, params);
  const again = lora.unmerge(model, merged, lora.partition(params)[0]);
  const [adapted, plain] = await Promise.all([model.apply(params, x).data(), base.apply(merged, x).data()]);
  const before = new Map(tree.entries(params));
  const between = new Map(tree.entries(merged));
  let weights = 0;
  for (const [path, leaf] of tree.entries(again)) {
    if (!path.endsWith("weight")) continue;
    const [w, m, back] = await Promise.all(
      [before.get(path)!, between.get(path)!, leaf].map((tensor) => tensor.data()),
    );
    back!.forEach((value, i) => {
      // W + D rounds by half a unit of the sum, and the difference by half a unit of itself.
      const bound = (unit(m![i]!) + unit(value)) / 2;
      weights = Math.max(weights, Math.abs(value - w![i]!) / bound);
    });
  }
  return { outputs: relative(plain, adapted), weights };
}

/** Merging two adapters: in both orders, and as one of the sum of the ranks. Largest differences over the largest weight. */
export async function severalErrors(
  seed: number,
): Promise<{ readonly order: number; readonly joined: number }> {
  const own = key.fold("several").fold(seed);
  const draw = (name: string, shape: readonly number[]): Tensor => random.normal(own.fold(name), shape);
  const weight = draw("weight", [16, 24]);
  const [A1, A2, B1, B2] = [
    draw("A1", [4, 24]),
    draw("A2", [2, 24]),
    draw("B1", [16, 4]),
    draw("B2", [16, 2]),
  ];
  const [first, second] = [B1.matmul(A1), B2.matmul(A2)];
  const one = await weight.add(first).add(second).data();
  const other = await weight.add(second).add(first).data();
  const joined = await weight.add(cat([B1, B2], 1).matmul(cat([A1, A2], 0))).data();
  return { order: relative(other, one), joined: relative(joined, one) };
}

/** How the weight's change follows alpha after training: entries that are not k times the original. */
export async function alphaAfterTraining(
  k: number,
): Promise<{ readonly apart: number; readonly merged: number }> {
  const { inputs, outputs, r } = sizes;
  const base = nn.linear(inputs, outputs, { bias: false });
  const changeAt = async (alpha: number) => {
    const model = lora.inject(nn.sequential({ layer: base }), {
      r,
      alpha,
      init: "random",
      targetModules: ["layer"],
    });
    const params = await tree.evaluate(model.init(key.fold("after")));
    const { weight, loraA, loraB } = params.layer as { weight: Tensor; loraA: Tensor; loraB: Tensor }; // an adapted linear layer
    const merged = lora.merge(model, params).layer as { weight: Tensor };
    const product = loraB.matmul(loraA);
    return {
      merged: await merged.weight.data(),
      plain: await weight.add(product).data(),
      change: await product.mul(alpha / r).data(),
    };
  };
  const [one, scaled] = [await changeAt(r), await changeAt(k * r)];
  const apart = scaled.change.filter((value, i) => value !== k * one.change[i]!).length;
  // At alpha = r the merged weight is W0 + B A, added as it is.
  const merged = one.merged.filter((value, i) => value !== one.plain[i]!).length;
  return { apart, merged };
}

function relative(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < reference.length; i++) {
    difference = Math.max(difference, Math.abs(values[i]! - reference[i]!));
    largest = Math.max(largest, Math.abs(reference[i]!));
  }
  return difference / largest;
}

/** The distance between float32 numbers of this size. */
function unit(x: number): number {
  return 2 ** (Math.floor(Math.log2(Math.max(Math.abs(x), 2 ** -126))) - 23);
}
