import {
  type Accumulator,
  type Axis,
  type Nest,
  type Statement,
  type Store,
  writesOf,
} from "../../../compile/kernel.ts";
import {
  exprsOf,
  type For,
  isOrdered,
  lastOf,
  loopOver,
  none,
  product,
  type Share,
  storesIn,
  visitNest,
} from "../../../compile/nest.ts";
import type { Level, Use } from "../../../compile/place.ts";
import { pointsOf } from "../../../compile/points.ts";
import { axisAs, isWrittenOut, type Stage, showSteps } from "../../../compile/steps.ts";
import { keep } from "./accumulators.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module, Value } from "./assemble.ts";
import { i32, tee } from "./expressions.ts";
import { allHold, guardsOf } from "./guards.ts";
import { isWrittenTwice, unitCost } from "./heuristics.ts";
import { Layout } from "./layout.ts";
import {
  accumulate,
  begin,
  combine,
  finish,
  loopsAround,
  type Range,
  type Reduction,
  type Registers,
  takeIn,
} from "./reduction.ts";
import { indexOf } from "./scalar.ts";
import { usesOf, writeStores } from "./stores.ts";
import { Sweep } from "./sweep.ts";
import { cutGrid, type Grid, type Phase, phaseTypes, writeGrid } from "./units.ts";
import { type Scope, Values } from "./values.ts";

const { add, mul, div, eq, lt } = i32;

/** What the functions of a kernel are, and how they run. */
export interface Defined {
  readonly phases: readonly Phase[];
  readonly scratch?: number;
  readonly note?: string;
}

/** A function for each stage of a nest. */
export function defineStages(
  module: Module,
  stages: readonly Stage[],
  given: Arguments,
  name = "run",
): Defined {
  const phases = stages.map((stage, i): Phase => {
    const own = i === 0 ? name : `${name}${i}`;
    const cut = cutGrid(stage.nest.grid, stage.steps);
    module.define(own, phaseTypes, (code, { begin: first, end, ...params }) => {
      const start = code.piece();
      const writer = new NestWriter({ module, given, code, start, params }, stage);
      writeGrid(code, first, end, cut, { start, ...writer.write() });
    });
    return { name: own, units: cut.units, cost: unitCost(stage, cut.blocks) };
  });
  return {
    phases,
    scratch: Math.max(...stages.map((stage) => new Layout(stage).scratch)),
    note: stages.flatMap(({ steps }) => showSteps(steps) || []).join("; then "),
  };
}

/** Where a stage is written. */
interface Site {
  readonly module: Module;
  readonly given: Arguments;
  readonly code: Code;
  /** What the function begins with. */
  readonly start: Code;
  readonly params: { readonly [name in "args" | "shared" | "scratch"]: Local<"i32"> };
}

/** One of the points that are done abreast. */
interface Point {
  readonly variables: Map<string, Local<"i32">>;
  /** Results so far by their numbers: one for each vector, or one for all. */
  readonly results: Map<number, readonly Local[]>;
  /** What runs, for a part that keeps it. */
  running?: Registers;
}

/** What runs in the loops over the units of a grid: a nest, statement by statement, as its steps say. */
class NestWriter {
  readonly #site: Site;
  readonly #stage: Stage;
  readonly #layout: Layout;
  readonly #access: ReturnType<Arguments["access"]>;
  readonly #points: readonly [Point, ...Point[]];
  /** All values, of which the outer levels are wanted in the end. */
  readonly #all: Values[] = [];
  readonly #stop: Local<"i32">;
  /** What is done first for each unit. */
  readonly #unit: Code;
  /** Where statements are written. */
  #code: Code;
  #sweep: Sweep | undefined;

