import type { MatmulKernel } from "../../../../compile/kernel.ts";
import { placesOfWindow } from "../../../../compile/windows.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32, v128 } from "../expressions.ts";
import { writeEpilogue } from "../matmul/epilogue.ts";
import { defineMicrokernel } from "../matmul/microkernel.ts";
import { type Strides, tileBytes, tileRows } from "../matmul/schedule.ts";
import { addressAt, span, units } from "../matmul/site.ts";
import { storeTransposed } from "../matmul/transpose.ts";
import { type Phase, phaseTypes } from "../units.ts";
import { elementAt, imagePatch, openPatch, type Place, placeOf } from "./patches.ts";
import { panelColumns, partsOf, planes, tileSide, type Winograd } from "./schedule.ts";
import { transformImage, transformSlope, transformSums } from "./transforms.ts";

const { add, sub, mul, div, and, shl, lt } = i32;

/** A block of the slope: an image, rows of the weight and channels. */
interface Block {
  readonly image: Local<"i32">;
  readonly firstRow: Local<"i32">;
  readonly rowEnd: Local<"i32">;
  readonly firstChannel: Local<"i32">;
  readonly channelEnd: Local<"i32">;
}

/**
 * The slope by the weight, in blocks of rows and channels for each image: transforms some quads of both operands, adds their
 * products to the planes of the block, and when all tiles of the image are in, transforms those back.
 */
