import type { Local, Module } from "../assemble.ts";
import { f32x4, f64x2, i32, v128 } from "../expressions.ts";
import { type Schedule, type Strides, tileBytes } from "./schedule.ts";

/** Sums of one tile: `tile[i][j] += a[i][k] * b[k][j]` for `count` inner elements, or `=` for the first block. */
export function defineMicrokernel(
  module: Module,
  name: string,
  rows: number,
  strides: Strides,
  strideB: number,
  rowBytes: number,
  g: Pick<Schedule, "bytes" | "relaxed">,
): number {
  const { multiplyAdd, fusedMultiplyAdd } = g.bytes === 4 ? f32x4 : f64x2;
  const sumOf = g.relaxed ? fusedMultiplyAdd : multiplyAdd;
  const splat = g.bytes === 4 ? v128.loadSplat32 : v128.loadSplat64;
  const vectors = Array.from({ length: tileBytes / 16 }, (_, j) => j);
  return module.define(
    name,
    { a: "i32", b: "i32", sums: "i32", count: "i32", from: "i32" },
    (code, { a, b, sums, count, from }) => {
      const tile = Array.from({ length: rows }, () => vectors.map(() => code.local("v128")));
      const each = (write: (sum: Local<"v128">, place: number) => void) =>
        tile.forEach((line, i) => {
          line.forEach((sum, j) => {
            write(sum, i * rowBytes + 16 * j);
          });
        });
      code.if(from, () => each((sum, place) => code.assign(sum, v128.load(sums, place))));
      const x = code.local("v128");
      const loop = () => {
        const y = vectors.map((j) => code.let("v128", v128.load(b, 16 * j)));
        tile.forEach((line, i) => {
          code.assign(x, splat(a, i * strides.row));
          line.forEach((sum, j) => {
            code.assign(sum, sumOf(x, y[j]!, sum));
          });
        });
        code.advance(a, strides.inner);
        code.advance(b, strideB);
        code.assign(count, i32.sub(count, 1));
      };
      code.doWhile(loop, count);
      each((sum, place) => code.store("v128.store", sums, place, sum));
    },
    { exported: false },
  );
}
