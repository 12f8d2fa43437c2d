import { random, type Tensor, tensor, tree } from "lorantz";
import * as nn from "lorantz/nn";
import { learnerOf } from "./learner.ts";
import type { Task } from "./tasks.ts";

const width = 32;

/** A frozen layer, and targets of one that differs from it by a matrix of a given rank with falling singular values. */
export async function linear(seed: number, rank: number): Promise<Task> {
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
    params,
    learner: learnerOf(base, params),
    batch: (update) => {
      const x = random.normal(key.fold("batch").fold(update), [64, width]);
      return { x, y: x.matmul(weight.transpose()) };
    },
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
