import { getOrInsert } from "../base/group.ts";
import { resultOf } from "./loop.ts";
import { expand, flip, pad, permute, reshape, slice, transpose } from "./movement.ts";
import {
  inScope,
  type Kind,
  type Loop,
  makeNode,
  type Node,
  type Operation,
  placeFor,
  topological,
} from "./node.ts";
import { cumsum, gather, matmul, reduce, scatterAdd } from "./reduce.ts";
import { after } from "./remat.ts";
import { cat, update, updateEach } from "./update.ts";

type Of<K extends Kind> = Extract<Operation, { kind: K }>;

/** An input of a node: with the new axis in front, or as it was where it depends on nothing that has one. */
interface Input {
  readonly node: Node;
  readonly batched: boolean;
}

/** What `node` becomes, with an axis of `size` in front. One input at least has it. */
type Rule<K extends Kind> = (node: Node, inputs: readonly Input[], operation: Of<K>, size: number) => Node;

/** Leaves have no inputs, so none with a new axis. */
const leaf = (node: Node) => node;

/** What looks at each element by itself. */
function elementwise(node: Node, inputs: readonly Input[], operation: Operation, size: number): Node {
  return makeNode(
    operation,
    inputs.map((input) => input.node),
    [size, ...node.shape],
    node.dtype,
  );
}

const rules: { readonly [K in Kind]: Rule<K> } = {
  constant: leaf,
  input: leaf,
  buffer: leaf,
  hostNumber: leaf,
  iota: leaf,
  scalar: (_, inputs, { op }) => op(...inputs.map(({ node }) => node)),
  cast: elementwise,
  identity: (node, inputs, operation, size) => {
    const { custom } = operation;
    if (!custom) return elementwise(node, inputs, operation, size);
    const pull = batchedPull(custom.pull, node, inputs.slice(1 + custom.given), size);
    return makeNode(
      { ...operation, custom: { ...custom, pull } },
      inputs.map((input) => led(input, size)),
      [size, ...node.shape],
      node.dtype,
    );
  },
  after: (_, [x, ...tokens], { whole }, size) =>
    after(
      led(x!, size),
      tokens.map(({ node }) => node),
      whole,
    ),
  reshape: ({ shape }, [x], _, size) => reshape(x!.node, [size, ...shape]),
  expand: ({ shape }, [x], _, size) => expand(x!.node, [size, ...shape]),
  permute: (_, [x], { axes }) => permute(x!.node, [0, ...axes.map(behind)]),
  flip: (_, [x], { axes }) => flip(x!.node, axes.map(behind)),
  slice: ({ shape }, [x], { start, step }, size) =>
    slice(x!.node, [0, ...start], [size, ...shape], [1, ...step]),
  windows: ({ shape }, [x], { axis, ...operation }, size) =>
    makeNode({ ...operation, axis: behind(axis) }, [x!.node], [size, ...shape], x!.node.dtype),
  pad: ({ shape, inputs: [was] }, [x], { before, value }) => {
    const after = shape.map((length, axis) => length - was!.shape[axis]! - before[axis]!);
    return pad(x!.node, [0, ...before], [0, ...after], value);
  },
  reduce: (_, [x], { name, axes }) => reduce(name, x!.node, axes.map(behind)),
  matmul: ({ shape }, [a, b], _, size) => {
    // One matrix on the right: what is in front is more rows.
    if (!b!.batched && shape.length === 2) {
      const [m, n] = shape as [number, number];
      const inner = b!.node.shape[0]!;
      return reshape(matmul(reshape(a!.node, [size * m, inner]), b!.node), [size, m, n]);
    }
    return matmul(led(a!, size), led(b!, size));
  },
  cat: (_, inputs, { axis }, size) =>
    cat(
      inputs.map((input) => led(input, size)),
      behind(axis),
    ),
  update: (_, [base, part, ...starts], { start, step, moving }, size) => {
    const where = { start: [0, ...start], step: [1, ...step], moving: moving.map(behind) };
    const [x, y] = [led(base!, size), led(part!, size)];
    const firsts = starts.map((first) => led(first, size));
    return starts.some(({ batched }) => batched)
      ? updateEach(x, y, { ...where, starts: firsts })
      : update(x, y, { ...where, starts: starts.map(({ node }) => node) });
  },
  cumsum: (_, [x], { axis }) => cumsum(x!.node, behind(axis)),
  gather: (_, [x, index], { axis }, size) => gather(led(x!, size), led(index!, size), behind(axis)),
  scatterAdd: (_, [x, index, source], { axis, permutes }, size) =>
    scatterAdd(led(x!, size), led(index!, size), led(source!, size), behind(axis), permutes),
  procedure: elementwise,
  loop: (_, inputs, operation, size) => batchLoop(operation, inputs, size),
};

/**
 * Vectorises a graph: what `outputs` become when each key of `places` is one of `size` values that stand side by side
 * along the first axis of the node beside it. Undefined for an output that depends on no place. A pass over the graph
 * by one rule for each kind of node; gradients in it are graphs like any other.
 */
