import { type DType, isFloat } from "../base/dtype.ts";
import { numel, type Shape } from "../base/shape.ts";
import type { Procedure } from "./procedure.ts";

/** The values of a settled node; what it holds is the runtime's business. */
export interface Storage {
  readonly bytes: number;
}

export type ReduceName = "sum" | "prod" | "max" | "min";

/** Every kind of vertex. Elementwise operations are one kind whose row (`ScalarOp`) says the rest. */
export type Operation =
  // Leaves.
  // Rank 0; booleans are 0 and 1. A lifted constant is passed to programs when they run; any other is written
  // into their code.
  | { readonly kind: "constant"; readonly value: number; readonly lifted: boolean }
  | { readonly kind: "input"; readonly index: number } // argument of a traced function
  | { readonly kind: "buffer"; readonly storage: Storage } // settled
  | { readonly kind: "hostNumber"; readonly index: number } // passed to a program when it runs
  | { readonly kind: "iota"; readonly axis: number } // int32 index along an axis
  // One element from the elements at the same place.
  | { readonly kind: "scalar"; readonly op: ScalarOp }
  // To the node's dtype. A number of the host that meets a tensor names the operation where it does: it may not change.
  | { readonly kind: "cast"; readonly meets?: string }
  // Passes the cotangent on, or stops it. Programs know nothing of it, nor of what its indices should be.
  // With a gradient of its own, the first input is the value; then come those that get cotangents, then what is kept.
  | {
      readonly kind: "identity";
      readonly stops: boolean;
      readonly indices?: IndexRange;
      readonly custom?: CustomGradient;
    }
  // The first input, for nobody before the others are there; these as they are, or what they are made of.
  | { readonly kind: "after"; readonly whole: boolean }
  // Movement: an output index maps to an input index.
  | { readonly kind: "reshape" }
  | { readonly kind: "expand" } // to the node's shape; only lengths 1 stretch
  | { readonly kind: "permute"; readonly axes: readonly number[] }
  | { readonly kind: "flip"; readonly axes: readonly number[] }
  | { readonly kind: "slice"; readonly start: readonly number[]; readonly step: readonly number[] }
  // In place of an axis two: how many windows there are, and the places in one.
  | { readonly kind: "windows"; readonly axis: number; readonly step: number; readonly dilation: number }
  | { readonly kind: "pad"; readonly before: readonly number[]; readonly value: number }
  // One value of several, which may be written by several kernels.
  | { readonly kind: "cat"; readonly axis: number } // inputs one after the other along the axis
  // Inputs base, part, starts: base with `part` from `start` on. The starts of the axes `moving` are int32 scalars, known
  // when a program runs, and taken so that the part fits.
  | {
      readonly kind: "update";
      readonly start: readonly number[];
      readonly step: readonly number[];
      readonly moving: readonly number[];
    }
  // One element from many.
  | { readonly kind: "reduce"; readonly name: ReduceName; readonly axes: readonly number[] } // drops the axes
  | { readonly kind: "matmul" } // [...batch, m, k] x [...batch, k, n]
  | { readonly kind: "cumsum"; readonly axis: number }
  // Indexed by data: inputs x, index (int32, shape of the output along every axis).
  | { readonly kind: "gather"; readonly axis: number }
  // Inputs x, index, source: x with source added at index, along one axis. Where indices are promised to be permutations, each
  // element is added to once, and the order does not matter.
  | { readonly kind: "scatterAdd"; readonly axis: number; readonly permutes: boolean }
  // A small program on each row of the last axis. No cotangent flows: whoever makes it gives it a gradient. It may be known
  // apart, as a graph of programs on shorter rows, for targets where many invocations work on one row.
  | {
      readonly kind: "procedure";
      readonly procedure: Procedure;
      readonly apart: ((rows: Node) => Node) | undefined;
    }
  // One result of a loop (loop.ts): what a value of its body is at each step, one after the other, or at the last one. All
  // results of a loop with the same inputs are of one run.
  | { readonly kind: "loop"; readonly loop: Loop; readonly output: Node; readonly last: boolean };

