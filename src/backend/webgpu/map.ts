import type { Loop } from "../../compile/kernel.ts";
import { product } from "../../compile/nest.ts";
import { axisAs, type Step } from "../../compile/steps.ts";
import { printBlockMap } from "./blocks.ts";
import { printQuadStores } from "./elements.ts";
import { type Body, digits, perPoint, quadGrid } from "./grid.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { writeStores } from "./text.ts";

/** Elementwise work: one invocation for each block, each quad or each point. */
export function printMap(
  kernel: Loop,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
): Body {
  const { grid, stores } = kernel;
  if (axisAs(steps, "copies")) return printBlockMap(kernel, bindings, options);
  if (axisAs(steps, "lanes")) {
    const quads = quadGrid(grid)!; // lanes run along it
    const { declarations, body } = printQuadStores(stores, quads, bindings);
    return { declarations, ...perPoint(quads.points, options, [...quads.unpack, ...body]) };
  }
  const { statements, writes } = writeStores(stores, bindings);
  return perPoint(product(grid), options, [...digits(grid, "point"), ...statements(0), ...writes]);
}
