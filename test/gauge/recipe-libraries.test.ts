import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { randomRecipes, unchecked } from "../random-recipes.ts";
import { convertedToLibrary } from "../recipe-runs.ts";
import { runs } from "../thorough.ts";
import { apart, losses } from "../tiny.ts";

// Libraries: what a recipe becomes as settings, and what settings are as a recipe. The settings that are printed, read
// with the library's own defaults, are what the conversion speaks of; that is trained here.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const names = Object.keys(gauge.libraries) as gauge.LibraryName[];
const adamw = (alpha: number, lr: number): gauge.Recipe<"adamw"> => ({
  r: 8,
  alpha,
  optimizer: { name: "adamw", lr },
});
const to = (library: gauge.LibraryName, alpha?: gauge.Alpha): gauge.Target => ({
  to: "library",
  library,
  ...(alpha !== undefined && { alpha }),
});
const fields = ({ deviations }: gauge.Conversion) => deviations.map(({ field }) => field);
/** What a library runs with the settings that a conversion printed. */
const run = (library: gauge.LibraryName, { settings }: gauge.Conversion) =>
  gauge.recipeOfSettings(library, JSON.parse(JSON.stringify(settings))).recipe;

test("a deviation of a role's numbers is one of its invariants", () => {
  fc.assert(
    fc.property(randomRecipes(), fc.constantFrom(...names), (x, library) => {
      const { deviations, recipe, exact } = gauge.convert(x, to(library));
      if (exact) return;
      const { fixed, invariants } = gauge.explain(x, recipe);
      const unequal = [...fixed, ...invariants.filter(({ equal }) => !equal)].map(({ name }) => name);
      for (const { role, field } of deviations) {
        if (!role || field === "initScale" || field === "start" || unequal.includes("optimizer")) continue;
        expect(
          unequal.filter((name) => name.endsWith(role)),
          field,
        ).not.toEqual([]);
      }
    }),
    { numRuns: runs(100) },
  );
});

test("Unsloth takes none of PEFT's starts by decompositions", () => {
  const x = { r: 8, alpha: 16, init: "pissa", optimizer: { name: "adamw", lr: 2e-4 } } as const;
  expect(gauge.convert(x, to("peft-trainer")).settings).toMatchObject({ init_lora_weights: "pissa" });
  const { settings, deviations } = gauge.convert(x, to("unsloth"));
  expect(settings).not.toHaveProperty("init_lora_weights");
  expect(deviations).toContainEqual(
    expect.objectContaining({ field: "init", needed: "pissa", used: "standard" }),
  );
  expect(() => gauge.recipeOfSettings("unsloth", { init_lora_weights: "pissa" })).toThrow(
    'init_lora_weights is "pissa"; it is true, false, "gaussian" or "loftq"',
  );
  const { recipe } = gauge.recipeOfSettings("unsloth", { max_steps: 60 });
  expect([recipe.r, recipe.alpha, recipe.optimizer.lr]).toEqual([16, 16, 5e-5]);
});

test("states of 8 bits are a run of their own, and kept where a library has them", () => {
  const given = { learning_rate: 2e-4, max_steps: 60, max_grad_norm: 0 };
  const { recipe } = gauge.recipeOfSettings("unsloth", given);
  expect(recipe.eightBitStates).toBe(true);
  const { eightBitStates: _, ...full } = recipe;
  expect(gauge.explain(recipe, full as gauge.Recipe)).toMatchObject({
    exact: false,
    fixed: [{ name: "eightBitStates", x: true, y: undefined }],
  });
  expect(gauge.explain(recipe, recipe)).toMatchObject({ exact: true, bitwise: true });
  // A gauge by powers of two: the same run, but whoever rounds to 8 bits is not vouched for.
  expect(gauge.explain(recipe, gauge.apply(gauge.onlyB(4), recipe))).toMatchObject({
    exact: true,
    bitwise: false,
  });
  const kept = gauge.convert(recipe, to("peft-trainer"));
  expect(kept).toMatchObject({ exact: true, settings: { optim: "adamw_8bit" } });
  expect(fields(gauge.convert(recipe, to("mlx-lm")))).toContain("eightBitStates");
  // Nothing is rounded where nothing is kept.
  const plain = { r: 8, alpha: 16, optimizer: { name: "sgd", lr: 0.1 } } as const;
  expect(gauge.equivalent({ ...plain, eightBitStates: true }, plain)).toBe(true);
  expect(() => gauge.optimizerOf(recipe)).toThrow(/^gauge.optimizerOf: eightBitStates is true;/);
});

test("an optimizer that a library lacks is told in words that it has", () => {
  const of = (optimizer: object, more: object = {}) => unchecked({ r: 8, alpha: 16, optimizer, ...more });
  const rmsprop = of({ name: "rmsprop", lr: 1e-3, alpha: 0.9, eps: 1e-6 });
  expect(gauge.convert(rmsprop, to("mlx-lm"))).toMatchObject({
    exact: true,
    bitwise: false,
    settings: {
      optimizer: "adam",
      optimizer_config: { adam: { betas: [0, 0.9], eps: 1e-6, bias_correction: false } },
    },
  });
  const adam = of({ name: "adam", lr: 1e-3, betas: [0, 0.9], weightDecay: 0.1, biasCorrection: false });
  expect(gauge.convert(adam, to("peft-trainer"))).toMatchObject({
    exact: true,
    settings: { optim: "rmsprop" },
  });
  const radam = of({ name: "radam", lr: 1e-3, betas: [0, 0.5] });
  expect(gauge.convert(radam, to("peft-trainer"))).toMatchObject({ exact: true, settings: { optim: "sgd" } });
  const cosine = of({ name: "adamw", lr: 1e-3 }, { schedule: { kind: "cosine", tMax: 60 } });
  const told = gauge.convert(cosine, to("peft-trainer"));
  expect(told).toMatchObject({ exact: true, settings: { lr_scheduler_type: "cosine", max_steps: 60 } });
  // Nothing is told in another optimizer's words where these do not say it.
  const corrected = of({ name: "adam", lr: 1e-3, betas: [0, 0.9], weightDecay: 0.1 });
  expect(fields(gauge.convert(corrected, to("peft-trainer")))).toEqual(
    expect.arrayContaining(["coupledDecay"]),
  );
});

