import { isFloat } from "../base/dtype.ts";
import { internal } from "../base/errors.ts";
import { addTo, getOrInsert } from "../base/group.ts";
import { add } from "./elementwise.ts";
import { expand, permute, reshape, transpose, zeros } from "./movement.ts";
import { isCore, type Loop, makeNode, type Node, placeFor, substitute, topological } from "./node.ts";
import { matmul, reduce } from "./reduce.ts";

// A body that is run again and again, as one vertex for each of its results. Its gradient is a loop from the other end,
// which carries the cotangents of what this one carries; so there are gradients of that, too.

/** A loop in the making: its body may use nodes from outside. */
export interface Body {
  readonly steps: number;
  readonly reversed: boolean;
  readonly keeps: boolean;
  readonly carries: readonly { readonly place: Node; readonly init: Node; readonly next: Node }[];
  readonly slices: readonly { readonly place: Node; readonly stack: Node }[];
  /** Leaves that stand for nodes outside. */
  readonly given: ReadonlyMap<Node, Node>;
  /** Values of the body of which results may be asked. */
  readonly outputs: readonly Node[];
  /** Nodes with lower ids are outside. */
  readonly since?: number;
}

/** The results of a loop. */
export interface Run {
  /** What one of `outputs`, or of what is carried next, is at each step. */
  each(output: Node): Node;
  /** What is carried out of the last step. */
  last(next: Node): Node;
}

const names = new WeakMap<Loop, number>();
let named = 0;

/** Equal for results of one run of a loop. */
export function runName({ operation, inputs }: Node): string {
  if (operation.kind !== "loop") return internal(`${operation.kind} is no loop`);
  const name = getOrInsert(names, operation.loop, () => named++);
  return `${name}: ${inputs.map(({ id }) => id).join()}`;
}

/** The results of each run of a loop, by its name. */
export function loopsOf(
  order: readonly Node[],
  nameOf: (node: Node) => string = runName,
): Map<string, Node[]> {
  const groups = new Map<string, Node[]>();
  for (const node of order) if (node.operation.kind === "loop") addTo(groups, nameOf(node), node);
  return groups;
}

/** What a value of a loop's body is at each step, or at the last one. */
export function resultOf(loop: Loop, inputs: readonly Node[], output: Node, last: boolean): Node {
  const shape = last ? output.shape : [loop.steps, ...output.shape];
  return makeNode({ kind: "loop", loop, output, last }, inputs, shape, output.dtype);
}

/** Which nodes below the roots depend on one of the leaves; none that was made before `since` does. */
function dependents(roots: readonly Node[], leaves: Iterable<Node>, since = 0): Set<Node> {
  const found = new Set(leaves);
  for (const node of topological(roots, (node) => node.id >= since && !found.has(node)))
    if (node.inputs.some((input) => found.has(input))) found.add(node);
  return found;
}

/** What is written into code as it is: made of constants and counting alone. */
function isWritten(node: Node, written: ReadonlySet<Node>): boolean {
  const { operation, inputs } = node;
  if (operation.kind === "constant") return !operation.lifted;
  return operation.kind === "iota" || (inputs.length > 0 && inputs.every((input) => written.has(input)));
}

/** Closes a body: what does not change from step to step is made once, outside, and given to it. */
export function runOf(body: Body): Run {
  const { steps, reversed, keeps, carries, slices, given, outputs, since = 0 } = body;
  const roots = [...carries.map(({ next }) => next), ...outputs];
  const places = [...carries, ...slices].map(({ place }) => place);
  const varying = dependents(roots, places, since);
  const written = new Set<Node>();
  const order = topological(roots, (node) => node.id >= since);
  for (const node of order) if (isWritten(node, written)) written.add(node);
  const entering = new Set<Node>();
  // What is stretched enters as it was before.
  const enter = (node: Node): void => {
    if (varying.has(node) || written.has(node)) return;
    if (node.operation.kind === "expand" && !given.has(node)) enter(node.inputs[0]!);
    else entering.add(node);
  };
  for (const root of roots) enter(root);
  for (const node of order) if (varying.has(node)) node.inputs.forEach(enter);
  const captured = [...entering];
  const leaves = captured.map((node) => (given.has(node) ? node : placeFor(node)));
  const images = new Map<Node, Node>([
    ...places.map((place) => [place, place] as const),
    ...captured.map((node, i) => [node, leaves[i]!] as const),
  ]);
  const made = substitute(roots, images);
  for (const [i, root] of roots.entries()) images.set(root, made[i]!);
  const used = new Set(topological(made));
  const needed = slices.filter(({ place }) => used.has(place));
  const loop: Loop = {
    steps,
    reversed,
    keeps,
    carries: carries.map(({ place }) => place),
    slices: needed.map(({ place }) => place),
    given: leaves,
    next: made.slice(0, carries.length),
  };
  const inputs = [
    ...carries.map(({ init }) => init),
    ...needed.map(({ stack }) => stack),
    ...substitute(captured, given),
  ];
  const result = (of: Node, last: boolean) => resultOf(loop, inputs, images.get(of)!, last);
  return { each: (output) => result(output, false), last: (next) => result(next, true) };
}

