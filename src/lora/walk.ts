import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { checkLayer } from "../nn/check.ts";
import type { AnyLayer, Layer, Params } from "../nn/layer.ts";
import { withoutTied, withTied } from "../nn/params.ts";
import { Tensor } from "../tensor/tensor.ts";
import { isLoraLayer, type LoraLayer } from "./layer.ts";

/** Every layer of a model with its path: the names on the way to it, joined by dots. */
export function paths(layer: AnyLayer, path = ""): [path: string, layer: AnyLayer][] {
  if (path === "") checkLayer("lora", "the model", layer);
  const below = Object.entries(layer.children ?? {}).flatMap(([name, child]) =>
    paths(child, join(path, name)),
  );
  return [[path, layer], ...below];
}

/** The model with each layer that has no children replaced. */
export function rebuild<X, Y>(
  layer: Layer<Params, X, Y>,
  replace: (layer: AnyLayer, path: string) => AnyLayer,
  path = "",
): Layer<Params, X, Y> {
  const { children, withChildren } = layer;
  if (!children || !withChildren) return replace(layer, path) as Layer<Params, X, Y>; // it takes and gives the same
  return withChildren(
    Object.fromEntries(
      Object.entries(children).map(([name, child]) => [
        name,
        rebuild(child as Layer<Params, never, unknown>, replace, join(path, name)), // or a parameter, which has no children
      ]),
    ),
  );
}

/** Every adapted layer of a model with its path. */
export function adaptedLayers(model: AnyLayer): [path: string, layer: LoraLayer][] {
  return paths(model).flatMap(([path, layer]): [string, LoraLayer][] =>
    isLoraLayer(layer) ? [[path, layer]] : [],
  );
}

/** Replaces the parameters at each adapted layer by what `f` makes of them; others stay. */
export function mapAdapted(
  model: AnyLayer,
  tree: object,
  f: (layer: LoraLayer, params: Params, path: string) => Params,
  path = "",
): Params {
  if (path === "") checkLayer("lora", "the model", model);
  const params = tree as Params; // callers have checked its type
  if (typeof params !== "object" || params === null)
    throw new ValueError(
      `lora: the parameters${path && ` at ${path}`} are ${show(params)}; they are a tree of tensors, the parameters of this model.`,
    );
  if (isLoraLayer(model)) return f(model, params, path);
  const all = withTied(model, params);
  const changed = Object.entries(model.children ?? {}).map(([name, child]): [string, Params] => {
    const inner = all[name];
    if (child.kind === "parameter") return [name, inner as Params]; // a tensor, which nothing adapts
    if (inner instanceof Tensor)
      throw new ValueError(
        `lora: the parameters have a tensor at ${join(path, name)}, where the model has a layer. Pass the parameters of this model.`,
      );
    return [name, mapAdapted(child, inner ?? {}, f, join(path, name))];
  });
  return withoutTied(model, { ...all, ...Object.fromEntries(changed) });
}

/** `mapAdapted` for a function that waits for values; one layer after the other, to hold one on the host at a time. */
export async function mapAdaptedOnHost(
  model: AnyLayer,
  params: object,
  f: (layer: LoraLayer, params: Params, path: string) => Promise<Params>,
): Promise<Params> {
  const given = new Map<string, Params>();
  mapAdapted(model, params, (_, own, path) => {
    given.set(path, own);
    return own;
  });
  const made = new Map<string, Params>();
  for (const [path, layer] of adaptedLayers(model)) made.set(path, await f(layer, given.get(path)!, path));
  return mapAdapted(model, params, (_, __, path) => made.get(path)!);
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}
