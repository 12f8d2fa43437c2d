import type { Nest, NumberedAccumulator, Pass, Store } from "../../compile/kernel.ts";
import { product } from "../../compile/nest.ts";
import type { Level } from "../../compile/place.ts";
import { axisAs, type Step } from "../../compile/steps.ts";
import { printQuadStores } from "./elements.ts";
import { type Body, digits, perPoint, spread, workgroupSize } from "./grid.ts";
import { scheduleRow } from "./heuristics.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { combinePartials, declarePartials, flatAxis, type Lanes, update } from "./sums.ts";
import { flatLoop, printSums, printTerms } from "./terms.ts";
import { writeStores } from "./text.ts";

/** Rows, each by one invocation, or shared by a subgroup or a workgroup. */
export function printRow(kernel: Nest, bindings: Bindings, options: ShaderOptions): Body {
  const { steps, accesses } = scheduleRow(kernel, bindings, options);
  bindings.widen(accesses);
  const subgroup = axisAs(steps, "subgroup");
  const sharing = subgroup
    ? subgroupSharing(subgroup.by)
    : axisAs(steps, "workgroup")
      ? workgroupSharing
      : undefined;
  const body = sharing
    ? printSharedRow(kernel, steps, bindings, options, sharing)
    : printOwnRow(kernel, steps, bindings, options);
  return { steps, ...body };
}

/** Prints the parts of a row kernel for the lanes of a row, in quads where all elements are stored in quads. */
class RowPrinter {
  readonly declarations: string[] = [];
  readonly #kernel: Nest;
  readonly #bindings: Bindings;
  readonly #lanes: Lanes;
  readonly #levels: ReadonlyMap<string, Level>;
  /** What moves in a quad, if rows are in quads, and what else is in scope. */
  readonly #quads: { readonly variable: string; readonly others: readonly string[] } | undefined;

  constructor(kernel: Nest, steps: readonly Step[], bindings: Bindings, lanes: Lanes) {
    this.#kernel = kernel;
    this.#bindings = bindings;
    this.#lanes = lanes;
    this.#levels = new Map(kernel.inner.map(({ name }): [string, Level] => [name, 1]));
    const variable = axisAs(steps, "lanes")?.axis;
    const axes = [...kernel.grid, ...kernel.inner].map(({ name }) => name);
    if (variable) this.#quads = { variable, others: axes.filter((name) => name !== variable) };
  }

