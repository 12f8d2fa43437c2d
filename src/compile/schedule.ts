import { bytesPerElement, isNarrow } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { numel, type Shape, sameShape } from "../base/shape.ts";
import { elements, isCore, isView, type Node, topological } from "../graph/node.ts";
import { describeOperation } from "./canonical.ts";
import type { Target } from "./target.ts";
import { additionsOf } from "./work.ts";

/** Distinct vertices one kernel's expression may hold: bounds code size and recursion. */
const maxSize = 400;
/** Work (in additions) above which an element that is read many times is stored. */
const repeatedCost = 3;
/** Work above which an element that several kernels want is stored. */
const sharedCost = 8;
/** Share of its bytes that an operand of a matmul may be made from where it is loaded: half, and padding. */
const operandShare = 0.6;
/** Work up to which an element of a matmul's operand may be computed where it is loaded. */
const operandCost = 48;

/** Parts of a cat among which an element is chosen where it is used. */
const maxChoices = 4;

export function isLeaf(node: Node): boolean {
  const { kind } = node.operation;
  return kind === "input" || kind === "hostNumber" || kind === "constant" || kind === "iota";
}

/** Computed element by element of what a core makes. */
function isEpilogue(node: Node): boolean {
  const isElementwise = ({ operation, shape }: Node) =>
    (operation.kind === "scalar" || operation.kind === "cast") && sameShape(shape, node.shape);
  return (
    isElementwise(node) &&
    topological([node], isElementwise).some((part) => isCore(part) && sameShape(part.shape, node.shape))
  );
}

/**
 * What several make something of, and what is made of cores element by element, is stored in the place of the cores where
 * nobody else reads those: a sum of two products is kept as the sum, once, not as the products.
 */
function placeEpilogues(
  roots: readonly Node[],
  order: readonly Node[],
  stored: ReadonlySet<Node>,
  mark: (node: Node) => void,
): void {
  const users = usersOf(order);
  const meeting = meetings(roots, order, users);
  for (const core of order) {
    if (!isCore(core)) continue;
    const continues = (node: Node) =>
      !stored.has(node) &&
      elements(node) === elements(core) &&
      (node.operation.kind === "reshape" ||
        ((node.operation.kind === "scalar" || node.operation.kind === "cast") &&
          bytesPerElement(node.dtype) <= bytesPerElement(core.dtype)));
    let last: Node | undefined;
    let found: Node | undefined;
    for (let from = core, to = meeting.get(from); to && continues(to); from = to, to = meeting.get(from)) {
      if (!between(from, to, users).every(continues)) break;
      if (to.operation.kind !== "reshape") last = to;
      if (users.get(to)!.length > 1) found = last;
    }
    if (found) mark(found);
  }
}

function usersOf(order: readonly Node[]): Map<Node, Node[]> {
  const users = new Map<Node, Node[]>(order.map((node) => [node, []]));
  for (const node of order)
    for (const input of node.inputs) {
      const list = users.get(input)!;
      if (list.at(-1) !== node) list.push(node);
    }
  return users;
}

/**
 * For each node the first one that all that is made of it goes through; undefined where it is an output, or outputs are made
 * of it in several ways. (The immediate dominators of the graph from its end; K. D. Cooper et al. 2001.)
 */
function meetings(
  roots: readonly Node[],
  order: readonly Node[],
  users: ReadonlyMap<Node, readonly Node[]>,
): Map<Node, Node | undefined> {
  const found = new Map<Node, Node | undefined>(roots.map((root) => [root, undefined]));
  const depths = new Map<Node, number>();
  const depthOf = (node: Node | undefined) => (node ? depths.get(node)! : 0);
  const common = (a: Node | undefined, b: Node | undefined): Node | undefined => {
    let [x, y] = [a, b];
    while (x !== y)
      if (depthOf(x) > depthOf(y)) x = found.get(x!);
      else y = found.get(y!);
    return x;
  };
  for (const node of [...order].reverse()) {
    if (!found.has(node))
      found.set(node, users.get(node)!.reduce<Node | undefined>(common, users.get(node)![0]));
    depths.set(node, 1 + depthOf(found.get(node)));
  }
  return found;
}

