import { type Load, limitsOf } from "./access.ts";
import { constantOf, type Expr, termsOf } from "./expr.ts";
import type { Axis } from "./nest.ts";
import { guardedLoad } from "./runs.ts";

// The windows of a convolution, read off an operand of a product: what was made of them is a load with an index and a guard.

/** Places from the first one on until the end. */
export interface Range {
  readonly first: number;
  readonly end: number;
}

/**
 * Windows of 3 x 3, a place apart, as an operand: for place (p, q) of a channel in window (y, x) it is element (y + p, x + q) of
 * the channel, and 0 where that lies outside of the ranges.
 */
export interface Windows {
  readonly load: Load;
  /** Elements from one image, channel and row to the next; those of a row are neighbours. */
  readonly image: number;
  readonly channel: number;
  readonly row: number;
  /** The index of element (0, 0), which may lie before the image. */
  readonly origin: number;
  readonly channels: number;
  /** Windows down and across. */
  readonly height: number;
  readonly width: number;
  /** What of the elements is in the image and in a window. */
  readonly rows: Range;
  readonly columns: Range;
}

/** Places of a window: along each side, and in all. */
const side = 3;
export const placesOfWindow = side * side;

/**
 * The windows that an operand is made of, if that is all it is.
 *
 * @param places Channels, and the places of a window in each.
 * @param positions The windows of an image, row by row.
 */
export function windowsOf(e: Expr, batch: Axis, places: Axis, positions: Axis): Windows | undefined {
  const read = guardedLoad(e);
  if (read?.load.dtype !== "float32" || places.extent % placesOfWindow !== 0) return undefined;
  const limits = read.guard ? limitsOf(read.guard) : [];
  const width = limits && widthOf([read.index, ...limits.map(({ arg }) => arg)], positions);
  if (!limits || width === undefined || positions.extent % width !== 0) return undefined;
  const height = positions.extent / width;
  const coefficients = (index: Expr) => coefficientsOf(index, batch, places, positions, width);
  const at = coefficients(read.index);
  if (!at || at.p !== at.y || at.q !== 1 || at.x !== 1) return undefined;
  let rows: Range = { first: 0, end: height + side - 1 };
  let columns: Range = { first: 0, end: width + side - 1 };
  for (const { arg, length } of limits) {
    const own = coefficients(arg);
    if (own?.image !== 0 || own.channel !== 0) return undefined;
    const isRow = own.p === 1 && own.y === 1 && own.q === 0 && own.x === 0;
    if (!isRow && !(own.p === 0 && own.y === 0 && own.q === 1 && own.x === 1)) return undefined;
    const inside = { first: -own.constant, end: length - own.constant };
    if (isRow) rows = common(rows, inside);
    else columns = common(columns, inside);
  }
  if (rows.first >= rows.end || columns.first >= columns.end) return undefined;
  return {
    load: read.load,
    image: at.image,
    channel: at.channel,
    row: at.y,
    origin: at.constant,
    channels: places.extent / placesOfWindow,
    height,
    width,
    rows,
    columns,
  };
}

const common = (one: Range, other: Range): Range => ({
  first: Math.max(one.first, other.first),
  end: Math.min(one.end, other.end),
});

/** How many windows a row has, by what tells rows apart. */
function widthOf(indices: readonly Expr[], positions: Axis): number | undefined {
  for (const { atom } of indices.flatMap(termsOf))
    if (atom.kind === "digit" && isVariable(atom.arg, positions))
      return atom.low === 1 ? atom.high : atom.low;
  return undefined;
}

const isVariable = (e: Expr, { name }: Axis) => e.kind === "variable" && e.name === name;

/** What an index is multiplied by: image, channel, place (p, q), window (y, x). */
interface Coefficients {
  readonly image: number;
  readonly channel: number;
  readonly p: number;
  readonly q: number;
  readonly y: number;
  readonly x: number;
  readonly constant: number;
}

/** Of an index that is a sum of these; undefined for others. */
function coefficientsOf(
  index: Expr,
  batch: Axis,
  places: Axis,
  positions: Axis,
  width: number,
): Coefficients | undefined {
  const found = { image: 0, channel: 0, p: 0, q: 0, y: 0, x: 0 };
  for (const { coefficient, atom } of termsOf(index)) {
    const [arg, low, high] = atom.kind === "digit" ? [atom.arg, atom.low, atom.high] : [atom, 1, Infinity];
    const is = (axis: Axis, from: number, to: number) => isVariable(arg, axis) && low === from && high === to;
    if (is(batch, 1, Infinity)) found.image += coefficient;
    else if (is(places, placesOfWindow, Infinity)) found.channel += coefficient;
    else if (is(places, side, placesOfWindow)) found.p += coefficient;
    else if (is(places, 1, side)) found.q += coefficient;
    else if (is(positions, width, Infinity)) found.y += coefficient;
    else if (is(positions, 1, width)) found.x += coefficient;
    else if (is(positions, 1, Infinity)) {
      found.y += width * coefficient;
      found.x += coefficient;
    } else return undefined;
  }
  return { ...found, constant: constantOf(index) };
}
