import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { safetensors } from "../../src/io/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as models from "../../src/models/index.ts";
import type { Params } from "../../src/nn/index.ts";
import { init } from "../../src/runtime/init.ts";
import { compile } from "../../src/tensor/compile.ts";
import { zeros } from "../../src/tensor/creation.ts";
import { valueAndGrad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import * as text from "../../src/text/index.ts";
import { languageLoss } from "../../src/train/index.ts";
import { lorantz } from "../command.ts";
import { scratch } from "../scratch.ts";

// lorantz generate and lorantz inspect, on a model of bytes with random weights.

const { root: folder, fresh } = scratch("model-commands");
/** A model with a weight that is NaN, one whose vocabulary is too small for bytes, and an adapter of another one. */
const [broken, narrow, foreign] = [fresh(), fresh(), fresh()];
const config = {
  ...{ model_type: "llama", vocab_size: 258, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2 },
  ...{
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    tie_word_embeddings: false,
  },
  ...{ bos_token_id: 256, eos_token_id: 257 },
};
const model = models.decoder(models.architecture(config));
let params: Params;

beforeAll(async () => {
  using _ = await init({ backend: "cpu" });
  params = tree.map(model.init(random.key(1)), (leaf, path) =>
    leaf.rank === 2 ? random.normal(random.key(1).fold(path), leaf.shape).mul(0.5) : leaf,
  ) as Params;
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const entries = Object.fromEntries(tree.entries(await tree.evaluate(params)));
  await safetensors.write(join(folder, "model.safetensors"), entries);
  writeFileSync(join(broken, "config.json"), JSON.stringify(config));
  const last = await tree.evaluate(entries["model.norm.weight"]!.mul(Number.NaN));
  await safetensors.write(join(broken, "model.safetensors"), { ...entries, "model.norm.weight": last });
  writeFileSync(join(narrow, "config.json"), JSON.stringify({ ...config, vocab_size: 100 }));
  const module = "base_model.model.model.layers.0.self_attn.q_proj";
  await safetensors.write(join(foreign, "adapter_model.safetensors"), {
    [`${module}.lora_A.weight`]: await tree.evaluate(zeros([2, 32])),
    [`${module}.lora_B.weight`]: await tree.evaluate(zeros([32, 2])),
  });
  const about = { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q_proj"] };
  writeFileSync(join(foreign, "adapter_config.json"), JSON.stringify(about));
});

const plain = ["--model", folder, "--tokenizer", "bytes", "--backend", "cpu", "--max-tokens", "6"];

describe("lorantz generate", () => {
  test("prints what the library generates", async () => {
    const { code, stdout } = await lorantz("generate", ...plain, "--json", "ab", "c");
    expect(code).toBe(0);
    using _ = await init({ backend: "cpu" });
    const loaded = await models.load(folder);
    const { encode, decode } = text.bytes();
    const made = await models.complete(loaded.model, loaded.params, [encode("ab"), encode("c")], {
      ...{ maxTokens: 6, stopTokens: [257], decode },
    });
    expect(JSON.parse(stdout)).toEqual(made.map((own, i) => ({ prompt: ["ab", "c"][i], ...own })));
  });

  test("prints one text as it comes, behind its prompt, and begins one without a prompt", async () => {
    const all = JSON.parse((await lorantz("generate", ...plain, "--json", "ab")).stdout);
    const { code, stdout } = await lorantz("generate", ...plain, "ab");
    expect({ code, stdout }).toEqual({ code: 0, stdout: `ab${all[0].text}\n` });
    expect((await lorantz("generate", ...plain)).code).toBe(0);
  });

  test.each([
    [["--model", "nowhere"], "nowhere: there is no such folder"],
    [[], "generate: --model DIR is missing"],
    [["--model", tmpdir()], "there is no file config.json"],
    [[...plain, "--temperature", "hot"], '--temperature is "hot"; it is a finite number >= 0'],
    [[...plain, "--temperature=-1"], '--temperature is "-1"; it is a finite number >= 0'],
    [[...plain, "--top-p", "2"], '--top-p is "2"; it is a number > 0 and <= 1'],
    [[...plain, "--min-p", "0"], '--min-p is "0"; it is a number > 0 and <= 1'],
    [[...plain, "--top-k", "0"], '--top-k is "0"; it is an integer >= 1'],
    [[...plain, "--repetition-penalty", "0"], '--repetition-penalty is "0"; it is a finite number > 0'],
    [[...plain, "--stop", ""], '--stop is ""; it is a text that is not empty'],
    [
      [...plain, "a".repeat(64)],
      "the longest prompt has 65 tokens, and 6 more do not fit into the 64 positions",
    ],
    [[...plain, "--adapter", foreign], "the adapter is of another model. Of its 1 modules, 1 do not fit"],
    [[...plain, "--model", narrow], "the tokenizer has ids up to 257, and the model a vocabulary of 100"],
    [[...plain, "--model", broken, "ab"], "The parameter model.norm.weight is not finite itself"],
    [[...plain, "--chat", "Hello"], "the tokenizer has no chat template"],
    [[...plain.slice(0, -1), "64", "ab"], "and 64 more do not fit into the 64 positions"],
  ])("refuses %j", async (args, message) => {
    const { code, stdout, stderr } = await lorantz("generate", ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(stdout).toBe("");
  });
});

describe("lorantz inspect", () => {
  test("counts what there is, what LoRA trains, and what it takes", async () => {
    const { code, stdout } = await lorantz("inspect", folder, "--r", "2", "--json");
    expect(code).toBe(0);
    const found = JSON.parse(stdout);
    const elements = tree.entries(params).map(([path, { size }]) => [path, size] as const);
    const total = (keep: (path: string) => boolean) =>
      elements.reduce((sum, [path, size]) => sum + (keep(path) ? size : 0), 0);
    expect(found.parameters).toEqual({
      total: total(() => true),
      embeddings: 258 * 16,
      blocks: total((path) => path.startsWith("model.layers.")),
      output: 258 * 16,
    });
    expect(found.stored).toEqual({ bytes: 4 * total(() => true), dtypes: { F32: total(() => true) } });
    const adapted = lora.inject(model, { r: 2, alpha: 2, targetModules: "all-linear" });
    expect(found.adapters.parameters).toBe(lora.trainableCount(adapted.init(random.key(0), params)));
    expect(found.adapters.layers).toEqual(
      Object.fromEntries(["q", "k", "v", "o", "gate", "up", "down"].map((name) => [`${name}_proj`, 2])),
    );
    const text = await lorantz("inspect", folder, "--targets", "q_proj,v_proj");
    expect(text.stdout).toContain("2 q_proj, 2 v_proj");
    expect(text.stdout).toContain("llama: 2 blocks of width 16");
  });

  test.each([
    [["inspect"], "takes the folder of one model; given 0"],
    [["inspect", folder, "--targets", "query"], "target query matches no layer"],
    [["inspect", folder, "--targets", "q_proj,"], "it is a list such as q_proj,v_proj"],
    [["inspect", tmpdir()], "there is no file config.json"],
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await lorantz(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });

  test.each([
    ["llama", { ...config, num_hidden_layers: 3, hidden_size: 32 }],
    ["gpt2", { model_type: "gpt2", vocab_size: 300, n_embd: 32, n_layer: 3, n_head: 4, n_positions: 64 }],
  ])("estimates the memory of a step of %s to a third", async (_, given) => {
    using _device = await init({ backend: "cpu" });
    const own = models.decoder(models.architecture(given));
    const adapted = lora.inject(own, { r: 2, alpha: 2, targetModules: "all-linear" });
    const [trained, frozen] = lora.partition(
      tree.map(adapted.init(random.key(0)), ({ shape }) => zeros(shape)),
    );
    const loss = languageLoss(adapted);
    const step = compile(
      (trained: Params, frozen: Params, tokens: Tensor<"int32">, targets: Tensor<"int32">) =>
        valueAndGrad((trained: Params) => {
          const terms = loss(tree.combine<Params>(frozen, trained), { tokens, targets }, {});
          return "count" in terms ? terms.sum : terms;
        })(trained),
    );
    const ids = zeros([2, 64], { dtype: "int32" });
    const { intermediates } = await step.plan(trained, frozen, ids, ids);
    const estimate = models.stepBytes(own.architecture, { batch: 2, length: 64 });
    expect(estimate / intermediates).toBeGreaterThan(3 / 4);
    expect(estimate / intermediates).toBeLessThan(4 / 3);
  });
});
