import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import {
  compile,
  type Device,
  type FloatDType,
  grad,
  init,
  type Tensor,
  tensor,
  tree,
} from "../../src/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { describeBackends, describeComposed } from "../devices.ts";
import { everyNth, runs } from "../thorough.ts";

// Mixed precision: what optimizers keep of float16, loss scaling, updates that are not finite, weights of gradients.

type One = { w: Tensor };

/** The parameter after each gradient. */
async function follow(
  optimizer: optim.Optimizer,
  start: readonly number[],
  gradients: readonly (readonly number[])[],
  dtype: FloatDType = "float32",
): Promise<number[][]> {
  let params: One = { w: tensor(start, { dtype }) };
  let state = optimizer.init(params);
  const steps: number[][] = [];
  for (const gradient of gradients) {
    const [updates, next] = optimizer.update({ w: tensor(gradient, { dtype }) as Tensor }, state, params);
    params = optim.applyUpdates(params, updates);
    state = next;
    await tree.evaluate([params, state]);
    steps.push([...(await params.w.data())]);
  }
  expect(params.w.dtype).toBe(dtype);
  return steps;
}

const all = Object.keys(optim.rules) as optim.OptimizerName[];

describe("float16 parameters", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  test.each(["adam", "adamw", "nadam", "radam"] as const)("%s keeps small second moments", async (name) => {
    const optimizer = optim.make({ name, lr: 0.01, ...(name === "adamw" && { weightDecay: 0 }) });
    const gradients = [[1e-3], [0], [0]];
    const [half, single] = [
      await follow(optimizer, [1], gradients, "float16"),
      await follow(optimizer, [1], gradients),
    ];
    half.forEach(([value], i) => {
      expect(Math.abs(value! - single[i]![0]!)).toBeLessThan(2 ** -11);
    });
    if (name === "adam" || name === "adamw")
      expect(half.map(([value]) => value!.toFixed(3))).toEqual(["0.990", "0.983", "0.978"]);
  });

  test.each(everyNth(3, all))("%s follows the run in float32, however small its updates", async (name) => {
    const gradients = Array.from({ length: 60 }, (_, i) => [1e-3 * (1 + (i % 3)), -2e-5, 0.5]);
    // A fifth of half a unit of 1 in each update, for most: no single one of them shows in 16 bits.
    const lr = name === "sgd" ? 1e-3 : name === "adadelta" ? 1e-2 : name === "radam" ? 2e-4 : 5e-5;
    const optimizer = optim.make({ name, lr } as optim.OptimizerConfig);
    const start = [1, -3, 0.25];
    const [half, single] = [
      (await follow(optimizer, start, gradients, "float16")).at(-1)!,
      (await follow(optimizer, start, gradients)).at(-1)!,
    ];
    expect(Math.max(...single.map((x, i) => Math.abs(x - start[i]!)))).toBeGreaterThan(2 ** -11);
    half.forEach((value, i) => {
      expect(Math.abs(value - single[i]!)).toBeLessThanOrEqual(2 ** -11 * Math.abs(single[i]!) * 1.01);
    });
  });

  test("state and updates are float32, gradients either", async () => {
    const params = { w: tensor([1, 2], { dtype: "float16" }) as Tensor };
    for (const name of all) {
      const optimizer = optim.make({ name, lr: 0.1 });
      const state = optimizer.init(params);
      for (const [, leaf] of tree.entries(state)) expect(leaf.dtype).not.toBe("float16");
      for (const dtype of ["float16", "float32"] as const) {
        const [updates] = optimizer.update({ w: tensor([1, 1], { dtype }) as Tensor }, state, params);
        expect(updates.w.dtype).toBe("float32");
      }
      expect(() =>
        optimizer.update({ w: tensor([1, 1], { dtype: "float64" }) as Tensor }, state, params),
      ).toThrow(/the gradient of w is float64\[2\], the parameter is float16\[2\]/);
    }
  });

  test("a parameter that is changed from outside stays changed", async () => {
    const optimizer = optim.sgd({ lr: 1e-4 });
    let params = { w: tensor([1], { dtype: "float16" }) as Tensor };
    const g = { w: tensor([1]) as Tensor };
    const [updates, state] = optimizer.update(g, optimizer.init(params), params);
    params = optim.applyUpdates(params, updates);
    expect(await params.w.item()).toBe(1);
    expect(await (state.remainder as One).w.item()).toBeCloseTo(-1e-4, 7);
    const [more] = optimizer.update(g, state, { w: tensor([5], { dtype: "float16" }) as Tensor });
    expect(await more.w.item()).toBeCloseTo(0, 3);
  });

  test("is the same run under powers of two, bit for bit", async () => {
    const gradients = Array.from({ length: 12 }, (_, i) => [Math.fround(0.3 * Math.sin(i)), 0.125]);
    const c = 4;
    const reference = await follow(optim.adamw({ lr: 1e-3, eps: 2 ** -20 }), [1, -0.5], gradients, "float16");
    const other = await follow(
      optim.adamw({ lr: c * 1e-3, eps: 2 ** -20 / c, weightDecay: 0.01 / c }),
      [c, -0.5 * c],
      gradients.map((row) => row.map((g) => g / c)),
      "float16",
    );
    expect(other.map((row) => row.map((x) => x / c))).toEqual(reference);
  });

  test("clipping measures gradients of float16 in float32", async () => {
    const gradients = { w: tensor([60000, 60000], { dtype: "float16" }) as Tensor };
    const { gradients: clipped, norm } = optim.clipByGlobalNorm(gradients, 1);
    expect(await norm.item()).toBeCloseTo(60000 * Math.SQRT2, -1);
    expect([...(await clipped.w.data())].map((x) => x.toFixed(4))).toEqual(["0.7071", "0.7071"]);
  });
});

