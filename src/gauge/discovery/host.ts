import { coerce, type FloatDType, isFloat, isInteger, normalRange } from "../../base/dtype.ts";
import { flattenTree, mapTree, pathName } from "../../base/tree.ts";
import { evaluate } from "../../graph/evaluate.ts";
import { makeNode, type Node, type Storage, topological } from "../../graph/node.ts";
import { storageOf } from "../../runtime/storage.ts";
import { scalar, tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

// Tensors whose values are at hand: computed node by node in float64 by the reference evaluator, with no device.

export type Values = ArrayLike<number>;

/** Replaces the tensors of a value that may also hold what is no part of a tree, which stays: numbers, keys, flags. */
export function mapTensors<T>(value: T, f: (leaf: Tensor, path: string) => unknown): T {
  return mapTree(value, isLeaf, (leaf, path) => (tree.isTensor(leaf) ? f(leaf, pathName(path)) : leaf)) as T; // the structure is kept
}

/** The tensors of such a value, with their paths. */
export function tensorsIn(value: unknown): [path: string, leaf: Tensor][] {
  return flattenTree(value, isLeaf).flatMap(({ leaf, path }): [string, Tensor][] =>
    tree.isTensor(leaf) ? [[pathName(path), leaf]] : [],
  );
}

/** The plain numbers of such a value, by path. */
export function numbersIn(value: unknown): [path: string, leaf: number][] {
  return flattenTree(value, isLeaf).flatMap(({ leaf, path }): [string, number][] =>
    typeof leaf === "number" ? [[pathName(path), leaf]] : [],
  );
}

function isLeaf(value: unknown): value is unknown {
  if (typeof value !== "object" || value === null) return value !== undefined && value !== null;
  if (Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype !== Object.prototype && prototype !== null;
}

const known = new WeakMap<Storage, Values>();

/** A tensor of values that stay at hand. */
export function held(values: Values, { shape, dtype }: Pick<Tensor, "shape" | "dtype">): Tensor {
  if (dtype === "number") return scalar(values[0]!) as Tensor;
  const own = Float64Array.from(values);
  const result = tensor(own, { shape, dtype });
  known.set(storageOf(result.node), own);
  return result;
}

/** The values of a tensor from `held` or `computed`. */
export function valuesOf(x: Tensor): Values {
  const { operation } = x.node;
  if (operation.kind === "constant") return [operation.value];
  return known.get(storageOf(x.node))!;
}

/** The tree with every tensor computed, rounded to its dtype, and held. */
export async function computed<T>(lazy: T): Promise<T> {
  const values = await valuesIn(lazy);
  let at = 0;
  return mapTensors(lazy, (leaf) => {
    const own = values[at++]!;
    const narrow = leaf.dtype !== "number" && leaf.dtype !== "float64";
    return held(narrow ? Float64Array.from(own, (x) => coerce(x, leaf.dtype)) : own, leaf);
  });
}

/**
 * How numbers are rounded inside a graph: `stored` at leaves only, as the evaluator does; `never` not even where they
 * meet a narrow dtype, so that functions are smooth; `whole` neither to whole numbers, as a quantised state is.
 */
export type Rounding = "stored" | "never" | "whole";

/** The values of the tensors of a tree, in order. */
export async function valuesIn(lazy: unknown, rounding: Rounding = "stored"): Promise<Values[]> {
  const nodes = tensorsIn(lazy).map(([, leaf]) => leaf.node);
  await readBuffers(nodes);
  return evaluate(rounding === "stored" ? nodes : smoothed(nodes, rounding === "whole"), leaves);
}

const leaves = { buffer: (storage: Storage) => known.get(storage)!, input: () => [] };

/** Tensors that the optimizer made itself. */
async function readBuffers(nodes: readonly Node[]): Promise<void> {
  for (const { operation } of topological(nodes)) {
    if (operation.kind === "buffer" && !known.has(operation.storage))
      known.set(operation.storage, await storageOf({ operation } as Node).read());
  }
}

const toWhole = new Set(["floor", "ceil", "round"]);
const onBits = new Set(["bitwiseAnd", "bitwiseOr", "bitwiseXor", "leftShift", "rightShift", "bitcast"]);

/** Whether a computation rounds to whole numbers, or casts to them. */
export function roundsIn(lazy: unknown): boolean {
  return topological(tensorsIn(lazy).map(([, leaf]) => leaf.node)).some(
    ({ operation: o, dtype }) =>
      (o.kind === "scalar" && toWhole.has(o.op.row.name)) || (o.kind === "cast" && isInteger(dtype)),
  );
}

/** The same graph in float64 only and, where `whole` says so, without rounding to whole numbers. */
function smoothed(nodes: readonly Node[], whole: boolean): Node[] {
  const order = topological(nodes);
  const narrow = ({ dtype }: Node) => isFloat(dtype) && dtype !== "float64" && dtype !== "number";
  if (!whole && !order.some(narrow)) return [...nodes];
  const bits = order.some(({ operation: o }) => o.kind === "scalar" && onBits.has(o.op.row.name));
  const indexed = order.some(({ operation: o }) => o.kind === "gather" || o.kind === "scatterAdd");
  if (bits) return [...nodes];
  const copies = new Map<Node, Node>();
  for (const node of order) {
    const { operation, shape, dtype } = node;
    const inputs = node.inputs.map((input) => copies.get(input)!);
    // A cast to integers rounds; what indexes has to stay whole.
    const codes = whole && !indexed && isInteger(dtype) && operation.kind === "cast";
    const wide = narrow(node) || codes || (isInteger(dtype) && inputs.some((x) => x.dtype === "float64"));
    const rounds = whole && operation.kind === "scalar" && toWhole.has(operation.op.row.name);
    const same = !wide && !rounds && inputs.every((input, i) => input === node.inputs[i]);
    copies.set(
      node,
      same
        ? node
        : makeNode(
            rounds ? { kind: "identity", stops: false } : operation,
            inputs,
            shape,
            wide && operation.kind !== "iota" ? "float64" : dtype,
          ),
    );
  }
  return nodes.map((node) => copies.get(node)!);
}

/** Where a computation leaves the range of its dtype though its operands do not: "mul of float32"; else undefined. */
export async function lostIn(lazy: unknown): Promise<string | undefined> {
  const nodes = tensorsIn(lazy).map(([, leaf]) => leaf.node);
  await readBuffers(nodes);
  const order = topological(nodes);
  const all = evaluate(order, leaves);
  const values = new Map(order.map((node, i) => [node, all[i]!]));
  for (const node of order) {
    const { operation, dtype, inputs } = node;
    if (!isFloat(dtype)) continue;
    const name = operation.kind === "scalar" ? operation.op.row.name : operation.kind;
    const { smallest: least, largest } = normalRange(dtype as FloatDType);
    const given = inputs.map((input) => values.get(input)!);
    const own = values.get(node)!;
    const message = `${name} of ${dtype}`;
    if (name === "reduce" || name === "add" || name === "sub") {
      if (own.some((x) => Math.abs(x) > largest) && given.every((x) => x.every(Number.isFinite)))
        return message;
    } else if (name === "matmul") {
      const [a, b] = [sizes(given[0]!), sizes(given[1]!)];
      if (a.length > 0 && b.length > 0 && (a[0]! * b[0]! < least || a.at(-1)! * b.at(-1)! > largest))
        return message;
    } else if (name === "mul" || name === "div" || name === "pow" || name === "cast") {
      for (let i = 0; i < own.length; i++) {
        const operands = given.map((x) => x[x.length === 1 ? 0 : i]!);
        if (!operands.every((x) => x !== 0 && Number.isFinite(x))) continue;
        const size = Math.abs(own[i]!);
        if (size < least || size > largest) return message;
      }
    }
  }
  return undefined;
}

/** The sizes of what is neither zero nor infinite, in order. */
function sizes(values: Float64Array): number[] {
  return [...values]
    .map(Math.abs)
    .filter((x) => x > 0 && x < Infinity)
    .sort((a, b) => a - b);
}

/** Whether two lists of values agree to the last bit. */
export function sameValues(x: Values, y: Values): boolean {
  return x.length === y.length && Array.from(x).every((value, i) => Object.is(value, y[i]));
}

/** The tensor times a number; its values are rounded once. */
export function scaledBy(x: Tensor, factor: number): Tensor {
  return held(
    Float64Array.from(valuesOf(x), (value) => value * factor),
    x,
  );
}

/** What an optimizer finds beside its arguments. */
export interface Outside {
  /** What Math.random gives. */
  readonly random: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** What a synchronous function returns outside, or as things are. */
export function outside<T>(around: Outside | undefined, f: () => T): T {
  if (!around) return f();
  const { random, time } = around;
  const [RealDate, realRandom, realNow] = [globalThis.Date, Math.random, performance.now];
  try {
    Math.random = () => random;
    performance.now = () => time;
    globalThis.Date = new Proxy(RealDate, {
      construct: (target, args: [number]) => new target(...(args.length > 0 ? args : ([time] as [number]))),
      apply: (target) => new target(time).toString(),
      get: (target, key) => (key === "now" ? () => time : Reflect.get(target, key)),
    });
    return f();
  } finally {
    globalThis.Date = RealDate;
    Math.random = realRandom;
    performance.now = realNow;
  }
}
