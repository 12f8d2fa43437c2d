import fc from "fast-check";
import * as gauge from "../src/gauge/index.ts";
import * as optim from "../src/optim/index.ts";

// Recipes of every form for property tests, and the same runs in other words.

/** A recipe whose fields are not known to the compiler, as from a file. */
export const unchecked = (fields: object) => fields as unknown as gauge.Recipe;

/** Each optimizer in its forms, with numbers of a size that shows. */
export const optimizerForms: readonly object[] = [
  { name: "sgd" },
  { name: "sgd", momentum: 0.9, weightDecay: 0.25 },
  { name: "sgd", momentum: 0.5, dampening: 0.25 },
  { name: "sgd", momentum: 0.9, nesterov: true },
  { name: "sgd", decoupledWeightDecay: true, weightDecay: 0.25, momentum: 0.5 },
  { name: "adam", eps: 1e-3 },
  { name: "adam", eps: 1e-3, weightDecay: 0.25, amsgrad: true },
  { name: "adam", epsInsideRoot: true, eps: 1e-6 },
  { name: "adamw", eps: 1e-3, weightDecay: 0.25 },
  { name: "adamw", decayTimesLr: false, weightDecay: 2 ** -8 },
  { name: "adamax", eps: 1e-3, weightDecay: 0.25 },
  { name: "nadam", eps: 1e-3, weightDecay: 0.25 },
  { name: "rmsprop", momentum: 0.5, eps: 1e-3, weightDecay: 0.25 },
  { name: "adagrad", initialAccumulatorValue: 0.125, lrDecay: 0.5 },
  { name: "rprop", stepSizes: [1e-4, 0.25] },
  { name: "lion", weightDecay: 0.25 },
  { name: "signSgd", momentum: 0.9 },
  { name: "radam", lrUnrectified: 0.25 },
  { name: "radam" },
  { name: "adadelta", lr: 1, eps: 1e-3, weightDecay: 0.25 },
  { name: "adadelta", lr: 1, epsGradient: 1e-3, epsUpdate: 1e-4 },
  { name: "lamb", eps: 1e-3, weightDecay: 0.25 },
  { name: "adafactor", epsGradient: 1e-3, epsParameter: 0.25, weightDecay: 0.25 },
  { name: "adafactor", epsGradient: 1e-3, clipThreshold: 0.5, scaleParameter: false, weightDecay: 0.25 },
  { name: "scaledSgd", reg: 0.5, momentum: 0.5, weightDecay: 0.25 },
  { name: "scaledAdamw", reg: 0.5, eps: 1e-3, weightDecay: 0.25 },
  { name: "loraRite", reg: 0.5, eps: 1e-4, weightDecay: 0.25 },
  { name: "loraMuon", reg: 0.5, weightDecay: 0.25 },
];

const grid = (name: string, axes: { readonly [hyper: string]: readonly unknown[] }): readonly object[] =>
  Object.entries(axes).reduce<readonly object[]>(
    (all, [hyper, values]) => all.flatMap((form) => values.map((value) => ({ ...form, [hyper]: value }))),
    [{ name, lr: 0.02 }],
  );

