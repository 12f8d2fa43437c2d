import type { Axis, Loop } from "../../compile/kernel.ts";
import { product } from "../../compile/nest.ts";
import type { Level } from "../../compile/place.ts";
import { axisAs, type Step } from "../../compile/steps.ts";
import { printQuadStores } from "./elements.ts";
import { type Body, digits, perPoint, quadGrid, spread, workgroupSize } from "./grid.ts";
import { scheduleLoop } from "./heuristics.ts";
import { printMap } from "./map.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { blockedLoop, combinePartials, declarePartials } from "./sums.ts";
import { flatLoop, printSums, printTerms, type Terms } from "./terms.ts";
import { writeStores } from "./text.ts";

export function printLoop(kernel: Loop, bindings: Bindings, options: ShaderOptions): Body {
  const { steps, accesses } = scheduleLoop(kernel, bindings, options);
  bindings.widen(accesses);
  return { steps, ...printerOf(kernel, steps)(kernel, steps, bindings, options) };
}

function printerOf({ grid, accumulators }: Loop, steps: readonly Step[]) {
  if (accumulators.length === 0) return printMap;
  if (axisAs(steps, "workgroup")) return printSharedReduction;
  const lanes = axisAs(steps, "lanes");
  return grid.some(({ name }) => name === lanes?.axis) ? printColumns : printReduction;
}

/** What printing of terms must know of quads along the innermost axis. */
function elementQuads({ grid, inner }: Loop, steps: readonly Step[]) {
  const lanes = axisAs(steps, "lanes");
  if (!lanes) return {};
  const others = [...grid, ...inner].flatMap(({ name }) => (name === lanes.axis ? [] : [name]));
  return { quads: { of: "elements", variable: lanes.axis, others } } as const;
}

/** One invocation for each result. */
function printReduction(
  kernel: Loop,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const terms = printTerms(
    accumulators,
    { levels: levelsOf(inner), ...elementQuads(kernel, steps) },
    bindings,
  );
  const names = accumulators.map((_, i) => `r${i}`);
  const results = writeStores(stores, bindings);
  return {
    declarations: terms.declarations,
    ...perPoint(product(grid), options, [
      ...digits(grid, "point"),
      ...printSums(accumulators, names, terms, (sums) => nestedLoops(kernel, sums, terms)),
      ...results.statements(0),
      ...results.writes,
    ]),
  };
}

/** One invocation for four results that lie side by side. */
function printColumns(
  kernel: Loop,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const quads = quadGrid(grid)!; // lanes run along it
  const { variable, others } = quads;
  const terms = printTerms(
    accumulators,
    {
      levels: levelsOf(inner),
      quads: { of: "results", variable, others: [...others, ...inner.map(({ name }) => name)] },
    },
    bindings,
  );
  const names = accumulators.map((_, i) => `r${i}`);
  const core = { name: (index: number) => names[index]!, four: true };
  const results = printQuadStores(stores, { variable, others, core }, bindings);
  return {
    declarations: [...terms.declarations, ...results.declarations],
    ...perPoint(quads.points, options, [
      ...quads.unpack,
      ...printSums(accumulators, names, terms, (sums) => nestedLoops(kernel, sums, terms, steps)),
      ...results.body,
    ]),
  };
}

const levelsOf = (inner: readonly Axis[]) =>
  new Map(inner.map(({ name }, i): [string, Level] => [name, i + 1]));

/** A loop for each inner axis; the sums of inner ones are added to those of outer ones. */
function nestedLoops(
  { inner, accumulators }: Loop,
  names: readonly string[],
  terms: Terms,
  steps: readonly Step[] = [],
): string[] {
  const loops = (level: number, sums: readonly string[]): string[] => {
    const axis = inner[level - 1];
    if (axis === undefined) return [...terms.updates(sums)];
    const partial = level < inner.length;
    const step = terms.quads === "elements" && !partial ? 4 : 1;
    const together = axisAs(steps, "copies", axis.name)?.by ?? 1;
    return blockedLoop(
      {
        axis,
        start: "0",
        step,
        accumulators,
        sums,
        wide: terms.quads !== undefined,
        partial,
        together,
      },
      (inside) => [...terms.statements(level), ...loops(level + 1, inside)],
    );
  };
  return loops(1, names);
}

/** One workgroup for each result: strided partial results, then a tree in workgroup memory; the order is fixed. */
function printSharedReduction(
  kernel: Loop,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
): Body {
  const { grid, inner, accumulators, stores } = kernel;
  const levels = new Map(inner.map(({ name }): [string, Level] => [name, 1]));
  const terms = printTerms(accumulators, { levels, ...elementQuads(kernel, steps) }, bindings);
  const written = writeStores(stores, bindings);
  const results = product(grid);
  const { workgroups, width } = spread(results, options);
  const flat = workgroups[1] === 1 ? "workgroup.x" : `workgroup.x + workgroup.y * ${width}u`;
  const numbered = accumulators.map((a, index) => ({ ...a, index }));
  return {
    workgroups,
    declarations: [...declarePartials(numbered), ...terms.declarations],
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      "fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {",
      `let point = i32(${flat});`,
      ...(width * workgroups[1] === results ? [] : [`if (point >= ${results}) {`, "return;", "}"]),
      ...digits(grid, "point"),
      "let lane_ = i32(local);",
      ...printSums(
        accumulators,
        numbered.map(({ index }) => `a${index}`),
        terms,
        (sums) => flatLoop(inner, accumulators, sums, terms, { lane: "lane_", lanes: workgroupSize }),
      ),
      ...combinePartials(numbered),
      "if (lane_ == 0) {",
      ...numbered.map(({ index }) => `let r${index} = partial${index}[0];`),
      ...written.statements(0),
      ...written.writes,
      "}",
      "}",
    ],
  };
}
