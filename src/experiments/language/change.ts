import { type Adapted, adaptedLayers, merge } from "../../lora/index.ts";
import { type Columns, columnsOf, svd } from "../../lora/linalg.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

/** Of a tuned weight, the first singular vectors that are looked at; one that is no closer to any of the base is an intruder. */
const [first, closeness] = [10, 0.5];

/**
 * What became of the weights of the adapted layers, as means over them: how many of the first left singular vectors are
 * intruders, whose cosine with each singular vector of the base is below a half (arXiv 2410.21228); and how many singular
 * values of the change hold nine tenths of its energy.
 */
export async function changeOf(
  model: Adapted<DecoderInput, DecoderOutput>,
  params: Params,
  base: Params,
): Promise<{ readonly intruders: number; readonly rank: number }> {
  const merged = new Map(tree.entries(await tree.evaluate(merge(model, params))));
  const before = new Map(tree.entries(base));
  const layers = adaptedLayers(model).map(([path]) => `${path}.weight`);
  let [intruders, rank] = [0, 0];
  for (const path of layers) {
    const [old, now] = [await matrixOf(before.get(path)!), await matrixOf(merged.get(path)!)];
    const [from, to] = [await svd(old), await svd(now)];
    intruders += to.u.slice(0, first).filter((one) => largestCosine(one, from.u) < closeness).length;
    const change = now.map((column, j) => column.map((value, i) => value - old[j]![i]!));
    rank += holding((await svd(change)).s, 0.9);
  }
  return { intruders: intruders / layers.length, rank: rank / layers.length };
}

/** How many of some descending singular values hold a share of their energy. */
export function holding(values: ArrayLike<number>, share: number): number {
  const energies = Array.from(values, (value) => value ** 2);
  const total = energies.reduce((sum, each) => sum + each, 0);
  let [count, held] = [0, 0];
  for (; count < energies.length && held < share * total; count++) held += energies[count]!;
  return count;
}

/** The largest size of a unit vector's products with others. */
export function largestCosine(one: Float64Array, others: Columns): number {
  const cosines = others.map((other) => Math.abs(other.reduce((sum, each, i) => sum + each * one[i]!, 0)));
  return Math.max(...cosines);
}

async function matrixOf(weight: Tensor): Promise<Columns> {
  const [rows, cols] = weight.shape as [number, number]; // of linear layers
  return columnsOf(await weight.data(), rows, cols);
}