/** Each optimizer with numbers at which it may be another one: averages that forget at once, no decay, rates of 0. */
export const degenerateForms: readonly object[] = (() => {
  const betas = [
    [0, 0],
    [0.5, 0],
    [0, 0.5],
    [0.5, 0.5],
    [0.5, 0.9],
    [0, 0.9],
  ];
  const waits = [...betas, [0, 0.68], [0.5, 0.75]];
  const [weightDecay, eps, either, reg] = [[0, 0.25], [1e-3], [false, true], [0.5]];
  return [
    ...grid("sgd", { momentum: [0, 0.5], dampening: [0, 0.5], weightDecay, decoupledWeightDecay: either }),
    ...grid("sgd", { momentum: [0.5], nesterov: [true], weightDecay }),
    ...grid("adam", { betas, eps, weightDecay, amsgrad: either, biasCorrection: either }),
    ...grid("adam", { betas, eps, epsInsideRoot: [true] }),
    ...grid("adamw", { betas, eps, weightDecay, biasCorrection: either, decayTimesLr: either }),
    ...grid("adamax", { betas, eps, weightDecay }),
    ...grid("nadam", { betas, eps, weightDecay, momentumDecay: [0, 4e-3] }),
    ...grid("radam", { betas: waits, eps, weightDecay, lrUnrectified: [0, 0.02] }),
    ...grid("radam", { betas: waits, lr: [0], eps: [1e-3, 1e-8], weightDecay, lrUnrectified: [0, 0.02] }),
    ...grid("rmsprop", { alpha: [0, 0.5, 0.9], eps, momentum: [0, 0.5], centered: either, weightDecay }),
    ...grid("rmsprop", {
      lr: [0.01],
      alpha: [0],
      eps: [0.5],
      momentum: [0, 0.5],
      centered: [true],
      weightDecay,
    }),
    ...grid("adagrad", { eps, weightDecay, lrDecay: [0, 0.5], initialAccumulatorValue: [0, 0.1] }),
    ...grid("adadelta", { rho: [0, 0.5], eps, weightDecay }),
    // Bounds that all of these steps reach, or none does.
    ...grid("rprop", {
      stepSizes: [
        [0.02, 0.02],
        [0.01, 0.03],
        [0, 50],
        [0, 0],
      ],
      lr: [0.02, 0],
    }),
    ...grid("lion", { betas, weightDecay }),
    ...grid("signSgd", { momentum: [0, 0.5, 0.9] }),
    ...grid("lamb", { betas, eps, weightDecay }),
    ...grid("adafactor", {
      epsGradient: eps,
      epsParameter: [0, 0.25],
      decayRate: [0, 0.8],
      clipThreshold: [0.5, 1],
      scaleParameter: either,
      weightDecay,
    }),
    ...grid("scaledSgd", { reg, momentum: [0, 0.5], weightDecay, decoupledWeightDecay: either }),
    ...grid("scaledAdamw", { reg, betas, eps, weightDecay, biasCorrection: either }),
    ...grid("loraRite", { reg, betas, eps, weightDecay }),
    ...grid("loraMuon", { reg, momentum: [0, 0.5], weightDecay }),
  ];
})();

/** Values of hyperparameters at which one optimizer may be another one, or has numbers without effect. */
const degenerateValues: { readonly [hyper: string]: readonly unknown[] } = {
  lr: [0.02, 0.02, 0.05, 0],
  betas: [
    [0.9, 0.9],
    [0, 0.9],
    [0.9, 0],
    [0, 0],
    [0.5, 0.5],
  ],
  eps: [1e-3, 1e-3, 1e-2],
  weightDecay: [0, 0, 0.25],
  momentum: [0, 0.5],
  dampening: [0, 0.5],
  nesterov: [false, false, true],
  decoupledWeightDecay: [false, true],
  amsgrad: [false, true],
  epsInsideRoot: [false, true],
  biasCorrection: [true, false],
  decayTimesLr: [true, false],
  momentumDecay: [0, 4e-3],
  lrUnrectified: [0.02, 0],
  alpha: [0, 0.9],
  centered: [false, true],
  lrDecay: [0, 0.5],
  initialAccumulatorValue: [0, 0.1],
  rho: [0, 0.9],
  epsGradient: [1e-3, 1e-2],
  epsUpdate: [1e-3, 1e-4, 0],
  epsParameter: [0, 0.25],
  decayRate: [0, 0.8],
  clipThreshold: [1, 0.5],
  scaleParameter: [true, false],
  // Bounds that steps reach.
  stepSizes: [
    [1e-3, 0.03],
    [0.02, 0.02],
  ],
  reg: [0.5, 0.25],
};

