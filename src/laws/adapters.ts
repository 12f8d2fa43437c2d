import fc from "fast-check";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { type InjectConfig, inject } from "../lora/inject.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { type Linear, linear } from "../nn/linear.ts";
import type { OptimizerOptions } from "../optim/hyper.ts";
import type { Optimizer, OptimizerState, Schedule } from "../optim/optimizer.ts";
import { makeOptimizer, type Rule, type Slots } from "../optim/rule.ts";
import { applyUpdates } from "../optim/updates.ts";
import { scalar, tensor } from "../tensor/creation.ts";
import { type Key, key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import type { LoraConfig } from "./arbitrary/lora.ts";
import type { Awaitable } from "./law.ts";
import type { LayerUnderTest, LoraParams } from "./lora/layer.ts";
import type { Matrix } from "./matrix.ts";
import type { Exponents, Hyper, OptimizerUnderTest, Vector } from "./optimizer.ts";
import type { ScheduleUnderTest } from "./schedule.ts";

// What is written with Lorantz, in the plain form that laws take. The device is that of the latest `init`.

export interface DTypeOption {
  readonly dtype?: FloatDType;
}

/** A linear layer with an adapter, with parameters `weight`, `loraA` and `loraB`: as `lora.inject` makes it. */
export interface AdaptedLinear {
  init(key: Key, base: Params): Awaitable<Params>;
  readonly apply: Layer["apply"];
}

export interface FromAdaptedOptions<M extends AdaptedLinear>
  extends DTypeOption,
    Partial<Pick<LayerUnderTest, "init" | "std" | "tolerance">> {
  /** Whether the layer can do `alpha / sqrt(r)`. Default true. */
  readonly rsLora?: boolean;
  /** Parameters of the base with the adapter merged in, as `lora.merge`. */
  readonly merge?: (model: M, params: Params) => Params;
}

/**
 * A linear layer with an adapter, written with Lorantz, for `laws.lora`. float32 unless told otherwise.
 *
 * @param make Adapts a base without bias; `laws.injected` is this library's own.
 * @example
 * await laws.check(laws.lora(laws.fromAdapted(laws.injected(), { merge: lora.merge })));
 */
export function fromAdapted<M extends AdaptedLinear>(
  make: (base: Linear, config: LoraConfig) => M,
  options: FromAdaptedOptions<M> = {},
): LayerUnderTest {
  const { dtype = "float32", merge, rsLora = true, init, std, tolerance } = options;
  const asTensors = ({ weight, A, B }: LoraParams): Params => ({
    weight: tensor(weight, { dtype }),
    loraA: tensor(A, { dtype }),
    loraB: tensor(B, { dtype }),
  });
  return {
    supports: [...(rsLora ? (["rsLora"] as const) : []), ...(merge ? (["merge"] as const) : [])],
    ...(init && { init }),
    ...(std && { std }),
    ...(tolerance !== undefined && { tolerance }),
    build: async (weight, config) => {
      const model = make(linear(config.in, config.out, { bias: false, dtype }), config);
      const fresh = await model.init(key(config.seed), { weight: tensor(weight, { dtype }) });
      const [W, A, B] = await Promise.all(["weight", "loraA", "loraB"].map((name) => rowsOf(fresh, name)));
      return {
        params: { weight: W!, A: A!, B: B! },
        forward: (params, x) => rows(model.apply(asTensors(params), tensor(x, { dtype }))),
        ...(merge && {
          merge: (params: LoraParams) => rowsOf(merge(model, asTensors(params)), "weight"),
        }),
      };
    },
  };
}

/** `lora.inject` for `fromAdapted`, with options beside r, alpha and rsLora. */
export function injected(more: Omit<InjectConfig, "r" | "alpha" | "rsLora" | "targetModules"> = {}) {
  return (base: Linear, { r, alpha, rsLora }: LoraConfig) =>
    inject(base, { ...more, r, alpha, rsLora, targetModules: "all-linear" });
}

function rowsOf(params: Params, name: string): Promise<Matrix> {
  const leaf = params[name];
  if (!(leaf instanceof Tensor))
    throw new ValueError(
      `laws.fromAdapted: the parameters have no tensor ${name}; they have ${Object.keys(params).join(", ")}. Name the weight weight, A loraA and B loraB.`,
    );
  return rows(leaf);
}

async function rows(x: Tensor): Promise<Matrix> {
  const values = [...(await x.data())];
  const [count = 0, length = 0] = x.shape;
  return Array.from({ length: count }, (_, i) => values.slice(i * length, (i + 1) * length));
}

/** The state of an optimizer as plain data: host numbers, and the elements of tensors, by path. */
export type PlainState = Readonly<Record<string, number | Vector>>;

export interface FromOptimizerOptions<H>
  extends DTypeOption,
    Partial<
      Pick<
        OptimizerUnderTest<H & Hyper, PlainState>,
        | "exponents"
        | "stateExponents"
        | "nonzeroStart"
        | "jumps"
        | "symmetric"
        | "updates"
        | "tolerance"
        | "is"
      >
    > {}

/**
 * An optimizer in the library's interface, for `laws.optimizer`. float64 unless told otherwise.
 *
 * @param make The optimizer of some hyperparameters, without schedule.
 * @example
 * const powers = await gauge.discoverSymmetry(mine, { hyper });
 * const subject = laws.fromOptimizer(mine, hyper, powers.exists ? { exponents: () => powers.hyper } : {});
 */
export function fromOptimizer<H extends Hyper>(
  make: (hyper: H) => Optimizer,
  hyper: H | fc.Arbitrary<H>,
  { dtype = "float64", tolerance = dtype === "float64" ? 1e-9 : 1e-4, ...more }: FromOptimizerOptions<H> = {},
): OptimizerUnderTest<H, PlainState> {
  return {
    ...more,
    tolerance,
    hyper,
    create: (own) => {
      const optimizer = make(own);
      const asTensor = (values: Vector) => tensor([...values], { dtype });
      return {
        init: (params) => toPlain(optimizer.init(asTensor(params))),
        update: async (gradient, state, params) => {
          const parameter = asTensor(params);
          const before = fromPlain(state, optimizer.init(parameter));
          const [update, next] = optimizer.update(asTensor(gradient), before, parameter);
          return { params: [...(await applyUpdates(parameter, update).data())], state: await toPlain(next) };
        },
      };
    },
  };
}

async function toPlain(state: OptimizerState): Promise<PlainState> {
  const values = tree.entries(state).map(async ([path, leaf]): Promise<[string, number | Vector]> => {
    return [path, leaf.dtype === "number" ? await leaf.item() : [...(await leaf.data())]];
  });
  return Object.fromEntries(await Promise.all(values));
}

/** The state with the structure, shapes and dtypes of another one. */
function fromPlain(state: PlainState, like: OptimizerState): OptimizerState {
  return tree.map(like, ({ dtype, shape }, path) => {
    const value = state[path];
    if (typeof value === "number") return scalar(value);
    if (value === undefined || dtype === "number")
      throw new ValueError(
        `laws.fromOptimizer: update returned a state without ${path}, which init makes. Return the slots that init made.`,
      );
    return tensor([...value], { shape, dtype });
  });
}

/**
 * An update rule for `laws.optimizer`, with the powers that it declares.
 *
 * @param options Options of the optimizer, or what draws them; no groups, no schedule.
 * @example
 * await laws.check(laws.optimizer(laws.fromRule(optim.adamwRule, { lr: 0.01, eps: 0.1 })));
 */
export function fromRule<H extends { readonly lr: number }, S extends Slots>(
  rule: Rule<H, S>,
  options: OptimizerOptions<H> | fc.Arbitrary<OptimizerOptions<H>>,
  more: DTypeOption & Pick<FromOptimizerOptions<H>, "jumps" | "updates" | "tolerance"> = {},
): OptimizerUnderTest<H, PlainState> {
  const drawn = options instanceof fc.Arbitrary ? options : fc.constant(options);
  // With defaults filled in: they scale too.
  const hyper = drawn.map((given) => makeOptimizer(rule, given).defaults);
  const make = (own: H): Optimizer => makeOptimizer(rule, own as unknown as OptimizerOptions<H>); // all of them
  return fromOptimizer(make, hyper, {
    ...more,
    exponents: (own: H): Exponents => {
      const powers = rule.scaling.hyper(own);
      if ("none" in powers)
        throw new ValueError(`${rule.name} declares no exact rule in this form: ${String(powers.none)}.`);
      return powers as unknown as Exponents; // a number by the name of each hyperparameter
    },
    stateExponents: (own: H) => rule.scaling.state(own),
    nonzeroStart: rule.scaling.needs !== undefined,
  });
}

/**
 * A schedule in the library's interface, for `laws.schedule`.
 *
 * @example
 * await laws.check(laws.schedule(laws.fromSchedule(optim.schedule.cosine({ tMax: 10 }), { steps: 10, first: 1, last: 0 })));
 */
export function fromSchedule(schedule: Schedule, ends: Omit<ScheduleUnderTest, "create">): ScheduleUnderTest {
  return {
    ...ends,
    create: (lr) => (step) =>
      scalar(lr)
        .mul(schedule(scalar(step)))
        .item(),
  };
}
