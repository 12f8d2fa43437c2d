import type { DeviceDType } from "../src/base/dtype.ts";
import { internal } from "../src/base/errors.ts";
import { motionOf } from "../src/compile/access.ts";
import { type Expr, Expressions, walk } from "../src/compile/expr.ts";
import {
  type Accumulator,
  type Axis,
  type Kernel,
  type Statement,
  type Store,
  storesOf,
  writesOf,
} from "../src/compile/kernel.ts";
import { isOrdered, type Nest, passesOf, type Share, visitNest } from "../src/compile/nest.ts";
import { describeKernel } from "../src/compile/print.ts";
import { axisAs, type Stage, type Step, showSteps } from "../src/compile/steps.ts";
import { templateOf } from "../src/compile/template.ts";
import type { Value, ValueId } from "../src/compile/value.ts";
import { bitwiseAnd, where } from "../src/graph/elementwise.ts";

// What must hold of every kernel and of how it runs, after all passes.

/**
 * What must hold of every kernel, whoever made or changed it: loops have names of their own; an expression uses the
 * variables of the loops around it, with their extents, and results of reductions that come before it; what is loaded and
 * stored has the dtype of its value and lies within it.
 *
 * @param reach How far beyond a value loads may reach, see `Target`.
 */
export function verifyKernel(kernel: Kernel, values: readonly Value[], reach = 0): void {
  const fail = (what: string) => internal(`${what} in ${describeKernel(kernel)}. Please report this.`);
  const e = new Expressions();
  const valueAt = (id: ValueId): Value => values[id] ?? fail(`value ${id} does not exist`);

  const isWithin = (index: Expr, size: number, beyond: number): boolean => {
    const { min, max } = e.bounds(index);
    // A guard keeps an index from leaving the value; it is 0 where the guard does not hold.
    return (
      (min >= -beyond && max < size + beyond) ||
      (index.kind === "apply" && index.row === where.row && isGuard(index))
    );
  };
  const access = (id: ValueId, index: Expr, dtype: DeviceDType, how: string) => {
    const { size, dtype: own } = valueAt(id);
    if (dtype !== own) fail(`${how} of value ${id} is ${dtype} where the value is ${own}`);
    if (!isWithin(index, size, how === "a load" ? reach : 0))
      fail(`${how} of value ${id} may leave its ${size} elements`);
  };
  const check = (
    roots: readonly Expr[],
    axes: readonly Axis[],
    results: ReadonlyMap<number, DeviceDType>,
  ) => {
    // Of loops that never run nothing is computed.
    if (axes.some(({ extent }) => extent === 0)) return;
    walk(roots, (part) => {
      if (part.kind === "variable") {
        const axis = axes.find(({ name }) => name === part.name);
        if (axis?.extent !== part.extent)
          fail(`${part.name} of ${part.extent} has no loop of that extent around it`);
      } else if (part.kind === "accumulator" && results.get(part.index) !== part.dtype)
        fail(`result ${part.index} as ${part.dtype} is not there`);
      else if (part.kind === "load") access(part.value, part.index, part.dtype, "a load");
    });
  };
  const store = (
    list: readonly Store[],
    axes: readonly Axis[],
    results: ReadonlyMap<number, DeviceDType>,
  ) => {
    check(
      list.flatMap(({ index, expr }) => [index, expr]),
      axes,
      results,
    );
    if (axes.some(({ extent }) => extent === 0)) return;
    for (const { value, index, expr } of list) access(value, index, expr.dtype, "a store");
  };
  const share = ({ part, length }: Share, [whole]: readonly Axis[], axes: readonly Axis[]) => {
    if (!axes.includes(part)) fail(`there is no loop over the parts ${part.name}`);
    if (length < 1 || part.extent * length > (whole?.extent ?? 0)) fail(`parts of ${length} do not fit`);
  };
  const loops = (axes: readonly Axis[]) => {
    const names = axes.map(({ name }) => name);
    if (new Set(names).size < names.length) fail(`two loops have one name (${names.join(", ")})`);
  };

  if (kernel.kind !== "nest") {
    const template = templateOf(kernel);
    const grid = template.grid(kernel);
    loops(grid);
    for (const { expr, over } of template.holes(kernel)) check([expr], over, new Map());
    store(kernel.stores, grid, new Map([[0, kernel.dtype]]));
    return;
  }
  const results = new Map<number, DeviceDType>();
  const result = ({ index, dtype, expr }: Accumulator) => {
    if (results.has(index)) fail(`there are two results ${index}`);
    if (dtype !== expr.dtype && expr.dtype !== "bool") fail(`result ${index} is ${dtype} of ${expr.dtype}`);
    results.set(index, dtype);
  };
  const go = (body: readonly Statement[], axes: readonly Axis[]) => {
    for (const s of body) {
      switch (s.kind) {
        case "for":
          loops([...axes, ...s.over]);
          if (s.share) share(s.share, s.over, axes);
          go(s.body, [...axes, ...s.over]);
          break;
        case "at":
          loops([...axes, s.axis]);
          check([s.index], axes, results);
          go(s.body, [...axes, s.axis]);
          break;
        case "accumulate":
          check(
            s.accumulators.map(({ expr }) => expr),
            axes,
            results,
          );
          s.accumulators.forEach(result);
          break;
        case "combine":
          s.accumulators.forEach(result);
          break;
        case "keep":
          for (const { index } of s.accumulators)
            if (!results.has(index)) fail(`result ${index} is kept that is not there`);
          break;
        case "write":
          store(s.stores, axes, results);
          break;
        default:
          s satisfies never;
      }
    }
  };
  loops(kernel.grid);
  go(kernel.body, kernel.grid);
}

