import { isNarrow } from "../../base/dtype.ts";
import { internal } from "../../base/errors.ts";
import { isContiguous, type Load, loadsOf } from "../../compile/access.ts";
import type { Expr } from "../../compile/expr.ts";
import type { Axis, Kernel, MatmulKernel } from "../../compile/kernel.ts";
import { workOf } from "../../compile/work.ts";
import { type Body, spread } from "./dispatch.ts";
import { wgslType } from "./dtypes.ts";
import { printQuad, printQuadStores } from "./elements.ts";
import { isShort, isSmallProduct } from "./heuristics.ts";
import { matrixTile } from "./matmul-matrix.ts";
import { sharedTile } from "./matmul-shared.ts";
import { multiplyLines, rowLines, subgroupTile } from "./matmul-subgroup.ts";
import { accessesOf, isQuadLoad, singleAccesses } from "./quads.ts";
import type { Access, Bindings, ShaderOptions } from "./shader.ts";
import { shaders } from "./shaders.generated.ts";
import { Template } from "./template.ts";
import { write, writeStores } from "./text.ts";
import type { MatmulChoice, MatmulShape, MatmulTile, Precision } from "./tiles.ts";

/** The precision of a product that depends on the choice of a family; undefined for other kernels. */
export function tiledPrecision(kernel: Kernel): Precision | undefined {
  if (kernel.kind !== "matmul" || isSmallProduct(kernel)) return undefined;
  return [kernel.a, kernel.b].every((expr) => loadOf(expr)?.dtype === "float16") ? "float16" : "float32";
}

const directTile: MatmulTile = {
  template: "matmul-direct",
  rows: 8,
  columns: 8,
  stage: 1,
  exchanged: false,
  constants: {},
};

function tileOf(shape: MatmulShape, choice: MatmulChoice, options: ShaderOptions): MatmulTile {
  switch (choice.family) {
    case "shared":
      return sharedTile(shape, choice, options);
    case "subgroup":
      return subgroupTile(shape);
    case "matrix":
      return matrixTile(shape, choice, options);
    default:
      return choice satisfies never;
  }
}

/** Language extensions of each template. */
const extensions: Partial<Record<MatmulTile["template"], readonly string[]>> = {
  "matmul-subgroup": ["subgroups"],
  "matmul-matrix": ["chromium_experimental_subgroup_matrix", "subgroups"],
};

/** A template with its holes filled: the same operands, edges and results for all families. */
export function printMatmul(kernel: MatmulKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { batch, inner } = kernel;
  if (kernel.dtype !== "float32") internal("a matmul of float64 on a GPU");
  const shape: MatmulShape = {
    batches: batch.extent,
    rows: kernel.row.extent,
    columns: kernel.column.extent,
    inner: inner.extent,
    work: [workOf([kernel.a]), workOf([kernel.b])],
  };
  const precision = tiledPrecision(kernel);
  const choice = precision && options.matmul[precision];
  const tile = choice ? tileOf(shape, choice, options) : directTile;
  const sides: readonly [Side, Side] = [
    { expr: kernel.a, axis: kernel.row, name: "a" },
    { expr: kernel.b, axis: kernel.column, name: "b" },
  ];
  const [a, b] = tile.exchanged
    ? ([
        { ...sides[1], name: "a" },
        { ...sides[0], name: "b" },
      ] as const)
    : sides;
  const [row, column] = [a.axis, b.axis];
  const alongInner = [a, b].map((side) => isAlongInner(side, inner));
  const tiled = tile !== directTile;
  const short = isShort(kernel.stores.map(({ expr }) => expr));
  const stored = column.extent % 4 === 0 && short && accessesOf(kernel.stores, column.name);
  if (tiled)
    bindings.widen([
      ...[a, b].flatMap((side, i) => operandAccesses(side, inner, alongInner[i]!)),
      ...(stored || singleAccesses(kernel.stores)),
    ]);

  const tiles = Math.ceil(row.extent / tile.rows) * Math.ceil(column.extent / tile.columns) * batch.extent;
  const { workgroups, width } = spread(tiles, options);
  const template = new Template(shaders["matmul-operands"], shaders[tile.template]);
  const constants = {
    batches: batch.extent,
    rows: row.extent,
    columns: column.extent,
    inner_length: inner.extent,
    ...tile.constants,
    a_along_inner: alongInner[0]!,
    b_along_inner: alongInner[1]!,
    dispatch_width: width,
  };
  for (const [name, value] of Object.entries(constants)) template.constant(name, value);
  // The expressions speak of the rows and columns of the result.
  const parameters = (name: string) =>
    !tile.exchanged ? name : name === "row" ? "column" : name === "column" ? "row" : name;
  const elements = [
    { side: a, tileLength: tile.rows, along: alongInner[0]! },
    { side: b, tileLength: tile.columns, along: alongInner[1]! },
  ].flatMap((filling) => fillOperand(template, { ...filling, kernel, tile, bindings, parameters }));
  if (tile.template === "matmul-subgroup") {
    const groups = tile.constants.row_groups!;
    template.body("multiply", multiplyLines(groups, alongInner[0]!)).body("row_of", rowLines(groups));
  }
  if (tile.template === "matmul-matrix") template.alias("staged", precision === "float16" ? "f16" : "f32");

  const result = () => "sum";
  let declarations: readonly string[] = elements;
  if (stored && kernel.stores.every(({ value }) => bindings.isWide(value))) {
    const quads = { variable: column.name, result, four: true };
    const written = printQuadStores(kernel.stores, quads, bindings);
    declarations = [...elements, ...written.declarations];
    template.body("store", [...written.outer, ...written.body], parameters);
  } else {
    const { outer, body } = writeStores(kernel.stores, bindings, { result });
    template.body("store_element", [...outer, ...body], parameters);
  }
  return {
    enable: extensions[tile.template] ?? [],
    declarations,
    body: template.lines,
    workgroups,
  };
}

