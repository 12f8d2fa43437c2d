import type { Expr } from "../../../compile/expr.ts";
import type { Axis, MatmulKernel } from "../../../compile/kernel.ts";
import type { Arguments } from "./arguments.ts";
import type { Code, Local, Module } from "./assemble.ts";
import { decode, type Phase } from "./grid.ts";
import { countNodes, fitsLanes, storeLanes, writeStores } from "./loop.ts";
import { strideIn } from "./strides.ts";
import { Values } from "./values.ts";

// Packed, register-blocked matrix product after Goto and van de Geijn (2008). Phase one packs b into panels as wide
// as the microkernel's tile, once, shared by all threads. Phase two takes blocks of the result: packs its rows of a
// where they do not lie contiguous in memory, runs the microkernel over panels, and applies the epilogue while the
// block is in cache. Each element is one sum over the inner axis in blocks of `innerBlock`, in order, wherever the
// block boundaries of rows and columns fall, so results do not depend on the number of threads.

/** Columns of a microkernel tile, in bytes: two vectors. */
const tileBytes = 32;
/** Rows of a tile: eight sums, two of b and one of a. Taller ones, or k unrolled, and V8 spills registers. */
const tileRows = 4;
/** Inner elements for which a panel of b stays in the first cache. */
const innerBlock = 512;
/** Rows and columns of a block of the result, whose sums stay in the second cache. */
const blockRows = 60;
const blockColumns = 256;

/** Bytes of scratch memory that each thread needs for a block. */
export const threadScratch = 8 * blockRows * (innerBlock + blockColumns + 16);

export interface Matmul {
  readonly phases: readonly Phase[];
  /** Bytes of packed b, shared by all threads. */
  readonly packed: number;
  readonly note: string;
}

/** Functions `pack` and `compute` of (begin, end, arguments, packed b, scratch of the thread). */
export function defineMatmul(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  { relaxed }: { readonly relaxed: boolean },
): Matmul {
  const wide = kernel.dtype === "float64";
  const bytes = wide ? 8 : 4;
  const lanes = 16 / bytes;
  const columns = tileBytes / bytes;
  const rows = Math.min(tileRows, kernel.row.extent);
  const inner = kernel.inner.extent;
  const panels = Math.ceil(kernel.column.extent / columns);
  const innerStep =
    inner <= innerBlock ? Math.max(inner, 1) : Math.ceil(inner / Math.ceil(inner / innerBlock));
  const geometry: Geometry = { bytes, lanes, rows, columns, panels, innerStep, relaxed };

  const packUnits = definePack(module, kernel, given, geometry);
  const compute = defineCompute(module, kernel, given, geometry);
  return {
    phases: [packUnits, compute],
    packed: kernel.batch.extent * panels * columns * inner * bytes,
    note: `tiles of ${rows} x ${columns}${relaxed ? ", fused multiply-add" : ""}`,
  };
}

interface Geometry {
  readonly bytes: number;
  readonly lanes: number;
  readonly rows: number;
  readonly columns: number;
  readonly panels: number;
  readonly innerStep: number;
  readonly relaxed: boolean;
}

/** Panels packed by one unit: neighbouring columns share cache lines. */
const panelGroup = 4;

function definePack(module: Module, kernel: MatmulKernel, given: Arguments, g: Geometry): Phase {
  const { batch, inner, column, b } = kernel;
  const groups = Math.ceil(g.panels / panelGroup);
  module.define("pack", ["i32", "i32", "i32", "i32", "i32"], (code, begin, end, args, packed) => {
    units(code, begin, end, [batch.extent, groups], (body, [i, group]) => {
      const panel = code.local("i32");
      const stop = code.local("i32");
      const into = code.local("i32");
      body.get(group!).i32(panelGroup).op("i32.mul").tee(panel).i32(panelGroup).op("i32.add").set(stop);
      body
        .get(stop)
        .i32(g.panels)
        .op("i32.gt_u")
        .when(() => body.i32(g.panels).set(stop));
      body.loop((again) => {
        body.get(packed).get(i!).i32(g.panels).op("i32.mul").get(panel).op("i32.add");
        body
          .i32(inner.extent * g.columns * g.bytes)
          .op("i32.mul", "i32.add")
          .set(into);
        const first = code.local("i32");
        body.get(panel).i32(g.columns).op("i32.mul").set(first);
        const zero = code.local("i32");
        body.i32(0).set(zero);
        writePack(body, module, given, args, {
          expr: b,
          batch: { name: batch.name, local: i! },
          along: column,
          inner,
          first,
          width: g.columns,
          into,
          innerFirst: zero,
          innerCount: inner.extent,
          bytes: g.bytes,
        });
        body.get(panel).i32(1).op("i32.add").tee(panel).get(stop).op("i32.lt_u");
        again("if");
      });
    });
  });
  const elements = panelGroup * g.columns * inner.extent;
  return { name: "pack", units: batch.extent * groups, cost: elements * 0.6 + 20 };
}

