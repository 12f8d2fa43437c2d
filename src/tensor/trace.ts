import type { RunArguments } from "../backend/backend.ts";
import { DisposedError, ValueError } from "../base/errors.ts";
import type { Later } from "../base/later.ts";
import { describe, numel } from "../base/shape.ts";
import { flattenTree, mapTree, type Path, pathName, treeStructure } from "../base/tree.ts";
import { type Canonical, canonicalise } from "../compile/canonical.ts";
import { compileGraph } from "../compile/compile.ts";
import type { Program } from "../compile/program.ts";
import { meet } from "../graph/cast.ts";
import { evaluateHost } from "../graph/evaluate.ts";
import { checkIndices, markedIndices, withoutViews } from "../graph/indices.ts";
import {
  constant,
  type IndexRange,
  isHost,
  literal,
  makeNode,
  type Node,
  nodeCount,
  topological,
} from "../graph/node.ts";
import type { Device, Loaded } from "../runtime/device.ts";
import { checkNumbers, evaluateNodes, newStorages } from "../runtime/evaluate.ts";
import type { Hold } from "../runtime/hold.ts";
import { boundsOn, type IndexBounds } from "../runtime/indices.ts";
import { storageOf, TensorStorage } from "../runtime/storage.ts";
import { checkSynchronous, whileTracing } from "../runtime/tracing.ts";
import { Key } from "./key.ts";
import { Tensor } from "./tensor.ts";

// The work of `compile`: a function becomes a trace, once for each signature, and a trace runs as one program.

type Leaf = Tensor | number;

/** A tensor or number among the arguments. */
export interface LeafAt {
  readonly leaf: Leaf;
  /** Position of the argument, and the keys in it. */
  readonly path: Path;
  readonly donated: boolean;
}

/** As `0.weight`. */
export const nameOf = ({ path }: Pick<LeafAt, "path">): string => pathName(path);

/** A function as it was traced for one signature. */
export interface Trace {
  /** Names the program, which is made again where the device dropped it. */
  readonly key: string;
  readonly build: () => Program;
  /** The same, kept until it is built. */
  readonly plan: () => Program;
  /** For each input of the program: the position of the leaf in the arguments, or a captured buffer. */
  readonly inputs: readonly (number | Node)[];
  readonly captured: ReadonlySet<Node>;
  readonly scalars: readonly Node[];
  /** The results, as a tree of what gives each: an output of the program, a host number, or an argument handed through. */
  readonly result: unknown;
  /** Of the outputs nothing but that, so that the graph goes once its program is made. */
  readonly outputs: readonly Output[];
  /** The last of the outputs, where the device checks indices. */
  readonly bounds: IndexBounds;
  /** Arguments whose elements are indices, to be checked while the host has them. */
  readonly indices: readonly { readonly argument: number; readonly range: IndexRange }[];
  /** Arguments that are handed through: they keep their buffers, donated or not. */
  readonly kept: readonly number[];
  /** Donated arguments that are not. */
  readonly given: readonly number[];
}

/** An output of a program. */
type Output = Pick<Node, "shape" | "dtype">;

/** Gives a leaf of the results of a run. */
type Give = (from: Finished) => Leaf;

/** A run and what it made. */
interface Finished extends Pick<Operands, "nodes" | "numberOf"> {
  readonly outputs: readonly Tensor[];
}

const isGive = (value: unknown): value is Give => typeof value === "function";

/** A trace with arguments for one run. */
export interface Call {
  readonly trace: Trace;
  readonly leaves: readonly LeafAt[];
  readonly device: Device;
  /** Keeps the arguments, and what was captured, for this call. */
  readonly hold: Hold;
}

const isLeaf = (value: unknown): value is Leaf => value instanceof Tensor || typeof value === "number";

/** Arguments are keys of random numbers too: two words each, which are numbers where the host knows them. */
const isArgument = (value: unknown): value is Leaf | Key => isLeaf(value) || value instanceof Key;

const wordsOf = ({ words }: Key): Leaf[] =>
  words.map((word) => (word.operation.kind === "constant" ? word.operation.value : new Tensor(word)));

const keyOf = ([first, second]: readonly Tensor[]): Key => {
  const word = ({ node }: Tensor) => meet(node, "uint32", "compile: a key");
  return new Key([word(first!), word(second!)]);
};

/**
 * The tensors and numbers among the arguments, keys as their words, in order, and what a trace depends on: equal signatures share one.
 *
 * @throws ValueError for arguments that are no trees.
 */
