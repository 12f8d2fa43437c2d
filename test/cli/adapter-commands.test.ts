import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import type { AdapterReport, MergeReport } from "../../src/adapters/index.ts";
import * as adapters from "../../src/adapters/index.ts";
import { type Tensor, tensor } from "../../src/index.ts";
import { safetensors } from "../../src/io/index.ts";
import { lorantz } from "../command.ts";
import { scratch } from "../scratch.ts";

// lorantz adapter and lorantz merge, in this process. No device is opened.

const { fresh } = scratch("adapter-commands");
let folder: string;
beforeEach(() => {
  folder = fresh();
});
const at = (...names: string[]) => join(folder, ...names);

async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await lorantz(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as T; // what the command prints
}

/** A = [[3, 4], [0, 0]], B = [[2, 0], [0, 2]] at every module: B A has the one singular value 10. */
const loraA = tensor([
  [3, 4],
  [0, 0],
]);
const loraB = tensor([
  [2, 0],
  [0, 2],
]);
const prefix = "base_model.model.model.layers.0.";

async function peft(config: object = {}, names: readonly string[] = ["self_attn.q_proj", "mlp.up_proj"]) {
  const entries = names.flatMap((name) => [
    [`${prefix}${name}.lora_A.weight`, loraA] as const,
    [`${prefix}${name}.lora_B.weight`, loraB] as const,
  ]);
  await safetensors.write(at("adapter", "adapter_model.safetensors"), Object.fromEntries(entries));
  const all = { peft_type: "LORA", r: 2, lora_alpha: 8, use_rslora: false, target_modules: names, ...config };
  writeFileSync(at("adapter", "adapter_config.json"), JSON.stringify(all));
  return at("adapter");
}

const base = { model_type: "llama", num_attention_heads: 1, num_key_value_heads: 1 };
async function model(entries: Readonly<Record<string, Tensor | object>>, config: object = base) {
  await safetensors.write(at("model", "model.safetensors"), entries as Record<string, Tensor>, {
    metadata: { format: "pt" },
  });
  writeFileSync(at("model", "config.json"), JSON.stringify(config));
  writeFileSync(at("model", "tokenizer.json"), "{}");
  return at("model");
}
const weights = {
  "model.layers.0.self_attn.q_proj.weight": tensor([
    [1, 0],
    [0, 1],
  ]),
  "model.layers.0.mlp.up_proj.weight": tensor([
    [0.5, 0],
    [0, 0.5],
  ]),
  "model.norm.weight": tensor([1, 1]),
};

