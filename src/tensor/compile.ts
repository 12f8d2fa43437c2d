import type { DeviceBuffer } from "../backend/backend.ts";
import { DisposedError, ValueError } from "../base/errors.ts";
import { describe } from "../base/shape.ts";
import { flattenTree, mapTree, pathName, treeStructure } from "../base/tree.ts";
import { canonicalise } from "../compile/canonical.ts";
import { compileGraph } from "../compile/compile.ts";
import { printProgram } from "../compile/print.ts";
import { evaluateHost } from "../graph/evaluate.ts";
import { elements, isHost, literal, makeNode, type Node, nodeCount, topological } from "../graph/node.ts";
import type { Device, Loaded } from "../runtime/device.ts";
import { evaluateNodes, newBuffer } from "../runtime/evaluate.ts";
import { defaultDevice } from "../runtime/init.ts";
import { storageOf, TensorStorage } from "../runtime/storage.ts";
import { checkSynchronous, refuseWhileTracing, whileTracing } from "../runtime/tracing.ts";
import { Tensor } from "./tensor.ts";

export interface CompileOptions {
  /** Arguments, by position, whose buffers the results may take over; the caller's tensors are then gone. */
  readonly donate?: readonly number[];
  /** Default: the device of the latest `init` at each call. */
  readonly device?: Device;
}

/** Arguments as callers may give them: a number wherever the function takes a host number. Trees of any keys stay as they are. */
export type Argument<T> =
  T extends Tensor<"number">
    ? T | number
    : T extends Tensor
      ? T
      : string extends keyof T
        ? T
        : T extends readonly unknown[] | { readonly [key: string]: unknown }
          ? { readonly [K in keyof T]: Argument<T[K]> }
          : T;

/** A function pinned to programs, one for each structure, shape and dtype of its arguments. */
export interface Compiled<A extends readonly unknown[], R> {
  (...args: { [K in keyof A]: Argument<A[K]> }): Promise<R>;
  /** How often the function was traced: once for each signature. */
  readonly traces: number;
  /**
   * Does beforehand what the first call with such arguments would have to do: trace, plan, compile, and run the
   * program once on results that are thrown away, as software drivers compile when a kernel first runs. Takes what a
   * call takes, donates nothing, and resolves when the device is done. Only structures, shapes and dtypes matter:
   * where the real arguments are not there yet, `zeros` of their shapes do.
   *
   * @throws As a call does.
   * @example
   * await step.warmup(params, state, zeros([32, 16]), zeros([32, 4]));
   */
  warmup(...args: { [K in keyof A]: Argument<A[K]> }): Promise<void>;
  /** What the latest call or warm-up ran: kernels as text, generated code, bytes of intermediates. */
  inspect(): Inspection;
}

export interface Inspection {
  /** Kernels in order with what they read and write. */
  readonly schedule: string;
  readonly kernels: number;
  /** Generated code of each kernel, in the language of the backend. */
  readonly sources: readonly string[];
  /** Bytes held for intermediate values. */
  readonly bytes: number;
}

interface Trace {
  readonly loaded: Loaded;
  /** For each input of the program: the position of the leaf in the arguments, or a captured buffer. */
  readonly inputs: readonly (number | Node)[];
  readonly scalars: readonly Node[];
  /** The results: a leaf is an output of the program, a host number, or an argument handed through. */
  readonly result: unknown;
  readonly outputs: readonly Node[];
  /** Arguments that are handed through: they keep their buffers, donated or not. */
  readonly kept: ReadonlySet<number>;
}

/**
 * Compiles a function of trees of tensors to one program: it is traced once for each structure, shape and dtype
 * of its arguments, and each call is one submit. Numbers in the arguments are inputs, so that learning rates
 * and step counts change freely. Tensors the function captures are inputs too; captured values that are not
 * computed yet are computed once, when it is traced.
 *
 * @throws DisposedError when a donated tensor is used again; ValueError for arguments that are no trees.
 * @example
 * const step = compile((w: Tensor, rate: Tensor<"number">) => w.sub(w.mul(rate)), { donate: [0] });
 * w = await step(w, 0.1);
 */