export function readArguments(
  args: readonly unknown[],
  donate: readonly number[],
): { readonly leaves: readonly LeafAt[]; readonly signature: string } {
  const leaves: LeafAt[] = [];
  const text = (given: Leaf | Key, path: Path) => {
    const add = (leaf: Leaf, donated: boolean) => {
      leaves.push({ leaf, path: [...path], donated });
      return typeOf(leaf);
    };
    if (given instanceof Key) return `key ${wordsOf(given).map((word) => add(word, false))}`;
    return add(given, donate.includes(Number(path[0])));
  };
  return { signature: treeStructure(args, isArgument, text, "compile: argument"), leaves };
}

/** What uses an argument says which one is gone. */
function named<T>(at: LeafAt, use: () => T): T {
  try {
    return use();
  } catch (error) {
    if (error instanceof DisposedError)
      throw new DisposedError(`compile: argument ${nameOf(at)}: ${error.message}`);
    throw error;
  }
}

/**
 * Holds the arguments of a call, and `gives` those away that are donated. Those that have no values yet are computed first, which
 * is to be awaited.
 *
 * @throws DisposedError for tensors that are gone.
 */
export function holdArguments(
  { leaves, device, hold }: Omit<Call, "trace">,
  gives: boolean,
): Promise<void> | undefined {
  const keep = (at: LeafAt, node: Node) => {
    named(at, () => hold.keep(node));
    if (gives && at.donated && node.operation.kind === "buffer")
      hold.close(node, `donated (argument ${nameOf(at)} of a compiled function)`);
  };
  const open: (readonly [LeafAt, Node])[] = [];
  for (const at of leaves) {
    if (typeof at.leaf === "number") continue;
    const { node } = at.leaf;
    const { kind } = node.operation;
    if (kind === "buffer" || (kind === "constant" && node.dtype === "number")) keep(at, node);
    else open.push([at, node]);
  }
  if (open.length === 0) return undefined;
  return evaluateNodes(
    open.map(([, node]) => node),
    device,
  ).then(() => {
    for (const [at, node] of open) keep(at, node);
  });
}

/** What a trace depends on of a tensor or number. */
export function typeOf(leaf: Leaf): string {
  return typeof leaf === "number" ? "number[]" : describe(leaf);
}

/** Calls the function with tensors that have no values, and makes a program of what it returns. */
export async function trace(
  f: (...args: never[]) => unknown,
  args: readonly unknown[],
  leaves: readonly LeafAt[],
  device: Device,
): Promise<Trace> {
  const placeholders: Node[] = [];
  const before = nodeCount();
  const place = (leaf: Leaf): Tensor => {
    const [shape, dtype] = typeof leaf === "number" ? [[], "number" as const] : [leaf.shape, leaf.dtype];
    const node = makeNode({ kind: "input", index: placeholders.length }, [], shape, dtype);
    placeholders.push(node);
    return new Tensor(node);
  };
  const traced = mapTree(args, isArgument, (given) =>
    given instanceof Key ? keyOf(wordsOf(given).map(place)) : place(given),
  );
  const result = whileTracing(() => f(...(traced as never[]))); // the structure of the arguments is kept
  checkSynchronous("compile", result);
  const results = flattenTree(result, isLeaf, "compile: of what the function returned,").flatMap(
    ({ leaf }) => (typeof leaf === "number" ? [] : [leaf.node]),
  );
  const returned = [...new Set(results)].filter((node) => !isHost(node) && node.operation.kind !== "input");
  // What existed before is captured: computed once, now.
  const captured = topological(returned, (node) => node.id >= before).filter(
    (node) => node.id < before && !isHost(node),
  );
  await evaluateNodes(captured, device);

  const bounds = boundsOn(device, returned);
  const outputs = [...returned, ...bounds.nodes];
  const lasting = lastingNumbers();
  const canonical = canonicalise(outputs, false);
  const position = new Map(placeholders.map((node, i) => [node, i]));
  const inputs = canonical.leaves.map((leaf) => position.get(leaf) ?? leaf);
  const kept = new Set(
    results.flatMap(({ operation }) => (operation.kind === "input" ? [operation.index] : [])),
  );
  const donated = new Set(
    inputs.flatMap((input, i) =>
      typeof input === "number" && leaves[input]!.donated && !kept.has(input) ? [i] : [],
    ),
  );
  return {
    key: `${canonical.key}\ndonated ${[...donated].join()}`,
    ...programOf(canonical, donated, device),
    inputs,
    captured: new Set(inputs.filter((input) => typeof input !== "number")),
    scalars: canonical.scalars.map(lasting),
    result: mapTree(result, isLeaf, (leaf): Give => giver(leaf, returned, lasting)),
    outputs: outputs.map(({ shape, dtype }) => ({ shape, dtype })),
    bounds,
    indices: markedIndices(returned).flatMap(({ index, range }) => {
      const { operation } = withoutViews(index);
      return operation.kind === "input" ? [{ argument: operation.index, range }] : [];
    }),
    kept: [...kept],
    given: leaves.flatMap(({ donated }, i) => (donated && !kept.has(i) ? [i] : [])),
  };
}

