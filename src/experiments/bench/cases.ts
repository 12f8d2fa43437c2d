import * as nn from "../../nn/index.ts";
import { compile } from "../../tensor/compile.ts";
import { full, tensor, zeros } from "../../tensor/creation.ts";
import { type PackFormat, pack } from "../../tensor/packed.ts";
import { key, normal, uniform } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { type BaseRecipe, bases } from "../language/base.ts";
import { referenceValues } from "../reference.ts";
import { besideCase } from "./beside.ts";
import { type BenchCase, prepare, type Timed, type Work } from "./case.ts";
import {
  type Adapter,
  chain,
  frozenLinear,
  gptStep,
  layerNorm,
  loraLinear,
  loraStep,
  matmul,
  matmulOfHalf,
  mlpStep,
  softmax,
  type Trained,
  tinyAdds,
  trained,
} from "./functions.ts";
import { type TransformerSizes, transformer } from "./transformer.ts";

const seed = key(2021);
const random = (name: string, shape: readonly number[], std = 1): Tensor =>
  normal(seed.fold(name), shape, { std });

function benchCase<A extends readonly unknown[], R>(
  name: string,
  about: string,
  work: Work,
  timed: () => Timed<A, R>,
): BenchCase {
  return { name, about, work, prepare: (device) => prepare(device, timed()) };
}

/** Names of the cases whose quotient says what an adapter costs. */
export const adapterCost = { adapted: "lora forward", frozen: "frozen forward" } as const;

/** A language model whose fine-tunings take no time. */
const tinyBase: BaseRecipe = {
  ...bases.small!,
  width: 8,
  hidden: 16,
  blocks: 1,
  context: 8,
  vocabulary: 32,
  batch: 2,
};

/** Lengths divided by 16, to see that all runs and not to measure; as they are; or products for a GPU too. */
export type BenchSize = "small" | "usual" | "large";

/** Every benchmark, in order. */
export function benchCases(size: BenchSize = "usual"): BenchCase[] {
  const small = size === "small";
  const scaled = (length: number) => (small ? Math.max(2, Math.ceil(length / 16)) : length);
  const n = scaled(1024);
  const [r, batch] = [8, scaled(256)];
  return [
    ...[256, 512, 1024].map((length) => matmulCase(square(scaled(length)))),
    matmulCase(square(n), { half: true }),
    ...(size === "large" ? [matmulCase(square(4096)), matmulCase(square(4096), { half: true })] : []),
    matmulCase([n, n, r]), // x A^T
    matmulCase([n, r, n]), // (x A^T) B^T
    matmulCase([r, n, n]),
    matmulCase([1, n, n]),
    matmulCase([scaled(509), scaled(521), scaled(503)]),
    matmulCase(square(scaled(128)), { count: 16 }),
    chainCase(small ? 2 ** 12 : 2 ** 22),
    rowCase("softmax", n, (x) => ({ f: softmax, args: [x], rowwise: [0] })),
    rowCase("layer norm", n, (x) => ({
      f: layerNorm,
      args: [x, random("w", [n]), random("b", [n])],
      rowwise: [0],
    })),
    forwardCase(adapterCost.frozen, batch, n, 2 * batch * n * n, (x, weight) => ({
      f: frozenLinear,
      args: [x, weight],
      rowwise: [0],
    })),
    forwardCase(adapterCost.adapted, batch, n, 2 * batch * n * (n + 2 * r), (x, weight) => ({
      f: loraLinear,
      args: [x, weight, adapter(n, r)],
      rowwise: [0],
    })),
    loraStepCase(batch, n, r),
    loraStepCase(batch, n, r, "bfloat16"),
    loraStepCase(batch, n, r, "nf4"),
    mlpStepCase(scaled(128), [scaled(512), n, scaled(512)]),
    gptStepCase(scaled(8), {
      vocabulary: 96,
      width: scaled(128),
      layers: small ? 1 : 4,
      heads: small ? 2 : 4,
      context: scaled(64),
    }),
    ...[false, true].map((together) => besideCase(small ? tinyBase : bases.small!, together)),
    tinyCase(small ? 50 : 1000, false),
    tinyCase(small ? 50 : 1000, true),
    firstCallCase(),
  ];
}

type Sizes = readonly [m: number, k: number, n: number];

function square(n: number): Sizes {
  return [n, n, n];
}

/** `[m, k] x [k, n]`, `count` of them at once; `half`: operands in float16, added up and stored in float32. */
function matmulCase([m, k, n]: Sizes, { count = 1, half = false } = {}): BenchCase {
  const batch = count > 1 ? [count] : [];
  const sizes = m === k && k === n ? `${m}` : `${m}x${k}x${n}`;
  const name = `matmul ${count > 1 ? `${count} of ` : ""}${sizes}${half ? " of float16" : ""}`;
  const operand = (of: string, shape: readonly number[]) => {
    const x = random(of, shape);
    return half ? x.astype("float16") : x;
  };
  return benchCase(
    name,
    `[${[...batch, m, k]}] x [${[...batch, k, n]}]`,
    { flops: 2 * count * m * k * n },
    () => ({
      f: half ? matmulOfHalf : matmul,
      args: [operand("a", [...batch, m, k]), operand("b", [...batch, k, n])],
      rowwise: count > 1 ? [0, 1] : [0],
    }),
  );
}

function chainCase(size: number): BenchCase {
  // Two arrays are read and one is written.
  return benchCase(`chain ${size}`, "relu(x y + 0.5) x", { bytes: 3 * 4 * size }, () => ({
    f: chain,
    args: [random("x", [size / 64, 64]), random("y", [size / 64, 64])],
    rowwise: [0, 1],
  }));
}

