import {
  compile,
  type Device,
  gelu,
  random,
  relu,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../src/index.ts";
import * as lora from "../src/lora/index.ts";
import * as nn from "../src/nn/index.ts";
import * as optim from "../src/optim/index.ts";
import type { Inspection } from "../src/tensor/compile.ts";

/** A function, and what it is called with. */
export interface Call {
  readonly f: (...args: never[]) => unknown;
  readonly args: readonly unknown[];
  /** Which arguments it takes over. */
  readonly donate: readonly number[];
}

/** A graph whose kernels are counted and kept as golden files. */
export interface CanonicalGraph {
  readonly name: string;
  /** How many kernels it takes, and why. */
  readonly kernels: number;
  readonly why: string;
  readonly make: () => Call;
  /** Compiles and calls it on a device. */
  readonly run: (device: Device) => Promise<Inspection & { readonly results: unknown }>;
}

const key = random.key(7);
const normal = (name: string, shape: number[]): Tensor => random.normal(key.fold(name), shape);

const traced = <A extends readonly unknown[]>(
  f: (...args: A) => unknown,
  args: A,
  donate: readonly number[] = [],
): Call => ({ f: f as Call["f"], args, donate }); // called with these alone

const graphs = (list: readonly Omit<CanonicalGraph, "run">[]): readonly CanonicalGraph[] =>
  list.map((graph) => ({
    ...graph,
    run: async (device) => {
      const { f, args, donate } = graph.make();
      const compiled = compile(f, { device, donate: [...donate] });
      const results = await compiled(...((await tree.evaluate(args, device)) as never[])); // tensors are arguments as they are
      return { ...compiled.inspect(), results };
    },
  }));

const matrix = () => normal("x", [32, 48]);

export const canonicalGraphs: readonly CanonicalGraph[] = graphs([
  {
    name: "elementwise-chain",
    kernels: 1,
    why: "elementwise operations of one size fuse",
    make: () => traced((x: Tensor) => x.mul(2).add(1).square().sub(x.exp()), [matrix()]),
  },
  {
    name: "broadcast-bias",
    kernels: 1,
    why: "a stretched axis is index arithmetic",
    make: () => traced((x: Tensor, b: Tensor) => x.add(b).tanh(), [matrix(), normal("b", [48])]),
  },
  {
    name: "movement",
    kernels: 1,
    why: "movements map indices; the pad guards what lies below it",
    make: () =>
      traced(
        (x: Tensor) =>
          x
            .transpose()
            .slice([1], [47], [2])
            .pad(
              [
                [1, 0],
                [0, 2],
              ],
              0.5,
            )
            .flip(0)
            .reshape([-1]),
        [matrix()],
      ),
  },
  {
    name: "mean-and-variance",
    kernels: 1,
    why: "the variance of a row follows its mean in one kernel",
    make: () => traced((x: Tensor) => ({ mean: x.mean(1), variance: x.var(1) }), [matrix()]),
  },
  {
    name: "softmax",
    kernels: 1,
    why: "a row is read for its largest, for the sum of its exponentials and for the quotients",
    make: () => traced((x: Tensor) => x.softmax(1), [matrix()]),
  },
  {
    name: "layer-norm",
    kernels: 1,
    why: "a row is read for its mean, for its variance and to be normalised",
    make: () =>
      traced(
        (x: Tensor, w: Tensor, b: Tensor) => nn.functional.layerNorm(x, [48], { weight: w, bias: b }),
        [matrix(), normal("w", [48]), normal("b", [48])],
      ),
  },
  {
    name: "layer-norm-gradient",
    kernels: 2,
    why: "everything row by row, but for the cotangents of weight and bias, which are sums over rows",
    make: () =>
      traced(
        (x: Tensor, weight: Tensor, bias: Tensor) =>
          valueAndGrad((p: { x: Tensor; weight: Tensor; bias: Tensor }) =>
            nn.functional.layerNorm(p.x, [48], { weight: p.weight, bias: p.bias }).square().sum(),
          )({ x, weight, bias })[1],
        [matrix(), normal("w", [48]), normal("b", [48])],
      ),
  },
  {
    name: "cross-entropy-gradient",
    kernels: 3,
    why: "the number of classes that count, losses and their cotangents row by row, the mean",
    make: () =>
      traced(
        (x: Tensor, classes: Tensor<"int32">) => valueAndGrad((p: Tensor) => nn.crossEntropy(p, classes))(x),
        [
          matrix(),
          tensor(
            Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 48),
            { dtype: "int32" },
          ),
        ],
      ),
  },
  {
    name: "linear-gelu",
    kernels: 1,
    why: "bias and activation are the epilogue of the matmul",
    make: () =>
      traced(
        (x: Tensor, w: Tensor, b: Tensor) => gelu(x.matmul(w.transpose()).add(b)),
        [matrix(), normal("w", [24, 48]), normal("b", [24])],
      ),
  },
  {
    name: "half-linear",
    kernels: 1,
    why: "float16 is read and stored as it is, and computed in float32",
    make: () =>
      traced(
        (x: Tensor, w: Tensor, b: Tensor) => relu(x.matmul(w.transpose()).add(b)),
        [
          matrix().astype("float16"),
          normal("w", [24, 48]).astype("float16"),
          normal("b", [24]).astype("float16"),
        ],
      ),
  },
  {
    name: "matmul-gradients",
    kernels: 3,
    why: "the product with its cotangent as epilogue, and one matmul for each operand",
    make: () =>
      traced(
        (x: Tensor, w: Tensor) =>
          valueAndGrad((p: { x: Tensor; w: Tensor }) => p.x.matmul(p.w).square().sum())({ x, w })[1],
        [matrix(), normal("w", [48, 24])],
      ),
  },
  {
    name: "embedding-gradient",
    kernels: 1,
    why: "sources are added to zeros one after the other, with no atomics",
    make: () =>
      traced(
        (table: Tensor, at: Tensor<"int32">) =>
          valueAndGrad((t: Tensor) => t.indexSelect(0, at).mul(3).sum())(table)[1],
        [normal("table", [16, 8]), tensor([3, 1, 3], { dtype: "int32" })],
      ),
  },
  {
    name: "random-normal",
    kernels: 1,
    why: "a draw is integer arithmetic on the position",
    make: () => traced((x: Tensor) => x.add(normal("noise", [32, 48])), [matrix()]),
  },
  {
    name: "adamw-update",
    kernels: 1,
    why: "the parameter and both moments in one kernel, in place",
    make: () => {
      const optimizer = optim.adamw({ lr: 1e-3, weightDecay: 0.1 });
      const params = { w: matrix() };
      return traced(
        (p: typeof params, s: ReturnType<typeof optimizer.init>, g: typeof params) => {
          const [updates, state] = optimizer.update(g, s, p);
          return { params: optim.applyUpdates(p, updates), state };
        },
        [params, optimizer.init(params), { w: normal("g", [32, 48]) }],
        [0, 1],
      );
    },
  },
  {
    name: "lora-linear",
    kernels: 3,
    why: "x A^T, its product with B^T, and x W^T whose epilogue adds bias and scaled branch; BA is never formed",
    make: () => {
      const layer = lora.linear(nn.linear(48, 40), { r: 4, alpha: 8 });
      return traced(
        (p: nn.Params, x: Tensor) => layer.apply(p, x),
        [{ ...layer.init(key), loraB: normal("loraB", [40, 4]) } as nn.Params, matrix()],
      );
    },
  },
  {
    name: "lora-step",
    kernels: 7,
    why: "three matmuls forwards, the loss, and three backwards (none for W0), whose epilogues are AdamW's updates",
    make: () => {
      const layer = lora.linear(nn.linear(48, 40, { bias: false }), { r: 4, alpha: 8 });
      const [adapter, frozen] = lora.partition({
        ...layer.init(key),
        loraB: normal("loraB", [40, 4]),
      } as nn.Params);
      const optimizer = optim.adamw({ lr: 1e-3 });
      return traced(
        (p: nn.Params, s: ReturnType<typeof optimizer.init>, f: nn.Params, x: Tensor, y: Tensor) => {
          const loss = (trained: nn.Params) =>
            nn.mseLoss(layer.apply(tree.combine<nn.Params>(trained, f), x), y);
          const [value, g] = valueAndGrad(loss)(p);
          const [updates, state] = optimizer.update(g, s, p);
          return { params: optim.applyUpdates(p, updates), state, value };
        },
        [adapter, optimizer.init(adapter), frozen, matrix(), normal("y", [32, 40])],
        [0, 1],
      );
    },
  },
]);
