import { describe, expect, test } from "vitest";
import * as laws from "../src/laws/index.ts";

// Mistakes of the kinds that issue trackers of LoRA libraries know, planted one by one in implementations that are
// otherwise right: the law that is about it fails, and those that are not about it hold. Everything here is plain
// arrays: what a user of another library writes.

const seed = 7;

/** The laws that fail, in order. */
async function broken(all: readonly laws.Law[], numRuns = 40): Promise<readonly laws.Verdict[]> {
  return (await laws.run(all, { seed, numRuns })).filter(({ holds }) => !holds);
}

const names = (verdicts: readonly laws.Verdict[]) => verdicts.map(({ name }) => name);

// --- plain matrices --------------------------------------------------------------------------------------------

type Matrix = laws.Matrix;
const transpose = (x: Matrix): Matrix => x[0]!.map((_, j) => x.map((row) => row[j]!));
const matmul = (x: Matrix, y: Matrix): Matrix =>
  x.map((row) => transpose(y).map((column) => row.reduce((sum, value, i) => sum + value * column[i]!, 0)));
const scale = (c: number, x: Matrix): Matrix => x.map((row) => row.map((value) => c * value));
const add = (x: Matrix, y: Matrix): Matrix => x.map((row, i) => row.map((value, j) => value + y[i]![j]!));
const random = (seed: number, rows: number, columns: number): Matrix =>
  Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => Math.sin(1 + seed + 17 * i + 5 * j)),
  );

// --- layers ----------------------------------------------------------------------------------------------------

/** How a layer turns a configuration into scalings: what mistakes are made in. */
interface Parts {
  readonly init?: "zero" | "residual" | "random";
  readonly rank: (config: laws.LoraConfig) => number;
  readonly alpha: (config: laws.LoraConfig) => number;
  /** What the layer says, what forward applies, what merge applies, what the residual start takes off. */
  readonly declared: (alpha: number, r: number, rsLora: boolean) => number;
  readonly forward: (alpha: number, r: number, rsLora: boolean) => number;
  readonly merged: (alpha: number, r: number, rsLora: boolean) => number;
  readonly start: (alpha: number, r: number, rsLora: boolean) => number;
  readonly A: (config: laws.LoraConfig, r: number) => Matrix;
  readonly B: (config: laws.LoraConfig, r: number) => Matrix;
}

const divisor = (r: number, rsLora: boolean) => (rsLora ? Math.sqrt(r) : r);
const scaling = (alpha: number, r: number, rsLora: boolean) => alpha / divisor(r, rsLora);
const plain = (alpha: number, r: number) => alpha / r;

const ofPath = (pattern: Readonly<Record<string, number>> | undefined, path: string) =>
  Object.entries(pattern ?? {}).find(([name]) => path === name || path.endsWith(`.${name}`))?.[1];

const right: Parts = {
  rank: ({ rankPattern, path, r }) => ofPath(rankPattern, path) ?? r,
  alpha: ({ alphaPattern, path, alpha }) => ofPath(alphaPattern, path) ?? alpha,
  declared: scaling,
  forward: scaling,
  merged: scaling,
  start: scaling,
  A: (config, r) => random(config.seed, r, config.in),
  B: (config, r) => scale(0, random(0, config.out, r)),
};

function layer(mistake: Partial<Parts> = {}): laws.LoraLayer {
  const parts = { ...right, ...mistake };
  return {
    supports: ["rsLora", "merge", "patterns"],
    ...(parts.init && { init: parts.init }),
    build: (weight, config) => {
      const { rsLora } = config;
      const [r, alpha] = [parts.rank(config), parts.alpha(config)];
      const [A, B] = [parts.A(config, r), parts.B(config, r)];
      const residual = add(weight, scale(-parts.start(alpha, r, rsLora), matmul(B, A)));
      return {
        params: { weight: parts.init === "residual" ? residual : weight, A, B },
        scaling: parts.declared(alpha, r, rsLora),
        forward: ({ weight, A, B }, x) => {
          const branch = matmul(matmul(x, transpose(A)), transpose(B));
          return add(matmul(x, transpose(weight)), scale(parts.forward(alpha, r, rsLora), branch));
        },
        merge: ({ weight, A, B }) => add(weight, scale(parts.merged(alpha, r, rsLora), matmul(B, A))),
      };
    },
  };
}