function rowCase<A extends readonly unknown[]>(
  name: string,
  n: number,
  timed: (x: Tensor) => Timed<A, Tensor>,
): BenchCase {
  // Read once, written once.
  return benchCase(`${name} ${n}`, `over rows of [${n}, ${n}]`, { bytes: 2 * 4 * n * n }, () =>
    timed(random("x", [n, n])),
  );
}

function adapter(n: number, r: number): Adapter {
  return { loraA: random("A", [r, n], 1 / Math.sqrt(n)), loraB: random("B", [n, r], 0.1) };
}

function forwardCase<A extends readonly unknown[]>(
  name: string,
  batch: number,
  n: number,
  flops: number,
  timed: (x: Tensor, weight: Tensor) => Timed<A, Tensor>,
): BenchCase {
  return benchCase(name, `[${batch}, ${n}] through [${n}, ${n}]`, { flops }, () =>
    timed(random("x", [batch, n]), random("W0", [n, n], 1 / Math.sqrt(n))),
  );
}

/** A training step: each call goes on from the parameters of the last. */
function training<P, A extends readonly unknown[]>(
  f: (net: Trained<P>, ...rest: A) => Trained<P> & { readonly loss: Tensor },
  params: P,
  ...rest: A
): Timed<readonly [Trained<P>, ...A], ReturnType<typeof f>> {
  return {
    f,
    args: [trained(params), ...rest],
    step: {
      donate: [0],
      next: ({ loss, ...net }, [, ...rest]) => {
        loss.dispose();
        return [net, ...rest];
      },
    },
  };
}

/** @param format Of W0, where it is packed. */
function loraStepCase(batch: number, n: number, r: number, format?: PackFormat): BenchCase {
  // Forward x W0^T, x A^T and its product with B^T; backward the gradients of B, of x A^T and of A.
  const flops = 2 * batch * n * n + 5 * 2 * batch * n * r;
  const weight = () => random("W0", [n, n], 1 / Math.sqrt(n));
  return benchCase(
    format ? `lora step, ${format}` : "lora step",
    `W0 [${n}, ${n}] frozen${format ? ` in ${format}` : ""}, r ${r}, batch ${batch}, MSE, Adam`,
    { flops },
    () =>
      training(
        loraStep,
        adapter(n, r),
        format ? pack(weight(), { format }) : weight(),
        random("x", [batch, n]),
        random("target", [batch, n]),
      ),
  );
}

function mlpStepCase(batch: number, sizes: readonly [number, number, number]): BenchCase {
  const [a, b, c] = sizes;
  // Forward two products; backward the gradients of both weights and of the hidden layer.
  const flops = 2 * batch * (2 * a * b + 3 * b * c);
  return benchCase("mlp step", `${sizes.join("-")}, GELU, batch ${batch}, MSE, Adam`, { flops }, () =>
    training(
      (net: Trained<nn.Params>, x: Tensor, target: Tensor) => mlpStep(net, sizes, x, target),
      nn.mlp(sizes).init(seed.fold("mlp")),
      random("x", [batch, a]),
      random("target", [batch, c]),
    ),
  );
}

function gptStepCase(batch: number, sizes: TransformerSizes): BenchCase {
  const { vocabulary, width, layers, context } = sizes;
  // Each linear map forward and two products backward; of attention, forward two products and backward four.
  const linear = 3 * width * (layers * 12 * width + vocabulary);
  const flops = 2 * batch * context * (linear + layers * 6 * context * width);
  const about = `${layers} blocks of width ${width}, ${batch} x ${context} tokens of ${vocabulary}, Adam`;
  const ids = (name: string) =>
    uniform(seed.fold(name), [batch, context]).mul(vocabulary).floor().astype("int32");
  return benchCase("gpt step", about, { flops }, () =>
    training(
      (net: Trained<nn.Params>, tokens: Tensor<"int32">, targets: Tensor<"int32">) =>
        gptStep(net, sizes, tokens, targets),
      transformer(sizes).init(seed.fold("gpt")),
      ids("tokens"),
      ids("targets"),
    ),
  );
}

/** Additions of 16 numbers: all overhead. */
function tinyCase(count: number, lazy: boolean): BenchCase {
  return benchCase(
    `tiny adds, ${lazy ? "not compiled" : "compiled"}`,
    `${count} additions of 16 numbers`,
    { operations: count },
    () => ({
      f: (x: Tensor, y: Tensor) => tinyAdds(x, y, count),
      args: [zeros([16]), full([16], 0.5)],
      lazy,
    }),
  );
}

/** Trace, plan, generate code and run once: each call has a batch of another size. */
function firstCallCase(): BenchCase {
  const sizes = [24, 32, 24];
  return {
    name: "first call",
    about: `trace, plan, compile and run the step of a ${sizes.join("-")} perceptron`,
    work: { calls: 1 },
    cold: true,
    async prepare(device) {
      const net = await tree.evaluate(trained(nn.mlp(sizes).init(seed.fold("first"))), device);
      let batch = 16;
      const call = async () => {
        const host = tensor(new Float32Array(24 * batch).fill(0.5), { shape: [batch, 24] });
        batch++;
        const f = (trained: typeof net, x: Tensor) => mlpStep(trained, sizes, x, x);
        const results = await compile(f, { device })(net, host);
        return { results, reference: () => f(net, host) };
      };
      return {
        async answers() {
          const { results, reference } = await call();
          const [expected] = await referenceValues([reference().loss]);
          return [{ expected: expected!, got: await results.loss.data() }];
        },
        async run() {
          const { results } = await call();
          await device.backend.finish();
          tree.dispose(results);
        },
      };
    },
  };
}
