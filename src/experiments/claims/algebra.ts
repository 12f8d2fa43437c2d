import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
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

/** Largest differences over the largest weight. */
export interface SeveralErrors {
  /** Between the library's merges of two adapters, one after the other, in both orders. */
  readonly order: number;
  /** Of the merge of their combination into one adapter. */
  readonly joined: number;
  /** Of the sum of the weight and both products, made without the library's merge. */
  readonly sum: number;
}

/** Merges two adapters of different ranks and alphas into one layer; float32. */
export async function severalErrors(seed: number): Promise<SeveralErrors> {
  const own = key.fold("several").fold(seed);
  const config = { init: "random", targetModules: "all-linear" } as const;
  const model = lora.injectNamed(nn.linear(24, 16, { bias: false }), {
    first: { r: 4, alpha: 6, ...config },
    second: { r: 2, alpha: 5, ...config },
  });
  const params = await tree.evaluate(model.init(own));
  const merged = (names: readonly string[]) => mergedWeight(lora.setAdapter(model, names), params);
  const one = await merged(["first", "second"]);
  const other = await merged(["second", "first"]);
  const both = await lora.combineAdapters(model, params, { weights: { first: 1, second: 1 }, method: "cat" });
  const joined = await mergedWeight(both.model, both.params);
  const parts = params as unknown as Record<"first" | "second", { loraA: Tensor; loraB: Tensor }> & {
    weight: Tensor;
  }; // a linear layer with two adapters
  const change = (name: "first" | "second", s: number) => parts[name].loraB.matmul(parts[name].loraA).mul(s);
  const sum = await parts.weight
    .add(change("first", 6 / 4))
    .add(change("second", 5 / 2))
    .data();
  return { order: relative(other, one), joined: relative(joined, one), sum: relative(one, sum) };
}

async function mergedWeight(model: lora.Adapted, params: nn.Params): Promise<ArrayLike<number>> {
  return (lora.merge(model, params).weight as Tensor).data(); // a linear layer's
}

/** One adapter at some alpha after training, float32. */
export interface Merged {
  /** The library's merge. */
  readonly merged: readonly number[];
  /** W0 + B A and B A, made without it. */
  readonly sum: readonly number[];
  readonly product: readonly number[];
  /** The library's merge into a weight of zeros, which rounds nothing: the change itself. */
  readonly change: readonly number[];
  /** Outputs of the layer with that weight. */
  readonly outputs: readonly number[];
}

export const adapterSizes = sizes;

/** Merges the same random adapter at an alpha. */
export async function mergedAt(alpha: number): Promise<Merged> {
  const { inputs, outputs, samples, r } = sizes;
  const model = lora.inject(nn.linear(inputs, outputs, { bias: false }), {
    r,
    alpha,
    init: "random",
    targetModules: "all-linear",
  });
  const params = await tree.evaluate(model.init(key.fold("after")));
  const { weight, loraA, loraB } = params as { weight: Tensor; loraA: Tensor; loraB: Tensor }; // an adapted linear layer
  const empty = { ...params, weight: weight.mul(0) };
  const product = loraB.matmul(loraA);
  const x: Tensor = random.normal(key.fold("inputs"), [samples, inputs]);
  const list = async (values: ArrayLike<number> | Promise<ArrayLike<number>>) => Array.from(await values);
  return {
    merged: await list(mergedWeight(model, params)),
    sum: await list(weight.add(product).data()),
    product: await list(product.data()),
    change: await list(mergedWeight(model, empty)),
    outputs: await list(model.apply(empty, x).data()),
  };
}

/** How many numbers are not those of the reference. */
export function differing(values: readonly number[], reference: readonly number[]): number {
  return reference.filter((x, i) => x !== values[i]).length;
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