/** One scaling for every path of the layer. */
const everywhere = (wrong: Parts["forward"]): Partial<Parts> => ({
  declared: wrong,
  forward: wrong,
  merged: wrong,
});

const residual = {
  init: "residual",
  B: (config, r) => random(config.seed + 1, config.out, r),
} as const satisfies Partial<Parts>;

describe("layers", () => {
  test("without a mistake every law holds", async () => {
    expect(names(await broken(laws.lora(layer())))).toEqual([]);
    expect(names(await broken(laws.lora(layer(residual))))).toEqual([]);
  });

  const declared = "scaling is alpha / r";
  const forward = "forward applies the scaling once";
  const merge = "merge equals forward";
  const rs = (name: string) => `${name}, with rsLoRA`;
  const declaredRs = "scaling is alpha / sqrt(r), with rsLoRA";
  const patterns = ["rank pattern", "alpha pattern"];
  const gauges = ["gauge by powers of two, bitwise", "gauge by any factors"];
  const everyScale = [declared, forward, declaredRs, rs(forward)];

  const mistakes: Readonly<
    Record<string, readonly [mistake: Partial<Parts>, fails: readonly string[], hint?: string]>
  > = {
    "alpha ignored": [
      everywhere((_, r, rsLora) => 1 / divisor(r, rsLora)),
      [...everyScale, "linear in alpha", ...gauges, ...patterns],
      "alpha is ignored",
    ],
    "no scaling at all": [
      everywhere(() => 1),
      [...everyScale, "linear in alpha", ...gauges, ...patterns],
      "no scaling is applied",
    ],
    "not divided by r": [everywhere((alpha) => alpha), [...everyScale, ...patterns], "alpha is not divided"],
    "not divided by r in forward, in a layer that declares it": [
      { forward: (alpha) => alpha },
      [forward, merge, rs(forward), rs(merge), ...patterns],
    ],
    "rsLoRA forgotten": [everywhere(plain), [declaredRs, rs(forward)], "rsLoRA is ignored"],
    "rsLoRA forgotten in forward": [{ forward: plain }, [rs(forward), rs(merge)]],
    "rsLoRA forgotten in merge": [{ merged: plain }, [rs(merge)]],
    "rsLoRA always on": [
      everywhere((alpha, r) => alpha / Math.sqrt(r)),
      [declared, forward, ...patterns],
      "alpha is divided by sqrt(r)",
    ],
    "the scaling applied twice": [
      { forward: (alpha, r, rsLora) => scaling(alpha, r, rsLora) ** 2 },
      [forward, merge, rs(forward), rs(merge), "linear in alpha", ...gauges, ...patterns],
      "the scaling is applied twice",
    ],
    "merge without scaling": [{ merged: () => 1 }, [merge, rs(merge)]],
    "the rank pattern lost": [{ rank: ({ r }) => r }, ["rank pattern"]],
    "the rank pattern in the shapes, not in the scaling": [
      {
        alpha: (config) => (right.alpha(config) * right.rank(config)) / config.r,
      },
      ["rank pattern"],
    ],
    "the alpha pattern lost": [{ alpha: ({ alpha }) => alpha }, ["alpha pattern"]],
    "patterns that match any part of a name": [
      { alpha: ({ alpha, alphaPattern }) => Object.values(alphaPattern ?? {})[0] ?? alpha },
      ["alpha pattern"],
    ],
    "a residual start that ignores the scaling": [
      { ...residual, start: () => 1 },
      ["initial values: residual"],
    ],
    "a residual start that ignores rsLoRA": [{ ...residual, start: plain }, ["initial values: residual"]],
    "initial values that depend on alpha": [
      { A: (config, r) => scale(1 / Math.sqrt(config.alpha), random(config.seed, r, config.in)) },
      ["initial values do not depend on alpha"],
    ],
    "a start at random where zero is promised": [{ B: residual.B }, ["initial values: zero"]],
    "both factors start at zero": [
      { A: (config, r) => scale(0, random(0, r, config.in)) },
      ["initial values: zero"],
    ],
  };

  test.for(Object.entries(mistakes))("%s", async ([, [mistake, fails, hint]]) => {
    const verdicts = await broken(laws.lora(layer(mistake)));
    expect(names(verdicts).sort()).toEqual([...fails].sort());
    for (const { name, message } of verdicts) expect(message).toContain(`${name}: `);
    if (hint !== undefined) expect(verdicts.map(({ message }) => message).join()).toContain(hint);
  });

  test("a scaling shared by all layers", async () => {
    let latest = 0;
    const shared: laws.LoraLayer = {
      ...layer(),
      build: (weight, config) => {
        latest = scaling(config.alpha, config.r, config.rsLora);
        const one = layer({ forward: () => latest });
        return one.build(weight, config);
      },
    };
    const fails = names(await broken(laws.lora({ ...shared, supports: ["rsLora", "merge"] })));
    expect(fails).toEqual(["each layer keeps its own scaling"]);
  });

  test("B left in although it is zero: a bias", async () => {
    const biased: laws.LoraLayer = {
      ...layer(),
      supports: [],
      build: async (weight, config) => {
        const built = await layer().build(weight, config);
        return {
          ...built,
          forward: async (params, x) =>
            add(
              await built.forward(params, x),
              x.map(() => Array<number>(config.out).fill(0.5)),
            ),
        };
      },
    };
    const fails = names(await broken(laws.lora(biased)));
    expect(fails).toContain("B = 0 gives the base");
    expect(fails).not.toContain("scaling is alpha / r");
  });

  test("parameters changed in place", async () => {
    const careless: laws.LoraLayer = {
      ...layer(),
      build: async (weight, config) => {
        const built = await layer().build(weight, config);
        return {
          ...built,
          merge: (params) => {
            const merged = add(params.weight, scale(built.scaling!, matmul(params.B, params.A)));
            // Merging into the weight itself: what is readonly for TypeScript is an array like any other.
            for (const [i, row] of merged.entries())
              (params.weight[i] as number[]).splice(0, row.length, ...row);
            return params.weight;
          },
        };
      },
    };
    const fails = await broken(laws.lora(careless));
    expect(names(fails)).toEqual(["arguments stay as they were"]);
    expect(fails[0]?.message).toMatch(/params\.weight\.0\.0 was changed/);
  });
});

