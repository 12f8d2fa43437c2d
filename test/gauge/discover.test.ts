import { describe, expect, test } from "vitest";
import {
  type DiscoverOptions,
  discoverSymmetry,
  type NoSymmetry,
  type Symmetry,
  type Undecided,
} from "../../src/gauge/index.ts";
import * as optim from "../../src/optim/index.ts";
import { scalar, zerosLike } from "../../src/tensor/creation.ts";
import { where } from "../../src/tensor/functions.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { long } from "../long.ts";
import { everyNth } from "../thorough.ts";

// Discovery without a device. What it must find is written out here from the theory; what the rules declare is
// compared with it as well.

async function symmetry<H extends object>(
  optimizer: optim.Optimizer | ((hyper: H) => optim.Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<Symmetry> {
  const found = await discoverSymmetry(optimizer, options);
  if (!found.exists) throw new Error(found.text);
  return found;
}

async function none<H extends object>(
  optimizer: optim.Optimizer | ((hyper: H) => optim.Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<NoSymmetry> {
  const found = await discoverSymmetry(optimizer, options);
  if (found.exists !== false) throw new Error(found.text);
  return found;
}

async function fault<H extends object>(
  optimizer: optim.Optimizer | ((hyper: H) => optim.Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<Undecided> {
  const found = await discoverSymmetry(optimizer, options);
  if (found.exists !== undefined) throw new Error(found.text);
  return found;
}

interface Row {
  readonly config: optim.OptimizerConfig;
  readonly hyper: Readonly<Record<string, number>>;
  readonly state: Readonly<Record<string, number>>;
}

const adam = { betas: 0, eps: -1, weightDecay: -2, lr: 1 };
const moments = { m: -1, v: -2 };
const sgd = { momentum: 0, weightDecay: -2, lr: 2 };
const velocity = { velocity: -1 };

const table: Readonly<Record<string, Row>> = {
  SGD: { config: { name: "sgd", lr: 0.1 }, hyper: { ...sgd, dampening: 0 }, state: velocity },
  "SGD, dampening, coupled decay": {
    config: { name: "sgd", lr: 0.1, momentum: 0.9, dampening: 0.5, weightDecay: 0.1 },
    hyper: { ...sgd, dampening: 0 },
    state: velocity,
  },
  "SGD, Nesterov, decoupled decay": {
    config: { name: "sgd", lr: 0.1, momentum: 0.9, nesterov: true, decoupledWeightDecay: true },
    hyper: sgd, // Nesterov's takes no dampening
    state: velocity,
  },
  Adam: { config: { name: "adam", lr: 1e-3 }, hyper: adam, state: moments },
  "Adam, eps inside the root": {
    config: { name: "adam", lr: 1e-3, epsInsideRoot: true },
    hyper: { ...adam, eps: -2 },
    state: moments,
  },
  AdamW: { config: { name: "adamw", lr: 1e-3 }, hyper: { ...adam, weightDecay: -1 }, state: moments },
  "AdamW, decay not times lr": {
    config: { name: "adamw", lr: 1e-3, decayTimesLr: false },
    hyper: { ...adam, weightDecay: 0 },
    state: moments,
  },
  "AMSGrad (Adam)": {
    config: { name: "adam", lr: 1e-3, amsgrad: true },
    hyper: adam,
    state: { ...moments, vMax: -2 },
  },
  "AMSGrad (AdamW)": {
    config: { name: "adamw", lr: 1e-3, amsgrad: true, betas: [0.9, 0.8] },
    hyper: { ...adam, weightDecay: -1 },
    state: { ...moments, vMax: -2 },
  },
  Adamax: { config: { name: "adamax", lr: 1e-3 }, hyper: adam, state: { m: -1, u: -1 } },
  NAdam: {
    config: { name: "nadam", lr: 1e-3 },
    hyper: { ...adam, momentumDecay: 0 },
    state: { ...moments, muProduct: 0 },
  },
  "RAdam, two rates": {
    config: { name: "radam", lr: 1e-3, lrUnrectified: 1e-2 },
    hyper: { ...adam, lrUnrectified: 2 },
    state: moments,
  },
  RMSprop: {
    config: { name: "rmsprop", lr: 1e-3 },
    hyper: { lr: 1, alpha: 0, eps: -1, momentum: 0, weightDecay: -2 },
    state: { v: -2, velocity: 0 },
  },
  "RMSprop, centred, momentum": {
    config: { name: "rmsprop", lr: 1e-3, centered: true, momentum: 0.9, alpha: 0.9 },
    hyper: { lr: 1, alpha: 0, eps: -1, momentum: 0, weightDecay: -2 },
    state: { v: -2, velocity: 0, mean: -1 },
  },
  Adagrad: {
    config: { name: "adagrad", lr: 1e-2 },
    hyper: { lr: 1, eps: -1, lrDecay: 0, initialAccumulatorValue: -2, weightDecay: -2 },
    state: { sum: -2 },
  },
  "Adadelta, two eps": {
    config: { name: "adadelta", lr: 1, epsGradient: 1e-6, epsUpdate: 1e-6 },
    hyper: { lr: 0, rho: 0, eps: 0, epsGradient: -2, epsUpdate: 2, weightDecay: -2 },
    state: { v: -2, updates: 2 },
  },
  Rprop: {
    config: { name: "rprop", lr: 1e-2 },
    hyper: { lr: 1, etas: 0, stepSizes: 1 },
    state: { last: -1, stepSize: 1 },
  },
  Lion: { config: { name: "lion", lr: 1e-3 }, hyper: { lr: 1, betas: 0, weightDecay: -1 }, state: { m: -1 } },
  "signSGD, momentum": {
    config: { name: "signSgd", lr: 1e-3 },
    hyper: { lr: 1, momentum: 0 },
    state: { m: -1 },
  },
  LAMB: {
    config: { name: "lamb", lr: 1e-3 },
    hyper: { lr: 0, betas: 0, eps: -1, weightDecay: -1 },
    state: moments,
  },
  Adafactor: {
    config: { name: "adafactor", lr: 1e-2 },
    hyper: { lr: 0, decayRate: 0, epsGradient: -2, epsParameter: 1, clipThreshold: 0, weightDecay: 0 },
    state: { rows: -2, columns: -2, v: -2 },
  },
  "Adafactor, of absolute steps": {
    config: { name: "adafactor", lr: 1e-2, scaleParameter: false, epsParameter: 0 },
    hyper: { lr: 1, decayRate: 0, epsGradient: -2, epsParameter: 0, clipThreshold: 0, weightDecay: -1 },
    state: { rows: -2, columns: -2, v: -2 },
  },
};

const optimizerOf = (config: optim.OptimizerConfig): optim.Optimizer => optim.make(config);

describe("the table of the theory", () => {
  test.for(everyNth(17, Object.entries(table)))("%s", async ([name, { config, hyper, state }]) => {
    const optimizer = optimizerOf(config);
    const found = await symmetry(optimizer);
    expect(found.hyper).toEqual(hyper);
    expect(found.state).toEqual(state);
    expect(found.bitwise).toBe(true);
    expect(found.needs).toEqual(name === "LAMB" ? ["parameters that do not all start at zero"] : []);
    const { scaling } = optim.rules[config.name];
    // The declared rule knows all forms; discovery sees the numbers of this one.
    const declared = (scaling.hyper as (hyper: unknown) => object)(optimizer.defaults);
    expect(declared).toMatchObject(hyper);
    expect((scaling.state as (hyper: unknown) => object)(optimizer.defaults)).toMatchObject(state);
  });

  long("RAdam has no single rate, and is exact with one for each of its phases", async () => {
    const found = await none(optim.radam({ lr: 1e-3 }));
    const { counterexample, perUpdate } = found;
    // rho_t > 5 for the first time at t = 6.
    expect(counterexample).toMatchObject({ update: 6, where: "update", element: 0 });
    expect(counterexample.relative).toBeGreaterThan(0.1);
    expect(counterexample.gradients.map((row) => row.length)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(perUpdate?.phases).toEqual({
      lr: [
        { from: 1, to: 5, power: 2 },
        { from: 6, to: 12, power: 1 },
      ],
    });
    expect(perUpdate).toMatchObject({ hyper: { eps: -1, weightDecay: -2, betas: 0 }, bitwise: true });
    expect(found.text).toContain("lr times c^2 in updates 1 to 5");

    const asked = await symmetry(optim.radam({ lr: 1e-3 }), { perUpdate: ["lr"], updates: 8 });
    expect(asked.phases.lr?.at(-1)).toEqual({ from: 6, to: 8, power: 1 });
    expect(optim.radamRule.scaling.hyper(optim.radam({ lr: 1 }).defaults)).toHaveProperty("none");
  });

  // The published method has no learning rate. Where it is one, it can convert units for both eps.
  long("Adadelta with one eps has a rule at c^2 lr, and none at a fixed lr", async () => {
    const found = await symmetry(optim.adadelta({ lr: 1 }));
    expect(found.hyper).toEqual({ lr: 2, rho: 0, eps: -2, weightDecay: -2 });
    expect(found.state).toEqual({ v: -2, updates: -2 });
    expect(found.bitwise).toBe(true);
    expect(optim.adadeltaRule.scaling.hyper(optim.adadelta({ lr: 1 }).defaults)).toMatchObject(found.hyper);

    const published = (hyper: { rho: number; eps: number }) => optim.adadelta({ lr: 1, ...hyper });
    const { counterexample } = await none(published, { hyper: { rho: 0.9, eps: 1e-6 } });
    expect(counterexample.update).toBeLessThanOrEqual(1);
    expect(counterexample.relative).toBeGreaterThan(0.1);
  });

  long("two eps and lr of Adadelta can be traded for one another, which it says", async () => {
    const found = await symmetry(optimizerOf(table["Adadelta, two eps"]!.config));
    expect(found.open).toEqual([
      { name: "eps", along: [] },
      { name: "lr", along: expect.arrayContaining(["epsUpdate", "state updates"]) },
    ]);
  });
});

/** An optimizer of a user's own: an update of each tensor from its gradient, and one average of gradients. */
function mine(
  step: (g: Tensor, m: Tensor, p: Tensor) => Tensor,
  { beta = 0.5 }: { readonly beta?: number } = {},
): optim.Optimizer {
  type State = optim.OptimizerState & { readonly m: unknown };
  return {
    name: "mine",
    defaults: {},
    hyper: () => ({}),
    init: (params) => ({ step: scalar(0), m: tree.map(params, (p) => zerosLike(p)) }),
    update<P>(gradients: P, state: optim.OptimizerState, params: P): [P, optim.OptimizerState] {
      const m = tree.zip([(state as State).m as P, gradients], ([m, g]) =>
        m!.mul(beta).add(g!.mul(1 - beta)),
      );
      const updates = tree.zip([gradients, m, params], ([g, m, p]) => step(g!, m!, p!));
      return [updates, { step: state.step.add(1), m }];
    },
  };
}

describe("optimizers of a user's own", () => {
  long("the root of a normalised momentum: powers that are halves", async () => {
    const make = ({ lr, eps, beta }: { lr: number; eps: number; beta: number }) =>
      mine((_, m) => m.div(m.abs().add(eps).sqrt()).mul(-lr), { beta });
    const found = await symmetry(make, { hyper: { lr: 0.1, eps: 1e-8, beta: 0.9 } });
    expect(found).toMatchObject({ hyper: { lr: 1.5, eps: -1, beta: 0 }, state: { m: -1 }, bitwise: true });
    expect(found.text).toContain("lr times c^(3/2)");
  });

  test("cubed gradients, a decay that acts on the square, a scale beside the rate", async () => {
    const make = ({ rate, gain, decay }: { rate: number; gain: number; decay: number }) =>
      mine((g, _, p) => g.square().mul(g).mul(gain).add(p.mul(decay)).mul(-rate));
    const found = await symmetry(make, { hyper: { rate: 0.1, gain: 2, decay: 0.1 } });
    // The update is rate gain g^3 + rate decay p: rate gain must go by c^4, and rate decay stay.
    const { rate, gain, decay } = found.hyper as { rate: number; gain: number; decay: number };
    expect([rate + gain, rate + decay]).toEqual([4, 0]);
    expect(found.open).toHaveLength(1);
    expect(found.text).toMatch(/may have any power, if .* change along with it/);
  });

  long("a power that is no simple fraction of a half holds up to rounding", async () => {
    const make = ({ lr }: { lr: number }) => mine((g) => g.sign().mul(g.abs().pow(0.7)).mul(-lr));
    const found = await symmetry(make, { hyper: { lr: 0.1 } });
    expect(found.hyper.lr).toBeCloseTo(1.7, 12);
    expect(found.deviation).toBeLessThan(1e-12);
  });

  long("a threshold, which has no derivative", async () => {
    const make = ({ lr, floor }: { lr: number; floor: number }) =>
      mine((_, m) => where(m.abs().gt(floor), m.sign(), 0).mul(-lr));
    const found = await symmetry(make, { hyper: { lr: 0.1, floor: 0.01 } });
    expect(found).toMatchObject({ hyper: { lr: 1, floor: -1 }, bitwise: true });
  });

  test("a slope inside tanh has a power, tanh itself has none", async () => {
    const sloped = ({ lr, slope }: { lr: number; slope: number }) =>
      mine((g) => g.mul(slope).tanh().mul(-lr));
    expect((await symmetry(sloped, { hyper: { lr: 0.1, slope: 1 } })).hyper).toEqual({ lr: 1, slope: 1 });
    const fixed = ({ lr }: { lr: number }) => mine((g) => g.tanh().mul(-lr));
    const { counterexample, text } = await none(fixed, { hyper: { lr: 0.1 } });
    expect(counterexample.update).toBe(1);
    expect(counterexample.gradients).toHaveLength(1);
    expect(text).toContain("no powers of c");
  });

  long("a constant that is no hyperparameter, however small", async () => {
    const hidden = ({ lr }: { lr: number }) => optim.adam({ lr, eps: 1e-8 });
    const { counterexample } = await none(hidden, { hyper: { lr: 0.1 } });
    expect(counterexample.relative).toBeLessThan(1e-6);
    expect(counterexample.relative).toBeGreaterThan(1e-12);
  });

  long("a mixture of two degrees", async () => {
    const make = ({ lr }: { lr: number }) => mine((g) => g.add(g.sign()).mul(-lr));
    const found = await none(make, { hyper: { lr: 0.1 } });
    expect(found.counterexample).toMatchObject({ update: 1, where: "update" });
    expect(found.perUpdate).toBeUndefined();
  });

  long("wrapped optimizers: the slots inside, and the sum of gradients", async () => {
    const make = (hyper: { lr: number; eps: number }) => optim.accumulate(optim.adam(hyper), 3);
    const found = await symmetry(make, { hyper: { lr: 0.1, eps: 1e-3 } });
    expect(found.hyper).toEqual({ lr: 1, eps: -1 });
    expect(found.state).toEqual({ sum: -1, "inner.m": -1, "inner.v": -2 });
  });

  long("second moments by row and column, and a bound on the update (Adafactor's kind)", async () => {
    const make = ({ lr, eps, bound }: { lr: number; eps: number; bound: number }) =>
      mine((g) => {
        const square = g.square().add(eps);
        const [rows, columns] = [square.mean([1], { keepdim: true }), square.mean([0], { keepdim: true })];
        const u = g.div(rows.mul(columns).div(rows.mean()).sqrt());
        return u.div(u.square().mean().sqrt().div(bound).maximum(1)).mul(-lr);
      });
    const found = await symmetry(make, { hyper: { lr: 0.1, eps: 1e-30, bound: 1 } });
    expect(found).toMatchObject({ hyper: { lr: 1, eps: -2, bound: 0 }, bitwise: true });
  });

  long("a momentum made orthogonal (Muon's kind)", async () => {
    const make = ({ lr, eps }: { lr: number; eps: number }) =>
      mine((_, m) => {
        let x = m.div(m.square().sum().sqrt().add(eps));
        for (let i = 0; i < 3; i++) {
          const a = x.matmul(x.transpose());
          x = x.mul(3.4445).add(a.mul(-4.775).add(a.matmul(a).mul(2.0315)).matmul(x));
        }
        return x.mul(-lr);
      });
    const found = await symmetry(make, { hyper: { lr: 0.1, eps: 1e-7 } });
    expect(found).toMatchObject({ hyper: { lr: 1, eps: -1 }, state: { m: -1 }, bitwise: true });
  });

  long("a schedule in the hyperparameters is left alone", async () => {
    const hyper = { lr: 0.1, schedule: optim.schedule.warmupConstant({ warmup: 3 }) };
    expect((await symmetry((all: typeof hyper) => optim.sgd(all), { hyper })).hyper).toEqual({ lr: 2 });
  });

  long("a change after the updates from which powers are worked out", async () => {
    const make = ({ lr }: { lr: number }): optim.Optimizer => {
      const [early, late] = [optim.sgd({ lr }), optim.signSgd({ lr, momentum: 0 })];
      return {
        ...late,
        update(gradients, state, params) {
          const [signs, next] = late.update(gradients, state, params);
          const [plain] = early.update(gradients, { step: state.step }, params);
          const soon = state.step.lt(15);
          return [tree.zip([plain, signs], ([a, b]) => where(soon, a!, b!)), next];
        },
      };
    };
    const found = await none(make, { hyper: { lr: 0.1 } });
    expect(found.counterexample.update).toBe(16);
    expect(found.perUpdate?.phases.lr).toEqual([
      { from: 1, to: 15, power: 2 },
      { from: 16, to: 21, power: 1 },
    ]);
  });

  long("tensors that depend on each other share one c", async () => {
    const clipped = ({ lr, maxNorm, eps }: { lr: number; maxNorm: number; eps: number }): optim.Optimizer => {
      const inner = optim.sgd({ lr });
      return {
        ...inner,
        update: (gradients, state, params) =>
          inner.update(optim.clipByGlobalNorm(gradients, maxNorm, { eps }).gradients, state, params),
      };
    };
    const found = await symmetry(clipped, { hyper: { lr: 0.1, maxNorm: 1, eps: 1e-6 } });
    expect(found.hyper).toEqual({ lr: 2, maxNorm: -1, eps: -1 });
    expect(found.needs).toEqual([
      "one factor c for all parameters, since a tensor's update depends on the others",
    ]);
  });
});

describe("what states may hold", () => {
  /** An optimizer with a state of its own beside `step`. */
  const holding = <S extends object>(
    first: S,
    step: (g: Tensor, state: S) => readonly [Tensor, S],
  ): optim.Optimizer => ({
    ...optim.sgd({ lr: 1 }),
    name: "holding",
    init: () => ({ step: scalar(0), ...first }),
    update<P>(gradients: P, state: optim.OptimizerState, _: P): [P, optim.OptimizerState] {
      const [path, g] = tree.entries(gradients)[0]!;
      const [update, next] = step(g, state as unknown as S);
      return [{ [path]: update } as P, { step: state.step.add(1), ...next }];
    },
  });

  long("plain numbers, counters among them, which are set ahead too", async () => {
    const make = ({ lr }: { lr: number }) =>
      holding({ count: 0, rate: lr }, (g, { count, rate }) => [
        (count < 500 ? g : g.sign()).mul(-rate),
        { count: count + 1, rate: rate * 0.99 },
      ]);
    const found = await none(make, { hyper: { lr: 0.1 } });
    expect(found.counterexample.update).toBe(1001);
    expect(found.closest.hyper).toEqual({ lr: 2 });
  });

  long("keys of random numbers", async () => {
    const make = ({ lr, sigma }: { lr: number; sigma: number }) =>
      holding({ key: random.key(3) }, (g, { key }) => [
        g.add(random.normal(key, g.shape).astype("float64").mul(sigma)).mul(-lr),
        { key: key.fold(1) },
      ]);
    expect((await symmetry(make, { hyper: { lr: 0.1, sigma: 0.5 }, horizon: 20 })).hyper).toEqual({
      lr: 2,
      sigma: -1,
    });
  });

  test("an optimizer that throws late, or becomes NaN, says when", async () => {
    const throwing = ({ lr }: { lr: number }) =>
      holding({ count: 0 }, (g, { count }) => {
        if (count === 149) throw new Error("enough");
        return [g.mul(-lr), { count: count + 1 }];
      });
    const found = await fault(throwing, { hyper: { lr: 0.1 } });
    expect(found.text).toContain('update 150 throws "enough"');
    const breaking = ({ lr }: { lr: number }) =>
      holding({ count: 0 }, (g, { count }) => [g.mul(count > 99 ? Number.NaN : -lr), { count: count + 1 }]);
    expect((await symmetry(breaking, { hyper: { lr: 0.1 } })).text).toMatch(
      /update 101 of .* NaN or infinite/,
    );
  });
});

describe("bad input", () => {
  const hyper = { lr: 0.1 };

  test("an optimizer that changes its inputs", async () => {
    const changing = ({ lr }: { lr: number }): optim.Optimizer => {
      const inner = optim.sgd({ lr, momentum: 0.9 });
      return {
        ...inner,
        update(gradients, state, params) {
          const [updates, next] = inner.update(gradients, state, params);
          Object.assign(state.velocity as object, next.velocity);
          return [updates, next];
        },
      };
    };
    const found = await fault(changing, { hyper });
    expect(found).toMatchObject({ fault: "changes its inputs", optimizer: "sgd", hyper });
    expect(found.text).toMatch(/update changed its state in place, at velocity/);
  });

  test("an optimizer that counts outside its state, or draws random numbers", async () => {
    const counting = ({ lr }: { lr: number }) => {
      let calls = 0;
      return mine((g) => g.mul(-lr / ++calls));
    };
    expect((await fault(counting, { hyper })).fault).toBe("is not a function of its inputs");
    let seed = 0;
    const noisy = ({ lr }: { lr: number }) =>
      mine((g) => g.add(random.normal(random.key(seed++), g.shape).astype("float64")).mul(-lr));
    const found = await fault(noisy, { hyper });
    expect(found.fault).toBe("is not a function of its inputs");
    expect(found.text).toMatch(/element 0 of update 1 was -?\d.*, and -?\d/);
    const drawing = ({ lr }: { lr: number }) => mine((g) => g.mul(-lr * Math.random()));
    expect(await fault(drawing, { hyper })).toMatchObject({ fault: "draws random numbers", hyper });
  });

  test("an optimizer that looks at the clock, when it is made or later", async () => {
    const born = ({ lr }: { lr: number }) => {
      const start = new Date().getFullYear();
      return mine((g) => g.mul(start > 2000 ? -lr / start : -lr));
    };
    expect((await fault(born, { hyper })).fault).toBe("depends on the time");
    const daily = ({ lr }: { lr: number }) =>
      mine((g) => g.mul(Date.now() > 1e12 * 2 ? lr : -lr / (Date.now() / 1e12)));
    expect((await fault(daily, { hyper })).fault).toBe("depends on the time");
  });

  test("NaN and infinities", async () => {
    const make = ({ lr }: { lr: number }) => mine((_, m) => m.sqrt().mul(-lr));
    const found = await fault(make, { hyper });
    expect(found.fault).toBe("is not finite");
    expect(found.text).toMatch(/update \d returns NaN at element \d of the update/);
  });

  test("what throws, returns no optimizer, no updates, or a state that is no tree", async () => {
    const never = (): optim.Optimizer => {
      throw new Error("not today");
    };
    expect(await fault(never, { hyper })).toMatchObject({ fault: "throws", hyper });
    expect((await fault(never, { hyper })).text).toContain(
      'making it throws "not today". It was made with lr 0.1',
    );
    const third = ({ lr }: { lr: number }) =>
      mine(() => {
        throw new Error(`no ${lr}`);
      });
    expect((await fault(third, { hyper })).text).toContain('update 1 throws "no 0.1"');
    const nothing = (() => undefined) as unknown as (hyper: object) => optim.Optimizer;
    expect(await fault(nothing, { hyper })).toMatchObject({ fault: "is no optimizer" });
    const wrong = (change: Partial<optim.Optimizer>) => (h: { lr: number }) => ({
      ...optim.sgd(h),
      ...change,
    });
    const noUpdates = wrong({
      update: ((_: unknown, state: unknown) => [{}, state]) as unknown as optim.Optimizer["update"],
    });
    expect((await fault(noUpdates, { hyper })).text).toContain(
      "update returns undefined for a parameter of shape [2,3]",
    );
    const later = wrong({ update: (() => Promise.resolve([])) as unknown as optim.Optimizer["update"] });
    expect((await fault(later, { hyper })).text).toContain("update 1 returns a promise");
  });

  test("an optimizer of the library with something around it", async () => {
    const message = "is not adam with its hyperparameters alone: groups, a schedule or a wrapper";
    const wrapped = optim.accumulate(optim.adam({ lr: 0.1 }), 2);
    await expect(discoverSymmetry(wrapped)).rejects.toThrow(message);
    const grouped = optim.adam({ lr: 0.1, groups: [{ match: "loraB", lr: 1 }] });
    await expect(discoverSymmetry(grouped)).rejects.toThrow(message);
  });

  test("what is no optimizer of the library, no number, no hyperparameter", async () => {
    await expect(discoverSymmetry(mine((g) => g.neg()))).rejects.toThrow(
      '"mine" is no optimizer of the library. Pass a function that makes it',
    );
    await expect(discoverSymmetry(({ lr }: { lr: number }) => optim.sgd({ lr }))).rejects.toThrow("{ hyper:");
    await expect(discoverSymmetry(() => optim.sgd({ lr: 1 }), { hyper: { lr: Number.NaN } })).rejects.toThrow(
      "lr is NaN",
    );
    await expect(discoverSymmetry(optim.sgd({ lr: 1 }), { updates: 0 })).rejects.toThrow("updates is 0");
    const names = ["rate"] as unknown as ["lr"];
    await expect(
      discoverSymmetry(({ lr }: { lr: number }) => optim.sgd({ lr }), { hyper, perUpdate: names }),
    ).rejects.toThrow("perUpdate names rate");
  });
});
