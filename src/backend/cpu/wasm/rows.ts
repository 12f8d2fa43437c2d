import type { Expr } from "../../../compile/expr.ts";
import {
  type Axis,
  expressionsOf,
  type Nest,
  type NumberedAccumulator,
  type Store,
  writesOf,
} from "../../../compile/kernel.ts";
import { type For, isOrdered } from "../../../compile/nest.ts";
import type { Level } from "../../../compile/place.ts";
import { axisAs, copiesOf, type Step } from "../../../compile/steps.ts";
import { beginScalar, finishScalar, updateScalar } from "./accumulators.ts";
import { alongOf, lanesAxis, none } from "./along.ts";
import type { Code, Local } from "./assemble.ts";
import { i32 } from "./expressions.ts";
import { type Grid, levelsOf, type Site } from "./grid.ts";
import { LoopWriter } from "./nest.ts";
import { storeLanes, writeStores } from "./stores.ts";
import { Values } from "./values.ts";
import type { Scope } from "./writer.ts";

/**
 * A nest, statement by statement: what a row has is in the cache while its loops run one after the other. Lanes run along
 * them, or along the grid where results lie side by side.
 */
export function writeRows(
  { module, given, code, start, params }: Site,
  nest: Nest,
  steps: readonly Step[],
): Omit<Grid, "start"> {
  const { grid, body: statements } = nest;
  const last = grid[grid.length - 1] ?? none;
  const inner = statements.find((s) => s.kind === "for")?.over ?? [];
  const innermost = inner[inner.length - 1] ?? none;
  const along = alongOf(steps, grid);
  /** Rows that are done abreast: one waits for its sums while the other works. */
  const abreast = axisAs(steps, "copies", last.name)?.by ?? 1;

  const variables = new Map([...grid, ...inner, none].map(({ name }) => [name, code.local("i32")]));
  const v = variables.get(last.name)!;
  const access = given.access(start, params.args);
  const all: Values[] = [];
  /** Rows abreast, each with its place on the last axis of the grid and the results of its passes. */
  const rows = Array.from({ length: abreast }, (_, i) => ({
    variables: i === 0 ? variables : new Map(variables).set(last.name, code.local("i32")),
    results: [] as [number, Local][],
  }));
  // Each statement has values of its own, which know the results of those before.
  const scope = (row: (typeof rows)[number], roots: readonly Expr[], ordered?: Partial<Scope>): Values => {
    const values = new Values(code, {
      module,
      roots,
      variables: row.variables,
      levels: levelsOf(grid, inner),
      afterwards: 2,
      written: writtenAt(2, nest),
      vector: lanesAxis(along, last, innermost),
      ...access,
      ...ordered,
    });
    for (const [index, local] of row.results) values.setAccumulator(index, local);
    all.push(values);
    return values;
  };
  const stop = code.local("i32");
  const body = code.piece();
  rows.forEach((row, i) => {
    if (i > 0) body.assign(row.variables.get(last.name)!, i32.add(v, i));
  });
  const elements = (list: readonly Store[]) => {
    for (const row of rows)
      body.append(writeElements(code, scope(row, rootsOf(list)), inner, list, along === "inner"));
  };
  const reduce = (accumulators: readonly NumberedAccumulator[]) => {
    const part = { grid, inner, accumulators, stores: [] };
    const vectors = copiesOf(steps, innermost.name, accumulators);
    for (const row of rows) {
      const values = scope(
        row,
        accumulators.map(({ expr }) => expr),
      );
      const reduced = new LoopWriter(code, values, part, last, along, { vectors }).reduce();
      body.append(reduced.code);
      accumulators.forEach(({ index }, i) => {
        row.results.push([index, reduced.results[i]!]);
      });
    }
  };
  const once = (list: readonly Store[], values: Values, level: Level): Code =>
    writeStores(values.piece(level), values, list, level, along === "grid", (into, address, held) =>
      storeLanes(into, address, held, last.extent % 4 === 0, v, stop),
    );
  for (const s of statements) {
    if (s.kind === "write") {
      for (const row of rows) {
        const values = scope(row, rootsOf(s.stores));
        const writes = once(s.stores, values, 2);
        body.append(values.piece(2), writes);
      }
    } else if (s.kind === "for" && isOrdered(s)) {
      const bottom = 2 + inner.length;
      const roots = expressionsOf({ kind: "nest", grid, body: [s] });
      const levels = levelsOf(grid, inner);
      for (const part of s.body) if (part.kind === "at") levels.set(part.axis.name, bottom + 1);
      const written = new Map([
        ...writtenAt(2, nest),
        ...writtenAt(bottom + 1, { kind: "nest", grid, body: [s] }),
      ]);
      for (const row of rows)
        body.append(
          writeOrdered(code, scope(row, roots, { levels, afterwards: bottom + 1, written }), s, once),
        );
    } else if (s.kind === "for") {
      for (const part of s.body) {
        if (part.kind === "write") elements(part.stores);
        else if (part.kind === "accumulate") reduce(part.accumulators);
      }
    }
  }
  return {
    variable: (axis) => variables.get(axis)!,
    stop,
    step: along === "grid" ? 4 : abreast,
    pieces: [0, 1].map((level) => all.map((values) => values.piece(level))),
    element: body,
  };
}

