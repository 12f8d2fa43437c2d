import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as laws from "../../src/laws/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { long } from "../long.ts";
import { everyNth } from "../thorough.ts";

// Mistakes of the kinds that issue trackers of LoRA libraries know, planted one by one in implementations that are
// otherwise right: the law that is about it fails, and those that are not about it hold. Everything here is plain
// arrays: what a user of another library writes.

const seed = 7;

/** The laws that fail, in order. To shrink what they fail for takes most of the time, and few tests look at it. */
async function broken(
  all: readonly laws.Law[],
  numRuns = 40,
  endOnFailure = true,
): Promise<readonly laws.Verdict[]> {
  return (await laws.run(all, { seed, numRuns, endOnFailure })).filter(({ holds }) => !holds);
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
  /** The alpha that merge reads, where it is not that of forward. */
  readonly mergedAlpha?: (config: laws.LoraConfig) => number;
  /** What the layer says, what forward applies, what merge applies, what the residual start takes off. */
  readonly declared: (alpha: number, r: number, rsLora: boolean) => number;
  readonly forward: (alpha: number, r: number, rsLora: boolean) => number;
  readonly merged: (alpha: number, r: number, rsLora: boolean) => number;
  readonly start: (alpha: number, r: number, rsLora: boolean) => number;
  /** One scaling for every path, of the layer's own rank and that of the whole model. */
  readonly global?: (alpha: number, own: number, r: number, rsLora: boolean) => number;
  /** What forward makes of its scaling by the shape of the weight and the rank, and by the number of inputs. */
  readonly shaped: (scaling: number, config: laws.LoraConfig) => number;
  /** The branch's factors as forward reads them. */
  readonly factorA: (A: Matrix) => Matrix;
  readonly factorB: (B: Matrix) => Matrix;
  readonly batch: (scaling: number, size: number) => number;
  /** What forward makes of the inputs of the branch, and of what it adds. */
  readonly inputs: (x: Matrix) => Matrix;
  readonly branch: (added: Matrix) => Matrix;
  /** What becomes of the whole layer. */
  readonly built?: (layer: laws.BuiltLora) => laws.BuiltLora;
  /** x W^T of the frozen weight. */
  readonly product: (x: Matrix, weight: Matrix) => Matrix;
  readonly A: (config: laws.LoraConfig, r: number) => Matrix;
  readonly B: (config: laws.LoraConfig, r: number) => Matrix;
}

const divisor = (r: number, rsLora: boolean) => (rsLora ? Math.sqrt(r) : r);
const scaling = (alpha: number, r: number, rsLora: boolean) => alpha / divisor(r, rsLora);
const plain = (alpha: number, r: number) => alpha / r;

const ofPath = (pattern: Readonly<Record<string, number>> | undefined, path: string) =>
  Object.entries(pattern ?? {}).find(([name]) => path === name || path.endsWith(`.${name}`))?.[1];

/** Uniform numbers of standard deviation 1 / sqrt(3 in), as loralib's. */
const kaiming = (seed: number, r: number, inputs: number) => {
  // A linear congruential generator: what every library has, written out.
  let state = 1 + seed * 7919;
  const next = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  for (let i = 0; i < 3; i++) next();
  return Array.from({ length: r }, () =>
    Array.from({ length: inputs }, () => (2 * next() - 1) / Math.sqrt(inputs)),
  );
};

const right: Parts = {
  rank: ({ rankPattern, path, r }) => ofPath(rankPattern, path) ?? r,
  alpha: ({ alphaPattern, path, alpha }) => ofPath(alphaPattern, path) ?? alpha,
  declared: scaling,
  forward: scaling,
  merged: scaling,
  start: scaling,
  shaped: (scaling) => scaling,
  batch: (scaling) => scaling,
  inputs: (x) => x,
  branch: (added) => added,
  factorA: (A) => A,
  factorB: (B) => B,
  product: (x, weight) => matmul(x, transpose(weight)),
  A: (config, r) => kaiming(config.seed, r, config.in),
  B: (config, r) => scale(0, random(0, config.out, r)),
};