describeBackends("float16 in compiled steps", (backend) => {
  test("parameters and state are updated in place, as uncompiled, and follow a gauge in the middle of a run", async () => {
    using _ = await init({ backend });
    const start = { loraA: [1, -0.5], loraB: [0.25, 2] };
    const half = (values: Record<string, number[]>) =>
      tree.map(
        Object.fromEntries(Object.entries(values).map(([name, x]) => [name, tensor(x) as Tensor])),
        (leaf) => leaf.astype("float16"),
      );
    const gradientsOf = (i: number, k: number) =>
      half({ loraA: [0.5, 2 ** -9 * (i + 1)], loraB: [k * (0.25 - i / 8), k * -0.125] });
    const gauged = gauge.onlyB(4); // loraB / 4
    const make = (k: number) =>
      optim.adamw({
        lr: 2 ** -12,
        eps: 2 ** -20,
        groups: [{ match: "loraB", lr: 2 ** -12 / k, eps: k * 2 ** -20, weightDecay: 0.01 * k }],
      });
    const run = async (compiled: boolean, moveAt: number) => {
      let k = 1;
      let params = half(start);
      let state = make(1).init(params);
      const bodyOf = (k: number) => (p: typeof params, s: optim.OptimizerState, g: typeof params) => {
        const [updates, next] = make(k).update(g, s, p);
        return { params: optim.applyUpdates(p, updates), state: next };
      };
      let step = compiled ? compile(bodyOf(1), { donate: [0, 1] }) : bodyOf(1);
      for (let i = 0; i < 8; i++) {
        if (i === moveAt) {
          [params, state] = [gauge.applyParams(gauged, params), gauge.applyState(gauged, state, "adamw")];
          k = 4;
          step = compiled ? compile(bodyOf(4), { donate: [0, 1] }) : bodyOf(4);
        }
        ({ params, state } = await step(params, state, gradientsOf(i, k)));
      }
      const [a, b] = [await params.loraA!.data(), await params.loraB!.data()];
      const rest = await (state.remainder as Record<string, Tensor>).loraB!.data();
      return [[...a], Array.from(b, (x) => x * k), Array.from(rest, (x) => x * k)];
    };
    const expected = await run(false, -1);
    expect(expected[2]!.some((x) => x !== 0)).toBe(true);
    expect(await run(true, -1)).toEqual(expected);
    expect(await run(true, 3)).toEqual(expected);
  });
});