  /** The partial results of a pass, in variables a0, a1, ..., and what it stores before. */
  partials({ before, accumulators: pass }: Pass, number: number): string[] {
    const quads = this.#quads && ({ of: "elements", before, ...this.#quads } as const);
    const terms = printTerms(
      pass,
      { levels: this.#levels, name: `term${number}`, ...(quads && { quads }) },
      this.#bindings,
    );
    this.declarations.push(...terms.declarations);
    const names = pass.map(({ index }) => `a${index}`);
    return [
      ...(quads ? [] : this.elements(before)),
      ...printSums(pass, names, terms, (sums) =>
        flatLoop(this.#kernel.inner, pass, sums, terms, this.#lanes),
      ),
    ];
  }

  /** What is stored for each element of the row. */
  elements(list: readonly Store[]): string[] {
    if (list.length === 0) return [];
    const { outer, body } = this.#quads ? this.#quadStores(list) : this.#stores(list, 1);
    const { axis, start, step, unpack } = flatAxis(
      this.#kernel.inner,
      this.#lanes,
      this.#quads !== undefined,
    );
    const head = `for (var ${axis.name} = ${start}; ${axis.name} < ${axis.extent}; ${axis.name} += ${step}) {`;
    return ["{", ...outer, head, ...unpack, ...body, "}", "}"];
  }

  /** What is stored once for the row. */
  results(around: (body: readonly string[]) => readonly string[] = (body) => body): string[] {
    const { stores } = this.#kernel;
    if (stores.length === 0) return [];
    const { outer, body } = this.#stores(stores, 0);
    return ["{", ...outer, ...around(body), "}"];
  }

  #quadStores(list: readonly Store[]) {
    const core = { name: (index: number) => `r${index}`, four: false };
    const printed = printQuadStores(list, { ...this.#quads!, core, levels: this.#levels }, this.#bindings);
    this.declarations.push(...printed.declarations);
    return printed;
  }

  #stores(list: readonly Store[], level: Level) {
    const { statements, writes } = writeStores(list, this.#bindings, { at: level, levels: this.#levels });
    return { outer: statements(0), body: [...(level > 0 ? statements(level) : []), ...writes] };
  }
}

function printOwnRow(kernel: Nest, steps: readonly Step[], bindings: Bindings, options: ShaderOptions): Body {
  const { grid, passes, elements } = kernel;
  const print = new RowPrinter(kernel, steps, bindings, { lane: "0", lanes: 1 });
  const body = [
    ...digits(grid, "point"),
    ...passes.flatMap((pass, i) => [
      ...print.partials(pass, i),
      ...pass.accumulators.map(({ index }) => `let r${index} = a${index};`),
    ]),
    ...print.results(),
    ...print.elements(elements),
  ];
  return { declarations: print.declarations, ...perPoint(product(grid), options, body) };
}

/** Who shares a row, and how its partial results become one that all of them have. */
interface Sharing {
  readonly enable: readonly string[];
  /** Invocations that share a row, and rows of a workgroup. */
  readonly lanes: number;
  readonly rows: number;
  readonly builtins: string;
  /** Which of the workgroup's rows. */
  readonly row: string;
  declare(accumulators: readonly NumberedAccumulator[]): readonly string[];
  /** From a0, a1, ... to r0, r1, ...: a tree, in a fixed order. */
  combine(pass: readonly NumberedAccumulator[]): readonly string[];
}

const workgroupSharing: Sharing = {
  enable: [],
  lanes: workgroupSize,
  rows: 1,
  builtins: "@builtin(local_invocation_index) local: u32",
  row: "0u",
  declare: declarePartials,
  combine: (pass) => [
    ...combinePartials(pass),
    ...pass.map(({ index }) => `let r${index} = partial${index}[0];`),
  ],
};

const subgroupSharing = (lanes: number): Sharing => ({
  enable: ["subgroups"],
  lanes,
  rows: workgroupSize / lanes,
  builtins: "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) local: u32",
  row: "subgroup",
  declare: () => [],
  // Each pair of lanes adds the same two numbers, so all lanes end with the same bits.
  combine: (pass) => [
    ...Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1)).flatMap((mask) =>
      pass.map((a) => update(a, `a${a.index}`, `subgroupShuffleXor(a${a.index}, ${mask}u)`)),
    ),
    ...pass.map(({ index }) => `let r${index} = a${index};`),
  ],
});

function printSharedRow(
  kernel: Nest,
  steps: readonly Step[],
  bindings: Bindings,
  options: ShaderOptions,
  sharing: Sharing,
): Body {
  const { grid, passes, elements } = kernel;
  const rows = product(grid);
  const { workgroups, width } = spread(Math.ceil(rows / sharing.rows), options);
  const group = workgroups[1] === 1 ? "workgroup.x" : `(workgroup.x + workgroup.y * ${width}u)`;
  const flat = sharing.rows === 1 ? group : `${group} * ${sharing.rows}u + ${sharing.row}`;
  const print = new RowPrinter(kernel, steps, bindings, { lane: "lane_", lanes: sharing.lanes });
  const body = [
    ...digits(grid, "point"),
    "let lane_ = i32(local);",
    ...passes.flatMap((pass, i) => [...print.partials(pass, i), ...sharing.combine(pass.accumulators)]),
    ...print.results((stored) => ["if (lane_ == 0) {", ...stored, "}"]),
    ...print.elements(elements),
  ];
  return {
    enable: sharing.enable,
    workgroups,
    declarations: [
      ...sharing.declare(passes.flatMap(({ accumulators }) => accumulators)),
      ...print.declarations,
    ],
    body: [
      `@compute @workgroup_size(${workgroupSize})`,
      `fn main(@builtin(workgroup_id) workgroup: vec3<u32>, ${sharing.builtins}) {`,
      `let point = i32(${flat});`,
      ...(width * workgroups[1] * sharing.rows === rows ? [] : [`if (point >= ${rows}) {`, "return;", "}"]),
      ...body,
      "}",
    ],
  };
}