/** Runs `write` for each unit from `begin` to `end`, split into counters. */
function units(
  code: Code,
  begin: Local,
  end: Local,
  extents: readonly number[],
  write: (body: Code, counters: readonly Local[]) => void,
): void {
  const unit = code.local("i32");
  const counters = extents.map((extent) => ({ local: code.local("i32"), extent }));
  code.get(begin).set(unit);
  code.loop((again) => {
    decode(code, unit, counters);
    write(
      code,
      counters.map(({ local }) => local),
    );
    code.get(unit).i32(1).op("i32.add").tee(unit).get(end).op("i32.lt_u");
    again("if");
  });
}

interface Packing {
  readonly expr: Expr;
  readonly batch: { readonly name: string; readonly local: Local };
  /** The axis that is cut into panels: columns of b, rows of a. */
  readonly along: Axis;
  readonly inner: Axis;
  readonly first: Local;
  readonly width: number;
  readonly into: Local;
  readonly innerFirst: Local;
  /** How many inner elements: all, or `innerStep` less what lies beyond the end. */
  readonly innerCount: number | Local;
  readonly bytes: number;
}

/**
 * `into[k * width + lane] = expr(first + lane, innerFirst + k)`. What lies beyond the end of `along` repeats its
 * last element: those sums are never stored.
 */
function writePack(code: Code, module: Module, given: Arguments, args: Local, p: Packing): void {
  const { expr, along, inner, width, bytes } = p;
  const vectors = bytes === 4 && fitsLanes([expr]);
  const strideInner =
    expr.kind === "load" && expr.dtype === "float32" ? strideIn(expr.index, inner.name) : undefined;
  const strideAlong = expr.kind === "load" ? strideIn(expr.index, along.name) : undefined;
  const transposes = strideInner === 1 && strideAlong !== undefined && strideAlong !== 1;
  const k = code.local("i32");
  const target = code.local("i32");
  const write = (
    body: Code,
    vector: boolean,
    exact: boolean,
    emit: (values: Values, at: number) => void,
    start: number,
  ) => {
    const begin = body.piece();
    const values = new Values(body, {
      module,
      roots: [expr],
      levels: new Map([
        [p.batch.name, 0],
        [along.name, start],
        [inner.name, 2],
      ]),
      vector: vector ? { name: along.name, extent: along.extent, exact } : undefined,
      ...given.access(begin, args),
    });
    begin.get(p.batch.local).set(values.variable(p.batch.name));
    emit(values, start);
    return begin;
  };
  if (transposes) {
    packTransposed(code, module, given, args, p);
    return;
  }
  const step = vectors ? 4 : 1;
  const exact = along.extent % width === 0;
  for (let lane = 0; lane < width; lane += step) {
    const take = Math.min(step, width - lane);
    const asVector = vectors && take === 4;
    const count = asVector ? 1 : take;
    for (let i = 0; i < count; i++) {
      const piece = code.piece();
      const begin = write(
        piece,
        asVector,
        exact,
        (values) => {
          const body = values.piece(2);
          body.get(target);
          if (asVector) {
            values.vector(expr, body, 2);
            body.memory("v128.store", 4 * lane);
          } else {
            values.scalar(expr, body, 2);
            body.memory(bytes === 4 ? "f32.store" : "f64.store", bytes * (lane + i));
          }
          const at = values.variable(along.name);
          const ki = values.variable(inner.name);
          piece
            .get(p.first)
            .i32(lane + i)
            .op("i32.add")
            .set(at);
          // Vectors beyond the end start at the last element: their lanes are clamped, or read what is never used.
          piece
            .get(at)
            .i32(along.extent)
            .op("i32.ge_u")
            .when(() => piece.i32(along.extent - 1).set(at));
          piece.append(values.piece(0));
          piece.append(values.piece(1));
          piece.get(p.into).set(target).i32(0).set(k);
          piece.loop((again) => {
            piece.get(p.innerFirst).get(k).op("i32.add").set(ki);
            piece.append(body);
            piece
              .get(target)
              .i32(width * bytes)
              .op("i32.add")
              .set(target);
            piece.get(k).i32(1).op("i32.add").tee(k);
            if (typeof p.innerCount === "number") piece.i32(p.innerCount);
            else piece.get(p.innerCount);
            piece.op("i32.lt_u");
            again("if");
          });
        },
        1,
      );
      code.append(begin);
      code.append(piece);
    }
  }
}