export function compile<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  const { donate = [] } = options;
  for (const position of donate) {
    if (!Number.isInteger(position) || position < 0)
      throw new ValueError(`compile: donate names argument ${position}; positions are integers >= 0.`);
  }
  const traces = new Map<Device, Map<string, Promise<Trace>>>();
  let count = 0;
  let latest: Loaded | undefined;

  /** Checks the arguments, and makes the program for them if it is new. */
  const prepare = async (args: readonly unknown[]): Promise<Ready> => {
    const device = options.device ?? defaultDevice();
    const leaves = flattenTree(args, isLeaf, "compile: argument");
    for (const { leaf, path } of leaves)
      if (typeof leaf !== "number" && leaf.node.operation.kind === "buffer") checkLeaf(leaf, path);
    await evaluateNodes(
      leaves.flatMap(({ leaf }) => (typeof leaf === "number" ? [] : [leaf.node])),
      device,
    );
    const donated = donatedLeaves(leaves, donate);
    checkDistinct(leaves, donated);
    const signature = `${treeStructure(args, isLeaf)} ${leaves.map(({ leaf }) => (typeof leaf === "number" ? "number[]" : describe(leaf))).join()}`;
    const ofDevice = traces.get(device) ?? new Map<string, Promise<Trace>>();
    traces.set(device, ofDevice);
    let traced = ofDevice.get(signature);
    if (!traced) {
      count++;
      traced = trace(f, args, donate, device);
      ofDevice.set(signature, traced);
      traced.catch(() => ofDevice.delete(signature));
    }
    const ready = await traced;
    latest = ready.loaded;
    return { traced: ready, leaves: leaves.map(({ leaf }) => leaf), donated, device };
  };

  const call = (...args: readonly unknown[]): Promise<R> => {
    refuseWhileTracing(nested);
    return prepare(args).then(async (ready) => {
      const result = run(ready);
      await ready.device.settle();
      return result as R; // the tree that f returned, with values
    });
  };

  const compiled = Object.assign(call as Compiled<A, R>, {
    warmup(...args: readonly unknown[]): Promise<void> {
      refuseWhileTracing(nested);
      return prepare(args).then(rehearse);
    },
    inspect(): Inspection {
      if (!latest) throw new ValueError("inspect: the function has not run yet. Call it once first.");
      const { program, executable } = latest;
      return {
        schedule: printProgram(program),
        kernels: program.kernels.length,
        sources: executable.sources,
        bytes: executable.bytes,
      };
    },
  });
  // Object.assign would read the count now.
  return Object.defineProperty(compiled, "traces", { get: () => count });
}

const nested =
  "compile: a compiled function was called while another one is traced. Call the plain function there: it becomes part of the one program.";

type Leaf = Tensor | number;

const isLeaf = (value: unknown): value is Leaf => value instanceof Tensor || typeof value === "number";

interface LeafAt {
  readonly leaf: Leaf;
  readonly path: readonly (string | number)[];
}

/** A donated buffer is overwritten while the program runs: nothing else may be it. */
function checkDistinct(leaves: readonly LeafAt[], donated: ReadonlyMap<number, string>): void {
  const owner = new Map<Node, number>();
  leaves.forEach(({ leaf, path }, i) => {
    if (typeof leaf === "number" || leaf.node.operation.kind !== "buffer") return;
    const other = owner.get(leaf.node);
    owner.set(leaf.node, i);
    if (other === undefined || !(donated.has(i) || donated.has(other))) return;
    const [first, second] = [pathName(leaves[other]!.path), pathName(path)];
    throw new ValueError(
      `compile: arguments ${first} and ${second} are one tensor, and it is donated. Donate distinct tensors, or do not donate it.`,
    );
  });
}

function checkLeaf(leaf: Tensor, path: readonly (string | number)[]): void {
  try {
    storageOf(leaf.node).check();
  } catch (error) {
    if (error instanceof DisposedError)
      throw new DisposedError(`compile: argument ${pathName(path)}: ${error.message}`);
    throw error;
  }
}

function donatedLeaves(leaves: readonly LeafAt[], donate: readonly number[]): Map<number, string> {
  return new Map(
    leaves.flatMap(({ path }, i) =>
      donate.includes(Number(path[0]))
        ? [[i, `donated (argument ${pathName(path)} of a compiled function)`]]
        : [],
    ),
  );
}

