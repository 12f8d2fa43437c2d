import { type FloatDType, isFloat } from "../../src/base/dtype.ts";

import { numel } from "../../src/base/shape.ts";
import { type Node, type Storage, topological } from "../../src/graph/node.ts";
import { compile, type Device, grad, Tensor, tensor, tree } from "../../src/index.ts";
import { storageOf } from "../../src/runtime/storage.ts";
import { type Arithmetic, bound, compare } from "./bounds.ts";
import { type Graph, isForCallers, type Leaf, type Mode, makeLeaf, runStep, type Values } from "./case.ts";

// Runs a graph on a device and holds what comes out against the bounds.

/** A device under test. */
export interface Target {
  readonly name: string;
  readonly device: Device;
  readonly arithmetic: Arithmetic;
}

/** Nodes of a graph that are compiled: of larger ones each takes seconds, in which hundreds of others find more. */
const mostNodes = 4000;
/** Elements of all values of a graph, and products of its matrices, that the evaluator is asked for. */
const mostWork = 1_000_000;

function isTooLarge(roots: readonly Node[]): boolean {
  const nodes = topological(roots);
  if (nodes.length > mostNodes) return true;
  const work = nodes.reduce((sum, { operation, inputs, shape }) => {
    const inner = operation.kind === "matmul" ? inputs[0]!.shape.at(-1)! : 1;
    return sum + numel(shape) * inner;
  }, 0);
  return !(work < mostWork);
}

export interface Verdict {
  /** More than the evaluator can be asked for. */
  readonly tooLarge?: boolean;
  /** Elements compared, and elements in all. */
  readonly judged: number;
  readonly elements: number;
  /** What is wrong, if anything is. */
  readonly fault: string | undefined;
}

export type Build = (leaves: readonly unknown[]) => readonly Tensor[];

/** Builds what a graph describes on other leaves. */
export function buildOf({ leaves, steps, outputs }: Graph): Build {
  return (given) => {
    const values: Values = new Map(leaves.map(({ id }, i) => [id, given[i]]));
    for (const step of steps) runStep(step, values);
    return outputs.map((id) => values.get(id) as Tensor);
  };
}

export const isFloatTensor = (x: unknown): x is Tensor<FloatDType> =>
  x instanceof Tensor && isFloat(x.dtype) && x.dtype !== "number";

/** A sum with other factors for each element, so that nothing cancels by symmetry. */
export function weighted(tensors: readonly Tensor[]): Tensor | undefined {
  let total: Tensor | undefined;
  for (const [i, x] of tensors.entries()) {
    if (!isFloatTensor(x)) continue;
    const size = numel(x.shape);
    const factors = tensor(
      Float32Array.from({ length: size }, (_, j) => (((i + 1) * (j + 3) * 5) % 13) / 8 - 0.75),
      { shape: x.shape, dtype: x.dtype },
    );
    const sum = x.mul(factors).sum().astype("float32") as Tensor;
    total = total ? total.add(sum) : sum;
  }
  return total;
}

/** The outputs of a graph, followed by the gradients that the mode asks for. */
function withGradients(build: Build, gradient: Mode["gradient"]): Build {
  if (gradient === 0) return build;
  return (leaves) => {
    const floats = leaves.filter(isFloatTensor);
    const on = (given: readonly Tensor[]) => {
      const rest = [...given];
      return build(leaves.map((leaf) => (isFloatTensor(leaf) ? rest.shift() : leaf)));
    };
    const outputs = on(floats);
    if (floats.length === 0 || !outputs.some(isFloatTensor)) return outputs;
    const first = grad((given: readonly Tensor[]) => weighted(on(given))!);
    const slopes = first(floats);
    if (gradient === 1) return [...outputs, ...slopes];
    const second = grad((given: readonly Tensor[]) => weighted(first(given))!);
    return [...outputs, ...slopes, ...second(floats)];
  };
}

/** The values of all settled nodes of a graph. */
export async function settledValues(nodes: readonly Node[]) {
  const settled = new Map<Storage, ArrayLike<number>>();
  for (const { operation } of topological(nodes))
    if (operation.kind === "buffer" && !settled.has(operation.storage))
      settled.set(operation.storage, await storageOf({ operation } as Node).read());
  return { buffer: (storage: Storage) => settled.get(storage)!, input: () => [] };
}

function brokenShape(tensors: readonly Tensor[]): string | undefined {
  const bad = tensors.find((x) => x.shape.some((length) => !Number.isInteger(length) || length < 0));
  return bad && `a result has the shape [${bad.shape.join(",")}]`;
}

const words = (error: unknown) =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);

/** Runs a graph once in its mode. */
export async function judge(
  leaves: readonly Leaf[],
  plain: Build,
  mode: Mode,
  { device, arithmetic }: Target,
): Promise<Verdict> {
  const none = { judged: 0, elements: 0 };
  const build = withGradients(plain, mode.gradient);
  let expected: ReturnType<typeof bound>;
  let reference: readonly Tensor[] = [];
  try {
    reference = build(leaves.map(makeLeaf));
    const broken = brokenShape(reference);
    if (broken) return { ...none, fault: broken };
    const nodes = reference.map((x) => x.node);
    if (isTooLarge(nodes)) return { ...none, tooLarge: true, fault: undefined };
    expected = bound(nodes, await settledValues(nodes), arithmetic);
  } catch (error) {
    if (reference.length === 0 || !isForCallers(error))
      return { ...none, fault: `building throws ${words(error)}` };
    // A number of the host that is known only when a program runs is refused then.
    const refused = await run(leaves, build, mode, device).then(() => false, isForCallers);
    return { ...none, fault: refused ? undefined : `running does not throw ${words(error)}` };
  }
  let results: readonly Tensor[] = [];
  let judged = 0;
  let elements = 0;
  try {
    results = await run(leaves, build, mode, device);
    for (const [i, result] of results.entries()) {
      const data = await result.data();
      const { at, judged: some } = compare(data, expected[i]!);
      judged += some;
      elements += data.length;
      if (at !== undefined) {
        const { values, errors } = expected[i]!;
        return {
          judged,
          elements,
          fault: `output ${i} of ${results.length}, ${reference[i]!.dtype}[${reference[i]!.shape}]: element ${at} is ${data[at]}, expected ${values[at]}${errors[at] === 0 ? "" : ` within ${errors[at]}`}`,
        };
      }
    }
    return { judged, elements, fault: undefined };
  } catch (error) {
    return { judged, elements, fault: `running throws ${words(error)}` };
  } finally {
    for (const result of results) result.dispose();
  }
}

async function run(
  leaves: readonly Leaf[],
  build: Build,
  { run: how, donate }: Mode,
  device: Device,
): Promise<readonly Tensor[]> {
  if (how !== "compiled") {
    const results = build(leaves.map(makeLeaf));
    if (how === "together") await tree.evaluate(results, device);
    else for (const result of results) await tree.evaluate(result, device);
    return results;
  }
  // Keys are no trees: they are captured.
  const isArgument = ({ dtype }: Leaf) => dtype !== "key";
  const compiled = compile(
    (given: readonly unknown[]) => {
      const rest = [...given];
      return build(leaves.map((leaf) => (isArgument(leaf) ? rest.shift() : makeLeaf(leaf))));
    },
    { device, donate: donate ? [0] : [] },
  );
  const given = () => leaves.filter(isArgument).map((leaf) => makeLeaf(leaf) as Tensor);
  const first = await compiled(given());
  // Whoever donates gets the buffers of the first call again in the second one.
  if (donate) return compiled(given());
  return first;
}