/** Recipes of all optimizers with such values for both matrices, or for one. */
export function degenerateRecipes(): fc.Arbitrary<gauge.Recipe> {
  const seldom = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined, freq: 1 });
  const hypers = fc.record(
    Object.fromEntries(
      Object.entries(degenerateValues).map(([hyper, values]) => [hyper, fc.constantFrom(...values)]),
    ),
    { requiredKeys: [] },
  );
  return fc
    .record({
      name: fc.constantFrom(...optim.optimizerNames),
      hyper: hypers,
      own: seldom(fc.tuple(fc.constantFrom("A", "B"), hypers)),
      alpha: fc.constantFrom(4, 8),
      init: fc.constantFrom("standard", "random", "random", "swapped"),
      trained: seldom(fc.constantFrom(["A", "B"], ["A"], ["B"])),
      clip: seldom(
        fc.constantFrom(
          { kind: "value", maxValue: 1e-3 },
          { kind: "tensorNorm", maxNorm: 0.01 },
          { kind: "globalNorm", maxNorm: 0.01 },
        ),
      ),
      schedule: seldom(
        fc.constantFrom(
          { kind: "warmupConstant", warmup: 1 },
          { kind: "exponential", gamma: 0 },
          { kind: "warmupLinear", warmup: 0, total: 1 },
          { kind: "warmupLinear", warmup: 0.5, total: 1 },
        ),
      ),
    })
    .map(({ name, hyper, own, alpha, init, ...rest }) => {
      const known = gauge.hyperOf(
        unchecked({ r: 2, alpha, optimizer: { name, lr: 1 } }) as gauge.Recipe<"adam">,
        "A",
      );
      const taken = (numbers: object) =>
        Object.fromEntries(Object.entries(numbers).filter(([hyper]) => Object.hasOwn(known, hyper)));
      const given = Object.entries(rest).filter(([, value]) => value !== undefined);
      const groups = own && { groups: { [own[0]]: taken(own[1]) } };
      return unchecked({
        ...{ r: 2, alpha, init, optimizer: { name, lr: 0.02, ...taken(hyper) } },
        ...groups,
        ...Object.fromEntries(given),
      });
    })
    .filter((recipe) => {
      try {
        return gauge.checkRecipe(recipe) === recipe;
      } catch {
        return false; // such as numbers of a matrix that is not trained
      }
    });
}

const sides = (x: number, y: number) => fc.constantFrom(undefined, { A: x }, { B: y }, { A: y, B: x });

/** Recipes of all optimizers, starts, layers, groups, schedules and clippings. */
export function randomRecipes(): fc.Arbitrary<gauge.Recipe> {
  return fc
    .record({
      form: fc.constantFrom(...optimizerForms),
      lr: fc.constantFrom(0.01, 0.02, 0.05),
      r: fc.constantFrom(1, 2, 3),
      alpha: fc.constantFrom(1, 3, 4, 16),
      rsLora: fc.boolean(),
      dropout: fc.constantFrom(0, 0, 0.25),
      init: fc.constantFrom("standard", "standard", "swapped", "random", "gaussian"),
      adapts: fc.constantFrom(["linear"], ["linear"], ["embedding"], ["linear", "embedding"]),
      extra: fc.constantFrom("none", "none", "branchBias", "dora", "base"),
      sizes: fc.option(fc.constantFrom("A" as const, "B" as const), { nil: undefined }),
      rate: fc.option(fc.tuple(fc.constantFrom("A", "B"), fc.constantFrom(0, 0.5, 4)), { nil: undefined }),
      scales: sides(2, 0.5),
      schedule: fc.constantFrom<gauge.RecipeSchedule | undefined>(
        undefined,
        undefined,
        undefined,
        { kind: "cosine", tMax: 8, etaMinFraction: 0.25 },
        { kind: "warmupConstant", warmup: 3 },
        { kind: "warmupLinear", warmup: 2, total: "end" },
        { kind: "warmupCosine", warmup: 2, total: 12 },
        { kind: "step", stepSize: 3, gamma: 0.5 },
      ),
      clip: fc.constantFrom<gauge.Clip | undefined>(
        undefined,
        undefined,
        { kind: "value", maxValue: 1e-3 },
        { kind: "tensorNorm", maxNorm: 0.01 },
        { kind: "globalNorm", maxNorm: 0.01 },
        { kind: "globalNorm", maxNorm: 0.01, weights: { A: 0.5, B: 3 } },
      ),
    })
    .map(({ form, lr, extra: any, rate, sizes, scales, clip, schedule, ...adapter }) => {
      const pair = optim.isPairOptimizerName((form as { readonly name: string }).name);
      const extra = pair ? "none" : any;
      const optimizer = { lr, ...form } as { readonly lr: number };
      const kinds = extra === "dora" ? ["linear"] : adapter.adapts;
      const zeros = kinds.map((kind) => {
        if (adapter.init === "random") return "";
        return (adapter.init === "swapped") === (kind === "linear") ? "A" : "B";
      });
      const kept = Object.entries(scales ?? {}).filter(([side]) => zeros.some((zero) => zero !== side));
      const { init, ...rest } = adapter;
      return unchecked({
        ...rest,
        adapts: kinds,
        init,
        optimizer,
        ...(kept.length > 0 && { initScale: Object.fromEntries(kept) }),
        ...(extra === "branchBias" &&
          (kinds as readonly string[]).includes("linear") && { branchBias: true }),
        ...(extra === "dora" && { dora: true }),
        ...(extra === "base" && { trained: ["A", "B", "base"] }),
        ...((rate || sizes) && { groups: groupsOf(optimizer, rate, sizes) }),
        ...(clip && { clip }),
        ...(schedule && { schedule }),
      });
    });
}

