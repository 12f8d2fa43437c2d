import { isNarrow } from "../../base/dtype.ts";
import { isContiguous, type Load, loadsOf } from "../../compile/access.ts";
import type { Expr } from "../../compile/expr.ts";
import type { Axis, Kernel, MatmulKernel } from "../../compile/kernel.ts";
import { exprsOf } from "../../compile/nest.ts";
import { workOf } from "../../compile/work.ts";
import { type Body, spread } from "./dispatch.ts";
import { wgslType } from "./dtypes.ts";
import { printQuad, printQuadStores } from "./elements.ts";
import { isShort, isSmallProduct } from "./heuristics.ts";
import { matrixTile } from "./matmul-matrix.ts";
import { sharedTile } from "./matmul-shared.ts";
import { subgroupTile } from "./matmul-subgroup.ts";
import { accessesOf, isQuadLoad, singleAccesses } from "./quads.ts";
import type { Access, Bindings, ShaderOptions } from "./shader.ts";
import { shaders } from "./shaders.generated.ts";
import { Template } from "./template.ts";
import { write, writeStores } from "./text.ts";
import type { MatmulShape, MatmulTile, Precision } from "./tiles.ts";

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

/** The tile that the family of its precision has for a product; none where it is not worth one. */
function tileOf(kernel: MatmulKernel, options: ShaderOptions): MatmulTile | undefined {
  const precision = tiledPrecision(kernel);
  if (!precision) return undefined;
  const { batch, row, column, inner, a, b } = kernel;
  const shape: MatmulShape = {
    batches: batch.extent,
    rows: row.extent,
    columns: column.extent,
    inner: inner.extent,
    work: [workOf([a]), workOf([b])],
  };
  const choice = options.matmul[precision];
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

/** One operand, with the axis that it gives to the result. */
interface Operand {
  readonly name: "a" | "b";
  readonly expr: Expr;
  readonly axis: Axis;
  /** How much of that axis is in a tile. */
  readonly length: number;
  readonly inner: Axis;
  /** Which of the two its quads lie along. */
  readonly along: Axis;
}

/** A template with its holes filled: the same operands, edges and results for all families. */
export function printMatmul(kernel: MatmulKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { batch, inner, stores } = kernel;
  const tiled = tileOf(kernel, options);
  const tile = tiled ?? directTile;
  const { exchanged } = tile;
  const operand = (name: "a" | "b", length: number): Operand => {
    const isFirst = (name === "a") !== exchanged;
    const [expr, axis] = isFirst ? [kernel.a, kernel.row] : [kernel.b, kernel.column];
    return { name, expr, axis, length, inner, along: isAlongInner(expr, axis, inner) ? inner : axis };
  };
  const [a, b] = [operand("a", tile.rows), operand("b", tile.columns)];
  const [row, column] = [a.axis, b.axis];
  const stored = inQuads(column) && isShort(exprsOf(stores)) && accessesOf(stores, column.name);
  if (tiled) bindings.widen([...[a, b].flatMap(operandAccesses), ...(stored || singleAccesses(stores))]);

  const tiles = Math.ceil(row.extent / tile.rows) * Math.ceil(column.extent / tile.columns) * batch.extent;
  const { workgroups, width } = spread(tiles, options);
  const template = new Template(shaders["matmul-operands"], shaders[tile.template]);
  const constants = {
    batches: batch.extent,
    rows: row.extent,
    columns: column.extent,
    inner_length: inner.extent,
    ...tile.constants,
    a_along_inner: a.along === inner,
    b_along_inner: b.along === inner,
    dispatch_width: width,
  };
  for (const [name, value] of Object.entries(constants)) template.constant(name, value);
  for (const [name, type] of Object.entries(tile.aliases ?? {})) template.alias(name, type);
  const bodies = tile.bodies?.(a.along === inner) ?? {};
  for (const [name, lines] of Object.entries(bodies)) template.body(name, lines);
  // The expressions speak of the rows and columns of the result.
  const parameters = (name: string) =>
    !exchanged ? name : name === "row" ? "column" : name === "column" ? "row" : name;
  const elements = [a, b].flatMap((side) => fillOperand(template, side, tiled, parameters, bindings));
  const result = () => "sum";
  const wide = stored && stores.every(({ value }) => bindings.isWide(value));
  const { declarations, outer, body } = wide
    ? printQuadStores(stores, { variable: column.name, result, four: true }, bindings)
    : writeStores(stores, bindings, { result });
  template.body(wide ? "store" : "store_element", [...outer, ...body], parameters);
  return {
    enable: tile.enable ?? [],
    declarations: [...elements, ...declarations],
    body: template.lines,
    workgroups,
  };
}

/** What an operand loads as it lies, in its own precision; undefined where it is computed. */
function loadOf(expr: Expr): Load | undefined {
  const stored = expr.kind === "cast" && isNarrow(expr.arg.dtype) ? expr.arg : expr;
  return stored.kind === "load" ? stored : undefined;
}

/** Whether whole quads of an axis are loaded: its length is a multiple of four. */
const inQuads = ({ extent }: Axis) => extent % 4 === 0;

/** Whether an operand is read along the inner axis: by quads, else where elements follow each other. */
function isAlongInner(expr: Expr, axis: Axis, inner: Axis): boolean {
  const load = loadOf(expr);
  const isQuad = (along: Axis) => load !== undefined && inQuads(along) && isQuadLoad(load, along.name);
  if (isQuad(inner) || isQuad(axis)) return isQuad(inner);
  return isContiguous(expr, inner.name) || !isContiguous(expr, axis.name);
}

function operandAccesses({ expr, along }: Operand): Access[] {
  return loadsOf([expr]).map((load) => ({
    value: load.value,
    quad: inQuads(along) && isQuadLoad(load, along.name),
  }));
}

/** Fills in how an operand is loaded, four elements at once if it can be. Returns the functions that it calls. */
function fillOperand(
  template: Template,
  operand: Operand,
  tile: MatmulTile | undefined,
  parameters: (name: string) => string,
  bindings: Bindings,
): readonly string[] {
  const { name, expr, axis, length, inner, along } = operand;
  if (!tile || !inQuads(along)) {
    const text = write([{ expr, at: 0 }], bindings);
    template.body(`load_${name}`, [...text.statements(0), `return ${text.text(expr)};`], parameters);
    return [];
  }
  // Beyond the edge of a tile, the last element or quad again; where there is no edge, as it is.
  const limited = [
    ...(axis.extent % length === 0 ? [] : [axis]),
    ...(inner.extent % tile.stage === 0 ? [] : [inner]),
  ];
  const given = (parameter: string) => {
    const index = parameters(parameter);
    return limited.some((own) => own.name === index) ? `${index}_` : index;
  };
  const limits = limited.map(
    (own) => `let ${own.name} = min(${own.name}_, ${own.extent - (own === along ? 4 : 1)});`,
  );
  const { declarations, lines, quad } = quadOf(operand, bindings);
  const guarded = limited.includes(inner);
  const result = guarded ? `select(vec4<f32>(), ${quad}, ${inner.name}_ < ${inner.extent})` : quad;
  template.body(`${name}_quad`, [...limits, ...lines, `return ${result};`], given);
  return declarations;
}

/** Four elements of an operand: a vector that is loaded, or elements that share what is the same for them. */
function quadOf(
  { name, expr, along }: Operand,
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
