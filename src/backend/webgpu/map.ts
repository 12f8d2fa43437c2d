import { Emitter } from "../../compile/emit.ts";
import { expressionsOf, type LoopKernel } from "../../compile/kernel.ts";
import { printStores, wgsl } from "./dialect.ts";
import { type Body, digits, perPoint, product } from "./grid.ts";
import { accessesOf, isShort, printQuads } from "./quads.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";

/** Elements below which quads save less than compiling four times the code takes. */
const manyElements = 1024;

/** Elementwise work: one invocation for each quad where quads can be stored, else for each point. */
export function printMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  return printQuadMap(kernel, bindings, options) ?? printPointMap(kernel, bindings, options);
}

function printPointMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { grid, stores } = kernel;
  const emitter = new Emitter(wgsl(bindings), expressionsOf(kernel), new Map());
  const writes = printStores(stores, emitter, 0, bindings);
  return perPoint(product(grid), options, [...digits(grid, "point"), ...emitter.statements(0), ...writes]);
}

function printQuadMap(kernel: LoopKernel, bindings: Bindings, options: ShaderOptions): Body | undefined {
  const { grid, stores } = kernel;
  const outer = grid.slice(0, -1);
  const last = grid[grid.length - 1];
  if (product(grid) < manyElements) return undefined;
  // Rows must be whole quads; the end of the last one may lie in the padding of buffers.
  if (!last || (outer.length > 0 && last.extent % 4 !== 0) || !isShort(stores)) return undefined;
  const accesses = accessesOf(stores, last.name);
  if (!accesses) return undefined;
  bindings.widen(accesses);
  if (!stores.every(({ value }) => bindings.isWide(value))) {
    bindings.widen([]);
    return undefined;
  }
  const quads = { name: "quad", extent: Math.ceil(last.extent / 4) };
  const others = outer.map(({ name }) => name);
  const start =
    outer.length === 0
      ? [`let ${last.name} = point * 4;`]
      : [...digits([...outer, quads], "point"), `let ${last.name} = ${quads.extent > 1 ? "quad * 4" : "0"};`];
  const { declarations, body } = printQuads({ stores, variable: last.name, others }, bindings);
  return {
    declarations,
    ...perPoint(product([...outer, quads]), options, [...start, ...body]),
  };
}
