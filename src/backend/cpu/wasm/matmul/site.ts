import { internal } from "../../../../base/errors.ts";
import type { Expr } from "../../../../compile/expr.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { i32 } from "../expressions.ts";
import { decode } from "../units.ts";
import { Values } from "../values.ts";

/** Where code of a kernel is written: its module, what the kernel is given, and where that lies. */
export interface Site {
  readonly module: Module;
  readonly given: Arguments;
  readonly args: Local<"i32">;
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

/** The first place of a block of an axis, and its end, which is that of the axis at most. */
export function span(
  code: Code,
  which: Local<"i32">,
  size: number,
  extent: number,
): readonly [first: Local<"i32">, end: Local<"i32">] {
  const first = code.let("i32", i32.mul(which, size));
  const end = code.let("i32", i32.add(first, size));
  code.if(i32.gt(end, extent), () => code.assign(end, extent));
  return [first, end];
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
