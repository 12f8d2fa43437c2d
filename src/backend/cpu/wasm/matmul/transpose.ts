import type { Expr } from "../../../../compile/expr.ts";
import type { Axis } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { Values } from "../values.ts";

/** What is packed, and where to. */
export interface Packing {
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

/** The inner axis is contiguous: four vectors along it are transposed in registers. */
export function packTransposed(code: Code, module: Module, given: Arguments, args: Local, p: Packing): void {
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