// --- merging ---------------------------------------------------------------------------------------------------

const delta = ({ A, B, r, alpha, rsLora }: laws.Adapter): Matrix =>
  scale(scaling(alpha, r, rsLora), matmul(B, A));

/** Concatenation: the rows of A one below the other, the scaled columns of B side by side, alpha = r. */
function cat(adapters: readonly laws.Adapter[], weights: readonly number[]): laws.Adapter {
  const A = adapters.flatMap((one) => one.A);
  const parts = adapters.map(({ B, r, alpha, rsLora }, i) =>
    scale(weights[i]! * scaling(alpha, r, rsLora), B),
  );
  const B = adapters[0]!.B.map((_, row) => parts.flatMap((part) => part[row]!));
  return { A, B, r: A.length, alpha: A.length, rsLora: false };
}

const merging = {
  merge: (weight, adapter, strength) => add(weight, scale(strength, delta(adapter))),
  unmerge: (weight, adapter) => add(weight, scale(-1, delta(adapter))),
  combine: cat,
  additive: true,
  switching: (weight, adapters) => {
    let active = 0;
    return {
      activate: (index) => {
        active = index;
      },
      forward: (x) => matmul(x, transpose(add(weight, delta(adapters[active]!)))),
    };
  },
} as const satisfies laws.Merging;