/** The nodes on the ways from one node to where they meet. */
function between(from: Node, to: Node, users: ReadonlyMap<Node, readonly Node[]>): Node[] {
  const seen = new Set<Node>();
  const open = [from];
  for (let next = open.pop(); next; next = open.pop())
    for (const user of users.get(next)!)
      if (user !== to && !seen.has(user)) {
        seen.add(user);
        open.push(user);
      }
  return [...seen];
}

/** Made of parts: where it is stored, several kernels may write it, each its own part. */
function isOfParts({ operation }: Node): boolean {
  return operation.kind === "cat" || operation.kind === "update";
}

/** The first node, from this one down, that is not passed over. */
function below(node: Node, passes: (node: Node) => boolean): Node {
  let x = node;
  while (passes(x)) x = x.inputs[0]!;
  return x;
}

const isWindows = ({ operation }: Node) => operation.kind === "windows";
const isUpdate = ({ operation }: Node) => operation.kind === "update";
const isWidening = ({ operation, inputs }: Node) => operation.kind === "cast" && isNarrow(inputs[0]!.dtype);

/** What lies below movements and casts from narrow floats: the node whose elements are read as they are. */
const underViews = (node: Node) => below(node, (x) => isView(x) || isWidening(x));

/** Whether a view shows the windows of a convolution. */
const showsWindows = (node: Node) => isWindows(below(node, (x) => isView(x) && !isWindows(x)));

/** The same as `underViews`, or, where an axis that repeats what lies below becomes a part of another one, what comes of that. */
function underStrides(node: Node): Node {
  let joined: Node | undefined;
  let x = node;
  while (isView(x) || isWidening(x)) {
    const { kind } = x.operation;
    if (kind === "windows" || kind === "permute") joined = undefined;
    else if (kind === "reshape") joined ??= x;
    else if (kind === "expand" && joined && isJoined(x, joined.shape)) return joined;
    x = x.inputs[0]!;
  }
  return x;
}

/** Whether an axis that is expanded is none of its own in another shape of so many elements. */
function isJoined({ shape, inputs: [input] }: Node, other: Shape): boolean {
  const ends = new Set(other.map((_, i) => numel(other.slice(0, i + 1)))).add(1);
  return shape.some((length, i) => {
    const before = numel(shape.slice(0, i));
    return length !== input!.shape[i] && !(ends.has(before) && ends.has(before * length));
  });
}

/** What a view shows, unless that is larger: storing a part that is then padded writes less than storing the whole. */
function shownBy(node: Node): Node {
  const shown = below(node, isView);
  return elements(shown) <= elements(node) ? shown : node;
}

/** Decides which nodes are materialised, by rules one after the other; fusing is not materialising. Leaves are never. */
export function materialise(
  roots: readonly Node[],
  target: Target,
  awaited: ReadonlySet<Node> = new Set(),
): Set<Node> {
  const order = topological(roots);
  const stored = new Set<Node>();
  const mark = (node: Node) => {
    if (!isLeaf(node)) stored.add(node);
  };
  // Outputs are read by the caller; cores cannot be inlined.
  for (const root of roots) mark(root);
  for (const node of order) if (isCore(node)) mark(node);
  // What others wait for is there whole, not to be put together later: in the place of the core that it is made of.
  for (const node of order) if (awaited.has(node) && isEpilogue(node)) mark(node);
  // Each element would be chosen from all of many parts.
  for (const { operation, inputs } of order)
    for (const input of operation.kind === "cat" ? [] : inputs)
      if (input.operation.kind === "cat" && input.inputs.length > maxChoices) mark(input);
  // Operands of a matmul are read many times: below views, elements are stored. But what is made with little work
  // from half its bytes, like a packed weight, is made where it is loaded: a copy would be larger than its source.
  // In products with windows it is stored too, for those read each element for many places.
  const loaded = new Set<Node>();
  for (const node of order) {
    if (node.operation.kind === "loop") for (const input of node.inputs) mark(input);
    if (node.operation.kind !== "matmul") continue;
    const windowed = node.inputs.some(showsWindows);
    for (const operand of node.inputs.map(windowed ? underStrides : underViews)) {
      const parts = windowed ? undefined : madeFromLess(operand, stored);
      if (parts) for (const part of parts) loaded.add(part);
      else mark(operand);
    }
  }
  placeEpilogues(roots, order, stored, mark);
  const limit = (): boolean => {
    const before = stored.size;
    limitKernels(order, stored, mark, target);
    return stored.size > before;
  };
  let changed = limit();
  const limited = stored.size;
  avoidRepetition(order, stored, (node, isShared) => {
    // The same holds for what several kernels want: reading a copy would take longer than making it again.
    if (!loaded.has(node) && !(isShared && madeFromLess(node, stored))) mark(node);
  });
  // What is written over another value is written once, however many updates follow each other.
  for (const node of [...order].reverse())
    if (isUpdate(node) && stored.has(node) && isUpdateOfStored(node.inputs[0]!, stored))
      mark(node.inputs[0]!);
  // What is stored is read by others: they may bind too much now, also where this itself stores something.
  changed ||= stored.size > limited;
  while (changed) changed = limit();
  return stored;
}

