import { isFloat } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { constant, isHost, makeNode, type Node, type Operation, topological } from "../graph/node.ts";

/**
 * A graph in canonical form: equal subgraphs are one node, leaves are numbered in the order they are met, and
 * everything that is known on the host is a numbered host number. Two graphs with equal keys run the same
 * program; only their leaves and host numbers differ.
 */
export interface Canonical {
  readonly key: string;
  /** The buffers and arguments of the graph, by the index of its `input` nodes. */
  readonly leaves: readonly Node[];
  /** The host nodes of the graph, by the index of its `hostNumber` nodes. */
  readonly scalars: readonly Node[];
  /** The canonical roots; built only when the key is new. Keeps nothing of the graph alive but leaves and host numbers. */
  readonly build: () => Node[];
}

/**
 * @param liftAll Pass every float constant as a host number, so that graphs which differ only in numbers share
 *   a program: for graphs that are built anew at each step.
 * @param order What the roots are made of, down to host numbers.
 */
export function canonicalise(
  roots: readonly Node[],
  liftAll: boolean,
  order: readonly Node[] = topological(roots, (node) => !isHost(node)),
): Canonical {
  const leaves: Node[] = [];
  const scalars: Node[] = [];
  const lines: string[] = [];
  const blueprint: Vertex[] = [];
  const lineOf = new Map<string, number>();
  const place = new Map<Node, number>();

  const operationOf = (node: Node): [Operation, string] => {
    const { operation } = node;
    if (isHost(node)) {
      const inlined = operation.kind === "constant" && !operation.lifted && !(liftAll && isFloat(node.dtype));
      if (inlined)
        return [operation, Object.is(operation.value, -0) ? "constant -0" : `constant ${operation.value}`];
      const index = scalars.push(node) - 1;
      return [{ kind: "hostNumber", index }, `hostNumber ${index}`];
    }
    switch (operation.kind) {
      case "input":
      case "buffer": {
        const index = leaves.push(node) - 1;
        return [{ kind: "input", index }, `input ${index}`];
      }
      case "scalar":
        return [operation, operation.op.row.name];
      default:
        return [operation, describeOperation(operation)];
    }
  };

  for (const node of order) {
    // That of a host number is one itself.
    if (node.operation.kind === "identity" && !isHost(node)) {
      place.set(node, place.get(node.inputs[0]!)!);
      continue;
    }
    const inputs = isHost(node) ? [] : node.inputs.map((input) => place.get(input)!);
    const [operation, text] = operationOf(node);
    const line = `${text}(${inputs.join()}):${node.dtype}[${node.shape.join()}]`;
    const at = getOrInsert(lineOf, line, () => {
      blueprint.push({ operation, inputs, shape: node.shape, dtype: node.dtype });
      return lines.push(line) - 1;
    });
    place.set(node, at);
  }
  const outputs = roots.map((root) => place.get(root)!);
  return {
    key: `${lines.join("\n")}\n=> ${outputs.join()}`,
    leaves,
    scalars,
    build: builder(blueprint, outputs),
  };
}

/** A node of a canonical graph, with its inputs by their place there. */
interface Vertex extends Pick<Node, "operation" | "shape" | "dtype"> {
  readonly inputs: readonly number[];
}

/** Makes the roots of a canonical graph. A function of its own, so that what it keeps is that and not the graph it is of. */
function builder(blueprint: readonly Vertex[], outputs: readonly number[]): () => Node[] {
  return () => {
    const built: Node[] = [];
    for (const { operation, inputs, shape, dtype } of blueprint) {
      built.push(
        operation.kind === "constant"
          ? constant(operation.value, dtype)
          : makeNode(
              operation,
              inputs.map((i) => built[i]!),
              shape,
              dtype,
            ),
      );
    }
    return outputs.map((i) => built[i]!);
  };
}

const loopTexts = new WeakMap<Operation, string>();

/** A loop with its body. */
function describeLoop(operation: Extract<Operation, { kind: "loop" }>): string {
  return getOrInsert(loopTexts, operation, () => {
    const { loop, output, last } = operation;
    const { steps, reversed, carries, slices, given, next } = loop;
    const { key, leaves, scalars } = canonicalise([...next, output], false);
    const places = [...carries, ...slices, ...given];
    const numbers = scalars.map((node) => describeHost(node, places));
    const order = `${carries.length}+${slices.length}+${given.length}`;
    return `loop ${steps} ${reversed} ${last} ${order} of ${leaves.map((leaf) => places.indexOf(leaf))} ${numbers.join(";")} {${key}}`;
  });
}

/** A number of the host in a body. */
function describeHost(root: Node, places: readonly Node[]): string {
  const lines = new Map<Node, string>();
  for (const node of topological([root])) {
    const { operation, inputs, dtype } = node;
    const what =
      operation.kind === "input"
        ? `given ${places.indexOf(node)}`
        : operation.kind === "scalar"
          ? operation.op.row.name
          : describeOperation(operation);
    lines.set(node, `${what}(${inputs.map((input) => lines.get(input)).join()}):${dtype}`);
  }
  return lines.get(root)!;
}

/** The kind and parameters of a structural operation, `permute [1,0]`. */
export function describeOperation(operation: Operation): string {
  if (operation.kind === "loop") return describeLoop(operation);
  const { kind, ...parameters } = operation;
  const values = Object.values(parameters).map((value) => JSON.stringify(value, keptApart));
  return [kind, ...values].join(" ");
}

/** Numbers that JSON does not tell from others: NaN and the infinities are null there, and -0 is 0. */
function keptApart(_: string, value: unknown): unknown {
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return Object.is(value, -0) ? "-0" : String(value);
}