/** The inner axis is contiguous: four vectors along it are transposed in registers. */
function packTransposed(code: Code, module: Module, given: Arguments, args: Local, p: Packing): void {
  const { expr, along, inner, width } = p;
  if (expr.kind !== "load") return;
  const k = code.local("i32");
  const target = code.local("i32");
  const rest = code.local("i32");
  for (let lane = 0; lane < width; lane += 4) {
    const take = Math.min(4, width - lane);
    // One address for each of up to four rows, at the first inner element.
    const bases = Array.from({ length: take }, (_, i) => {
      const begin = code.piece();
      const piece = code.piece();
      const values = new Values(piece, {
        module,
        roots: [expr],
        levels: new Map([
          [p.batch.name, 0],
          [along.name, 0],
          [inner.name, 0],
        ]),
        ...given.access(begin, args),
      });
      const at = values.variable(along.name);
      begin.get(p.batch.local).set(values.variable(p.batch.name));
      begin.get(p.innerFirst).set(values.variable(inner.name));
      begin
        .get(p.first)
        .i32(lane + i)
        .op("i32.add")
        .tee(at);
      begin
        .i32(along.extent)
        .op("i32.ge_u")
        .when(() => begin.i32(along.extent - 1).set(at));
      const base = code.local("i32");
      const { base: push, offset } = values.address(expr.value, expr.index, expr.dtype, 1);
      push(piece);
      piece.i32(offset).op("i32.add").set(base);
      code.append(begin);
      code.append(values.piece(0));
      code.append(piece);
      return base;
    });
    code.get(p.into).set(target);
    if (typeof p.innerCount === "number") code.i32(p.innerCount);
    else code.get(p.innerCount);
    code
      .tee(rest)
      .i32(4)
      .op("i32.ge_u")
      .when(() => {
        code.loop((again) => {
          const rows = bases.map((base) => {
            const row = code.local("v128");
            code.get(base).memory("v128.load").set(row);
            return row;
          });
          if (take === 4) {
            const [a, b, c, d] = rows as [Local, Local, Local, Local];
            const pairs = [
              [a, b, 0],
              [c, d, 0],
              [a, b, 1],
              [c, d, 1],
            ] as const;
            const mixed = pairs.map(([x, y, half]) => {
              const local = code.local("v128");
              code
                .get(x)
                .get(y)
                .lanes(2 * half, 4 + 2 * half, 1 + 2 * half, 5 + 2 * half)
                .set(local);
              return local;
            });
            for (let i = 0; i < 4; i++) {
              const [x, y] = i < 2 ? [mixed[0]!, mixed[1]!] : [mixed[2]!, mixed[3]!];
              code.get(target).get(x).get(y);
              if (i % 2 === 0) code.lanes(0, 1, 4, 5);
              else code.lanes(2, 3, 6, 7);
              code.memory("v128.store", 4 * (i * width + lane));
            }
          } else {
            rows.forEach((row, i) => {
              for (let at = 0; at < 4; at++)
                code
                  .get(target)
                  .get(row)
                  .memory("v128.store32_lane", 4 * (at * width + lane + i), at);
            });
          }
          for (const base of bases) code.get(base).i32(16).op("i32.add").set(base);
          code
            .get(target)
            .i32(16 * width)
            .op("i32.add")
            .set(target);
          code.get(rest).i32(4).op("i32.sub").tee(rest).i32(4).op("i32.ge_u");
          again("if");
        });
      });
    code.get(rest).when(() => {
      code.i32(0).set(k);
      code.loop((again) => {
        bases.forEach((base, i) => {
          code
            .get(target)
            .get(base)
            .memory("f32.load")
            .memory("f32.store", 4 * (lane + i));
          code.get(base).i32(4).op("i32.add").set(base);
        });
        code
          .get(target)
          .i32(4 * width)
          .op("i32.add")
          .set(target);
        code.get(k).i32(1).op("i32.add").tee(k).get(rest).op("i32.lt_u");
        again("if");
      });
    });
  }
}

