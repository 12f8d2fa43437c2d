import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { writeEpilogue } from "../matmul/epilogue.ts";
import { defineMicrokernel } from "../matmul/microkernel.ts";
import { tileBytes, tileRows } from "../matmul/schedule.ts";
import { span, units } from "../matmul/site.ts";
import { type Phase, phaseTypes } from "../units.ts";
import { elementAt, imagePatch, openPatch, placeOf } from "./patches.ts";
import {
  panelColumns,
  partsOf,
  planes,
  quadColumns,
  tileSide,
  type Winograd,
  weightPlane,
} from "./schedule.ts";
import { transformImage, transformProducts } from "./transforms.ts";

const { add, sub, mul, div, and, shl, gt } = i32;

/**
 * The images that come out, in blocks of quads and rows: transforms some channels of the quads, adds their products to the planes
 * of the block, and when all channels are in, transforms those back.
 */
export function defineImages(module: Module, kernel: MatmulKernel, given: Arguments, g: Winograd): Phase {
  const { batch, row } = kernel;
  const { windows, relaxed, vector } = g;
  const { channels, height, width } = windows;
  const parts = partsOf(g);
  const quads = batch.extent * g.down * g.across;
  const panelBytes = 4 * panelColumns * g.channels;
  /** From one row of a plane of products to the next, and one row of results. */
  const [rowBytes, sumBytes] = [16 * g.quads, 4 * tileSide * quadColumns];
  const plane = weightPlane(row.extent, channels);
  const strides = { row: 4, inner: 4 * tileRows };
  const tile = defineMicrokernel(module, "tile", tileRows, strides, tileBytes, rowBytes, {
    bytes: 4,
    relaxed,
  });
  const blocks = [Math.ceil(quads / g.quads), Math.ceil(row.extent / g.rows)] as const;
  module.define("compute", phaseTypes, (code, { begin, end, args, shared: weights, scratch }) => {
    const site = { module, access: given.access(code, args) };
    const source = site.access.pointer(windows.load.value);
    const at = (part: number) => code.let("i32", add(scratch, part));
    const [patch, sums] = [at(parts.patch), at(parts.sums)];
    const [image, products] = [at(parts.image), at(parts.products)];
    units(code, begin, end, blocks, (body, [block, across]) => {
      const [first, stop] = span(body, block, g.quads, quads);
      const [firstRow, rowEnd] = span(body, across, g.rows, row.extent);
      const [quad, from] = [body.local("i32"), body.local("i32")];
      body.each(from, 0, channels, g.channels, () => {
        const count = body.let("i32", g.channels);
        body.if(gt(add(from, count), channels), () => body.assign(count, sub(channels, from)));
        body.each(quad, first, stop, 1, () => transform(body, quad, first, from, count));
        multiply(body, { first, stop, firstRow, rowEnd, from, count });
      });
      body.each(quad, first, stop, 1, () => finish(body, quad, first, firstRow, rowEnd));
    });

    function transform(
      body: Code,
      quad: Local<"i32">,
      first: Local<"i32">,
      from: Local<"i32">,
      count: Local<"i32">,
    ): void {
      const place = placeOf(body, quad, g);
      const address = body.let("i32", elementAt(source, windows, place, from));
      const which = body.let("i32", sub(quad, first));
      const target = body.let("i32", add(image, mul(div(which, 2), panelBytes)));
      body.advance(target, shl(and(which, 1), 4));
      const lines = openPatch(body, imagePatch(windows), place, source, patch);
      body.each(body.local("i32"), 0, count, 1, () => {
        transformImage(body, lines(address), (i, value) =>
          body.store("v128.store", target, i * parts.imagePlane, value),
        );
        body.advance(address, 4 * windows.channel).advance(target, 4 * panelColumns);
      });
    }

    function multiply(
      body: Code,
      {
        first,
        stop,
        firstRow,
        rowEnd,
        from,
        count,
      }: Readonly<Record<"first" | "stop" | "firstRow" | "rowEnd" | "from" | "count", Local<"i32">>>,
    ): void {
      const ofBlock = add(mul(div(firstRow, tileRows), 16 * channels), mul(from, 16));
      const planeOfA = body.let("i32", add(weights, ofBlock));
      const [planeOfB, planeOfC] = [body.let("i32", image), body.let("i32", products)];
      const panels = body.let("i32", div(add(sub(stop, first), 1), 2));
      const [i, panel, r] = [body.local("i32"), body.local("i32"), body.local("i32")];
      const [a, b, c] = [body.local("i32"), body.local("i32"), body.local("i32")];
      body.each(i, 0, planes, 1, () => {
        body.assign(b, planeOfB);
        body.each(panel, 0, panels, 1, () => {
          body.assign(a, planeOfA).assign(c, add(planeOfC, mul(panel, tileBytes)));
          body.each(r, firstRow, rowEnd, tileRows, () => {
            body.get(a).get(b).get(c).get(count).get(from).call(tile);
            body.advance(a, 16 * channels).advance(c, tileRows * rowBytes);
          });
          body.advance(b, panelBytes);
        });
        body.advance(planeOfA, plane).advance(planeOfB, parts.imagePlane);
        body.advance(planeOfC, parts.productPlane);
      });
    }

    function finish(
      body: Code,
      quad: Local<"i32">,
      first: Local<"i32">,
      firstRow: Local<"i32">,
      rowEnd: Local<"i32">,
    ): void {
      const place = placeOf(body, quad, g);
      const [r, line] = [body.local("i32"), body.local("i32")];
      const from = body.let("i32", add(products, mul(sub(quad, first), 16)));
      const target = body.let("i32", sums);
      body.each(r, firstRow, rowEnd, 1, () => {
        transformProducts(body, from, parts.productPlane).forEach((value, j) => {
          body.store("v128.store", target, 16 * j, value);
        });
        body.advance(from, rowBytes).advance(target, sumBytes);
      });
      const firstColumn = body.let("i32", add(mul(place.row, width), place.column));
      const columnEnd = body.let("i32", add(mul(place.row, width), width));
      body.atMost(columnEnd, add(firstColumn, quadColumns));
      const lines = body.let("i32", sub(height, place.row));
      body.atMost(lines, tileSide);
      body.assign(target, sums);
      body.each(line, 0, lines, 1, () => {
        writeEpilogue(body, site, kernel, {
          batch: place.image,
          firstRow,
          rowEnd,
          firstColumn,
          columnEnd,
          sums: target,
          rowBytes: sumBytes,
          vector,
          bytes: 4,
          exact: width % 4 === 0,
        });
        body
          .advance(firstColumn, width)
          .advance(columnEnd, width)
          .advance(target, 4 * quadColumns);
      });
    }
  });
  return {
    name: "compute",
    units: blocks[0] * blocks[1],
    cost: (2 * planes * g.rows * channels * 4 * g.quads) / 25 + 100,
  };
}