export type Kind = Operation["kind"];

/**
 * A body that is run again and again. It is a graph of its own over leaves, which the inputs of the loop's results stand
 * for, in this order.
 */
export interface Loop {
  readonly steps: number;
  /** From the last step to the first. */
  readonly reversed: boolean;
  /** Whether what it makes is kept for its gradient; else it is made again there. */
  readonly keeps: boolean;
  /** What one step leaves to the next: first the inputs, then `next`. */
  readonly carries: readonly Node[];
  /** Elements along the first axis of the inputs, one for each step. */
  readonly slices: readonly Node[];
  /** The same at each step. */
  readonly given: readonly Node[];
  /** For each carry. */
  readonly next: readonly Node[];
}

/** What indices should be, for the checks that a device can be asked for: integers from `from` to `length - 1`. */
export interface IndexRange {
  /** The public function that takes them, and what it calls them: "gather: index". */
  readonly what: string;
  readonly from: number;
  readonly length: number;
  /** Elements from each index on that must fit, if these are more than one. */
  readonly taken?: number;
  /** An integer that stands for none. */
  readonly ignored?: number;
}

/** The gradient that the user of a function wrote for it. */
export interface CustomGradient {
  /** How many inputs get cotangents. */
  readonly given: number;
  /** Their cotangents, for the cotangent of the output and what was kept of the way there. */
  readonly pull: (g: Node, kept: readonly Node[]) => readonly (Node | undefined)[];
}

/** An immutable vertex of the graph. Only `settle` changes what it is. */
export interface Node {
  readonly id: number;
  readonly operation: Operation;
  readonly inputs: readonly Node[];
  readonly shape: Shape;
  readonly dtype: DType;
  readonly uses: Uses;
  /** Where it was made: what it was made of is recomputed there for the backward pass (remat.ts). */
  readonly scope: Scope | undefined;
  /** What it computes again: a node of the same value. */
  readonly again: Node | undefined;
}

/** Where what is made is not kept for the backward pass. */
export interface Scope {
  readonly within: Scope | undefined;
}

/** Who needs a node, as far as the graph tells: what lazy evaluation keeps and donation spares depends on it. */
export interface Uses {
  /** Edges from nodes that are not settled, whether anybody holds these or not. */
  open: number;
  /** The period in which the node was made, and that in which it was last used: each evaluation ends one. */
  readonly made: number;
  last: number;
  /** Computed on the way to others, and not kept. */
  computed: boolean;
}

/** What elementwise functions take: a node, or a literal that takes the dtype of the others. */
export type Operand = Node | number;

/** Which dtypes an operation takes and which it gives. */
export type TypeRule =
  | "float" // floats to the same
  | "numeric" // floats and integers to the same
  | "any" // anything to the same
  | "bits" // integers and bool to the same
  | "integer" // integers to the same
  | "compare" // two of a kind to bool
  | "test" // one float to bool
  | "bitcast" // float32 to uint32 and back
  | "code" // uint32 to float32
  | "select"; // bool, x, x to the dtype of x