function layer(mistake: Partial<Parts> = {}): laws.LayerUnderTest {
  const parts = { ...right, ...mistake };
  return {
    supports: ["rsLora", "merge", "patterns"],
    ...(parts.init ? { init: parts.init } : { std: ({ in: inputs }) => 1 / Math.sqrt(3 * inputs) }),
    build: (weight, config) => {
      const { rsLora } = config;
      const [r, alpha] = [parts.rank(config), parts.alpha(config)];
      const [A, B] = [parts.A(config, r), parts.B(config, r)];
      const residual = add(weight, scale(-parts.start(alpha, r, rsLora), matmul(B, A)));
      const { global } = parts;
      const scalingOf = (path: Parts["forward"], alpha: number) =>
        global ? global(alpha, r, config.r, rsLora) : path(alpha, r, rsLora);
      const whole: laws.BuiltLora = {
        params: { weight: parts.init === "residual" ? residual : weight, A, B },
        scaling: scalingOf(parts.declared, alpha),
        forward: ({ weight, A, B }, x) => {
          const inner = matmul(parts.inputs(x), transpose(parts.factorA(A)));
          const own = parts.batch(parts.shaped(scalingOf(parts.forward, alpha), config), x.length);
          const added = scale(own, matmul(inner, transpose(parts.factorB(B))));
          return add(parts.product(x, weight), parts.branch(added));
        },
        merge: ({ weight, A, B }) =>
          add(weight, scale(scalingOf(parts.merged, parts.mergedAlpha?.(config) ?? alpha), matmul(B, A))),
      };
      return parts.built?.(whole) ?? whole;
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
  const both = "rank and alpha pattern together";
  const patterns = ["rank pattern", "alpha pattern", both];
  const gauges = ["gauge by powers of two, bitwise", "gauge by any factors"];
  const size = "initial values have the promised size";
  const rows = "initial values differ from row to row";
  const inX = "linear in x, bitwise";
  const keeps = "nothing is kept from call to call";
  const each = (x: Matrix, f: (value: number) => number) => x.map((row) => row.map(f));
  const bounded = (most: number) => (value: number) => Math.max(-most, Math.min(most, value));
  const everyScale = [declared, forward, declaredRs, rs(forward)];

  const wrongMatches: Readonly<Record<string, (path: string, name: string) => boolean>> = {
    "holds it": (path, name) => path.includes(name),
    "ends with it, in the middle of a part": (path, name) => path.endsWith(name),
    "begins with it": (path, name) => path.startsWith(name),
    "is it, whole": (path, name) => path === name,
    "has it as any part": (path, name) => path.split(".").includes(name),
    "ends with it, where that has no dot": (path, name) =>
      !name.includes(".") && path.split(".").at(-1) === name,
    "ends with its last part": (path, name) => path.split(".").at(-1) === name.split(".").at(-1),
    "ends with it, in the middle of a part where that has a dot": (path, name) =>
      name.includes(".") ? path.endsWith(name) : path.split(".").at(-1) === name,
    "begins with it, or ends": (path, name) => path.startsWith(`${name}.`) || `.${path}`.endsWith(`.${name}`),
    "ends with it in any case": (path, name) =>
      path.toLowerCase() === name.toLowerCase() || path.toLowerCase().endsWith(`.${name.toLowerCase()}`),
  };

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
    "rsLoRA forgotten": [everywhere(plain), [declaredRs, rs(forward), ...patterns], "rsLoRA is ignored"],
    "rsLoRA forgotten in forward": [{ forward: plain }, [rs(forward), rs(merge), ...patterns]],
    "rsLoRA forgotten in merge": [{ merged: plain }, [rs(merge), ...patterns]],
    "rsLoRA with the rank of the whole model where a pattern has another": [
      { global: (alpha, own, r, rsLora) => (rsLora ? alpha / Math.sqrt(r) : alpha / own) },
      ["rank pattern", both],
    ],
    "the sign of alpha lost": [
      everywhere((alpha, r, rsLora) => Math.abs(scaling(alpha, r, rsLora))),
      [...everyScale, ...patterns],
      "its sign is lost",
    ],
    "a negative alpha taken for none": [
      everywhere((alpha, r, rsLora) => Math.max(0, scaling(alpha, r, rsLora))),
      [...everyScale, ...patterns],
      "the adapter is left out",
    ],
    "alpha cut to a whole number": [
      everywhere((alpha, r, rsLora) => scaling(Math.trunc(alpha), r, rsLora)),
      [...everyScale, "linear in alpha", ...gauges, ...patterns],
    ],
    "a square weight transposed": [
      {
        product: (x, weight) => matmul(x, weight.length === weight[0]!.length ? weight : transpose(weight)),
      },
      [
        forward,
        rs(forward),
        merge,
        rs(merge),
        "B = 0 gives the base",
        "linear in alpha",
        "initial values: zero",
        ...patterns,
      ],
    ],
    "A transposed where the rank is that of the inputs": [
      { factorA: (A) => (A.length === A[0]!.length ? transpose(A) : A) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "B transposed where the rank is that of the outputs": [
      { factorB: (B) => (B.length === B[0]!.length ? transpose(B) : B) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "the adapter left out where the rank is above the weight's": [
      { shaped: (s, { in: inputs, out, r }) => (r > Math.min(inputs, out) ? 0 : s) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "the scaling by the smaller of rank and inputs": [
      { shaped: (s, { in: inputs, r }) => (r > inputs ? (s * r) / inputs : s) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "the scaling of a tall weight divided by out": [
      { shaped: (s, { in: inputs, out }) => (out > inputs ? s / out : s) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "a factor that depends on the batch": [
      { batch: (s, size) => (s * size) / 2 },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "one input squeezed, so that the adapter is left out": [
      { batch: (s, size) => (size === 1 ? 0 : s) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "inputs beyond the eighth without the adapter": [
      { branch: (added) => added.map((row, i) => (i < 8 ? row : row.map(() => 0))) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "the mean over four inputs": [
      { batch: (s, size) => (size === 4 ? s / 2 : s) },
      [forward, rs(forward), merge, rs(merge), ...patterns],
    ],
    "an alpha that fits into seven bits": [
      everywhere((alpha, r, rsLora) => scaling(Math.min(alpha, 127), r, rsLora)),
      [...everyScale, "linear in alpha", ...gauges, ...patterns],
    ],
    "what is added bounded at 1e6": [{ branch: (added) => each(added, bounded(1e6)) }, [inX]],
    "what is added flushed below 1e-4": [
      { branch: (added) => each(added, (v) => (Math.abs(v) < 1e-4 ? 0 : v)) },
      [inX],
    ],
    "inputs bounded at 10": [{ inputs: (x) => each(x, bounded(10)) }, [inX]],
    "inputs divided by the largest": [
      {
        inputs: (x) => {
          const most = Math.max(...x.flat().map(Math.abs));
          return most > 2 ? scale(1 / most, x) : x;
        },
      },
      [inX],
    ],
    "the factors of the first call kept": [
      {
        built: (own) => {
          let first: laws.LoraParams | undefined;
          return {
            ...own,
            forward: (params, x) => {
              first ??= params;
              return own.forward({ ...params, A: first.A, B: first.B }, x);
            },
          };
        },
      },
      [keeps],
    ],
    "merging that counts": [
      {
        built: (own) => {
          let times = 0;
          return { ...own, merge: (params) => own.merge!({ ...params, B: scale(++times, params.B) }) };
        },
      },
      [keeps],
    ],
    "merging that turns the adapter off": [
      {
        built: (own) => {
          let merged = false;
          return {
            ...own,
            merge: (params) => {
              merged = true;
              return own.merge!(params);
            },
            forward: (params, x) => own.forward(merged ? { ...params, B: scale(0, params.B) } : params, x),
          };
        },
      },
      [merge, rs(merge), keeps],
    ],
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
    "merge without scaling": [{ merged: () => 1 }, [merge, rs(merge), ...patterns]],
    "merge with the alpha of the whole model where a pattern has another": [
      { mergedAlpha: ({ alpha }) => alpha },
      ["alpha pattern", both],
    ],
    "the rank pattern lost": [{ rank: ({ r }) => r }, ["rank pattern", both]],
    "the alpha pattern lost beside a rank pattern": [
      { alpha: (config) => (config.rankPattern ? config.alpha : right.alpha(config)) },
      [both],
    ],
    "the rank pattern lost beside an alpha pattern": [
      { rank: (config) => (config.alphaPattern ? config.r : right.rank(config)) },
      [both],
    ],
    "the rank pattern in the shapes, not in the scaling": [
      {
        alpha: (config) => (right.alpha(config) * right.rank(config)) / config.r,
      },
      ["rank pattern", both],
    ],
    "the alpha pattern lost": [{ alpha: ({ alpha }) => alpha }, ["alpha pattern", both]],
    ...Object.fromEntries(
      Object.entries(wrongMatches).map(([how, matches]) => [
        `a pattern that matches where the path ${how}`,
        [
          {
            alpha: ({ alphaPattern, path, alpha }: laws.LoraConfig) =>
              Object.entries(alphaPattern ?? {}).find(([name]) => matches(path, name))?.[1] ?? alpha,
          },
          ["alpha pattern", both],
        ],
      ]),
    ),
    ...Object.fromEntries(
      (
        [
          ["last", (names) => names.at(-1)],
          ["longest", (names) => [...names].sort((x, y) => y.length - x.length)[0]],
          ["shortest", (names) => [...names].sort((x, y) => x.length - y.length)[0]],
          ["largest", (names, pattern) => [...names].sort((x, y) => pattern[y]! - pattern[x]!)[0]],
        ] satisfies [
          string,
          (names: string[], pattern: Readonly<Record<string, number>>) => string | undefined,
        ][]
      ).map(([which, choose]) => [
        `the ${which} of two patterns that match`,
        [
          {
            alpha: ({ alphaPattern = {}, path, alpha }: laws.LoraConfig) => {
              const matching = Object.keys(alphaPattern).filter((name) => `.${path}`.endsWith(`.${name}`));
              return alphaPattern[choose(matching, alphaPattern) ?? ""] ?? alpha;
            },
          },
          ["alpha pattern", both],
        ],
      ]),
    ),
    "patterns that match any part of a name": [
      { alpha: ({ alpha, alphaPattern }) => Object.values(alphaPattern ?? {})[0] ?? alpha },
      ["alpha pattern", both],
    ],
    "a residual start that ignores the scaling": [
      { ...residual, start: () => 1 },
      ["initial values: residual"],
    ],
    "a residual start that ignores rsLoRA": [{ ...residual, start: plain }, ["initial values: residual"]],
    "initial values that depend on alpha": [
      { A: (config, r) => scale(1 / Math.sqrt(1 + Math.abs(config.alpha)), right.A(config, r)) },
      ["initial values do not depend on alpha", size],
    ],
    "a start at random where zero is promised": [{ B: residual.B }, ["initial values: zero", size]],
    "initial values that are the same for every seed": [
      { A: (config, r) => right.A({ ...config, seed: 0 }, r) },
      ["initial values come from the seed"],
    ],
    "a seed cut to a byte": [
      { A: (config, r) => right.A({ ...config, seed: config.seed & 255 }, r) },
      ["initial values come from the seed"],
    ],
    "a rank cut at 8": [
      everywhere((alpha, r, rsLora) => scaling(alpha, Math.min(r, 8), rsLora)),
      [...everyScale, ...patterns],
    ],
    "initial values that change from build to build": [
      { A: (config, r) => right.A({ ...config, seed: Math.random() }, r) },
      ["initial values come from the seed", "initial values do not depend on alpha"],
    ],
    "a start by the rank instead of the width": [
      { A: (config, r) => scale(Math.sqrt(config.in / r), right.A(config, r)) },
      [size],
    ],
    "a start by the width instead of its root": [
      { A: (config, r) => scale(1 / Math.sqrt(config.in), right.A(config, r)) },
      [size],
    ],
    "a start twice as large": [{ A: (config, r) => scale(2, right.A(config, r)) }, [size]],
    "a start with one row over and over": [
      { A: (config, r) => Array.from({ length: r }, () => right.A(config, 1)[0]!) },
      [rows, size],
    ],
    "a start with rows in pairs": [
      { A: (config, r) => right.A(config, r).map((_, i, all) => all[i - (i % 2)]!) },
      [rows],
    ],
    "a start with every second column at zero": [
      {
        A: (config, r) => right.A(config, r).map((row) => row.map((v, j) => (j % 2 ? 0 : v * Math.SQRT2))),
      },
      [rows],
    ],
    "a start on one side of zero": [
      { A: (config, r) => right.A(config, r).map((row) => row.map(Math.abs)) },
      [size],
    ],
    "both factors start at zero": [
      { A: (config, r) => scale(0, random(0, r, config.in)) },
      ["initial values: zero"],
    ],
  };

  test.for(everyNth(12, Object.entries(mistakes)))("%s", async ([, [mistake, fails, hint]]) => {
    const verdicts = await broken(laws.lora(layer(mistake)));
    expect(names(verdicts).sort()).toEqual([...fails].sort());
    for (const { name, message } of verdicts) expect(message).toContain(`${name}: `);
    if (hint !== undefined) expect(verdicts.map(({ message }) => message).join()).toContain(hint);
  });

  long("an alpha that is refused is no mistake, and what was not tried is counted", async () => {
    const strict: laws.LayerUnderTest = {
      ...layer(),
      build: (weight, config) => {
        for (const alpha of [config.alpha, ...Object.values(config.alphaPattern ?? {})])
          if (!Number.isInteger(alpha) || alpha < 0)
            throw new Error(`alpha must be a whole number, not ${alpha}`);
        return layer().build(weight, config);
      },
    };
    const verdicts = await laws.run(laws.lora(strict), { seed, numRuns: 40 });
    expect(names(verdicts.filter(({ holds }) => !holds))).toEqual([]);
    expect(verdicts.find(({ name }) => name === gauges[0])?.refused).toBeGreaterThan(10);
    const picky: laws.Merging = {
      merge: (weight, adapter, strength) => {
        if (strength < 0 || !(adapter.alpha > 0)) throw new Error("only positive strengths and alphas");
        return merging.merge(weight, adapter, strength);
      },
    };
    expect(names(await broken(laws.merge(picky)))).toEqual([]);
    const refusing = {
      ...layer(),
      build: () => {
        throw new Error("out of order");
      },
    };
    expect((await laws.run(laws.lora(refusing), { seed, numRuns: 5 })).every(({ holds }) => !holds)).toBe(
      true,
    );
  });

  test("a counterexample is the smallest there is", async () => {
    const [first] = await broken(laws.lora(layer({ forward: (alpha) => alpha })), 40, false);
    const found = /Counterexample: \[(.*)\]/.exec(first?.message ?? "")?.[1] ?? "";
    const { config, params, x } = JSON.parse(found) as {
      config: laws.LoraConfig;
      params: laws.LoraParams;
      x: Matrix;
    };
    expect(config).toMatchObject({ in: 4, out: 3, r: 2, alpha: 3, path: "layers.0.q", seed: 0 });
    expect(new Set([params.weight, params.A, params.B, x].flat(2))).toEqual(new Set([0.25]));
  });

  test("a scaling shared by all layers", async () => {
    let latest = 0;
    const shared: laws.LayerUnderTest = {
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
    const biased: laws.LayerUnderTest = {
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

  long("parameters changed in place", async () => {
    const careless: laws.LayerUnderTest = {
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

const delta = ({ A, B, r, alpha, rsLora }: laws.AdapterUnderTest): Matrix =>
  scale(scaling(alpha, r, rsLora), matmul(B, A));

/** Concatenation: the rows of A one below the other, the scaled columns of B side by side, alpha = r. */
function cat(adapters: readonly laws.AdapterUnderTest[], weights: readonly number[]): laws.AdapterUnderTest {
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
          return (weight: Matrix, adapter: laws.AdapterUnderTest, strength: number) => {
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
    "the absolute value of the strength": [
      { merge: (weight, adapter, strength) => add(weight, scale(Math.abs(strength), delta(adapter))) },
      ["merging is linear in strength"],
    ],
    "the sign of alpha lost in merging": [
      {
        merge: (weight, adapter, strength) =>
          add(weight, scale(strength, delta({ ...adapter, alpha: Math.abs(adapter.alpha) }))),
      },
      [adds, undo],
    ],
    "a square weight merged transposed": [
      {
        merge: (weight, adapter, strength) => {
          const change = scale(strength, delta(adapter));
          return add(weight, weight.length === weight[0]!.length ? transpose(change) : change);
        },
      },
      [adds, undo],
    ],
    "a third adapter dropped": [
      { combine: (adapters, weights) => cat(adapters.slice(0, 2), weights) },
      [sum],
    ],
    "a fifth adapter dropped": [
      { combine: (adapters, weights) => cat(adapters.slice(0, 4), weights) },
      [sum],
    ],
    "a third adapter dropped after switching": [
      {
        switching: (weight, adapters) => {
          const own = merging.switching(weight, adapters);
          return { ...own, activate: (index) => own.activate(index % 2) };
        },
      },
      ["each adapter keeps its own scaling when switched to"],
    ],
    "an eighth adapter dropped": [
      { combine: (adapters, weights) => cat(adapters.slice(0, 7), weights) },
      [sum],
    ],
    "the same adapter twice counted once": [
      {
        combine: (adapters, weights) => {
          const different = new Set(adapters.map((own) => JSON.stringify(own)));
          return cat(adapters.slice(0, different.size), weights);
        },
      },
      [sum],
    ],
    "weights cut at 3": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters,
            weights.map((w) => Math.min(3, w)),
          ),
      },
      [sum],
    ],
    "a strength above 3 in percent": [
      {
        merge: (weight, adapter, strength) =>
          add(weight, scale(strength > 3 ? strength / 100 : strength, delta(adapter))),
      },
      ["merging is linear in strength"],
    ],
    "a small strength taken for none": [
      {
        merge: (weight, adapter, strength) =>
          add(weight, scale(Math.abs(strength) < 0.1 ? 0 : strength, delta(adapter))),
      },
      ["merging is linear in strength"],
    ],
    "an alpha that fits into seven bits": [
      {
        merge: (weight, adapter, strength) =>
          add(weight, scale(strength, delta({ ...adapter, alpha: Math.min(127, adapter.alpha) }))),
      },
      [adds, undo],
    ],
    "the inputs of the first call kept after switching": [
      {
        switching: (weight, adapters) => {
          const own = merging.switching(weight, adapters);
          let first: Matrix | undefined;
          return {
            ...own,
            forward: (x) => {
              first ??= x;
              return own.forward(first);
            },
          };
        },
      },
      ["each adapter keeps its own scaling when switched to"],
    ],
    "a weight of zero taken for none given": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters,
            weights.map((w) => w || 1),
          ),
      },
      [sum],
    ],
    "negative weights cut at zero": [
      {
        combine: (adapters, weights) =>
          cat(
            adapters,
            weights.map((w) => Math.max(0, w)),
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

  test.for(everyNth(12, Object.entries(mistakes)))("%s", async ([, [mistake, fails]]) => {
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

/** Where Adam can be given constants of its own. */
interface Constants {
  readonly floor?: number;
  readonly epsAt?: (t: number) => number;
  readonly rateAt?: (t: number) => number;
  readonly corrected?: boolean;
}

/** Adam with decoupled decay, on plain numbers. */
function adam(
  { lr, eps, weightDecay }: AdamHyper,
  { floor = 0, epsAt = () => eps, rateAt = () => lr, corrected = true }: Constants = {},
): laws.OptimizerInstance<AdamState> {
  return {
    init: (params) => ({ t: 0, m: params.map(() => 0), v: params.map(() => 0) }),
    update: (gradient, state, params) => {
      const t = state.t + 1;
      const m = state.m.map((x, i) => 0.9 * x + 0.1 * gradient[i]!);
      const v = state.v.map((x, i) => Math.max(floor, 0.99 * x + 0.01 * gradient[i]! ** 2));
      const correction = (beta: number) => (corrected ? 1 - beta ** t : 1);
      const moved = params.map((p, i) => {
        const size = Math.sqrt(v[i]! / correction(0.99)) + epsAt(t);
        return p - rateAt(t) * weightDecay * p - (rateAt(t) * (m[i]! / correction(0.9))) / size;
      });
      return { params: moved, state: { t, m, v } };
    },
  };
}

/** Adam with something done to the parameters after each update. */
function changed(
  hyper: AdamHyper,
  change: (moved: laws.Vector, params: laws.Vector) => laws.Vector,
): laws.OptimizerInstance<AdamState> {
  const own = adam(hyper);
  return {
    ...own,
    update: async (gradient, state, params) => {
      const moved = await own.update(gradient, state, params);
      return { ...moved, params: change(moved.params, params) };
    },
  };
}

const adamLaws = (
  create: (hyper: AdamHyper) => laws.OptimizerInstance<AdamState>,
  exponents: laws.Exponents = { lr: 1, eps: -1, weightDecay: -1 },
  hyper: AdamHyper = { lr: 0.1, eps: 0.01, weightDecay: 0.1 },
  updates?: number,
) =>
  laws.optimizer({
    hyper,
    create,
    ...(updates !== undefined && { updates }),
    exponents: () => exponents,
    stateExponents: () => ({ m: -1, v: -2 }),
  });

describe("optimizers", () => {
  const bitwise = "equivariant under scaling, bitwise";
  const generic = "equivariant under scaling";
  const states = "state is equivariant under scaling";
  const scaled = [bitwise, generic];

  test("without a mistake every law holds", async () => {
    expect(adamLaws(adam)).toHaveLength(8);
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
    ...Object.fromEntries(
      [1e-3, 0.1, 100, 1e6].map((most) => [
        `updates clipped at ${most}`,
        [
          (hyper: AdamHyper) =>
            changed(hyper, (moved, params) =>
              moved.map((p, i) => params[i]! + Math.max(-most, Math.min(most, p - params[i]!))),
            ),
          most < 1 ? scaled : [bitwise],
        ],
      ]),
    ),
    ...Object.fromEntries(
      [10, 1e4, 1e9].map((most) => [
        `weights bounded at ${most}`,
        [
          (hyper: AdamHyper) =>
            changed(hyper, (moved) => moved.map((p) => Math.max(-most, Math.min(most, p)))),
          [bitwise, ...(most < 100 ? [generic] : [])],
        ],
      ]),
    ),
    ...Object.fromEntries(
      [1e-6, 1e-12, 1e-24].map((least) => [
        `a floor of ${least} below the second moment`,
        [
          (hyper: AdamHyper) => adam(hyper, { floor: least }),
          least > 1e-20 ? [...scaled, states] : [bitwise, states],
        ],
      ]),
    ),
    "updates clipped at 1e25": [
      (hyper) =>
        changed(hyper, (moved, params) =>
          moved.map((p, i) => params[i]! + Math.max(-1e25, Math.min(1e25, p - params[i]!))),
        ),
      [bitwise],
    ],
    "gradients flushed below 1e-60": [
      (hyper) => ({
        ...adam(hyper),
        update: (gradient, state, params) =>
          adam(hyper).update(
            gradient.map((g) => (Math.abs(g) < 1e-60 ? 0 : g)),
            state,
            params,
          ),
      }),
      [bitwise, states],
    ],
    ...Object.fromEntries(
      Object.entries({
        "a decay of sizes": (moved, params, { lr, weightDecay }) =>
          moved.map((p, i) => p + lr * weightDecay * (params[i]! - Math.abs(params[i]!))),
        "a decay of the first element only": (moved, params, { lr, weightDecay }) =>
          moved.map((p, i) => (i === 0 ? p : p + lr * weightDecay * params[i]!)),
        "elements after the fourth left as they are": (moved, params) =>
          moved.map((p, i) => (i < 4 ? p : params[i]!)),
        "longer steps downwards": (moved, params) =>
          moved.map((p, i) => (p < params[i]! ? 1.5 * p - 0.5 * params[i]! : p)),
        "weights rounded upwards": (moved) => moved.map((p) => p + 1e-7 * Math.abs(p)),
      } satisfies Record<
        string,
        (moved: laws.Vector, params: laws.Vector, hyper: AdamHyper) => laws.Vector
      >).map(([name, change]) => [
        name,
        [
          (hyper: AdamHyper) => changed(hyper, (moved, params) => change(moved, params, hyper)),
          ["follows signed permutations"],
        ],
      ]),
    ),
    "an eps of its own after five updates": [
      (hyper) => adam(hyper, { epsAt: (t) => (t > 5 ? 0.01 : hyper.eps) }),
      scaled,
    ],
    "a rate of its own after twenty updates": [
      (hyper) => adam(hyper, { rateAt: (t) => (t > 20 ? 0.1 : hyper.lr) }),
      scaled,
    ],
    "the sign of the update turned": [
      (hyper) => changed(hyper, (moved, params) => moved.map((p, i) => 2 * params[i]! - p)),
      ["goes against the gradient"],
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

  test.for(everyNth(12, Object.entries(mistakes)))("%s", async ([, [create, fails]]) => {
    expect(names(await broken(adamLaws(create), 100)).sort()).toEqual([...fails].sort());
  });

  test.for<readonly [what: string, create: Create, fails: readonly string[]]>([
    ["no mistake", adam, []],
    [
      "a rate of its own after 500 updates",
      (hyper) => adam(hyper, { rateAt: (t) => (t > 500 ? 0.1 : hyper.lr) }),
      scaled,
    ],
    [
      "an eps of its own after 999 updates",
      (hyper) => adam(hyper, { epsAt: (t) => (t > 999 ? 0.01 : hyper.eps) }),
      scaled,
    ],
  ])("in runs of 1000 updates: %s", async ([, create, fails]) => {
    const long = adamLaws(create, undefined, undefined, 1000);
    expect(names(await broken(long, 60)).sort()).toEqual([...fails].sort());
    if (fails.length > 0) expect(names(await broken(adamLaws(create), 60))).toEqual([]);
  });

  test("runs that are too short for their laws are refused", () => {
    expect(() => adamLaws(adam, undefined, undefined, 5)).toThrow(
      "laws.optimizer: updates is 5; it is a whole number >= 10.",
    );
  });

  test("a wrong rule for a right optimizer: SGD's rate for Adam, and a decay that is not coupled", async () => {
    expect(names(await broken(adamLaws(adam, { lr: 2, eps: -1, weightDecay: -1 })))).toEqual(scaled);
    expect(names(await broken(adamLaws(adam, { lr: 1, eps: -1, weightDecay: -2 })))).toEqual(scaled);
    expect(names(await broken(adamLaws(adam, { lr: 1, weightDecay: -1 })))).toEqual(scaled);
  });

  test("the message names the powers, the factor and the update", async () => {
    const [first] = await broken(
      adamLaws((hyper) => adam({ ...hyper, eps: 0.01 })),
      40,
      false,
    );
    expect(first?.message).toMatch(/a parameter \(row: update\) with c = \S+, powers {"lr":1,"eps":-1/);
    expect(first?.message).toContain("Counterexample: ");
  });

  test("without a rule only the other laws are left", () => {
    const named = laws.optimizer({ hyper: { lr: 0.1, eps: 0.01, weightDecay: 0 }, create: adam });
    expect(named.map(({ name }) => name)).toEqual([
      "follows signed permutations",
      "deterministic",
      "arguments stay as they were",
      "a resumed run is the unbroken run",
      "goes against the gradient",
    ]);
  });

  describe("that claim to be one of the library", () => {
    let device: Device;
    beforeAll(async () => {
      device = await init({ backend: "cpu" });
    });
    afterAll(() => device.dispose());

    const claimed = (create: Create) =>
      laws.optimizer({
        hyper: { lr: 0.1, eps: 0.01, weightDecay: 0.1 },
        create,
        is: (hyper) => ({ name: "adamw", betas: [0.9, 0.99], ...hyper }),
      });
    const is = "is the optimizer that it claims to be";

    test("without a mistake every law holds", async () => {
      expect(names(await broken(claimed(adam)))).toEqual([]);
    });

    test.for<readonly [string, Create, readonly string[]]>([
      ["the bias correction is missing", (hyper) => adam(hyper, { corrected: false }), [is]],
      ["the decay is coupled", (hyper) => adam({ ...hyper, weightDecay: 0 }), [is]],
      [
        "the rate is halved after five updates",
        (hyper) => adam(hyper, { rateAt: (t) => (t > 5 ? hyper.lr / 2 : hyper.lr) }),
        [is],
      ],
    ])("%s", async ([, create, fails]) => {
      expect(names(await broken(claimed(create)))).toEqual(fails);
    });
  });

  test("a state in float32 is no mistake", async () => {
    /** Adam as most libraries keep it: moments in float32, and parameters in either. */
    const single =
      (params: (values: readonly number[]) => readonly number[]): Create =>
      (hyper) => {
        const own = adam(hyper);
        const rounded = ({ t, m, v }: AdamState) =>
          ({ t, m: Float32Array.from(m), v: Float32Array.from(v) }) as unknown as AdamState; // read as numbers
        return {
          init: async (start) => rounded(await own.init(start)),
          update: async (gradient, { t, m, v }, start) => {
            const moved = await own.update(gradient, { t, m: [...m], v: [...v] }, start);
            return { params: params(moved.params), state: rounded(moved.state) };
          },
        };
      };
    expect(names(await broken(adamLaws(single((values) => values)), 300))).toEqual([]);
    expect(names(await broken(adamLaws(single((values) => values.map(Math.fround))), 300))).toEqual([]);
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
    ...Object.fromEntries(
      [1e4, 1e9].map((most) => [
        `a rate of at most ${most}`,
        [(lr: number) => (t: number) => Math.min(most, cosine(lr)(t)), [proportional[0]!]],
      ]),
    ),
    "a floor of 1e-9": [(lr) => (t) => Math.max(1e-9, cosine(lr)(t)), [proportional[0]!]],
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

  test.for(everyNth(12, Object.entries(mistakes)))("%s", async ([, [create, fails]]) => {
    const verdicts = await broken(laws.schedule({ ...ends, create }), 200);
    expect(names(verdicts).sort()).toEqual([...fails].sort());
  });
});