test("kohya's SGDNesterov has a momentum of 0.9 where none is given", () => {
  const given = { network_dim: 4, learning_rate: 0.1, optimizer_type: "SGDNesterov" };
  const { recipe } = gauge.recipeOfSettings("kohya", given);
  expect(recipe.optimizer).toMatchObject({ name: "sgd", momentum: 0.9, nesterov: true });
  expect(gauge.convert(recipe, to("kohya"))).toMatchObject({ exact: true, bitwise: true });
  // Without a momentum it would not start: that is another optimizer of theirs.
  const plain = gauge.convert({ r: 4, alpha: 8, optimizer: { name: "sgd", lr: 0.01 } }, to("kohya"));
  expect(plain).toMatchObject({ exact: true, settings: { optimizer_type: "SGD" } });
});

test("a start of what stays zero for ever is no deviation", () => {
  const frozen = { groups: { A: { lr: 0 } }, adapts: ["linear", "embedding"] as const };
  const x = { ...adamw(16, 2e-4), ...frozen, initScale: { B: 0.5 } };
  expect(fields(gauge.convert(x, to("peft")))).toEqual([]);
});

describe("each library", () => {
  test.each(names)("%s: its example is a recipe, and becomes itself", (name) => {
    const { recipe, title, version } = gauge.named(name);
    expect(`${title} ${version}`).toMatch(/\d/);
    expect(gauge.libraries[name].source.length).toBeGreaterThan(0);
    const same = gauge.convert(recipe, to(name, recipe.alpha));
    expect(same).toMatchObject({ exact: true, bitwise: true, deviations: [] });
    expect(gauge.explain(recipe, run(name, same))).toMatchObject({ exact: true, bitwise: true });
  });

  test("nothing is dropped in silence: a recipe that is not what the settings run is not exact", () => {
    const x = { r: 2, alpha: 4, init: "standard" } as const;
    const odd: [object, readonly gauge.LibraryName[]][] = [
      [{ optimizer: { name: "adamw", lr: 1e-3, betas: [0.8, 0.9] } }, []],
      [
        { optimizer: { name: "adamw", lr: 1e-3, amsgrad: true } },
        ["peft", "loralib", "peft-loraplus", "litgpt", "kohya"],
      ],
      [{ optimizer: { name: "adamw", lr: 1e-3, epsInsideRoot: true } }, []],
      [
        { optimizer: { name: "adam", lr: 1e-3, weightDecay: 0.1 } },
        ["peft", "loralib", "peft-loraplus", "litgpt", "kohya", "burn"],
      ],
      [{ optimizer: { name: "sgd", lr: 1e-3, momentum: 0.9 } }, ["burn", "tinker"]],
      [{ optimizer: { name: "lamb", lr: 1e-3 } }, []],
      [{ optimizer: { name: "rprop", lr: 1e-3 } }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, dora: true }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, trained: ["B"] }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, init: "swapped" }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, adapts: ["linear", "embedding"] }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3, biasCorrection: false } }, ["mlx-lm"]],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, schedule: { kind: "exponential", gamma: 0.9 } }, []],
      [{ optimizer: { name: "adamw", lr: 1e-3 }, clip: { kind: "tensorNorm", maxNorm: 1 } }, []],
    ];
    for (const [more] of odd)
      for (const name of names) {
        const recipe = unchecked({ ...x, ...more });
        const converted = gauge.convert(recipe, to(name));
        const ran = run(name, converted);
        const kinds = recipe.adapts?.filter((kind) =>
          (gauge.libraries[name].adapts as readonly string[]).includes(kind),
        );
        const there = kinds && kinds.length > 0 ? { ...ran, adapts: kinds } : ran;
        // The recipe that comes back is what the library runs, and the verdict is about that one.
        expect(gauge.explain(converted.recipe, there)).toMatchObject({ exact: true, bitwise: true });
        expect(converted.exact).toBe(gauge.equivalent(recipe, there));
        expect(converted.deviations.length > 0).toBe(!converted.exact);
      }
  });
});

