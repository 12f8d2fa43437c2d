import { numel, type Shape } from "../base/shape.ts";
import type { Embedding } from "../nn/embedding.ts";
import * as functional from "../nn/functional.ts";
import { type Initializer, kaimingUniform } from "../nn/initializers.ts";
import type { AnyLayer } from "../nn/layer.ts";
import type { Linear } from "../nn/linear.ts";
import { inDType } from "../tensor/precision.ts";
import { normal } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

// The layers that can be adapted, each as a linear map with a weight: a row is all that adapters know of one.

export type Adaptable = Linear | Embedding;

interface Host<L> {
  readonly weight: (layer: L) => Shape;
  /** Whether the weight lies as `[in, out]`; else as `[out, in]`, where further axes are inputs too. */
  readonly across: boolean;
  /** Whether dropout acts on its input. */
  readonly drops: boolean;
  /** B A x in the dtype of A. */
  readonly product: (x: Tensor, loraA: Tensor, loraB: Tensor) => Tensor;
  /** Initial values of a factor that does not start at zero; with "gaussian" those of A by its rank. */
  readonly draw: Initializer;
  readonly gaussian: (r: number) => Initializer;
  /** The factor that "standard" starts at zero. */
  readonly zero: "A" | "B";
}

const hosts: { readonly [K in Adaptable["kind"]]: Host<Extract<Adaptable, { readonly kind: K }>> } = {
  linear: {
    weight: (layer) => [layer.out, layer.in],
    across: false,
    drops: true,
    product: (x, a, b) => inDType(x, a).matmul(a.transpose()).matmul(b.transpose()),
    draw: kaimingUniform,
    gaussian: (r) => (key, shape) => normal(key, shape, { std: 1 / r }),
    zero: "B",
  },
  // A linear map of one-hot vectors. As in loralib B is normal and A zero, and "gaussian" is no other.
  embedding: {
    weight: (layer) => [layer.vocabulary, layer.dim],
    across: true,
    drops: false,
    product: (x, a, b) => functional.embedding(x, a.transpose()).matmul(b.transpose()),
    draw: normal,
    gaussian: () => normal,
    zero: "A",
  },
};

/** What adapters know of a layer. */
export function hostOf(layer: Adaptable): Host<Adaptable> {
  return hosts[layer.kind] as Host<Adaptable>; // the row of its own kind
}

/** Whether adapters can be added to a layer. */
export function isAdaptable(layer: AnyLayer): layer is Adaptable {
  return Object.hasOwn(hosts, layer.kind);
}

/** `[in, out]` of the linear map whose change is B A. */
export function sizesOf(layer: Adaptable): readonly [inputs: number, outputs: number] {
  const { weight, across } = hostOf(layer);
  const [first, ...rest] = weight(layer);
  return across ? [first!, numel(rest)] : [numel(rest), first!];
}
