import { numel, type Shape } from "../base/shape.ts";
import type { Convolution } from "../nn/convolution.ts";
import type { Embedding } from "../nn/embedding.ts";
import * as functional from "../nn/functional.ts";
import { type Initializer, kaimingUniform } from "../nn/initializers.ts";
import type { AnyLayer } from "../nn/layer.ts";
import type { Linear } from "../nn/linear.ts";
import { inDType } from "../tensor/precision.ts";
import { normal } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

// The layers that can be adapted, each as a linear map with a weight: a row is all that adapters know of one.

/** A convolution that has a low-rank update. */
export type Convolutional = Convolution<"conv1d"> | Convolution<"conv2d"> | Convolution<"conv3d">;

export type Adaptable = Linear | Embedding | Convolutional;

interface Host<L> {
  readonly weight: (layer: L) => Shape;
  /** Whether the weight lies as `[in, out]`; else as `[out, in]`, where further axes are inputs too. */
  readonly across: boolean;
  /** Whether dropout acts on its input. */
  readonly drops: boolean;
  /** Why there is no adapter of some layer of the kind. */
  readonly refuses?: (layer: L) => string | undefined;
  /** The layer by itself with this weight, without its bias. */
  readonly map: (x: Tensor, weight: Tensor, layer: L) => Tensor;
  /** B A x in the dtype of A. */
  readonly product: (x: Tensor, loraA: Tensor, loraB: Tensor, layer: L) => Tensor;
  /** Initial values of a factor that does not start at zero; with "gaussian" those of A by its rank. */
  readonly draw: Initializer;
  readonly gaussian: (r: number) => Initializer;
  /** The factor that "standard" starts at zero. */
  readonly zero: "A" | "B";
}

const byRank =
  (r: number): Initializer =>
  (key, shape) =>
    normal(key, shape, { std: 1 / r });

// A linear map of windows. As PEFT has it A is a convolution like the layer's with r outputs, and B one of single places; as
// parameters they are the matrices `[r, in x kernel]` and `[out, r]` whose product lies as the weight does.
const convolved = (apply: typeof functional.conv2d): Host<Convolutional> => ({
  weight: ({ shape }) => shape,
  across: false,
  drops: true,
  refuses: ({ options: { groups = 1 } }) =>
    groups > 1 ? `it has ${groups} groups, and the weight of one is no product of two matrices` : undefined,
  map: (x, weight, { options }) => apply(x, weight, undefined, options),
  product: (x, a, b, { shape, options }) => {
    const [r, out] = [a.shape[0]!, b.shape[0]!];
    const inner = apply(inDType(x, a), a.reshape([r, ...shape.slice(1)]), undefined, options);
    return apply(inner, b.reshape([out, r, ...shape.slice(2).map(() => 1)]));
  },
  draw: kaimingUniform,
  gaussian: byRank,
  zero: "B",
});

const hosts: { readonly [K in Adaptable["kind"]]: Host<Extract<Adaptable, { readonly kind: K }>> } = {
  linear: {
    weight: (layer) => [layer.out, layer.in],
    across: false,
    drops: true,
    map: (x, weight) => functional.linear(x, weight),
    product: (x, a, b) => inDType(x, a).matmul(a.transpose()).matmul(b.transpose()),
    draw: kaimingUniform,
    gaussian: byRank,
    zero: "B",
  },
  // A linear map of one-hot vectors. As in loralib B is normal and A zero, and "gaussian" is no other.
  embedding: {
    weight: (layer) => [layer.vocabulary, layer.dim],
    across: true,
    drops: false,
    map: functional.embedding,
    product: (x, a, b) => functional.embedding(x, a.transpose()).matmul(b.transpose()),
    draw: normal,
    gaussian: () => normal,
    zero: "A",
  },
  conv1d: convolved(functional.conv1d),
  conv2d: convolved(functional.conv2d),
  conv3d: convolved(functional.conv3d),
};

/** What adapters know of a layer. */
export function hostOf(layer: Adaptable): Host<Adaptable> {
  return hosts[layer.kind] as Host<Adaptable>; // the row of its own kind
}

/** Whether adapters can be added to a layer. */
export function isAdaptable(layer: AnyLayer): layer is Adaptable {
  return Object.hasOwn(hosts, layer.kind);
}

/** A number for each output, `[out]`, as it goes with results of the layer, where places of a convolution come after it. */
export function besideResults(numbers: Tensor, layer: Adaptable): Tensor {
  return followed(numbers, hostOf(layer).weight(layer).length - 2);
}

/** The same as it goes with a weight that lies as `[out, in]`. */
export function besideWeight(numbers: Tensor, layer: Adaptable): Tensor {
  return followed(numbers, hostOf(layer).weight(layer).length - 1);
}

function followed(numbers: Tensor, axes: number): Tensor {
  return numbers.reshape([...numbers.shape, ...new Array<number>(axes).fill(1)]);
}

/** `[in, out]` of the linear map whose change is B A. */
export function sizesOf(layer: Adaptable): readonly [inputs: number, outputs: number] {
  const { weight, across } = hostOf(layer);
  const [first, ...rest] = weight(layer);
  return across ? [first!, numel(rest)] : [numel(rest), first!];
}