describe("lint", () => {
  test("multipliers, norms and spectra, and who reads another adapter", async () => {
    const path = await peft({ use_rslora: true, r: 2, lora_alpha: 8, alpha_pattern: { up_proj: 16 } });
    const { modules, consumers } = await json<AdapterReport>("adapter", "lint", path);
    const [up, q] = ["mlp.up_proj", "self_attn.q_proj"].map(
      (name) => modules.find((m) => m.path.endsWith(name))!,
    );
    const s = 8 / Math.SQRT2;
    expect(q).toMatchObject({ r: 2, alpha: 8, multiplier: s, normA: 5, normB: Math.sqrt(8) });
    expect(q!.change).toBeCloseTo(10 * s, 10);
    expect(q!.spectrum[0]).toBeCloseTo(10 * s, 10);
    expect(q!.spectrum[1]).toBeCloseTo(0, 10);
    expect(q!.stableRank).toBeCloseTo(1, 10);
    expect(up!.multiplier).toBe(2 * s);
    const factors = Object.fromEntries(consumers.map((each) => [each.consumer, each.factors]));
    expect(factors.PEFT).toEqual({});
    // alpha / r instead of alpha / sqrt(r); and llama.cpp's converter takes 8 for 16 too.
    expect(factors.vLLM![q!.path]).toBeCloseTo(Math.SQRT1_2, 12);
    expect(factors.vLLM![up!.path]).toBeCloseTo(Math.SQRT1_2, 12);
    const llama = factors["llama.cpp, by convert_lora_to_gguf.py"]!;
    expect(llama[q!.path]).toBeCloseTo(Math.SQRT1_2, 12);
    expect(llama[up!.path]).toBeCloseTo(Math.SQRT1_2 / 2, 12);
    const { stdout } = await lorantz("adapter", "lint", path);
    expect(stdout).toContain("0.3536 to 0.7071 times, 2 of 2 modules");
    expect(stdout).toContain("adapter bake");
  });

  test("a baked adapter is read by all of them as it is", async () => {
    const path = await peft({ use_rslora: true, r: 2, lora_alpha: 8, alpha_pattern: { up_proj: 16 } });
    const before = await json<AdapterReport>("adapter", "lint", path);
    expect((await lorantz("adapter", "bake", path, "--out", at("baked"))).code).toBe(0);
    const after = await json<AdapterReport>("adapter", "lint", at("baked"));
    expect(after.consumers.filter(({ factors }) => Object.keys(factors).length > 0)).toEqual([]);
    const config = JSON.parse(readFileSync(at("baked", "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({ use_rslora: false, alpha_pattern: {}, rank_pattern: {} });
    for (const [i, { change }] of before.modules.entries())
      expect(after.modules[i]!.change).toBeCloseTo(change, 4);
  });
});

describe("convert", () => {
  test.each(adapters.formatNames)("to %s, by what lies in the files", async (to) => {
    const path = await peft();
    const base = await model(weights);
    const made = await json<{ files: string[]; to: string }>(
      "adapter",
      "convert",
      path,
      "--to",
      to,
      "--out",
      at(to),
      "--base",
      base,
    );
    expect(made.to).toBe(to);
    expect(readdirSync(at(to)).sort()).toEqual([...made.files].sort());
    const report = await json<AdapterReport>("adapter", "lint", at(to), "--base", base);
    expect([report.format, report.modules.map(({ multiplier }) => multiplier)]).toEqual([to, [4, 4]]);
  });

  test("the base model knows the paths that kohya's names have lost", async () => {
    const name = "lora_te_model_layers_0_self_attn_q_proj";
    await safetensors.write(at("x.safetensors"), {
      [`${name}.lora_down.weight`]: loraA,
      [`${name}.lora_up.weight`]: loraB,
    });
    const base = await model(weights);
    const guessed = await json<AdapterReport>("adapter", "lint", at("x.safetensors"));
    const known = await json<AdapterReport>("adapter", "lint", at("x.safetensors"), "--base", base);
    expect(guessed.notes).toEqual([expect.stringMatching(/the paths of 1 modules are guessed/)]);
    expect([known.notes, known.modules[0]!.path]).toEqual([[], "model.layers.0.self_attn.q_proj"]);
  });

  test("says what went into B", async () => {
    const path = await peft({ alpha_pattern: { up_proj: 16 } });
    const { stdout } = await lorantz("adapter", "convert", path, "--to", "mlx", "--out", at("mlx"));
    expect(stdout).toMatch(/2 modules; B of 1 was multiplied, .* had \d, has \d, and the rest is in B/);
  });

  test("wrong usage exits 2, what cannot be done 1, and nothing is written", async () => {
    const path = await peft({ use_dora: false });
    const cases: readonly (readonly [args: readonly string[], code: number, message: RegExp])[] = [
      [[], 2, /what to do is missing; it is lint, convert or bake/],
      [["fuse", path], 2, /there is no "fuse"/],
      [["lint"], 2, /takes one adapter/],
      [["lint", path, "--out", "x"], 2, /writes nothing/],
      [["convert", path, "--out", at("x")], 2, /--to is missing/],
      [
        ["convert", path, "--to", "onnx", "--out", at("x")],
        2,
        /--to is "onnx"; it is peft or mlx or kohya or gguf/,
      ],
      [["convert", path, "--to", "mlx"], 2, /--out is missing/],
      [["bake", path, "--to", "mlx", "--out", at("x")], 2, /--to is of convert/],
      [["convert", path, "--to", "gguf", "--out", at("x")], 1, /Give the folder of the base model/],
      [["convert", path, "--to", "mlx", "--out", path], 1, /is the adapter itself/],
      [
        ["convert", path, "--to", "mlx", "--out", at("adapter", "adapter_config.json", "x")],
        1,
        /cannot be written/,
      ],
      [["lint", at("nowhere")], 1, /cannot be read \(there is no such file\)/],
      [["lint", at("adapter", "adapter_config.json")], 1, /it is no safetensors file/i],
    ];
    for (const [args, code, message] of cases) {
      const got = await lorantz("adapter", ...args);
      expect([got.code, got.stderr], args.join(" ")).toEqual([code, expect.stringMatching(message)]);
    }
    expect(existsSync(at("x"))).toBe(false);
    expect(readdirSync(path).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    expect((await lorantz("adapter", "--help")).stdout).toContain("Exit codes");
  });
});

describe("merge", () => {
  test("W + s B A in the dtype of the model, with what rounding lost; other files are copied", async () => {
    const path = await peft();
    await model({
      ...weights,
      "model.layers.0.mlp.up_proj.weight": {
        dtype: "BF16",
        shape: [2, 2],
        data: async () =>
          tensor([
            [0.5, 1024],
            [0.25, 0.5],
          ]),
      },
    });
    const report = await json<MergeReport>("merge", at("model"), path, "--out", at("merged"));
    expect(readdirSync(at("merged")).sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    const file = await safetensors.open(at("merged"));
    expect(file.metadata).toEqual({ format: "pt" });
    const list = async (name: string) => [...(await (await file.read(name)).data())];
    // s B A = 4 [[6, 8], [0, 0]]
    expect(await list("model.layers.0.self_attn.q_proj.weight")).toEqual([25, 32, 0, 1]);
    expect(await list("model.layers.0.mlp.up_proj.weight")).toEqual([24.5, 1056, 0.25, 0.5]);
    expect(await list("model.norm.weight")).toEqual([1, 1]);
    expect(file.info("model.layers.0.mlp.up_proj.weight").dtype).toBe("BF16");
    const up = report.weights.find(({ dtype }) => dtype === "BF16")!;
    expect(up).toMatchObject({ change: 40, error: 0, unchanged: 0.5 });
  });

  test("a change that bfloat16 does not hold is told", async () => {
    const path = await peft({ lora_alpha: 0.25 }, ["mlp.up_proj"]);
    await model({
      "model.layers.0.mlp.up_proj.weight": {
        dtype: "BF16",
        shape: [2, 2],
        data: async () =>
          tensor([
            [1024, 1024],
            [0, 0],
          ]),
      },
    });
    // The change is [0.75, 1], and numbers from 1024 on are 8 apart.
    const { weights } = await json<MergeReport>("merge", at("model"), path, "--out", at("merged"));
    expect(weights).toMatchObject([{ change: 1.25, error: 1, unchanged: 1 }]);
    expect((await lorantz("merge", at("model"), path, "--out", at("again"))).stdout).toContain("100 %");
  });

  test("an adapter of another model is refused by names and shapes, and nothing is written", async () => {
    const path = await peft();
    await model({
      ...weights,
      "model.layers.0.self_attn.q_proj.weight": tensor([[1, 2, 3]]),
      "model.layers.0.mlp.up_proj.weight": tensor([1]),
    });
    const { code, stderr } = await lorantz("merge", at("model"), path, "--out", at("merged"));
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot be merged into .*q_proj\.weight is \[1,3\], and the change \[2,2\]/);
    expect(existsSync(at("merged"))).toBe(false);
    for (const [args, status, message] of [
      [[], 2, /takes a model and an adapter/],
      [[at("model"), path], 2, /--out is missing/],
      [[at("nowhere"), path, "--out", at("merged")], 1, /there is no such file/],
    ] as const) {
      const got = await lorantz("merge", ...args);
      expect([got.code, got.stderr]).toEqual([status, expect.stringMatching(message)]);
    }
    await model(weights);
    expect((await lorantz("merge", at("model"), path, "--out", `${at("model")}/`)).stderr).toMatch(
      /is the folder of the model itself/,
    );
  });
});

const shared = new URL("../../../shared/oracle/", import.meta.url).pathname;
if (!existsSync(shared)) console.warn("merging into models made elsewhere: skipped, there is no ../shared");
describe.skipIf(!existsSync(shared))("models and adapters made elsewhere", () => {
  interface Case {
    readonly checkpoint: string;
    readonly adapters: readonly {
      readonly path: string;
      readonly modules: Readonly<Record<string, { readonly r: number; readonly scaling: number }>>;
      readonly merged: Readonly<Record<string, { readonly data: readonly number[] }>>;
    }[];
  }

  test("multipliers and merged weights are theirs", async () => {
    const { cases } = JSON.parse(readFileSync(join(shared, "models.json"), "utf8")) as {
      readonly cases: readonly Case[];
    };
    for (const { checkpoint, adapters: own } of cases) {
      for (const { path, modules, merged } of own) {
        const adapter = await adapters.open(join(shared, path));
        const found = [...adapter.modules].map(([name, m]) => [
          name,
          { r: m.r, scaling: adapters.multiplierOf(adapter, m) },
        ]);
        expect(Object.fromEntries(found)).toEqual(modules);
        const out = at(path.replace("/", "-"));
        const { code } = await lorantz(
          "merge",
          join(shared, checkpoint, ".."),
          join(shared, path),
          "--out",
          out,
        );
        expect(code).toBe(0);
        const file = await safetensors.open(out);
        for (const [name, { data }] of Object.entries(merged)) {
          const there = file.has(name) ? name : name.replace(/^transformer\./, "");
          const values = await (await file.read(there)).data();
          const largest = Math.max(...data.map(Math.abs));
          for (const [i, x] of data.entries()) expect(Math.abs(values[i]! - x)).toBeLessThan(1e-7 * largest);
        }
      }
    }
  });
});
