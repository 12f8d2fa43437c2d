import { getOrInsert } from "../base/group.ts";
import { isHost, makeAgain, makeNode, type Node, type Scope, topological } from "./node.ts";

// What was computed within a scope is computed again where the backward pass needs it, rather than kept. The graph says so
// by order alone: a copy of what is needed reads what entered the scope *after* the cotangent that needs it, so that it is
// another computation than the first one, and comes later.

/**
 * The value of `x`, for nobody before the tokens are there.
 *
 * @param whole A token that is computed of what a core makes is stored in its place, rather than put together later.
 */
export function after(x: Node, tokens: readonly Node[], whole = false): Node {
  return tokens.length === 0
    ? x
    : makeAgain(makeNode({ kind: "after", whole }, [x, ...tokens], x.shape, x.dtype), x);
}

/** What nodes in scopes are made of again, during one walk back through a graph. */
export class Recomputation {
  readonly #copies = new Map<Scope, Map<Node, Node>>();
  /** The first cotangent that a scope was needed for. */
  readonly #tokens = new Map<Scope, Node>();
  /** What enters scopes from outside, and which. */
  readonly #entered = new Map<Node, Set<Scope>>();
  readonly #enters = new Map<Scope, Set<Node>>();

  /** The node as the rule of its kind may use it, for the cotangent `g`: itself, or computed again. */
  node(node: Node, g: Node): Node {
    const { scope } = node;
    if (!scope) return node;
    for (let outer: Scope | undefined = scope; outer; outer = outer.within)
      if (!this.#tokens.has(outer)) this.#tokens.set(outer, g);
    for (const input of node.inputs) this.#enter(input, scope);
    return this.#again(node, scope);
  }

  /** The cotangent of what enters scopes, for nobody before those of all else that enters them are there. */
  released(node: Node, g: Node, cotangents: ReadonlyMap<Node, Node>): Node {
    const others = new Set<Node>();
    for (const scope of this.#entered.get(node) ?? [])
      for (const other of this.#enters.get(scope)!) {
        const cotangent = other === node ? undefined : cotangents.get(other);
        if (cotangent) others.add(cotangent);
      }
    return after(g, [...others]);
  }

  #enter(input: Node, scope: Scope): void {
    for (let inner: Scope | undefined = scope; inner && !isIn(input, inner); inner = inner.within) {
      getOrInsert(this.#entered, input, () => new Set()).add(inner);
      getOrInsert(this.#enters, inner, () => new Set()).add(input);
    }
  }

  /** The node computed again in a scope that it belongs to, or as it enters it. */
  #again(root: Node, scope: Scope): Node {
    const known = getOrInsert(this.#copies, scope, () => new Map());
    const token = this.#tokens.get(scope)!;
    for (const node of topological([root], (node) => isIn(node, scope) && !known.has(node))) {
      if (known.has(node)) continue;
      const { kind } = node.operation;
      if (kind === "constant" || isHost(node)) known.set(node, node);
      else if (!isIn(node, scope) || node.inputs.every(isHost))
        known.set(
          node,
          after(scope.within && !isIn(node, scope) ? this.#again(node, scope.within) : node, [token]),
        );
      else {
        const inputs = node.inputs.map((input) => known.get(input)!);
        known.set(node, makeAgain(makeNode(node.operation, inputs, node.shape, node.dtype), node));
      }
    }
    return known.get(root)!;
  }
}

function isIn({ scope, inputs, operation }: Node, outer: Scope): boolean {
  if (inputs.length === 0 && operation.kind !== "iota") return false; // settled, or a leaf
  for (let at = scope; at; at = at.within) if (at === outer) return true;
  return false;
}