/** A rate of its own for one matrix, and eps and decay of their own for one. */
function groupsOf(
  { lr, eps, weightDecay }: { readonly lr: number; readonly eps?: number; readonly weightDecay?: number },
  rate: readonly [string, number] | undefined,
  sizes: "A" | "B" | undefined,
): object {
  const own = {
    ...(eps !== undefined && { eps: 4 * eps }),
    ...(weightDecay !== undefined && { weightDecay: weightDecay / 2 }),
  };
  const ofRate = rate && { [rate[0]]: { ...(rate[0] === sizes && own), lr: lr * rate[1] } };
  return { ...(sizes && { [sizes]: own }), ...ofRate };
}

type Disguise = (recipe: gauge.Recipe) => gauge.Recipe;

const hypers = (x: gauge.Recipe) =>
  Object.fromEntries(
    gauge.trainedRoles(x).map((role) => [role, { ...gauge.hyperOf(x as gauge.Recipe<"adam">, role) }]),
  );

/** What recipes are converted to, beside libraries. */
export const targets: fc.Arbitrary<gauge.Target> = fc.oneof(
  fc
    .tuple(
      fc.constantFrom(1, 2, 6, 64, "r" as const),
      fc.constantFrom("a" as const, "b" as const, "common" as const, undefined),
    )
    .map(([alpha, by]) => ({ to: "alpha", alpha, ...(by && { gauge: by }) }) as const),
  fc
    .tuple(fc.constantFrom(0.25, 1, 2, 3), fc.constantFrom(0.5, 1, 4, 0.7))
    .map(([a, b]) => ({ to: "gauge", a, b }) as const),
  fc.constantFrom<gauge.Target>(
    { to: "commonRate" },
    { to: "commonRate", by: "initScale" },
    { to: "commonRate", by: "initScale", alpha: 8 },
    { to: "loraPlus" },
    { to: "loraPlus", alpha: 8 },
    { to: "loraPlus", ratio: 4 },
  ),
);

const power = fc.integer({ min: -3, max: 3 }).map((i) => 2 ** i);

/** A gauge where apply takes one, else the recipe itself. */
const moved = (a: number, b: number): Disguise => {
  return (x) => {
    for (const g of [gauge.of({ a, b }), gauge.of({ a, b: 1 / a })]) {
      for (const form of [x, gauge.explicit(x)]) {
        try {
          return gauge.apply(g, form);
        } catch {
          // Refused: the next one.
        }
      }
    }
    return x;
  };
};

/** The same run, bit for bit, in other words. */
export const disguised: fc.Arbitrary<Disguise> = fc.oneof(
  fc.tuple(power, power).map(([a, b]) => moved(a, b)),
  fc.constantFrom<Disguise>(
    (x) => unchecked({ ...x, groups: hypers(x) }),
    (x) =>
      unchecked({
        ...x,
        trained: gauge.trainedRoles(x),
        init: x.init ?? "standard",
        dropout: x.dropout ?? 0,
      }),
    (x) => {
      // A frozen matrix may be told anything.
      const groups = hypers(x);
      for (const group of Object.values(groups)) {
        const own = group as Record<string, unknown>;
        if (
          own.lr === 0 &&
          x.optimizer.name !== "rprop" &&
          own.lrUnrectified === undefined &&
          own.decayTimesLr !== false
        )
          if (own.eps !== undefined) own.eps = 1;
      }
      return unchecked({ ...x, groups });
    },
  ),
);
