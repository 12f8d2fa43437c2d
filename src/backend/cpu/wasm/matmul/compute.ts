import { strideIn } from "../../../../compile/access.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import { fitsLanes } from "../along.ts";
import type { Arguments } from "../arguments.ts";
import type { Local, Module } from "../assemble.ts";
import { type Phase, phaseTypes } from "../grid.ts";
import { instructionsOf } from "../heuristics.ts";
import { writeEpilogue } from "./epilogue.ts";
import { blockColumns, blockRows, blocksOf, type Geometry, tileBytes, units } from "./geometry.ts";
import { stridesOfA, writeAddress } from "./in-place.ts";
import { defineMicrokernel } from "./microkernel.ts";
import { writePack } from "./pack.ts";
import { writePanels } from "./side-by-side.ts";
import type { Packing } from "./transpose.ts";

export function defineCompute(module: Module, kernel: MatmulKernel, given: Arguments, g: Geometry): Phase {
  const { batch, row, column, inner, a, b, stores, dtype } = kernel;
  const direct = stridesOfA(kernel, g);
  const strides = direct ?? { row: g.bytes, inner: g.rows * g.bytes };
  const { rowBlock, columnBlock } = blocksOf(kernel, g);
  const rowBlocks = Math.ceil(row.extent / rowBlock);
  const columnBlocks = Math.ceil(column.extent / columnBlock);
  const rowBytes = Math.ceil(columnBlock / g.columns) * g.columns * g.bytes;
  const sumsBytes = blockRows * (blockColumns + 16) * 8;
  /** From one packed tile of a to the next. */
  const tileBytesA = g.innerStep * g.rows * g.bytes;
  const left = row.extent % g.rows;
  const tileOf = (name: string, rows: number) =>
    defineMicrokernel(module, name, rows, strides, g.strideB ?? tileBytes, rowBytes, g);
  const micro = tileOf("tile", g.rows);
  const microLast = left === 0 ? micro : tileOf("lastTile", left);
  const roots = stores.flatMap(({ index, expr }) => [index, expr]);
  const vector =
    dtype === "float32" &&
    fitsLanes(roots) &&
    stores.every(({ index }) => column.extent === 1 || strideIn(index, column.name) === 1);

  module.define("compute", phaseTypes, (code, { begin, end, args, shared: packed, scratch }) => {
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
    const [firstRow, firstColumn, panelColumn, ap, bp, cp, bStart] = [
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
      i32(),
    ] as const;
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
          const places = [
            [batch.name, i!],
            [row.name, firstRow],
            [inner.name, from],
          ] as const;
          writeAddress(body, module, given, args, a, places, aBase);
        } else {
          body.get(packedA).set(aBase);
          body.get(firstRow).set(tileRow).get(packedA).set(ap);
          const packing: Packing = {
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
          };
          writePanels(body, module, given, args, packing, rowEnd, tileBytesA, () =>
            writePack(body, module, given, args, packing),
          );
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
          if (g.strideB !== undefined) {
            body.get(panel).i32(g.columns).op("i32.mul").set(panelColumn);
            const places = [
              [batch.name, i!],
              [column.name, panelColumn],
              [inner.name, from],
            ] as const;
            writeAddress(body, module, given, args, b, places, bp);
          } else {
            body.get(packed).get(i!).i32(g.panels).op("i32.mul").get(panel).op("i32.add");
            body.i32(inner.extent * g.columns * g.bytes).op("i32.mul", "i32.add");
            body
              .get(from)
              .i32(g.columns * g.bytes)
              .op("i32.mul", "i32.add")
              .set(bp);
          }
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
            body
              .get(ap)
              .i32(direct ? g.rows * direct.row : tileBytesA)
              .op("i32.add")
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
  const cost =
    (area * inner.extent * 2) / (g.bytes === 4 ? 25 : 10) + area * instructionsOf(roots) * 0.2 + 100;
  return { name: "compute", units: batch.extent * rowBlocks * columnBlocks, cost };
}
