// A training in a process of its own, which test/train/resume.test.ts kills: prints a line before each checkpoint, and at its
// end the hash of the trajectory and of the parameters.
import { existsSync, writeSync } from "node:fs";
import { Hash } from "../src/base/hash.ts";
import { init, random, tree } from "../src/index.ts";
import * as lora from "../src/lora/index.ts";
import * as nn from "../src/nn/index.ts";
import { batches, bytes, dataset } from "../src/text/index.ts";
import { inFolder, loadCheckpoint, nextToken, train } from "../src/train/index.ts";

const [, , folder = ".", steps = "24"] = process.argv;
await init({ backend: "cpu", threads: 1 });
const lines = Array.from({ length: 23 }, (_, i) =>
  JSON.stringify({ prompt: `${i}+${i}=`, completion: `${2 * i}` }),
);
const data = await dataset(new File([lines.join("\n")], "sums.jsonl"), { tokenizer: bytes(), maxLength: 16 });
const [learned, heldOut] = data.split(0.2);
const recipe = {
  r: 2,
  alpha: 4,
  dropout: 0.1,
  optimizer: { name: "adamw", lr: 1e-2 },
  schedule: { kind: "warmupCosine", warmup: 3, total: "end" },
  clip: { kind: "globalNorm", maxNorm: 1 },
} as const;
const base = nn.sequential({
  embedding: nn.embedding(258, 8),
  hidden: nn.linear(8, 16),
  act: nn.activation("gelu"),
  output: nn.linear(16, 258),
});
const model = lora.inject(base, { ...recipe, targetModules: ["hidden", "output"] });
const last = `${folder}/last.safetensors`;
const save = inFolder(folder);
const run = train({
  params: model.init(random.key(1)) as nn.Params,
  loss: (params: nn.Params, { tokens, targets }, context) =>
    nextToken(model.apply(params, tokens, context), targets),
  recipe,
  batches: await batches(learned, { size: 3, seed: 5, lengths: [12] }),
  accumulate: 2,
  steps: Number(steps),
  key: random.key(2),
  evaluate: { batches: await batches(heldOut, { size: 3, lengths: [12] }), every: 4 },
  checkpoint: {
    every: 2,
    save: (name, checkpoint) => {
      writeSync(1, `${name} ${checkpoint.done}\n`);
      return save(name, checkpoint);
    },
  },
  ...(existsSync(last) && { resume: await loadCheckpoint(last) }),
});
await run.toEnd();
const hash = new Hash();
for (const leaf of tree.leaves([run.params, run.state])) hash.add(Float64Array.from(await leaf.data()));
writeSync(
  1,
  `end ${run.hash} ${hash} ${run.losses.length} ${run.evaluations.map(({ loss }) => loss).join(" ")}\n`,
);
