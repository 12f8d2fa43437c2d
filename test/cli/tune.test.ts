import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import * as adapters from "../../src/adapters/index.ts";
import type { TuneResults } from "../../src/cli/tune-report.ts";
import { prove } from "../../src/experiments/theorem/experiment.ts";
import { plan } from "../../src/experiments/theorem/plan.ts";
import { init, random, type Tensor, tensor } from "../../src/index.ts";
import { safetensors } from "../../src/io/index.ts";
import * as models from "../../src/models/index.ts";
import * as text from "../../src/text/index.ts";
import { lorantz } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { writeTinyModel } from "../tiny-model.ts";

const { root: folder } = scratch("tune");
const at = (...names: string[]) => join(folder, ...names);

const lines = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) =>
    JSON.stringify({ prompt: `${from + i}+1=`, completion: `${from + i + 1}` }),
  ).join("\n");

beforeAll(async () => {
  await init({ backend: "cpu" });
  await writeTinyModel(folder);
  await writeTinyModel(at("small"), { vocab_size: 128 });
  mkdirSync(at("bare"));
  writeFileSync(at("train.jsonl"), lines(0, 24));
  writeFileSync(at("dev.jsonl"), lines(30, 6));
  writeFileSync(at("empty.jsonl"), "");
  writeFileSync(at("long.jsonl"), `${lines(100, 2)}\n${lines(1, 3)}`);
  await writeTinyModel(at("wide"), { hidden_size: 32 });
  await writeTinyModel(at("pointer"));
  writeFileSync(at("pointer", "model.safetensors"), "version https://git-lfs.github.com/spec/v1\n");
  writeFileSync(at("utf16.jsonl"), Buffer.from(`\ufeff${lines(0, 3)}`, "utf16le"));
  await writeTinyModel(at("sharded"));
  const shard = (i: number) => `model-0000${i}-of-00002.safetensors`;
  renameSync(at("sharded", "model.safetensors"), at("sharded", shard(1)));
  writeFileSync(
    at("sharded", "model.safetensors.index.json"),
    JSON.stringify({ weight_map: { "model.norm.weight": shard(1), "lm_head.weight": shard(2) } }),
  );
});

const common = ["--model", folder, "--tokenizer", "bytes", "--backend", "cpu", "--batch", "4"];
const training = [
  "tune",
  ...common,
  "--data",
  at("train.jsonl"),
  "--evaluate",
  at("dev.jsonl"),
  "--recipe",
  "optimizer=adamw r=2 alpha=4 lr=0.05 dropout=0.1",
];
const resultsIn = (out: string) => JSON.parse(readFileSync(at(out, "results.json"), "utf8")) as TuneResults;

test("the theorem holds on a model that is given, bit for bit", async () => {
  const { model, params } = await models.load(folder);
  const data = await text.dataset(at("train.jsonl"), { tokenizer: text.bytes(), maxLength: 32 });
  const names = ["AdamW reference", "B only, alpha x 32", "B only, alpha x 32, eps not"];
  const subject = {
    ...{ name: folder, family: "llama", model, params, data, batch: 4 },
    targetModules: ["q_proj", "v_proj"],
  };
  const planned = plan.filter(({ name }) => names.includes(name));
  const { runs, laws } = await prove(subject, { seed: 1, steps: 20, runs: planned });
  expect(laws).toEqual({ held: 2, broken: 0 });
  expect(runs[1]!.comparison).toMatchObject({ lossesBitwise: true, parametersBitwise: true });
  expect(runs[1]!.losses).not.toEqual(runs[2]!.losses);
  const first = async (seed: number) => {
    const again = await prove(subject, { seed, steps: 20, runs: planned.slice(0, 1) });
    return again.runs[0]!.losses;
  };
  expect(await first(1)).toEqual(runs[0]!.losses);
  expect(await first(2)).not.toEqual(runs[0]!.losses);
});

