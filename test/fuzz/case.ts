import { type DeviceDType, type DType, hostArray } from "../../src/base/dtype.ts";
import { LorantzError } from "../../src/base/errors.ts";
import { numel, type Shape } from "../../src/base/shape.ts";
import { random, scalar, Tensor, tensor } from "../../src/index.ts";
import type { Operation } from "./surface.ts";

// A graph as data: what it starts from and which operations follow, so that it can be run again, shrunk and printed.

/** What a graph starts from: values of a dtype, a host number, or a key of random numbers. */
export interface Leaf {
  readonly id: string;
  readonly dtype: DType | "key";
  readonly shape: Shape;
  readonly values: readonly number[];
}

/** A place in the arguments of a step where a value that was made before goes. */
export class Ref {
  readonly id: string;
  constructor(id: string) {
    this.id = id;
  }
}

export interface Step {
  readonly id: string;
  readonly operation: Operation;
  readonly receiver: Ref | undefined;
  /** Numbers, arrays, objects and references, as deep as they are. */
  readonly args: readonly unknown[];
}

/** How a graph is run. */
export interface Mode {
  /** Gradients of the outputs with respect to the float leaves: none, the first, or those of the first too. */
  readonly gradient: 0 | 1 | 2;
  /** Together as one program, one after the other, or as a compiled function. */
  readonly run: "together" | "one by one" | "compiled";
  /** A compiled function takes over the buffers of its arguments. */
  readonly donate: boolean;
}

export interface Graph {
  readonly leaves: readonly Leaf[];
  readonly steps: readonly Step[];
  /** Ids of what is compared; tensors. */
  readonly outputs: readonly string[];
  readonly mode: Mode;
}

export type Values = Map<string, unknown>;

export function makeLeaf({ dtype, shape, values }: Leaf): unknown {
  if (dtype === "key") return random.key(values[0]!);
  if (dtype === "number") return scalar(values[0]!);
  const data = hostArray(dtype, numel(shape));
  data.set(values);
  return tensor(data, { shape, dtype: dtype as DeviceDType });
}

/** Arguments with values in the place of references. */
export function fill(arg: unknown, values: Values): unknown {
  if (arg instanceof Ref) return values.get(arg.id);
  if (Array.isArray(arg)) return arg.map((part) => fill(part, values));
  if (isPlain(arg))
    return Object.fromEntries(Object.entries(arg).map(([key, part]) => [key, fill(part, values)]));
  return arg;
}

export function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Ids of the values that arguments refer to. */
export function refsOf(arg: unknown): string[] {
  if (arg instanceof Ref) return [arg.id];
  if (Array.isArray(arg)) return arg.flatMap(refsOf);
  return isPlain(arg) ? Object.values(arg).flatMap(refsOf) : [];
}

/** What a step made, part by part: a tensor is one, arrays and plain objects of tensors are several. */
export function partsOf(id: string, result: unknown): [id: string, value: unknown][] {
  if (result instanceof Tensor || !(Array.isArray(result) || isPlain(result))) return [[id, result]];
  // A packed weight is a value of its own; its parts are not for others.
  if (isPlain(result) && "like" in result) return [[id, result]];
  return Object.entries(result).map(([key, part]) => [`${id}.${key}`, part]);
}

export function runStep({ id, operation, receiver, args }: Step, values: Values): unknown {
  const result = operation.call(
    receiver && values.get(receiver.id),
    args.map((arg) => fill(arg, values)),
  );
  for (const [part, value] of partsOf(id, result)) values.set(part, value);
  return result;
}

/** An error for callers: not one of the inside, of Lorantz or of the platform. */
export const isForCallers = (thrown: unknown): boolean =>
  thrown instanceof LorantzError && !thrown.message.startsWith("internal");

/** Only the steps and leaves that the outputs need. */
export function prune(graph: Graph): Graph {
  const needed = new Set(graph.outputs);
  const steps: Step[] = [];
  for (const step of [...graph.steps].reverse()) {
    if (![...needed].some((id) => id === step.id || id.startsWith(`${step.id}.`))) continue;
    steps.unshift(step);
    for (const id of refsOf([step.receiver, step.args])) needed.add(id);
  }
  return { ...graph, steps, leaves: graph.leaves.filter(({ id }) => needed.has(id)) };
}

/** A value of the arguments as source text. */
export function show(arg: unknown): string {
  if (arg instanceof Ref) return arg.id;
  if (Array.isArray(arg)) return `[${arg.map(show).join(", ")}]`;
  if (isPlain(arg))
    return `{ ${Object.entries(arg)
      .map(([key, part]) => `${key}: ${show(part)}`)
      .join(", ")} }`;
  if (Object.is(arg, -0)) return "-0";
  if (typeof arg === "bigint") return `${arg}n`;
  return typeof arg === "string" ? JSON.stringify(arg) : String(arg);
}

function showStep({ operation, receiver, args }: Step): string {
  if (operation.picks) {
    const [index, ...rest] = args;
    const picked = `${receiver!.id}.${operation.picks}(${show(index).replace(/^\[(.*)\]$/s, "$1")})`;
    return `${picked}.${operation.name.split(".").pop()}(${rest.map(show).join(", ")})`;
  }
  const name = operation.method ? `${receiver!.id}.${operation.name.split(".").pop()}` : operation.name;
  return `${name}(${args.map(show).join(", ")})`;
}

const typeOf = (dtype: Leaf["dtype"]) => (dtype === "key" ? "random.Key" : `Tensor<"${dtype}">`);

/** A graph as a test to paste into regressions.test.ts. */
export function printTest(graph: Graph, target: string, why: string): string {
  const names = [...new Set(graph.steps.map(({ operation }) => operation.name.split(".").pop()!))];
  const leaves = graph.leaves.map(
    ({ id, dtype, shape, values }) =>
      `    { id: "${id}", dtype: "${dtype}", shape: ${show(shape)}, values: ${show(values)} },`,
  );
  const parameters = graph.leaves.map(({ id, dtype }) => `${id}: ${typeOf(dtype)}`);
  return [
    `// ${target}: ${why}`,
    "check(",
    `  "${names.join(", ") || "leaves"}",`,
    `  ${show(graph.mode)},`,
    "  [",
    ...leaves,
    "  ],",
    `  (${parameters.join(", ")}) => {`,
    ...graph.steps.map((step) => `    const ${step.id} = ${showStep(step)};`),
    `    return [${graph.outputs.join(", ")}];`,
    "  },",
    ");",
  ].join("\n");
}