describeComposed("wrapped optimizers", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const ordinary = Array.from({ length: 8 }, (_, i) => [Math.fround(Math.cos(i)), 1e-3 * (i + 1)]);
  const start = [0.75, -2];

  // Rules are the same on every backend.
  const some: readonly optim.OptimizerName[] = backend === "cpu" ? all : ["adamw", "radam"];
  test.each(some)("%s goes on as if an update that is not finite had not been", async (name) => {
    const schedule = optim.schedule.warmupLinear({ warmup: 3, total: 20 });
    const optimizer = optim.skipNonFinite(optim.make({ name, lr: 0.01, schedule } as optim.OptimizerConfig));
    const expected = await follow(optimizer, start, ordinary);
    const withBad = [
      [Number.NaN, 1],
      ...ordinary.slice(0, 3),
      [Infinity, 0],
      [1, -Infinity],
      ...ordinary.slice(3),
      [0, Number.NaN],
    ];
    const found = await follow(optimizer, start, withBad);
    expect(found[0]).toEqual(start);
    expect(found[5]).toEqual(expected[2]);
    expect(found.at(-1)).toEqual(expected.at(-1));
    // And as the optimizer itself, whose counts are float64.
    const plain = await follow(
      optim.make({ name, lr: 0.01, schedule } as optim.OptimizerConfig),
      start,
      ordinary,
    );
    plain.forEach((row, i) => {
      row.forEach((x, j) => {
        const share = name === "radam" ? 2e-4 : 1e-5; // of what was moved, and rounding of where it is
        expect(Math.abs(x - expected[i]![j]!)).toBeLessThan(share * Math.abs(x - start[j]!) + 2 ** -20);
      });
    });
  });

  test("a rule that does not count is the same bit for bit, and counts what it left out", async () => {
    for (const plain of (["sgd", "lion", "rmsprop"] as const).map((name) => optim.make({ name, lr: 0.1 }))) {
      const optimizer = optim.skipNonFinite(plain);
      expect(await follow(optimizer, start, ordinary)).toEqual(await follow(plain, start, ordinary));
    }
    const optimizer = optim.skipNonFinite(optim.adam({ lr: 0.1 }));
    const params: One = { w: tensor([1]) };
    let state = optimizer.init(params);
    for (const g of [1, Number.NaN, 2, Infinity])
      [, state] = optimizer.update({ w: tensor([g]) as Tensor }, state, params);
    expect(await state.step.item()).toBe(2);
    expect(await (state.skipped as Tensor).item()).toBe(2);
  });

  /** The loss of a line through float32 or float16 data, times what makes its gradient overflow. */
  const problem = (by: Tensor) => (params: One) => params.w.mul(by).square().mean() as Tensor;

  test("a compiled step scales, skips, backs off and grows", async () => {
    const optimizer = optim.lossScaling(optim.sgd({ lr: 0.125 }), { scale: 2 ** 10, growthInterval: 2 });
    const body = (params: One, state: optim.OptimizerState, by: Tensor) => {
      const gradients = grad((p: One) => optimizer.scaleLoss(problem(by)(p), state))(params);
      const [updates, next] = optimizer.update(gradients, state, params);
      return { params: optim.applyUpdates(params, updates), state: next };
    };
    const step = compile(body, { donate: [0, 1] });
    let params: One = { w: tensor([1, 2]) };
    let state: optim.OptimizerState = optimizer.init(params);
    const scales: number[] = [];
    const values: number[][] = [];
    for (const by of [1, 1e20, 1, 1, 1, 1]) {
      ({ params, state } = await step(params, state, tensor([by, by])));
      scales.push(await (state.lossScale as Tensor).item());
      values.push([...(await params.w.data())]);
    }
    expect(step.traces).toBe(1);
    expect(scales).toEqual([2 ** 10, 2 ** 9, 2 ** 9, 2 ** 10, 2 ** 10, 2 ** 11]);
    // w - lr w by^2, the second update left out.
    expect(values.map(([a]) => a)).toEqual([0.875, 0.875, 0.875 ** 2, 0.875 ** 3, 0.875 ** 4, 0.875 ** 5]);
  });

  test("a scale changes no bit of float32 gradients, and a static one stays", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -24, max: 24 }),
        fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: 3, maxLength: 3 }),
        async (e, by) => {
          const run = async (scale: number) => {
            const optimizer = optim.lossScaling(optim.adam({ lr: 0.01 }), { scale, dynamic: false });
            let params: One = { w: tensor([1, 2, -1]) };
            let state: optim.OptimizerState = optimizer.init(params);
            for (let i = 0; i < 2; i++) {
              const loss = (p: One) => optimizer.scaleLoss(problem(tensor(by.map((x) => x + 5)))(p), state);
              const [updates, next] = optimizer.update(grad(loss)(params), state, params);
              [params, state] = [optim.applyUpdates(params, updates), next];
            }
            await tree.evaluate([params, state]);
            expect(await (state.lossScale as Tensor).item()).toBe(scale);
            return [...(await params.w.data())];
          };
          expect(await run(2 ** e)).toEqual(await run(1));
        },
      ),
      { numRuns: 6 },
    );
  });

  test("the gradient of weighted parts is that of the mean over all kept tokens", async () => {
    const classes = 4;
    const tokens = fc.array(fc.integer({ min: -1, max: classes - 1 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(tokens, { minLength: 2, maxLength: 3 }), async (parts) => {
        const weights: One = { w: tensor([[0.5, -1, 0.25, 2]]) };
        const loss = (labels: readonly number[]) => (p: One) => {
          const x = tensor(labels.map((_, i) => [Math.fround(Math.sin(i + labels.length))]));
          return nn.crossEntropy(x.matmul(p.w as typeof x), tensor([...labels], { dtype: "int32" }), {
            ignoreIndex: -1,
          });
        };
        const kept = parts.map((labels) => labels.filter((label) => label >= 0).length);
        const total = kept.reduce((a, b) => a + b);
        const optimizer = optim.accumulate(optim.sgd({ lr: 1 }), parts.length, { weighted: true });
        let state = optimizer.init(weights);
        let updates = weights;
        for (const [i, labels] of parts.entries()) {
          const gradients = grad(loss(labels))(weights);
          const weight = i % 2 === 0 ? kept[i]! : tensor(kept[i]!);
          [updates, state] = optimizer.update(gradients, state, weights, weight);
          if (i < parts.length - 1)
            expect([...(await updates.w.data())].map(Math.abs)).toEqual(Array(classes).fill(0));
        }
        const found = await updates.w.data();
        // The sum over all tokens, by summed losses, over their number.
        const sums = await Promise.all(
          parts.map((labels) =>
            grad((p: One) => {
              const x = tensor(labels.map((_, i) => [Math.fround(Math.sin(i + labels.length))]));
              const options = { ignoreIndex: -1, reduction: "sum" } as const;
              return nn.crossEntropy(
                x.matmul(p.w as typeof x),
                tensor([...labels], { dtype: "int32" }),
                options,
              );
            })(weights).w.data(),
          ),
        );
        found.forEach((value, j) => {
          const sum = sums.reduce((all, part) => all + part[j]!, 0);
          expect(Math.abs(value + sum / Math.max(total, 1))).toBeLessThan(2e-6);
        });
      }),
      { numRuns: runs(backend === "cpu" ? 25 : 5) },
    );
  });

  test("wrappers go into each other", async () => {
    const inner = optim.lossScaling(optim.adamw({ lr: 0.01 }), { scale: 4 });
    const outer = optim.accumulate(inner, 2);
    const bare = optim.accumulate(optim.skipNonFinite(optim.adamw({ lr: 0.01 })), 2);
    const found = await follow(
      outer,
      start,
      ordinary.map((row) => row.map((g) => 4 * g)),
    );
    expect(found).toEqual(await follow(bare, start, ordinary));
    const around = optim.skipNonFinite(optim.accumulate(optim.adamw({ lr: 0.01 }), 2));
    const other = await follow(around, start, [
      [Number.NaN, 1],
      ...ordinary.slice(0, 3),
      [1, Infinity],
      ...ordinary.slice(3),
    ]);
    expect(other.at(-1)).toEqual(found.at(-1));
  });
});

