import { isFloat } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { add } from "./elementwise.ts";
import { cotangentsOf, type Member, runName } from "./loop.ts";
import { zeros } from "./movement.ts";
import { firstOf, type Node, placeFor, substitute, topological } from "./node.ts";
import { Recomputation } from "./remat.ts";
import { vjp } from "./vjp.ts";

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
  const runs = loopsAmong(order);
  for (const node of order.reverse()) {
    const sum = cotangents.get(node);
    const run = runs.get(node);
    if (run && sum && onPath.has(node)) {
      const g = again.released(node, sum, cotangents);
      run.members.push({ node: again.node(node, g), g });
    }
    // Those of all results of a loop are there when its first one comes.
    const isLoop = node.operation.kind === "loop";
    const walked = isLoop ? run?.first === node && run.members.length > 0 : sum && onPath.has(node);
    if (!walked) continue;
    const ofNode = () => {
      const g = node.inputs.length > 0 ? again.released(node, sum!, cotangents) : sum!;
      return vjp(g, again.node(node, g));
    };
    const isWanted = (i: number) => onPath.has(firstOf(node.inputs[i]!));
    (run ? cotangentsOf(run.members, isWanted, backward) : ofNode()).forEach((contribution, i) => {
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
  const moved = backward(backward(outputs, places, inputs), tangents, places);
  // Linear in them, it does not depend on them; but the run of a loop that has one among its inputs holds it.
  const order = new Set(topological(moved));
  return places.some((place) => order.has(place))
    ? substitute(moved, new Map(places.map((place) => [place, zeros(place)])))
    : moved;
}

/** The loops that ran: the first of the results of each, and those that have cotangents so far. */
function loopsAmong(order: readonly Node[]) {
  const byName = new Map<string, { readonly first: Node; readonly members: Member[] }>();
  const runs = new Map<Node, { readonly first: Node; readonly members: Member[] }>();
  for (const node of order) {
    if (node.operation.kind !== "loop") continue;
    const name = runName(node);
    const run = getOrInsert(byName, name, () => ({ first: node, members: [] }));
    runs.set(node, run);
  }
  return runs;
}

function flows(node: Node): boolean {
  return isFloat(node.dtype) && !(node.operation.kind === "identity" && node.operation.stops);
}
