import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import * as laws from "../../src/laws/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { eye, tensor, zeros } from "../../src/tensor/creation.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { cases, everyNth, runs } from "../thorough.ts";

// The laws on what this library has. That they catch mistakes is laws-bugs.test.ts.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

/** A test for each law, of so many tries where every case is wanted. */
function suite(all: readonly laws.Law[], numRuns: number): void {
  for (const { name, property } of all) test(name, () => fc.assert(property, { numRuns: runs(numRuns) }));
}

describe.for(["float32", "float64"] as const)("an injected adapter, %s", (dtype) => {
  const std = ({ in: inputs }: laws.LoraConfig) => 1 / Math.sqrt(3 * inputs);
  suite(laws.lora(laws.fromAdapted(laws.injected(), { dtype, merge: lora.merge, std })), 10);
});

describe("an injected adapter that starts with A zero", () => {
  suite(laws.lora(laws.fromAdapted(laws.injected({ init: "swapped" }))), 5);
});

describe("an injected adapter that starts with normal numbers", () => {
  const std = ({ r }: laws.LoraConfig) => 1 / r;
  suite(laws.lora(laws.fromAdapted(laws.injected({ init: "gaussian" }), { std })), 5);
});

describe("an injected adapter that starts at random", () => {
  suite(laws.lora(laws.fromAdapted(laws.injected({ init: "random" }), { init: "random" })), 5);
});

describe.for(everyNth(2, ["pissa", "olora"] as const))("an injected adapter that starts with %s", (init) => {
  const make = (base: nn.Linear, config: laws.LoraConfig) => {
    const model = laws.injected({ init })(base, config);
    const start: laws.AdaptedLinear["init"] = (key, weights) => lora.initialize(model, key, weights);
    return { ...model, init: start };
  };
  suite(laws.lora(laws.fromAdapted(make, { dtype: "float64", init: "residual" })), 5);
});

// A convolution over one window is a linear map of what lies in it.
describe.for(cases(["standard"] as const, ["swapped", "gaussian", "random"] as const))(
  "an adapter of a convolution that starts with %s",
  (start) => {
    const dtype = "float64";
    const make = (base: nn.Linear, { r, alpha, rsLora }: laws.LoraConfig) => {
      const channels = base.in % 2 === 0 ? 2 : 1;
      const window = [base.in / channels, 1] as const;
      const config = { r, alpha, rsLora, init: start, targetModules: ["c"] };
      const layer = nn.conv2d(channels, base.out, window, { bias: false, dtype });
      const model = lora.inject(nn.sequential({ c: layer }), config);
      const inside = ({ weight, ...own }: nn.Params) => ({
        c: { ...own, weight: (weight as Tensor).reshape([base.out, channels, ...window]) },
      });
      const outside = ({ c }: nn.Params) => {
        const { weight, ...own } = c as nn.Params & { weight: Tensor };
        return { ...own, weight: weight.reshape([base.out, base.in]) };
      };
      const adapted: laws.AdaptedLinear = {
        init: (key, params) => outside(model.init(key, inside(params))),
        apply: (params, x) =>
          model
            .apply(inside(params), x.reshape([x.shape[0]!, channels, ...window]))
            .reshape([x.shape[0]!, base.out]),
      };
      return { ...adapted, merge: (params: nn.Params) => outside(lora.merge(model, inside(params))) };
    };
    const options = {
      dtype,
      merge: (model: ReturnType<typeof make>, params: nn.Params) => model.merge(params),
      ...(start === "random" && { init: "random" as const }),
      ...(start === "standard" && { std: ({ in: inputs }: laws.LoraConfig) => 1 / Math.sqrt(3 * inputs) }),
      ...(start === "gaussian" && { std: ({ r }: laws.LoraConfig) => 1 / r }),
    } as const;
    suite(laws.lora(laws.fromAdapted(make, options)), 5);
  },
);

