// An adapter in llama.cpp beside Lorantz: node bench/peers/models/adapter-in-llama.mjs MODEL ADAPTER, both of them folders. MODEL is a
// Llama. It writes both as GGUF, as `lorantz adapter convert` does, and prints how far the probabilities of the next token are apart.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import * as adapters from "../../../dist/adapters/index.js";
import { init, tensor, tree } from "../../../dist/index.js";
import * as models from "../../../dist/models/index.js";
import { writeGguf } from "./make.mjs";
import { idsOf } from "./work.mjs";

const [, , from, ...places] = process.argv;
if (from === undefined || places.length === 0) {
  process.stderr.write("Usage: node bench/peers/models/adapter-in-llama.mjs MODEL ADAPTER [ADAPTER ...]\n");
  process.exit(2);
}
await init({ backend: "cpu" });
const { model, params, config } = await models.load(from);
const { vocabulary } = model.architecture;
const folder = mkdtempSync(join(tmpdir(), "lorantz-llama-"));
const path = join(folder, "model.gguf");
await writeGguf(path, { rope_theta: 10000, ...config }, Object.fromEntries(tree.entries(params)));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
const theirModel = await llama.loadModel({ modelPath: path });
const ids = idsOf(vocabulary, 12);

async function ours(model, params) {
  const tokens = tensor(Int32Array.from(ids), { shape: [1, ids.length], dtype: "int32" });
  const at = tensor([[ids.length - 1]], { dtype: "int32" });
  return model.apply(params, { tokens, at }).logits.reshape([vocabulary]).softmax(-1).data();
}

async function theirs(lora) {
  const context = await theirModel.createContext({ contextSize: 256, ...(lora && { lora }) });
  const last = [ids.at(-1), { generateNext: { probabilities: true } }];
  const seen = await context.getSequence().controlledEvaluate([...ids.slice(0, -1), last]);
  const found = new Float64Array(vocabulary);
  for (const [token, share] of seen.at(-1).next.probabilities) found[token] = share;
  await context.dispose();
  return found;
}

const apart = (a, b) => Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]))).toExponential(1);
const plain = await ours(model, params);
const say = (name, ...facts) => process.stdout.write(`${name}: ${facts.join(", ")}\n`);
say("without an adapter", `apart by ${apart(plain, await theirs())}`);
for (const place of places) {
  const adapter = await adapters.open(place, { base: config });
  const adapted = adapters.inject(model, params, adapter);
  const [name] = await adapters.write(folder, adapter, "gguf", { base: config });
  const own = await ours(adapted.model, adapted.params);
  say(
    place,
    `apart by ${apart(own, await theirs(join(folder, name)))}`,
    `it changes them by ${apart(own, plain)}`,
  );
}
rmSync(folder, { recursive: true });
process.exit(0);
