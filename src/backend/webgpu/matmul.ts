import { internal } from "../../base/errors.ts";
import { Emitter } from "../../compile/emit.ts";
import type { Expr } from "../../compile/expr.ts";
import type { MatmulKernel } from "../../compile/kernel.ts";
import { isContiguous, printStores, wgsl } from "./dialect.ts";
import { type Body, spread } from "./grid.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { shaders } from "./shaders.generated.ts";

/** How a workgroup of 64 invocations covers a tile of the result; each has `rowEach` rows by 4 columns. */
export interface Tile {
  readonly rowThreads: number;
  readonly columnThreads: number;
  readonly rowEach: number;
  readonly depth: number;
}

/** The template shaders/matmul.wgsl with its holes filled. */
export function printMatmul(kernel: MatmulKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { batch, row, column, inner } = kernel;
  if (kernel.dtype !== "float32") internal("a matmul of float64 on a GPU");
  const tile = chooseTile(row.extent, column.extent, inner.extent, batch.extent, options);
  const tiles = tileCount(tile, row.extent, column.extent) * batch.extent;
  const { workgroups, width } = spread(tiles, options);
  const load = (expr: Expr): string[] => {
    const emitter = new Emitter(wgsl(bindings), [expr], new Map());
    const text = emitter.print(expr, 0);
    return [...emitter.statements(0), `return ${text};`];
  };
  // The accumulator is a parameter: there is nothing to wait for.
  const emitter = new Emitter(
    { ...wgsl(bindings), accumulator: () => "sum" },
    kernel.stores.flatMap(({ index, expr }) => [index, expr]),
    new Map(),
    0,
  );
  const writes = printStores(kernel.stores, emitter, 0, bindings);
  const constants = {
    batches: batch.extent,
    rows: row.extent,
    columns: column.extent,
    inner_length: inner.extent,
    row_threads: tile.rowThreads,
    column_threads: tile.columnThreads,
    row_each: tile.rowEach,
    depth: tile.depth,
    a_along_inner: isContiguous(kernel.a, inner.name) || !isContiguous(kernel.a, row.name),
    b_along_inner: isContiguous(kernel.b, inner.name) && !isContiguous(kernel.b, column.name),
    dispatch_width: width,
  };
  const functions = {
    load_a: load(kernel.a),
    load_b: load(kernel.b),
    store: [...emitter.statements(0), ...writes],
  };
  const text = fill(shaders.matmul, constants, functions);
  // Its header and default bindings give way to the kernel's own.
  const body = text
    .replace(/^(\/\/.*\n)+\n/, "")
    .replace(/^@group.*\n/gm, "")
    .replace(/\n{3,}/g, "\n\n");
  return {
    workgroups,
    body: body
      .trimEnd()
      .split("\n")
      .map((line) => line.trim()),
  };
}

/** Replaces the values of named constants and the bodies of named functions. */
function fill(
  template: string,
  constants: Readonly<Record<string, number | boolean>>,
  functions: Readonly<Record<string, readonly string[]>>,
): string {
  let text = template;
  const replace = (pattern: RegExp, by: string) => {
    if (!pattern.test(text)) internal(`the template has no ${pattern}`);
    text = text.replace(pattern, (_, head: string) => head + by);
  };
  for (const [name, value] of Object.entries(constants))
    replace(new RegExp(`^(const ${name}: \\w+ = )[^;]+;`, "m"), `${value};`);
  for (const [name, lines] of Object.entries(functions))
    replace(new RegExp(`^(fn ${name}\\(.*\\{\\n)[\\s\\S]*?\\n\\}`, "m"), `${lines.join("\n")}\n}`);
  return text;
}

function tileCount(tile: Tile, rows: number, columns: number): number {
  return Math.ceil(rows / (tile.rowThreads * tile.rowEach)) * Math.ceil(columns / (tile.columnThreads * 4));
}

/**
 * The tile of least estimated cost: what an invocation multiplies and loads for each inner index, times the
 * rounds in which the device works through the tiles. Narrow results, as of LoRA's A and B, get narrow tiles.
 */
function chooseTile(
  rows: number,
  columns: number,
  inner: number,
  batch: number,
  { busy }: ShaderOptions,
): Tile {
  const depth = inner >= 16 ? 16 : inner >= 8 ? 8 : 4;
  const together = Math.max(1, busy / 64 / 8);
  let best: Tile | undefined;
  let least = Infinity;
  for (const columnThreads of [1, 2, 4, 8, 16, 32]) {
    for (const rowEach of [1, 2, 4, 8]) {
      const tile = { rowThreads: 64 / columnThreads, columnThreads, rowEach, depth };
      const staged = tile.rowThreads * rowEach + columnThreads * 4;
      if (staged > 256) continue; // 16 KiB of workgroup memory at depth 16
      const rounds = Math.ceil((tileCount(tile, rows, columns) * batch) / together);
      const cost = rounds * (rowEach * 4 + rowEach + 4 + (staged / 64) * 4);
      if (cost < least) [least, best] = [cost, tile];
    }
  }
  return best!;
}
