import type { Expr } from "../../../../compile/expr.ts";
import type { Axis } from "../../../../compile/kernel.ts";
import type { Code, Local } from "../assemble.ts";
import { f32, i32, v128 } from "../expressions.ts";
import type { Packing } from "./schedule.ts";
import { addressAt, type Site } from "./site.ts";

/** What is packed, how, and where to. */
export interface Panel {
  readonly how: Packing;
  readonly expr: Expr;
  readonly batch: { readonly name: string; readonly local: Local<"i32"> };
  /** The axis that is cut into panels: columns of b, rows of a. */
  readonly along: Axis;
  readonly inner: Axis;
  readonly first: Local<"i32">;
  readonly width: number;
  readonly into: Local<"i32">;
  readonly innerFirst: Local<"i32">;
  /** How many inner elements: all, or `innerStep` less what lies beyond the end. */
  readonly innerCount: number | Local<"i32">;
  readonly bytes: number;
}

/** The inner axis is contiguous: four vectors along it are transposed in registers. */
export function packTransposed(code: Code, site: Site, p: Panel): void {
  const { width, into, innerCount } = p;
  const k = code.local("i32");
  const target = code.local("i32");
  const rest = code.local("i32");
  for (let lane = 0; lane < width; lane += 4) {
    const rows = [0, 1, 2, 3].map((i) => rowAddress(code, site, p, lane + i));
    const four = () => {
      const held = rows.map((row) => code.let("v128", v128.load(row)));
      storeTransposed(code, held as [V, V, V, V], target, width, lane);
      for (const row of rows) code.advance(row, 16);
      code.advance(target, 16 * width);
      code.assign(rest, i32.sub(rest, 4));
    };
    const one = () => {
      rows.forEach((row, i) => {
        code.store("f32.store", target, 4 * (lane + i), f32.load(row)).advance(row, 4);
      });
      code.advance(target, 4 * width);
    };
    code.assign(target, into).assign(rest, innerCount);
    code.if(i32.ge(rest, 4), () => code.doWhile(four, i32.ge(rest, 4)));
    code.if(rest, () => code.each(k, 0, rest, 1, one));
  }
}

type V = Local<"v128">;

/** The address of a row of the panel at its first inner element; rows beyond the end are the last one. */
function rowAddress(code: Code, site: Site, p: Panel, lane: number): Local<"i32"> {
  const { expr, batch, along, inner, first, innerFirst } = p;
  const at = code.let("i32", lane > 0 ? i32.add(first, lane) : first);
  code.if(i32.ge(at, along.extent), () => code.assign(at, along.extent - 1));
  return addressAt(code, site, expr, [
    [batch.name, batch.local],
    [along.name, at],
    [inner.name, innerFirst],
  ]);
}

/** Stores four vectors as columns of the panel, from a lane on. */
export function storeTransposed(
  code: Code,
  [a, b, c, d]: readonly [V, V, V, V],
  target: Local<"i32">,
  width: number,
  lane: number,
): void {
  const pairs = [
    [a, b],
    [c, d],
  ] as const;
  const low = pairs.map(([x, y]) => code.let("v128", v128.lanes(x, y, 0, 4, 1, 5)));
  const high = pairs.map(([x, y]) => code.let("v128", v128.lanes(x, y, 2, 6, 3, 7)));
  [low, high].forEach((pair, half) => {
    const [x, y] = pair as [V, V];
    const place = (i: number) => 4 * ((2 * half + i) * width + lane);
    code.store("v128.store", target, place(0), v128.lanes(x, y, 0, 1, 4, 5));
    code.store("v128.store", target, place(1), v128.lanes(x, y, 2, 3, 6, 7));
  });
}
