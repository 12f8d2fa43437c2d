import { sharedIn } from "../../compile/access.ts";
import { type Expr, walk } from "../../compile/expr.ts";
import type { Store } from "../../compile/kernel.ts";
import { type Level, place, type Use } from "../../compile/place.ts";
import type { ValueId } from "../../compile/value.ts";
import { storedType, valueType } from "./dtypes.ts";
import { isQuadLoad } from "./quads.ts";
import type { Bindings } from "./shader.ts";
import { Text, whole, write } from "./text.ts";

// Four elements by one function of an element, called four times. What they share is loaded or computed once.

/** Expressions of one element, and where they stand. */
export interface Elements {
  readonly exprs: readonly Expr[];
  /** The name of their function. */
  readonly name?: string;
  /** The index that moves within a quad. */
  readonly variable: string;
  /** The other indices in scope. */
  readonly others: readonly string[];
  /** Names of what the kernel's core gives: one number, or four of which each element has its own. */
  readonly core?: { readonly name: (index: number) => string; readonly four: boolean };
  /** The loops around it. */
  readonly levels?: ReadonlyMap<string, Level>;
  /** Vectors of what some loads give to the quad. */
  readonly loaded?: ReadonlyMap<Expr, string>;
  /** What some loads would give, and is at hand. */
  readonly known?: ReadonlyMap<Expr, Expr>;
}

/** Four elements at once: a function of one, and statements that call it four times. */
export interface Quad {
  readonly declarations: readonly string[];
  /** Statements for each level of the loops; the innermost has the calls. */
  statements(level: Level): readonly string[];
  /** The four values of an expression, by its number. */
  values(n: number): readonly string[];
  /** Stores an expression at a place, each by its number; the buffer is wide. */
  store(value: ValueId, place: number, n: number): string;
}

const four = [..."xyzw"];

/** @param places Indices that are wanted beside the elements. */
export function printQuad(
  {
    exprs,
    name = "element",
    variable,
    others,
    core,
    levels = new Map(),
    loaded = new Map(),
    known = new Map(),
  }: Elements,
  bindings: Bindings,
  places: readonly Expr[] = [],
): Quad {
  const depth = Math.max(0, ...levels.values());
  const isWide = (e: Expr) => loaded.has(e) || (isQuadLoad(e, variable) && bindings.isWide(e.value));
  const along = { variable, run: 4, results: core?.four ?? false };
  const once = sharedIn(exprs, along, isWide, known);
  const result = core && { result: core.name };
  const quads = write(
    [
      ...once.flatMap(({ expr, wide }): Use[] => {
        if (!wide) return [{ expr, at: depth, named: true }];
        return loaded.has(expr) ? [] : [{ expr: wide.index, at: depth }];
      }),
      ...places.map((expr) => ({ expr, at: depth })),
    ],
    bindings,
    { levels, ...result },
  );
  // What is loaded or computed once for the quad becomes an argument of the element.
  const lets: string[] = [];
  const parameters: string[] = [];
  const passed: ((component: string, i: number) => string)[] = [];
  const given = new Map<Expr, string>();
  once.forEach(({ expr, wide }, n) => {
    const parameter = wide ? `q${n}` : `s${n}`;
    if (wide)
      lets.push(
        `let ${parameter} = ${loaded.get(expr) ?? bindings.quad(wide.value, quads.operand(wide.index))};`,
      );
    given.set(expr, parameter);
    parameters.push(`${parameter}: ${valueType(expr.dtype)}`);
    passed.push((component) =>
      wide ? whole(bindings.element(wide.value, `${parameter}.${component}`, wide.dtype)) : quads.text(expr),
    );
  });
  const placement = place(
    exprs.map((expr) => ({ expr, at: 0 })),
    { given, same: known },
  );
  const element = new Text(placement, bindings, core ? { result: core.name } : {});
  const results = exprs.map((expr) => {
    const text = element.text(expr);
    return expr.dtype === "bool" ? `select(0u, 1u, ${text})` : text;
  });
  // Of what is outside, the function is given what it uses.
  walk(exprs, (e) => {
    if (e.kind !== "accumulator" || !placement.free.has(e)) return;
    const name = element.text(e);
    parameters.unshift(`${name}: ${valueType(e.dtype)}`);
    passed.unshift((component) => (core?.four ? `${name}.${component}` : name));
  });
  const used = new Set([...placement.free].flatMap((e) => (e.kind === "variable" ? [e.name] : [])));
  for (const index of [variable, ...others].filter((name) => used.has(name))) {
    parameters.unshift(`${index}: i32`);
    passed.unshift((_, i) => (index === variable && i > 0 ? `${index} + ${i}` : index));
  }
  const types = exprs.map(({ dtype }) => storedType(dtype));
  const single = exprs.length === 1;
  const struct = name[0]!.toUpperCase() + name.slice(1);
  const placed = places.map((index) => quads.operand(index));
  const calls = four.map(
    (component, i) => `let e${i} = ${name}(${passed.map((pass) => pass(component, i)).join(", ")});`,
  );
  const values = (n: number) => four.map((_, i) => (single ? `e${i}` : `e${i}.y${n}`));
  return {
    declarations: [
      "",
      ...(single ? [] : [`struct ${struct} {`, ...types.map((type, i) => `y${i}: ${type},`), "}", ""]),
      `fn ${name}(${parameters.join(", ")}) -> ${single ? types[0] : struct} {`,
      ...element.statements(0),
      single ? `return ${results[0]};` : `return ${struct}(${results.join(", ")});`,
      "}",
    ],
    statements: (level) => [...quads.statements(level), ...(level === depth ? [...lets, ...calls] : [])],
    values,
    store: (value, place, n) => bindings.storeQuad(value, placed[place]!, values(n)),
  };
}

/** The four elements of all stores, whose buffers are wide, and the statements that store them. */
export function printQuadStores(
  stores: readonly Store[],
  elements: Omit<Elements, "exprs">,
  bindings: Bindings,
): { declarations: readonly string[]; outer: readonly string[]; body: readonly string[] } {
  const quad = printQuad(
    { ...elements, exprs: stores.map(({ expr }) => expr) },
    bindings,
    stores.map(({ index }) => index),
  );
  const writes = stores.map(({ value }, n) => quad.store(value, n, n));
  const nested = (elements.levels?.size ?? 0) > 0;
  return {
    declarations: quad.declarations,
    outer: nested ? quad.statements(0) : [],
    body: [...quad.statements(nested ? 1 : 0), ...writes],
  };
}