/** Elementwise operations for which every target has code of its own; the others are made of these. */
export type Primitive =
  | ("add" | "sub" | "mul" | "div" | "neg" | "abs" | "sign" | "sqrt" | "floor" | "ceil" | "round")
  | ("maximum" | "minimum" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" | "where" | "isNaN" | "isFinite")
  | ("bitwiseAnd" | "bitwiseOr" | "bitwiseXor" | "leftShift" | "rightShift" | "bitcast" | "ldexp")
  // Targets differ too much in what they do well: one has float64, another integers of 32 bits.
  | ("sin" | "cos" | "pow");

interface AnyRow {
  readonly name: string;
  readonly arity: number;
  readonly types: TypeRule;
  /** Float64 arithmetic; the result is rounded to the dtype by the caller. Booleans are 0 and 1. */
  readonly evaluate: (x: number, y: number, z: number, dtype: DType) => number;
  /**
   * Largest error of the float32 implementations in units in the last place, on the range where the tests
   * draw their arguments (src/experiments/selftest.ts); 0 means correctly rounded everywhere. Measured on Mesa's
   * lavapipe, and rounded up: WGSL lets drivers fuse multiplications and additions. Division and square root are
   * WGSL's own, whose specification allows 2.5.
   */
  readonly ulp: number;
  /** Rough cost in additions; it decides what is computed again rather than stored. */
  readonly cost?: number;
  /** Vector-Jacobian product: one cotangent for each argument, undefined where there is none. */
  readonly vjp?: (g: Node, y: Node, args: readonly Node[]) => readonly (Node | undefined)[];
}

/** A row whose code each target knows. */
export interface PrimitiveRow extends AnyRow {
  readonly name: Primitive;
  readonly expand?: undefined;
  readonly table?: undefined;
}

/** A row that is made of others. */
export interface ExpandedRow extends AnyRow {
  /**
   * The operation on float32 in terms of others. NaN comes out where it goes in, by itself or as targets see to it; a
   * compiler of WGSL may fuse a product and a sum, but numbers are not split by adding and subtracting.
   */
  readonly expand: (...args: readonly Node[]) => Node;
  readonly table?: undefined;
}

/** A row that looks numbers up: 2^n float32, by the lowest n bits of a code. */
export interface TableRow extends AnyRow {
  readonly types: "code";
  readonly expand?: undefined;
  readonly table: readonly number[];
  /** The same of a code as operations, for a target that has no memory for a large table. */
  readonly formula?: (code: Node) => Node;
}

/** A row of the table of elementwise operations: all that Lorantz knows of one. */
export type ScalarRow = PrimitiveRow | ExpandedRow | TableRow;

/** A row that is also the function that builds the node: broadcasts, takes literals, checks dtypes. */
export interface ScalarOp {
  (...args: readonly Operand[]): Node;
  readonly row: ScalarRow;
}

let nextId = 0;
let period = 0;
let scope: Scope | undefined;
let watcher: ((node: Node) => void) | undefined;

/** Tells of every node that is made from now on, until the function that it gives is called. */
export function watchNodes(tell: (node: Node) => void): () => void {
  const before = watcher;
  watcher = tell;
  return () => {
    watcher = before;
  };
}

export function makeNode(operation: Operation, inputs: readonly Node[], shape: Shape, dtype: DType): Node {
  for (const { uses } of inputs) {
    uses.open++;
    uses.last = period;
  }
  const uses = { open: 0, made: period, last: period, computed: false };
  const node = { id: nextId++, operation, inputs, shape, dtype, uses, scope, again: undefined };
  watcher?.(node);
  return node;
}

/** Makes of a new node that it computes another one again. */
export function makeAgain(node: Node, of: Node): Node {
  (node as { again: Node | undefined }).again = of;
  return node;
}

/** The node that was computed first of those that compute one value again. */
export function firstOf(node: Node): Node {
  return node.again ? firstOf(node.again) : node;
}

/** Makes nodes in that scope. */
export function inScope<T>(of: Scope | undefined, make: () => T): T {
  const outer = scope;
  scope = of;
  try {
    return make();
  } finally {
    scope = outer;
  }
}

/** A new scope within that in which nodes are made now. */
export function newScope(): Scope {
  return { within: scope };
}

/** Ends the period of what was made so far. */
export function nextPeriod(): void {
  period++;
}

/** The id that the next node will get: nodes below it existed before. */
export function nodeCount(): number {
  return nextId;
}

/** The node becomes a leaf that holds its values, and forgets how they were made. */
export function settle(node: Node, leaf: Extract<Operation, { kind: "buffer" | "constant" }>): void {
  const settled = node as { operation: Operation; inputs: readonly Node[]; again: Node | undefined };
  for (const { uses } of node.inputs) uses.open--;
  settled.operation = leaf;
  settled.inputs = [];
  settled.again = undefined;
}

export function constant(value: number, dtype: DType, lifted = false): Node {
  return makeNode({ kind: "constant", value, lifted }, [], [], dtype);
}

/** A number that takes the dtype of what it meets. */
export function literal(value: number, lifted = false): Node {
  return constant(value, "number", lifted);
}

/** int32, counting along `axis`. */
export function iota(shape: Shape, axis: number): Node {
  return makeNode({ kind: "iota", axis }, [], shape, "int32");
}

/** A leaf, in no scope, that stands for a value of that shape and dtype until a pass replaces it. */
export function placeFor({ shape, dtype }: { readonly shape: Shape; readonly dtype: DType }): Node {
  return inScope(undefined, () => makeNode({ kind: "input", index: 0 }, [], shape, dtype));
}

const cores: ReadonlySet<Kind> = new Set(["reduce", "matmul", "cumsum", "scatterAdd", "procedure", "loop"]);

/** One element from many, or ordered sums: the core of a kernel of its own. */
export function isCore({ operation }: Node): boolean {
  return cores.has(operation.kind);
}

/** Known on the host before a program runs: numbers, comparisons of numbers, and the integers that they become. */
export function isHost(node: Node): boolean {
  if (node.dtype === "number") return true;
  const { kind } = node.operation;
  if (kind === "constant") return true;
  if (kind === "cast") return !isFloat(node.dtype) && isHost(node.inputs[0]!);
  return node.dtype === "bool" && kind === "scalar" && node.inputs.every(isHost);
}

const views: ReadonlySet<Kind> = new Set([
  "identity",
  "after",
  "reshape",
  "expand",
  "permute",
  "flip",
  "slice",
  "windows",
  "pad",
] satisfies Kind[]);

/** Shows elements of another node at other places, and computes nothing. */
export function isView({ operation }: Node): boolean {
  return views.has(operation.kind);
}

export function elements(node: Node): number {
  return numel(node.shape);
}

/** Every node that the roots depend on, inputs before users. Iterative: graphs may be deep. */
export function topological(
  roots: readonly Node[],
  descend: (node: Node) => boolean = () => true,
  inputsOf: (node: Node) => readonly Node[] = ({ inputs }) => inputs,
): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  /** Nodes to look at; undefined is where the inputs of the innermost node that is open have been. */
  const stack: (Node | undefined)[] = [];
  const open: Node[] = [];
  for (const root of roots) {
    stack.push(root);
    while (stack.length > 0) {
      const node = stack.pop();
      if (!node) order.push(open.pop()!);
      else if (!seen.has(node)) {
        seen.add(node);
        open.push(node);
        stack.push(undefined);
        if (descend(node)) for (const input of inputsOf(node)) if (!seen.has(input)) stack.push(input);
      }
    }
  }
  return order;
}

