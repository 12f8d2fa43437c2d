import { Emitter } from "../../compile/emit.ts";
import { type Expr, walk } from "../../compile/expr.ts";
import type { Store } from "../../compile/kernel.ts";
import { wgsl } from "./dialect.ts";
import { type Access, type Bindings, storedType, valueType } from "./shader.ts";

// Four neighbours at once. Drivers load a vector of four in one go, software drivers at the price of one or two
// scalars. A kernel whose innermost index runs in steps of four loads and stores quads where four elements lie side
// by side from a multiple of four; what is computed of them is one function of one element, called four times.
//
// A buffer is an array of vectors if all of its accesses in a kernel are quads. Buffers are padded to whole quads,
// so that the last one of a length that is no multiple of four reads and writes padding.

/** How an index moves within a quad of the variable, which starts at a multiple of four. */
export type Motion =
  /** It does not. */
  | "same"
  /** With the variable, from a multiple of four. */
  | "quad"
  | "other";

interface Index {
  readonly motion: Motion | "shifted";
  /** Whether its value at the start of the quad is a multiple of four. */
  readonly multiple: boolean;
}

/** The motion of an index expression. */
export function motionOf(index: Expr, variable: string): Motion {
  const { motion } = analyse(index, variable);
  return motion === "shifted" ? "other" : motion;
}

function analyse(e: Expr, variable: string): Index {
  switch (e.kind) {
    case "variable":
      return e.name === variable ? quad : same;
    case "sum": {
      let steps = 0;
      let multiple = e.constant % 4 === 0;
      for (const { coefficient, atom } of e.terms) {
        const inner = analyse(atom, variable);
        if (inner.motion !== "same") {
          if (inner.motion === "other" || coefficient !== 1) return other;
          steps++;
        }
        multiple &&= inner.multiple || coefficient % 4 === 0;
      }
      if (steps === 0) return { motion: "same", multiple };
      return steps > 1 ? other : { motion: multiple ? "quad" : "shifted", multiple };
    }
    case "digit": {
      const inner = analyse(e.arg, variable);
      if (inner.motion === "same") return same;
      if (inner.motion !== "quad") return other;
      // A quad lies between two multiples of four, so it shares all higher digits.
      if (e.low === 1) return e.high % 4 === 0 || e.high === Infinity ? quad : other;
      return e.low % 4 === 0 ? same : other;
    }
    case "inRange": {
      const inner = analyse(e.arg, variable);
      return inner.motion === "same" || (inner.motion === "quad" && e.length % 4 === 0) ? same : other;
    }
    default:
      return moves(e, variable) ? other : same;
  }
}

const same: Index = { motion: "same", multiple: false };
const quad: Index = { motion: "quad", multiple: true };
const other: Index = { motion: "other", multiple: false };

function moves(e: Expr, variable: string): boolean {
  let found = false;
  walk([e], (part) => {
    if (part.kind === "variable" && part.name === variable) found = true;
  });
  return found;
}

export type Load = Extract<Expr, { kind: "load" }>;

/** The loads of expressions with how they move; those in the index of another one come before it. */
export function loadsOf(roots: readonly Expr[], variable: string): { load: Load; motion: Motion }[] {
  const found: { load: Load; motion: Motion }[] = [];
  walk(roots, (e) => {
    if (e.kind === "load") found.push({ load: e, motion: motionOf(e.index, variable) });
  });
  return found;
}

/** How stores, and what they load, access buffers as the variable moves; undefined where some store is no quad. */
export function accessesOf(stores: readonly Store[], variable: string): Access[] | undefined {
  if (stores.some(({ index }) => motionOf(index, variable) !== "quad")) return undefined;
  const loads = loadsOf(
    stores.map(({ expr }) => expr),
    variable,
  );
  return [
    ...stores.map(({ value }) => ({ value, quad: true })),
    ...loads.map(({ load, motion }) => ({ value: load.value, quad: motion === "quad" })),
  ];
}

/** Vertices of an expression that is computed four times in a kernel: more would take long to compile. */
const maxVertices = 120;

