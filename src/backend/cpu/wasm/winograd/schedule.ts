import { strideIn } from "../../../../compile/access.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import { placesOfWindow, type Windows, windowsOf } from "../../../../compile/windows.ts";
import { fitsLanes } from "../layout.ts";
import { evenBlock, type Strides, storesVectors, stridesOfA, tileRows } from "../matmul/schedule.ts";

// Which convolutions run with fewer multiplications, how, and every number that decides it.

/** Rows and columns of results that are made together. */
export const tileSide = 2;
/** Elements of a transformed tile: planes of products, each of which is a matrix for itself. */
export const planes = 16;
/** Tiles side by side are the lanes of a vector: a quad. So many columns of results does it have. */
export const quadColumns = 4 * tileSide;
/** Columns of a tile of products. */
export const panelColumns = 8;

/** Rows, channels and quads of a block: with 64, 64 and 16 each transformed operand and the sums take 256 KiB. */
const mostRows = 64;
const mostChannels = 64;
const mostQuads = 16;
/** Quads of a block where tiles are what is added up, and both operands are transformed for each block. */
const mostAdded = 8;
/** Blocks that threads can share evenly, and quads of a block at least for their sake. */
const enoughBlocks = 16;
const fewQuads = 4;

/**
 * Rows, channels and quads in all from which transforms cost less than they save, in processor time of interleaved runs (two
 * threads of a Xeon; of convolutions, then with both gradients): 8 channels of 32 x 56 x 56 take 0.45 and 0.41 of the time, 256
 * of one image of 14 x 14 0.79 and 0.71, but 512 of one of 7 x 7, four quads, 0.97 and 1.10.
 */
const leastRows = 8;
const leastChannels = 8;
const leastQuads = 8;
/** Bytes of transformed weights, which threads share. */
const mostWeights = 2 ** 25;

/** Bytes from plane to plane beyond their elements, so that the same element of all of them does not meet in the cache. */
const gap = 64;

/** How a convolution runs. */
export interface Winograd {
  readonly windows: Windows;
  /** Where the other operand lies, if tiles are added up: the slope by the weight. */
  readonly slope: Strides | undefined;
  /** Of an image: tiles down, quads across. */
  readonly down: number;
  readonly across: number;
  /** Of a block. */
  readonly rows: number;
  readonly channels: number;
  readonly quads: number;
  readonly relaxed: boolean;
  /** Whether four results are made of sums at once. */
  readonly vector: boolean;
}

export function scheduleWinograd(kernel: MatmulKernel, relaxed: boolean): Winograd | undefined {
  const { batch, row, column, inner, a, b, dtype } = kernel;
  if (dtype !== "float32" || row.extent < leastRows) return undefined;
  const forward = windowsOf(b, batch, inner, column);
  const windows = forward ?? windowsOf(b, batch, column, inner);
  if (!windows || windows.channels < leastChannels) return undefined;
  const down = Math.ceil(windows.height / tileSide);
  const across = Math.ceil(windows.width / quadColumns);
  if (batch.extent * down * across < leastQuads) return undefined;
  const slope = forward ? undefined : stridesOfA(kernel, 4);
  if (forward) {
    const fits = planes * weightPlane(row.extent, windows.channels) <= mostWeights;
    if (!fits || !fitsLanes([a]) || strideIn(a, batch.name) !== 0) return undefined;
  } else if (slope?.inner !== 4) return undefined;
  const rows = evenBlock(row.extent, tileRows, mostRows);
  const quads = down * across * (slope ? 1 : batch.extent);
  const share = (quads * Math.ceil(row.extent / rows)) / enoughBlocks;
  return {
    windows,
    slope,
    down,
    across,
    rows,
    channels: evenBlock(windows.channels, panelColumns, mostChannels),
    quads: evenBlock(quads, 2, slope ? mostAdded : Math.min(mostQuads, Math.max(share, fewQuads))),
    relaxed,
    vector: storesVectors(kernel),
  };
}

/** Bytes of the weights when they are transformed: planes of tiles of rows, in which channels follow each other. */
export function weightPlane(rows: number, channels: number): number {
  return 4 * Math.ceil(rows / tileRows) * tileRows * channels + gap;
}

const patchBytes = 4 * 48;
const turnedBytes = 4 * 16 * planes;

/** Parts of the scratch memory of a thread, from its beginning. */
export function partsOf({ slope, rows, channels, quads }: Winograd) {
  const tiles = 4 * quads;
  // A copy of a patch at an edge, and four transformed channels before they are turned.
  const [patch, turned] = [0, patchBytes];
  // Planes of the image; of the other operand, if it is transformed here; of products.
  const imagePlane = 4 * channels * tiles + gap;
  const otherPlane = slope ? 4 * rows * tiles + gap : 0;
  const productPlane = 4 * rows * (slope ? channels : tiles) + gap;
  // What results are made of.
  const sums = turned + turnedBytes;
  const image = sums + 4 * (slope ? channels * placesOfWindow : rows * tileSide * quadColumns);
  const other = image + planes * imagePlane;
  const products = other + planes * otherPlane;
  const bytes = products + planes * productPlane;
  return { patch, turned, sums, image, other, products, imagePlane, otherPlane, productPlane, bytes };
}