describe("lorantz tune", () => {
  test("trains an adapter, evaluates it, and writes it with results and a report", async () => {
    const { code, stdout, stderr } = await lorantz(...training, "--epochs", "2", "--out", at("run"));
    expect({ code, stderr: stderr.includes("24 examples") }).toEqual({ code: 0, stderr: true });
    expect(stdout).toMatch(/^step\s+training loss\s+held-out loss\s+perplexity\s+accuracy/);
    const { steps, losses, evaluations, written, model } = resultsIn("run");
    expect([steps, losses.length, evaluations.at(-1)!.step]).toEqual([12, 12, 12]);
    expect(evaluations.at(-1)!.loss).toBeLessThan(evaluations[0]!.loss);
    expect(model.trained).toBe(2 * (4 * (16 + 16) - 16 + 3 * (16 + 24)));
    const best = evaluations.reduce((a, b) => (b.loss < a.loss ? b : a));
    expect(written).toBe(best.step);
    const report = readFileSync(at("run", "report.html"), "utf8");
    expect(report).toContain("held-out loss");
    expect(report).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    const adapter = await adapters.open(at("run"));
    expect(adapter.modules.size).toBe(7);
    const checked = await lorantz(
      "evaluate",
      ...common,
      "--data",
      at("dev.jsonl"),
      "--adapter",
      at("run"),
      "--json",
    );
    expect(JSON.parse(checked.stdout).loss).toBeCloseTo(best.loss, 6);
  });

  long("trains a classifier, whose output layer goes with the adapter as PEFT has it", async () => {
    const pair = (i: number) => {
      const letter = i % 2 ? "a" : "b";
      return { premise: letter.repeat(20), hypothesis: letter.repeat(i), label: i % 2 ? "no" : "yes" };
    };
    const write = (name: string, from: number, count: number) =>
      writeFileSync(
        at(name),
        Array.from({ length: count }, (_, i) => JSON.stringify(pair(from + i))).join("\n"),
      );
    write("pairs.jsonl", 1, 16);
    write("some.jsonl", 2, 1);
    const asked = [...common, "--data", at("pairs.jsonl"), "--learn", "label"];
    const recipe = ["--recipe", "optimizer=adamw r=2 alpha=4 lr=0.05", "--epochs", "10"];
    const { code, stderr } = await lorantz("tune", ...asked, ...recipe, "--out", at("classes"));
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/16 examples.* of the classes no, yes\.\s+score\.weight is not in/),
    });
    const { losses, model } = resultsIn("classes");
    expect(model.trained).toBe(2 * (4 * (16 + 16) - 16 + 3 * (16 + 24)) + 2 * 16);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.1);
    expect(JSON.parse(readFileSync(at("classes", "adapter_config.json"), "utf8"))).toMatchObject({
      task_type: "SEQ_CLS",
      modules_to_save: ["score"],
    });
    const adapter = await adapters.open(at("classes"));
    expect([...adapter.whole.keys()]).toEqual(["score.weight"]);

    // Of one class here, and numbered as it was in training.
    const seen = async (file: string) => {
      const given = ["--data", at(file), "--adapter", at("classes"), "--json"];
      return JSON.parse((await lorantz("evaluate", ...common, ...given)).stdout) as Record<string, number>;
    };
    const [all, one] = [await seen("pairs.jsonl"), await seen("some.jsonl")];
    expect([all.count, one.count]).toEqual([16, 1]);
    await init({ backend: "cpu" });
    const { model: base, params } = await models.load(folder, { labels: 2 });
    const adapted = adapters.inject(base, params, adapter);
    const tokenizer = text.bytes();
    const data = await text.dataset(at("pairs.jsonl"), { tokenizer, maxLength: 128, learn: "label" });
    let right = 0;
    for (let i = 0; i < data.length; i++) {
      const tokens = tensor([[...data.tokens(i)]], { dtype: "int32" });
      const scores = await adapted.model.apply(adapted.params, { tokens }).logits.data();
      const [no, yes] = scores.slice(-2) as unknown as [number, number];
      if (Number(yes > no) === data.targets(i).at(-1)) right++;
    }
    expect(all.accuracy).toBeCloseTo(right / 16, 6);

    // Merged it is a checkpoint of a classifier, as transformers has it.
    expect(await lorantz("merge", folder, at("classes"), "--out", at("told"))).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("Replaced: score.weight."),
    });
    expect(JSON.parse(readFileSync(at("told", "config.json"), "utf8"))).toMatchObject({
      architectures: [expect.stringMatching(/ForSequenceClassification$/)],
      id2label: { 0: "no", 1: "yes" },
      label2id: { no: 0, yes: 1 },
    });
    const plain = ["--model", at("told"), ...common.slice(2), "--data", at("pairs.jsonl"), "--json"];
    const merged = JSON.parse((await lorantz("evaluate", ...plain)).stdout) as Record<string, number>;
    expect(merged).toMatchObject({ accuracy: all.accuracy, count: 16 });
    expect(merged.loss).toBeCloseTo(all.loss!, 5);

    // The layer is new, and so of the seed.
    const still = ["--recipe", "optimizer=adamw r=2 alpha=4 lr=1e-9", "--steps", "1"];
    for (const seed of [0, 7]) {
      const out = at(`seed-${seed}`);
      await lorantz("tune", ...asked, ...still, "--seed", String(seed), "--out", out);
      await init({ backend: "cpu" });
      const { whole } = await adapters.open(out);
      const { params: fresh } = await models.load(folder, { labels: 2, key: random.key(seed) });
      const drawn = await (fresh as { score: { weight: Tensor } }).score.weight.data();
      const kept = await whole.get("score.weight")!.values.data();
      for (const [i, value] of kept.entries()) expect(value).toBeCloseTo(drawn[i]!, 6);
    }

    for (const [args, message] of [
      [["generate", ...common.slice(0, -2), "--adapter", at("classes"), "1"], "the model is a classifier"],
      [["evaluate", ...asked], "--learn is label, and the model tells no classes apart"],
      [
        ["evaluate", ...common, "--data", at("pairs.jsonl"), "--adapter", at("classes"), "--learn", "all"],
        "--learn is all, and the model tells classes apart (no, yes)",
      ],
      [["tune", ...asked, "--format", "gguf", "--out", at("x")], "has no place for the output layer"],
      [
        ["tune", ...common, "--data", at("train.jsonl"), "--learn", "label", "--out", at("x")],
        "its fields are",
      ],
    ] as const)
      expect(await lorantz(...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
    expect(existsSync(at("x"))).toBe(false);
  });

  long("leaves a checkpoint when it is interrupted, and goes on to the same bits", async () => {
    const out = at("broken");
    const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
      if (String(text).includes("step 1:")) process.emit("SIGINT");
      return true;
    });
    const first = await (async () => {
      const { run } = await import("../../src/cli/run.ts");
      return run([...training, "--epochs", "2", "--out", out]);
    })();
    const said = spy.mock.calls.map(([text]) => String(text)).join("");
    spy.mockRestore();
    expect(first).toBe(130);
    expect(said).toContain(
      `Interrupted; ${join(out, "training", "last.safetensors")} has the run after 2 updates`,
    );
    expect(existsSync(join(out, "results.json"))).toBe(false);

    expect((await lorantz(...training, "--epochs", "2", "--out", out)).stderr).toContain(
      "a run is there already",
    );
    const other = await lorantz(
      ...training.slice(0, -1),
      "optimizer=adamw r=2 alpha=4 lr=0.01 dropout=0.1",
      "--epochs",
      "2",
      "--out",
      out,
      "--resume",
    );
    expect(other).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("recipe.optimizer.lr is 0.05 in the checkpoint and 0.01 now"),
    });
    const data = training.map((arg) => (arg === at("train.jsonl") ? at("long.jsonl") : arg));
    expect(await lorantz(...data, "--steps", "12", "--out", out, "--resume")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/data/),
    });
    const { code, stdout } = await lorantz(...training, "--epochs", "2", "--out", out, "--resume", "--json");
    expect(code).toBe(0);
    const [resumed, whole] = [JSON.parse(stdout) as TuneResults, resultsIn("run")];
    expect(resumed.trajectory).toBe(whole.trajectory);
    expect(resumed.losses).toEqual(whole.losses);
    const bytes = (run: string) => readFileSync(at(run, "adapter_model.safetensors"));
    expect(bytes("broken").equals(bytes("run"))).toBe(true);
  });

  test("packs, accumulates, holds out and writes for other tools", async () => {
    const more = [
      "--pack",
      "--accumulate",
      "2",
      "--steps",
      "2",
      "--format",
      "mlx",
      "--target-modules",
      "q_proj,v_proj",
    ];
    const { code, stderr } = await lorantz(
      ...["tune", ...common, "--data", at("train.jsonl"), "--held-out", "0.25", "--out", at("packed")],
      ...more,
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(existsSync(at("packed", "adapters.safetensors"))).toBe(true);
    expect(resultsIn("packed")).toMatchObject({
      heldOut: { examples: 6 },
      batch: { accumulate: 2, packed: true },
    });
  });

  long("computes blocks again to the same bits, on examples grouped by length", async () => {
    const run = async (out: string, ...more: string[]) => {
      const { code } = await lorantz(...training, "--group", "--steps", "3", "--out", at(out), ...more);
      return [code, resultsIn(out).trajectory, resultsIn(out).memory] as const;
    };
    const [plain, again] = [await run("kept"), await run("again", "--remat")];
    expect(again.slice(0, 2)).toEqual([0, plain[1]]);
    expect(again[2]).toBeLessThan(plain[2]);
  });

  test("says how many examples are longer than the context, and how many of them are left out", async () => {
    const short = ["evaluate", ...common, "--data", at("long.jsonl"), "--max-length", "6"];
    const { code, stderr } = await lorantz(...short);
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(
        "5 were longer than 6 tokens and are cut at their end; 2 of them are left out, since nothing that counts was left.",
      ),
    });
  });

  test("names weights that are not finite", async () => {
    await init({ backend: "cpu" });
    await writeTinyModel(at("spoilt"));
    const weights = await safetensors.open(at("spoilt", "model.safetensors"));
    const name = "model.layers.0.mlp.up_proj.weight";
    const entries: Record<string, Tensor> = {};
    for (const each of weights.names) {
      const read = (await weights.read(each)) as Tensor;
      entries[each] = each === name ? read.mul(Number.NaN) : read;
    }
    await safetensors.write(at("spoilt", "model.safetensors"), entries);
    const given = ["--model", at("spoilt"), ...common.slice(2), "--data", at("dev.jsonl")];
    for (const command of [["evaluate"], ["tune", "--out", at("never")]]) {
      const { code, stderr } = await lorantz(...command, ...given);
      expect({ code, stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`parameter ${name} is not finite itself`),
      });
    }
  });

  test("says before it runs what would fit, where memory is too small", async () => {
    const machine = process as unknown as { availableMemory(): number };
    const spy = vi.spyOn(machine, "availableMemory").mockReturnValue(0);
    const { code, stderr } = await lorantz(...training, "--out", at("large"));
    spy.mockRestore();
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /a step needs about \d.* of memory, and there are \d.*--batch 2 with --accumulate 2, .*--remat, or --weights nf4/,
    );
    expect(existsSync(at("large"))).toBe(false);
  });

  test.each<[string, readonly string[], string]>([
    ["no data", ["tune", ...common, "--out", at("x")], "--data FILE is missing"],
    ["no model", ["tune", "--data", at("train.jsonl"), "--out", at("x")], "--model DIR is missing"],
    [
      "no folder",
      ["tune", "--model", at("none"), "--data", at("train.jsonl"), "--out", at("x")],
      "there is no such folder",
    ],
    [
      "no tokenizer",
      ["tune", "--model", folder, "--tokenizer", at("bare"), "--data", at("train.jsonl"), "--out", at("x")],
      "there is no file tokenizer.json",
    ],
    [
      "no examples",
      ["tune", ...common, "--data", at("empty.jsonl"), "--out", at("x")],
      "empty.jsonl: there are no examples in it",
    ],
    [
      "a shard that is missing",
      ["tune", "--model", at("sharded"), ...common.slice(2), "--data", at("dev.jsonl"), "--out", at("x")],
      "of 2 shards, 1 are missing: model-00002-of-00002",
    ],
    [
      "no token that counts",
      ["tune", ...common, "--data", at("long.jsonl"), "--max-length", "3", "--out", at("x")],
      "long.jsonl: all 5 examples are cut before anything that is learned",
    ],
    [
      "an adapter of another model",
      [
        "evaluate",
        "--model",
        at("wide"),
        ...common.slice(2),
        "--data",
        at("dev.jsonl"),
        "--adapter",
        at("run"),
      ],
      "Of its 7 modules, 7 do not fit: model.layers.0.mlp.down_proj takes 24 and gives 32 values, and its factors 24 and 16",
    ],
    [
      "a target that matches nothing",
      [...training, "--out", at("x"), "--target-modules", "query"],
      "query matches no layer",
    ],
    [
      "a form of adapters that is unknown",
      [...training, "--out", at("x"), "--format", "onnx"],
      '--format is "onnx"; it is peft or mlx or kohya or gguf',
    ],
    [
      "a target without a name",
      [...training, "--out", at("x"), "--target-modules", "q_proj,"],
      '--target-modules is "q_proj,"; it is a list such as q_proj,v_proj',
    ],
    [
      "a pointer in the place of weights",
      ["tune", "--model", at("pointer"), ...common.slice(2), "--data", at("dev.jsonl"), "--out", at("x")],
      "Fetch it with git lfs pull",
    ],
    [
      "a text in UTF-16",
      ["tune", ...common, "--data", at("utf16.jsonl"), "--out", at("x")],
      "its text is not UTF-8",
    ],
    [
      "an output folder that is a file",
      ["tune", ...common, "--data", at("dev.jsonl"), "--out", at("dev.jsonl")],
      "is not a folder",
    ],
    [
      "too long",
      [...training, "--out", at("x"), "--max-length", "129"],
      "it is a whole number from 2 to 128",
    ],
    ["nothing to go on from", [...training, "--out", at("x"), "--resume"], "there is no"],
    [
      "patience alone",
      ["tune", ...common, "--data", at("train.jsonl"), "--out", at("x"), "--patience", "2"],
      "--patience waits for evaluations",
    ],
    ["a theorem without a model", ["theorem", "--data", at("train.jsonl")], "Add --model DIR"],
    ["a theorem without data", ["theorem", "--model", folder], "--data FILE is missing"],
    ["a theorem with a text", ["theorem", "--model", folder, "--base", "x"], "Give --data with --model"],
    [
      "another tokenizer",
      ["evaluate", "--model", at("small"), ...common.slice(2), "--data", at("dev.jsonl")],
      "the tokenizer has ids up to 257, and the model a vocabulary of 128",
    ],
  ])("says what is wrong with %s, and writes nothing", async (_, args, message) => {
    const { code, stderr } = await lorantz(...args);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
    expect(existsSync(at("x"))).toBe(false);
  });
});
