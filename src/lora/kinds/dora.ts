import { ValueError } from "../../base/errors.ts";
import { scalar, zerosLike } from "../../tensor/creation.ts";
import { inDType, minus, plus, wide } from "../../tensor/precision.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { besideResults, besideWeight, hostOf, sizesOf } from "../hosts.ts";
import { applyScaling } from "../scaling.ts";
import { type ChosenKind, linearMaps, plain, type Site, type Tensors } from "./kind.ts";

export interface DoraOption {
  /** Learn the length of each row of the weight, of a convolution each output's window, apart from its direction (Liu et al. 2024, arXiv:2402.09353). Default false. */
  readonly dora?: boolean;
}

export const dora: ChosenKind<"loraMagnitude", "magnitude"> = {
  ...plain,
  title: "DoRA",
  option: {
    name: "dora",
    says: "DoRA: the lengths of the weight's rows are learned apart",
    peft: "use_dora",
  },
  tensors: [
    {
      name: "loraMagnitude",
      role: "magnitude",
      what: "magnitude (DoRA)",
      axes: ["out"],
      gauge: {},
      peft: "lora_magnitude_vector",
    },
  ],
  adapts: linearMaps,
  isSum: false,
  start: (site, own) => ({ loraMagnitude: inDType(rowLengths(site, own), own.loraA) }),
  branch: (site, own, product, x) => {
    const { layer, weight } = site;
    const branch = applyScaling(site.scaling, product);
    const factors = besideResults(rowFactors(site, own), layer);
    const output = wide(hostOf(layer).map(x, weight, layer));
    return factors
      .sub(1)
      .mul(output)
      .add(factors.mul(wide(branch)));
  },
  merge: (site, own, change) => {
    const { layer, base, weight } = site;
    const factor = rowFactors(site, own);
    const merged = besideWeight(factor, layer).mul(wide(plus(weight, change)));
    return { ...base, weight: inDType(merged, weight), loraFactor: factor };
  },
  unmerge: ({ layer, base: { loraFactor: factor, ...base }, weight }, _, change) => {
    if (!(factor instanceof Tensor))
      throw new ValueError(
        `lora.unmerge: a weight was merged with DoRA, and its loraFactor is gone, without which the length of rows is unknown. Keep what merge returned, or the parameters before it.`,
      );
    return { ...base, weight: inDType(minus(wide(weight).div(besideWeight(factor, layer)), change), weight) };
  },
  // The factor on the rows, `[out]`, without which their lengths are unknown.
  leaves: "loraFactor",
  // The magnitude goes back to the lengths of the rows of W.
  attenuate: (site, own, strength) => {
    const nothing = rowLengths(site, { loraA: own.loraA, loraB: zerosLike(own.loraB) });
    const magnitude = own.loraMagnitude!;
    const there = nothing.mul(scalar(1).sub(strength)).add(wide(magnitude).mul(strength));
    return { loraMagnitude: inDType(there, magnitude) };
  },
  exactRow: (weight, change, i, own) => {
    const row = plain.exactRow(weight, change, i, own);
    const factor = own.loraMagnitude![i]! / Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    return row.map((x) => factor * x);
  },
};

/**
 * The lengths of the rows of W + s B A, `[out]`, with no gradient, and without forming B A. A row is what makes one output, of a
 * convolution a window of all its inputs:
 *
 *     |w_i + s b_i A|^2 = |w_i|^2 + 2 s (W A^T)_i . b_i + s^2 (b_i A A^T) . b_i
 *
 * Of float16 they are float32. The largest temporaries are `[out, r]`. The terms are rounded before they are added, so the square has an
 * absolute error of some eps (|w_i| + |s b_i A|)^2: digits are lost where an adapter cancels most of a row.
 *
 * A row that is zero has no direction, and dividing by its length gives NaN, as in PEFT.
 *
 * Deviation: PEFT (0.16, `tuners/lora/dora.py`) forms B A (`out * in` elements) and adds it to W first.
 */
function rowLengths(site: Site, own: Pick<Tensors, "loraA" | "loraB">): Tensor {
  const { layer, scaling } = site;
  const [inputs, outputs] = sizesOf(layer);
  const weight = wide(site.weight).reshape([outputs, inputs]);
  const [loraA, loraB] = [wide(own.loraA), wide(own.loraB)];
  const transposed = loraA.transpose();
  const lengths = weight.square().sum(1);
  const mixed = applyScaling(scaling, weight.matmul(transposed).mul(loraB).sum(1));
  const change = loraB.matmul(loraA.matmul(transposed)).mul(loraB).sum(1);
  return lengths
    .add(mixed.mul(2))
    .add(applyScaling(scaling, applyScaling(scaling, change)))
    .maximum(0)
    .sqrt()
    .detach();
}

/** `loraMagnitude / rowLengths`, `[out]`: the factor on each row of W + s B A. Gradients reach the magnitude only. */
function rowFactors(site: Site, own: Tensors): Tensor {
  return wide(own.loraMagnitude!).div(rowLengths(site, own));
}