describe("faults that were found", () => {
  const lr = 1e-3;
  const of = (optimizer: object, rest: object = {}) => unchecked({ r: 8, alpha: 16, optimizer, ...rest });

  test("betas are set, and what the Trainer lacks is said", () => {
    const betas = gauge.convert(of({ name: "adamw", lr, betas: [0.8, 0.9] }), to("peft-trainer"));
    expect(betas).toMatchObject({ exact: true, settings: { adam_beta1: 0.8, adam_beta2: 0.9 } });
    expect(fields(gauge.convert(of({ name: "adamw", lr, amsgrad: true }), to("peft-trainer")))).toContain(
      "amsgrad",
    );
    const inside = gauge.convert(of({ name: "adamw", lr, epsInsideRoot: true }), to("mlx-lm"));
    expect(fields(inside)).toContain("epsInsideRoot");
    const coupled = gauge.convert(of({ name: "adam", lr, weightDecay: 0.1 }), to("mlx-lm"));
    expect(fields(coupled)).toContain("coupledDecay");
    expect(gauge.convert(of({ name: "adamw", lr }, { dora: true }), to("peft-trainer"))).toMatchObject({
      exact: true,
      settings: { use_dora: true },
      recipe: { dora: true },
    });
    expect(fields(gauge.convert(of({ name: "adamw", lr }, { dora: true }), to("kohya")))).toContain("dora");
    expect(
      fields(gauge.convert(of({ name: "adamw", lr }, { trained: ["B"] }), to("peft-trainer"))),
    ).toContain("trained");
  });

  test("SGD is SGD to the Trainer, and MLX-LM has no LAMB and no Rprop", () => {
    const sgd = gauge.convert(of({ name: "sgd", lr, momentum: 0.9 }), to("peft-trainer"));
    expect(sgd).toMatchObject({
      exact: true,
      settings: { optim: "sgd", optim_args: "momentum=0.9,dampening=0" },
    });
    for (const name of ["lamb", "rprop"]) {
      const other = gauge.convert(of({ name, lr }), to("mlx-lm"));
      expect(other.exact).toBe(false);
      expect(other.deviations).toContainEqual(
        expect.objectContaining({ field: "optimizer", needed: name, used: "adam" }),
      );
      expect(other.recipe.optimizer.name).toBe("adam");
    }
    const none = gauge.convert(of({ name: "adam", lr }), to("peft-trainer"));
    expect(none).toMatchObject({
      exact: true,
      bitwise: true,
      settings: { optim: "adamw_torch", weight_decay: 0 },
    });
  });

  test("RAdam with one rate is told to a library, with another eps as a deviation", () => {
    const one = of({ name: "radam", lr }, { initScale: { A: 2 }, groups: { B: { lr: lr / 2, eps: 1e-3 } } });
    for (const name of names) expect(gauge.convert(one, to(name)).exact).toBe(false);
    const { deviations } = gauge.convert(one, to("kohya"));
    expect(deviations).toContainEqual(expect.objectContaining({ field: "eps", role: "B" }));
  });

  test("the decay that PEFT's LoRA+ reads", () => {
    const { settings, exact } = gauge.convert(of({ name: "adamw", lr }), to("peft-loraplus"));
    expect(exact).toBe(true);
    expect(settings).toMatchObject({ loraplus_weight_decay: 0.01 });
    expect(settings).not.toHaveProperty("weight_decay");
    const { recipe } = gauge.recipeOfSettings("peft-loraplus", { lr, loraplus_lr_ratio: 4 });
    expect(gauge.hyperOf(recipe as gauge.Recipe<"adamw">, "A").weightDecay).toBe(0);
  });

  test("the Trainer decays its rate and clips unless it is told not to", () => {
    const { settings } = gauge.convert(of({ name: "adamw", lr }), to("peft-trainer"));
    expect(settings).toMatchObject({ lr_scheduler_type: "constant", max_grad_norm: 0 });
    const bare = gauge.recipeOfSettings("peft-trainer", {
      learning_rate: lr,
      r: 8,
      lora_alpha: 16,
      weight_decay: 0.01,
    });
    expect(bare.recipe).toMatchObject({
      schedule: { kind: "warmupLinear", warmup: 0, total: "end" },
      clip: { kind: "globalNorm", maxNorm: 1 },
    });
    const { fixed } = gauge.explain(of({ name: "adamw", lr }), bare.recipe);
    expect(fixed.map(({ name }) => name)).toEqual(expect.arrayContaining(["schedule", "clip"]));
  });

  test("the recipe that comes back is what the library runs", () => {
    const x = of({ name: "adamw", lr }, { init: "swapped", branchBias: true, initScale: { B: 2 } });
    const { recipe, deviations } = gauge.convert(x, to("mlx-lm"));
    expect(recipe).toMatchObject({ init: "standard" });
    expect(recipe.branchBias).toBeUndefined();
    expect(deviations.map(({ field }) => field)).toEqual(expect.arrayContaining(["init", "branchBias"]));
    const plain = gauge.recipeOfSettings("mlx-lm", {}).recipe;
    expect(plain).toMatchObject({ alpha: 160, optimizer: { name: "adam", biasCorrection: false } });
  });

  test("a gaussian start has standard deviation 1/r, in PEFT and in Burn", () => {
    const gaussian = of({ name: "adam", lr, eps: 1e-5 }, { init: "gaussian" });
    expect(gauge.convert(gaussian, to("peft-trainer"))).toMatchObject({
      exact: true,
      settings: { init_lora_weights: "gaussian" },
    });
    expect(gauge.convert(gaussian, to("burn"))).toMatchObject({ exact: true, settings: { init_std: 1 / 8 } });
    expect(fields(gauge.convert(of({ name: "adam", lr }), to("burn")))).toContain("init");
    const burn = gauge.recipeOfSettings("burn", { rank: 8, alpha: 16, learning_rate: lr }).recipe;
    expect(gauge.equivalent(burn, gaussian)).toBe(true);
  });

  test("branch biases and the length of DoRA", () => {
    const x = of({ name: "adamw", lr }, { branchBias: true });
    const y = gauge.convert(x, to("peft-trainer"));
    // The Trainer does not decay what is called bias.
    expect(y.deviations).toMatchObject([{ field: "weightDecay", role: "branchBias", needed: 0.01, used: 0 }]);
    const undecayed = of(
      { name: "adamw", lr },
      { branchBias: true, groups: { branchBias: { weightDecay: 0 } } },
    );
    expect(gauge.convert(undecayed, to("peft-trainer"))).toMatchObject({
      exact: true,
      settings: { lora_bias: true },
    });
  });

  test("Axolotl passes a threshold of 0 on, LitGPT and torchtune have no constant rate, Tinker's alpha is 32", () => {
    const x = of({ name: "adamw", lr });
    expect(gauge.convert(x, to("axolotl"))).toMatchObject({ exact: true, settings: { max_grad_norm: 0 } });
    expect(fields(gauge.convert(x, to("litgpt")))).toEqual(["schedule"]);
    const torchtune = gauge.convert(x, to("torchtune"));
    expect(fields(torchtune)).toEqual(["schedule"]);
    expect(torchtune.settings).not.toHaveProperty("clip_grad_norm");
    const tinker = gauge.convert(x, to("tinker"));
    expect(tinker.recipe.alpha).toBe(32);
    expect(fields(tinker)).toContain("lr");
    expect(() => gauge.convert(x, to("tinker", 16))).toThrow("tinker has 32 for every run");
  });
});