/** What makes the program of a trace. A function of its own, so that nothing else of the trace is kept with it. */
function programOf(
  { build, leaves: inputs }: Pick<Canonical, "build" | "leaves">,
  donated: ReadonlySet<number>,
  { backend }: Device,
): Pick<Trace, "build" | "plan"> {
  let planned: Program | undefined;
  const make = () => compileGraph(build(), { target: backend.target, inputs, donated });
  return {
    build: () => {
      const program = planned ?? make();
      planned = undefined;
      return program;
    },
    plan: () => {
      planned ??= make();
      return planned;
    },
  };
}

/** What gives a leaf of the results; it holds no graph. */
function giver(leaf: Leaf, returned: readonly Node[], lasting: (number: Node) => Node): Give {
  if (typeof leaf === "number") return () => leaf;
  const { operation, dtype } = leaf.node;
  if (operation.kind === "input") return argument(operation.index);
  if (isHost(leaf.node)) return hostNumber(lasting(leaf.node), dtype);
  return output(returned.indexOf(leaf.node));
}

const output =
  (index: number): Give =>
  ({ outputs }) =>
    outputs[index]!;
const argument =
  (index: number): Give =>
  ({ nodes }) =>
    new Tensor(nodes[index]!);
const hostNumber =
  (node: Node, dtype: Node["dtype"]): Give =>
  ({ numberOf }) =>
    new Tensor(constant(numberOf(node), dtype, true));

/**
 * Host numbers as they are while tracing, in nodes that nobody else has. Whoever asks for the value of one that was captured, such
 * as a random key that is saved, makes it settle on a buffer, which may be given away too; the trace still needs the number.
 */
function lastingNumbers(): (number: Node) => Node {
  const copies = new Map<Node, Node>();
  return (number) => {
    for (const node of topological([number], (node) => !copies.has(node))) {
      const { operation, inputs, shape, dtype } = node;
      if (copies.has(node)) continue;
      if (operation.kind === "constant") copies.set(node, constant(operation.value, dtype, operation.lifted));
      else if (operation.kind === "input") copies.set(node, node);
      else
        copies.set(
          node,
          makeNode(
            operation,
            inputs.map((input) => copies.get(input)!),
            shape,
            dtype,
          ),
        );
    }
    return copies.get(number)!;
  };
}

/** The program of a trace. What awaits it runs it at once. */
export function load({ trace: { key, build }, device }: Call): Later<Loaded> {
  return device.load(key, build);
}

/** What the program is given: the leaves as nodes, the buffers of its inputs, and host numbers. */
function operands({ trace, leaves, device }: Call, loaded: Loaded) {
  const nodes = leaves.map(({ leaf }) => (typeof leaf === "number" ? literal(leaf, true) : leaf.node));
  const numberOf = (node: Node) => evaluateHost(node, hostLeaves(nodes));
  for (const { argument, range } of trace.indices)
    checkIndices(range, storageOf(nodes[argument]!).onHost ?? []);
  // They were there when the call was made, and may have been disposed of meanwhile.
  const inputs = trace.inputs.map((input) =>
    typeof input === "number"
      ? named(leaves[input]!, () => storageOf(nodes[input]!).on(device))
      : storageOf(input).on(device),
  );
  const scalars = trace.scalars.map(numberOf);
  checkNumbers(loaded, scalars);
  return { nodes, numberOf, inputs, scalars };
}

const hostLeaves = (nodes: readonly Node[]) => ({
  buffer: () => [],
  input: (index: number) => [(nodes[index]!.operation as { value: number }).value], // a host number is a constant once settled
});

type Operands = ReturnType<typeof operands>;

/** Runs the program once on results of its own: donated arguments are only read. */
export async function rehearse(call: Call, loaded: Loaded): Promise<void> {
  const { trace, leaves, device } = call;
  checkDonated(trace, leaves);
  const { inputs, scalars } = operands(call, loaded);
  const results = newStorages(trace.outputs, device);
  try {
    device.run(loaded, { inputs, outputs: results.map((storage) => storage.on(device)), scalars });
    await device.backend.finish();
  } finally {
    for (const storage of results) storage.dispose();
  }
}