describeComposed("scalar parameters", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const names: readonly optim.OptimizerName[] = backend === "cpu" ? all : ["sgd", "adamw", "nadam", "lamb"];
  test.each(names)("%s trains one, compiled and not, as a vector of one", async (name) => {
    const options = name === "sgd" ? { momentum: 0.9 } : {};
    const bare = optim.make({ name, lr: 0.1, ...options } as optim.OptimizerConfig);
    for (const optimizer of [
      bare,
      optim.skipNonFinite(bare),
      optim.accumulate(bare, 2),
    ] as optim.Optimizer[]) {
      const run = async (compiled: boolean, shape: readonly number[]) => {
        const body = (params: One, state: optim.OptimizerState) => {
          const gradients = grad((p: One) => p.w.square().sum() as Tensor)(params);
          const [updates, next] = optimizer.update(gradients, state, params);
          return { params: optim.applyUpdates(params, updates), state: next };
        };
        const step = compiled ? compile(body, { donate: [0, 1] }) : body;
        let params: One = { w: tensor(new Float32Array([3]), { shape }) };
        let state = optimizer.init(params);
        for (let i = 0; i < 4; i++) ({ params, state } = await step(params, state));
        return params.w.item();
      };
      const vector = await run(false, [1]);
      expect(vector).not.toBe(3);
      expect(await run(false, [])).toBe(vector);
      expect(await run(true, [])).toBe(vector);
    }
  });
});