/** The products of a body that depend on its slices and on nothing carried: those of all steps are one product. */
export function productsOfSlices(
  roots: readonly Node[],
  carries: readonly Node[],
  slices: readonly Node[],
  since: number,
): Node[] {
  const carried = dependents(roots, carries, since);
  const sliced = dependents(roots, slices, since);
  const found = new Set<Node>();
  const isProduct = (node: Node) =>
    node.operation.kind === "matmul" &&
    node.shape.length === 2 &&
    !carried.has(node) &&
    sliced.has(node) &&
    !sliced.has(node.inputs[1]!);
  for (const node of topological(roots, (node) => node.id >= since && !isProduct(node)))
    if (isProduct(node)) found.add(node);
  return [...found];
}

/** A result of a loop, and its cotangent. */
export interface Member {
  readonly node: Node;
  readonly g: Node;
}

/**
 * The cotangents of the inputs of a loop, for those of its results: a loop from the other end. What products and sums made
 * is kept for it, or made again there; what is made element by element is made again.
 *
 * @param isWanted Whether the cotangent of an input is.
 */
export function cotangentsOf(
  members: readonly Member[],
  isWanted: (input: number) => boolean,
  backward: (outputs: readonly Node[], seeds: readonly Node[], inputs: readonly Node[]) => readonly Node[],
): (Node | undefined)[] {
  const { operation, inputs } = members[0]!.node;
  if (operation.kind !== "loop") return internal(`${operation.kind} is no loop`);
  const { loop } = operation;
  const { carries, slices, given, next, steps } = loop;
  const floats = (nodes: readonly Node[], from: number) =>
    nodes.filter(({ dtype }, i) => isFloat(dtype) && isWanted(from + i));
  const ofSlices = floats(slices, carries.length);
  const ofGiven = floats(given, carries.length + slices.length);
  // What is carried counts if it depends on what counts, at any step.
  let active = new Set(floats(carries, 0));
  for (let size = -1; size !== active.size; ) {
    size = active.size;
    const depend = dependents(next, [...active, ...ofSlices, ...ofGiven]);
    active = new Set(
      carries.filter((place, i) => active.has(place) || (isFloat(place.dtype) && depend.has(next[i]!))),
    );
  }
  const seeds = new Map<number, Node>();
  const [outputs, cotangents]: [Node[], { place: Node; stack: Node }[]] = [[], []];
  for (const { node, g } of members) {
    const { output, last } = node.operation as typeof operation;
    if (last) {
      const at = next.indexOf(output);
      const known = seeds.get(at);
      seeds.set(at, known ? add(known, g) : g);
    } else {
      outputs.push(output);
      cotangents.push({ place: placeFor(output), stack: g });
    }
  }
  const carried = carries.flatMap((place, i) =>
    active.has(place) ? [{ i, carry: place, place: placeFor(place), next: next[i]! }] : [],
  );
  const wanted = [...carried.map(({ carry }) => carry), ...ofSlices, ...ofGiven];
  const made = backward(
    [...carried.map((each) => each.next), ...outputs],
    [...carried, ...cotangents].map(({ place }) => place),
    wanted,
  );
  const cotangentOf = new Map(wanted.map((node, i) => [node, made[i]!]));

  // What the body knew: slices, what was carried into the step, and what it kept.
  const known = new Map<Node, { place: Node; stack: Node }>();
  const keep = (node: Node, stack: Node) => known.set(node, { place: placeFor(node), stack });
  for (const [i, place] of slices.entries()) keep(place, inputs[carries.length + i]!);
  for (const place of carries) keep(place, resultOf(loop, inputs, place, false));
  if (loop.keeps) {
    const backwards = dependents(
      made,
      [...carried, ...cotangents].map(({ place }) => place),
    );
    for (const node of dependents(made, [...carries, ...slices]))
      if (isCore(node) && !backwards.has(node)) keep(node, resultOf(loop, inputs, node, false));
  }
  const places = new Map([...known].map(([node, { place }]) => [node, place]));
  const again = (nodes: readonly Node[]) => substitute(nodes, places);

  const back = again(carried.map(({ carry }) => cotangentOf.get(carry)!));
  const sliced = again(ofSlices.map((place) => cotangentOf.get(place)!));
  const totals = again(ofGiven.map((place) => cotangentOf.get(place)!)).map((node) => ({
    node,
    sum: loop.keeps ? sumOverSteps(node, steps) : undefined,
    place: placeFor(node),
  }));
  const all = [...known.values(), ...cotangents];
  const stacks = new Map(all.map(({ place, stack }) => [place, stack]));
  const parts = totals.flatMap(({ sum }) => (sum ? sum.parts.map(underViews) : []));
  const running = totals.map((total) =>
    total.sum ? undefined : { ...total, init: zeros(total.node), next: add(total.place, total.node) },
  );
  const run = runOf({
    steps,
    reversed: !loop.reversed,
    keeps: loop.keeps,
    carries: [
      ...carried.map(({ i, place }, at) => ({ place, init: seeds.get(i) ?? zeros(place), next: back[at]! })),
      ...running.filter((total) => total !== undefined),
    ],
    slices: all,
    given: new Map(given.map((place, i) => [place, inputs[carries.length + slices.length + i]!])),
    outputs: [...sliced, ...parts],
  });
  const stackOf = (node: Node): Node => {
    const below = underViews(node);
    const stack = stacks.get(below) ?? run.each(below);
    return viewed(node, below, stack, steps);
  };
  const result = new Map<Node, Node>();
  for (const [i, { carry }] of carried.entries()) result.set(carry, run.last(back[i]!));
  for (const [i, place] of ofSlices.entries()) result.set(place, run.each(sliced[i]!));
  ofGiven.forEach((place, i) => {
    const total = running[i];
    result.set(place, total ? run.last(total.next) : totals[i]!.sum!.of(stackOf));
  });
  return [...carries, ...slices, ...given].map((place) => result.get(place));
}

