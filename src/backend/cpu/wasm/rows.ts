import type { Expr } from "../../../compile/expr.ts";
import type { Axis, Nest, Store } from "../../../compile/kernel.ts";
import { product } from "../../../compile/nest.ts";
import { axisAs, type Step } from "../../../compile/steps.ts";
import { alongOf, lanesAxis, none } from "./along.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { cutGrid, levelsOf, type Phase, phaseTypes, writeGrid } from "./grid.ts";
import { scheduleRow, unitTime, vectorsOf } from "./heuristics.ts";
import { LoopWriter } from "./nest.ts";
import { storeLanes, writeStores } from "./stores.ts";
import { Values } from "./values.ts";

/**
 * A row kernel: for each row the passes one after the other, then what is stored once, then what is stored for each
 * element. The row stays in the cache. Lanes run along the row, or along the rows where those lie side by side.
 */
export function defineRows(
  module: Module,
  name: string,
  kernel: Nest,
  given: Arguments,
): { readonly steps: readonly Step[]; readonly phases: readonly Phase[] } {
  const { grid, inner, passes, stores, elements } = kernel;
  const last = grid[grid.length - 1] ?? none;
  const innermost = inner[inner.length - 1] ?? none;
  const steps = scheduleRow(kernel);
  const along = alongOf(steps, grid);
  const over = product(inner);
  const cut = cutGrid(grid, steps);
  const copies = axisAs(steps, "copies", innermost.name)?.by ?? 1;
  /** Rows that are done abreast: one waits for its sums while the other works. */
  const abreast = axisAs(steps, "copies", last.name)?.by ?? 1;

  module.define(name, phaseTypes, (code, { begin, end, args }) => {
    const start = code.piece();
    const variables = new Map([...grid, ...inner, none].map(({ name }) => [name, code.local("i32")]));
    const v = variables.get(last.name)!;
    const access = given.access(start, args);
    const all: Values[] = [];
    /** Rows abreast, each with its place on the last axis of the grid and the results of its passes. */
    const rows = Array.from({ length: abreast }, (_, i) => ({
      variables: i === 0 ? variables : new Map(variables).set(last.name, code.local("i32")),
      results: [] as [number, Local][],
    }));
    // Each pass has values of its own, which know the results of those before.
    const scope = (row: (typeof rows)[number], roots: readonly Expr[]): Values => {
      const values = new Values(code, {
        module,
        roots,
        variables: row.variables,
        levels: levelsOf(grid, inner),
        afterwards: 2,
        vector: lanesAxis(along, last, innermost),
        ...access,
      });
      for (const [index, local] of row.results) values.setAccumulator(index, local);
      all.push(values);
      return values;
    };
    const rootsOf = (list: readonly Store[]) => list.flatMap(({ index, expr }) => [index, expr]);
    const stop = code.local("i32");
    const body = code.piece();
    rows.forEach((row, i) => {
      if (i > 0) body.get(v).i32(i).op("i32.add").set(row.variables.get(last.name)!);
    });
    const write = (list: readonly Store[]) => {
      if (list.length === 0) return;
      for (const row of rows)
        body.append(writeElements(code, scope(row, rootsOf(list)), inner, list, along === "inner"));
    };
    for (const { before, accumulators: pass } of passes) {
      write(before);
      for (const row of rows) {
        const values = scope(
          row,
          pass.map(({ expr }) => expr),
        );
        const part = { grid, inner, accumulators: pass, stores: [] };
        // Those with many sums have none to spare.
        const vectors = Math.min(copies, vectorsOf(part, along));
        const reduced = new LoopWriter(code, values, part, last, along, { vectors }).reduce();
        body.append(reduced.code);
        pass.forEach(({ index }, i) => {
          row.results.push([index, reduced.results[i]!]);
        });
      }
    }
    if (stores.length > 0) {
      for (const row of rows) {
        const values = scope(row, rootsOf(stores));
        const writes = writeStores(
          values.piece(2),
          values,
          stores,
          2,
          along === "grid",
          (into, address, held) => storeLanes(into, address, held, last.extent % 4 === 0, v, stop),
        );
        body.append(values.piece(2));
        body.append(writes);
      }
    }
    write(elements);
    writeGrid(code, begin, end, cut, {
      variable: (axis) => variables.get(axis)!,
      stop,
      step: along === "grid" ? 4 : abreast,
      start,
      pieces: [0, 1].map((level) => all.map((values) => values.piece(level))),
      element: body,
    });
  });
  const exprs = [
    ...passes.flatMap(({ before, accumulators }) => [...before, ...accumulators]),
    ...stores,
    ...elements,
  ].map(({ expr }) => expr);
  const cost = unitTime((last.extent / cut.blocks) * over, exprs, along);
  return { steps, phases: [{ name, units: cut.units, cost }] };
}

/** The loops over the row that store its elements. */
function writeElements(
  code: Code,
  values: Values,
  inner: readonly Axis[],
  elements: readonly Store[],
  vector: boolean,
): Code {
  const innermost = inner[inner.length - 1] ?? none;
  const bottom = 2 + inner.length;
  const k = values.variable(innermost.name);
  const end = code.local("i32");
  const body = values.piece(bottom);
  const writes = writeStores(body, values, elements, bottom, vector, (into, address, held) =>
    storeLanes(into, address, held, innermost.extent % 4 === 0, k, end),
  );
  body.append(writes);
  let nest = body;
  for (let depth = inner.length; depth > 0; depth--) {
    const { name, extent } = inner[depth - 1]!;
    const variable = values.variable(name);
    const wrapped = code.piece();
    const inside = nest;
    wrapped
      .i32(0)
      .set(variable)
      .repeat(variable, extent, depth === inner.length && vector ? 4 : 1, () => {
        if (depth < inner.length) wrapped.append(values.piece(2 + depth));
        wrapped.append(inside);
      });
    nest = wrapped;
  }
  const result = code.piece();
  result.append(values.piece(2));
  result.i32(innermost.extent).set(end).append(nest);
  return result;
}