  constructor(site: Site, stage: Stage) {
    const { code } = site;
    this.#site = site;
    this.#stage = stage;
    this.#layout = new Layout(stage);
    this.#access = site.given.access(site.start, site.params.args);
    this.#stop = code.local("i32");
    this.#unit = code.piece();
    this.#code = code.piece();
    const axes = [...stage.nest.grid, none];
    visitNest(stage.nest, (s) => {
      if (s.kind === "for") axes.push(...s.over);
      else if (s.kind === "at") axes.push(s.axis);
    });
    const variables = new Map(axes.map(({ name }) => [name, code.local("i32", name)]));
    const { abreast, last } = this.#layout;
    const others = Array.from({ length: abreast - 1 }, (_, i): Point => {
      const own = this.#code.let("i32", add(variables.get(last.name)!, i + 1));
      return { variables: new Map(variables).set(last.name, own), results: new Map() };
    });
    this.#points = [{ variables, results: new Map() }, ...others];
  }

  write(): Omit<Grid, "start"> {
    const element = this.#code;
    for (const s of this.#stage.nest.body) {
      // What a statement does of each element is done for all points before it goes on.
      const parts = s.kind === "for" && !isOrdered(s) ? s.body.map((part) => ({ ...s, body: [part] })) : [s];
      for (const part of parts) for (const point of this.#points) this.#statement(point, part);
    }
    const sweep = this.#sweep;
    sweep?.end(element, this.#code);
    return {
      variable: (axis) => this.#variable(axis),
      stop: this.#stop,
      step: this.#layout.step,
      pieces: [
        this.#all.map((values) => values.piece(0)),
        [this.#unit, ...this.#all.map((values) => values.piece(1))],
      ],
      element,
      ...(sweep ? { around: sweep.around } : {}),
    };
  }

  #variable(name: string): Local<"i32"> {
    return this.#points[0].variables.get(name)!;
  }

  /** Each statement has values of its own, which know the results of those before. */
  #values(point: Point, uses: readonly Use[], over: readonly Axis[], own: Partial<Scope> = {}): Values {
    const { nest } = this.#stage;
    const values = new Values(this.#site.code, {
      module: this.#site.module,
      uses,
      variables: point.variables,
      levels: levelsOf(nest.grid, over),
      // Where each vector has results of its own, nothing that is made of them comes further out.
      afterwards: this.#layout.side > 1 ? bottomOf(over) + (over.length === 0 ? 1 : 0) : 2,
      written: writtenAt(2, nest),
      vector: this.#layout.lanes(over),
      ...this.#access,
      ...own,
    });
    use(values, point, 0);
    this.#all.push(values);
    return values;
  }