describe("an adapter in a model, with patterns", () => {
  const dtype = "float64";
  /** A linear layer at the path of the configuration, and behind it those that patterns name, which change nothing. */
  const nested = <T>(path: string, leaf: T, wrap: (children: Record<string, T>) => T): T =>
    path.split(".").reduceRight((inner, name) => wrap({ [name]: inner }), leaf);
  const layer: laws.LayerUnderTest = {
    supports: ["rsLora", "patterns"],
    build: async (weight, { in: inputs, out, path, seed, ...config }) => {
      const linear = nn.linear(inputs, out, { bias: false, dtype });
      const others = [config.rankPattern, config.alphaPattern]
        .flatMap((pattern) => Object.keys(pattern ?? {}))
        .filter((name) => !`.${path}`.endsWith(`.${name}`));
      const beside = <T>(leaf: T, wrap: (children: Record<string, T>) => T) =>
        others.map((name, i) => [`other${i}`, nested(name, leaf, wrap)] as const);
      const base = nn.sequential({
        target: nested<nn.Layer>(path, linear, nn.sequential),
        ...Object.fromEntries(beside<nn.Layer>(nn.linear(out, out, { bias: false, dtype }), nn.sequential)),
      });
      const model = lora.inject(base, { ...config, targetModules: "all-linear" });
      const paramsOf = (own: nn.Params, rest: nn.Params): nn.Params => ({
        ...rest,
        target: nested<nn.Params>(path, own, (children) => children),
      });
      const start = paramsOf(
        { weight: tensor(weight, { dtype }) },
        Object.fromEntries(beside<nn.Params>({ weight: eye(out, { dtype }) }, (children) => children)),
      );
      const fresh = model.init(random.key(seed), start);
      const own = `target.${path}`.split(".").reduce<nn.Params>((at, name) => at[name] as nn.Params, fresh);
      const read = async (name: string) => (await (own[name] as Tensor).toArray()) as laws.Matrix;
      const [A, B] = [await read("loraA"), await read("loraB")];
      return {
        params: { weight, A, B },
        forward: async (params, x) => {
          const [loraA, loraB] = [tensor(params.A, { dtype }), tensor(params.B, { dtype })];
          const mine = { weight: tensor(params.weight, { dtype }), loraA, loraB };
          const y = model.apply(paramsOf(mine, fresh), tensor(x, { dtype }));
          return (await y.toArray()) as laws.Matrix;
        },
      };
    },
  };
  suite(laws.lora(layer), 6);
});

describe.for(["cat", "linear", "svd"] as const)("adapters merged, switched and combined by %s", (method) => {
  const dtype = "float64";
  const nameOf = (place: number) => `adapter ${place}`;
  const build = (weight: laws.Matrix, adapters: readonly laws.AdapterUnderTest[]) => {
    const base = nn.linear(weight[0]!.length, weight.length, { bias: false, dtype });
    const own = adapters.map(({ A, B, ...config }, i) => ({
      name: nameOf(i),
      config: { ...config, targetModules: "all-linear" as const },
      params: { loraA: tensor(A, { dtype }), loraB: tensor(B, { dtype }) },
    }));
    const all = <T>(of: (one: (typeof own)[number]) => T) =>
      Object.fromEntries(own.map((one) => [one.name, of(one)]));
    return {
      model: lora.injectNamed(
        base,
        all(({ config }) => config),
      ),
      params: { weight: tensor(weight, { dtype }), ...all(({ params }) => params) },
    };
  };
  const rows = async (x: unknown) => (await (x as Tensor).toArray()) as laws.Matrix;
  suite(
    laws.merge({
      merge: async (weight, adapter, strength) => {
        const { model, params } = build(weight, [adapter]);
        return rows(lora.merge(model, lora.attenuate(model, params, strength)).weight);
      },
      unmerge: async (weight, adapter) => {
        const { model, params } = build(weight, [adapter]);
        const { weight: merged, ...own } = params;
        return rows(lora.unmerge(model, { weight: merged }, own).weight);
      },
      combine: async (adapters, weights) => {
        const none = adapters[0]!.B.map(() => adapters[0]!.A[0]!.map(() => 0));
        const { model, params } = build(none, adapters);
        const byName = Object.fromEntries(weights.map((weight, i) => [nameOf(i), weight]));
        const combined = await lora.combineAdapters(model, params, { weights: byName, method });
        const [A, B] = [await rows(combined.params.loraA), await rows(combined.params.loraB)];
        return { A, B, r: A.length, alpha: A.length, rsLora: false };
      },
      additive: method === "cat",
      sameRank: method === "linear",
      switching: (weight, adapters) => {
        const { model, params } = build(weight, adapters);
        let active = model;
        return {
          activate: (index) => {
            active = lora.setAdapter(model, nameOf(index));
          },
          forward: (x) => rows(active.apply(params, tensor(x, { dtype }))),
        };
      },
    }),
    8,
  );
});