describe("conversions that were always there", () => {
  test("PEFT with groups is exact; the start is the usual one", () => {
    const x = { ...adamw(16, 2e-4), initScale: { A: 2 } };
    const y = gauge.convert(x, to("peft", "r"));
    expect(y).toMatchObject({
      exact: true,
      alpha: 8,
      initScale: { A: 1 },
      settings: { lora_alpha: 8, r: 8, lora_B: { lr: 8e-4 } },
    });
    expect(gauge.equivalent(x, y.recipe)).toBe(true);
  });

  test("TrainingArguments has one rate: alpha takes the ratio, eps and decay of B are lost", () => {
    const x = { ...adamw(16, 2e-4), groups: { B: { lr: 8e-4 } } };
    const y = gauge.convert(x, to("peft-trainer"));
    expect(y).toMatchObject({
      exact: false,
      bitwise: false,
      alpha: 64,
      settings: { lora_alpha: 64, learning_rate: 2e-4, adam_epsilon: 1e-8, max_grad_norm: 0 },
    });
    expect(y.deviations).toMatchObject([
      { field: "eps", role: "B", needed: 4e-8, used: 1e-8 },
      { field: "weightDecay", role: "B", used: 0.01 },
    ]);
    expect(y.deviations[0]!.error).toContain("less than 1% where it is above 3e-6");
    // A decay beside the rate is the trainer's times the rate, which is the same shrinking: no deviation.
    const optimizer = { name: "adamw", lr: 0.01, decayTimesLr: false, weightDecay: 2 ** -8 } as const;
    const beside = { r: 1, alpha: 1, optimizer, groups: { A: { lr: 0.04 } } };
    expect(gauge.convert(beside, to("peft-trainer")).deviations).toMatchObject([
      { field: "eps", role: "B", needed: 2.5e-9, used: 1e-8 },
    ]);
    const bare = { ...x, groups: { B: { lr: 8e-4, eps: 1e-8 / 4, weightDecay: 0.0025 } } };
    expect(gauge.convert(bare, to("peft-trainer"))).toMatchObject({ exact: true, bitwise: true });
    expect(gauge.convert(adamw(16, 0), to("peft-trainer")).exact).toBe(true);
  });

  test("create_loraplus_optimizer takes the ratio; MLX-LM the multiplier", () => {
    const y = gauge.convert(adamw(16, 2e-4), to("peft-loraplus", "r"));
    expect(y.settings).toMatchObject({ lora_alpha: 8, lr: 2e-4, loraplus_lr_ratio: 2 });
    expect(fields(y)).toEqual(["eps", "weightDecay"]);
    const x = { r: 8, alpha: 160, optimizer: { name: "adam", lr: 1e-5 } } as const;
    const mlx = gauge.convert(x, to("mlx-lm"));
    expect(mlx).toMatchObject({
      exact: true,
      settings: {
        lora_parameters: { rank: 8, scale: 20 },
        optimizer_config: { adam: { bias_correction: true } },
      },
    });
    const rs = gauge.convert({ ...x, rsLora: true }, to("mlx-lm"));
    expect(rs.settings).toMatchObject({ lora_parameters: { scale: rs.scaling } });
    expect(rs.scaling).toBeCloseTo(160 / Math.sqrt(8), 10);
    // What MLX-LM's defaults do to Adam is said where it is asked for.
    const peft = gauge.convert(gauge.named("mlx-lm").recipe, to("peft-trainer"));
    expect(peft.deviations.map(({ error }) => error).join()).toContain(
      "3.16 times at first, at most 6.57 times at update 12",
    );
    const clipped = { ...adamw(16, 2e-4), clip: { kind: "globalNorm", maxNorm: 1 } } as const;
    expect(gauge.convert(clipped, to("mlx-lm")).deviations).toMatchObject([
      { field: "clip", used: "no clipping" },
    ]);
    expect(gauge.convert(clipped, to("peft-trainer"))).toMatchObject({
      exact: true,
      settings: { max_grad_norm: 1 },
    });
  });
});

test("settings that are printed train as the conversion says", () => convertedToLibrary(runs(3)));

test("the Trainer's schedule and clipping are trained, not only named", async () => {
  const settings = { r: 2, lora_alpha: 4, learning_rate: 0.02, adam_epsilon: 1e-3, max_steps: 8 };
  const { recipe } = gauge.recipeOfSettings("peft-trainer", settings);
  const other = unchecked({
    r: 2,
    alpha: 4,
    optimizer: { name: "adamw", lr: 0.02, eps: 1e-3, weightDecay: 0 },
  });
  expect(apart(await losses(recipe), await losses(other))).toBeGreaterThan(1e-3);
  const said = unchecked({
    ...other,
    schedule: { kind: "warmupLinear", warmup: 0, total: 8 },
    clip: { kind: "globalNorm", maxNorm: 1 },
  });
  expect(await losses(recipe)).toEqual(await losses(said));
});

test("Adafactor as the Trainer runs it, there and back", () => {
  const settings = { optim: "adafactor", learning_rate: 1e-3, weight_decay: 0.01 };
  const { recipe } = gauge.recipeOfSettings("peft-trainer", settings);
  expect(recipe.optimizer).toMatchObject({ name: "adafactor", scaleParameter: false, lr: 1e-3 });
  expect(gauge.convert(recipe, to("peft-trainer"))).toMatchObject({ exact: true, settings });
  const relative = { ...recipe, optimizer: { name: "adafactor", lr: 1e-3 } } as const;
  expect(fields(gauge.convert(relative, to("peft-trainer")))).toContain("scaleParameter");
});

