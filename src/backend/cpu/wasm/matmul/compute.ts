import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { type Phase, phaseTypes } from "../units.ts";
import { writeEpilogue } from "./epilogue.ts";
import { defineMicrokernel } from "./microkernel.ts";
import { writePack } from "./pack.ts";
import { computeCost, type Packing, rowsBytes, type Schedule, sumsBytes, tileBytes } from "./schedule.ts";
import { writePanels } from "./side-by-side.ts";
import { addressAt, pieceOf, type Site, span, units, within } from "./site.ts";
import type { Panel } from "./transpose.ts";

const { add, sub, mul, div, gt } = i32;

/** Locals by their names. */
type PlacesOf<Names extends string> = Readonly<Record<Names, Local<"i32">>>;

export function defineCompute(module: Module, kernel: MatmulKernel, given: Arguments, g: Schedule): Phase {
  const { batch, row, column, inner, a, b } = kernel;
  const { rowBlock, columnBlock, pieces, vector } = g;
  const direct = "row" in g.a ? g.a : undefined;
  const strides = direct ?? { row: g.bytes, inner: g.rows * g.bytes };
  const rowBlocks = Math.ceil(row.extent / rowBlock);
  const rowBytes = Math.ceil(columnBlock / g.columns) * g.columns * g.bytes;
  /** From one packed tile of a to the next. */
  const tileBytesA = g.innerStep * g.rows * g.bytes;
  /** From one panel of b to the next, and from one inner element to the next. */
  const stepB = g.columns * g.bytes;
  const panelBytes = (g.streamed ? g.innerStep : inner.extent) * stepB;
  const left = row.extent % g.rows;
  const tileOf = (name: string, rows: number) =>
    defineMicrokernel(module, name, rows, strides, typeof g.b === "number" ? g.b : tileBytes, rowBytes, g);
  const whole = tileOf("tile", g.rows);
  const last = left === 0 ? whole : tileOf("lastTile", left);
  module.define("compute", phaseTypes, (code, { begin, end, args, shared: packed, scratch }) => {
    const site = { module, access: given.access(code, args) };
    const sums = code.let("i32", scratch);
    const packedA = code.let("i32", add(scratch, sumsBytes));
    const packedB = g.streamed ? code.let("i32", add(packedA, rowsBytes)) : packed;
    const extents = [batch.extent * pieces.count, rowBlocks, pieces.blocks] as const;
    units(code, begin, end, extents, (body, [which, block, across]) => {
      const { matrix: i, own } = pieceOf(body, which, kernel, g);
      const [firstRow, rowEnd] = span(body, block, rowBlock, row.extent);
      const [firstColumn, columnEnd] = span(body, across, columnBlock, own);
      within(body, own, firstColumn, () => {
        const from = body.local("i32");
        body.each(from, 0, inner.extent, g.innerStep, () => {
          const count = body.let("i32", g.innerStep);
          if (inner.extent % g.innerStep !== 0) {
            body.assign(count, sub(inner.extent, from));
            body.atMost(count, g.innerStep);
          }
          const places = { i, from, count };
          if (!direct) {
            const rows = { how: g.a as Packing, expr: a, along: row, width: g.rows };
            pack(body, site, rows, tileBytesA, { ...places, first: firstRow, end: rowEnd, into: packedA });
          }
          const rowsOfA = direct
            ? addressAt(body, site, a, [
                [batch.name, i],
                [row.name, firstRow],
                [inner.name, from],
              ])
            : packedA;
          if (g.streamed) {
            const columns = { how: g.b as Packing, expr: b, along: column, width: g.columns };
            const own = { ...places, first: firstColumn, end: columnEnd, into: packedB };
            pack(body, site, columns, panelBytes, own);
          }
          // Panels of b, and for each all tiles of rows.
          const panel = body.let("i32", div(firstColumn, g.columns));
          const panelEnd = body.let("i32", div(add(columnEnd, g.columns - 1), g.columns));
          const sumsOfPanel = body.let("i32", sums);
          body.repeat(panel, panelEnd, 1, () => {
            const bp = g.streamed
              ? body.let("i32", add(packedB, mul(sub(panel, div(firstColumn, g.columns)), panelBytes)))
              : panelOfB(body, site, { i, panel, from, packed });
            const tile = body.local("i32");
            const ap = body.local("i32");
            const cp = body.local("i32");
            body.assign(tile, firstRow).assign(ap, rowsOfA).assign(cp, sumsOfPanel);
            body.repeat(tile, rowEnd, g.rows, () => {
              const compute = (which: number) =>
                body.get(ap).get(bp).get(cp).get(count).get(from).call(which);
              if (left === 0) compute(whole);
              else
                body.if(
                  gt(add(tile, g.rows), rowEnd),
                  () => compute(last),
                  () => compute(whole),
                );
              body.advance(ap, direct ? g.rows * direct.row : tileBytesA);
              body.advance(cp, g.rows * rowBytes);
            });
            body.advance(sumsOfPanel, g.columns * g.bytes);
          });
        });
        const place = {
          batch: i,
          firstRow,
          rowEnd,
          firstColumn,
          columnEnd,
          sums,
          rowBytes,
          vector,
          bytes: g.bytes,
          exact: column.extent % 4 === 0,
        };
        writeEpilogue(body, site, kernel, place);
      });
    });
  });

  /** Copies what a block needs of an operand into panels, which are `step` bytes apart. */
  function pack(
    body: Code,
    site: Site,
    operand: Pick<Panel, "how" | "expr" | "along" | "width">,
    step: number,
    { i, first, end, from, count, into }: PlacesOf<"i" | "first" | "end" | "from" | "count" | "into">,
  ): void {
    const panel: Panel = {
      ...operand,
      batch: { name: batch.name, local: i },
      inner,
      first: body.let("i32", first),
      into: body.let("i32", into),
      innerFirst: from,
      innerCount: count,
      bytes: g.bytes,
    };
    writePanels(body, site, panel, end, step, () => writePack(body, site, panel));
  }

  /** Where a panel of b begins, at an inner element. */
  function panelOfB(
    body: Code,
    site: Site,
    { i, panel, from, packed }: PlacesOf<"i" | "panel" | "from" | "packed">,
  ): Local<"i32"> {
    if (typeof g.b === "number") {
      const firstColumn = body.let("i32", mul(panel, g.columns));
      return addressAt(body, site, b, [
        [batch.name, i],
        [column.name, firstColumn],
        [inner.name, from],
      ]);
    }
    const which = add(mul(i, pieces.count * pieces.panels), panel);
    return body.let("i32", add(add(packed, mul(which, panelBytes)), mul(from, stepB)));
  }

  const blocks = rowBlocks * pieces.blocks; // of a piece
  return {
    name: "compute",
    units: batch.extent * pieces.count * blocks,
    round: pieces.round * blocks,
    cost: computeCost(kernel, g),
  };
}
