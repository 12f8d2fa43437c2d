import { strideIn } from "../../../../compile/access.ts";
import type { Code, Local } from "../assemble.ts";
import { i32, v128 } from "../expressions.ts";
import type { Site } from "./geometry.ts";
import { addressOf } from "./in-place.ts";
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
  site: Site,
  p: Packing,
  stop: Local<"i32">,
  panelBytes: number,
  one: () => void,
): void {
  const { first, into, width, along } = p;
  const advance = (panels: number) => code.advance(into, panels * panelBytes).advance(first, panels * width);
  const single = () => {
    one();
    advance(1);
  };
  const several = () => {
    packGroup(code, site, p, panelBytes);
    advance(panelGroup);
  };
  const group = panelGroup * width;
  const some = () => {
    if (isContiguous(p) && along.extent >= group)
      code.if(i32.le(i32.add(first, group), stop), several, single);
    else single();
  };
  code.doWhile(some, i32.lt(first, stop));
}

function packGroup(code: Code, site: Site, p: Packing, panelBytes: number): void {
  const { expr, batch, along, inner, first, width, into, innerFirst, innerCount, bytes } = p;
  const source = addressOf(code, site, expr, [
    [batch.name, batch.local],
    [along.name, first],
    [inner.name, innerFirst],
  ]);
  const down = expr.kind === "load" && inner.extent > 1 ? strideIn(expr.index, inner.name)! : 0;
  const vectors = (width * bytes) / 16;
  const target = code.let("i32", into);
  const rest = code.let("i32", innerCount);
  const row = () => {
    for (let i = 0; i < panelGroup * vectors; i++) {
      const place = Math.floor(i / vectors) * panelBytes + 16 * (i % vectors);
      code.store("v128.store", target, place, v128.load(source, 16 * i));
    }
    code.advance(source, down * bytes).advance(target, width * bytes);
    code.assign(rest, i32.sub(rest, 1));
  };
  code.doWhile(row, rest);
}
