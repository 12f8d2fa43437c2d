import { Hash } from "../../base/hash.ts";

/** Something to be computed: plain data that says all of it, and a name that follows from what matters of it. */
export interface Cell<T = unknown> {
  readonly key: string;
  readonly task: T;
}

/** Computes a task. What comes out depends on the task alone, and is plain data. */
export type Work<T, R> = (task: T, onProgress: OnProgress) => Promise<R>;

/** Called on the way with the work done, all work, and what is being done; may throw to end it. */
export type OnProgress = (done: number, total: number, what: string) => Promise<void>;

/**
 * The key of plain data: a letter and 16 hexadecimal digits, equal where the data is, in whatever order fields stand. It may be
 * the name of a file and of a job anywhere.
 *
 * @example
 * keyOf({ seed: 0, recipe: { r: 8 } }) === keyOf({ recipe: { r: 8 }, seed: 0 }); // true
 */
export function keyOf(data: unknown): string {
  return `c${new Hash().add(canonicalJson(data))}`;
}

/** JSON with the fields of objects in order. */
export function canonicalJson(data: unknown): string {
  return JSON.stringify(data, (_, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
}

/**
 * The part of some cells that belongs to one of several machines: they share out the keys, in whatever order these come, and
 * no cell is in two parts.
 */
export function shardOf<C extends Cell>(cells: readonly C[], shard: Shard): readonly C[] {
  const order = [...cells].sort((a, b) => (a.key < b.key ? -1 : 1));
  return order.filter((_, i) => i % shard.of === shard.number - 1);
}

/** One of several machines, from 1. */
export interface Shard {
  readonly number: number;
  readonly of: number;
}