/** The graph over other nodes: each that `given` has an answer for is replaced by it, and what is made of it made again. */
export function substitute(roots: readonly Node[], given: ReadonlyMap<Node, Node>): Node[] {
  const made = new Map(given);
  for (const node of topological(roots, (node) => !made.has(node))) {
    if (made.has(node)) continue;
    const same = node.inputs.every((input) => made.get(input) === input);
    made.set(node, same ? node : inScope(node.scope, () => copyOver(node, made)));
  }
  return roots.map((root) => made.get(root)!);
}

/** The node, of what its inputs became. */
export function copyOver({ operation, inputs, shape, dtype }: Node, made: ReadonlyMap<Node, Node>): Node {
  return makeNode(
    operation,
    inputs.map((input) => made.get(input)!),
    shape,
    dtype,
  );
}

/**
 * The graph with every node replaced by what `change` makes of it: of the node itself, or where inputs were replaced of
 * its copy over those. Whoever must know which node it was is told too.
 */
export function transform(roots: readonly Node[], change: (node: Node, original: Node) => Node): Node[] {
  const changed = new Map<Node, Node>();
  for (const node of topological(roots)) {
    const same = node.inputs.every((input) => changed.get(input) === input);
    const made = same ? node : inScope(node.scope, () => copyOver(node, changed));
    const first = node.again && changed.get(node.again);
    if (!same && first) makeAgain(made, first);
    changed.set(node, change(made, node));
  }
  return roots.map((root) => changed.get(root)!);
}
