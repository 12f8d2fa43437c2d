import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { Hash } from "../base/hash.ts";
import { describe } from "../base/shape.ts";
import type { Recipe } from "../gauge/index.ts";
import { type FileSource, load, save } from "../io/index.ts";
import type { Optimizer, OptimizerState } from "../optim/optimizer.ts";
import type { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import type { CheckpointName, EvaluationEvent } from "./events.ts";

/** What a run is of, as far as plain data says it: a checkpoint of another one is refused. */
export type Setup = { readonly [name: string]: unknown };

/** Where a run stands: a tree that `lorantz/io` saves and loads. */
export interface Checkpoint {
  readonly kind: typeof kind;
  readonly setup: Setup;
  /** Updates done. */
  readonly done: number;
  readonly hash: string;
  readonly losses: readonly number[];
  readonly evaluations: readonly EvaluationEvent[];
  /** The parameters that are trained. */
  readonly trained: unknown;
  readonly state: OptimizerState;
  /** A hash of all that is above: a file that was damaged is not gone on from. */
  readonly sum: string;
}

const kind = "lorantz checkpoint 2";

/** A checkpoint of these parts. */
export async function checkpointOf(parts: Omit<Checkpoint, "kind" | "sum">): Promise<Checkpoint> {
  return { kind, ...parts, sum: await sumOf(parts) };
}

async function sumOf(parts: Omit<Checkpoint, "kind" | "sum">): Promise<string> {
  const { setup, done, hash, losses, evaluations, trained, state } = parts;
  const sum = new Hash().add(JSON.stringify([setup, done, hash, losses, evaluations]));
  for (const [path, leaf] of tree.entries({ trained, state }))
    sum.add(`${path} ${describe(leaf)}`).addWords(await leaf.data());
  return sum.toString();
}

/** Puts a checkpoint away. It is done when the promise resolves. */
export type Save = (name: CheckpointName, checkpoint: Checkpoint) => Promise<void>;

/**
 * Saves checkpoints as `last.safetensors` and `best.safetensors` in a folder, each beside its place first and then renamed.
 *
 * @example
 * const run = train({ ...options, checkpoint: { every: 100, save: inFolder("run") } });
 */
export function inFolder(path: string): Save {
  return (name, checkpoint) => save(`${path}/${name}.safetensors`, checkpoint);
}

/**
 * The checkpoint that a file holds, for `resume`.
 *
 * @throws ValueError for a file that holds something else or was damaged, LorantzError for what cannot be read.
 */
export async function loadCheckpoint(from: FileSource): Promise<Checkpoint> {
  const found = await load(from);
  const name = typeof from === "string" ? from : "the file";
  if (!isPlainObject(found) || typeof found.kind !== "string" || !/^lorantz checkpoint \d+$/.test(found.kind))
    throw new ValueError(`train: ${name} is no checkpoint of a training; it holds ${show(found)}.`);
  if (found.kind !== kind)
    throw new ValueError(
      `train: ${name} is a "${found.kind}", and this version goes on from a "${kind}". Start anew, or take the version that wrote it.`,
    );
  const checkpoint = found as unknown as Checkpoint; // as its sum says
  const sum = await sumOf(checkpoint).catch(() => undefined); // what was damaged may be no tree
  if (sum === undefined || sum !== checkpoint.sum)
    throw new ValueError(`train: ${name} is damaged: what it holds is not what was written. Start anew.`);
  return checkpoint;
}

/** What there is to say of a run. */
export interface SetupOf {
  readonly steps: number;
  readonly accumulate: number;
  readonly recipe: Recipe | undefined;
  readonly optimizer: Optimizer;
  readonly key: Key;
  readonly data: string | undefined;
  readonly evaluation: { readonly [name: string]: unknown } | undefined;
  readonly about: Setup | undefined;
  readonly trained: unknown;
  readonly frozen: unknown;
}

/** Each tensor of a tree with its shape and dtype. */
const shapesOf = (of: unknown) => tree.entries(of).map(([path, leaf]) => `${path} ${describe(leaf)}`);

/** The setup of a run as plain data. An optimizer is its name and hyperparameters; schedules of its own are not seen. */
export async function setupOf(run: SetupOf): Promise<Setup> {
  const { steps, accumulate, recipe, optimizer, key, data, evaluation, about, trained, frozen } = run;
  const words = await Promise.all(key.words.map((node) => new Tensor(node).item()));
  const plain = {
    steps,
    accumulate,
    ...(recipe ? { recipe } : { optimizer: { name: optimizer.name, ...hypersOf(optimizer, trained) } }),
    key: words.join(" "),
    data,
    evaluation,
    about,
    trained: shapesOf(trained),
    frozen: await fingerprintOf(frozen),
  };
  return JSON.parse(JSON.stringify(plain)) as Setup; // what is undefined is left out, here and there
}

/** What tells frozen parameters from others, the values of all of them too; one tensor at a time is read. */
async function fingerprintOf(frozen: unknown): Promise<Setup> {
  const shapes = shapesOf(frozen);
  const values = new Hash();
  for (const leaf of tree.leaves(frozen)) values.addWords(await leaf.data());
  return {
    tensors: shapes.length,
    shapes: new Hash().add(shapes.join("\n")).toString(),
    values: values.toString(),
  };
}

/** The hyperparameters of an optimizer, each different set by the first path that has it. */
function hypersOf(optimizer: Optimizer, trained: unknown): { readonly [path: string]: unknown } {
  const found = new Map<string, string>();
  for (const [path] of tree.entries(trained)) {
    const hyper = JSON.stringify(optimizer.hyper(path));
    if (!found.has(hyper)) found.set(hyper, path);
  }
  return Object.fromEntries([...found].map(([hyper, path]) => [path, JSON.parse(hyper) as unknown]));
}

/** @throws ValueError that lists what differs between the setup of a checkpoint and that of a run. */
export function checkSetup(there: Setup, here: Setup): void {
  const [left, right] = [leavesOf(there), leavesOf(here)];
  const differing = [...new Set([...left.keys(), ...right.keys()])].filter(
    (name) => left.get(name) !== right.get(name),
  );
  if (differing.length === 0) return;
  const say = (value: string | undefined) => (value === undefined ? "not there" : value);
  const list = differing
    .slice(0, 8)
    .map((name) => `${name} is ${say(left.get(name))} in the checkpoint and ${say(right.get(name))} now`);
  const more = differing.length > 8 ? `; and ${differing.length - 8} more` : "";
  throw new ValueError(
    `train: the checkpoint is of another run: ${list.join("; ")}${more}. Resume with what it was made with, or start anew.`,
  );
}

/** The leaves of plain data by their paths, as texts. */
function leavesOf(data: unknown, path = ""): Map<string, string> {
  if (typeof data !== "object" || data === null) return new Map([[path, JSON.stringify(data)]]);
  return new Map(
    Object.entries(data).flatMap(([name, child]) => [
      ...leavesOf(child, path === "" ? name : `${path}.${name}`),
    ]),
  );
}
