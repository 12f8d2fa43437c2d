import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openEngine } from "../../src/experiments/oracle/engine.ts";
import { runOracle } from "../../src/experiments/oracle/run.ts";
import { safetensors } from "../../src/io/index.ts";
import * as models from "../../src/models/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { tensor } from "../../src/tensor/creation.ts";
import { isPacked, pack, unpack } from "../../src/tensor/packed.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { scratch } from "../scratch.ts";

const { root, fresh } = scratch("models-load");
let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const llama = {
  ...{ model_type: "llama", vocab_size: 19, hidden_size: 16, intermediate_size: 20, num_hidden_layers: 1 },
  ...{
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  },
};
const gpt2 = { model_type: "gpt2", vocab_size: 19, n_embd: 16, n_layer: 1, n_head: 2, n_positions: 16 };
const tokens = tensor([[3, 1, 4, 1]], { dtype: "int32" });

interface Made {
  readonly folder: string;
  readonly entries: Record<string, Tensor>;
  readonly logits: number[];
}

/** A folder with a checkpoint of random weights, changed before it is written. */
async function make(
  config: object,
  change: (entries: Record<string, Tensor>) => Record<string, Tensor> = (entries) => entries,
): Promise<Made> {
  const folder = fresh();
  const model = models.decoder(models.architecture(config));
  const params = await tree.evaluate(model.init(random.key(1)));
  const entries = Object.fromEntries(
    tree
      .entries(params)
      .map(([path, leaf]) => [
        path,
        leaf.rank === 2 && models.isTransposed(model.architecture, path) ? leaf.transpose() : leaf,
      ]),
  );
  const written = change(entries);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  await safetensors.write(join(folder, "model.safetensors"), written);
  return { folder, entries: written, logits: [...(await model.apply(params, { tokens }).logits.data())] };
}

async function logitsOf(folder: string, options: models.LoadOptions = {}): Promise<number[]> {
  const { model, params } = await models.load(folder, options);
  return [...(await model.apply(params, { tokens }).logits.data())];
}

describe("a checkpoint", () => {
  test("has its logits, to the bit", async () => {
    const { folder, logits } = await make(llama);
    expect(await logitsOf(folder)).toEqual(logits);
  });

  test("of a GPT-2 lies in x out, may lack its prefix, and may hold masks", async () => {
    const { folder, logits } = await make(gpt2, (entries) => ({
      ...Object.fromEntries(
        Object.entries(entries).map(([name, leaf]) => [name.replace("transformer.", ""), leaf]),
      ),
      "h.0.attn.bias": tensor([1]),
    }));
    expect(await logitsOf(folder)).toEqual(logits);
  });

  test("in another dtype is rounded once", async () => {
    const { folder, entries } = await make(llama);
    const { params } = await models.load(folder, { dtype: "float64" });
    for (const [path, leaf] of tree.entries(params)) {
      expect(leaf.dtype).toBe("float64");
      expect([...(await leaf.data())]).toEqual([...(await entries[path]!.data())]);
    }
  });

  test.each(["nf4", "bfloat16"] as const)(
    "is packed to %s as it is read, and computes as what it unpacks to",
    async (format) => {
      for (const config of [llama, gpt2]) {
        const { folder } = await make(config);
        const { model, params } = await models.load(folder, { pack: format });
        const dense = await models.load(folder);
        const packedPaths: string[] = [];
        const unpacked = (part: unknown, path: string): unknown => {
          if (isPacked(part)) {
            packedPaths.push(path);
            return unpack(part);
          }
          if (typeof part !== "object" || part === null || "node" in part) return part;
          return Object.fromEntries(
            Object.entries(part).map(([name, inner]) => [
              name,
              unpacked(inner, path ? `${path}.${name}` : name),
            ]),
          );
        };
        const plain = unpacked(params, "") as typeof params;
        const all = tree.entries(dense.params).filter(([, leaf]) => leaf.rank === 2);
        const blocks = all.filter(([path]) => /\.(layers|h)\.0\./.test(path));
        expect(packedPaths.sort()).toEqual(all.map(([path]) => path).sort());
        for (const [path, { dtype }] of tree.entries(params))
          if (dtype === "bfloat16")
            expect(format === "nf4" && blocks.some(([name]) => path.startsWith(name)), path).toBe(false);
        const [one, other] = [model.apply(params, { tokens }).logits, model.apply(plain, { tokens }).logits];
        expect([...(await one.data())]).toEqual([...(await other.data())]);
        const [path, leaf] = blocks[0]!;
        const found = tree.entries(plain).find(([name]) => name === path)![1];
        expect([...(await found.data())]).toEqual([...(await unpack(pack(leaf, { format })).data())]);
      }
    },
  );

  test("becomes a classifier with a new output, or one that it has", async () => {
    const { folder } = await make(llama);
    const { model, params, notes } = await models.load(folder, { labels: 3 });
    const last = tensor([[3]], { dtype: "int32" });
    const { logits } = model.apply(params, { tokens, at: last });
    expect(logits.shape).toEqual([1, 1, 3]);
    expect(notes).toEqual(["score.weight is not in the checkpoint; it starts at random."]);
    expect(model.output).toBe("score");

    const weight = random.normal(random.key(4), [2, 16]);
    const has = await make({ ...llama, architectures: ["LlamaForSequenceClassification"] }, (entries) => ({
      ...entries,
      "score.weight": weight,
    }));
    const loaded = await models.load(has.folder);
    expect(loaded.notes).toEqual([]);
    const { hidden, logits: scores } = loaded.model.apply(loaded.params, { tokens });
    const expected = await hidden.matmul(weight.transpose()).data();
    (await scores.data()).forEach((score, i) => {
      expect(score).toBeCloseTo(expected[i]!, 5);
    });
  });
});

