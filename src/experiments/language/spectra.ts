import { type Adapted, spectrum } from "../../lora/index.ts";
import { columnsOf, svd } from "../../lora/linalg.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { holding } from "./change.ts";

/**
 * Sizes of adapters, as means of logarithms over the adapted layers: the largest singular values of A and of B, the norm of
 * the weight's change, and how many of its singular values hold nine tenths of its energy.
 */
export async function spectraOf(
  model: Adapted<DecoderInput, DecoderOutput>,
  params: Params,
): Promise<{ readonly [name: string]: number }> {
  const all = { A: [] as number[], B: [] as number[], change: [] as number[], rank: [] as number[] };
  for (const [path, leaf] of tree.entries(params)) {
    const role = path.endsWith(".loraA") ? "A" : path.endsWith(".loraB") ? "B" : undefined;
    if (role) all[role].push(await largestSingularValue(leaf));
  }
  for (const values of Object.values(await spectrum(model, params))) {
    all.change.push(Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0)));
    all.rank.push(holding(values, 0.9));
  }
  const meanLog = (values: readonly number[]) =>
    values.reduce((sum, each) => sum + Math.log(each), 0) / values.length;
  return Object.fromEntries(Object.entries(all).map(([name, values]) => [name, meanLog(values)]));
}

async function largestSingularValue(matrix: Tensor): Promise<number> {
  const [rows, cols] = matrix.shape as [number, number]; // of adapters
  return (await svd(columnsOf(await matrix.data(), rows, cols))).s[0]!;
}
