import { internal } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { add } from "../graph/elementwise.ts";
import type { Node } from "../graph/node.ts";
import type { Expr } from "./expr.ts";
import type { Kernel } from "./kernel.ts";
import type { Index, Lowering } from "./lower.ts";
import { type At, accumulate, loopOver, write } from "./nest.ts";
import type { ValueId } from "./value.ts";

/** Names of its loop variables. */
const names = { fiber: "fiber", position: "position", source: "source" } as const;

/**
 * The kernel of what goes along one axis, fiber by fiber: what lies along it, at one place on all other axes. Nothing is joined
 * with it.
 */
export function kernelAlong(node: Node, value: ValueId, lowering: Lowering): Kernel {
  const { e } = lowering;
  const { operation, inputs, shape } = node;
  const axis = "axis" in operation ? operation.axis : shape.length - 1;
  const fibers = numel(shape.filter((_, i) => i !== axis));
  const below = numel(shape.slice(axis + 1));
  const length = shape[axis]!;
  const [fiber, position] = [e.variable(names.fiber, fibers), e.variable(names.position, length)];
  const at = alongFiber(fiber, position, shape, axis, lowering);
  const index = e.combine([
    [below * length, e.divide(fiber, below)],
    [1, e.remainder(fiber, below)],
    [below, position],
  ]);
  const grid = [{ name: names.fiber, extent: fibers }];
  const positions = { name: names.position, extent: length };
  switch (operation.kind) {
    case "cumsum": {
      const expr = lowering.element(inputs[0]!, at);
      const { dtype } = expr;
      const taken = accumulate([{ index: 0, name: "sum", dtype, expr }]);
      const soFar = write([{ value, index, expr: e.accumulator(0, dtype) }]);
      return { kind: "nest", grid, body: [loopOver([positions], taken, soFar)] };
    }
    case "scatterAdd": {
      const [x, target, addend] = inputs as [Node, Node, Node];
      const sources = { name: names.source, extent: target.shape[axis]! };
      const source = e.variable(sources.name, sources.extent);
      const from = at.with(axis, source);
      const initial = lowering.element(x, at);
      const { dtype } = initial;
      const addTo = (before: Expr): At => {
        const expr = e.apply(add.row, [before, lowering.element(addend, from)], dtype);
        const place = lowering.element(target, from);
        return { kind: "at", axis: positions, index: place, body: [write([{ value, index, expr }])] };
      };
      if (operation.permutes) return { kind: "nest", grid: [...grid, sources], body: [addTo(initial)] };
      const body = [
        loopOver([positions], write([{ value, index, expr: initial }])),
        loopOver([sources], addTo(e.load(value, index, dtype))),
      ];
      return { kind: "nest", grid, body };
    }
    case "procedure": {
      const { procedure } = operation;
      const initial = lowering.element(inputs[0]!, at);
      const { dtype } = initial;
      if (dtype !== "float32" && dtype !== "float64" && dtype !== "int32")
        return internal(`${procedure.text} on ${dtype}`);
      const stores = [{ value, index, expr: e.accumulator(0, dtype) }] as const;
      return { kind: "procedure", dtype, procedure, fiber: grid[0]!, position: positions, initial, stores };
    }
    default:
      return internal(`${operation.kind} goes along no axis`);
  }
}

/** The index of each axis in terms of a fiber and the place along `axis`. */
function alongFiber(
  fiber: Expr,
  position: Expr,
  shape: readonly number[],
  axis: number,
  lowering: Lowering,
): Index {
  const outer = lowering.unflatten(
    fiber,
    shape.filter((_, i) => i !== axis),
  );
  let next = 0;
  return shape.map((_, i) => (i === axis ? position : outer[next++]!));
}