describe("merging", () => {
  test("without a mistake every law holds", async () => {
    expect(laws.merge(merging)).toHaveLength(9);
    expect(names(await broken(laws.merge(merging)))).toEqual([]);
  });

  const adds = "merging adds scaling B A";
  const undo = "unmerge undoes merge";
  const one = "a combination of one is that one";
  const sum = "a combination is the weighted sum";

  const mistakes: Readonly<
    Record<string, readonly [mistake: Partial<laws.Merging>, fails: readonly string[]]>
  > = {
    "merge without scaling": [
      { merge: (weight, { A, B }, strength) => add(weight, scale(strength, matmul(B, A))) },
      [adds, undo],
    ],
    "merge without rsLoRA": [
      {
        merge: (weight, adapter, strength) =>
          add(weight, scale(strength, delta({ ...adapter, rsLora: false }))),
      },
      [adds, undo],
    ],
    "unmerge without scaling": [
      { unmerge: (weight, { A, B }) => add(weight, scale(-1, matmul(B, A))) },
      [undo],
    ],
    "unmerge that does nothing": [{ unmerge: (weight) => weight }, [undo]],
    "strength squared": [
      { merge: (weight, adapter, strength) => add(weight, scale(strength ** 2, delta(adapter))) },
      ["merging is linear in strength"],
    ],
    "strength ignored": [
      { merge: (weight, adapter) => add(weight, delta(adapter)) },
      ["merging is linear in strength"],
    ],
    "merging on top of the base instead of what is there": [
      {
        merge: (() => {
          // The first weight that is not a sum of what came before is taken for the base.
          const bases = new Map<string, Matrix>();
          return (weight: Matrix, adapter: laws.Adapter, strength: number) => {
            const base = bases.get(JSON.stringify(weight)) ?? weight;
            const merged = add(base, scale(strength, delta(adapter)));
            bases.set(JSON.stringify(merged), base);
            return merged;
          };
        })(),
      },
      ["merging in any order"],
    ],
    "a combination that changes its source": [
      {
        combine: (adapters, weights) => {
          const combined = cat(adapters, weights);
          const [first] = adapters;
          // As when the first adapter's tensors are taken for the result.
          (first!.B[0] as number[])[0] = combined.B[0]![0]! + 1;
          return combined;
        },
      },
      ["combining leaves its sources as they were"],
    ],
    "a combination without the sources' scaling": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters.map((one) => ({ ...one, alpha: one.r, rsLora: false })),
            weights,
          ),
      },
      [one, sum],
    ],
    "a combination that applies the first source's scaling to all": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters.map((own) => {
              const { alpha, r, rsLora } = adapters[0]!;
              return { ...own, alpha: scaling(alpha, r, rsLora) * own.r, rsLora: false };
            }),
            weights,
          ),
      },
      [sum],
    ],
    "a combination with the weights squared": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters,
            weights.map((w) => w * Math.abs(w)),
          ),
      },
      [sum],
    ],
    "the scaling of the first adapter after switching": [
      {
        switching: (weight, adapters) => {
          let active = 0;
          const { r, alpha, rsLora } = adapters[0]!;
          return {
            activate: (index) => {
              active = index;
            },
            forward: (x) => {
              const { A, B } = adapters[active]!;
              return matmul(x, transpose(add(weight, scale(scaling(alpha, r, rsLora), matmul(B, A)))));
            },
          };
        },
      },
      ["each adapter keeps its own scaling when switched to"],
    ],
    "adapters that stay active after switching": [
      {
        switching: (weight, adapters) => {
          const active = new Set<number>();
          return {
            activate: (index) => void active.add(index),
            forward: (x) => {
              const all = [...active].map((index) => delta(adapters[index]!));
              return matmul(x, transpose(all.reduce(add, weight)));
            },
          };
        },
      },
      ["each adapter keeps its own scaling when switched to"],
    ],
  };

  test.for(Object.entries(mistakes))("%s", async ([, [mistake, fails]]) => {
    const verdicts = await broken(laws.merge({ ...merging, ...mistake }));
    expect(names(verdicts).sort()).toEqual([...fails].sort());
  });
});

// --- optimizers ------------------------------------------------------------------------------------------------

