import { strideIn } from "../../../../compile/access.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import { fitsLanes } from "../along.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { type Phase, phaseTypes } from "../grid.ts";
import { Values } from "../values.ts";
import { type Geometry, units } from "./geometry.ts";
import { panelGroup, writePanels } from "./side-by-side.ts";
import { type Packing, packTransposed } from "./transpose.ts";

export function definePack(module: Module, kernel: MatmulKernel, given: Arguments, g: Geometry): Phase {
  const { batch, inner, column, b } = kernel;
  const groups = Math.ceil(g.panels / panelGroup);
  const panelBytes = inner.extent * g.columns * g.bytes;
  module.define("pack", phaseTypes, (code, { begin, end, args, shared: packed }) => {
    units(code, begin, end, [batch.extent, groups], (body, [i, group]) => {
      const [first, stop, into, zero] = [
        code.local("i32"),
        code.local("i32"),
        code.local("i32"),
        code.local("i32"),
      ];
      const columns = panelGroup * g.columns;
      body.get(group!).i32(columns).op("i32.mul").tee(first).i32(columns).op("i32.add").tee(stop);
      body
        .i32(column.extent)
        .op("i32.gt_u")
        .when(() => body.i32(column.extent).set(stop));
      body.get(packed).get(i!).i32(g.panels).op("i32.mul");
      body.get(group!).i32(panelGroup).op("i32.mul", "i32.add");
      body.i32(panelBytes).op("i32.mul", "i32.add").set(into).i32(0).set(zero);
      const packing: Packing = {
        expr: b,
        batch: { name: batch.name, local: i! },
        along: column,
        inner,
        first,
        width: g.columns,
        into,
        innerFirst: zero,
        innerCount: inner.extent,
        bytes: g.bytes,
      };
      writePanels(body, module, given, args, packing, stop, panelBytes, () =>
        writePack(body, module, given, args, packing),
      );
    });
  });
  const elements = panelGroup * g.columns * inner.extent;
  return { name: "pack", units: batch.extent * groups, cost: elements * 0.6 + 20 };
}

/**
 * `into[k * width + lane] = expr(first + lane, innerFirst + k)`. What lies beyond the end of `along` repeats its
 * last element: those sums are never stored.
 */
export function writePack(code: Code, module: Module, given: Arguments, args: Local, p: Packing): void {
  const { expr, along, inner, width, bytes } = p;
  const vectors = bytes === 4 && fitsLanes([expr]);
  const strideInner =
    expr.kind === "load" && expr.dtype === "float32" ? strideIn(expr.index, inner.name) : undefined;
  const strideAlong = expr.kind === "load" ? strideIn(expr.index, along.name) : undefined;
  const transposes = strideInner === 1 && strideAlong !== undefined && strideAlong !== 1;
  const k = code.local("i32");
  const target = code.local("i32");
  const write = (
    body: Code,
    vector: boolean,
    exact: boolean,
    emit: (values: Values, at: number) => void,
    start: number,
  ) => {
    const begin = body.piece();
    const values = new Values(body, {
      module,
      roots: [expr],
      levels: new Map([
        [p.batch.name, 0],
        [along.name, start],
        [inner.name, 2],
      ]),
      vector: vector ? { name: along.name, extent: along.extent, exact } : undefined,
      ...given.access(begin, args),
    });
    begin.get(p.batch.local).set(values.variable(p.batch.name));
    emit(values, start);
    return begin;
  };
  if (transposes) {
    packTransposed(code, module, given, args, p);
    return;
  }
  const step = vectors ? 4 : 1;
  const exact = along.extent % width === 0;
  for (let lane = 0; lane < width; lane += step) {
    const take = Math.min(step, width - lane);
    const asVector = vectors && take === 4;
    const count = asVector ? 1 : take;
    for (let i = 0; i < count; i++) {
      const piece = code.piece();
      const begin = write(
        piece,
        asVector,
        exact,
        (values) => {
          const body = values.piece(2);
          body.get(target);
          if (asVector) {
            values.vector(expr, body, 2);
            body.memory("v128.store", 4 * lane);
          } else {
            values.scalar(expr, body, 2);
            body.memory(bytes === 4 ? "f32.store" : "f64.store", bytes * (lane + i));
          }
          const at = values.variable(along.name);
          const ki = values.variable(inner.name);
          piece
            .get(p.first)
            .i32(lane + i)
            .op("i32.add")
            .set(at);
          // Vectors beyond the end start at the last element: their lanes are clamped, or read what is never used.
          piece
            .get(at)
            .i32(along.extent)
            .op("i32.ge_u")
            .when(() => piece.i32(along.extent - 1).set(at));
          piece.append(values.piece(0));
          piece.append(values.piece(1));
          piece.get(p.into).set(target).i32(0).set(k);
          piece.loop((again) => {
            piece.get(p.innerFirst).get(k).op("i32.add").set(ki);
            piece.append(body);
            piece
              .get(target)
              .i32(width * bytes)
              .op("i32.add")
              .set(target);
            piece.get(k).i32(1).op("i32.add").tee(k);
            if (typeof p.innerCount === "number") piece.i32(p.innerCount);
            else piece.get(p.innerCount);
            piece.op("i32.lt_u");
            again("if");
          });
        },
        1,
      );
      code.append(begin);
      code.append(piece);
    }
  }
}