/** The sum of a value over all steps, of what its parts are at each of them. */
interface Total {
  readonly parts: readonly Node[];
  readonly of: (stackOf: (part: Node) => Node) => Node;
}

/** A product at each step is one over all of them, a sum likewise; undefined for what is neither. */
function sumOverSteps(node: Node, steps: number): Total | undefined {
  const { operation, inputs } = node;
  const [x, y] = inputs as [Node, Node];
  switch (operation.kind) {
    case "matmul": {
      if (node.shape.length !== 2) return undefined;
      const [rows, [each, columns]] = [x.shape[0]!, y.shape as [number, number]];
      const flat = (stack: Node, length: number) => reshape(stack, [steps * each, length]);
      return {
        parts: [x, y],
        of: (stackOf) =>
          matmul(transpose(flat(transpose(stackOf(x), 1, 2), rows), 0, 1), flat(stackOf(y), columns)),
      };
    }
    case "reduce":
      if (operation.name !== "sum") return undefined;
      return {
        parts: [x],
        of: (stackOf) => reduce("sum", stackOf(x), [0, ...operation.axes.map((axis) => axis + 1)]),
      };
    case "permute":
    case "reshape": {
      const total = sumOverSteps(x, steps);
      if (!total) return undefined;
      const { parts, of } = total;
      const view = (sum: Node) =>
        operation.kind === "permute" ? permute(sum, operation.axes) : reshape(sum, node.shape);
      return { parts, of: (stackOf) => view(of(stackOf)) };
    }
    case "scalar": {
      if (operation.op.row.name !== "add") return undefined;
      const totals = [sumOverSteps(x, steps), sumOverSteps(y, steps)] as const;
      if (!totals[0] || !totals[1]) return undefined;
      const [a, b] = totals;
      return { parts: [...a.parts, ...b.parts], of: (stackOf) => add(a.of(stackOf), b.of(stackOf)) };
    }
    default:
      return undefined;
  }
}

/** What lies below views whose elements are those of all steps seen in the same way. */
function underViews(node: Node): Node {
  const { kind } = node.operation;
  return kind === "permute" || kind === "reshape" || kind === "expand" ? underViews(node.inputs[0]!) : node;
}

/** The views of a node above another one, of the stack of that. */
function viewed(node: Node, below: Node, stack: Node, steps: number): Node {
  if (node === below) return stack;
  const x = viewed(node.inputs[0]!, below, stack, steps);
  const { operation, shape } = node;
  if (operation.kind === "permute") return permute(x, [0, ...operation.axes.map((axis) => axis + 1)]);
  return operation.kind === "reshape" ? reshape(x, [steps, ...shape]) : expand(x, [steps, ...shape]);
}
