import { sharedIn } from "../../compile/access.ts";
import { type Expr, walk } from "../../compile/expr.ts";
import type { Store } from "../../compile/kernel.ts";
import { exprsOf } from "../../compile/nest.ts";
import { type Level, place, type Use } from "../../compile/place.ts";
import { storedType, valueType } from "./dtypes.ts";
import { isQuadLoad } from "./quads.ts";
import type { Bindings } from "./shader.ts";
import { depthOf, inLoops, Text, type Written, whole, write } from "./text.ts";

// Four elements by one function of an element, called four times. What they share is loaded or computed once.

/** Expressions of one element, and where they stand. */
export interface Elements {
  readonly exprs?: readonly Expr[];
  /** What is stored of it, in buffers that are wide: expressions that load it have it at hand. */
  readonly stores?: readonly Store[];
  /** The name of their function. */
  readonly name?: string;
  /** The index that moves within a quad. */
  readonly variable: string;
  /** Names of the results of the core. */
  readonly result?: (index: number) => string;
  /** Whether each result is four, of which each element has its own. */
  readonly four?: boolean;
  /** The loops around it. */
  readonly levels?: ReadonlyMap<string, Level>;
  /** Vectors of what some loads give to the quad. */
  readonly loaded?: ReadonlyMap<Expr, string>;
}

/** Four elements at once: a function of one, and statements that call it four times. */
export interface Quad {
  readonly declarations: readonly string[];
  /** Statements for each level of the loops; the innermost has the calls. */
  statements(level: Level): readonly string[];
  /** The four values of an expression, by its number. */
  values(n: number): readonly string[];
  /** The stores themselves. */
  readonly writes: readonly string[];
}

/** What the function of an element is given, and what four calls pass. */
interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly pass: (component: string, i: number) => string;
}

const components = [..."xyzw"];

export function printQuad(
  {
    exprs: taken = [],
    stores = [],
    name = "element",
    variable,
    result,
    four = false,
    levels = new Map(),
    loaded = new Map(),
  }: Elements,
  bindings: Bindings,
): Quad {
  const exprs = [...taken, ...exprsOf(stores)];
  const depth = depthOf(levels);
  const known = new Map<Expr, Expr>();
  walk(taken, (e) => {
    const stored =
      e.kind === "load" && stores.find(({ value, index }) => value === e.value && index === e.index);
    if (stored) known.set(e, stored.expr);
  });
  const isWide = (e: Expr) => loaded.has(e) || (isQuadLoad(e, variable) && bindings.isWide(e.value));
  const once = sharedIn(exprs, { variable, run: 4, results: four }, isWide, known);
  const named = result && { result };
  const quads = write(
    [
      ...once.flatMap(({ expr, wide }): Use[] => {
        if (!wide) return [{ expr, at: depth, named: true }];
        return loaded.has(expr) ? [] : [{ expr: wide.index, at: depth }];
      }),
      ...stores.map(({ index }) => ({ expr: index, at: depth })),
    ],
    bindings,
    { levels, ...named },
  );
  // What is loaded or computed once for the quad becomes an argument of the element.
  const lets: string[] = [];
  const shared = once.map(({ expr, wide }, n): Parameter => {
    const type = valueType(expr.dtype);
    if (!wide) return { name: `s${n}`, type, pass: () => quads.text(expr) };
    const quad = loaded.get(expr) ?? bindings.quad(wide.value, quads.operand(wide.index));
    lets.push(`let q${n} = ${quad};`);
    const pass = (component: string) => whole(bindings.element(wide.value, `q${n}.${component}`, wide.dtype));
    return { name: `q${n}`, type, pass };
  });
  const placement = place(
    exprs.map((expr) => ({ expr, at: 0 })),
    { given: new Map(once.map(({ expr }, n) => [expr, shared[n]!.name])), same: known },
  );
  const element = new Text(placement, bindings, { ...named });
  const results = exprs.map((expr) => {
    const text = element.text(expr);
    return expr.dtype === "bool" ? `select(0u, 1u, ${text})` : text;
  });
  // Of what is outside, the function is given what it uses.
  const free = [...placement.free];
  const indices = free.flatMap((e) => (e.kind === "variable" ? [e.name] : [])).sort();
  const moving = indices.includes(variable) ? [variable] : [];
  const outside = [...indices.filter((index) => index !== variable).reverse(), ...moving].map(
    (index): Parameter => ({
      name: index,
      type: "i32",
      pass: (_, i) => (index === variable && i > 0 ? `${index} + ${i}` : index),
    }),
  );
  const core = free.reverse().flatMap((e): Parameter[] => {
    if (e.kind !== "accumulator") return [];
    const name = element.text(e);
    return [{ name, type: valueType(e.dtype), pass: (component) => (four ? `${name}.${component}` : name) }];
  });
  const parameters = [...outside, ...core, ...shared];
  const types = exprs.map(({ dtype }) => storedType(dtype));
  const single = exprs.length === 1;
  const struct = name[0]!.toUpperCase() + name.slice(1);
  const calls = components.map(
    (component, i) => `let e${i} = ${name}(${parameters.map(({ pass }) => pass(component, i)).join(", ")});`,
  );
  const values = (n: number) => components.map((_, i) => (single ? `e${i}` : `e${i}.y${n}`));
  return {
    declarations: [
      "",
      ...(single ? [] : [`struct ${struct} {`, ...types.map((type, i) => `y${i}: ${type},`), "}", ""]),
      `fn ${name}(${parameters.map(({ name, type }) => `${name}: ${type}`).join(", ")}) -> ${single ? types[0] : struct} {`,
      ...element.statements(0),
      single ? `return ${results[0]};` : `return ${struct}(${results.join(", ")});`,
      "}",
    ],
    statements: (level) => [...quads.statements(level), ...(level === depth ? [...lets, ...calls] : [])],
    values,
    writes: stores.map(({ value, index }, n) =>
      bindings.storeQuad(value, quads.operand(index), values(taken.length + n)),
    ),
  };
}

/** The four elements of stores alone. */
export function printQuadStores(
  stores: readonly Store[],
  elements: Omit<Elements, "exprs" | "stores">,
  bindings: Bindings,
): Written {
  const { declarations, statements, writes } = printQuad({ ...elements, stores }, bindings);
  return {
    declarations,
    outer: statements(0),
    body: [...inLoops(elements.levels, statements), ...writes],
  };
}
