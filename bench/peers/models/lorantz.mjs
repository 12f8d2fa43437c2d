// Lorantz in a process of its own: `node lorantz.mjs '{ "work": ..., "folder": ... }'`.
import { join } from "node:path";
import { init, random, tensor, tree, zeros } from "../../../dist/index.js";
import { safetensors } from "../../../dist/io/index.js";
import * as lora from "../../../dist/lora/index.js";
import * as models from "../../../dist/models/index.js";
import { languageLoss, train } from "../../../dist/train/index.js";
import { serve } from "./child.mjs";
import { idsOf, prompt, recipe } from "./work.mjs";

const {
  work,
  folder,
  targets,
  batch,
  length,
  remat = false,
  pack,
  backend = "cpu",
} = JSON.parse(process.argv[2]);
const start = performance.now();
const device = await init({ backend });
const works = { train: training, decode, load, read };
await works[work]();

async function training() {
  const loaded = await models.load(folder, { remat, ...(pack && { pack }) });
  const { vocabulary } = loaded.model.architecture;
  const held = device.liveBytes;
  const adapted = lora.inject(loaded.model, { r: recipe.r, alpha: recipe.alpha, targetModules: targets });
  const file = await safetensors.open(join(folder, "adapters.safetensors"));
  const params = adapted.init(random.key(1), loaded.params);
  const first = new Map();
  for (const name of file.names) first.set(name, await file.read(name));
  const placed = tree.map(params, (leaf, path) => first.get(path) ?? leaf);
  const rows = Array.from({ length: batch }, (_, i) => idsOf(vocabulary, length + 1, i));
  const of = (from) =>
    tensor(Int32Array.from(rows.flatMap((row) => row.slice(from, from + length))), {
      shape: [batch, length],
      dtype: "int32",
    });
  const data = { tokens: of(0), targets: of(1) };
  const run = train({ params: placed, loss: languageLoss(adapted), recipe, batches: () => data, steps: 1e6 });
  const plan = await run.plan(data);
  const steps = run[Symbol.asyncIterator]();
  const before = process.cpuUsage();
  const losses = [(await steps.next()).value.loss];
  const { user, system } = process.cpuUsage(before);
  const firstStep = (user + system) / 1000;
  for (let i = 0; i < 2; i++) losses.push((await steps.next()).value.loss);
  const bound = plan.inputs + plan.intermediates + plan.results;
  await serve({
    answer: losses,
    run: () => steps.next(),
    more: { firstStep, weights: held, bound, activations: plan.intermediates },
  });
}

async function decode() {
  const { model, params } = await models.load(folder, pack ? { pack } : {});
  const tokens = [];
  let going = models.generate(model, params, [prompt], { maxTokens: 480 });
  for (let i = 0; i < 12; i++) tokens.push((await going.next()).value.token);
  const held = device.liveBytes;
  await serve({
    answer: tokens,
    run: async () => {
      for (let i = 0; i < 8; i++)
        if ((await going.next()).done) going = models.generate(model, params, [prompt], { maxTokens: 480 });
    },
    more: { weights: held },
  });
}

async function load() {
  const once = async () => {
    const { params } = await models.load(folder);
    const held = device.liveBytes;
    tree.dispose(params);
    return held;
  };
  const held = await once();
  await serve({ answer: [], run: once, more: { weights: held, started: performance.now() - start } });
}

/** How fast this machine reads memory: the sum of 512 MiB. */
async function read() {
  const x = await tree.evaluate(zeros([2 ** 27]), device);
  const once = async () => {
    const sum = x.sum();
    await sum.item();
    sum.dispose();
  };
  await once();
  await serve({ answer: [], run: once, more: { bytes: 2 ** 29 } });
}