  #statement(point: Point, s: Statement): void {
    switch (s.kind) {
      case "for":
        if (isOrdered(s)) this.#inOrder(point, s);
        else
          for (const part of s.body) {
            if (part.kind === "write") this.#elements(point, s.over, part.stores);
            else if (part.kind === "accumulate") this.#reduce(point, s, part.accumulators);
          }
        break;
      case "write":
        this.#once(point, s.stores);
        break;
      case "keep":
        keep(this.#code, this.#slot(s.accumulators, 1), point.running!.flat(2));
        break;
      case "combine": {
        const parts = product(s.over);
        const slot = this.#slot(s.accumulators, parts);
        const reduction = this.#reduction(s.accumulators, []);
        const running = combine(this.#code, reduction, slot, parts, this.#layout.kept(s.accumulators).row);
        setResults(point, s.accumulators, finish(this.#code, reduction, running));
        break;
      }
      case "at":
        this.#inOrder(point, loopOver([], s));
        break;
      case "accumulate":
        break; // it is in a loop
      default:
        s satisfies never;
    }
  }

  #reduction(accumulators: readonly Accumulator[], over: readonly Axis[], range?: Range): Reduction {
    const { along, near } = this.#layout;
    return { accumulators, over, along, vectors: this.#layout.vectors(accumulators), near, range };
  }

  /** Loops in which results are accumulated. Where they sweep, what follows is done after the last row. */
  #reduce(point: Point, { over, share }: For, accumulators: readonly Accumulator[]): void {
    const { code, params } = this.#site;
    const rows = axisAs(this.#stage.steps, "blocks", lastOf(over).name)?.by;
    const sweep = rows ? new Sweep(code, params.scratch, lastOf(over).extent, rows) : undefined;
    const range = sweep?.range ?? (share && this.#range(over, accumulators, share));
    const points = isWrittenOut(this.#stage.steps, over) ? pointsOf(accumulators, over) : undefined;
    const left = points ? [] : over;
    const reduction = { ...this.#reduction(accumulators, left, range), points };
    const vector = this.#layout.lanes(left, reduction.vectors);
    const uses = (points ?? [accumulators]).flatMap((own) => termsOf(own, left));
    const values = this.#values(point, uses, left, { vector });
    const anew = code.piece();
    const running = begin(anew, reduction);
    const loops = accumulate(code, values, reduction, running, (i) => use(values, point, i));
    if (sweep) sweep.begin(this.#code, running.flat(2), anew);
    else this.#code.append(anew);
    this.#code.append(values.piece(2), loops);
    this.#sweep = sweep;
    if (sweep) this.#code = code.piece();
    point.running = running;
    if (!share) setResults(point, accumulators, finish(this.#code, reduction, running));
  }

  /** What a part has of the first axis; of the last part, what makes no whole vectors comes after its loop. */
  #range(
    [cut = none, ...rest]: readonly Axis[],
    accumulators: readonly Accumulator[],
    { part, length }: Share,
  ): Range {
    const unit = this.#unit;
    const range = { from: unit.local("i32"), to: unit.local("i32") };
    const p = this.#variable(part.name);
    const vectors = this.#layout.along === "inner" && rest.length === 0;
    const whole = vectors ? 4 * this.#layout.vectors(accumulators) : 1;
    unit.assign(range.to, add(tee(range.from, mul(p, length)), length));
    unit.if(eq(p, part.extent - 1), () => unit.assign(range.to, cut.extent - (cut.extent % whole)));
    return range;
  }

  /** Where parts keep what runs of a point, the first of so many: by part, then by steps along the last axis of the grid. */
  #slot(accumulators: readonly Accumulator[], parts: number): Local<"i32"> {
    const { step, last } = this.#layout;
    const { bytes, row } = this.#layout.kept(accumulators);
    const outer = this.#stage.nest.grid
      .slice(0, -1)
      .reduce<Value<"i32">>((at, { name, extent }) => add(mul(at, extent), this.#variable(name)), 0);
    const place = this.#unit.let("i32", add(mul(outer, parts * row), this.#site.params.shared));
    return this.#code.let("i32", add(mul(div(this.#variable(last.name), step), bytes), place));
  }

  /** What is stored once for a point. */
  #once(point: Point, stores: readonly Store[]): void {
    const several = this.#layout.side > 1;
    const level = several ? 3 : 2;
    const values = this.#values(point, usesOf(stores, level), []);
    const writes = this.#writes(values, point, level, stores);
    if (several) this.#code.append(values.piece(2));
    this.#code.append(writes);
  }

  /** What is stored for each element of loops. */
  #elements(point: Point, over: readonly Axis[], stores: readonly Store[]): void {
    if (product(over) === 0) return;
    const bottom = bottomOf(over);
    const values = this.#values(point, usesOf(stores, bottom), over);
    const writes = this.#writes(values, point, bottom, stores, over);
    const { name, extent } = lastOf(over);
    const loop = this.#code.piece();
    const step = this.#layout.along === "inner" ? 4 * this.#layout.written(over) : 1;
    loop.each(values.variable(name), 0, extent, step, () => loop.append(writes));
    const loops = loopsAround(values, over.slice(0, -1), bottom, loop);
    this.#code.append(values.piece(2), loops);
  }

  /** Stores at a level, of all vectors side by side, with what is placed there; lanes run along the grid, or these loops. */
  #writes(
    values: Values,
    point: Point,
    level: Level,
    stores: readonly Store[],
    over: readonly Axis[] = [],
  ): Code {
    const { along, last } = this.#layout;
    const inner = along === "inner" ? lastOf(over) : last;
    const stop = along === "inner" ? inner.extent : this.#stop;
    const reach =
      along === "grid" || (along === "inner" && over.length > 0)
        ? { exact: inner.extent % 4 === 0, at: values.variable(inner.name), stop }
        : undefined;
    const count = this.#layout.written(over);
    const guards = reach && guardsOf(values, exprsOf(stores));
    const write = (i: number, code: Code) => {
      use(values, point, i);
      const writes = writeStores(code, values, stores, reach);
      // Its variables may go into `code` as well: it is complete when the stores are.
      return code.append(writes);
    };
    const pieces = Array.from({ length: count }, (_, i) => {
      if (!guards || !isWrittenTwice(guards.size))
        return write(i, count > 1 ? values.restart(level, 4 * i) : values.piece(level));
      const check = values.restart(level, 4 * i);
      const all = check.let("i32", allHold(values, guards, check));
      const inside = write(i, values.restart(level, 4 * i, guards));
      const beside = write(i, values.restart(level, 4 * i));
      return check.if(
        all,
        () => check.append(inside),
        () => check.append(beside),
      );
    });
    return this.#site.code.piece().append(...pieces);
  }

  /** A loop in its order: what runs up, and what is written at each element of what has, or where an index points. */
  #inOrder(point: Point, loop: For): void {
    const { over, body } = loop;
    const { grid } = this.#stage.nest;
    const own: Nest = { kind: "nest", grid, body: [loop] };
    const bottom = bottomOf(over);
    const inside = bottom + 1;
    const levels = levelsOf(grid, over);
    for (const s of body) if (s.kind === "at") levels.set(s.axis.name, inside);
    const written = new Map([...writtenAt(2, this.#stage.nest), ...writtenAt(inside, own)]);
    const uses = body.flatMap((s): Use[] => {
      if (s.kind === "accumulate") return termsOf(s.accumulators, over);
      if (s.kind === "write") return usesOf(s.stores, inside);
      return s.kind === "at" ? [{ expr: s.index, at: bottom }, ...usesOf(storesIn(s.body), inside)] : [];
    });
    const values = this.#values(point, uses, over, { levels, afterwards: inside, written });
    const write = (stores: readonly Store[]) => {
      const writes = this.#writes(values, point, inside, stores);
      values.restart(inside);
      return writes;
    };
    const [anew, element, end] = [this.#code.piece(), values.piece(bottom), this.#code.piece()];
    for (const s of body) {
      if (s.kind === "accumulate") {
        const reduction = this.#reduction(s.accumulators, over);
        const running = begin(anew, reduction);
        takeIn(element, values, reduction, running[0]!);
        setResults(point, s.accumulators, finish(values.piece(inside), reduction, running));
        use(values, point, 0);
      } else if (s.kind === "write") end.append(write(s.stores));
      else if (s.kind === "at") {
        const at = values.variable(s.axis.name);
        element.assign(at, indexOf(values, s.index));
        const writes = write(storesIn(s.body));
        end.if(lt(at, s.axis.extent), () => end.append(writes));
      }
    }
    element.append(end);
    this.#code.append(anew, values.piece(2), loopsAround(values, over, bottom, element));
  }
}

function setResults(
  { results }: Point,
  accumulators: readonly Accumulator[],
  found: readonly (readonly Local[])[],
): void {
  accumulators.forEach(({ index }, j) => {
    results.set(
      index,
      found.map((vector) => vector[j]!),
    );
  });
}

/** Makes the results of a vector known. */
function use(values: Values, { results }: Point, vector: number): void {
  for (const [index, locals] of results) values.setAccumulator(index, locals[vector] ?? locals[0]!);
}

/** Levels: the axes of the grid but the last, the last, then those of loops. */
function levelsOf(grid: readonly Axis[], over: readonly Axis[]): Map<string, Level> {
  return new Map([
    ...grid.map(({ name }, i): [string, Level] => [name, i === grid.length - 1 ? 2 : 1]),
    ...over.map(({ name }, i): [string, Level] => [name, 3 + i]),
  ]);
}

/** The level inside all loops. */
const bottomOf = (over: readonly Axis[]): Level => 2 + over.length;

/** The values that a nest stores, at a level. */
const writtenAt = (level: Level, nest: Nest) =>
  new Map(writesOf(nest).map((value): [number, Level] => [value, level]));

/** What is accumulated, at the bottom of its loops. */
const termsOf = (accumulators: readonly Accumulator[], over: readonly Axis[]): Use[] =>
  accumulators.map(({ expr }) => ({ expr, at: Math.max(3, bottomOf(over)) }));
