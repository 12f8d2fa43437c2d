import fc from "fast-check";
import { compile, init, scalar, type Tensor, tensor, tree, ValueError, valueAndGrad } from "lorantz";
import * as optim from "lorantz/optim";
import { beforeAll, describe, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

type Vectors = Record<string, Tensor>;
const vector = (values: readonly number[]): Tensor => tensor(values, { dtype: "float64" });
const vectors = (values: { readonly [name: string]: readonly number[] }): Vectors =>
  Object.fromEntries(Object.entries(values).map(([name, data]) => [name, vector(data)]));

/** The parameters after each of several updates with given gradients. */
async function run<H>(optimizer: optim.Optimizer<H>, start: Vectors, gradients: readonly Vectors[]) {
  let params = start;
  let state = optimizer.init(params);
  const seen: { readonly [name: string]: readonly number[] }[] = [];
  for (const gradient of gradients) {
    const [updates, next] = optimizer.update(gradient, state, params);
    params = optim.applyUpdates(params, updates);
    state = next;
    await tree.evaluate([params, state]);
    const values = tree
      .entries(params)
      .map(async ([path, leaf]) => [path, [...(await leaf.data())]] as const);
    seen.push(Object.fromEntries(await Promise.all(values)));
  }
  return { seen, state };
}

const lr = 0.5;
const [p0, g1, g2] = [3, 2, -1];

describe("sgd", () => {
  const two = (options: Omit<Parameters<typeof optim.sgd>[0], "lr">) =>
    run(optim.sgd({ lr, ...options }), vectors({ w: [p0] }), [vectors({ w: [g1] }), vectors({ w: [g2] })]);

  test("is p - lr g, and keeps no state without momentum", async () => {
    const { seen, state } = await two({});
    expect(seen).toEqual([{ w: [2] }, { w: [2.5] }]);
    expect(Object.keys(state)).toEqual(["step"]);
    expect(await state.step.item()).toBe(2);
  });

  test("momentum: the first velocity is the gradient, dampened only afterwards", async () => {
    expect((await two({ momentum: 0.5 })).seen).toEqual([{ w: [2] }, { w: [2] }]);
    expect((await two({ momentum: 0.5, dampening: 0.5 })).seen).toEqual([{ w: [2] }, { w: [1.75] }]);
  });

  test("nesterov steps along g + momentum v", async () => {
    // v1 = 2, step 2 + 1 = 3; v2 = 1 - 1 = 0, step -1.
    expect((await two({ momentum: 0.5, nesterov: true })).seen).toEqual([{ w: [1.5] }, { w: [2] }]);
  });

  test("coupled decay goes through the velocity, decoupled decay does not", async () => {
    // Coupled: g = 2 + 0.25*3 = 2.75, p = 1.625; g = -1 + 0.40625, v = 0.5*2.75 - 0.59375 = 0.78125.
    expect((await two({ momentum: 0.5, weightDecay: 0.25 })).seen[1]).toEqual({ w: [1.234375] });
    // Decoupled: p = 3 - 0.375 - 1 = 1.625; v = 0, p = 1.625 - 0.5*0.25*1.625.
    expect((await two({ momentum: 0.5, weightDecay: 0.25, decoupledWeightDecay: true })).seen[1]).toEqual({
      w: [1.421875],
    });
  });

  test("groups may differ in whether they keep a velocity", async () => {
    const optimizer = optim.sgd({ lr, groups: [{ match: "w", momentum: 0.5 }] });
    const { state, seen } = await run(optimizer, vectors({ w: [p0], b: [p0] }), [
      vectors({ w: [g1], b: [g1] }),
      vectors({ w: [g2], b: [g2] }),
    ]);
    expect(tree.entries(state).map(([path]) => path)).toEqual(["step", "velocity.w"]);
    expect(seen[1]).toEqual({ w: [2], b: [2.5] });
  });
});

describe("adam and adamw", () => {
  /** The update rule in plain numbers. */
  function reference(
    gradients: readonly number[],
    decay: { coupled: number; decoupled: number },
    eps = 0.25,
  ) {
    const [b1, b2] = [0.5, 0.75];
    let [p, m, v] = [p0, 0, 0];
    return gradients.map((gradient, i) => {
      const g = gradient + decay.coupled * p;
      m = b1 * m + (1 - b1) * g;
      v = b2 * v + (1 - b2) * g * g;
      p *= 1 - lr * decay.decoupled;
      p -= ((lr / (1 - b1 ** (i + 1))) * m) / (Math.sqrt(v) / Math.sqrt(1 - b2 ** (i + 1)) + eps);
      return p;
    });
  }
  const gradients = [2, -1, 0.5, 0, 8];
  const options = { lr, betas: [0.5, 0.75], eps: 0.25 } as const;

  test.each([
    ["adam", optim.adam(options), { coupled: 0, decoupled: 0 }],
    ["adam with decay", optim.adam({ ...options, weightDecay: 0.5 }), { coupled: 0.5, decoupled: 0 }],
    ["adamw", optim.adamw({ ...options, weightDecay: 0.5 }), { coupled: 0, decoupled: 0.5 }],
    ["adamw by default", optim.adamw(options), { coupled: 0, decoupled: 0.01 }],
  ])("%s follows its formula", async (_, optimizer, decay) => {
    const { seen } = await run(
      optimizer,
      vectors({ w: [p0] }),
      gradients.map((g) => vectors({ w: [g] })),
    );
    const expected = reference(gradients, decay);
    seen.forEach(({ w }, t) => {
      expect(w![0]).toBeCloseTo(expected[t]!, 13);
    });
  });

  test("the first step is lr against the sign of the gradient, whatever its size", async () => {
    const { seen } = await run(optim.adam({ lr, eps: 0 }), vectors({ w: [0, 0] }), [
      vectors({ w: [1e-9, -1e9] }),
    ]);
    expect(seen[0]!.w![0]).toBeCloseTo(-lr, 14);
    expect(seen[0]!.w![1]).toBeCloseTo(lr, 14);
  });

  test("float32 and float64 parameters keep their dtype", () => {
    const params = { a: tensor([1]), b: vector([1]) };
    const optimizer = optim.adamw({ lr });
    const [updates, state] = optimizer.update(params, optimizer.init(params), params);
    expect(updates.a.dtype).toBe("float32");
    expect(updates.b.dtype).toBe("float64");
    expect(tree.entries(state).map(([path, leaf]) => `${path} ${leaf.dtype}`)).toEqual([
      "step number",
      "m.a float32",
      "m.b float64",
      "v.a float32",
      "v.b float64",
    ]);
  });

  test("scales exactly with powers of two: gradients g/c, lr c, eps/c, decay/c give c times the parameters", async () => {
    const numbers = fc.array(fc.float({ min: -4, max: 4, noNaN: true }), { minLength: 6, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        numbers,
        fc.integer({ min: -8, max: 8 }),
        fc.boolean(),
        async (values, exponent, decoupled) => {
          // Far from the smallest numbers, which do not scale.
          const data = values.map((x) => (Math.abs(x) < 1e-3 ? 1 : x));
          const c = 2 ** exponent;
          const single = (factor: number) => (x: number) => ({ w: tensor([x * factor]) });
          const make = decoupled ? optim.adamw : optim.adam;
          const decay = decoupled ? c : c * c;
          const [a, b] = await Promise.all([
            run(
              make({ lr: 0.1, eps: 1e-3, weightDecay: 0.3 }),
              single(1)(data[0]!),
              data.slice(1).map(single(1)),
            ),
            run(
              make({ lr: 0.1 * c, eps: 1e-3 / c, weightDecay: 0.3 / decay }),
              single(c)(data[0]!),
              data.slice(1).map(single(1 / c)),
            ),
          ]);
          expect(b.seen.map(({ w }) => w![0]! / c)).toEqual(a.seen.map(({ w }) => w![0]));
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("groups", () => {
  const optimizer = optim.adamw({
    lr: 1,
    weightDecay: 0.5,
    groups: [
      { match: /bias$/, weightDecay: 0 },
      { match: "fc1", lr: 3, betas: [0, 0.5] },
      { match: (path) => path.startsWith("fc2"), lrScale: 4, eps: 1e-3 },
    ],
  });

  test("the first match gives the hyperparameters, the top level the rest", () => {
    expect(optimizer.defaults).toEqual({ lr: 1, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.5 });
    expect(optimizer.hyper("fc1.bias")).toEqual({ ...optimizer.defaults, weightDecay: 0 });
    expect(optimizer.hyper("net.fc1.weight")).toEqual({ ...optimizer.defaults, lr: 3, betas: [0, 0.5] });
    expect(optimizer.hyper("fc2.weight")).toEqual({ ...optimizer.defaults, lr: 4, eps: 1e-3 });
    expect(optimizer.hyper("fc10.weight")).toEqual(optimizer.defaults);
  });

  test("a text matches whole keys in a row; a global expression has no memory", () => {
    const of = (match: optim.Match) => optim.sgd({ lr: 1, groups: [{ match, lr: 2 }] });
    const matched = (match: optim.Match, path: string) => of(match).hyper(path).lr === 2;
    expect(
      ["fc1", "weight", "fc1.weight", "a.fc1.weight"].map((text) => matched(text, "a.fc1.weight")),
    ).toEqual([true, true, true, true]);
    expect(["fc", "a.weight", "1.weight"].map((text) => matched(text, "a.fc1.weight"))).toEqual([
      false,
      false,
      false,
    ]);
    const global = of(/w/g);
    expect([global.hyper("w").lr, global.hyper("w").lr]).toEqual([2, 2]);
  });

  test("every parameter moves as under an optimizer of its own hyperparameters", async () => {
    const start = { "fc1.bias": [1], "fc2.weight": [2, 3], other: [4] };
    const gradients = [0.5, -1].map((g) =>
      vectors({ "fc1.bias": [g], "fc2.weight": [g, 2], other: [3 * g] }),
    );
    const all = optim.adamw({
      lr: 0.1,
      groups: [
        { match: "bias", weightDecay: 0.3, betas: [0.5, 0.5] },
        { match: "fc2", lrScale: 3, eps: 1 },
      ],
    });
    const { seen } = await run(all, vectors(start), gradients);
    for (const [path, values] of Object.entries(start)) {
      const alone = optim.adamw(all.hyper(path));
      const own = gradients.map((gradient) => ({ [path]: gradient[path]! }));
      expect((await run(alone, vectors({ [path]: values }), own)).seen.at(-1)![path]).toEqual(
        seen.at(-1)![path],
      );
    }
  });

  test("LoRA+ raises the rate of loraB alone, at any depth and for any optimizer", () => {
    const adamw = optim.adamw({ lr: 0.5, groups: optim.loraPlus({ ratio: 16 }) });
    expect(["q.loraB", "loraB.default"].map((path) => adamw.hyper(path).lr)).toEqual([8, 8]);
    expect(["q.loraA", "q.bias", "q.weight", "loraBias"].map((path) => adamw.hyper(path).lr)).toEqual([
      0.5, 0.5, 0.5, 0.5,
    ]);
    expect(optim.sgd({ lr: 2, groups: optim.loraPlus({ ratio: 2 }) }).hyper("loraB").lr).toBe(4);
    expect(() => optim.loraPlus({ ratio: 0 })).toThrow("loraPlus: ratio is 0; it is a finite number > 0.");
  });

  test("make is the optimizer of that name", () => {
    const made = optim.make({ name: "adam", lr: 0.1, eps: 1e-3 });
    expect(made.name).toBe("adam");
    expect(made.defaults).toEqual(optim.adam({ lr: 0.1, eps: 1e-3 }).defaults);
    // @ts-expect-error there is no such optimizer
    expect(() => optim.make({ name: "adm", lr: 0.1 })).toThrow(
      'optim.make: there is no optimizer "adm". The optimizers are sgd, adam, adamw, adamax, nadam,',
    );
  });
});

describe("bad input", () => {
  // What a caller without types may write.
  const sgd = (options: object) => () => optim.sgd(options as Parameters<typeof optim.sgd>[0]);
  const adam = (options: object) => () => optim.adam(options as Parameters<typeof optim.adam>[0]);

  test.each([
    [sgd({}), "sgd: lr is missing; it is a finite number >= 0."],
    [sgd({ lr: Number.NaN }), "sgd: lr is NaN; it is a finite number >= 0."],
    [sgd({ lr: -1 }), "sgd: lr is -1; it is a finite number >= 0."],
    [sgd({ lr: "0.1" }), 'sgd: lr is "0.1"; it is a finite number >= 0.'],
    [sgd({ lr: 1, momentum: Infinity }), "sgd: momentum is Infinity; it is a finite number >= 0."],
    [
      sgd({ lr: 1, nesterov: true }),
      "sgd: nesterov needs momentum > 0 and dampening 0; given momentum 0 and dampening 0.",
    ],
    [sgd({ lr: 1, nesterov: 1 }), "sgd: nesterov is 1; it is true or false."],
    [sgd({ lr: 1, momentun: 0.9 }), "sgd: there is no option momentun. The options are lr, momentum, "],
    [sgd({ lr: 1, schedule: 0.5 }), "sgd: schedule is 0.5; it is a function such as"],
    [adam({ lr: 1, betas: [0.9, 1] }), "adam: betas is [0.9, 1]; it is two numbers >= 0 and < 1."],
    [adam({ lr: 1, betas: [0.9] }), "adam: betas is [0.9]; it is two numbers >= 0 and < 1."],
    [adam({ lr: 1, eps: -1e-8 }), "adam: eps is -1e-8; it is a finite number >= 0."],
    [
      adam({ lr: 1, groups: [{ match: "b", weightDecay: -1 }] }),
      "adam: groups[0]: weightDecay is -1; it is a finite number >= 0.",
    ],
    [
      adam({ lr: 1, groups: [{ match: "b" }, { match: "b", lr: 1, lrScale: 2 }] }),
      "adam: groups[1]: both lr 1 and lrScale 2 are given. Give one of them.",
    ],
    [
      adam({ lr: 1, groups: [{ lr: 1 }] }),
      "adam: groups[0]: match is missing; it is a key of the parameter's path, a regular expression or a function of the path.",
    ],
    [adam({ lr: 1, groups: [{ match: "b", momentum: 1 }] }), "adam: groups[0]: there is no option momentum."],
    [adam({ lr: 1, groups: { match: "b" } }), "adam: groups is an object; it is a list of { match, ... }."],
  ])("%#: a message says what is wrong", (make, message) => {
    expect(make).toThrow(ValueError);
    expect(make).toThrow(message);
  });

  test("a group that matches nothing, and parameters that are not float", () => {
    const optimizer = optim.sgd({ lr: 1, groups: [{ match: "fc9", lr: 2 }] });
    expect(() => optimizer.init(vectors({ "fc1.weight": [1], "fc1.bias": [1] }))).toThrow(
      'sgd: groups[0] matches no parameter: match is "fc9", the parameters are fc1.weight, fc1.bias. Correct it or leave the group out.',
    );
    expect(() => optim.sgd({ lr: 1 }).init({ ids: tensor([1], { dtype: "int32" }) })).toThrow(
      "sgd: parameter ids is int32[1]; only floats are trained.",
    );
  });

  test("gradients and states that do not fit", () => {
    const optimizer = optim.adam({ lr: 1 });
    const params = vectors({ w: [1, 2] });
    const state = optimizer.init(params);
    expect(() => optimizer.update(vectors({ w: [1] }), state, params)).toThrow(
      "adam: the gradient of w is float64[1], the parameter is float64[2]; their shapes are equal.",
    );
    expect(() => optimizer.update({ w: tensor([1, 2]) }, state, params)).toThrow(
      'adam: the gradient of w is float32[2], the parameter is float64[2]. Cast it with .astype("float64").',
    );
    expect(() => optimizer.update(params, optim.sgd({ lr: 1 }).init(params), params)).toThrow(
      "adam: the state of w has no slots, this optimizer keeps m, v. Pass the state that its init or update returned.",
    );
    expect(() => optimizer.update(vectors({ v: [1, 2] }), state, params)).toThrow("another structure");
  });

  test.each([
    [
      () => optim.clipByGlobalNorm(vectors({ w: [1] }), 0),
      "clipByGlobalNorm: maxNorm is 0; it is a finite number > 0.",
    ],
    [() => optim.clipByGlobalNorm({}, 1), "clipByGlobalNorm: takes a tree of gradients; an object has none."],
    [
      () => optim.clipByTensorNorm([{}], 1),
      "clipByTensorNorm: takes a tree of gradients; [an object] has none.",
    ],
    [() => optim.clipByValue(undefined, 1), "clipByValue: takes a tree of gradients; undefined has none."],
    [
      () => optim.clipByTensorNorm(vectors({ w: [1] }), () => -1),
      "clipByTensorNorm: maxNorm of w is -1; it is a finite number > 0.",
    ],
    [
      () => optim.clipByValue(vectors({ w: [1] }), Number.NaN),
      "clipByValue: maxValue is NaN; it is a finite number > 0.",
    ],
    [() => optim.schedule.cosine({ tMax: 0 }), "schedule.cosine: tMax is 0; it is a finite number >= 1."],
    [
      () => optim.schedule.warmupLinear({ warmup: 5, total: 5 }),
      "schedule.warmupLinear: total 5 is not more than warmup 5",
    ],
    [
      () => optim.schedule.exponential({ gamma: -1 }),
      "schedule.exponential: gamma is -1; it is a finite number >= 0.",
    ],
  ])("%#: clipping and schedules check their numbers", (call, message) => {
    expect(call).toThrow(message);
  });
});

describe("clipping", () => {
  const gradients = fc
    .array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 3, maxLength: 8 })
    .filter((values) => values.some((x) => Math.abs(x) > 1e-3));
  const bound = fc.double({ min: 0.01, max: 1000, noNaN: true });
  const norm = (values: Iterable<number>) => Math.hypot(...values);

  test("by global norm: the norm is that of all together, never above the bound after, the direction kept", async () => {
    await fc.assert(
      fc.asyncProperty(gradients, bound, async (values, max) => {
        const result = optim.clipByGlobalNorm(vectors({ a: values.slice(0, 2), b: values.slice(2) }), max);
        const clipped = (await Promise.all(tree.leaves(result.gradients).map((leaf) => leaf.data()))).flatMap(
          (x) => [...x],
        );
        const before = norm(values);
        expect(await result.norm.item()).toBeCloseTo(before, 9);
        expect(norm(clipped)).toBeLessThanOrEqual(max * (1 + 1e-12));
        const factor = Math.min(1, max / (before + 1e-6));
        clipped.forEach((x, i) => {
          expect(x).toBeCloseTo(values[i]! * factor, 10);
        });
      }),
      { numRuns: 40 },
    );
  });

  test("by a weighted global norm", async () => {
    const { norm, gradients } = optim.clipByGlobalNorm(vectors({ a: [3], b: [1] }), 1, {
      weight: (path) => (path === "b" ? 4 : 1),
      eps: 0,
    });
    expect(await norm.item()).toBe(5);
    expect(await gradients.a!.item()).toBe(3 * 0.2);
  });

  test("by tensor norm, with a bound for each path; by value", async () => {
    const of = () => vectors({ a: [3, 4], b: [0.3, 0.4] });
    const byNorm = optim.clipByTensorNorm(of(), (path) => (path === "a" ? 2.5 : 1), { eps: 0 });
    expect([await byNorm.a!.toArray(), await byNorm.b!.toArray()]).toEqual([
      [1.5, 2],
      [0.3, 0.4],
    ]);
    const byValue = optim.clipByValue(vectors({ a: [-3, 4, 0.5] }), 1);
    expect(await byValue.a!.toArray()).toEqual([-1, 1, 0.5]);
  });
});

describe("schedules", () => {
  const at = (schedule: optim.Schedule, t: number) => schedule(scalar(t)).item();
  const lengths = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 200 }));

  test("begin, peak and end where they should", async () => {
    await fc.assert(
      fc.asyncProperty(lengths, fc.double({ min: 0, max: 1, noNaN: true }), async ([warmup, more], low) => {
        const total = warmup + more;
        const cosine = optim.schedule.cosine({ tMax: total, etaMinFraction: low });
        expect(await at(cosine, 0)).toBeCloseTo(1, 14);
        expect(await at(cosine, total / 2)).toBeCloseTo((1 + low) / 2, 14);
        expect(await at(cosine, total)).toBeCloseTo(low, 14);
        for (const ramp of [optim.schedule.warmupLinear, optim.schedule.warmupCosine]) {
          const schedule = ramp({ warmup, total });
          expect(await at(schedule, 0)).toBe(0);
          expect(await at(schedule, warmup / 2)).toBe(0.5);
          expect(await at(schedule, warmup)).toBe(1);
          expect(await at(schedule, warmup + more / 2)).toBeCloseTo(0.5, 14);
          expect(await at(schedule, total)).toBeCloseTo(0, 14);
        }
        expect(await at(optim.schedule.warmupLinear({ warmup, total }), total + 7)).toBe(0);
        const flat = optim.schedule.warmupConstant({ warmup });
        expect([await at(flat, 0), await at(flat, warmup), await at(flat, total)]).toEqual([0, 1, 1]);
      }),
      { numRuns: 40 },
    );
  });

  test("without warm-up they start at 1", async () => {
    expect(await at(optim.schedule.warmupLinear({ warmup: 0, total: 4 }), 0)).toBe(1);
    expect(await at(optim.schedule.warmupConstant({ warmup: 0 }), 0)).toBe(1);
  });

  test("step and exponential are powers", async () => {
    const step = optim.schedule.step({ stepSize: 3, gamma: 0.5 });
    expect(await Promise.all([0, 2, 3, 6].map((t) => at(step, t)))).toEqual([1, 1, 0.5, 0.25]);
    expect(await at(optim.schedule.exponential({ gamma: 0.5 }), 3)).toBe(0.125);
    expect(await at(optim.schedule.constant(0.25), 9)).toBe(0.25);
  });

  test("multiply the rate of every group, counting from 0", async () => {
    const optimizer = optim.sgd({
      lr: 1,
      groups: [{ match: "b", lrScale: 2 }],
      schedule: optim.schedule.warmupConstant({ warmup: 2 }),
    });
    const one = vectors({ a: [1], b: [1] });
    const { seen } = await run(optimizer, vectors({ a: [0], b: [0] }), [one, one, one]);
    expect(seen.map(({ a, b }) => [a![0], b![0]])).toEqual([
      [0, 0],
      [-0.5, -1],
      [-1.5, -3],
    ]);
  });
});

describe("compiled steps", () => {
  test("are traced once, and agree with uncompiled ones", async () => {
    const optimizer = optim.adamw({
      lr: 0.1,
      groups: [{ match: "b", weightDecay: 0 }],
      schedule: optim.schedule.warmupCosine({ warmup: 2, total: 10 }),
    });
    type State = { readonly params: Vectors; readonly state: optim.OptimizerState };
    const body = (params: Vectors, state: optim.OptimizerState): State => {
      const [, gradients] = valueAndGrad((p: Vectors) => p.w!.mul(3).add(p.b!).square().sum())(params);
      const [updates, next] = optimizer.update(gradients, state, params);
      return { params: optim.applyUpdates(params, updates), state: next };
    };
    const step = compile(body, { donate: [0, 1] });
    const start = () => {
      const params = vectors({ w: [1, -2], b: [0.5, 0.25] });
      return { params, state: optimizer.init(params) };
    };
    let [compiled, plain]: [State, State] = [start(), start()];
    for (let t = 0; t < 6; t++) {
      compiled = await step(compiled.params, compiled.state);
      plain = await tree.evaluate(body(plain.params, plain.state));
    }
    expect(step.traces).toBe(1);
    for (const name of ["w", "b"]) {
      expect(await compiled.params[name]!.toArray()).toEqual(await plain.params[name]!.toArray());
    }
    expect(await compiled.state.step.item()).toBe(6);
  });

  test("leaves that are undefined are not trained", () => {
    const optimizer = optim.adam({ lr: 1 });
    const params = { w: vector([1]), frozen: undefined };
    const [updates, state] = optimizer.update(params, optimizer.init(params), params);
    expect(updates.frozen).toBeUndefined();
    expect(tree.entries(state).map(([path]) => path)).toEqual(["step", "m.w", "v.w"]);
  });
});