async function trace(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  donate: readonly number[],
  device: Device,
): Promise<Trace> {
  const placeholders: Node[] = [];
  const before = nodeCount();
  const traced = mapTree(args, isLeaf, (leaf) => {
    const [shape, dtype] = typeof leaf === "number" ? [[], "number" as const] : [leaf.shape, leaf.dtype];
    const node = makeNode({ kind: "input", index: placeholders.length }, [], shape, dtype);
    placeholders.push(node);
    return new Tensor(node);
  });
  const result = whileTracing(() => f(...(traced as never[]))); // the structure of the arguments is kept
  checkSynchronous("compile", result);
  const results = flattenTree(result, isLeaf, "compile: of what the function returned,");
  const outputs = [
    ...new Set(results.flatMap(({ leaf }) => (typeof leaf === "number" ? [] : [leaf.node]))),
  ].filter((node) => !isHost(node) && node.operation.kind !== "input");
  // What existed before is captured: computed once, now.
  const captured = topological(outputs, (node) => node.id >= before).filter(
    (node) => node.id < before && !isHost(node),
  );
  await evaluateNodes(captured, device);

  const canonical = canonicalise(outputs, false);
  const position = new Map(placeholders.map((node, i) => [node, i]));
  const inputs = canonical.leaves.map((leaf) => position.get(leaf) ?? leaf);
  const donatedArguments = new Set(
    flattenTree(args, isLeaf).flatMap(({ path }, i) => (donate.includes(Number(path[0])) ? [i] : [])),
  );
  const kept = new Set(
    results.flatMap(({ leaf }) =>
      typeof leaf !== "number" && leaf.node.operation.kind === "input" ? [leaf.node.operation.index] : [],
    ),
  );
  const donated = new Set(
    inputs.flatMap((input, i) =>
      typeof input === "number" && donatedArguments.has(input) && !kept.has(input) ? [i] : [],
    ),
  );
  const key = `${canonical.key}\ndonated ${[...donated].join()}`;
  const loaded = await device.load(key, () =>
    compileGraph(canonical.build(), { target: device.backend.target, inputs: canonical.leaves, donated }),
  );
  return { loaded, inputs, scalars: canonical.scalars, result, outputs, kept };
}

/** A traced function with arguments for one run. */
interface Ready {
  readonly traced: Trace;
  readonly leaves: readonly Leaf[];
  /** Positions of donated leaves, and what to say of them afterwards. */
  readonly donated: ReadonlyMap<number, string>;
  readonly device: Device;
}

/** What the program is given: the leaves as nodes, the buffers of its inputs, and host numbers. */
function operands({ traced, leaves, device }: Ready) {
  const nodes = leaves.map((leaf) => (typeof leaf === "number" ? literal(leaf, true) : leaf.node));
  const hostLeaves = {
    buffer: () => [],
    input: (index: number) => [(nodes[index]!.operation as { value: number }).value], // a host number is a constant once settled
  };
  const inputs = traced.inputs.map((input) =>
    storageOf(typeof input === "number" ? nodes[input]! : input).on(device),
  );
  const scalars = traced.scalars.map((node) => evaluateHost(node, hostLeaves));
  return { nodes, hostLeaves, inputs, scalars };
}

/** Runs the program once on results of its own: donated arguments are only read. */
async function rehearse(ready: Ready): Promise<void> {
  const { traced, device } = ready;
  const { inputs, scalars } = operands(ready);
  const results = traced.outputs.map((node) => outputStorage(node, newBuffer(device, node)));
  try {
    device.run(
      traced.loaded,
      inputs,
      results.map((storage) => storage.on(device)),
      scalars,
    );
    await device.backend.finish();
  } finally {
    for (const storage of results) storage.dispose();
  }
}

function run(ready: Ready): unknown {
  const { traced, donated, device } = ready;
  const { loaded, kept } = traced;
  const { replaces } = loaded.program;
  // Whatever may fail comes before anything is given away.
  const { nodes, hostLeaves, inputs, scalars } = operands(ready);
  const fresh = traced.outputs.map((node, i) =>
    replaces[i] === undefined ? outputStorage(node, newBuffer(device, node)) : undefined,
  );
  // From here on donated tensors are gone, also those whose buffers nobody takes over.
  const given = new Map<number, DeviceBuffer>();
  for (const [i, reason] of donated) {
    const node = nodes[i]!;
    if (node.operation.kind === "buffer" && !kept.has(i)) given.set(i, storageOf(node).take(device, reason));
  }
  const storages = traced.outputs.map((node, i) => {
    if (fresh[i]) return fresh[i];
    const argument = traced.inputs[replaces[i]!] as number; // only arguments are donated
    const buffer = given.get(argument)!;
    given.delete(argument);
    return outputStorage(node, { device, buffer });
  });
  device.run(
    loaded,
    inputs,
    storages.map((storage) => storage.on(device)),
    scalars,
  );
  for (const buffer of given.values()) device.free(buffer);

  const settled = new Map(
    traced.outputs.map((node, i) => [
      node,
      new Tensor(makeNode({ kind: "buffer", storage: storages[i]! }, [], node.shape, node.dtype)),
    ]),
  );
  return mapTree(traced.result, isLeaf, (leaf) => {
    if (typeof leaf === "number") return leaf;
    const { node } = leaf;
    if (node.operation.kind === "input") return new Tensor(nodes[node.operation.index]!);
    if (isHost(node)) return new Tensor(literal(evaluateHost(node, hostLeaves), true));
    return settled.get(node);
  });
}

function outputStorage(
  node: Node,
  place: { readonly device: Device; readonly buffer: DeviceBuffer },
): TensorStorage {
  return new TensorStorage(node.dtype, elements(node), place);
}
