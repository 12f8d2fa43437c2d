import { elements, isHost, isView, type Node } from "../graph/node.ts";

// Lazy evaluation computes what is asked for, and on the way much that nobody asks for by name. Were all of that forgotten,
// a loop that reads its loss at each step would compute the whole history each time. So what will be needed again is kept,
// which shows in the graph: the parameters of a step are used by nodes that were made after the last reading.

/**
 * What a program for `roots` computes on the way and should give back too:
 *
 * - what was made before an earlier evaluation and used after it, for that is what goes from step to step;
 * - what an earlier program computed already, and somebody outside of this one still needs, for it would be computed a
 *   third time: so that no order of readings makes the work grow with the history.
 *
 * Views are not kept but what they show, if that is no larger.
 *
 * @param order The roots and what they are made of, inputs before users.
 */
export function neededAgain(roots: readonly Node[], order: readonly Node[]): Node[] {
  const inside = new Map<Node, number>();
  for (const { inputs } of order) for (const input of inputs) inside.set(input, (inside.get(input) ?? 0) + 1);

  const asked = new Set(roots);
  const kept = new Set<Node>();
  /** Used by nodes that may be computed again, and among them by such as were never computed. */
  const open = new Set<Node>();
  const first = new Set<Node>();
  for (const node of [...order].reverse()) {
    if (asked.has(node) || kept.has(node) || isGiven(node)) continue;
    const { uses } = node;
    const outside = uses.open > (inside.get(node) ?? 0);
    const again = outside || open.has(node);
    if (uses.last > uses.made || (uses.computed && again && (outside || first.has(node)))) {
      const shown = underViews(node);
      if (!isGiven(shown) && !asked.has(shown)) kept.add(shown);
      if (shown === node || isGiven(shown)) continue;
    }
    if (!again) continue;
    for (const input of node.inputs) {
      open.add(input);
      if (!uses.computed) first.add(input);
    }
  }
  return [...kept];
}

/** Values that are there, or are made of numbers of the host alone. */
function isGiven({ operation, inputs }: Node): boolean {
  const { kind } = operation;
  return kind === "buffer" || kind === "constant" || kind === "iota" || inputs.every(isHost);
}

/** What a view shows, unless that is larger. */
function underViews(node: Node): Node {
  let shown = node;
  while (isView(shown)) shown = shown.inputs[0]!;
  return elements(shown) <= elements(node) ? shown : node;
}