describe("what is refused", () => {
  test("options and weights", () => {
    const sgd = optim.sgd({ lr: 1 });
    expect(() => optim.lossScaling(sgd, { scale: 3 })).toThrow(
      /lossScaling: scale is 3; it is a power of two/,
    );
    expect(() => optim.lossScaling(sgd, { growth_interval: 3 } as object)).toThrow(
      /Do you mean growthInterval/,
    );
    expect(() => optim.accumulate(sgd, 0)).toThrow(/accumulate: count is 0; it is an integer >= 1/);
    expect(() => optim.accumulate(sgd, 2, { weights: true } as object)).toThrow(/there is no option weights/);
    const params: One = { w: tensor([1]) };
    const plain = optim.accumulate(sgd, 2);
    expect(() => plain.update(params, plain.init(params), params, 3)).toThrow(/takes none/);
    const weighted = optim.accumulate(sgd, 2, { weighted: true });
    expect(() => weighted.update(params, weighted.init(params), params)).toThrow(/the weight is missing/);
    expect(() => weighted.update(params, weighted.init(params), params, -1)).toThrow(/the weight is -1/);
    expect(() => weighted.update(params, plain.init(params), params, 1)).toThrow(/of another optimizer/);
    const scaled = optim.lossScaling(sgd);
    expect(() => scaled.scaleLoss(tensor(1), sgd.init(params))).toThrow(/has no lossScale/);
  });

  test("a state that was saved is read back, or refused by name", async () => {
    using _ = await init({ backend: "cpu" });
    const params: One = { w: tensor([1, 2]) };
    for (const name of ["adamw", "nadam"] as const) {
      const optimizer = optim.make({ name, lr: 0.1 });
      const gradients = { w: tensor([0.5, -1]) as Tensor };
      const [, state] = optimizer.update(gradients, optimizer.init(params), params);
      await tree.evaluate(state);
      const [expected] = optimizer.update(gradients, state, params);
      // As JSON: numbers for host numbers, arrays for tensors.
      const saved = JSON.parse(JSON.stringify(await save(state))) as {
        readonly [slot: string]: number | { readonly w: number[] | number };
      };
      const read = Object.fromEntries(
        Object.entries(saved).map(([slot, value]) => [
          slot,
          typeof value === "number" ? value : { w: typeof value.w === "number" ? value.w : tensor(value.w) },
        ]),
      ) as unknown as optim.OptimizerState;
      const [found] = optimizer.update(gradients, read, params);
      expect(await found.w.data()).toEqual(await expected.w.data());

      const refused = (change: object) => () =>
        optimizer.update(gradients, { ...state, ...change } as optim.OptimizerState, params);
      for (const step of [
        tensor(1, { dtype: "float64" }),
        tensor(1, { dtype: "int32" }),
        tensor([1]),
        1.5,
        -1,
        "1",
        undefined,
      ])
        expect(refused({ step })).toThrow(/the state's step is .* host number.*await step\.item\(\)/);
      expect(refused({ m: { w: tensor([1, 2], { dtype: "float64" }) } })).toThrow(
        /m of w is float64\[2\], this optimizer keeps float32\[2\]\. Cast it/,
      );
      expect(refused({ m: { w: tensor([1, 2, 3]) } })).toThrow(
        /m of w is float32\[3\], this optimizer keeps float32\[2\]/,
      );
      if (name === "nadam")
        expect(refused({ muProduct: { w: tensor(0.5, { dtype: "float64" }) } })).toThrow(
          /muProduct of w is float64\[\]; it is a host number/,
        );
    }
  });

  async function save(part: unknown): Promise<unknown> {
    if (tree.isTensor(part)) return part.rank === 0 ? part.item() : [...(await part.data())];
    const entries = Object.entries(part as object).map(
      async ([key, value]) => [key, await save(value)] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  }
});