/**
 * What must hold of how a nest runs: each stage is a nest in order, its steps are of its loops, and sums keep their promised
 * order. That is, threads share points of the grid alone, so that no sum depends on how many there are; what is done one
 * element after the other is not taken together; and what parts keep is combined by the next stage, over the very axes by
 * which they were cut, outer ones first.
 */
export function verifyStages(
  nest: Nest,
  stages: readonly Stage[],
  values: readonly Value[],
  reach = 0,
): void {
  for (const stage of stages) {
    verifyKernel(stage.nest, values, reach);
    verifySteps(stage);
  }
  const fail = (what: string) => internal(`${what} in ${describeKernel(nest)}. Please report this.`);
  const written = (kernels: readonly Nest[]) => [...new Set(kernels.flatMap(writesOf))].join();
  if (written(stages.map((stage) => stage.nest)) !== written([nest])) fail("stages write other values");
  stages.forEach((stage, i) => {
    const keep = stage.nest.body.find((s) => s.kind === "keep");
    const next = stages[i + 1]?.nest;
    const combine = next?.body.find((s) => s.kind === "combine");
    if (!keep !== !combine) fail("parts are kept without being combined, or the other way round");
    if (!keep || !next || !combine) return;
    const outside = stage.nest.grid.filter(({ name }) => !next.grid.some((axis) => axis.name === name));
    const cut = outside.filter(({ name }) => name !== "");
    if (showAxes(cut) !== showAxes(combine.over))
      fail(`parts of ${showAxes(cut)} are combined by ${showAxes(combine.over)}`);
    if (keep.accumulators.map(numberOf).join() !== combine.accumulators.map(numberOf).join())
      fail("other results are combined than are kept");
  });
}

const numberOf = ({ index, name }: Accumulator) => `${name} ${index}`;
const showAxes = (axes: readonly Axis[]) => axes.map(({ name, extent }) => `${name} of ${extent}`).join(", ");

