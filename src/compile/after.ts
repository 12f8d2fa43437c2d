import { copyOver, type Node, topological } from "../graph/node.ts";
import type { ValueId } from "./value.ts";

/** A graph without its `after` nodes, and what they said: nodes that are for later. */
export interface Untied {
  readonly outputs: readonly Node[];
  /** All nodes, inputs and what must come earlier before the rest. */
  readonly order: readonly Node[];
  /** What must be there before a node is computed, beside its inputs. */
  readonly tokens: ReadonlyMap<Node, ReadonlySet<Node>>;
  /** What is waited for as it is. */
  readonly whole: ReadonlySet<Node>;
}

/** The value, whenever it is to be there. */
export function withoutOrder(node: Node): Node {
  return node.operation.kind === "after" ? withoutOrder(node.inputs[0]!) : node;
}

/** Takes order out of the graph: what is scheduled and lowered knows values only. */
export function untie(roots: readonly Node[]): Untied {
  const made = new Map<Node, Node>();
  const tokens = new Map<Node, ReadonlySet<Node>>();
  const whole = new Set<Node>();
  const order: Node[] = [];
  for (const node of topological(roots)) {
    if (node.operation.kind === "after") {
      if (node.operation.whole) for (const token of node.inputs.slice(1)) whole.add(made.get(token)!);
      made.set(node, made.get(node.inputs[0]!)!);
      continue;
    }
    const later = node.inputs.flatMap(tokensOf);
    const same = node.inputs.every((input) => made.get(input) === input);
    // A copy of its own, as equal nodes with and without order are two.
    const own = same ? node : copyOver(node, made);
    if (later.length > 0) tokens.set(own, new Set(later.map((token) => made.get(token)!)));
    made.set(node, own);
    order.push(own);
  }
  return { outputs: roots.map((root) => made.get(root)!), order, tokens, whole };
}

/** What an input is for after, however often it says so. */
function tokensOf(input: Node): Node[] {
  const found: Node[] = [];
  for (let at = input; at.operation.kind === "after"; at = at.inputs[0]!) found.push(...at.inputs.slice(1));
  return found;
}

/**
 * The values that must be there before what computes a node runs, for nodes that wait for some. A token that is stored
 * nowhere is there when what it is made of is.
 */
export function storedBefore(
  { order, tokens }: Pick<Untied, "order" | "tokens">,
  stored: (node: Node) => ValueId | undefined,
): ReadonlyMap<Node, ReadonlySet<ValueId>> {
  const before = new Map<Node, ReadonlySet<ValueId>>();
  if (tokens.size === 0) return before;
  const isStored = (part: Node) => stored(part) !== undefined;
  for (const node of order) {
    const found = new Set<ValueId>();
    for (const input of [...node.inputs].reverse())
      if (!isStored(input)) for (const value of before.get(input) ?? []) found.add(value);
    const own = tokens.get(node);
    for (const source of own ? topological([...own], (token) => !isStored(token)) : [])
      if (isStored(source)) found.add(stored(source)!);
    if (found.size > 0) before.set(node, found);
  }
  return before;
}