/** Whether the code of the stores is short enough to stand four times in a kernel. */
export function isShort(stores: readonly Store[]): boolean {
  let count = 0;
  walk(
    stores.map(({ expr }) => expr),
    () => count++,
  );
  return count <= maxVertices;
}

export interface QuadStores {
  readonly stores: readonly Store[];
  /** The index that moves within a quad. */
  readonly variable: string;
  /** The other indices in scope. */
  readonly others: readonly string[];
  /** The name of the four results of the kernel's core, if it has one. */
  readonly core?: string;
}

/**
 * The function of one element, and statements that compute and store four of them, from where the variable is at
 * the start of the quad. The buffers of all stores are wide.
 */
export function printQuads(
  { stores, variable, others, core }: QuadStores,
  bindings: Bindings,
): { declarations: readonly string[]; body: readonly string[] } {
  const exprs = stores.map(({ expr }) => expr);
  const dialect = wgsl(bindings);
  const element = new Emitter(
    { ...dialect, accumulator: () => core ?? dialect.accumulator(0, "float32") },
    exprs,
    new Map(),
    0,
  );
  const loads = loadsOf(exprs, variable).map(({ load, motion }) => ({
    load,
    wide: motion === "quad" && bindings.isWide(load.value),
    motion,
  }));
  const once = loads.filter(({ wide, motion }) => wide || motion === "same");
  const quads = new Emitter(
    dialect,
    [...once.map(({ load, wide }) => (wide ? load.index : load)), ...stores.map(({ index }) => index)],
    new Map(),
  );
  // What is loaded once for the quad becomes an argument of the element.
  const lets: string[] = [];
  const parameters: string[] = [];
  const passed: ((component: string, i: number) => string)[] = [];
  once.forEach(({ load, wide }, n) => {
    const name = `${wide ? "q" : "s"}${n}`;
    const text = wide ? bindings.quad(load.value, quads.print(load.index, 0)) : quads.print(load, 0);
    lets.push(`let ${name} = ${text};`);
    element.bind(load, name);
    parameters.push(`${name}: ${valueType(load.dtype)}`);
    passed.push((component) =>
      wide ? bindings.element(load.value, `${name}.${component}`, load.dtype) : name,
    );
  });
  const results = stores.map(({ expr }) => {
    const text = element.print(expr, 0);
    return expr.dtype === "bool" ? `select(0u, 1u, ${text})` : text;
  });
  const code = [...element.statements(0), ...results].join("\n");
  const uses = (name: string) => new RegExp(`\\b${name}\\b`).test(code);
  if (core && uses(core)) {
    parameters.unshift(`${core}: f32`);
    passed.unshift((component) => `${core}.${component}`);
  }
  for (const name of [variable, ...others].filter(uses)) {
    parameters.unshift(`${name}: i32`);
    passed.unshift((_, i) => (name === variable && i > 0 ? `${name} + ${i}` : name));
  }
  const types = stores.map(({ expr }) => storedType(expr.dtype));
  const single = stores.length === 1;
  const indices = stores.map(({ index }) => quads.print(index, 0));
  const four = [..."xyzw"];
  return {
    declarations: [
      "",
      ...(single ? [] : ["struct Element {", ...types.map((type, i) => `y${i}: ${type},`), "}", ""]),
      `fn element(${parameters.join(", ")}) -> ${single ? types[0] : "Element"} {`,
      ...element.statements(0),
      single ? `return ${results[0]};` : `return Element(${results.join(", ")});`,
      "}",
    ],
    body: [
      ...quads.statements(0),
      ...lets,
      ...four.map(
        (component, i) => `let e${i} = element(${passed.map((pass) => pass(component, i)).join(", ")});`,
      ),
      ...stores.map(({ value }, n) => {
        const elements = four.map((_, i) => (single ? `e${i}` : `e${i}.y${n}`));
        return `${bindings.quad(value, indices[n]!)} = vec4<${types[n]}>(${elements.join(", ")});`;
      }),
    ],
  };
}
