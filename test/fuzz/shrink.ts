import { isFloat } from "../../src/base/dtype.ts";
import { numel, type Shape } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { Tensor } from "../../src/index.ts";
import { type Graph, isPlain, type Leaf, makeLeaf, prune, runStep, type Values } from "./case.ts";

// Makes a failing graph smaller while it still fails, in whatever way it fails.

/** Everything that is one thing less, the largest steps first. */
async function* smaller(graph: Graph): AsyncGenerator<Graph> {
  const { outputs, steps, leaves, mode } = graph;
  if (outputs.length > 1) for (const output of outputs) yield { ...graph, outputs: [output] };
  if (mode.run !== "together") yield { ...graph, mode: { ...mode, run: "together", donate: false } };
  if (mode.donate) yield { ...graph, mode: { ...mode, donate: false } };
  for (const gradient of [0, 1] as const)
    if (gradient < mode.gradient) yield { ...graph, mode: { ...mode, gradient } };
  // Values in the place of what made them.
  for (const step of steps) {
    for (const leaf of await leavesOf(graph, step.id).catch(() => []))
      yield {
        ...graph,
        leaves: [...leaves.filter(({ id }) => id !== leaf.id), leaf],
        steps: steps.filter((other) => other !== step),
      };
  }
  // Shorter axes: a length is that of leaves and of arguments alike.
  const lengths = new Set(leaves.flatMap(({ shape }) => shape).filter((length) => length > 1));
  for (const length of lengths) {
    for (const shorter of [1, 2, Math.ceil(length / 2)]) {
      if (shorter < length) yield withLength(graph, length, shorter);
    }
  }
  const change = (leaf: Leaf, values: readonly number[]): Graph => ({
    ...graph,
    leaves: leaves.map((other) => (other === leaf ? { ...leaf, values } : other)),
  });
  for (const leaf of leaves) {
    for (const value of [0, 1])
      if (leaf.values.some((other) => other !== value))
        yield change(
          leaf,
          leaf.values.map(() => value),
        );
    if (isFloat(leaf.dtype as "float32") && leaf.values.some((value) => !Number.isInteger(value)))
      yield change(leaf, leaf.values.map(Math.round));
  }
}

function withLength(graph: Graph, length: number, shorter: number): Graph {
  const swap = (part: unknown): unknown => {
    if (part === length) return shorter;
    if (Array.isArray(part)) return part.map(swap);
    return isPlain(part)
      ? Object.fromEntries(Object.entries(part).map(([key, value]) => [key, swap(value)]))
      : part;
  };
  const leaves = graph.leaves.map((leaf): Leaf => {
    const shape = swap(leaf.shape) as Shape; // of the same rank
    return {
      ...leaf,
      shape,
      values: leaf.values.slice(0, Math.max(numel(shape), leaf.dtype === "key" ? 1 : 0)),
    };
  });
  return { ...graph, leaves, steps: graph.steps.map((step) => ({ ...step, args: step.args.map(swap) })) };
}

/** What a step makes, as a leaf of its name; nothing where it makes anything but one tensor. */
async function leavesOf(graph: Graph, id: string): Promise<Leaf[]> {
  const values: Values = new Map(graph.leaves.map((leaf) => [leaf.id, makeLeaf(leaf)]));
  for (const step of graph.steps) {
    runStep(step, values);
    if (step.id === id) break;
  }
  const value = values.get(id);
  if (!(value instanceof Tensor) || (value.dtype === "number" && value.rank > 0)) return [];
  const [found] = await referenceValues([value]);
  return [{ id, dtype: value.dtype, shape: value.shape, values: [...found!] }];
}

/** The smallest graph that was found to fail. */
export async function shrink(
  graph: Graph,
  fails: (graph: Graph) => Promise<boolean>,
  most = 200,
): Promise<Graph> {
  let best = prune(graph);
  if (!(await fails(best))) return graph;
  for (let tries = 0, found = true; found; ) {
    found = false;
    for await (const candidate of smaller(best)) {
      if (++tries > most) return best;
      const pruned = prune(candidate);
      const failing = await fails(pruned).catch(() => false);
      if (!failing) continue;
      best = pruned;
      found = true;
      break;
    }
  }
  return best;
}
