import type { Accumulator, Axis, Nest, Statement, Store } from "../../compile/kernel.ts";
import { asLoop, type For, product } from "../../compile/nest.ts";
import type { Level } from "../../compile/place.ts";
import { axisAs, joinedAs, type Step } from "../../compile/steps.ts";
import { printBlockMap } from "./blocks.ts";
import {
  type Body,
  digits,
  type Line,
  loop,
  perGroup,
  perPoint,
  type QuadGrid,
  quadGrid,
} from "./dispatch.ts";
import { printQuadStores } from "./elements.ts";
import { schedule } from "./heuristics.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { type Sharing, sharingOf } from "./sharing.ts";
import { blockedLoop, declareSum, fold, printTerms, runningSums, type Terms } from "./sums.ts";
import { inLoops, type Written, write, writeStores } from "./text.ts";

/** A nest as its steps say: an invocation has a point of the grid, four that lie side by side, a block, or a share of a point. */
export function printNest(nest: Nest, bindings: Bindings, options: ShaderOptions): Body {
  const { steps, accesses } = schedule(nest, bindings, options);
  bindings.widen(accesses);
  const blocks = nest.body.length === 1 && axisAs(steps, "copies") && asLoop(nest);
  return {
    steps,
    ...(blocks
      ? printBlockMap(blocks, steps, bindings, options)
      : printPoints(nest, steps, bindings, options)),
  };
}

function printPoints(nest: Nest, steps: readonly Step[], bindings: Bindings, options: ShaderOptions): Body {
  const { grid } = nest;
  const printer = new Printer(nest, steps, bindings);
  const { sharing, columns } = printer;
  const body = [...(columns?.unpack ?? digits(grid, "point")), ...printer.statements(nest.body)];
  if (!sharing) {
    const { declarations } = printer;
    return { declarations, ...perPoint(columns?.points ?? product(grid), options, body) };
  }
  return {
    enable: sharing.enable,
    declarations: [...sharing.declare(printer.accumulators), ...printer.declarations],
    ...perGroup(product(grid), options, sharing, body),
  };
}

/** The loops that run over axes, each with what its body begins with. */
interface Loops {
  readonly axes: readonly Axis[];
  readonly unpack: readonly string[];
  readonly levels: ReadonlyMap<string, Level>;
}

class Printer {
  readonly declarations: string[] = [];
  readonly accumulators: Accumulator[] = [];
  /** Who shares a point of the grid, if somebody does. */
  readonly sharing: Sharing | undefined;
  /** Four results side by side, if lanes run along the grid. */
  readonly columns: QuadGrid | undefined;
  /** The index that moves within four results, or within four elements of each. */
  readonly #variable: string | undefined;
  readonly #last: Statement;
  readonly #steps: readonly Step[];
  readonly #bindings: Bindings;
  #functions = 0;

  constructor({ grid, body }: Nest, steps: readonly Step[], bindings: Bindings) {
    this.#last = body[body.length - 1]!;
    this.#steps = steps;
    this.#bindings = bindings;
    this.sharing = sharingOf(steps);
    this.#variable = axisAs(steps, "lanes")?.axis;
    if (grid.some(({ name }) => name === this.#variable)) this.columns = quadGrid(grid)!; // lanes run along it
  }

  statements(body: readonly Statement[]): Line[] {
    return body.flatMap((s) => {
      switch (s.kind) {
        case "for":
          return this.#for(s);
        case "write":
          return this.#once(s.stores, s === this.#last);
        case "at": {
          const { axis, index } = s;
          const text = write([{ expr: index, at: 0 }], this.#bindings);
          return [
            ...text.statements(0),
            `let ${axis.name} = ${text.text(index)};`,
            `if (${axis.name} >= 0 && ${axis.name} < ${axis.extent}) {`,
            ...this.statements(s.body),
            "}",
          ];
        }
        default:
          return [];
      }
    });
  }

  #for({ over, body }: For): Line[] {
    const at = body.findIndex(({ kind }) => kind === "accumulate");
    const sums = body[at];
    if (sums?.kind === "accumulate") {
      const before = body.slice(0, at).flatMap((s) => (s.kind === "write" ? s.stores : []));
      const after = body.slice(at + 1);
      if (after.length > 0) return this.#running(over, sums.accumulators, after);
      return this.#sums(over, before, sums.accumulators);
    }
    const [only, ...others] = body;
    if (only?.kind === "write" && others.length === 0) return this.#elements(over, only.stores);
    const { axes, unpack } = this.#loops(over);
    return [...heads(axes), ...unpack, ...this.statements(body), ...axes.map(() => "}")];
  }

  /** Loops as the steps say: each its own, or all as one. */
  #loops(over: readonly Axis[]): Loops {
    const name = joinedAs(this.#steps, over);
    if (name === undefined) return { axes: over, unpack: [], levels: levelsOf(over) };
    const levels = new Map(over.map((axis): [string, Level] => [axis.name, 1]));
    return { axes: [{ name, extent: product(over) }], unpack: digits(over, name), levels };
  }

  /** Whether four elements of a loop are taken at once. */
  get #inQuads(): boolean {
    return this.#variable !== undefined && !this.columns;
  }

  /** Where an invocation's loop begins, and how far it moves. */
  #range(wide: boolean): { readonly start: number | string; readonly step: number } {
    const width = wide ? 4 : 1;
    const { sharing } = this;
    return sharing
      ? { start: wide ? "own_ * 4" : "own_", step: width * sharing.invocations }
      : { start: 0, step: width };
  }

