import type { Params } from "../../nn/layer.ts";
import { inDType, minus, plus } from "../../tensor/precision.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Adaptable } from "../hosts.ts";
import { applyScaling, type Scaling } from "../scaling.ts";

/** A tensor of an adapter. */
export interface AdapterTensor<Name extends string = string, Role extends string = string> {
  /** Among parameters. It begins with "lora", and no other parameter does. */
  readonly name: Name;
  /** What it is to its adapter, as `roleOf` and recipes say it. */
  readonly role: Role;
  /** What it is called in messages. */
  readonly what: string;
  readonly axes: readonly ("r" | "in" | "out")[];
  /** Powers of a, b and k in the constant by which a gauge multiplies it. */
  readonly gauge: { readonly [factor in "a" | "b" | "k"]?: 1 | -1 };
  /** What PEFT calls it. */
  readonly peft: string;
}

/** The tensors of an adapter by their names: A `[r, in]`, B `[out, r]`, and those of its kind. */
export interface Tensors {
  readonly loraA: Tensor;
  readonly loraB: Tensor;
  readonly [name: string]: Tensor;
}

/** A layer with an adapter. */
export interface Site {
  readonly layer: Adaptable;
  /** The layer's own parameters. */
  readonly base: Params;
  /** Its weight, unpacked. */
  readonly weight: Tensor;
  readonly scaling: Scaling;
}

/** A kind of adapter: to `lora` what an update rule is to `optim`. It is written in its file and named in `index.ts`. */
export interface AdapterKind<T extends AdapterTensor = AdapterTensor> {
  readonly title: string;
  /** The option of a configuration that asks for it, what it says, and PEFT's name of it; plain LoRA has none. */
  readonly option?: { readonly name: string; readonly says: string; readonly peft: string };
  /** What it has beside A and B. */
  readonly tensors: readonly T[];
  readonly adapts: readonly Adaptable["kind"][];
  /** Layers that have plain LoRA in its place; others are refused. */
  readonly plainOn?: readonly Adaptable["kind"][];
  /** Whether the change of the weight is s B A, so that adapters add up and have a spectrum. */
  readonly isSum: boolean;
  /** Whether the change is one of the weight alone. */
  readonly inWeight: boolean;
  /** What its own tensors start as, beside these A and B. */
  readonly start: (site: Site, own: Pick<Tensors, "loraA" | "loraB">) => Params;
  /** What it adds to the output of the layer, of `product`, B A x, and x itself. */
  readonly branch: (site: Site, own: Tensors, product: Tensor, x: Tensor) => Tensor;
  /** The layer's parameters with s B A in them, and with it taken out again. */
  readonly merge: (site: Site, own: Tensors, change: Tensor) => Params;
  readonly unmerge: (site: Site, own: Tensors, change: Tensor) => Params;
  /** What `merge` leaves beside the weight for `unmerge`. */
  readonly leaves?: string;
  /** Its own tensors at some strength of the change, 0 to 1; B is multiplied by it. */
  readonly attenuate: (site: Site, own: Tensors, strength: Tensor) => Params;
  /** Its own tensors for a sum of changes, each times a factor; some of them may be of plain LoRA. */
  readonly sum?: (parts: readonly { readonly own: Tensors; readonly factor: number }[]) => Params;
  /** Row i of the merged weight in float64, from those of W and s B A, and its tensors. */
  readonly exactRow: (
    weight: Float64Array,
    change: Float64Array,
    i: number,
    own: { readonly [name: string]: ArrayLike<number> },
  ) => Float64Array;
}

/** A kind that an option of a configuration asks for. */
export interface ChosenKind<Name extends string = string, Role extends string = string>
  extends AdapterKind<AdapterTensor<Name, Role>> {
  readonly option: NonNullable<AdapterKind["option"]>;
}

/** A and B of every kind. */
export const factors = [
  { name: "loraA", role: "A", what: "A", axes: ["r", "in"], gauge: { a: 1 }, peft: "lora_A.weight" },
  { name: "loraB", role: "B", what: "B", axes: ["out", "r"], gauge: { b: 1 }, peft: "lora_B.weight" },
] as const satisfies readonly AdapterTensor[];

/** The layers whose weight lies as `[out, in]`, with a number for each output. */
export const linearMaps = ["linear", "conv1d", "conv2d", "conv3d"] as const;

/** y = W x + s B A x (Hu et al. 2021, arXiv:2106.09685). */
export const plain: AdapterKind<never> = {
  title: "LoRA",
  tensors: [],
  adapts: [...linearMaps, "embedding"],
  isSum: true,
  inWeight: true,
  start: () => ({}),
  branch: ({ scaling }, _, product) => applyScaling(scaling, product),
  merge: ({ base, weight }, _, change) => ({ ...base, weight: inDType(plus(weight, change), weight) }),
  unmerge: ({ base, weight }, _, change) => ({ ...base, weight: inDType(minus(weight, change), weight) }),
  attenuate: () => ({}),
  exactRow: (weight, change) => weight.map((x, j) => x + change[j]!),
};