describe.for(everyNth(2, Object.keys(optim.rules) as optim.OptimizerName[]))("%s", (name) => {
  const options = laws.arbitrary
    .optimizer({ names: [name], exact: true })
    .map(({ name: _, ...options }) => options);
  // The rule of that name and its options, which the types keep apart.
  const rule = optim.rules[name] as unknown as optim.Rule<optim.SgdHyper, optim.Slots>;
  const jumps = ["lion", "signSgd", "rprop"].includes(name);
  suite(laws.optimizer(laws.fromRule(rule, options as fc.Arbitrary<{ lr: number }>, { jumps })), 12);
});

describe("adamw in float32", () => {
  suite(laws.optimizer(laws.fromRule(optim.adamwRule, { lr: 0.01, eps: 1e-3 }, { dtype: "float32" })), 10);
});

describe("accumulated gradients", () => {
  const make = (hyper: { lr: number }) => optim.accumulate(optim.adamw(hyper), 2);
  suite(laws.optimizer(laws.fromOptimizer(make, { lr: 0.1 })), 10);
});

test("radam in its published form declares no rule, and says why", async () => {
  const verdicts = await laws.run(laws.optimizer(laws.fromRule(optim.radamRule, { lr: 0.1 })), {
    numRuns: 5,
  });
  expect(verdicts.filter(({ holds }) => !holds).map(({ name }) => name)).toEqual([
    "equivariant under scaling, bitwise",
    "state is equivariant under scaling",
    "equivariant under scaling",
  ]);
  expect(verdicts[0]?.message).toContain("radam declares no exact rule in this form");
});

const { schedule } = optim;
const schedules: Readonly<Record<string, [optim.Schedule, Omit<laws.ScheduleUnderTest, "create">]>> = {
  constant: [schedule.constant(), { steps: 3, first: 1, last: 1 }],
  cosine: [schedule.cosine({ tMax: 10, etaMinFraction: 0.1 }), { steps: 10, first: 1, last: 0.1 }],
  cosineRestarts: [schedule.cosineRestarts({ period: 3, multiplier: 2 }), { steps: 9, first: 1, last: 1 }],
  warmupConstant: [schedule.warmupConstant({ warmup: 4 }), { steps: 8, first: 0, last: 1 }],
  warmupLinear: [schedule.warmupLinear({ warmup: 4, total: 9 }), { steps: 9, first: 0, last: 0 }],
  warmupCosine: [schedule.warmupCosine({ warmup: 4, total: 9 }), { steps: 9, first: 0, last: 0 }],
  step: [schedule.step({ stepSize: 3, gamma: 0.5 }), { steps: 7, first: 1, last: 0.25 }],
  exponential: [schedule.exponential({ gamma: 0.5 }), { steps: 4, first: 1, last: 1 / 16 }],
  oneCycle: [schedule.oneCycle({ totalSteps: 10 }), { steps: 9, first: 1 / 25, last: 1 / 25e4 }],
};

describe.for(Object.entries(schedules))("schedule %s", ([, [rate, ends]]) => {
  suite(laws.schedule(laws.fromSchedule(rate, ends)), 20);
});

