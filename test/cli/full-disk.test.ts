import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { safetensors } from "../../src/io/index.ts";
import * as models from "../../src/models/index.ts";
import { init } from "../../src/runtime/init.ts";
import { ones } from "../../src/tensor/creation.ts";
import * as random from "../../src/tensor/random.ts";
import * as tree from "../../src/tensor/tree.ts";
import { bundle, root } from "../command.ts";
import { scratch } from "../scratch.ts";

// Commands whose files find no room: the system lets a process of its own write so many blocks of 512 bytes to a file.

const { root: folder, fresh } = scratch("full-disk");
const program = join(folder, "dist", "cli", "main.mjs");
const config = {
  ...{ model_type: "llama", vocab_size: 258, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256 },
};
const [base, adapter, data] = [fresh(), fresh(), join(folder, "data.jsonl")];

beforeAll(async () => {
  mkdirSync(dirname(program), { recursive: true });
  copyFileSync(`${root}package.json`, join(folder, "package.json")); // has the version
  writeFileSync(program, await bundle(`${root}src/cli/main.ts`));
  using _ = await init({ backend: "cpu" });
  const model = models.decoder(models.architecture(config));
  const params = await tree.evaluate(model.init(random.key(0)));
  writeFileSync(join(base, "config.json"), JSON.stringify(config));
  await safetensors.write(join(base, "model.safetensors"), Object.fromEntries(tree.entries(params)));
  const path = "base_model.model.model.layers.0.self_attn.q_proj";
  await safetensors.write(join(adapter, "adapter_model.safetensors"), {
    [`${path}.lora_A.weight`]: await tree.evaluate(ones([4, 16])),
    [`${path}.lora_B.weight`]: await tree.evaluate(ones([16, 4])),
  });
  writeFileSync(
    join(adapter, "adapter_config.json"),
    JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8, target_modules: ["q_proj"] }),
  );
  writeFileSync(data, '{"text":"once"}\n'.repeat(8));
}, 120_000);

function limited(blocks: number, ...args: string[]) {
  const command = `ulimit -f ${blocks}; exec "$@"`;
  return spawnSync("sh", ["-c", command, "sh", process.execPath, program, ...args], { encoding: "utf8" });
}

/** With room enough. */
function done(...args: string[]): void {
  const { status, stderr } = limited(4096, ...args);
  expect(status, stderr).toBe(0);
}

describe.skipIf(process.platform === "win32")("where no room is left", () => {
  const commands: readonly (readonly [file: string, args: (out: string) => string[]])[] = [
    ["model.safetensors", (out) => ["merge", base, adapter, "--out", out]],
    ["adapters.safetensors", (out) => ["adapter", "convert", adapter, "--to", "mlx", "--out", out]],
  ];
  test.each(commands)("%s of a folder is as it was, and named", { timeout: 60_000 }, (file, args) => {
    const out = fresh();
    writeFileSync(join(out, file), "precious");
    const { status, stderr } = limited(1, ...args(out));
    expect(stderr).toContain(
      `${join(out, file)}: cannot be written (it may not become that large). Make room or give another path; nothing was changed.`,
    );
    expect(status).toBe(1);
    expect(readdirSync(out)).toEqual([file]);
    expect(readFileSync(join(out, file), "utf8")).toBe("precious");
    done(...args(out));
    expect(readFileSync(join(out, file), "latin1")).not.toBe("precious");
  });

  test("a training names its checkpoint, and leaves no part of it", { timeout: 120_000 }, () => {
    const out = join(fresh(), "out");
    const tune = [
      ...["tune", "--model", base, "--tokenizer", "bytes", "--data", data, "--backend", "cpu"],
      ...["--batch", "2", "--max-length", "8", "--steps", "2", "--out", out],
    ];
    const training = join(out, "training");
    const { status, stderr } = limited(4, ...tune);
    expect(stderr).toContain(
      `${join(training, "last.safetensors")}: cannot be written (it may not become that large)`,
    );
    expect(status).toBe(1);
    expect(existsSync(training)).toBe(false);
    done(...tune);
    expect(existsSync(join(training, "last.safetensors"))).toBe(true);
  });
});
