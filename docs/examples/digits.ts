// Digits by convolution: seven-row glyphs somewhere in a noisy square, two convolutions, a pool, a linear layer. The picture
// shows digits that the network had not seen, and what it takes them for.
//
//   npm run example digits

import { compile, init, random, relu, type Tensor, tensor, valueAndGrad } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import type { Picture } from "./picture.ts";

/** Five columns and seven rows each, a number a row. */
const glyphs = [
  [14, 17, 19, 21, 25, 17, 14],
  [4, 12, 4, 4, 4, 4, 14],
  [14, 17, 1, 2, 4, 8, 31],
  [31, 2, 4, 2, 1, 17, 14],
  [2, 6, 10, 18, 31, 2, 2],
  [31, 16, 30, 1, 1, 17, 14],
  [6, 8, 16, 30, 17, 17, 14],
  [31, 1, 2, 4, 8, 8, 8],
  [14, 17, 17, 14, 17, 17, 14],
  [14, 17, 17, 15, 1, 2, 12],
].map((rows) => rows.map((bits) => Array.from({ length: 5 }, (_, column) => (bits >> (4 - column)) & 1)));

const side = 12;

/** Glyphs at every place where they fit: `[10, places, side, side]`. */
const placed = glyphs.map((glyph) =>
  Array.from({ length: (side - 6) * (side - 4) }, (_, place) => {
    const [top, left] = [Math.floor(place / (side - 4)), place % (side - 4)];
    return Array.from({ length: side }, (_, y) =>
      Array.from({ length: side }, (_, x) => glyph[y - top]?.[x - left] ?? 0),
    );
  }),
);

export async function digits({ steps = 300, batch = 32, shown = 12 } = {}) {
  await init();
  const all = tensor(placed);
  const draw = (key: random.Key, count: number) => {
    const classes = random.randint(key.fold("class"), [count], { max: 10 });
    const places = random.randint(key.fold("place"), [count], { max: placed[0]!.length });
    const noise = random.normal(key.fold("noise"), [count, side, side], { std: 0.25 });
    return { images: all.at(classes, places).get().add(noise).reshape([count, 1, side, side]), classes };
  };

  const { conv2d, maxPool2d } = nn.functional;
  const start = (key: random.Key) => ({
    one: random.normal(key.fold("one"), [16, 1, 3, 3], { std: 1 / 3 }),
    two: random.normal(key.fold("two"), [24, 16, 3, 3], { std: 1 / 12 }),
    head: random.normal(key.fold("head"), [24 * 16, 10], { std: 0.05 }),
  });
  type Params = ReturnType<typeof start>;
  const logits = ({ one, two, head }: Params, x: Tensor) => {
    const low = relu(conv2d(x, one, undefined, { padding: 1 }));
    const high = maxPool2d(relu(conv2d(low, two, undefined, { padding: 1 })), 3);
    return high.reshape([-1, 24 * 16]).matmul(head);
  };

  const optimizer = optim.adam({ lr: 3e-3 });
  const step = compile(
    (params: Params, state: optim.OptimizerState, i: Tensor<"number">) => {
      const { images, classes } = draw(random.key(1).fold(i), batch);
      const [value, gradients] = valueAndGrad((p: Params) => nn.crossEntropy(logits(p, images), classes))(
        params,
      );
      const [updates, next] = optimizer.update(gradients, state, params);
      return { params: optim.applyUpdates(params, updates) as Params, state: next, value };
    },
    { donate: [0, 1] },
  );
  let params = start(random.key(0));
  let state = optimizer.init(params);
  let first = Number.NaN;
  for (let i = 0; i < steps; i++) {
    const result = await step(params, state, i);
    ({ params, state } = result);
    if (i === 0) first = await result.value.item();
  }

  const { images, classes } = draw(random.key(2), 40 * shown);
  const guesses = logits(params, images).argmax(1);
  const accuracy = await guesses.eq(classes).astype("float32").mean().item();
  const names = await guesses.toArray();
  const pixels = (await images.at([0, shown], 0).get().toArray()) as number[][][];
  const picture: Picture = {
    title: "Digits, and what the network takes them for",
    data: {
      values: pixels.flatMap((rows, i) =>
        rows.flatMap((row, y) =>
          row.map((ink, x) => ({
            which: `${String(i + 1).padStart(2)}: ${(names as number[])[i]}`,
            x,
            y,
            ink,
          })),
        ),
      ),
    },
    facet: { field: "which", type: "nominal", title: null },
    columns: 6,
    spec: {
      width: 90,
      height: 90,
      mark: "rect",
      encoding: {
        x: { field: "x", type: "ordinal", axis: null },
        y: { field: "y", type: "ordinal", axis: null },
        color: { field: "ink", type: "quantitative", legend: null, scale: { scheme: "greys" } },
      },
    },
  };
  return { figures: { first, accuracy }, picture };
}

export default digits;