/**
 * What is computed for an operand, if it is little, from stored values of half its bytes; undefined for others. What is
 * much smaller than the operand is left out: storing that is no loss.
 */
function madeFromLess(operand: Node, stored: ReadonlySet<Node>): readonly Node[] | undefined {
  const parts = new Set([operand]);
  const isStored = (node: Node) => node.operation.kind === "input" || stored.has(node);
  let [bytes, work] = [0, 0];
  for (const part of parts) {
    if (part.operation.kind === "gather") return undefined; // its loads are no little work
    if (isStored(part)) bytes += bytesOf(part);
    else {
      work += costOf(part) * Math.min(1, elements(part) / elements(operand));
      for (const input of part.inputs) parts.add(input);
    }
    if (bytes > operandShare * bytesOf(operand) || work > operandCost) return undefined;
  }
  return [...parts].filter((part) => !isStored(part) && bytesOf(part) > operandShare * bytesOf(operand));
}

function bytesOf(node: Node): number {
  return elements(node) * bytesPerElement(node.dtype);
}

/** The work of one element, in additions. */
function costOf({ operation }: Node): number {
  return operation.kind === "scalar" ? additionsOf(operation.op.row) : 0;
}

/** Whether a node is updates, one after the other, of a value that is stored. */
function isUpdateOfStored(node: Node, stored: ReadonlySet<Node>): boolean {
  const base = below(node, isUpdate);
  return base !== node && (base.operation.kind === "input" || stored.has(base));
}

/** Bounds what one kernel binds, and how large its code is. */
function limitKernels(
  order: readonly Node[],
  stored: ReadonlySet<Node>,
  mark: (node: Node) => void,
  target: Target,
): void {
  // A kernel also binds its results: three leave room for siblings.
  const most = target.maxBindings - 3;
  const reads = new Map<Node, ReadonlySet<Node>>();
  const itself = new Map<Node, ReadonlySet<Node>>();
  const sizes = new Map<Node, number>();
  const seen = (node: Node): ReadonlySet<Node> => {
    if (stored.has(node) || node.operation.kind === "input") {
      return getOrInsert(itself, node, () => new Set([node]));
    }
    // What a view shows may have been stored since the view was looked at.
    return isView(node) ? seen(node.inputs[0]!) : reads.get(node)!;
  };
  const sizeOf = (node: Node) => (stored.has(node) ? 1 : sizes.get(node)!);
  for (const node of order) {
    if (isOfParts(node)) {
      const [base, ...rest] = node.inputs as [Node, ...Node[]];
      const together = (of: readonly Node[]) => union(of.map(seen)).size;
      if (together(node.inputs) > most || 1 + sum(node.inputs.map(sizeOf)) > maxSize) mark(node);
      if (stored.has(node)) {
        // Kernels of their own make its parts: those of a cat, and that of an update of what is stored.
        if (node.operation.kind === "update" && together([base, ...rest]) > most) mark(base);
        sizes.set(node, 1);
        continue;
      }
    }
    if (node.operation.kind === "loop") {
      // It binds nothing itself.
      sizes.set(node, 1);
      continue;
    }
    for (;;) {
      const all = union(node.inputs.map(seen));
      if (all.size <= most) {
        reads.set(node, all);
        break;
      }
      const widest = largest(node.inputs, (input) => seen(input).size);
      mark(shownBy(widest));
    }
    let size = 1 + sum(node.inputs.map(sizeOf));
    if (size > maxSize) size = countBelow(node, stored);
    if (size > maxSize) {
      for (const input of node.inputs) if (sizeOf(input) > maxSize / 4) mark(input);
      size = countBelow(node, stored);
    }
    sizes.set(node, size);
  }
}