describe("settings that cannot be read", () => {
  test.each<[gauge.LibraryName, unknown, string]>([
    ["peft-trainer", { lora_alfa: 16 }, "has no setting lora_alfa that concerns a recipe"],
    ["peft-trainer", { loraAlpha: 16 }, "Do you mean lora_alpha?"],
    ["peft-trainer", { r: 1.5 }, "r is 1.5; it is an integer >= 1"],
    ["peft-trainer", { optim: "galore_adamw" }, 'optim is "galore_adamw", which a recipe cannot say'],
    [
      "peft-trainer",
      { lr_scheduler_type: "polynomial" },
      'lr_scheduler_type is "polynomial", which a recipe cannot say',
    ],
    [
      "peft-trainer",
      { init_lora_weights: "loftq" },
      'init_lora_weights is "loftq", which a recipe cannot say',
    ],
    ["peft-trainer", { rank_pattern: { q: 4 } }, "rank_pattern"],
    ["peft-trainer", { bias: "all" }, 'bias is "all", which a recipe cannot say; it can where it is "none"'],
    ["peft-trainer", { evaluation_strategy: "no" }, "Transformers calls it eval_strategy"],
    [
      "peft-trainer",
      { deepspeed: "zero2.json" },
      "may bring an optimizer, a schedule and clipping of its own",
    ],
    ["axolotl", { deepspeed: "deepspeed_configs/zero1.json" }, "may bring an optimizer, a schedule"],
    [
      "peft-trainer",
      { warmup_ratio: 0.1 },
      "a share of all updates, whose number is not known. Give max_steps",
    ],
    ["peft-loraplus", { lr: 1e-4, loraplus_lr_ratio: 4, weight_decay: 0.1 }, "loraplus_weight_decay"],
    ["peft-loraplus", { lr: 1e-4 }, "loraplus_lr_ratio is missing"],
    [
      "mlx-lm",
      { lora_parameters: { rank: 8, alpha: 16 } },
      "lora_parameters.alpha is 16: MLX-LM's multiplier is scale",
    ],
    ["mlx-lm", { optimizer: "muon" }, 'optimizer is "muon"'],
    ["mlx-lm", { fine_tune_type: "full" }, 'fine_tune_type is "full"'],
    ["mlx-lm", { lora_parameters: 5 }, "lora_parameters"],
    ["litgpt", { train: { learning_rate: 3e-4 } }, "since 0.4.4 it is optimizer.init_args.lr"],
    ["axolotl", { lora_r: 8, learning_rate: 1e-4 }, "lora_alpha is missing"],
    ["axolotl", { lora_r: 8, lora_alpha: 8, learning_rate: 1e-4 }, "warmup_ratio is 0.03, a share of all"],
    [
      "axolotl",
      { lora_r: 8, lora_alpha: 8, learning_rate: 1e-4, warmup_steps: 5 },
      "adapter is missing: without it Axolotl trains the whole model. Give adapter lora",
    ],
    ["kohya", { network_module: "lycoris.kohya" }, 'it can where it is "networks.lora"'],
    ["litgpt", { train: { lr_warmup_steps: 1.5 } }, "lr_warmup_steps is 1.5; it is an integer >= 1"],
    [
      "torchtune",
      { "optimizer.lr": 1e-4, optimizer: { lr: 1 } },
      "optimizer.lr is given twice. Give it once",
    ],
    ["trl", { optim: "sgd", optim_args: "momentum=0.9,momentum=0.5" }, "optim_args:momentum is given twice"],
    ["axolotl", { lora_r: 8, adapter: "llama-adapter" }, 'it can where it is "lora" or "qlora"'],
    ["axolotl", { lora_r: 8, lora_modules_to_save: ["lm_head"] }, "which a recipe cannot say"],
    ["axolotl", { lora_r: 8, cosine_min_lr_ratio: 0.1 }, "which a recipe cannot say"],
    [
      "peft",
      { lr: 1, optimizer: "SGD", betas: [0.9, 0.99] },
      "betas is [0.9, 0.99], which SGD does not take",
    ],
    ["peft", { lr: 1, optimizer: "SGD", lora_B: { eps: 1 } }, "lora_B.eps is 1, which SGD does not take"],
    [
      "peft",
      { lora_B: { lr: 1 } },
      "lr is missing; PEFT with an optimizer of torch.optim has no learning rate",
    ],
    ["peft", { lr: 1, optimizer: "NAdam", decoupled_weight_decay: true }, "it can where it is false"],
    [
      "peft",
      { lr: 1, lora_magnitude_vector: { lr: 2 } },
      "magnitude is not trained; trained are A, B. In these settings groups.magnitude is lora_magnitude_vector.",
    ],
    [
      "peft-trainer",
      { adam_beta1: 1 },
      "betas is [1, 0.999]; it is two numbers >= 0 and < 1. In these settings betas is adam_beta1 and adam_beta2.",
    ],
    ["peft-trainer", { use_dora: true, lora_bias: true }, "branchBias is lora_bias"],
    [
      "peft-trainer",
      { optim: "sgd", optim_args: "nesterov=True" },
      "nesterov needs momentum > 0 and dampening 0; given momentum 0 and dampening 0. In these settings momentum is optim_args:momentum",
    ],
    [
      "litgpt",
      { optimizer: { class_path: "torch.optim.SGD", init_args: { lr: 1, betas: [0.9, 0.95] } } },
      "optimizer.init_args.betas is [0.9, 0.95], which torch.optim.SGD does not take",
    ],
    ["torchtune", { "optimizer.lr": 1e-4 }, "lr_scheduler.num_warmup_steps is missing"],
    [
      "torchtune",
      { clip_grad_norm: 0, optimizer: { lr: 1e-4 }, lr_scheduler: { num_warmup_steps: 1 } },
      "clip_grad_norm is 0; it is a finite number > 0",
    ],
    [
      "torchtune",
      { lr_scheduler: { num_cycles: 2 } },
      "lr_scheduler.num_cycles is 2, which a recipe cannot say",
    ],
    ["torchtune", { lora_rank: 8 }, "it is model.lora_rank"],
    ["mlx-lm", { use_dora: true }, "it is fine_tune_type dora now"],
    [
      "kohya",
      { lr_warmup_steps: 100, lr_scheduler: "constant" },
      "lr_warmup_steps is 100 and lr_scheduler is constant",
    ],
    [
      "kohya",
      { optimizer_args: ["momentum=0.9"] },
      "optimizer_args:momentum is 0.9, which AdamW does not take",
    ],
    ["kohya", { network_args: ["conv_dim=8"] }, "Those that do are network_args:loraplus_lr_ratio"],
    ["kohya", { use_8bit_adam: true }, "it is optimizer_type AdamW8bit now"],
    ["kohya", { network_weights: "x.safetensors" }, "which a recipe cannot say"],
    [
      "kohya",
      { lr_warmup_steps: 0.1, lr_scheduler: "cosine", max_train_epochs: 10 },
      "a share of all updates, whose number is not known",
    ],
    ["kohya", { network_dropout: 0.1 }, "network_dropout is 0.1, which a recipe cannot say"],
    ["tinker", { alpha: 16 }, "Tinker's alpha is 32"],
    ["burn", { rank: 8, alpha: 16 }, "learning_rate is missing"],
    ["loralib", { lr: 1e-4 }, "r is missing"],
    ["peft-trainer", { peft_version: "0.4.0" }, "are known here from 0.8 to 0.20"],
    ["peft-trainer", { peft_version: "1.2.0" }, 'peft_version is "1.2.0"'],
    ["peft", [], "they are an object"],
    ["peft", JSON.parse('{ "__proto__": { "r": 4 } }'), "__proto__"],
  ])("%s %j", (name, settings, message) => {
    expect(() => gauge.recipeOfSettings(name, settings)).toThrow(message);
  });

  test("no such library", () => {
    // @ts-expect-error no such library
    expect(() => gauge.recipeOfSettings("keras", {})).toThrow('library is "keras"; it is one of loralib');
    // @ts-expect-error no such library
    expect(() => gauge.named("toString")).toThrow('library is "toString"');
  });

  test("nulls are as if they were not there, and what does not concern a recipe is passed over", () => {
    const config = {
      peft_type: "LORA",
      base_model_name_or_path: "meta-llama/Llama-3.2-1B",
      target_modules: ["q_proj"],
      layers_to_transform: null,
      bias: "none",
      r: 16,
      lora_alpha: 32,
      peft_version: "0.17.0",
    };
    expect(gauge.recipeOfSettings("peft-trainer", config).recipe).toMatchObject({ r: 16, alpha: 32 });
  });
});

