import { ValueError } from "../base/errors.ts";
import type { Params } from "../nn/layer.ts";
import { isPacked } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";

// What is merged into a weight cannot be read off its values, and taking off what is not in it makes another weight. So
// weights that were given adapters, merged or unmerged are remembered as long as they live; of others (read from a file,
// the result of a compiled function) nothing is known, and the caller is believed.

/** An adapter that is in a weight: its name, and its `loraB`. */
interface Merged {
  readonly name: string;
  readonly change: WeakRef<Tensor>;
}

const merges = new WeakMap<Tensor, readonly Merged[]>();

/** The tensor that stands for a weight. */
function markOf({ weight }: Params): Tensor | undefined {
  return weight instanceof Tensor ? weight : isPacked(weight) ? weight.like : undefined;
}

function mergedInto(params: Params): readonly Merged[] | undefined {
  const mark = markOf(params);
  return mark && merges.get(mark);
}

function remember(params: Params, merged: readonly Merged[]): void {
  const mark = markOf(params);
  if (mark) merges.set(mark, merged);
}

/** Remembers that nothing more is in a weight than was known. */
export function rememberBase(params: Params): void {
  remember(params, mergedInto(params) ?? []);
}

/**
 * Remembers that a weight is another one with some adapters.
 *
 * @throws ValueError for an adapter that is in it already.
 */
export function rememberMerge(
  before: Params,
  after: Params,
  changes: readonly (readonly [name: string, loraB: Tensor])[],
  path: string,
): void {
  rememberBase(before);
  const there = mergedInto(before) ?? [];
  for (const [name, loraB] of changes) {
    if (there.some(({ change }) => change.deref() === loraB))
      throw new ValueError(
        `lora.merge: ${adapter(name)} is merged into the weight of ${path || "the model"} already; once more would add its change twice. Pass the parameters from before, or unmerge first.`,
      );
  }
  remember(after, [...there, ...changes.map(([name, loraB]) => ({ name, change: new WeakRef(loraB) }))]);
}

/**
 * Remembers that a weight is another one without some adapters.
 *
 * @throws ValueError for an adapter that is known not to be in it.
 */
export function rememberUnmerge(before: Params, after: Params, names: readonly string[], path: string): void {
  const there = mergedInto(before);
  remember(after, there ? without(there, names, path) : []);
}

function without(there: readonly Merged[], names: readonly string[], path: string): readonly Merged[] {
  const left = [...there];
  for (const name of [...names].reverse()) {
    const at = left.map((other) => other.name).lastIndexOf(name);
    if (at < 0) {
      const others = there.map((other) => adapter(other.name)).join(" and ");
      throw new ValueError(
        `lora.unmerge: ${adapter(name)} is not merged into the weight of ${path || "the model"}${others && `, but ${others}`}; taking it off makes another weight. Pass what merge returned.`,
      );
    }
    left.splice(at, 1);
  }
  return left;
}

function adapter(name: string): string {
  return name === "" ? "the adapter" : `the adapter ${JSON.stringify(name)}`;
}
