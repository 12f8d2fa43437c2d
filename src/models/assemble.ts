import type { AnyLayer, Context, Layer, Params } from "../nn/layer.ts";
import { type ChildFunctions, type ModuleOptions, module } from "../nn/module.ts";
import type { Names, PartRole } from "./architecture.ts";

type Parts = { readonly [R in PartRole]?: AnyLayer | undefined };

/**
 * A module of parts by what they do, each under the name that the architecture gives it; parts that it does not have are
 * undefined, for `forward` too.
 */
export function assemble<P extends Parts, X, Y>(
  names: Names,
  parts: P,
  forward: (parts: ChildFunctions<P>, x: X, context: Context) => Y,
  options: ModuleOptions = {},
): Layer<Params, X, Y> {
  const there = Object.entries(parts).flatMap(([role, layer]) =>
    layer ? [{ role, name: names[role as PartRole], layer }] : [],
  );
  const made = module(
    Object.fromEntries(there.map(({ name, layer }) => [name, layer])),
    (children, x: X, context) =>
      // The same functions under the names of their roles.
      forward(
        Object.fromEntries(there.map(({ role, name }) => [role, children[name]])) as ChildFunctions<P>,
        x,
        context,
      ),
    options,
  );
  return made as Layer<Params, X, Y>; // parameters by name
}
