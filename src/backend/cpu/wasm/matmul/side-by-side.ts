import { strideIn } from "../../../../compile/access.ts";
import type { Code, Local } from "../assemble.ts";
import { i32, v128 } from "../expressions.ts";
import { panelGroup } from "./schedule.ts";
import { addressAt, type Site } from "./site.ts";
import type { Panel } from "./transpose.ts";

/**
 * Packs panels from `first` on until `stop`: groups of whole panels in one go where they lie side by side, so that each
 * cache line is read once, and the others by `one`, which packs the panel at `first` to `into`.
 * @param panelBytes From one panel to the next.
 */
export function writePanels(
  code: Code,
  site: Site,
  p: Panel,
  stop: Local<"i32">,
  panelBytes: number,
  one: () => void,
): void {
  const { first, into, width } = p;
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
    if (p.how.together) code.if(i32.le(i32.add(first, group), stop), several, single);
    else single();
  };
  code.doWhile(some, i32.lt(first, stop));
}

function packGroup(code: Code, site: Site, p: Panel, panelBytes: number): void {
  const { expr, batch, along, inner, first, width, into, innerFirst, innerCount, bytes } = p;
  const source = addressAt(code, site, expr, [
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
