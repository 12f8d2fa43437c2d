import type { DeviceDType } from "../base/dtype.ts";
import { getOrInsert } from "../base/group.ts";
import { numel } from "../base/shape.ts";
import { elements, type Loop, type Node } from "../graph/node.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import { kernelAlong } from "./fibers.ts";
import {
  type Accumulator,
  type Axis,
  type Kernel,
  expressionsOf as kernelExpressions,
  type MatmulKernel,
  type Part,
  reads,
} from "./kernel.ts";
import { deviceDType, type Index, type Lowering } from "./lower.ts";
import { exprsOf } from "./nest.ts";
import type { ValueId } from "./value.ts";

/**
 * A kernel before it is given its loops: expressions of one position in a flat grid, so that kernels of one
 * size can be joined. `inner` counts the reduced elements in the same way.
 */
export type Core =
  | { readonly kind: "none" }
  | { readonly kind: "reduce"; readonly inner: number; readonly accumulators: readonly Accumulator[] }
  | {
      readonly kind: "rows";
      readonly inner: number;
      /** Later ones may use the results of earlier ones. */
      readonly accumulators: readonly Accumulator[];
      /** What is stored for each element of the row, by value. */
      readonly elements: ReadonlyMap<ValueId, Expr>;
    }
  | Omit<MatmulKernel, "stores">
  /** That of what goes along one axis (fibers.ts): nothing is joined with it. */
  | { readonly kind: "whole"; readonly kernel: Kernel }
  | {
      readonly kind: "loop";
      readonly loop: Loop;
      /** For each input of the loop: its value, or which number of the host it is. */
      readonly operands: readonly ({ readonly value: ValueId } | { readonly source: number })[];
      readonly results: readonly LoopResult[];
    };

/** A value that a loop makes: what that of its body is at each step, or after the last one. */
export interface LoopResult {
  readonly value: ValueId;
  readonly output: Node;
  readonly last: boolean;
  readonly dtype: DeviceDType;
}

export interface Draft {
  readonly size: number;
  readonly core: Core;
  /** What is stored at the position of the grid, by value. */
  readonly stores: ReadonlyMap<ValueId, Expr>;
  /** Of stores that fill a part of their value: where. */
  readonly placed?: ReadonlyMap<ValueId, Placed>;
  readonly order?: Order;
}

/** What must be there before a kernel runs, read or not; and all that it made before others joined it, stored or not. */
export interface Order {
  readonly after: ReadonlySet<ValueId>;
  readonly made: ReadonlySet<ValueId>;
}

/** The draft, which runs after what makes those values. */
export function withOrder(draft: Draft, after: ReadonlySet<ValueId> | undefined): Draft {
  return after === undefined ? draft : { ...draft, order: { after, made: new Set(madeBy(draft)) } };
}

/** The order of two kernels that are joined: what one makes for the other is there in time. */
export function joinedOrder(a: Draft, b: Draft): Order {
  const made = new Set([a, b].flatMap((draft) => [...everMadeBy(draft)]));
  const after = [a, b].flatMap((draft) => [...(draft.order?.after ?? [])]);
  return { made, after: new Set(after.filter((value) => !made.has(value))) };
}

/** A part of a value: its index there, in terms of the position, and whose the rest is. */
export interface Placed extends Part {
  readonly index: Expr;
}

/** Names of the flat loop variables that drafts are written in. */
export const variables = {
  position: "position",
  inner: "inner",
  batch: "batch",
  row: "row",
  column: "column",
} as const;

/** The kernel that computes one stored node. */
export function draft(node: Node, value: ValueId, lowering: Lowering): Draft {
  const { e } = lowering;
  const size = elements(node);
  const dtype = deviceDType(node);
  const position = e.variable(variables.position, size);
  const { operation } = node;
  const own = (core: Core, expr: Expr): Draft => ({ size, core, stores: new Map([[value, expr]]) });
  switch (operation.kind) {
    case "reduce": {
      const x = node.inputs[0]!;
      const lengths = operation.axes.map((axis) => x.shape[axis]!);
      const inner = numel(lengths);
      const outer = lowering.unflatten(position, node.shape);
      const along = lowering.unflatten(e.variable(variables.inner, inner), lengths);
      let [kept, reduced] = [0, 0];
      const index = x.shape.map((_, axis) =>
        operation.axes.includes(axis) ? along[reduced++]! : outer[kept++]!,
      );
      const accumulator = { index: 0, name: operation.name, dtype, expr: lowering.element(x, index) };
      return own({ kind: "reduce", inner, accumulators: [accumulator] }, e.accumulator(0, dtype));
    }
    case "matmul": {
      const [a, b] = node.inputs as [Node, Node];
      const [rows, inner] = a.shape.slice(-2) as [number, number];
      const columns = b.shape[b.shape.length - 1]!;
      const batchShape = a.shape.slice(0, -2);
      const axis = (name: keyof typeof variables, extent: number): Axis => ({ name, extent });
      const axes = {
        batch: axis("batch", numel(batchShape)),
        row: axis("row", rows),
        column: axis("column", columns),
        inner: axis("inner", inner),
      };
      const at = lowering.unflatten(e.variable(variables.batch, axes.batch.extent), batchShape);
      const [row, column, k] = [axes.row, axes.column, axes.inner].map(({ name, extent }) =>
        e.variable(name, extent),
      ) as [Expr, Expr, Expr];
      const core: Core = {
        kind: "matmul",
        dtype: dtype === "float64" ? "float64" : "float32",
        ...axes,
        a: lowering.element(a, [...at, row, k]),
        b: lowering.element(b, [...at, k, column]),
      };
      return own(core, e.accumulator(0, dtype));
    }
    case "cumsum":
    case "scatterAdd":
    case "procedure":
      return own({ kind: "whole", kernel: kernelAlong(node, value, lowering) }, position);
    default:
      return own({ kind: "none" }, lowering.compute(node, lowering.unflatten(position, node.shape)));
  }
}