/** A call that has its buffers, and has given away those that are donated: what runs it takes `args`, and then it finishes. */
export interface Begun {
  readonly args: RunArguments;
  /** The results as the function returned them, and the bounds of indices. */
  finish(): { readonly result: unknown; readonly bounds: readonly TensorStorage[] };
}

/** Gets a call ready to run. Whatever may fail does so before anything is given away. */
export function begin(call: Call, loaded: Loaded): Begun {
  const { trace, leaves, device, hold } = call;
  const { replaces } = loaded.program;
  checkDonated(trace, leaves);
  const { nodes, numberOf, inputs, scalars } = operands(call, loaded);
  // Values that others wait for, tensors not computed yet or calls, are spared: the program then only reads the buffer.
  const given = new Set(
    trace.given.filter((i) => nodes[i]!.operation.kind === "buffer" && hold.isLast(nodes[i]!)),
  );
  /** The argument whose buffer an output takes over. */
  const source = (output: number): number | undefined => {
    const input = replaces[output];
    const argument = input === undefined ? undefined : (trace.inputs[input] as number); // only arguments are donated
    return argument !== undefined && given.has(argument) ? argument : undefined;
  };
  const fresh = newStorages(
    trace.outputs.filter((_, i) => source(i) === undefined),
    device,
  );
  const take = (argument: number) => storageOf(nodes[argument]!).take(device);
  for (const i of trace.kept) hold.reopen(nodes[i]!);
  let next = 0;
  const storages = trace.outputs.map(({ shape, dtype }, i) => {
    const argument = source(i);
    if (argument === undefined) return fresh[next++]!;
    given.delete(argument);
    return new TensorStorage(dtype, numel(shape), { device, buffer: take(argument) });
  });
  const left = Array.from(given, take); // no output takes them over, and they are gone too
  const outputs = storages.map((storage) => storage.on(device));
  const finish = () => {
    for (const buffer of left) device.free(buffer);
    hold.release();
    return { result: resultOf(call, { nodes, numberOf, storages }), bounds: boundsIn(trace, storages) };
  };
  return { args: { inputs, outputs, scalars }, finish };
}

/** Runs the program, and finishes the call. */
export function run(call: Call, loaded: Loaded): ReturnType<Begun["finish"]> {
  const { args, finish } = begin(call, loaded);
  call.device.run(loaded, args);
  return finish();
}

/** The storages of the outputs that are bounds of indices: the last ones. */
function boundsIn({ bounds }: Trace, storages: readonly TensorStorage[]): readonly TensorStorage[] {
  return bounds.nodes.length === 0 ? [] : storages.slice(-bounds.nodes.length);
}

/** The results as the function returned them. */
function resultOf(
  { trace }: Call,
  {
    nodes,
    numberOf,
    storages,
  }: Pick<Operands, "nodes" | "numberOf"> & { readonly storages: readonly TensorStorage[] },
): unknown {
  const outputs = trace.outputs.map(
    ({ shape, dtype }, i) =>
      new Tensor(makeNode({ kind: "buffer", storage: storages[i]! }, [], shape, dtype)),
  );
  const finished = { nodes, numberOf, outputs };
  return mapTree(trace.result, isGive, (give) => give(finished));
}

/** A donated buffer is overwritten while the program runs: nothing else that the program reads may be it. */
function checkDonated({ captured }: Trace, leaves: readonly LeafAt[]): void {
  if (!leaves.some(({ donated }) => donated)) return;
  const owner = new Map<Node, LeafAt>();
  for (const at of leaves) {
    if (typeof at.leaf === "number" || at.leaf.node.operation.kind !== "buffer") continue;
    const { node } = at.leaf;
    const other = owner.get(node);
    owner.set(node, at);
    if (other && (at.donated || other.donated)) {
      throw new ValueError(
        `compile: arguments ${nameOf(other)} and ${nameOf(at)} are one tensor, and it is donated. Donate distinct tensors, or do not donate it.`,
      );
    }
    if (at.donated && captured.has(node)) {
      throw new ValueError(
        `compile: argument ${nameOf(at)} is donated, and it is a tensor that the function also uses from outside its arguments. ` +
          "It would be overwritten while it is read: pass it as an argument of its own, or do not donate it.",
      );
    }
  }
}
