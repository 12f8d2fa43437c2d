import { random, scalar, type Tensor, tensor, tree } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import { train } from "lorantz/train";
import { learnerOf } from "./learner.ts";
import type { Batch, Picture, Progress, Task } from "./tasks.ts";

const side = 28;

/** A network that has learned one picture, and is to learn another that has much in common with it. */
export async function picture(seed: number, progress: Progress): Promise<Task> {
  const key = random.key(seed).fold("picture");
  const base = nn.mlp([32, 48, 48, 3], { activation: (x) => x.tanh() });
  const points = Array.from({ length: side * side }, (_, i) => [
    (2 * (i % side)) / (side - 1) - 1,
    (2 * Math.floor(i / side)) / (side - 1) - 1,
  ]);
  // Waves in random directions, so that a small network sees fine detail.
  const directions = await random.normal(key.fold("waves"), [2, 16]).mul(scalar(2)).toArray();
  const waves = tensor(points).matmul(tensor(directions as number[][]));
  const { x } = await tree.evaluate({ x: tensor(await both(waves)) });
  const [before, after] = [image("sun"), image("moon")].map(
    ({ pixels }) => tensor(pixels as number[]).reshape([side * side, 3]) as Tensor,
  );
  const steps = 150;
  const run = train<nn.Params, Batch>({
    params: base.init(key.fold("base")),
    loss: (params, { x, y }) => nn.mseLoss(base.apply(params, x!), y!),
    batches: () => ({ x, y: before! }),
    optimizer: optim.adam({ lr: 0.01 }),
    steps,
  });
  for await (const event of run) if (event.kind === "step") progress(event.step / steps);
  const params = run.params;
  return {
    params,
    learner: learnerOf(base, params, (model) => async (params) => ({
      picture: pictureOf(await model.apply(params, x).data()),
    })),
    batch: () => ({ x, y: after! }),
    target: { picture: image("moon") },
  };
}

function pictureOf(values: ArrayLike<number>): Picture {
  const pixels = Array.from(values, (value) => Math.min(1, Math.max(0, value)));
  return { width: side, height: side, pixels };
}

/** Sine and cosine side by side. */
async function both(waves: Tensor): Promise<number[][]> {
  const rows = (await waves.toArray()) as number[][];
  return rows.map((row) => [...row.map(Math.sin), ...row.map(Math.cos)]);
}

/** A disc over a slope by day, and by night a crescent at another place. */
function image(which: "sun" | "moon"): Picture {
  const pixels: number[] = [];
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++) {
      const [x, y] = [(2 * column) / (side - 1) - 1, (2 * row) / (side - 1) - 1];
      const hill = y > 0.45 + 0.25 * Math.sin(3 * x + 1);
      const inside = (cx: number, cy: number, radius: number) => Math.hypot(x - cx, y - cy) < radius;
      const sun = inside(-0.3, -0.3, 0.38);
      const moon = inside(0.35, -0.35, 0.4) && !inside(0.15, -0.45, 0.36);
      if (which === "sun")
        pixels.push(...(hill ? [0.2, 0.55, 0.25] : sun ? [1, 0.8, 0.2] : [0.45, 0.7, 0.95]));
      else pixels.push(...(hill ? [0.08, 0.2, 0.25] : moon ? [0.95, 0.95, 0.8] : [0.08, 0.1, 0.3]));
    }
  return { width: side, height: side, pixels };
}