interface AdamHyper {
  readonly lr: number;
  readonly eps: number;
  readonly weightDecay: number;
}
interface AdamState {
  readonly t: number;
  readonly m: readonly number[];
  readonly v: readonly number[];
}

/** Adam with decoupled decay, on plain numbers. */
function adam({ lr, eps, weightDecay }: AdamHyper): laws.OptimizerInstance<AdamState> {
  return {
    init: (params) => ({ t: 0, m: params.map(() => 0), v: params.map(() => 0) }),
    update: (gradient, state, params) => {
      const t = state.t + 1;
      const m = state.m.map((x, i) => 0.9 * x + 0.1 * gradient[i]!);
      const v = state.v.map((x, i) => 0.99 * x + 0.01 * gradient[i]! ** 2);
      const moved = params.map((p, i) => {
        const size = Math.sqrt(v[i]! / (1 - 0.99 ** t)) + eps;
        return p - lr * weightDecay * p - (lr * (m[i]! / (1 - 0.9 ** t))) / size;
      });
      return { params: moved, state: { t, m, v } };
    },
  };
}

const adamLaws = (
  create: (hyper: AdamHyper) => laws.OptimizerInstance<AdamState>,
  exponents: laws.Exponents = { lr: 1, eps: -1, weightDecay: -1 },
  hyper: AdamHyper = { lr: 0.1, eps: 0.01, weightDecay: 0.1 },
) =>
  laws.optimizer({
    hyper,
    create,
    exponents: () => exponents,
    stateExponents: () => ({ m: -1, v: -2 }),
  });

