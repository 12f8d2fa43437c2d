import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Conversion, Explanation, SweepPlan } from "../../src/gauge/index.ts";
import { fieldTable } from "../../src/gauge/schema.ts";
import { lorantz } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";

// lorantz convert, explain and sweep-plan, in this process.

const { root: folder } = scratch("cli-recipes");
afterEach(() => vi.restoreAllMocks());

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await lorantz(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as T; // what the command prints
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const recipe = ["--optimizer", "adamw", "--r", "8", "--alpha", "16", "--lr", "2e-4"];
const [X, Y] = ["optimizer=adamw r=8 alpha=1 lr=0.00512", "optimizer=adamw r=8 alpha=512 lr=1e-5"];

describe("recipes", () => {
  test("a table of the two quantities, and the settings of one tool", async () => {
    const { code, stdout } = await lorantz("recipes");
    expect(code).toBe(0);
    for (const said of ["lr_A / sigma", "s sigma lr_B", "tinker", "1e-12", "warmupCosine"])
      expect(stdout).toContain(said);
    const mlx = await lorantz("recipes", "mlx-lm");
    for (const said of [
      "lora_parameters.scale",
      "20",
      "bias_correction",
      "Read in: github.com/ml-explore/mlx-lm",
    ])
      expect(mlx.stdout).toContain(said);
    const all = await json<{ name: string; canonical: { invariants: unknown[] } }[]>("recipes");
    expect(all.map(({ name }) => name)).toContain("burn");
    expect(all.every(({ canonical }) => canonical.invariants.length > 1)).toBe(true);
  });

  const settings = {
    r: 8,
    lora_alpha: 16,
    learning_rate: 2e-4,
    lr_scheduler_type: "constant",
    max_grad_norm: 0,
  };
  const own = "optimizer=adamw r=8 alpha=16 lr=2e-4 weightDecay=0";
  test.each<[string, string]>([
    ["JSON", JSON.stringify(settings)],
    [
      "YAML",
      "# of a run\nr: 8\nlora_alpha: 16\nlearning_rate: 2e-4\nlr_scheduler_type: 'constant'\nmax_grad_norm: 0.0\ntarget_modules:\n  - q_proj\n  - v_proj\n",
    ],
    [
      "flags",
      "--r 8 --lora-alpha=16 --learning_rate 2e-4 --lr_scheduler_type constant --max_grad_norm 0 --bf16",
    ],
    ["key=value", "r=8 lora_alpha=16 learning_rate=2e-4 lr_scheduler_type=constant max_grad_norm=0"],
  ])("the Trainer's settings as %s, inline and as a file", async (form, text) => {
    expect(await json("explain", `peft-trainer: ${text}`, own)).toMatchObject({ exact: true, bitwise: true });
    const path = file(`settings-${form.replace("=", "")}.txt`, text);
    expect(await json("explain", `peft-trainer:${path}`, own)).toMatchObject({ exact: true, bitwise: true });
  });

  test("kohya's TOML, LitGPT's and MLX-LM's YAML", async () => {
    const kohya = file(
      "kohya.toml",
      '[network_arguments]\nnetwork_module = "networks.lora"\nnetwork_dim = 8\nnetwork_alpha = 16\nnetwork_args = ["loraplus_lr_ratio=4"]\n[optimizer_arguments]\noptimizer_type = "AdamW"\nlearning_rate = 2e-4\nmax_grad_norm = 0\noptimizer_args = ["weight_decay=0", "betas=0.9,0.99"]\n',
    );
    const same = "optimizer=adamw r=8 alpha=16 lr=2e-4 ratio=4 weightDecay=0 betas=0.9:0.99";
    expect(await json("explain", `kohya:${kohya}`, same)).toMatchObject({ exact: true });
    const litgpt = file(
      "litgpt.yaml",
      "lora_r: 32\nlora_alpha: 16\nlora_dropout: 0.05\nquantize:\ntrain:\n  lr_warmup_steps: 10\n  max_norm:\n  epochs: 2\noptimizer:\n  class_path: torch.optim.AdamW\n\n  init_args:\n    lr: 0.0002\n    weight_decay: 0.0\n    betas:\n      - 0.9\n      - 0.95\n",
    );
    const cosine =
      "optimizer=adamw r=32 alpha=16 dropout=0.05 lr=2e-4 weightDecay=0 betas=0.9:0.95 schedule=warmupCosine schedule.warmup=10 schedule.total=end";
    expect(await json("explain", `litgpt:${litgpt}`, cosine)).toMatchObject({ exact: true, bitwise: true });
    const mlx = file(
      "mlx.yaml",
      "model: x\nlearning_rate: 1e-5\noptimizer: adamw\noptimizer_config:\n  adamw:\n    bias_correction: true\nlora_parameters: {rank: 8, scale: 2.0, dropout: 0.0}\n",
    );
    expect(await json("explain", `mlx-lm:${mlx}`, "optimizer=adamw r=8 alpha=16 lr=1e-5")).toMatchObject({
      exact: true,
      bitwise: true,
    });
  });
});

test("states of 8 bits are another run, and no bits are promised", async () => {
  const [short, long] = [
    "unsloth: warmup_steps=5 max_steps=60",
    "unsloth: warmup_steps=5 max_steps=60 optim=adamw_torch",
  ];
  const result = await json<Explanation>("explain", short, long);
  expect(result).toMatchObject({ exact: false, bitwise: false });
  expect(result.words).toContain("eightBitStates is true in X and not there in Y; no gauge changes it.");
  expect(await json("explain", long, long)).toMatchObject({ bitwise: true });
  const { notes, bitwise } = await json<Conversion>("convert", short, "--to-alpha", "32", "--anyway");
  expect(bitwise).toBe(false);
  expect(notes.join()).toContain("The optimizer keeps its state in 8 bits");
});

describe("recipes from a hostile hand", () => {
  const good = "optimizer=adamw r=8 alpha=16 lr=2e-4";
  test.each<[string, string]>([
    ['{ "r": 8, "alpha": 16, "optimizer": "adamw", "lr": 1, "groups": 5 }', "groups is 5; it is an object"],
    ['{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 1 }, "groups": [] }', "groups is []"],
    [
      '{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 1 }, "__proto__": { "rsLora": true } }',
      "__proto__ is no name of a field",
    ],
    [`${good} __proto__=1`, "__proto__"],
    [`${good} constructor=1`, "the unknown field constructor"],
    [`${good} clip=norm`, 'clip.kind is "norm"'],
    [`${good} schedule=warmupLinear schedule.warmup=5 schedule.total=2`, "total 2 is not more than warmup 5"],
    [`${good} schedule=warmupLinear schedule.warmup=5`, "schedule.total is missing"],
    [`${good} adapts=linear:conv`, 'adapts is ["linear", "conv"]'],
    [`{ "recipe": ${"[".repeat(5000)}${"]".repeat(5000)}, "gauge": 1 }`, "nested more than 64 deep"],
    [`{ "r": ${"[".repeat(5000)}${"]".repeat(5000)} }`, "nested more than 64 deep"],
    ["peft-trainer: lora_alfa=3", "has no setting lora_alfa"],
    ["peft-trainer: r: 8\n\tbad", 'line 2, "bad": it is no YAML (Tabs are not allowed as indentation)'],
    ["mlx-lm: lora_layers=8", "it is num_layers now"],
    ['kohya: {"network_dim": 8', "it is no JSON"],
    ["kohya: network_dim=8 network_dim=9", "network_dim is given twice"],
  ])("%.60s", async (text, message) => {
    const { code, stdout, stderr } = await lorantz("explain", text, good);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toContain("    at ");
  });
});

test.each(["convert", "explain", "sweep-plan"])("lorantz %s --help", async (command) => {
  const { code, stdout, stderr } = await lorantz(command, "--help");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain(`Usage: lorantz ${command}`);
  expect(stdout).toContain("key=value");
  expect((await lorantz("--help")).stdout).toContain(`  ${command} `);
});

describe("convert", () => {
  test("to another alpha, in either gauge", async () => {
    const b = await json<Conversion>("convert", ...recipe, "--to-alpha", "32");
    expect(b).toMatchObject({
      alpha: 32,
      r: 8,
      scaling: 4,
      initScale: { A: 1, B: 1 },
      groups: {
        A: { lr: 2e-4, eps: 1e-8, weightDecay: 0.01 },
        B: { lr: 1e-4, eps: 2e-8, weightDecay: 0.02 },
      },
      exact: true,
      bitwise: true,
      gauge: { a: 1, b: 0.5, k: 2 },
    });
    expect(b.notes).toContain("Give A and B groups of their own: their numbers differ.");
    const common = await json<Conversion>("convert", ...recipe, "--to-alpha", "64", "--gauge", "common");
    expect(common).toMatchObject({ initScale: { A: 0.5 }, gauge: { a: 0.5, b: 0.5, k: 4 }, bitwise: true });
    expect(common.notes).toContain("Multiply the initial A by 0.5 before training.");
  });

  test("to alpha = r, a common rate, LoRA+, given factors, a library", async () => {
    expect(await json("convert", ...recipe, "--to-alpha", "r")).toMatchObject({ alpha: 8, scaling: 1 });
    const plus = [...recipe, "--lr-b", "8e-4"];
    expect(await json("convert", ...plus, "--to-common-rate", "alpha")).toMatchObject({ alpha: 64 });
    const scaled = ["convert", ...plus, "--to-common-rate", "initScale", "--to-alpha", "16"];
    expect(await json(...scaled)).toMatchObject({
      alpha: 16,
      initScale: { A: 2 },
      groups: { B: { lr: 4e-4 } },
    });
    expect(await json("convert", ...recipe, "--to-lora-plus")).toMatchObject({
      alpha: 8,
      groups: { A: { lr: 2e-4 }, B: { lr: 4e-4 } },
    });
    expect(await json("convert", ...recipe, "--to-ratio", "4")).toMatchObject({ alpha: 4 });
    expect(await json("convert", ...recipe, "--a", "2", "--b", "0.25")).toMatchObject({ alpha: 32 });
    expect(await json("convert", ...recipe, "--to", "mlx-lm")).toMatchObject({
      exact: true,
      settings: { lora_parameters: { scale: 2 } },
    });
  });

  test("a table for readers", async () => {
    const { code, stdout } = await lorantz("convert", ...recipe, "--to-alpha", "32");
    expect(code).toBe(0);
    expect(stdout).toContain("adamw, r 8, alpha 32, scaling alpha/r = 4: the same run, bit for bit");
    expect(stdout).toMatch(/B {2}0\.0001 {2}0\.9, 0\.999 {2}2e-8 {2}0\.02/);
    const mlx = await lorantz("convert", ...recipe, "--amsgrad", "true", "--to", "mlx-lm");
    expect(mlx.stdout).toContain("NOT the same run");
    expect(mlx.stdout).toContain("amsgrad of A is false where true is needed");
    expect(mlx.stdout).toContain('"scale": 2');
  });

  test("refused by default, rewritten or approximated when told to", async () => {
    const clipped = [...recipe, "--max-norm", "1", "--to-alpha", "32"];
    const refused = await lorantz("convert", ...clipped);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(refused.stderr).toContain("plain global norm");
    const anyway = await json<Conversion>("convert", ...clipped, "--anyway");
    expect(anyway).toMatchObject({ exact: false, deviations: [{ field: "clip" }] });
    expect(await json("convert", ...clipped, "--rewrite")).toMatchObject({ exact: true, bitwise: true });
  });

  test("its result is a recipe again", async () => {
    const { stdout } = await lorantz("convert", ...recipe, "--to-alpha", "32", "--json");
    const path = file("converted.json", stdout);
    const original = "optimizer=adamw r=8 alpha=16 lr=2e-4";
    expect(await json("explain", original, path)).toMatchObject({ relation: "same", bitwise: true });
    expect(await json("convert", path, "--to-alpha", "16")).toMatchObject({ groups: { B: { lr: 2e-4 } } });
  });
});

describe("recipes as text", () => {
  const same = async (x: string, y: string) => (await json<Explanation>("explain", x, y)).bitwise;
  test.each([
    '{ "r": 8, "alpha": 1, "optimizer": { "name": "adamw", "lr": 0.00512 } }',
    '{ "r": 8, "alpha": 1, "optimizer": "adamw", "lr": 0.00512 }',
    '{ "r": 8, "alpha": 1, "optimizer": "adamw", "groups": { "A": { "lr": 0.00512 }, "B": { "lr": 0.00512 } } }',
    "optimizer=adamw r=8 scaling=0.125 lr=5.12e-3",
    "optimizer=adamw r=8 alpha=1 scaling=lora lr.A=0.00512 ratio=1",
    "optimizer=adamw\n  r=8 alpha=512 # the partner\nlr=0.00512 lr.B=1e-5 eps.B=5.12e-6 weightDecay.B=5.12",
    "optimizer=adamw r=8 alpha=1 lr=0.00512 betas=0.9:0.999 init=standard dropout=0",
  ])("%s", async (text) => {
    expect(await same(X, text)).toBe(true);
  });

  test("a file of either form", async () => {
    expect(await same(X, file("x.txt", `${X}\n`))).toBe(true);
    const text = '{ "r": 8, "alpha": 1, "optimizer": { "name": "adamw", "lr": 0.00512 } }';
    expect(await same(X, file("x.json", text))).toBe(true);
  });
});

describe("explain", () => {
  test("Run X and Run Y", async () => {
    const { code, stdout } = await lorantz("explain", X, Y);
    expect(code).toBe(0);
    for (const said of [
      "X and Y are not the same run.",
      "B moves alike as long as A has not moved.",
      "512 times smaller in Y",
      "Y is LoRA+ with ratio 512 at alpha 1: lr_A 1e-5, lr_B 0.00512, eps_A 1e-8, eps_B 1.953125e-11",
      "X's exact partner at alpha 512 is lr_A 0.00512, lr_B 1e-5, eps_A 1e-8, eps_B 5.12e-6",
      "s sigma lr_B",
    ])
      expect(stdout).toContain(said);
    expect(await json("explain", X, Y)).toMatchObject({
      relation: "loraPlus",
      exact: false,
      loraPlus: { ratio: 512, alpha: 1 },
      partner: { alpha: 512, groups: { B: { lr: 1e-5, eps: 5.12e-6 } } },
    });
  });

  test("a tolerance for typed digits", async () => {
    const rounded = "optimizer=adamw r=8 alpha=1 lr=0.0051201";
    expect(await json("explain", X, rounded)).toMatchObject({ exact: false, relation: "rate" });
    expect(await json("explain", X, rounded, "--tolerance", "1e-3")).toMatchObject({ exact: true });
  });
});

describe("sweep-plan", () => {
  const grid = "optimizer=sgd r=8 lr=0.1 alpha=8,16,32 ratio=1,4,16";

  test("finds cells that are one run", async () => {
    const plan = await json<SweepPlan>("sweep-plan", grid);
    expect(plan.cells).toBe(9);
    expect(plan.runs.map(({ cells }) => cells)).toEqual([[0], [1, 3], [2, 4, 6], [5, 7], [8]]);
    const { stdout } = await lorantz("sweep-plan", grid, "--alpha", "r");
    expect(stdout).toContain("9 cells, 5 different runs.");
    expect(stdout).toContain("alpha and ratio move the rates in one direction: one of them can do it all.");
    expect(stdout).toMatch(/2 4 6$/m);
  });

  long("thousands of cells in one long argument", async () => {
    const values = Array.from({ length: 64 }, (_, i) => i + 1);
    const long = `optimizer=adamw r=8 lr=${values.map((i) => `${i}e-5`).join()} alpha=${values.join()}`;
    const plan = await json<SweepPlan>("sweep-plan", long);
    expect(plan).toMatchObject({ cells: 4096, dimensions: 2 });
    expect(plan.runs).toHaveLength(4096);
    expect((await lorantz("sweep-plan", `${long},65`)).stderr).toContain(
      "the grid has 4160 cells; at most 4096",
    );
  });

  test("a file with a list, JSON with vary", async () => {
    const base = { r: 8, alpha: 8, optimizer: { name: "sgd", lr: 0.1 } };
    const list = file("grid.json", JSON.stringify([base, { ...base, alpha: 16 }]));
    expect(await json("sweep-plan", list)).toMatchObject({ cells: 2, knobs: [] });
    const vary = JSON.stringify({ recipe: base, vary: { "groups.B.lr": [0.1, 0.2], alpha: [8, 16] } });
    expect(await json("sweep-plan", vary)).toMatchObject({ cells: 4 });
  });
});

describe("the guide shows what is printed", () => {
  const guide = readFileSync(new URL("../../docs/guide-practitioner.md", import.meta.url), "utf8");
  const shown = [...guide.matchAll(/^```text\n\$ lorantz ([^\n]*)\n(.*?)^```/gms)].map(
    ([, command, output]) => ({
      command: command!,
      output: output!,
    }),
  );
  test("the table of fields is that of the schema", () => expect(guide).toContain(fieldTable()));
  test("often", () => expect(shown.length).toBeGreaterThan(5));
  test.each(shown)("lorantz $command", async ({ command, output }) => {
    const args = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
    expect((await lorantz(...args)).stdout).toBe(output);
  });
});

describe("wrong usage ends with code 2 and nothing on stdout", () => {
  const base = "optimizer=adamw r=8 alpha=16 lr=2e-4";
  test.each<[string[], string]>([
    [["convert"], "no recipe is given"],
    [["convert", ...recipe], "no target is given"],
    [["convert", "--optimizer", "adamw", "--alpha", "16", "--lr", "1", "--to-alpha", "2"], "r is missing"],
    [["convert", "--optimizer", "adamw", "--r", "8", "--alpha", "16", "--to-alpha", "2"], "lr is missing"],
    [["convert", "--r", "8", "--alpha", "16", "--lr", "1", "--to-alpha", "2"], "optimizer.name is missing"],
    [["convert", ...recipe, "--to-alpha", "0"], '--to-alpha is "0"'],
    [["convert", ...recipe, "--to-alpha", "many"], '--to-alpha is "many"'],
    [["convert", ...recipe, "--to-alpha", "1e300"], "outside the normal range of float32"],
    [["convert", ...recipe, "--to-alpha", "32", "--gauge", "c"], '--gauge is "c"; it is b or common or a'],
    [["convert", ...recipe, "--gauge", "b"], "--gauge goes with --to-alpha"],
    [["convert", ...recipe, "--to-lora-plus", "--to", "peft"], "Give one target"],
    [["convert", ...recipe, "--a", "2"], "--a and --b are given together"],
    [["convert", ...recipe, "--to", "keras"], '--to is "keras"; it is loralib or peft'],
    [["convert", ...recipe, "--to-alpha", "32", "--rewrite", "--anyway"], "exclude each other"],
    [["convert", base, "--lr", "1", "--to-alpha", "2"], "both a recipe and lr as options"],
    [["convert", "--optimizer", "adamv", ...recipe.slice(2), "--to-alpha", "2"], 'optimizer.name is "adamv"'],
    [["convert", ...recipe.slice(0, 6), "--lr", "abc", "--to-alpha", "2"], 'lr is "abc"'],
    [["convert", ...recipe.slice(0, 6), "--lr", "1e999", "--to-alpha", "2"], '--lr is "1e999"'],
    [["convert", ...recipe.slice(0, 6), "--lr=-1", "--to-alpha", "2"], "lr is -1"],
    [["convert", ...recipe, "--ratio", "2", "--lr-b", "1", "--to-alpha", "2"], "both ratio and lr.B"],
    [
      ["convert", ...recipe, "--scaling", "3", "--to-alpha", "2"],
      "scaling is 3, but alpha 16 and r 8 make it 2",
    ],
    [["convert", ...recipe, "--rank", "8"], "--rank"],
    [["explain"], "takes two recipes; given 0"],
    [["explain", base], "takes two recipes; given 1"],
    [["explain", base, "nowhere.json"], 'explain: Y: "nowhere.json" is no file'],
    [["recipes", "keras"], 'there is no "keras". Names are loralib'],
    [["recipes", "peft", "trl"], "takes one name; given 2"],
    [["explain", base, "."], '"." is no file'],
    [["explain", base, "optimizer=sgd r=8 alpha=1e308 lr=1"], "leaves the range of floating-point numbers"],
    [["explain", base, "{"], "it is no JSON"],
    [["explain", base, "r=8 r=4"], "r is given twice"],
    [["explain", base, `${base} alpha`], '"alpha" is not of the form key=value'],
    [["explain", base, `${base} lr.C=1`], "groups has the unknown field C"],
    [["explain", base, `${base} momentun=1`], "optimizer has the unknown field momentun"],
    [["explain", base, "[]"], "explain: Y: the recipe is []"],
    [["explain", base, base, "--tolerance", "x"], '--tolerance is "x"'],
    [["sweep-plan"], "takes one grid"],
    [["sweep-plan", `${base} alpha=1`], "alpha is given twice"],
    [["sweep-plan", "optimizer=sgd r=8 lr=0.1 alpha=1,-1"], "gauge.dedupe: cell 1: alpha is -1"],
    [
      ["sweep-plan", "optimizer=sgd r=8 lr=0.1 alpha=1,2,3", "--limit", "2"],
      "the grid has 3 cells; at most 2",
    ],
    [["sweep-plan", '{"recipe": {}}'], "a grid is a list of recipes"],
    [["sweep-plan", "[]"], "the grid has no cells"],
  ])("%j", async (args, message) => {
    const { code, stdout, stderr } = await lorantz(...args);
    expect(stderr).toContain(message);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toContain("    at "); // no stack
  });
});
