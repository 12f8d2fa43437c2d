import { ValueError } from "../../base/errors.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import * as optim from "../../optim/index.ts";
import { scalar, tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { gradientsOf, updated } from "../../train/step.ts";
import { type Build, type Expectation, Unsupported } from "./case.ts";
import { rateBound, trajectoryBound } from "./compare.ts";
import type { Engine } from "./engine.ts";
import { type Fields, type Reference, toTensor } from "./fields.ts";

type Params = { readonly [name: string]: Tensor };

/** What a run optimises. */
interface Problem {
  readonly loss: (params: Params) => Tensor;
  /** Tensors of the trained parameters that the case also expects, by their name in the case. */
  readonly finals: (params: Params) => { readonly [name: string]: Tensor };
}

/** A training run, with what it left on the way. */
interface Run {
  readonly losses: Tensor;
  /** Of the gradients before they were clipped. */
  readonly norms: readonly Tensor[];
  /** Learning rates of each update, by group. */
  readonly rates: readonly (readonly number[])[];
  /** Parameters after each update, by its number from 1. */
  readonly snapshots: ReadonlyMap<string, Params>;
  readonly finals: { readonly [name: string]: Tensor };
}

/** A case of kind `trajectory`: some updates of an optimizer, with the losses and parameters on the way. */
export const buildTrajectoryCase: Build = async (fields, engine, others) => {
  const { losses, norms, rates, snapshots, finals } = await train(fields, engine);
  const bound = trajectoryBound(engine.dtype);
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Reference, within = bound) =>
    expectations.push({ what, actual, expected, bound: within });
  expect("losses", losses, listed(fields.numbers("losses")));
  expect(
    "learning rates",
    tensor(Float64Array.from(rates.flat())),
    listed(rateTable(fields, groupsOf(fields).length)),
    rateBound,
  );
  if (fields.has("gradNorms"))
    expect("gradient norms", await column(norms), listed(fields.numbers("gradNorms")));
  const wanted = fields.object("params");
  for (const update of wanted.names) {
    const snapshot = snapshots.get(update);
    if (!snapshot)
      throw new ValueError(`${wanted.place}: there is no update ${update}; the run has ${snapshots.size}.`);
    const values = wanted.object(update);
    for (const name of values.names) {
      const actual = snapshot[name];
      if (!actual) throw new ValueError(`${values.place}.${name}: there is no such parameter in init.`);
      expect(`${name} after update ${update}`, actual, values.tensor(name));
    }
  }
  for (const [name, actual] of Object.entries(finals)) {
    if (fields.has(name)) expect(name, actual, fields.tensor(name));
  }
  if (fields.has("sameLossesAs")) {
    const other = others(fields.text("sameLossesAs"));
    const same = (await train(other, engine)).losses;
    const bits = factorsArePowersOfTwo(fields, other);
    expect(
      `losses beside those of ${other.text("name")}${bits ? ", bit for bit," : ""}`,
      losses,
      listed([...(await same.data())]),
      bits ? { relative: 0, floor: Number.MIN_VALUE } : bound,
    );
  }
  return expectations;
};

async function train(fields: Fields, engine: Engine): Promise<Run> {
  const problem = readProblem(fields, engine);
  const schedule = readSchedule(fields);
  const groups = groupsOf(fields);
  const clip = readClipping(fields);
  const plain = readOptimizer(fields.object("optimizer"), groups, schedule);
  const optimizer: optim.Optimizer = {
    ...plain,
    update: (gradients, state, params) => plain.update(clip(gradients), state, params),
  };

  let params = readParams(fields, groups, engine);
  let state = optimizer.init(params);
  const snapshots = new Map<string, Params>();
  const [losses, norms, rates]: [Tensor[], Tensor[], number[][]] = [[], [], []];
  const updates = fields.list("losses").length;
  for (let t = 0; t < updates; t++) {
    const { loss, gradients } = gradientsOf(problem.loss, params, {}, {}, {});
    const after = await engine.evaluate({ loss, ...updated(optimizer, gradients, state, params) });
    ({ params, state } = after);
    losses.push(after.loss);
    norms.push(after.norm);
    const factor = await schedule(scalar(t)).item();
    rates.push(groups.map((group) => group.number("lr") * factor));
    snapshots.set(String(t + 1), params);
  }
  return { losses: await column(losses), norms, rates, snapshots, finals: problem.finals(params) };
}

function groupsOf(fields: Fields): readonly Fields[] {
  return fields.object("optimizer").objects("groups");
}

/**
 * Whether two LoRA runs differ by powers of two only, in the scaling, the initial values and what the gauge
 * multiplies in the groups: then every number of one is that of the other times a power of two.
 */
function factorsArePowersOfTwo(fields: Fields, other: Fields): boolean {
  const numbers = (run: Fields): number[] => [
    run.number("scaling"),
    ...["loraA", "loraB"].flatMap((name) => [...run.object("init").tensor(name).data]),
    ...groupsOf(run).flatMap((group) => ["lr", "eps", "weightDecay"].map((name) => group.number(name, 0))),
  ];
  const [own, others] = [numbers(fields), numbers(other)];
  return (
    own.length === others.length &&
    own.every((x, i) => x === others[i] || 2 ** Math.round(Math.log2(x / others[i]!)) * others[i]! === x)
  );
}