export function defineSlope(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  g: Winograd,
  strides: Strides,
): Phase {
  const { batch, row, inner, a } = kernel;
  const { windows, relaxed, vector } = g;
  const { channels, height, width } = windows;
  const parts = partsOf(g);
  const quads = g.down * g.across;
  /** Of a panel of channels, a row of the other operand, a row of products, and of the sums of a row. */
  const [panelBytes, lineBytes] = [4 * panelColumns * 4 * g.quads, 16 * g.quads];
  const [rowBytes, sumBytes] = [4 * g.channels, 4 * placesOfWindow * g.channels];
  const own = { row: lineBytes, inner: 4 };
  const tile = defineMicrokernel(module, "tile", tileRows, own, tileBytes, rowBytes, { bytes: 4, relaxed });
  const extents = [batch.extent, Math.ceil(row.extent / g.rows), Math.ceil(channels / g.channels)] as const;
  module.define("compute", phaseTypes, (code, { begin, end, args, scratch }) => {
    const site = { module, access: given.access(code, args) };
    const half = code.let("v128", v128.constant(new Float32Array(4).fill(0.5)));
    const source = site.access.pointer(windows.load.value);
    const at = (part: number) => code.let("i32", add(scratch, part));
    const [patch, turned, sums] = [at(parts.patch), at(parts.turned), at(parts.sums)];
    const [image, other, products] = [at(parts.image), at(parts.other), at(parts.products)];
    units(code, begin, end, extents, (body, [which, ofRows, ofChannels]) => {
      const [firstRow, rowEnd] = span(body, ofRows, g.rows, row.extent);
      const [firstChannel, channelEnd] = span(body, ofChannels, g.channels, channels);
      const block = { image: which, firstRow, rowEnd, firstChannel, channelEnd };
      const others = addressAt(body, site, a, [
        [batch.name, which],
        [row.name, firstRow],
        [inner.name, body.let("i32", 0)],
      ]);
      const [from, quad] = [body.local("i32"), body.local("i32")];
      body.each(from, 0, quads, g.quads, () => {
        const end = body.let("i32", add(from, g.quads));
        body.atMost(end, quads);
        body.each(quad, from, end, 1, () => {
          const place = { ...placeOf(body, quad, g), image: which };
          const at = body.let("i32", sub(quad, from));
          transformChannels(body, block, place, at);
          transformRows(body, block, place, at, others);
        });
        multiply(body, block, from, body.let("i32", shl(sub(end, from), 2)));
      });
      finish(body, block);
    });

    /** Four channels at a time, turned into columns of a panel. What lies beyond the last one repeats it. */
    function transformChannels(
      body: Code,
      { firstChannel, channelEnd }: Block,
      place: Place,
      which: Local<"i32">,
    ): void {
      const address = body.let("i32", elementAt(source, windows, place, firstChannel));
      const lines = openPatch(body, imagePatch(windows), place, source, patch);
      const [channel, lane, to] = [body.local("i32"), body.local("i32"), body.local("i32")];
      body.each(channel, firstChannel, channelEnd, 4, () => {
        body.each(lane, 0, 4, 1, () => {
          body.assign(to, add(turned, shl(lane, 4)));
          transformImage(body, lines(address), (i, value) => body.store("v128.store", to, 64 * i, value));
          body.if(lt(add(channel, add(lane, 1)), channels), () => body.advance(address, 4 * windows.channel));
        });
        const at = sub(channel, firstChannel);
        body.assign(to, add(image, mul(div(at, panelColumns), panelBytes)));
        body.advance(to, add(mul(which, 16 * panelColumns), shl(and(at, 4), 2)));
        body.assign(lane, turned);
        body.each(body.local("i32"), 0, planes, 1, () => {
          const held = [0, 16, 32, 48].map((from) => body.let("v128", v128.load(lane, from)));
          storeTransposed(body, held as [V, V, V, V], to, panelColumns, 0);
          body.advance(lane, 64).advance(to, parts.imagePlane);
        });
      });
    }

    /** Whole tiles of rows: what lies beyond the last one repeats it. */
    function transformRows(
      body: Code,
      { firstRow, rowEnd }: Block,
      place: Place,
      which: Local<"i32">,
      others: Local<"i32">,
    ): void {
      const index = add(mul(place.row, width), place.column);
      const address = body.let("i32", add(others, shl(index, 2)));
      const target = body.let("i32", add(other, shl(which, 4)));
      const ranges = { rows: { first: 0, end: height }, columns: { first: 0, end: width } };
      const shape = { lines: tileSide, vectors: 2, ...ranges, bytes: 4 * width };
      const lines = openPatch(body, shape, place, others, patch);
      const r = body.local("i32");
      const end = body.let(
        "i32",
        add(firstRow, mul(div(add(sub(rowEnd, firstRow), tileRows - 1), tileRows), tileRows)),
      );
      body.each(r, firstRow, end, 1, () => {
        transformSlope(body, lines(address), (i, value) =>
          body.store("v128.store", target, i * parts.otherPlane, value),
        );
        body.if(lt(add(r, 1), rowEnd), () => body.advance(address, strides.row));
        body.advance(target, lineBytes);
      });
    }

    function multiply(
      body: Code,
      { firstRow, rowEnd, firstChannel, channelEnd }: Block,
      from: Local<"i32">,
      count: Local<"i32">,
    ): void {
      const [i, panel, r] = [body.local("i32"), body.local("i32"), body.local("i32")];
      const [a, b, c] = [body.local("i32"), body.local("i32"), body.local("i32")];
      const [planeOfA, planeOfB] = [body.let("i32", other), body.let("i32", image)];
      const planeOfC = body.let("i32", products);
      body.each(i, 0, planes, 1, () => {
        body.assign(b, planeOfB);
        body.each(panel, firstChannel, channelEnd, panelColumns, () => {
          body.assign(a, planeOfA).assign(c, add(planeOfC, shl(sub(panel, firstChannel), 2)));
          body.each(r, firstRow, rowEnd, tileRows, () => {
            body.get(a).get(b).get(c).get(count).get(from).call(tile);
            body.advance(a, tileRows * lineBytes).advance(c, tileRows * rowBytes);
          });
          body.advance(b, panelBytes);
        });
        body.advance(planeOfA, parts.otherPlane).advance(planeOfB, parts.imagePlane);
        body.advance(planeOfC, parts.productPlane);
      });
    }

    /** Row by row: four channels are lanes, whose windows follow each other in the result. */
    function finish(body: Code, { image: batch, firstRow, rowEnd, firstChannel, channelEnd }: Block): void {
      const [r, channel] = [body.local("i32"), body.local("i32")];
      const [from, to] = [body.local("i32"), body.local("i32")];
      const line = body.let("i32", products);
      const firstColumn = body.let("i32", mul(firstChannel, placesOfWindow));
      const columnEnd = body.let("i32", mul(channelEnd, placesOfWindow));
      body.each(r, firstRow, rowEnd, 1, () => {
        body.assign(from, line).assign(to, sums);
        body.each(channel, firstChannel, channelEnd, 4, () => {
          transformSums(body, from, parts.productPlane, half).forEach((held, i) => {
            for (let lane = 0; lane < 4; lane++)
              body
                .get(to)
                .get(held)
                .memory("v128.store32_lane", 4 * (placesOfWindow * lane + i), lane);
          });
          body.advance(from, 16).advance(to, 16 * placesOfWindow);
        });
        writeEpilogue(body, site, kernel, {
          batch,
          firstRow: r,
          rowEnd: body.let("i32", add(r, 1)),
          firstColumn,
          columnEnd,
          sums,
          rowBytes: sumBytes,
          vector,
          bytes: 4,
          exact: channels % 4 === 0,
        });
        body.advance(line, rowBytes);
      });
    }
  });
  return {
    name: "compute",
    units: extents[0] * extents[1] * extents[2],
    cost: (2 * planes * g.rows * g.channels * 4 * quads) / 25 + 100,
  };
}

type V = Local<"v128">;