function union(sets: readonly ReadonlySet<Node>[]): ReadonlySet<Node> {
  if (sets.length === 1) return sets[0]!;
  const all = new Set<Node>();
  for (const set of sets) for (const node of set) all.add(node);
  return all;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function largest(nodes: readonly Node[], measure: (node: Node) => number): Node {
  return nodes.reduce((best, node) => (measure(node) > measure(best) ? node : best));
}

/** From where an expression is looked at: equal ones have equal indices. */
interface View {
  /** The view before a run of reshapes. */
  readonly base: number;
  readonly shape: Shape;
}

/**
 * Vertices of the expression of a node, counted up to a little above the bound: what is seen through several views has
 * an index for each of them, and is computed for each.
 */
function countBelow(root: Node, stored: ReadonlySet<Node>): number {
  const views: View[] = [{ base: 0, shape: root.shape }];
  const places = new Map<string, number>();
  const through = (view: number, node: Node): number => {
    if (!isView(node)) return view;
    const { operation, inputs } = node;
    const { shape } = inputs[0]!;
    // Reshapes one after the other have one position, and back in the first shape one index.
    const isReshape = operation.kind === "reshape";
    const base = isReshape ? views[view]!.base : view;
    if (isReshape && sameShape(shape, views[base]!.shape)) return base;
    const name = isReshape ? `${base} as ${shape}` : `${base} ${describeOperation(operation)} ${shape}`;
    return getOrInsert(places, name, () => views.push({ base: isReshape ? base : views.length, shape }) - 1);
  };
  // A vertex looks through one view more at most, so that views are fewer than the multiple of a node's number.
  const seen = new Set<number>();
  const stack: [node: Node, view: number][] = [[root, 0]];
  for (let next = stack.pop(); next; next = stack.pop()) {
    const [node, view] = next;
    const name = node.id * (maxSize + 3) + view;
    if (seen.has(name)) continue;
    seen.add(name);
    if (seen.size > maxSize) break;
    if (node !== root && stored.has(node)) continue;
    const below = through(view, node);
    for (const input of node.inputs) stack.push([input, below]);
  }
  return seen.size;
}

const several = "several";

/** Stores what would be computed again and again: under a stretched axis, or in several kernels. */
function avoidRepetition(
  order: readonly Node[],
  stored: ReadonlySet<Node>,
  mark: (node: Node, isShared: boolean) => void,
): void {
  const cost = new Map<Node, number>();
  // What follows from host numbers alone is computed once per kernel anyway.
  const uniform = new Set<Node>();
  for (const node of order) {
    if (node.operation.kind === "hostNumber" || node.operation.kind === "constant") uniform.add(node);
    else if (node.inputs.length > 0 && node.inputs.every((input) => uniform.has(input))) uniform.add(node);
    cost.set(
      node,
      Math.min(
        1e6,
        costOf(node) +
          node.inputs.reduce((sum, input) => sum + (stored.has(input) ? 0 : cost.get(input)!), 0),
      ),
    );
  }
  const times = new Map<Node, number>();
  /** The kernel that wants a node, or that there are several. */
  const kernels = new Map<Node, string>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    const { kind } = node.operation;
    if ((kind === "scalar" || kind === "cast") && !uniform.has(node)) {
      if (cost.get(node)! > repeatedCost && (times.get(node) ?? 1) >= 2) mark(node, false);
      else if (cost.get(node)! > sharedCost && kernels.get(node) === several) mark(node, true);
    }
    const isStored = stored.has(node);
    // Elementwise results of one size usually end up in one kernel.
    const name = isCore(node) ? `core ${node.id}` : `map ${elements(node)}`;
    const within = isStored ? name : (kernels.get(node) ?? name);
    for (const input of node.inputs) {
      const factor =
        kind === "expand" || kind === "gather" ? numel(node.shape) / Math.max(numel(input.shape), 1) : 1;
      times.set(input, Math.max(times.get(input) ?? 0, factor * (isStored ? 1 : (times.get(node) ?? 1))));
      kernels.set(input, (kernels.get(input) ?? within) === within ? within : several);
    }
  }
}