/** The values that enter a loop. */
export const valuesInto = ({ operands }: Extract<Core, { kind: "loop" }>): ValueId[] =>
  operands.flatMap((operand) => ("value" in operand ? [operand.value] : []));

/** What runs a loop. It has no size, so that nothing is joined with it. */
export function draftOfLoop(core: Extract<Core, { kind: "loop" }>, e: Expressions): Draft {
  return {
    size: 0,
    core,
    stores: new Map(core.results.map(({ value, dtype }) => [value, e.constant(0, dtype)])),
  };
}

/** The kernel that computes `part`, and stores it at an index of a larger value. */
export function draftPart(
  part: Node,
  value: ValueId,
  placed: (index: Index) => Placed,
  lowering: Lowering,
): Draft {
  const size = elements(part);
  const index = lowering.unflatten(lowering.e.variable(variables.position, size), part.shape);
  return {
    size,
    core: { kind: "none" },
    stores: new Map([[value, lowering.element(part, index)]]),
    placed: new Map([[value, placed(index)]]),
  };
}

/** The values a draft stores. */
export function madeBy({ core, stores }: Draft): ValueId[] {
  return core.kind === "rows" ? [...stores.keys(), ...core.elements.keys()] : [...stores.keys()];
}

/** All that a draft has made, stored or not. */
export function everMadeBy(draft: Draft): Set<ValueId> {
  return new Set([...(draft.order?.made ?? []), ...madeBy(draft)]);
}

/** The draft without some of its stores. */
export function withoutStores(draft: Draft, values: ReadonlySet<ValueId>): Draft {
  const rest = (stores: ReadonlyMap<ValueId, Expr>) =>
    new Map([...stores].filter(([value]) => !values.has(value)));
  const { core } = draft;
  return {
    ...draft,
    core: core.kind === "rows" ? { ...core, elements: rest(core.elements) } : core,
    stores: rest(draft.stores),
    order: { after: draft.order?.after ?? new Set(), made: everMadeBy(draft) },
    placed: new Map([...(draft.placed ?? [])].filter(([value]) => !values.has(value))),
  };
}

const distinct = new WeakMap<Draft, ReadonlySet<Expr>>();

/** Distinct expressions of a draft, parts before wholes. */
function distinctOf(draft: Draft): ReadonlySet<Expr> {
  return getOrInsert(distinct, draft, () => {
    const found = new Set<Expr>();
    walk(expressionsOf(draft), (e) => found.add(e));
    return found;
  });
}

/** How many distinct expressions a draft has. */
export function draftSize(draft: Draft): number {
  return distinctOf(draft).size;
}

/** The same of two drafts side by side. */
export function sizeTogether(a: Draft, b: Draft): number {
  const known = distinctOf(a);
  let size = known.size;
  for (const e of distinctOf(b)) if (!known.has(e)) size++;
  return size;
}

/** All expressions of a draft. */
export function expressionsOf(draft: Draft): Expr[] {
  return [...coreExpressions(draft.core), ...draft.stores.values(), ...placesOf(draft)];
}

/** Where it stores what fills parts of values. */
export function placesOf({ placed }: Draft): Expr[] {
  return [...(placed?.values() ?? [])].map(({ index }) => index);
}

/** The expressions of a draft's core. */
export function coreExpressions(core: Core): Expr[] {
  switch (core.kind) {
    case "none":
      return [];
    case "reduce":
      return exprsOf(core.accumulators);
    case "rows":
      return [...exprsOf(core.accumulators), ...core.elements.values()];
    case "matmul":
      return [core.a, core.b];
    case "whole":
      return kernelExpressions(core.kernel);
    case "loop":
      return [];
    default:
      return core satisfies never;
  }
}

/** The values a draft needs: those it loads, and those of which it replaces a part. */
export function readsOf(draft: Draft): ReadonlySet<ValueId> {
  if (draft.core.kind === "whole") return reads(draft.core.kernel);
  const found = new Set(draft.core.kind === "loop" ? valuesInto(draft.core) : []);
  for (const e of distinctOf(draft)) if (e.kind === "load") found.add(e.value);
  for (const { over } of draft.placed?.values() ?? []) if (over !== undefined) found.add(over);
  return found;
}
