import { isFloat } from "../base/dtype.ts";
import { placeFor } from "./batch.ts";
import { add } from "./elementwise.ts";
import { firstOf, type Node, topological } from "./node.ts";
import { Recomputation } from "./remat.ts";
import { vjp, zeros } from "./vjp.ts";

/**
 * Reverse mode, graph to graph: cotangents of `inputs` for the cotangents `seeds` of `outputs`. Only nodes on
 * a path from an input to an output are walked, so frozen weights cost nothing; the result is a graph and can
 * be differentiated again.
 */
export function backward(outputs: readonly Node[], seeds: readonly Node[], inputs: readonly Node[]): Node[] {
  const wanted = new Set(inputs);
  // What is computed again is the node that was computed first: so that remat changes no sum here.
  const firsts = (node: Node) => node.inputs.map(firstOf);
  const order = topological(outputs.map(firstOf), undefined, firsts);
  const onPath = new Set<Node>();
  for (const node of order) {
    if (wanted.has(node) || (flows(node) && firsts(node).some((input) => onPath.has(input))))
      onPath.add(node);
  }
  const cotangents = new Map<Node, Node>();
  const accumulate = (node: Node, g: Node) => {
    const sum = cotangents.get(node);
    cotangents.set(node, sum ? add(sum, g) : g);
  };
  outputs.forEach((output, i) => {
    accumulate(firstOf(output), seeds[i]!);
  });
  const again = new Recomputation();
  for (const node of order.reverse()) {
    const sum = cotangents.get(node);
    if (!sum || !onPath.has(node)) continue;
    const g = node.inputs.length > 0 ? again.released(node, sum, cotangents) : sum;
    vjp(g, again.node(node, g)).forEach((contribution, i) => {
      const input = firstOf(node.inputs[i]!);
      if (contribution && onPath.has(input)) accumulate(input, contribution);
    });
  }
  return inputs.map((input) => cotangents.get(input) ?? zeros(input));
}

/**
 * Forward mode, graph to graph: the tangents of `outputs` for the tangents of `inputs`. Reverse mode is linear in its
 * seeds, and its transpose is this (J. Radul et al. 2022, "You only linearize once", from the other side): no second
 * table of rules.
 */
export function forward(
  outputs: readonly Node[],
  inputs: readonly Node[],
  tangents: readonly Node[],
): Node[] {
  const places = outputs.map(placeFor);
  return backward(backward(outputs, places, inputs), tangents, places);
}

function flows(node: Node): boolean {
  return isFloat(node.dtype) && !(node.operation.kind === "identity" && node.operation.stops);
}
