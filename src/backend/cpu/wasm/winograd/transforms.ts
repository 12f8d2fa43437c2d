import type { Code, Local } from "../assemble.ts";
import { f32x4, type Vector, v128 } from "../expressions.ts";

// The transforms of Winograd's minimal filtering F(2x2, 3x3), after Lavin and Gray (2015): a tile of 2 x 2 results Y of windows
// in the 4 x 4 elements D under weights W is A^T [(G W G^T) * (B^T D B)] A, with 16 products in place of 36, and the slope of W is
// G^T [(A dY A^T) * (B^T D B)] G added up over tiles. Each works on four tiles, or rows, or channels, as lanes.
// Planes are numbered row by row: 4 i + j.

type V = Local<"v128">;
const { add, sub, mul } = f32x4;

const four = [0, 1, 2, 3] as const;

const get =
  (x: V): Vector =>
  (code) =>
    code.get(x);

/** B^T x. */
const image = ([a, b, c, d]: readonly V[]): readonly Vector[] => [
  sub(a!, c!),
  add(b!, c!),
  sub(c!, b!),
  sub(b!, d!),
];

/** G x, of three; halves are exact. */
function weight(code: Code, [a, b, c]: readonly V[], half: V): readonly Vector[] {
  const ends = code.let("v128", add(a!, c!));
  return [get(a!), mul(half, add(ends, b!)), mul(half, sub(ends, b!)), get(c!)];
}

/** A^T x. */
const result = ([a, b, c, d]: readonly V[]): readonly Vector[] => [
  add(add(a!, b!), c!),
  sub(sub(b!, c!), d!),
];

/** A x, of two, with the sign of the last one turned, for which `weightSlope` turns it back. */
const slope = ([a, b]: readonly V[]): readonly Vector[] => [get(a!), add(a!, b!), sub(a!, b!), get(b!)];

/** G^T x. */
function weightSlope(code: Code, [a, b, c, d]: readonly V[], half: V): readonly Vector[] {
  const middle = code.let("v128", mul(half, add(b!, c!)));
  return [add(a!, middle), mul(half, sub(b!, c!)), sub(middle, d!)];
}

const lets = (code: Code, vectors: readonly Vector[]) => vectors.map((vector) => code.let("v128", vector));

/** Of a matrix by its rows, `of` of each column. */
const down = (
  code: Code,
  rows: readonly (readonly V[])[],
  of: (column: readonly V[]) => readonly Vector[],
) => {
  const columns = rows[0]!.map((_, j) => lets(code, of(rows.map((row) => row[j]!))));
  return columns[0]!.map((_, i) => columns.map((column) => column[i]!));
};

/** Even and odd elements of eight. */
const apart = (x: V, y: V): readonly Vector[] => [v128.lanes(x, y, 0, 2, 4, 6), v128.lanes(x, y, 1, 3, 5, 7)];

type Put = (plane: number, value: Vector) => void;

/** B^T D B of four tiles that overlap: `lines` are where four rows of twelve elements lie, of which ten are used. */
export function transformImage(code: Code, lines: readonly Local<"i32">[], put: Put): void {
  const rows = lines.map((line) => [0, 1, 2].map((j) => code.let("v128", v128.load(line, 16 * j))));
  down(code, rows, image).forEach(([x, y, z], i) => {
    const [a, b] = lets(code, apart(x!, y!)) as [V, V];
    const [c, d] = lets(code, [v128.lanes(a, z!, 1, 2, 3, 4), v128.lanes(b, z!, 1, 2, 3, 5)]) as [V, V];
    image([a, b, c, d]).forEach((value, j) => {
      put(4 * i + j, value);
    });
  });
}

/** A dY A^T of four tiles side by side: two rows of eight elements. */
export function transformSlope(code: Code, lines: readonly Local<"i32">[], put: Put): void {
  const rows = lines.map((line) => [0, 1].map((j) => code.let("v128", v128.load(line, 16 * j))));
  down(code, rows, slope).forEach(([x, y], i) => {
    slope(lets(code, apart(x!, y!))).forEach((value, j) => {
      put(4 * i + j, value);
    });
  });
}

/** G W G^T of the nine vectors at `from`. */
export function transformWeight(code: Code, from: Local<"i32">, half: V, put: Put): void {
  const rows = [0, 1, 2].map((p) =>
    [0, 1, 2].map((q) => code.let("v128", v128.load(from, 16 * (3 * p + q)))),
  );
  down(code, rows, (column) => weight(code, column, half)).forEach((row, i) => {
    weight(code, row, half).forEach((value, j) => {
      put(4 * i + j, value);
    });
  });
}

const loadPlanes = (code: Code, from: Local<"i32">, plane: number) =>
  four.map((i) => four.map((j) => code.let("v128", v128.load(from, (4 * i + j) * plane))));

/** A^T M A: two rows of eight results, four vectors. */
export function transformProducts(code: Code, from: Local<"i32">, plane: number): readonly Vector[] {
  return down(code, loadPlanes(code, from, plane), result).flatMap((row) => {
    const [x, y] = lets(code, result(row)) as [V, V];
    return [v128.lanes(x, y, 0, 4, 1, 5), v128.lanes(x, y, 2, 6, 3, 7)];
  });
}

/** G^T M G: the nine places of a window. */
export function transformSums(code: Code, from: Local<"i32">, plane: number, half: V): readonly V[] {
  return down(code, loadPlanes(code, from, plane), (column) => weightSlope(code, column, half)).flatMap(
    (row) => lets(code, weightSlope(code, row, half)),
  );
}