/** The parameters of the groups: from `init`, or as a trained bias from the case itself. */
function readParams(fields: Fields, groups: readonly Fields[], { dtype }: Engine): Params {
  const init = fields.object("init");
  const names = groups.flatMap((group) => group.texts("params"));
  return Object.fromEntries(
    names.map((name) => [name, toTensor(init.has(name) ? init.tensor(name) : fields.tensor(name), dtype)]),
  );
}

function readProblem(fields: Fields, { dtype }: Engine): Problem {
  const x = toTensor(fields.tensor("x"), dtype);
  const y = toTensor(fields.tensor("y"), dtype);
  const problem = fields.text("problem");
  switch (problem) {
    case "tanh_mlp_mse":
      return {
        loss: ({ w1, b1, w2, b2 }) =>
          nn.mseLoss(nn.functional.linear(nn.functional.linear(x, w1!, b1).tanh(), w2!, b2), y),
        finals: () => ({}),
      };
    case "lora_linear_mse": {
      const weight = toTensor(fields.tensor("weight"), dtype);
      const bias = toTensor(fields.tensor("bias"), dtype);
      const [outputs, inputs] = weight.shape as [number, number];
      const model = lora.inject(nn.linear(inputs, outputs), {
        r: fields.number("r"),
        alpha: fields.number("alpha"),
        rsLora: fields.boolean("useRslora"),
        targetModules: "all-linear",
      });
      // The trained parameters come last: a trained bias takes the place of the frozen one.
      const whole = (params: Params) => ({ weight, bias, ...params });
      return {
        loss: (params) => nn.mseLoss(model.apply(whole(params), x), y),
        finals: (params) => ({
          finalOutput: model.apply(whole(params), x),
          finalMerged: lora.merge(model, whole(params)).weight as Tensor, // of a linear layer
        }),
      };
    }
    default:
      throw new Unsupported(`the problem ${problem} is not known`);
  }
}

function readOptimizer(
  optimizer: Fields,
  groups: readonly Fields[],
  schedule: optim.Schedule,
): optim.Optimizer {
  const name = optimizer.text("name");
  if (!optim.isOptimizerName(name)) throw new Unsupported(`the optimizer ${name} is not known`);
  const known = [...Object.keys(optim.rules[name].fields), "params"];
  const read = (group: Fields) => {
    const params = group.texts("params");
    const hyper = group.names
      .filter((field) => field !== "params")
      .map((field) => [field, readHyper(group, field)]);
    const unknown = group.names.find((field) => !known.includes(field));
    if (unknown) throw new Unsupported(`the option ${unknown} of ${name} is not known`);
    return { ...Object.fromEntries(hyper), match: (path: string) => params.includes(path) };
  };
  const config = { name, lr: groups[0]?.number("lr") ?? 0, groups: groups.map(read), schedule };
  return optim.make(config as optim.OptimizerConfig); // `make` checks every field
}

function readHyper(group: Fields, field: string): unknown {
  switch (field) {
    case "betas":
    case "etas":
    case "stepSizes":
      return group.numbers(field);
    case "nesterov":
    case "amsgrad":
    case "centered":
    case "decoupledWeightDecay":
    case "epsInsideRoot":
    case "decayTimesLr":
      return group.boolean(field);
    default:
      return group.number(field);
  }
}

function readSchedule(fields: Fields): optim.Schedule {
  if (!fields.has("schedule")) return optim.schedule.constant();
  const schedule = fields.object("schedule");
  const number = (name: string) => schedule.number(name);
  const warmup = () => ({ warmup: number("warmup"), total: number("total") });
  const type = schedule.text("type");
  switch (type) {
    case "cosine_annealing":
      return optim.schedule.cosine({ tMax: number("tMax"), etaMinFraction: number("etaMinFraction") });
    case "warmup_linear":
      return optim.schedule.warmupLinear(warmup());
    case "warmup_cosine":
      return optim.schedule.warmupCosine(warmup());
    case "warmup_constant":
      return optim.schedule.warmupConstant({ warmup: number("warmup") });
    case "step":
      return optim.schedule.step({ stepSize: number("stepSize"), gamma: number("gamma") });
    case "exponential":
      return optim.schedule.exponential({ gamma: number("gamma") });
    default:
      throw new Unsupported(`the schedule ${type} is not known`);
  }
}

type Clip = <G>(gradients: G) => G;

function readClipping(fields: Fields): Clip {
  if (fields.has("clipNorm")) {
    const bound = fields.number("clipNorm");
    return (gradients) => optim.clipByGlobalNorm(gradients, bound).gradients;
  }
  if (fields.has("clipValue")) {
    const bound = fields.number("clipValue");
    return (gradients) => optim.clipByValue(gradients, bound);
  }
  return (gradients) => gradients;
}

/** The rates of each group in each update, one after the other. */
function rateTable(fields: Fields, groups: number): number[] {
  return fields.list("lrs").flatMap((row, t) => {
    if (!Array.isArray(row) || row.length !== groups || !row.every((rate) => typeof rate === "number")) {
      throw new ValueError(`${fields.place}.lrs[${t}]: expected a number for each of ${groups} groups.`);
    }
    return row as number[]; // just checked
  });
}

function listed(values: readonly number[]): Reference {
  return { shape: [values.length], dtype: "float", data: Float64Array.from(values) };
}

/** Computed scalars as one vector, in float64. */
async function column(scalars: readonly Tensor[]): Promise<Tensor> {
  const values: number[] = [];
  for (const value of scalars) values.push(await value.item());
  return tensor(Float64Array.from(values));
}