/** The values that a nest stores, at a level. */
const writtenAt = (level: Level, nest: Nest) =>
  new Map(writesOf(nest).map((value): [number, Level] => [value, level]));

const rootsOf = (list: readonly Store[]) => list.flatMap(({ index, expr }) => [index, expr]);

/** A loop in its order: what runs up, and what is written at each element of what has, or where an index points. */
function writeOrdered(
  code: Code,
  values: Values,
  { over, body }: For,
  write: (list: readonly Store[], values: Values, level: Level) => Code,
): Code {
  const bottom = 2 + over.length;
  const [begin, inside] = [code.piece(), values.piece(bottom)];
  const end = code.piece();
  for (const s of body) {
    if (s.kind === "accumulate")
      for (const a of s.accumulators) {
        const running = beginScalar(begin, a);
        updateScalar(inside, a, running, values.scalar(a.expr, bottom));
        values.setAccumulator(a.index, finishScalar(values.piece(bottom + 1), a, running));
      }
    else if (s.kind === "write") {
      const writes = write(s.stores, values, bottom + 1);
      end.append(values.piece(bottom + 1), writes);
    } else if (s.kind === "at") {
      const at = values.variable(s.axis.name);
      inside.assign(at, values.index(s.index, bottom));
      const writes = s.body.map((part) =>
        write(part.kind === "write" ? part.stores : [], values, bottom + 1),
      );
      end.if(i32.lt(at, s.axis.extent), () => {
        end.append(values.piece(bottom + 1), ...writes);
      });
    }
  }
  inside.append(end);
  return code.piece().append(begin, values.piece(2), loopsAround(code, values, over, inside, 1));
}

/** Loops over axes, the innermost one in steps. */
function loopsAround(code: Code, values: Values, over: readonly Axis[], body: Code, step: number): Code {
  if (over.some(({ extent }) => extent === 0)) return code.piece();
  let nest = body;
  for (let depth = over.length; depth > 0; depth--) {
    const { name, extent } = over[depth - 1]!;
    const variable = values.variable(name);
    const wrapped = code.piece();
    const inside = nest;
    wrapped.each(variable, 0, extent, depth === over.length ? step : 1, () => {
      if (depth < over.length) wrapped.append(values.piece(2 + depth));
      wrapped.append(inside);
    });
    nest = wrapped;
  }
  return nest;
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
  const nest = loopsAround(code, values, inner, body, vector ? 4 : 1);
  return code.piece().append(values.piece(2)).assign(end, innermost.extent).append(nest);
}