  /** Results r0, r1, ... of a loop, which all invocations of a point then have. */
  #sums(over: readonly Axis[], before: readonly Store[], accumulators: readonly Accumulator[]): Line[] {
    const loops = this.#loops(over);
    const { sharing } = this;
    const variable = this.#variable;
    const inQuads = this.#inQuads;
    const name = `term${this.#functions === 0 ? "" : this.#functions}`;
    this.#functions++;
    const terms = printTerms(accumulators, { levels: loops.levels, name, variable, before }, this.#bindings);
    this.declarations.push(...terms.declarations);
    this.accumulators.push(...accumulators);
    const names = accumulators.map(({ index }) => `${sharing ? "a" : "r"}${index}`);
    const sums = inQuads ? names.map((sum) => `${sum}_`) : names;
    return [
      ...(variable === undefined ? this.#elements(over, before) : []),
      ...accumulators.map((a, i) => declareSum(a, sums[i]!, variable !== undefined)),
      "{",
      ...terms.statements(0),
      ...this.#sumLoops(loops, accumulators, terms, sums),
      "}",
      // Four elements side by side are added up in the end.
      ...(inQuads ? accumulators.map((a, i) => `var ${names[i]} = ${fold(a, sums[i]!)};`) : []),
      ...(sharing?.combine(accumulators) ?? []),
    ];
  }

  /** A loop for each axis; the sums of inner ones are added to those of outer ones. */
  #sumLoops(
    { axes, unpack }: Loops,
    accumulators: readonly Accumulator[],
    terms: Terms,
    names: readonly string[],
  ): Line[] {
    const loops = (level: number, sums: readonly string[]): Line[] => {
      const axis = axes[level - 1];
      if (axis === undefined) return [...terms.updates(sums)];
      const partial = level < axes.length;
      const range = this.#range(this.#inQuads && !partial);
      const together = axisAs(this.#steps, "copies", axis.name)?.by ?? 1;
      const wide = this.#variable !== undefined;
      return blockedLoop({ axis, ...range, accumulators, sums, wide, partial, together }, (inside) => [
        ...(partial ? [] : unpack),
        ...terms.statements(level),
        ...loops(level + 1, inside),
      ]);
    };
    return loops(1, names);
  }

  /** Results as they are so far, and what is done with them at each element. */
  #running(over: readonly Axis[], accumulators: readonly Accumulator[], after: readonly Statement[]): Line[] {
    const { axes, unpack, levels } = this.#loops(over);
    const terms = printTerms(accumulators, { levels }, this.#bindings);
    const sums = accumulators.map((a) => runningSums(a, axes));
    return [
      ...terms.statements(0),
      ...sums.flatMap(({ begin }) => begin),
      ...heads(axes),
      ...unpack,
      ...inLoops(levels, terms.statements),
      ...terms.updates(sums.map(({ sum }) => sum)),
      ...accumulators.map(({ index }, i) => `let r${index} = ${sums[i]!.soFar};`),
      ...this.statements(after),
      ...sums.flatMap(({ end }) => end),
      ...axes.map(() => "}"),
    ];
  }

  /** What is stored for each element. */
  #elements(over: readonly Axis[], stores: readonly Store[]): Line[] {
    if (stores.length === 0) return [];
    const { axes, unpack, levels } = this.#loops(over);
    const printed = this.#stores(stores, levels);
    const inner = axes[axes.length - 1]!;
    const { start, step } = this.#range(this.#inQuads);
    return [
      "{",
      ...printed.outer,
      ...heads(axes.slice(0, -1)),
      loop(inner.name, start, inner.extent, step),
      ...unpack,
      ...printed.body,
      ...axes.map(() => "}"),
      "}",
    ];
  }

  /** What is stored once for a point. */
  #once(stores: readonly Store[], last: boolean): string[] {
    const { outer, body } = this.#stores(stores);
    if (this.columns) return [...outer, ...body];
    const written = [...outer, ...(this.sharing ? ["if (own_ == 0) {", ...body, "}"] : body)];
    return last ? written : ["{", ...written, "}"];
  }

  /** Stores in loops, or once for a point: of which there are four where results lie side by side. */
  #stores(stores: readonly Store[], levels?: ReadonlyMap<string, Level>): Written {
    const variable = levels || this.columns ? this.#variable : undefined;
    const given = levels && { levels };
    if (variable === undefined) return writeStores(stores, this.#bindings, { ...given });
    const four = this.columns !== undefined;
    const printed = printQuadStores(stores, { variable, four, ...given }, this.#bindings);
    this.declarations.push(...printed.declarations);
    return printed;
  }
}

const levelsOf = (over: readonly Axis[]) =>
  new Map(over.map(({ name }, i): [string, Level] => [name, i + 1]));

const heads = (axes: readonly Axis[]) => axes.map(({ name, extent }) => loop(name, 0, extent, 1));
