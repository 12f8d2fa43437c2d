import { type Expr, walk } from "../../../compile/expr.ts";

/** Are elements loaded that lie in different cache lines although they are neighbours along the axis? */
export function hasStrides(roots: readonly Expr[], name: string): boolean {
  let found = false;
  walk(roots, (e) => {
    if (e.kind === "load" && Math.abs(strideIn(e.index, name) ?? 0) >= 16) found = true;
  });
  return found;
}

/** How an index moves with a variable, or undefined where that is not a constant. */
export function strideIn(index: Expr, name: string): number | undefined {
  const depends = (e: Expr): boolean => {
    let found = false;
    walk([e], (part) => {
      if (part.kind === "variable" && part.name === name) found = true;
    });
    return found;
  };
  if (index.kind === "variable") return index.name === name ? 1 : 0;
  if (index.kind !== "sum") return depends(index) ? undefined : 0;
  let stride = 0;
  for (const { coefficient, atom } of index.terms) {
    if (!depends(atom)) continue;
    if (atom.kind !== "variable") return undefined;
    stride += coefficient;
  }
  return stride;
}