export function batch(
  outputs: readonly Node[],
  places: ReadonlyMap<Node, Node>,
  size: number,
): (Node | undefined)[] {
  const batched = new Map(places);
  extend(outputs, batched, size);
  return outputs.map((output) => batched.get(output));
}

/** Adds to `batched` what these nodes become, and all below them. */
function extend(outputs: readonly Node[], batched: Map<Node, Node>, size: number): void {
  for (const node of topological(outputs, (node) => !batched.has(node))) {
    if (batched.has(node) || !node.inputs.some((input) => batched.has(input))) continue;
    const inputs = node.inputs.map((input) => ({
      node: batched.get(input) ?? input,
      batched: batched.has(input),
    }));
    // The rule of a kind takes operations of that kind; TypeScript does not see that both are the same one.
    const rule = rules[node.operation.kind] as Rule<Kind>;
    batched.set(
      node,
      inScope(node.scope, () => rule(node, inputs, node.operation, size)),
    );
  }
}

const behind = (axis: number) => axis + 1;

/** With the new axis in front: stretched, where nothing differs along it. */
function led({ node, batched }: Input, size: number): Node {
  return batched ? node : expand(node, [size, ...node.shape]);
}

/** The pull of a custom gradient, of values side by side. */
function batchedPull(
  pull: NonNullable<Of<"identity">["custom"]>["pull"],
  output: Node,
  residuals: readonly Input[],
  size: number,
): typeof pull {
  const singles = residuals.map(({ node, batched }) =>
    placeFor({ shape: batched ? node.shape.slice(1) : node.shape, dtype: node.dtype }),
  );
  const { shape, dtype } = output;
  return (g, kept) => {
    const place = placeFor({ shape, dtype });
    const pulled = pull(place, singles);
    const places = new Map([[place, g], ...singles.map((single, i) => [single, kept[i]!] as const)]);
    const made = batch(
      pulled.filter((node) => node !== undefined),
      places,
      size,
    );
    let at = 0;
    return pulled.map((node) => node && (made[at++] ?? expand(node, [size, ...node.shape])));
  };
}

const batchedLoops = new WeakMap<Loop, Map<string, ReturnType<typeof widened>>>();

/** A result of a loop; all results of a run are of one run again. */
function batchLoop({ loop, output, last }: Of<"loop">, inputs: readonly Input[], size: number): Node {
  const { carries, slices, next } = loop;
  const key = `${size} ${inputs.map(({ batched }) => (batched ? 1 : 0)).join("")}`;
  const known = getOrInsert(batchedLoops, loop, () => new Map());
  const { loop: wide, nodes, carried } = getOrInsert(known, key, () => widened(loop, inputs, size));
  extend([output], nodes, size);
  const at = next.indexOf(output);
  const outputOf = last ? wide.next[at]! : (nodes.get(output) ?? output);
  const ins = inputs.map((input, i) => {
    if (i < carries.length) return carried[i] ? led(input, size) : input.node;
    return input.batched && i < carries.length + slices.length ? transpose(input.node, 0, 1) : input.node;
  });
  const result = resultOf(wide, ins, outputOf, last);
  const isBatched = last ? carried[at]! : nodes.has(output);
  if (!isBatched) return led({ node: result, batched: false }, size);
  return last ? result : transpose(result, 0, 1);
}

/** The loop over values side by side, what became of the nodes of its body, and which carries have the axis. */
function widened(loop: Loop, inputs: readonly Input[], size: number) {
  const { carries, slices, given, next } = loop;
  const wide = (place: Node) => placeFor({ shape: [size, ...place.shape], dtype: place.dtype });
  const rest = [...slices, ...given];
  const restOf = rest.map((place, i) => (inputs[carries.length + i]!.batched ? wide(place) : place));
  let carried = carries.map((_, i) => inputs[i]!.batched);
  for (;;) {
    const carriesOf = carries.map((place, i) => (carried[i] ? wide(place) : place));
    const nodes = new Map<Node, Node>();
    [...carries, ...rest].forEach((place, i) => {
      const to = [...carriesOf, ...restOf][i]!;
      if (to !== place) nodes.set(place, to);
    });
    extend(next, nodes, size);
    // What is carried has the axis as soon as what comes next has it.
    const grown = carried.map((was, i) => was || nodes.has(next[i]!));
    const settled = grown.every((is, i) => is === carried[i]);
    carried = grown;
    if (!settled) continue;
    const nextOf = next.map((node, i) =>
      carried[i] ? led({ node: nodes.get(node) ?? node, batched: nodes.has(node) }, size) : node,
    );
    const placesOf = { slices: restOf.slice(0, slices.length), given: restOf.slice(slices.length) };
    return { loop: { ...loop, carries: carriesOf, ...placesOf, next: nextOf }, nodes, carried };
  }
}