describe("optimizers", () => {
  const bitwise = "equivariant under scaling, bitwise";
  const generic = "equivariant under scaling";
  const states = "state is equivariant under scaling";
  const scaled = [bitwise, generic];

  test("without a mistake every law holds", async () => {
    expect(adamLaws(adam)).toHaveLength(6);
    expect(names(await broken(adamLaws(adam)))).toEqual([]);
  });

  type Create = (hyper: AdamHyper) => laws.OptimizerInstance<AdamState>;
  const mistakes: Readonly<Record<string, readonly [create: Create, fails: readonly string[]]>> = {
    "one eps for all groups, not rescaled": [(hyper) => adam({ ...hyper, eps: 0.01 }), scaled],
    "an eps of its own on top": [(hyper) => adam({ ...hyper, eps: hyper.eps + 1e-6 }), scaled],
    "one learning rate for all groups": [(hyper) => adam({ ...hyper, lr: 0.1 }), scaled],
    "decay not multiplied by the learning rate": [
      (hyper) => adam({ ...hyper, weightDecay: hyper.weightDecay / hyper.lr }),
      scaled,
    ],
    "gradients clipped at a fixed size": [
      (hyper) => ({
        ...adam(hyper),
        update: (gradient, state, params) =>
          adam(hyper).update(
            gradient.map((g) => Math.max(-1, Math.min(1, g))),
            state,
            params,
          ),
      }),
      [...scaled, states],
    ],
    "moments kept in the instance": [
      (hyper) => {
        const own = adam(hyper);
        let hidden: AdamState | undefined;
        return {
          init: async (params) => {
            hidden = undefined;
            return own.init(params);
          },
          update: async (gradient, state, params) => {
            const after = await own.update(
              gradient,
              hidden ?? { ...state, t: 0, m: state.m.map(() => 0) },
              params,
            );
            hidden = after.state;
            return after;
          },
        };
      },
      ["a resumed run is the unbroken run"],
    ],
    "a counter that goes on from run to run": [
      (hyper) => {
        const own = adam(hyper);
        let t = 0;
        return {
          ...own,
          update: (gradient, state, params) => own.update(gradient, { ...state, t: t++ }, params),
        };
      },
      ["deterministic", "a resumed run is the unbroken run"],
    ],
    "parameters changed in place": [
      (hyper) => {
        const own = adam(hyper);
        return {
          ...own,
          update: async (gradient, state, params) => {
            const after = await own.update(gradient, state, params);
            (params as number[]).splice(0, params.length, ...after.params);
            return { ...after, params };
          },
        };
      },
      ["arguments stay as they were"],
    ],
    "moments changed in place": [
      (hyper) => {
        const own = adam(hyper);
        return {
          ...own,
          update: async (gradient, state, params) => {
            const after = await own.update(gradient, state, params);
            (state.m as number[]).splice(0, state.m.length, ...after.state.m);
            return after;
          },
        };
      },
      ["arguments stay as they were"],
    ],
  };

  test.for(Object.entries(mistakes))("%s", async ([, [create, fails]]) => {
    expect(names(await broken(adamLaws(create), 100)).sort()).toEqual([...fails].sort());
  });

  test("a wrong rule for a right optimizer: SGD's rate for Adam, and a decay that is not coupled", async () => {
    expect(names(await broken(adamLaws(adam, { lr: 2, eps: -1, weightDecay: -1 })))).toEqual(scaled);
    expect(names(await broken(adamLaws(adam, { lr: 1, eps: -1, weightDecay: -2 })))).toEqual(scaled);
    expect(names(await broken(adamLaws(adam, { lr: 1, weightDecay: -1 })))).toEqual(scaled);
  });

  test("the message names the powers, the factor and the update", async () => {
    const [first] = await broken(adamLaws((hyper) => adam({ ...hyper, eps: 0.01 })));
    expect(first?.message).toMatch(/a parameter \(row: update\) with c = \S+, powers {"lr":1,"eps":-1/);
    expect(first?.message).toContain("Counterexample: ");
  });

  test("without a rule only the other laws are left", () => {
    const named = laws.optimizer({ hyper: { lr: 0.1, eps: 0.01, weightDecay: 0 }, create: adam });
    expect(named.map(({ name }) => name)).toEqual([
      "deterministic",
      "arguments stay as they were",
      "a resumed run is the unbroken run",
    ]);
  });
});

// --- schedules -------------------------------------------------------------------------------------------------

const cosine = (lr: number) => (t: number) => lr * (0.1 + 0.45 * (1 + Math.cos((Math.PI * t) / 10)));
const ends = { steps: 10, first: 1, last: 0.1 };

describe("schedules", () => {
  test("without a mistake every law holds", async () => {
    expect(names(await broken(laws.schedule({ ...ends, create: cosine })))).toEqual([]);
  });

  const proportional = ["proportional to lr, bitwise", "proportional to lr"];
  const mistakes: Readonly<
    Record<string, readonly [create: (lr: number) => laws.RateAt, fails: readonly string[]]>
  > = {
    "a floor that is no share of lr": [
      (lr) => (t) => 0.1 + (lr - 0.1) * 0.5 * (1 + Math.cos((Math.PI * t) / 10)),
      [...proportional, "last rate"],
    ],
    "a floor that does not matter often": [
      (lr) => (t) => Math.max(cosine(lr)(t), 1e-4),
      [...proportional, "last rate"],
    ],
    "a rate that ignores lr": [() => cosine(0.1), [...proportional, "first rate", "last rate"]],
    "a counter of its own": [
      (lr) => {
        let t = 0;
        return () => cosine(lr)(t++);
      },
      ["depends on the step alone", "last rate"],
    ],
    "a decay of the rate before, step by step": [
      (lr) => {
        let rate = lr;
        return (t) => {
          if (t > 0) rate *= 0.9;
          return t === 10 ? 0.1 * lr : t === 0 ? lr : rate;
        };
      },
      ["depends on the step alone"],
    ],
    "off by one": [(lr) => (t) => cosine(lr)(t + 1), ["first rate", "last rate"]],
    "a warm-up that divides 0 by 0": [
      (lr) => (t) => (t === 0 ? lr * (0 / 0) : cosine(lr)(t)),
      ["finite", "first rate", ...proportional],
    ],
    "a negative rate in between": [(lr) => (t) => (t === 5 ? -lr : cosine(lr)(t)), ["finite"]],
  };

  test.for(Object.entries(mistakes))("%s", async ([, [create, fails]]) => {
    const verdicts = await broken(laws.schedule({ ...ends, create }), 200);
    expect(names(verdicts).sort()).toEqual([...fails].sort());
  });
});