/** Where the microkernel finds elements of a: bytes from row to row and from one inner element to the next. */
interface Strides {
  readonly row: number;
  readonly inner: number;
}

function defineCompute(module: Module, kernel: MatmulKernel, given: Arguments, g: Geometry): Phase {
  const { batch, row, column, inner, a, stores, dtype } = kernel;
  const direct = directStrides(kernel, g);
  const strides = direct ?? { row: g.bytes, inner: g.rows * g.bytes };
  // Blocks of equal size, multiples of the tile.
  const rowBlock = evenBlock(row.extent, g.rows, blockRows);
  const columnBlock = evenBlock(column.extent, g.columns, blockColumns);
  const rowBlocks = Math.ceil(row.extent / rowBlock);
  const columnBlocks = Math.ceil(column.extent / columnBlock);
  const rowBytes = Math.ceil(columnBlock / g.columns) * g.columns * g.bytes;
  const sumsBytes = blockRows * (blockColumns + 16) * 8;
  const left = row.extent % g.rows;
  const micro = defineMicrokernel(module, "tile", g.rows, strides, rowBytes, g);
  const microLast =
    left === 0
      ? micro
      : defineMicrokernel(
          module,
          "lastTile",
          left,
          direct ?? { row: g.bytes, inner: g.rows * g.bytes },
          rowBytes,
          g,
        );
  const roots = stores.flatMap(({ index, expr }) => [index, expr]);
  const vector =
    dtype === "float32" &&
    fitsLanes(roots) &&
    stores.every(({ index }) => column.extent === 1 || strideIn(index, column.name) === 1);

  module.define("compute", ["i32", "i32", "i32", "i32", "i32"], (code, begin, end, args, packed, scratch) => {
    const i32 = () => code.local("i32");
    const [sums, packedA, from, count, tile, panel, panelEnd, tileRow, rowEnd, columnEnd] = [
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
    ] as const;
    const [firstRow, firstColumn, ap, bp, cp, bStart] = [i32(), i32(), i32(), i32(), i32(), i32()] as const;
    code.get(scratch).set(sums).get(scratch).i32(sumsBytes).op("i32.add").set(packedA);
    units(code, begin, end, [batch.extent, rowBlocks, columnBlocks], (body, [i, block, across]) => {
      const bound = (into: Local, first: Local, which: Local, size: number, extent: number) => {
        body.get(which).i32(size).op("i32.mul").tee(first).i32(size).op("i32.add").tee(into);
        body
          .i32(extent)
          .op("i32.gt_u")
          .when(() => body.i32(extent).set(into));
      };
      bound(rowEnd, firstRow, block!, rowBlock, row.extent);
      bound(columnEnd, firstColumn, across!, columnBlock, column.extent);
      // Blocks of the inner axis.
      body.i32(0).set(from);
      body.loop((nextInner) => {
        body.i32(g.innerStep).set(count);
        if (inner.extent % g.innerStep !== 0) {
          body.i32(inner.extent).get(from).op("i32.sub").tee(count).i32(g.innerStep).op("i32.gt_u");
          body.when(() => body.i32(g.innerStep).set(count));
        }
        const aBase = i32();
        if (direct) {
          // The address of the block's first element of a.
          const start = body.piece();
          const piece = body.piece();
          const values = new Values(body, {
            module,
            roots: [a],
            levels: new Map([
              [batch.name, 0],
              [row.name, 0],
              [inner.name, 0],
            ]),
            ...given.access(start, args),
          });
          start.get(i!).set(values.variable(batch.name));
          start.get(firstRow).set(values.variable(row.name));
          start.get(from).set(values.variable(inner.name));
          if (a.kind !== "load") throw new Error("internal: direct operand is no load");
          const { base, offset } = values.address(a.value, a.index, a.dtype, 1);
          base(piece);
          piece.i32(offset).op("i32.add").set(aBase);
          body.append(start);
          body.append(values.piece(0));
          body.append(piece);
        } else {
          body.get(packedA).set(aBase);
          body.get(firstRow).set(tileRow).get(packedA).set(ap);
          body.loop((next) => {
            writePack(body, module, given, args, {
              expr: a,
              batch: { name: batch.name, local: i! },
              along: row,
              inner,
              first: tileRow,
              width: g.rows,
              into: ap,
              innerFirst: from,
              innerCount: count,
              bytes: g.bytes,
            });
            body
              .get(ap)
              .get(count)
              .i32(g.rows * g.bytes)
              .op("i32.mul", "i32.add")
              .set(ap);
            body.get(tileRow).i32(g.rows).op("i32.add").tee(tileRow).get(rowEnd).op("i32.lt_u");
            next("if");
          });
        }
        // Panels of b, and for each all tiles of rows.
        body.get(firstColumn).i32(g.columns).op("i32.div_u").set(panel);
        body
          .get(columnEnd)
          .i32(g.columns - 1)
          .op("i32.add")
          .i32(g.columns)
          .op("i32.div_u")
          .set(panelEnd);
        body.get(sums).set(bStart);
        body.loop((nextPanel) => {
          body.get(packed).get(i!).i32(g.panels).op("i32.mul").get(panel).op("i32.add");
          body.i32(inner.extent * g.columns * g.bytes).op("i32.mul", "i32.add");
          body
            .get(from)
            .i32(g.columns * g.bytes)
            .op("i32.mul", "i32.add")
            .set(bp);
          body.get(firstRow).set(tile).get(aBase).set(ap).get(bStart).set(cp);
          body.loop((nextTile) => {
            const call = (index: number) => body.get(ap).get(bp).get(cp).get(count).get(from).call(index);
            if (left === 0) call(micro);
            else {
              body.get(tile).i32(g.rows).op("i32.add").get(rowEnd).op("i32.gt_u");
              body.when(
                () => call(microLast),
                () => call(micro),
              );
            }
            if (direct)
              body
                .get(ap)
                .i32(g.rows * direct.row)
                .op("i32.add")
                .set(ap);
            else
              body
                .get(ap)
                .get(count)
                .i32(g.rows * g.bytes)
                .op("i32.mul", "i32.add")
                .set(ap);
            body
              .get(cp)
              .i32(g.rows * rowBytes)
              .op("i32.add")
              .set(cp);
            body.get(tile).i32(g.rows).op("i32.add").tee(tile).get(rowEnd).op("i32.lt_u");
            nextTile("if");
          });
          body
            .get(bStart)
            .i32(g.columns * g.bytes)
            .op("i32.add")
            .set(bStart);
          body.get(panel).i32(1).op("i32.add").tee(panel).get(panelEnd).op("i32.lt_u");
          nextPanel("if");
        });
        body.get(from).i32(g.innerStep).op("i32.add").tee(from).i32(inner.extent).op("i32.lt_u");
        nextInner("if");
      });
      writeEpilogue(body, module, kernel, given, args, {
        batch: i!,
        firstRow,
        rowEnd,
        firstColumn,
        columnEnd,
        sums,
        rowBytes,
        vector,
        bytes: g.bytes,
      });
    });
  });
  const area = Math.min(rowBlock, row.extent) * Math.min(columnBlock, column.extent);
  const cost = (area * inner.extent * 2) / (g.bytes === 4 ? 25 : 10) + area * countNodes(roots) * 0.2 + 100;
  return { name: "compute", units: batch.extent * rowBlocks * columnBlocks, cost };
}

