import { elements, type Node, type Operation } from "../graph/node.ts";
import { cat } from "../graph/update.ts";
import { type Draft, draft, draftPart, readsOf } from "./draft.ts";
import type { Index, Lowering } from "./lower.ts";
import type { ValueId } from "./value.ts";

/** Elements up to which one kernel chooses among several parts: kernels of their own would take longer. */
const fewElements = 4096;

/** What is needed to make the kernels of a node. */
export interface Assembly {
  readonly lowering: Lowering;
  readonly maxBindings: number;
  /** The value that holds a node, or undefined where it is computed in place. */
  readonly stored: (node: Node) => ValueId | undefined;
  /** A further value like that of the node. */
  readonly another: (node: Node) => ValueId;
}

/**
 * The kernels that compute a stored node: one, or for what is made of parts one for each. Those form a chain of values,
 * each of which takes over the place of the one before (overwrite.ts), so that every element is written once and what is
 * updated need not be copied.
 */
export function draftsOf(node: Node, value: ValueId, assembly: Assembly): Draft[] {
  const { operation } = node;
  if (operation.kind === "cat") return draftsOfCat(node, operation.axis, value, assembly);
  const over = operation.kind === "update" ? assembly.stored(node.inputs[0]!) : undefined;
  if (operation.kind === "update" && over !== undefined)
    return [draftOfUpdate(node, operation, value, over, assembly)];
  return [draft(node, value, assembly.lowering)];
}

function draftOfUpdate(
  node: Node,
  { step }: Extract<Operation, { kind: "update" }>,
  value: ValueId,
  over: ValueId,
  { lowering }: Assembly,
): Draft {
  const { e } = lowering;
  const starts = lowering.starts(node);
  const index = (at: Index) =>
    at.map((i, axis) =>
      e.combine([
        [step[axis]!, i],
        [1, starts[axis]!],
      ]),
    );
  return draftPart(
    node.inputs[1]!,
    value,
    (at) => ({ index: lowering.flatten(index(at), node.shape), over }),
    lowering,
  );
}

function draftsOfCat(node: Node, axis: number, value: ValueId, assembly: Assembly): Draft[] {
  const { lowering } = assembly;
  const { e } = lowering;
  const groups = groupsOf(node, assembly);
  if (groups.length === 1) return [draft(node, value, lowering)];
  let start = 0;
  let over: ValueId | undefined;
  return groups.map((parts, i) => {
    const group = cat(parts, axis);
    const [from, before] = [start, over];
    start += group.shape[axis]!;
    over = i === groups.length - 1 ? value : assembly.another(node);
    const moved = (at: Index) => at.with(axis, e.combine([[1, at[axis]!]], from));
    return draftPart(
      group,
      over,
      (at) => ({ index: lowering.flatten(moved(at), node.shape), over: before }),
      lowering,
    );
  });
}

/** Neighbouring parts of a cat that one kernel writes: small ones together, as many as it may bind. */
function groupsOf(node: Node, { lowering, maxBindings }: Assembly): Node[][] {
  const groups: Node[][] = [];
  let [size, reads]: [number, ReadonlySet<ValueId>] = [0, new Set()];
  for (const part of node.inputs) {
    if (elements(part) === 0) continue;
    const own = readsOf(
      draftPart(part, 0, (at) => ({ index: lowering.flatten(at, part.shape), over: undefined }), lowering),
    );
    const together = new Set([...reads, ...own]);
    if (groups.length > 0 && size + elements(part) <= fewElements && together.size <= maxBindings - 3) {
      groups[groups.length - 1]!.push(part);
      [size, reads] = [size + elements(part), together];
    } else {
      groups.push([part]);
      [size, reads] = [elements(part), own];
    }
  }
  return groups;
}