describe("what is no checkpoint is refused", () => {
  test("with what is missing, unknown, or of another shape, by name", async () => {
    const norm = "model.layers.0.input_layernorm.weight";
    const { folder } = await make(llama, ({ [norm]: _, ...entries }) => ({
      ...entries,
      "model.norm.weight": tensor([1, 2]),
      "model.layers.1.mlp.up_proj.weight": tensor([1]),
    }));
    await expect(models.load(folder)).rejects.toThrow(
      `3 tensors are not those of the llama that config.json describes: ${norm} is missing; model.norm.weight is [2], expected [16]; model.layers.1.mlp.up_proj.weight is unknown.`,
    );
  });

  test("a folder without a configuration, without weights, or that is none", async () => {
    const empty = join(root, "empty");
    mkdirSync(empty);
    await expect(models.load(empty)).rejects.toThrow("there is no file config.json");
    writeFileSync(join(empty, "config.json"), JSON.stringify(llama));
    await expect(models.load(empty)).rejects.toThrow("model.safetensors");
    writeFileSync(join(empty, "pytorch_model.bin"), "PK");
    await expect(models.load(empty)).rejects.toThrow("pytorch_model.bin is a pickle");
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1044984\n";
    writeFileSync(join(empty, "model.safetensors"), pointer);
    await expect(models.load(empty)).rejects.toThrow("git lfs pull");
    await expect(models.load(join(root, "nowhere"))).rejects.toThrow("nowhere");
    await expect(models.load(empty, { config: { model_type: "bert" } })).rejects.toThrow(
      'model_type is "bert"',
    );
    await expect(models.load(empty, { precision: 8 } as models.LoadOptions)).rejects.toThrow(
      "no option precision",
    );
  });
});

describe("references of a checkpoint", () => {
  test("pass as they are, and fail where a number is another one", async () => {
    const { folder, logits } = await make(llama);
    const ids = [3, 1, 4, 1];
    const golden = (changed: number) => ({
      ...{ format: 1, kind: "llama_golden", prompts: [] },
      losses: [{ name: "text", ids, predicted: 3, loss: meanLoss(logits, ids) + changed }],
    });
    const references = join(root, "references");
    mkdirSync(references);
    const engine = await openEngine("cpu", "float32");
    const run = async (content: object) => {
      writeFileSync(join(references, "golden.json"), JSON.stringify(content));
      writeFileSync(join(references, "config.json"), "{}");
      return runOracle(references, engine, () => {}, folder);
    };
    expect(await run(golden(0))).toMatchObject({ passed: 1, failed: 0, skipped: 0 });
    expect(await run(golden(0.01))).toMatchObject({ passed: 0, failed: 1 });
    engine.dispose();
  });
});

function meanLoss(logits: readonly number[], ids: readonly number[]): number {
  const losses = ids.slice(1).map((id, i) => {
    const row = logits.slice(i * 19, (i + 1) * 19);
    return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[id]!;
  });
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}

const shared = new URL("../../../shared/", import.meta.url).pathname;
if (!existsSync(shared)) console.warn("references of real checkpoints: skipped, there is no ../shared");

describe.skipIf(!existsSync(shared))("real checkpoints", () => {
  test.each(["float64", "float32"] as const)(
    "have every intermediate value of gpt_nano_sort in %s",
    async (dtype) => {
      const engine = await openEngine("cpu", dtype);
      const folder = join(shared, "models/gpt_nano_sort");
      const report = await runOracle(folder, engine, () => {}, folder);
      expect(report.failures).toEqual([]);
      expect(report.passed).toBe(1);
      engine.dispose();
    },
  );
});
