import { Emitter } from "../../compile/emit.ts";
import { expressionsOf, type LoopKernel } from "../../compile/kernel.ts";
import { printBlockMap } from "./blocks.ts";
import { printStores, wgsl } from "./dialect.ts";
import { printQuadStores, quadGrid } from "./elements.ts";
import { type Body, digits, perPoint, product } from "./grid.ts";
import { accessesOf, isShort, manyElements } from "./quads.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";

/** Elementwise work: one invocation for each block, or each quad, where they can be stored, else for each point. */
export function printMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  return (
    printBlockMap(kernel, bindings, options) ??
    printQuadMap(kernel, bindings, options) ??
    printPointMap(kernel, bindings, options)
  );
}

function printPointMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, stores } = kernel;
  const emitter = new Emitter(wgsl(bindings), expressionsOf(kernel), new Map());
  const writes = printStores(stores, emitter, 0, bindings);
  return perPoint(product(grid), options, [...digits(grid, "point"), ...emitter.statements(0), ...writes]);
}

function printQuadMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body | undefined {
  const { grid, stores } = kernel;
  const quads = quadGrid(grid);
  if (!quads || product(grid) < manyElements || !isShort(stores.map(({ expr }) => expr))) return undefined;
  const accesses = accessesOf(stores, quads.variable);
  if (!accesses) return undefined;
  bindings.widen(accesses);
  if (!stores.every(({ value }) => bindings.isWide(value))) {
    bindings.widen([]);
    return undefined;
  }
  const { declarations, body } = printQuadStores(stores, quads, bindings);
  return { declarations, ...perPoint(quads.points, options, [...quads.unpack, ...body]) };
}
