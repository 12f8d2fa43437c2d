import { ValueError } from "../base/errors.ts";
import { type Node, topological } from "../graph/node.ts";

/** Whether the function of a `compile` or `vmap` is being called, with tensors that have no values. */
let tracing = false;

/**
 * Calls a function that only builds a graph. What would ask for values meanwhile throws at once: the promise that it
 * would otherwise reject is one that nobody waits for.
 */
export function whileTracing<T>(f: () => T): T {
  const before = tracing;
  tracing = true;
  try {
    return f();
  } finally {
    tracing = before;
  }
}

/** @throws ValueError where a compiled function is being traced. */
export function refuseWhileTracing(what: string): void {
  if (tracing) throw new ValueError(what);
}

/** @throws ValueError where a function is being traced and the nodes follow from its arguments. */
export function checkReadable(operation: string, nodes: readonly Node[]): void {
  if (!tracing || !dependOnArguments(nodes)) return;
  throw new ValueError(
    `${operation}: a function is being traced (compile, vmap): it only builds a graph, and its tensors have no values yet. ` +
      "Return the tensor and read it outside; inside, where() chooses by values.",
  );
}

/** Whether nodes follow from arguments of a traced function, so that they have no values of their own. */
export function dependOnArguments(nodes: readonly Node[]): boolean {
  return topological(nodes).some(({ operation }) => operation.kind === "input");
}

/** @throws ValueError where a function that builds a graph returned a promise, whatever becomes of that. */
export function checkSynchronous(operation: string, result: unknown): void {
  if (!(result instanceof Promise)) return;
  result.catch(() => {}); // this error comes instead
  throw new ValueError(
    `${operation}: the function is async, or returned what a compiled function gives. It only builds a graph: make it ` +
      "synchronous, call plain functions inside, compile only the outermost one, and read values outside.",
  );
}
