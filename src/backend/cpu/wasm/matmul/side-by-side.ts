import { strideIn } from "../../../../compile/access.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { writeAddress } from "./in-place.ts";
import type { Packing } from "./transpose.ts";

/** Panels that are packed side by side: together they are a cache line or two. */
export const panelGroup = 4;

/** Does the operand lie so that a row of neighbouring panels is one piece of memory? */
function isContiguous({ expr, along, inner, width, bytes }: Packing): boolean {
  if (expr.kind !== "load" || (expr.dtype === "float64") !== (bytes === 8)) return false;
  const down = inner.extent === 1 || strideIn(expr.index, inner.name) !== undefined;
  return down && strideIn(expr.index, along.name) === 1 && (width * bytes) % 16 === 0;
}

/**
 * Packs panels from `first` on until `stop`: groups of whole panels in one go where they lie side by side, so that each
 * cache line is read once, and the others by `one`, which packs the panel at `first` to `into`.
 * @param panelBytes From one panel to the next.
 */
export function writePanels(
  code: Code,
  module: Module,
  given: Arguments,
  args: Local,
  p: Packing,
  stop: Local,
  panelBytes: number,
  one: () => void,
): void {
  const { first, into, width, along } = p;
  const advance = (panels: number) => {
    code
      .get(into)
      .i32(panels * panelBytes)
      .op("i32.add")
      .set(into);
    code
      .get(first)
      .i32(panels * width)
      .op("i32.add")
      .set(first);
  };
  const single = () => {
    one();
    advance(1);
  };
  const group = panelGroup * width;
  code.loop((again) => {
    if (isContiguous(p) && along.extent >= group) {
      code.get(first).i32(group).op("i32.add").get(stop).op("i32.le_u");
      code.when(() => {
        packGroup(code, module, given, args, p, panelBytes);
        advance(panelGroup);
      }, single);
    } else single();
    code.get(first).get(stop).op("i32.lt_u");
    again("if");
  });
}

function packGroup(
  code: Code,
  module: Module,
  given: Arguments,
  args: Local,
  p: Packing,
  panelBytes: number,
): void {
  const { expr, batch, along, inner, first, width, into, innerFirst, innerCount, bytes } = p;
  const [source, target, rest] = [code.local("i32"), code.local("i32"), code.local("i32")];
  const places = [
    [batch.name, batch.local],
    [along.name, first],
    [inner.name, innerFirst],
  ] as const;
  writeAddress(code, module, given, args, expr, places, source);
  const down = expr.kind === "load" && inner.extent > 1 ? strideIn(expr.index, inner.name)! : 0;
  const vectors = (width * bytes) / 16;
  code.get(into).set(target);
  if (typeof innerCount === "number") code.i32(innerCount);
  else code.get(innerCount);
  code.set(rest);
  code.loop((again) => {
    for (let i = 0; i < panelGroup * vectors; i++) {
      code
        .get(target)
        .get(source)
        .memory("v128.load", 16 * i)
        .memory("v128.store", Math.floor(i / vectors) * panelBytes + 16 * (i % vectors));
    }
    code
      .get(source)
      .i32(down * bytes)
      .op("i32.add")
      .set(source);
    code
      .get(target)
      .i32(width * bytes)
      .op("i32.add")
      .set(target);
    code.get(rest).i32(1).op("i32.sub").tee(rest);
    again("if");
  });
}