/** The largest multiple of `step` up to `most` that cuts `extent` evenly. */
function evenBlock(extent: number, step: number, most: number): number {
  const steps = Math.ceil(extent / step);
  const blocks = Math.ceil(steps / Math.floor(most / step));
  return Math.ceil(steps / blocks) * step;
}

/** Strides of a where the microkernel can read it as it lies: inner elements next to each other. */
function directStrides({ a, row, inner }: MatmulKernel, g: Geometry): Strides | undefined {
  if (a.kind !== "load" || (a.dtype === "float64") !== (g.bytes === 8)) return undefined;
  const along = strideIn(a.index, inner.name);
  const across = strideIn(a.index, row.name);
  if ((along !== 1 && inner.extent > 1) || across === undefined || across < 0) return undefined;
  return { row: across * g.bytes, inner: g.bytes };
}

/** Sums of one tile: `tile[i][j] += a[i][k] * b[k][j]` for `count` inner elements, or `=` for the first block. */
function defineMicrokernel(
  module: Module,
  name: string,
  rows: number,
  strides: Strides,
  rowBytes: number,
  g: Geometry,
): number {
  const shape = g.bytes === 4 ? "f32x4" : "f64x2";
  return module.define(
    name,
    ["i32", "i32", "i32", "i32", "i32"],
    (code, a, b, sums, count, from) => {
      const vectors = tileBytes / 16;
      const acc = Array.from({ length: rows }, () =>
        Array.from({ length: vectors }, () => code.local("v128")),
      );
      code.get(from).when(() => {
        acc.forEach((line, i) => {
          line.forEach((local, j) => {
            code
              .get(sums)
              .memory("v128.load", i * rowBytes + 16 * j)
              .set(local);
          });
        });
      });
      const bs = Array.from({ length: vectors }, () => code.local("v128"));
      const x = code.local("v128");
      code.loop((again) => {
        bs.forEach((local, j) => {
          code
            .get(b)
            .memory("v128.load", 16 * j)
            .set(local);
        });
        acc.forEach((line, i) => {
          code
            .get(a)
            .memory(g.bytes === 4 ? "v128.load32_splat" : "v128.load64_splat", i * strides.row)
            .set(x);
          line.forEach((local, j) => {
            if (g.relaxed) code.get(x).get(bs[j]!).get(local).op(`${shape}.relaxed_madd`).set(local);
            else code.get(local).get(x).get(bs[j]!).op(`${shape}.mul`, `${shape}.add`).set(local);
          });
        });
        code.get(a).i32(strides.inner).op("i32.add").set(a);
        code.get(b).i32(tileBytes).op("i32.add").set(b);
        code.get(count).i32(1).op("i32.sub").tee(count);
        again("if");
      });
      acc.forEach((line, i) => {
        line.forEach((local, j) => {
          code
            .get(sums)
            .get(local)
            .memory("v128.store", i * rowBytes + 16 * j);
        });
      });
    },
    { exported: false },
  );
}