/** One operand, with the axis that it gives to the result. */
interface Side {
  readonly expr: Expr;
  readonly axis: Axis;
  readonly name: "a" | "b";
}

/** What an operand loads as it lies, in its own precision; undefined where it is computed. */
function loadOf(expr: Expr): Load | undefined {
  const stored = expr.kind === "cast" && isNarrow(expr.arg.dtype) ? expr.arg : expr;
  return stored.kind === "load" ? stored : undefined;
}

/** Whether whole quads of an axis are loaded: its length is a multiple of four. */
const inQuads = ({ extent }: Axis) => extent % 4 === 0;

/** Whether four elements from a multiple of four lie side by side along an axis of the operand. */
function isQuad(side: Side, axis: Axis): boolean {
  const load = loadOf(side.expr);
  return load !== undefined && inQuads(axis) && isQuadLoad(load, axis.name);
}

function isAlongInner(side: Side, inner: Axis): boolean {
  if (isQuad(side, inner) || isQuad(side, side.axis)) return isQuad(side, inner);
  return isContiguous(side.expr, inner.name) || !isContiguous(side.expr, side.axis.name);
}

function operandAccesses({ expr, axis }: Side, inner: Axis, alongInner: boolean): Access[] {
  const along = alongInner ? inner : axis;
  return loadsOf([expr]).map((load) => ({
    value: load.value,
    quad: inQuads(along) && isQuadLoad(load, along.name),
  }));
}

interface Filling {
  readonly side: Side;
  readonly kernel: MatmulKernel;
  readonly tileLength: number;
  readonly tile: MatmulTile;
  /** Whether quads lie along the inner axis. */
  readonly along: boolean;
  readonly bindings: Bindings;
  readonly parameters: (name: string) => string;
}

/** Fills in how an operand is loaded, four elements at once if it can be. Returns the functions that it calls. */
function fillOperand(
  template: Template,
  { side, kernel, tileLength, tile, along, bindings, parameters }: Filling,
): readonly string[] {
  const { expr, axis, name } = side;
  const { inner } = kernel;
  const alongAxis = along ? inner : axis;
  if (tile === directTile || !inQuads(alongAxis)) {
    const text = write([{ expr, at: 0 }], bindings);
    template.body(`load_${name}`, [...text.statements(0), `return ${text.text(expr)};`], parameters);
    return [];
  }
  // Beyond the edge of a tile, the last element or quad again; where there is no edge, as it is.
  const limited = new Map<string, number>();
  if (axis.extent % tileLength !== 0) limited.set(axis.name, axis.extent - (along ? 1 : 4));
  if (inner.extent % tile.stage !== 0) limited.set(inner.name, inner.extent - (along ? 4 : 1));
  const given = (parameter: string) => {
    const index = parameters(parameter);
    return limited.has(index) ? `${index}_` : index;
  };
  const limits = [...limited].map(([index, last]) => `let ${index} = min(${index}_, ${last});`);
  const { declarations, lines, quad } = quadOf(side, alongAxis, bindings);
  const guarded = limited.has(inner.name);
  const result = guarded ? `select(vec4<f32>(), ${quad}, ${inner.name}_ < ${inner.extent})` : quad;
  template.body(`${name}_quad`, [...limits, ...lines, `return ${result};`], given);
  return declarations;
}

/** Four elements along an axis: a vector that is loaded, or elements that share what is the same for them. */
function quadOf(
  { expr, name }: Side,
  along: Axis,
  bindings: Bindings,
): { readonly declarations: readonly string[]; readonly lines: readonly string[]; readonly quad: string } {
  const load = loadOf(expr);
  if (load && isQuadLoad(load, along.name) && bindings.isWide(load.value)) {
    const text = write([{ expr: load.index, at: 0 }], bindings);
    const stored = bindings.quad(load.value, text.operand(load.index));
    const quad = wgslType(load.dtype).widen?.(stored, "vec4<f32>") ?? stored;
    return { declarations: [], lines: text.statements(0), quad };
  }
  const elements = { exprs: [expr], name: `element_${name}`, variable: along.name };
  const four = printQuad(elements, bindings);
  const quad = `vec4<f32>(${four.values(0).join(", ")})`;
  return { declarations: four.declarations, lines: four.statements(0), quad };
}
