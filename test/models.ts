import type { Program } from "../src/compile/program.ts";
import { transformer } from "../src/experiments/bench/transformer.ts";
import * as lora from "../src/lora/index.ts";
import * as nn from "../src/nn/index.ts";
import * as optim from "../src/optim/index.ts";
import { compile } from "../src/tensor/compile.ts";
import { zeros } from "../src/tensor/creation.ts";
import { valueAndGrad } from "../src/tensor/grad.ts";
import * as random from "../src/tensor/random.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import * as tree from "../src/tensor/tree.ts";
import { wgslPrinter } from "./printer.ts";

// Training steps of real models, as they are compiled: nothing is computed.

/** A model of so many layers, with inputs and targets for so many examples. */
export interface Setup {
  readonly model: nn.Layer;
  readonly batch: (count: number) => readonly [x: Tensor, y: Tensor];
  readonly loss: (output: Tensor, target: Tensor) => Tensor;
  /** Adapters on these layers and nothing else is trained; by default everything is. */
  readonly adapt?: "all-linear" | readonly string[];
}

const width = 24;

/** A perceptron of layers of these widths, the first one that of inputs. */
export const perceptronOf = (widths: readonly number[]): Setup => ({
  model: nn.mlp([...widths]),
  batch: (count: number) => [zeros([count, widths[0]!]), zeros([count, widths[widths.length - 1]!])] as const,
  loss: nn.mseLoss,
});
const perceptron = (layers: number) => perceptronOf(new Array<number>(layers + 1).fill(width));

const [vocabulary, context] = [40, 8];
const ids = (count: number) => zeros([count, context], { dtype: "int32" });
const gpt = (layers: number): Setup => ({
  model: transformer({ vocabulary, context, width, layers, heads: 2 }),
  batch: (count: number) => [ids(count), ids(count)] as const,
  loss: (logits, target) =>
    nn.crossEntropy(logits.reshape([-1, vocabulary]), target.reshape([-1]) as Tensor<"int32">),
});

export const models: Readonly<Record<string, (layers: number) => Setup>> = {
  "adapted perceptron": (layers) => ({ ...perceptron(layers), adapt: "all-linear" }),
  perceptron,
  "adapted transformer": (layers) => ({ ...gpt(layers), adapt: ["q", "v"] }),
  transformer: gpt,
};

export interface StepOptions {
  readonly examples: number;
  /** Clip by the norm of all gradients together. */
  readonly clip?: boolean;
  /** Most buffers that a kernel may bind. */
  readonly maxBindings?: number;
  /** Bytes up to which values may share a buffer. */
  readonly maxBuffer?: number;
}

/** The program of one step with AdamW, weight decay and, for adapters, a rate of its own for B. */
export async function stepOf(
  { model, batch, loss, adapt }: Setup,
  { examples, clip = false, maxBindings = 10, maxBuffer = Infinity }: StepOptions,
): Promise<Program> {
  const programs: Program[] = [];
  const device = wgslPrinter(undefined, (program) => programs.push(program), { maxBindings, maxBuffer });
  const adapted = adapt && lora.inject(model, { r: 4, alpha: 8, targetModules: adapt });
  const base = model.init(random.key(0));
  const [trained, frozen] = adapted ? lora.partition(adapted.init(random.key(1), base)) : [base, {}];
  const groups = adapted ? { groups: optim.loraPlus({ ratio: 4 }) } : {};
  const optimizer = optim.adamw({ lr: 1e-3, weightDecay: 0.1, ...groups });
  const step = compile(
    (p: nn.Params, s: optim.OptimizerState, rest: nn.Params, x: Tensor, y: Tensor) => {
      const [value, gradients] = valueAndGrad((own: nn.Params) =>
        loss((adapted ?? model).apply(tree.combine<nn.Params>(rest, own), x), y),
      )(p);
      const used = clip ? optim.clipByGlobalNorm(gradients, 1).gradients : gradients;
      const [updates, next] = optimizer.update(used, s, p);
      return { params: optim.applyUpdates(p, updates), state: next, value };
    },
    { device, donate: [0, 1] },
  );
  await step(trained, optimizer.init(trained), frozen, ...batch(examples));
  return programs[programs.length - 1]!;
}