function verifySteps({ nest, steps }: Stage): void {
  const fail = (step: Step, why: string) =>
    internal(`${showSteps([step])} ${why} in ${describeKernel(nest)}. Please report this.`);
  const grid = new Set(nest.grid.map(({ name }) => name));
  const reduced = new Map<string, number>();
  const shares = new Map<string, number>();
  const accumulated = new Set(passesOf(nest).flatMap((pass) => pass.map(({ index }) => index)));
  const ordered = new Set<string>();
  visitNest(nest, (s) => {
    if (s.kind === "for") {
      for (const { name, extent } of s.over) reduced.set(name, extent);
      if (s.share) shares.set(s.over[0]!.name, s.share.length);
      if (isOrdered(s)) for (const { name } of s.over) ordered.add(name);
    } else if (s.kind === "combine") {
      // Parts lie as they were kept.
      const exprs = s.accumulators.map(({ expr }) => expr);
      walk(exprs, (e) => {
        if (e.kind === "variable") reduced.set(e.name, e.extent);
      });
    }
  });
  for (const step of steps) {
    if ("near" in step) {
      if (!Number.isInteger(Math.log2(step.near))) fail(step, "is no power of two");
      continue;
    }
    const names =
      "swap" in step ? step.swap : "join" in step ? step.join : ["cut" in step ? step.cut : step.split];
    for (const name of names)
      if (!grid.has(name) && !reduced.has(name)) fail(step, "is of a loop that is not there");
    if ("join" in step)
      reduced.set(
        step.as,
        names.reduce((n, name) => n * (reduced.get(name) ?? 1), 1),
      );
    for (const name of names) if (ordered.has(name)) fail(step, "takes apart what is done in order");
    if ("cut" in step) {
      if (step.into < 1 || step.into > reduced.get(step.cut)!) fail(step, "has empty parts");
      if (!nest.body.some((s) => s.kind === "keep")) fail(step, "is of parts that are not kept");
    }
    if ("split" in step) {
      if (step.results?.some((index) => !accumulated.has(index)))
        fail(step, "is of results that are not there");
      if (!Number.isInteger(step.by) || step.by < 1) fail(step, "takes no iterations together");
      const taken = steps.reduce(
        (n, other) => ("split" in other && other.split === step.split ? n * other.by : n),
        1,
      );
      if ((shares.get(step.split) ?? 0) % taken !== 0) fail(step, "takes elements of two parts together");
      if (step.as === "lanes" && !storesOf(nest).every(({ index }) => isSideBySide(index, step.split)))
        fail(step, "stores what does not lie side by side");
      const extent = nest.grid.find(({ name }) => name === step.split)?.extent ?? 0;
      if (step.as === "copies" && extent % (step.by * (axisAs(steps, "lanes", step.split)?.by ?? 1)) !== 0)
        fail(step, "runs beyond the end");
      if (step.as === "copies" && extent > 0 && ordered.size > 0 && axisAs(steps, "lanes", step.split))
        fail(step, "takes apart what is done in order");
      if (step.as === "units" && !grid.has(step.split))
        fail(step, "lets the order of a sum depend on threads");
      if ((step.as === "subgroup" || step.as === "workgroup") && grid.has(step.split))
        fail(step, "shares what is one point's own");
    }
  }
}

/** Whether neighbours along an axis are stored in one place or in neighbouring ones. */
function isSideBySide(index: Expr, variable: string): boolean {
  const { stride } = motionOf(index, { variable, run: 4 });
  return stride === 0 || stride === 1;
}

/** Whether the condition of a guarded index looks at where the index lies. */
function isGuard({ args }: Extract<Expr, { kind: "apply" }>): boolean {
  const [guard, , outside] = args as [Expr, Expr, Expr];
  const looks = (e: Expr): boolean =>
    e.kind === "inRange" || (e.kind === "apply" && e.row === bitwiseAnd.row && e.args.some(looks));
  return looks(guard) && outside.kind === "sum" && outside.terms.length === 0 && outside.constant === 0;
}
