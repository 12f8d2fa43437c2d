import type { FloatDType, HostArray } from "../src/base/dtype.ts";
import * as gauge from "../src/gauge/index.ts";
import * as lora from "../src/lora/index.ts";
import * as nn from "../src/nn/index.ts";
import { applyUpdates, type OptimizerState, type Schedule } from "../src/optim/index.ts";
import { compile } from "../src/tensor/compile.ts";
import { scalar } from "../src/tensor/creation.ts";
import { valueAndGrad } from "../src/tensor/grad.ts";
import * as random from "../src/tensor/random.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import * as tree from "../src/tensor/tree.ts";

// Small LoRA fine-tunings, run step by step with everything recorded.

/** A model, where adapters go, a batch's size and a loss: what shapes a program. */
export interface Problem {
  readonly base: nn.Layer;
  readonly inputs: number;
  readonly outputs: number;
  readonly batch: number;
  readonly adapter: Pick<lora.InjectConfig, "r" | "dropout" | "branchBias" | "targetModules">;
  /** Train the biases of the base model too. */
  readonly trainBiases: boolean;
  readonly loss: "mse" | "crossEntropy" | "l1";
}

/** Everything about one run that is not its recipe. */
export interface Setting {
  readonly problem: Problem;
  readonly dtype: FloatDType;
  readonly seed: number;
  readonly steps: number;
  readonly schedule?: Schedule;
}

/** Parameters, optimizer state and what comes after: where a run stands. */
export interface Standing {
  readonly params: nn.Params;
  readonly state?: OptimizerState;
  /** Updates done so far; it folds into the key of dropout. */
  readonly done: number;
}

export type Snapshot = ReadonlyMap<string, HostArray>;

/** What was seen at each step: the loss, the outputs, and the trained parameters after the update. */
export interface Run {
  readonly steps: readonly Snapshot[];
  readonly end: Required<Standing>;
}

/** The partner of a setting's recipe runs in the same programs: only numbers differ. */
export async function train(setting: Setting, recipe: gauge.Recipe, from: Standing): Promise<Run> {
  const { problem, schedule, seed } = setting;
  const model = adapted(problem, recipe);
  const optimizer = gauge.optimizerOf(recipe, schedule ? { schedule } : {});
  const [trained, frozen] = split(problem, from.params);
  const [x, y] = data(setting);
  const dropoutKey = random.key(seed).fold("dropout");

  const step = compile(
    (own: nn.Params, state: OptimizerState, fixed: nn.Params, x: Tensor, y: Tensor, t: Tensor<"number">) => {
      const [[loss, output], gradients] = valueAndGrad((own: nn.Params): readonly [Tensor, Tensor] => {
        const output = model.apply(tree.combine<nn.Params>(fixed, own), x, {
          training: true,
          key: dropoutKey.fold(t),
        });
        return [losses[problem.loss](output, y), output];
      })(own);
      const [updates, next] = optimizer.update(gradients, state, own);
      return { params: applyUpdates(own, updates), state: next, seen: { loss, output } };
    },
  );

  let params = trained;
  let state = from.state ?? optimizer.init(trained);
  const seen: unknown[] = [];
  for (let t = from.done; t < from.done + setting.steps; t++) {
    const after = await step(params, state, frozen, x, y, scalar(t));
    ({ params, state } = after);
    seen.push({ ...after.seen, params });
  }
  const end = { params: tree.combine<nn.Params>(frozen, params), state, done: from.done + setting.steps };
  return { steps: await Promise.all(seen.map(snapshot)), end };
}

/** The initial parameters of a recipe. */
export async function initial({ problem, dtype, seed }: Setting, recipe: gauge.Recipe): Promise<nn.Params> {
  const fresh = adapted(problem, recipe).init(random.key(seed).fold("params"));
  return tree.evaluate(tree.map(fresh, (leaf) => inDType(leaf, dtype)));
}

/** The values of all tensors of a tree, by path. */
export async function snapshot(values: unknown): Promise<Snapshot> {
  return new Map(
    await Promise.all(tree.entries(values).map(async ([path, leaf]) => [path, await leaf.data()] as const)),
  );
}

function adapted(problem: Problem, recipe: gauge.Recipe): lora.Adapted {
  return lora.inject(problem.base, { ...recipe, ...problem.adapter });
}

/** Of the base model, biases at most are trained. */
function split(problem: Problem, params: nn.Params): [nn.Params, nn.Params] {
  return tree.partition(
    params,
    (_, path) => lora.roleOf(path) !== "base" || (problem.trainBiases && path.endsWith("bias")),
  );
}

function data({ problem, dtype, seed }: Setting): [x: Tensor, y: Tensor] {
  const key = random.key(seed).fold("data");
  const x = inDType(random.normal(key.fold("x"), [problem.batch, problem.inputs]), dtype);
  if (problem.loss !== "crossEntropy")
    return [x, inDType(random.normal(key.fold("y"), [problem.batch, problem.outputs]), dtype)];
  return [x, random.uniform(key.fold("y"), [problem.batch], { max: problem.outputs }).astype("int32")];
}

/** In float64, with digits that float32 does not have. */
function inDType(x: Tensor, dtype: FloatDType): Tensor {
  return dtype === "float32" ? x : x.astype(dtype).mul(scalar(Math.PI / 3));
}

const losses: Readonly<Record<Problem["loss"], (output: Tensor, target: Tensor) => Tensor>> = {
  mse: nn.mseLoss,
  crossEntropy: nn.crossEntropy,
  l1: nn.l1Loss,
};

const tanh = (x: Tensor) => x.tanh();

/** A handful of shapes, none square, so that each optimizer needs few programs. */
export const problems: Readonly<Record<string, Problem>> = {
  "one layer, mean squared error": {
    base: nn.linear(5, 3),
    inputs: 5,
    outputs: 3,
    batch: 4,
    adapter: { r: 2, targetModules: "all-linear" },
    trainBiases: false,
    loss: "mse",
  },
  "two layers and their biases, cross-entropy": {
    base: nn.mlp([6, 7, 4], { activation: tanh }),
    inputs: 6,
    outputs: 4,
    batch: 5,
    adapter: { r: 3, targetModules: "all-linear" },
    trainBiases: true,
    loss: "crossEntropy",
  },
  "one of two layers, dropout, branch bias, mean absolute error": {
    base: nn.mlp([4, 6, 3], { activation: tanh }),
    inputs: 4,
    outputs: 3,
    batch: 6,
    adapter: { r: 1, dropout: 0.25, branchBias: true, targetModules: ["fc2"] },
    trainBiases: false,
    loss: "l1",
  },
  "rank 4 with dropout and biases, mean squared error": {
    base: nn.linear(8, 4),
    inputs: 8,
    outputs: 4,
    batch: 3,
    adapter: { r: 4, dropout: 0.1, targetModules: "all-linear" },
    trainBiases: true,
    loss: "mse",
  },
};