interface Block {
  readonly batch: Local;
  readonly firstRow: Local;
  readonly rowEnd: Local;
  readonly firstColumn: Local;
  readonly columnEnd: Local;
  readonly sums: Local;
  readonly rowBytes: number;
  readonly vector: boolean;
  readonly bytes: number;
}

/** Computes what is stored from the sums of a block, row by row. */
function writeEpilogue(
  code: Code,
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  args: Local,
  block: Block,
): void {
  const { batch, row, column, stores, dtype } = kernel;
  const start = code.piece();
  const values = new Values(code, {
    module,
    roots: stores.flatMap(({ index, expr }) => [index, expr]),
    levels: new Map([
      [batch.name, 0],
      [row.name, 1],
      [column.name, 2],
    ]),
    afterwards: 2,
    vector: block.vector
      ? { name: column.name, extent: column.extent, exact: column.extent % 4 === 0 }
      : undefined,
    ...given.access(start, args),
  });
  const sum = code.local(block.vector ? "v128" : dtype === "float32" ? "f32" : "f64");
  values.setAccumulator(0, sum);
  const [r, c] = [values.variable(row.name), values.variable(column.name)];
  const [line, at] = [code.local("i32"), code.local("i32")];
  const body = values.piece(2);
  const writes = writeStores(body, values, stores, 2, block.vector, (into, address, held) => {
    storeLanes(into, address, held, column.extent % 4 === 0, c, block.columnEnd);
  });
  start.get(block.batch).set(values.variable(batch.name));
  code.append(start);
  code.append(values.piece(0));
  code.get(block.firstRow).set(r).get(block.sums).set(line);
  code.loop((nextRow) => {
    code.append(values.piece(1));
    code.get(line).set(at).get(block.firstColumn).set(c);
    code.loop((nextColumn) => {
      code
        .get(at)
        .memory(block.vector ? "v128.load" : dtype === "float32" ? "f32.load" : "f64.load")
        .set(sum);
      code.append(body);
      code.append(writes);
      code
        .get(at)
        .i32(block.vector ? 16 : block.bytes)
        .op("i32.add")
        .set(at);
      code
        .get(c)
        .i32(block.vector ? 4 : 1)
        .op("i32.add")
        .tee(c)
        .get(block.columnEnd)
        .op("i32.lt_u");
      nextColumn("if");
    });
    code.get(line).i32(block.rowBytes).op("i32.add").set(line);
    code.get(r).i32(1).op("i32.add").tee(r).get(block.rowEnd).op("i32.lt_u");
    nextRow("if");
  });
}
