import { internal } from "../../../../base/errors.ts";
import type { Expr } from "../../../../compile/expr.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { addedUp, addressOf } from "../scalar.ts";
import { decode } from "../units.ts";
import { type Scope, Values } from "../values.ts";
import type { Schedule } from "./schedule.ts";

/** Where code of a kernel is written: its module, what the kernel is given, and where that lies. */
export interface Site {
  readonly module: Module;
  readonly access: ReturnType<Arguments["access"]>;
}

/** Values in loops over these axes, each a level, outermost first. */
export function valuesIn(
  code: Code,
  { module, access }: Site,
  axes: readonly { readonly name: string }[],
  scope: Pick<Scope, "uses"> & Partial<Scope>,
): Values {
  const levels = new Map(axes.map(({ name }, level) => [name, level]));
  return new Values(code, { module, levels, ...access, ...scope });
}

/** Runs `write` for each unit from `begin` to `end`, split into counters. */
export function units<const E extends readonly number[]>(
  code: Code,
  begin: Local<"i32">,
  end: Local<"i32">,
  extents: E,
  write: (body: Code, counters: { readonly [i in keyof E]: Local<"i32"> }) => void,
): void {
  const unit = code.local("i32");
  const counters = extents.map((extent) => ({ local: code.local("i32"), extent }));
  const locals = counters.map(({ local }) => local);
  code.each(unit, begin, end, 1, () => {
    decode(code, unit, counters);
    write(code, locals as { readonly [i in keyof E]: Local<"i32"> }); // one for each extent
  });
}

/** A part of an axis. */
export interface Span {
  readonly first: Local<"i32">;
  readonly end: Local<"i32">;
}

/** A block of an axis, or of a part of one, which ends there at most. */
export function span(
  code: Code,
  which: Local<"i32">,
  size: number,
  within: number | Span,
): readonly [first: Local<"i32">, end: Local<"i32">] {
  const [from, most] = typeof within === "number" ? [undefined, within] : [within.first, within.end];
  const offset = i32.mul(which, size);
  const first = code.let("i32", from ? i32.add(from, offset) : offset);
  const end = code.let("i32", i32.add(first, size));
  code.atMost(end, most);
  return [first, end];
}

/** The matrix of the batch, and the columns of it that a piece of b is made of: all of them where nothing is cut. */
export function pieceOf(
  code: Code,
  which: Local<"i32">,
  { column }: MatmulKernel,
  { pieces, columns }: Schedule,
): { readonly matrix: Local<"i32">; readonly own: number | Span } {
  if (pieces.count === 1) return { matrix: which, own: column.extent };
  const piece = code.let("i32", i32.rem(which, pieces.count));
  const [first, end] = span(code, piece, pieces.panels * columns, column.extent);
  return { matrix: code.let("i32", i32.div(which, pieces.count)), own: { first, end } };
}

/** Runs `body` for what begins in a piece: the last one may have less than the others. */
export function within(code: Code, own: number | Span, first: Local<"i32">, body: () => void): void {
  if (typeof own === "number") body();
  else code.if(i32.lt(first, own.end), body);
}

/** The address of an operand's element at the given places of its axes. */
export function addressAt(
  body: Code,
  { module, access }: Site,
  expr: Expr,
  places: readonly (readonly [axis: string, place: Local<"i32">])[],
): Local<"i32"> {
  if (expr.kind !== "load") internal("an operand that is read in place is no load");
  const values = new Values(body, {
    module,
    uses: [{ expr: expr.index, at: 1, address: true }],
    levels: new Map(places.map(([name]) => [name, 0])),
    ...access,
  });
  for (const [name, place] of places) body.assign(values.variable(name), place);
  const piece = values.piece(1);
  const address = piece.let("i32", addedUp(addressOf(values, expr.value, expr.index, expr.dtype, piece)));
  body.append(values.piece(0), piece);
  return address;
}
