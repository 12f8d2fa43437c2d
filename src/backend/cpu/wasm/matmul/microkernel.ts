import type { Module } from "../assemble.ts";
import { type Geometry, tileBytes } from "./geometry.ts";
import type { Strides } from "./in-place.ts";

/** Sums of one tile: `tile[i][j] += a[i][k] * b[k][j]` for `count` inner elements, or `=` for the first block. */
export function defineMicrokernel(
  module: Module,
  name: string,
  rows: number,
  strides: Strides,
  strideB: number,
  rowBytes: number,
  g: Geometry,
): number {
  const shape = g.bytes === 4 ? "f32x4" : "f64x2";
  return module.define(
    name,
    { a: "i32", b: "i32", sums: "i32", count: "i32", from: "i32" },
    (code, { a, b, sums, count, from }) => {
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
        code.get(b).i32(strideB).op("i32.add").set(b);
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
