import { internal } from "../../../../base/errors.ts";
import { strideIn } from "../../../../compile/access.ts";
import type { Expr } from "../../../../compile/expr.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Code, Local } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { Values } from "../values.ts";
import { type Geometry, type Site, tileRows } from "./geometry.ts";

// Operands that the microkernel reads as they lie, without packing.

/** Where the microkernel finds elements of a: bytes from row to row and from one inner element to the next. */
export interface Strides {
  readonly row: number;
  readonly inner: number;
}

/** Rows of a result for which packing b costs more than it saves. */
const fewRows = 2 * tileRows;
/** Elements of a cache line. */
const line = 16;

function isPlain(e: Expr, g: Geometry): e is Extract<Expr, { kind: "load" }> {
  return e.kind === "load" && (e.dtype === "float64") === (g.bytes === 8);
}

/** Of a, where inner elements lie next to each other, or rows do and there are few of them. */
export function stridesOfA({ a, row, inner }: MatmulKernel, g: Geometry): Strides | undefined {
  if (!isPlain(a, g)) return undefined;
  const along = inner.extent === 1 ? 1 : strideIn(a.index, inner.name);
  const across = strideIn(a.index, row.name);
  if (along === undefined || across === undefined || across < 0) return undefined;
  const transposed = across === 1 && along > 0 && along <= line;
  return along === 1 || transposed ? { row: across * g.bytes, inner: along * g.bytes } : undefined;
}

/** Bytes from one inner element of b to the next, where whole panels lie in each row and each is read a few times only. */
export function strideOfB({ b, row, column, inner }: MatmulKernel, g: Geometry): number | undefined {
  if (!isPlain(b, g) || row.extent > fewRows || column.extent % g.columns !== 0) return undefined;
  const down = inner.extent === 1 ? 1 : strideIn(b.index, inner.name);
  if (strideIn(b.index, column.name) !== 1 || down === undefined || down <= 0) return undefined;
  return down * g.bytes;
}

/** The address of an operand's element at the given places of its axes. */
export function addressOf(
  body: Code,
  { module, given, args }: Site,
  expr: Expr,
  places: readonly (readonly [axis: string, place: Local<"i32">])[],
): Local<"i32"> {
  if (expr.kind !== "load") internal("an operand that is read in place is no load");
  const start = body.piece();
  const piece = body.piece();
  const values = new Values(body, {
    module,
    roots: [expr],
    levels: new Map(places.map(([name]) => [name, 0])),
    ...given.access(start, args),
  });
  for (const [name, place] of places) start.assign(values.variable(name), place);
  const { base, offset } = values.address(expr.value, expr.index, expr.dtype, 1);
  const address = piece.let("i32", i32.add(base, offset));
  body.append(start, values.piece(0), piece);
  return address;
}