describe("arbitraries", () => {
  test("a configuration hides no scale", () => {
    fc.assert(
      fc.property(laws.arbitrary.loraConfig(), ({ r, alpha, rsLora }) => {
        const { value } = lora.scaling({ r, alpha, rsLora });
        expect([1, alpha, alpha ** 2, 1 / r]).not.toContain(Math.abs(value));
        expect(Math.abs(alpha / r)).not.toBe(1);
      }),
    );
  });

  test("shapes broadcast as they say", () => {
    fc.assert(
      fc.property(laws.arbitrary.broadcastPair({ maxRank: 3 }), ({ left, right, result }) => {
        expect(zeros(left).add(zeros(right)).shape).toEqual(result);
      }),
    );
  });

  test("gauges are gauges, of the kind asked for", () => {
    for (const powersOfTwo of [true, false]) {
      fc.assert(
        fc.property(laws.arbitrary.gauge({ powersOfTwo }), (g) => {
          expect(gauge.bitwise(g)).toBe(powersOfTwo);
          expect(Math.abs(g.a * g.b * g.k - 1)).toBeLessThan(1e-14);
        }),
      );
    }
  });

  test("optimizers are taken by optim.make", () => {
    fc.assert(fc.property(laws.arbitrary.optimizer(), (config) => void optim.make(config)));
  });

  test("recipes have partners, which lead back", () => {
    const drawn = fc.tuple(
      laws.arbitrary.recipe({ exact: true }),
      laws.arbitrary.gauge({ powersOfTwo: true }),
    );
    fc.assert(
      fc.property(drawn, ([recipe, g]) => {
        const again = gauge.apply(gauge.inverse(g), gauge.apply(g, recipe));
        expect(again.alpha).toBe(recipe.alpha);
        for (const role of ["A", "B"] as const)
          expect(gauge.hyperOf(again, role)).toEqual(gauge.hyperOf(recipe, role));
      }),
    );
  });

  test("small models compute the same in every gauge", async () => {
    const drawn = laws.arbitrary.model().chain((model) =>
      fc.record({
        model: fc.constant(model),
        data: laws.arbitrary.data(model),
        gauge: laws.arbitrary.gauge({ powersOfTwo: true }),
        seed: fc.nat({ max: 99 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(drawn, async ({ model: { layer }, data, gauge: g, seed }) => {
        const config = { r: 2, alpha: 5, init: "random", targetModules: "all-linear" } as const;
        const [one, other] = [config.alpha, config.alpha * g.k].map((alpha) =>
          lora.inject(layer, { ...config, alpha }),
        );
        const params = one!.init(random.key(seed));
        const [y, partner] = [
          one!.apply(params, tensor(data.x)),
          other!.apply(gauge.applyParams(g, params), tensor(data.x)),
        ];
        await tree.evaluate([y, partner]);
        expect(await partner.data()).toEqual(await y.data());
      }),
      { numRuns: 20 },
    );
  });
});

describe("running laws", () => {
  const doubling = laws.law("doubling", "f(x) = 2 x", fc.integer({ min: 0, max: 100 }), (x) =>
    laws.close("f(x)", [[x < 10 ? 2 * x : x]], [[2 * x]], { tolerance: 0 }),
  );

  test("a failing law gives its name, its formula and the shrunk counterexample", async () => {
    const [verdict] = await laws.run([doubling], { seed: 1 });
    expect(verdict).toMatchObject({ name: "doubling", holds: false });
    expect(verdict?.message).toMatch(/Counterexample: \[10\]/);
    expect(verdict?.message).toMatch(/doubling: f\(x\) = 2 x\nf\(x\) is 10 at \[0,0\], expected 20/);
    await expect(fc.assert(doubling.property)).rejects.toThrow("Counterexample: [10]");
  });

  test("check throws what run reports", async () => {
    await expect(laws.check([doubling], { seed: 1 })).rejects.toThrow(
      /1 of 1 laws do not hold\.\n\ndoubling\n/,
    );
  });

  test("an unknown feature, and a schedule of no steps, are errors", () => {
    const layer = laws.fromAdapted(laws.injected());
    // As from JavaScript.
    const supports = ["rslora"] as unknown as laws.LayerUnderTest["supports"];
    expect(() => laws.lora({ ...layer, supports })).toThrow(
      'supports is ["rslora"]; it is a list of what the layer has of rsLora, merge, patterns',
    );
    expect(() => laws.schedule({ create: () => () => 1, steps: 0 })).toThrow(
      "steps is 0; it is an integer >= 1",
    );
  });

  test("an error of the code under test fails the law that ran it, and is told", async () => {
    const create = (): never => {
      throw new Error("not today");
    };
    const verdicts = await laws.run(laws.schedule({ create, steps: 1 }), { numRuns: 1 });
    expect(verdicts.map(({ holds }) => holds)).toEqual([false, false, false, false]);
    expect(verdicts[0]?.message).toContain("not today");
  });
});