describe("settings as other tools write them", () => {
  const of = (text: string) => gauge.recipeOfText(text);

  test("flags are taken apart as a shell does, quotes and lines included", async () => {
    const flags = `kohya: --network_dim=16 --network_alpha 8 --optimizer_type=adamw --learning_rate=1e-4 \\
      --optimizer_args "weight_decay=0.25" 'betas=.5,.75' --lr_scheduler="constant"`;
    expect(await of(flags)).toMatchObject({
      r: 16,
      alpha: 8,
      optimizer: { name: "adamw", lr: 1e-4, weightDecay: 0.25, betas: [0.5, 0.75] },
    });
    expect(await of("kohya: --network_dim 4 --optimizer_type adamw8bit")).toMatchObject({
      eightBitStates: true,
    });
  });

  test.each([
    "mine --r 8 --learning-rate 1e-5 --max_steps 9",
    "python -m mine \\\n  --r 8 \\\n  --learning-rate 1e-5 --max_steps=9",
    "CUDA_VISIBLE_DEVICES=0 torchrun --nproc_per_node 2 ./scripts/train.py --r 8 --learning-rate 1e-5 --max_steps 9",
    "LoraConfig(r=8, learning_rate=1e-5, max_steps=9)",
    'config = peft.LoraConfig(\n  "a, (b=1)",  # the name, 1\n  r=8,  # of all\n)\nargs = Args(learning_rate=1e-5, max_steps=9,)',
  ])("a command with its launcher, or calls of Python: %s", async (text) => {
    expect(await of(`peft-trainer: ${text}`)).toEqual(
      await of("peft-trainer: r=8 learning_rate=1e-5 max_steps=9"),
    );
  });

  test("calls with something that has no name before its value are refused", async () => {
    await expect(of("peft: LoraConfig(r=8, a b=3)")).rejects.toThrow('"a b=3" is not of the form name=value');
  });

  test("a block list, empty values and sections of LitGPT, in YAML", async () => {
    const yaml = `litgpt:
precision: bf16-true
lora_r: 32
train:
  lr_warmup_steps: 10
  max_steps:
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.0002
    betas:
      - 0.9
      - 0.95
`;
    expect(await of(yaml)).toMatchObject({
      r: 32,
      optimizer: { name: "adamw", lr: 2e-4, betas: [0.9, 0.95] },
    });
  });

  test.each([
    ["peft-trainer: learning_rate=1e-4 lora_r=8", "lora_r that concerns a recipe. Do you mean r?"],
    ["tinker: network_dim=8", "network_dim that concerns a recipe. Do you mean rank?"],
    ["axolotl: rank=8", "rank that concerns a recipe. Do you mean lora_r?"],
    ["mlx-lm: adam_epsilon=1e-6", "Do you mean optimizer_config.adam.eps?"],
    ["trl: use_peft=true lora_r=32", "the command trl has defaults of its own for the adapter"],
    ["litgpt: optimizer=AdamW", 'optimizer is "AdamW": a name alone has the defaults of its class'],
    ['peft: {"lr": 1e-4, "peft_type": "IA3"}', 'peft_type is "IA3", which a recipe cannot say'],
    [
      'peft: {"lr": 1e-4, "modules_to_save": ["head"]}',
      'modules_to_save is ["head"], which a recipe cannot say',
    ],
    [
      'peft: {"lr": 1e-4, "rank_pattern": {"q": 4}}',
      "rank_pattern.q is 4, which a recipe cannot say; leave it out",
    ],
    [
      "mlx-lm:\nlr_schedule:\n  name: cosine_decay\n",
      'lr_schedule.name is "cosine_decay", which a recipe cannot say; leave',
    ],
  ])("%s", async (text, message) => {
    await expect(of(text)).rejects.toThrow(message);
  });

  test("anchors, aliases, merge keys, quotes, several lines and yes and no, in YAML 1.1 as PyYAML reads it", async () => {
    const axolotl = `axolotl:
# of a run
adapter: lora
lora_r: &r 32
"lora_alpha": *r
lora_dropout: !!null
peft_use_rslora: yes
learning_rate: 2e-4
weight_decay: 1_0.5e-1
optimizer: >-
  adamw_torch
lr_scheduler: 'constant'
max_grad_norm:
plugins: |
  { "lr": 3: [
datasets:
  - &set { path: a, type: "b: c # d" }
  - <<: *set
    path: b
`;
    expect(await of(axolotl)).toMatchObject({
      r: 32,
      alpha: 32,
      rsLora: true,
      dropout: 0,
      optimizer: { name: "adamw", lr: 2e-4, weightDecay: 1.05 },
      clip: { maxNorm: 1 },
    });
    const mlx = `mlx-lm:
  base: &base
    rank: 16
    scale: 4.0
  lora_parameters:
    <<: *base
    scale: 2
  learning_rate: 1.0e-4`;
    await expect(of(mlx)).rejects.toThrow("MLX-LM's lora command 0.31 has no setting base.rank");
    expect(await of(mlx.replace("base: &base", "test: &base"))).toMatchObject({ r: 16, alpha: 32 });
    const list = `litgpt:
optimizer:
  class_path: torch.optim.AdamW
  init_args: { lr: 3e-4, betas: [0.9,
    0.95] }`;
    expect(await of(list)).toMatchObject({ optimizer: { lr: 3e-4, betas: [0.9, 0.95] } });
    expect(await of('peft: # none\n\n"lr": 1e-3')).toMatchObject({ optimizer: { lr: 1e-3 } });
  });

  test.each([
    [
      'peft-trainer:\nlora_alpha: 16\nlearning_rate: "2e-4"',
      'learning_rate is "2e-4", a text; it is a finite number >= 0. Write 0.0002, without quotes.',
    ],
    [
      "trl:\nuse_rslora: 'true'",
      'use_rslora is "true", a text; it is true or false. Write true, without quotes.',
    ],
    ["trl:\nlearning_rate: <<rate>>", 'learning_rate is "<<rate>>"; it is a finite number >= 0'],
    [
      "axolotl:\nlora_r: 8\nlora_alpha: null\nlearning_rate: 1e-4",
      "lora_alpha is null; it is a finite number > 0",
    ],
    ["axolotl:\nlora_r: 8\nlora_alpha: *a", "it is no YAML (Unresolved alias"],
    ["axolotl:\nlora_r: 8\nlora_r: 8", 'line 2, "lora_r: 8": it is no YAML (Map keys must be unique)'],
    ["axolotl:\nlora_r: 8\n---\nlora_r: 8", "it has 2 documents of YAML"],
    [
      "axolotl:\nlora_r: !!python/object:os.system ls",
      "Unresolved tag: tag:yaml.org,2002:python/object:os.system",
    ],
    ["axolotl:\nlora_r: 8\n\tlora_alpha: 8", "Tabs are not allowed as indentation"],
    [
      "axolotl:\ndatasets: &a { b: *a }",
      "datasets is nested more than 64 deep, or an alias in it holds itself",
    ],
    ["axolotl:\n__proto__: { r: 4 }", "__proto__ is no name of a field"],
    [
      `axolotl:\na: &a [1,1,1,1,1,1,1,1,1,1]\n${[..."bcd"].map((x, i) => `${x}: &${x} [${`*${"abc"[i]},`.repeat(10)}]`).join("\n")}`,
      "Excessive alias count",
    ],
    ["axolotl:\n- lora_r: 8\n", "the settings are [an object]; they are an object with settings by name"],
    ["axolotl:\n? [a]\n: 1\nlora_r: 8", "With stringKeys, all keys must be strings"],
    ["mlx-lm:\nlora_parameters: 2024-01-01\n", "lora_parameters"],
    [
      "peft-trainer: warmup_steps=10 warmup_ratio=0.1 max_steps=50",
      "warmup_steps is 10 and warmup_ratio is 0.1; each sets the warm-up",
    ],
    [
      "peft-trainer: warmup_steps=0.1",
      "warmup_steps is 0.1, a share of all updates, whose number is not known. Give max_steps, or warmup_steps as a whole number.",
    ],
    [
      "axolotl: lora_r=8 lora_alpha=8 learning_rate=1e-4 warmup_steps=0.1",
      "warmup_steps is 0.1; it is an integer >= 0",
    ],
  ])("%j", async (text, message) => {
    await expect(of(text)).rejects.toThrow(message);
  });

  test("a warm-up below 1 is a share, null a norm that does not clip, and a default share gives way", async () => {
    const schedule = { kind: "warmupLinear", total: 55 };
    expect(await of("trl: warmup_steps=0.1 max_steps=55")).toMatchObject({
      schedule: { ...schedule, warmup: 6 },
    });
    expect(await of("trl: warmup_ratio=0.1 max_steps=55")).toMatchObject({
      schedule: { ...schedule, warmup: 6 },
    });
    expect(await of("unsloth: warmup_steps=7 max_steps=55")).toMatchObject({
      schedule: { ...schedule, warmup: 7 },
    });
    expect(
      await of("kohya: lr_warmup_steps=0.1 max_train_steps=55 lr_scheduler=constant_with_warmup"),
    ).toMatchObject({ schedule: { kind: "warmupConstant", warmup: 5 } });
    expect((await of("trl:\nmax_grad_norm: null")).clip).toBeUndefined();
    expect((await of("trl:\nr: 8")).clip).toMatchObject({ maxNorm: 1 });
  });

  test("what tools make of a part of an update, of null and of false where it is not passed on", async () => {
    const rise = (warmup: number) => ({ schedule: { kind: "warmupLinear", warmup } });
    expect(await of("peft-trainer: warmup_steps=1.5 max_steps=50")).toMatchObject(rise(1));
    expect(await of("trl: warmup_steps=3.75")).toMatchObject(rise(3));
    expect(await of("kohya: lr_scheduler=linear lr_warmup_steps=2.5")).toMatchObject(rise(2));
    for (const warmup of [0.5, 1.5]) {
      const recipe = unchecked({
        r: 8,
        alpha: 8,
        optimizer: { name: "adamw", lr: 1e-4 },
        schedule: { kind: "warmupLinear", warmup, total: "end" },
      });
      const { exact, settings, deviations } = gauge.convert(recipe, {
        to: "library",
        library: "peft-trainer",
      });
      expect(exact).toBe(false);
      expect(settings).toMatchObject({ warmup_steps: 1 });
      expect(deviations.map(({ field }) => field)).toContain("schedule");
    }
    for (const [text, init] of [
      ['peft-trainer: {"init_lora_weights": null}', "random"],
      ['peft-trainer: {"init_lora_weights": false}', "random"],
      [
        "axolotl: adapter=lora lora_r=8 lora_alpha=8 learning_rate=1e-4 warmup_steps=2 peft_init_lora_weights=false",
        "standard",
      ],
      [
        "axolotl: adapter=lora lora_r=8 lora_alpha=8 learning_rate=1e-4 warmup_steps=2 peft_init_lora_weights=null",
        "standard",
      ],
    ] as const)
      expect((await of(text)).init).toBe(init);
    await expect(of("litgpt: --optimizer AdamW --optimizer.lr 1e-4")).rejects.toThrow(
      'optimizer is "AdamW", and optimizer.lr is given as well. Give one',
    );
    const random = unchecked({ r: 8, alpha: 8, init: "random", optimizer: { name: "adamw", lr: 1e-4 } });
    const { settings, exact } = gauge.convert(random, { to: "library", library: "axolotl" });
    expect(settings).toMatchObject({ adapter: "lora" });
    expect(exact).toBe(false);
  });

  test("a run that ends in its warm-up is a warm-up; Axolotl's is 3 % of the run, at most 100, and 1 is 2", async () => {
    const rise = (warmup: number) => ({ schedule: { kind: "warmupConstant", warmup } });
    expect(await of("peft-trainer: warmup_steps=50 max_steps=50")).toMatchObject(rise(50));
    expect(await of("litgpt: train.max_steps=50")).toMatchObject(rise(100));
    const axolotl = async (text: string) => {
      const recipe = await of(`axolotl: adapter=lora lora_r=8 lora_alpha=8 learning_rate=1e-4 ${text}`);
      return (recipe.schedule as { readonly warmup: number }).warmup;
    };
    expect(await axolotl("max_steps=1010")).toBe(30);
    expect(await axolotl("max_steps=9000")).toBe(100);
    expect(await axolotl("max_steps=9000 warmup_ratio=0.03")).toBe(270);
    expect(await axolotl("max_steps=40")).toBe(2);
    expect(await axolotl("max_steps=900 warmup_steps=0")).toBe(0);
    expect(await axolotl("warmup_steps=1")).toBe(2);
    const epochs = "kohya: network_dim=4 lr_scheduler=cosine max_train_epochs=10 max_train_steps=500";
    expect(await of(epochs)).toMatchObject({ schedule: { kind: "warmupCosine", total: "end" } });
  });

  test("what is empty is not there, names have their spellings, and pairs may be an object", async () => {
    const plain = await of("peft-trainer: r=16 learning_rate=1e-4");
    const dumped =
      'peft-trainer: {"r":16,"learning_rate":1e-4,"modules_to_save":[],"layers_to_transform":[3],"rank_pattern":{},"accelerator_config":{"split_batches":false},"debug":[],"past_index":-1,"optim_args":null,"no_cuda":false}';
    expect(await of(dumped)).toEqual(plain);
    expect(await of("peft: lr=1 optimizer=torch.optim.sgd")).toMatchObject({ optimizer: { name: "sgd" } });
    const groups = 'peft: {"lora_A": {"lr": 1e-3}, "lora_B": {"lr": 1e-2}}';
    expect(await of(groups)).toMatchObject({ optimizer: { lr: 1e-3 }, groups: { B: { lr: 1e-2 } } });
    const nested =
      "axolotl:\nadapter: lora\nlora_r: 8\nlora_alpha: 8\nwarmup_steps: 9\nlearning_rate: 1e-4\noptimizer: sgd\noptim_args:\n  momentum: 0.9\n  nesterov: yes\n";
    expect(await of(nested)).toMatchObject({ optimizer: { name: "sgd", momentum: 0.9, nesterov: true } });
    const betas = "kohya: --network_dim 4 --optimizer_args 'betas=0.5,0.75'";
    expect(await of(betas)).toMatchObject({ optimizer: { betas: [0.5, 0.75] } });
    const torchtune = `torchtune:
model:
  _component_: torchtune.models.llama3_1.lora_llama3_1_8b
  lora_attn_modules: [q_proj, v_proj]
  apply_lora_to_mlp: True
  lora_rank: 64
  lora_alpha: 128
optimizer:
  _component_: torch.optim.AdamW
  fused: True
  weight_decay: 0.01
  lr: 3e-4
lr_scheduler:
  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup
  num_warmup_steps: 100
epochs: 1
max_steps_per_epoch: null
`;
    const read = await of(torchtune);
    expect(read).toMatchObject({
      r: 64,
      alpha: 128,
      optimizer: { name: "adamw", lr: 3e-4, weightDecay: 0.01 },
      schedule: { kind: "warmupCosine", warmup: 100, total: "end" },
    });
    expect(read.clip).toBeUndefined();
    expect((await of("optimizer=adamw r=8 alpha=16 lr=1 trained=B")).trained).toEqual(["B"]);
    const kinds = "optimizer=adamw r=8 alpha=16 lr=1 adapts=linear,embedding";
    expect((await of(kinds)).adapts).toEqual(["linear", "embedding"]);
    await expect(of("optimizer=adamw r=8 alpha=16 lr=1 betas=0.9,0.99")).rejects.toThrow(
      'betas is "0.9,0.99"; it is a finite number, or several as in 0.9:0.99.',
    );
  });

  test("settings without the name of their tool are told apart from recipes", async () => {
    const json = JSON.stringify({ r: 8, lora_alpha: 16, learning_rate: 1e-4, use_rslora: true });
    await expect(of(json)).rejects.toThrow(
      /the unknown field .* It looks like settings of peft-trainer, trl, unsloth;/,
    );
    await expect(
      of("lora_r: 8\nlora_alpha: 16\nlr_scheduler: cosine\nmicro_batch_size: 2\n"),
    ).rejects.toThrow("It looks like settings of axolotl; put the name of the tool before them");
    await expect(
      of("model.lora_rank=8 optimizer.fused=true lr_scheduler.num_warmup_steps=3"),
    ).rejects.toThrow("as in torchtune: optimizer.lr=1e-4");
    const own = JSON.stringify({ r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1, fused: true } });
    await expect(of(own)).rejects.toThrow(/has the unknown field fused.*decayTimesLr\.$/);
    await expect(of("optimizer=adamw r=8 alpha=16 rate=1e-3")).rejects.toThrow(
      /unknown field rate.*decayTimesLr\.$/,
    );
  });
});
