import { random, scalar, type Tensor, tensor, tree } from "lorantz";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import { train } from "lorantz/train";
import type { Experiment } from "./experiment.ts";

// What the two runs learn: a frozen model, batches by the number of the update, a loss, and what one looks at.

export interface Batch {
  readonly x: Tensor;
  readonly y: Tensor;
}

/** What is looked at beside numbers. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue from 0 to 1, row by row. */
  readonly pixels: readonly number[];
}

export interface Task {
  readonly base: nn.Layer;
  /** The frozen parameters. */
  readonly params: nn.Params;
  batch(update: number): Batch;
  loss(output: Tensor, target: Tensor): Tensor;
  /** The singular values that the change of the weight at a path needs, where they are known. */
  readonly needed?: Readonly<Record<string, readonly number[]>>;
  /** What a model has learned, to be looked at; and what it should be. */
  readonly look?: {
    readonly target: Picture;
    picture(output: Tensor): Promise<Picture>;
    readonly input: Tensor;
  };
}

/** Progress of what is made before the first update, from 0 to 1. */
export type Progress = (share: number) => void;

export async function taskOf({ task, seed, teacher }: Experiment, progress: Progress): Promise<Task> {
  return task === "linear" ? linear(seed, teacher) : picture(seed, progress);
}

const width = 32;

/** A frozen layer, and targets of one that differs from it by a matrix of a given rank with falling singular values. */
async function linear(seed: number, rank: number): Promise<Task> {
  const key = random.key(seed).fold("linear teacher");
  const base = nn.linear(width, width, { bias: false });
  const params = base.init(key.fold("base"));
  const values = Array.from({ length: Math.min(rank, width) }, (_, i) => 2 / (1 + i));
  const [u, v] = await Promise.all([
    orthonormal(key.fold("u"), values.length),
    orthonormal(key.fold("v"), values.length),
  ]);
  const change = u.mul(tensor(values)).matmul(v.transpose());
  const weight = (params as { readonly weight: Tensor }).weight.add(change);
  await tree.evaluate([params, weight]);
  return {
    base,
    params,
    batch: (update) => {
      const x = random.normal(key.fold("batch").fold(update), [64, width]);
      return { x, y: x.matmul(weight.transpose()) };
    },
    loss: nn.mseLoss,
    needed: { "": values },
  };
}

/** `[width, count]` with orthonormal columns, by Gram and Schmidt, twice. */
async function orthonormal(key: random.Key, count: number): Promise<Tensor> {
  const drawn = await random.normal(key, [count, width]).data();
  const rows: Float64Array[] = [];
  for (let i = 0; i < count; i++) {
    const row = Float64Array.from(drawn.subarray(i * width, (i + 1) * width));
    for (const other of [...rows, ...rows]) {
      const along = other.reduce((sum, value, j) => sum + value * row[j]!, 0);
      other.forEach((value, j) => {
        row[j]! -= along * value;
      });
    }
    const length = Math.hypot(...row);
    rows.push(row.map((value) => value / length));
  }
  return tensor(Array.from({ length: width }, (_, j) => rows.map((row) => row[j]!)));
}

const side = 28;

/** A network that has learned one picture, and is to learn another that has much in common with it. */
async function picture(seed: number, progress: Progress): Promise<Task> {
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
    loss: (params, { x, y }) => nn.mseLoss(base.apply(params, x), y),
    batches: () => ({ x, y: before! }),
    optimizer: optim.adam({ lr: 0.01 }),
    steps,
  });
  for await (const event of run) if (event.kind === "step") progress(event.step / steps);
  return {
    base,
    params: run.params,
    batch: () => ({ x, y: after! }),
    loss: nn.mseLoss,
    look: {
      target: image("moon"),
      input: x,
      picture: async (output) => {
        const values = await output.data();
        return {
          width: side,
          height: side,
          pixels: Array.from(values, (value) => Math.min(1, Math.max(0, value))),
        };
      },
    },
  };
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
