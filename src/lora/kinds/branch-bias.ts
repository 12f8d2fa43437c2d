import type { FloatDType } from "../../base/dtype.ts";
import { ValueError } from "../../base/errors.ts";
import { scalar, zeros } from "../../tensor/creation.ts";
import { inDType, minus, plus } from "../../tensor/precision.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { besideResults, sizesOf } from "../hosts.ts";
import { applyScaling } from "../scaling.ts";
import { type ChosenKind, linearMaps, plain, type Site, type Tensors } from "./kind.ts";

export interface BranchBiasOption {
  /** A bias inside the scaled branch, `scaling * (B A x + loraBias)`, starting at zero; embeddings have none. Default false. */
  readonly branchBias?: boolean;
}

export const branchBias: ChosenKind<"loraBias", "branchBias"> = {
  ...plain,
  title: "LoRA with a branch bias",
  option: { name: "branchBias", says: "A bias inside the scaled branch, from zero", peft: "lora_bias" },
  tensors: [
    {
      name: "loraBias",
      role: "branchBias",
      what: "branch bias",
      axes: ["out"],
      gauge: { k: -1 },
      peft: "lora_B.bias",
    },
  ],
  adapts: linearMaps,
  plainOn: ["embedding"],
  inWeight: false,
  start: ({ layer }, { loraA }) => ({
    loraBias: zeros([sizesOf(layer)[1]], { dtype: loraA.dtype as FloatDType }), // adapters are floats
  }),
  branch: ({ layer, scaling }, { loraBias }, product) =>
    applyScaling(scaling, product.add(besideResults(loraBias!, layer))),
  merge: (site, own, change) => ({ ...plain.merge(site, own, change), bias: biasOf(site, own, plus) }),
  unmerge: (site, own, change) => ({ ...plain.unmerge(site, own, change), bias: biasOf(site, own, minus) }),
  attenuate: (_, { loraBias }, strength) => ({ loraBias: loraBias!.mul(strength) }),
  sum: (parts) => ({
    loraBias: parts
      .flatMap(({ own: { loraBias }, factor }) => (loraBias ? [loraBias.mul(scalar(factor))] : []))
      .reduce((sum, bias) => sum.add(bias)),
  }),
};

/** The bias of the layer with, or without, the scaled one of the branch. */
function biasOf({ base: { bias }, scaling }: Site, own: Tensors, shift: typeof plus): Tensor {
  if (!(bias instanceof Tensor))
    throw new ValueError(
      "lora: the branch bias has no bias of the base layer to go into. Make the base layer with a bias.",
    );
  return inDType(shift(bias, applyScaling(scaling, own.loraBias!)), bias);
}
