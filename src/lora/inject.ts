import { ValueError } from "../base/errors.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { isLinear } from "../nn/linear.ts";
import type { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { AdapterConfig } from "./config.ts";
import { type LoraLinear, linear } from "./linear.ts";

export interface InjectConfig extends AdapterConfig {
  /**
   * Which linear layers get an adapter: names that match a path equal to it or ending in "." + it, regular
   * expressions tested on the path, or "all-linear" for every one (the output layer too, which PEFT leaves out).
   */
  readonly targetModules: "all-linear" | readonly (string | RegExp)[];
}

/** A model with adapters in it. */
export interface Adapted extends Layer {
  /** The model without adapters. */
  readonly base: Layer;
  /**
   * Parameters with fresh adapters: beside the given parameters of the base model, or beside fresh ones. The
   * adapter at a path depends on the key and that path only.
   */
  readonly init: (key: Key, base?: Params) => Params;
}

/**
 * The model with a LoRA adapter on each target. Parameters of adapters lie beside those of the layer they adapt,
 * as `loraA`, `loraB` (and `loraBias`), so that parameters of the adapted model are parameters of the base model
 * too.
 *
 * @throws ValueError for a target that matches no linear layer (with the paths there are), a bad configuration,
 *   or r larger than the smaller side of a target.
 * @example
 * const model = nn.sequential({ up: nn.linear(8, 32), act: nn.activation((x) => x.tanh()), down: nn.linear(32, 4) });
 * const adapted = lora.inject(model, { r: 2, alpha: 4, targetModules: ["up"] });
 * const params = adapted.init(random.key(1), model.init(random.key(0)));
 * const [adapter, frozen] = lora.partition(params);
 */
export function inject(model: Layer, config: InjectConfig): Adapted {
  const { targetModules } = config;
  if (targetModules !== "all-linear" && (!Array.isArray(targetModules) || targetModules.length === 0)) {
    throw new ValueError(
      `lora.inject: targetModules is ${JSON.stringify(targetModules)}; it is "all-linear" or a list of names and regular expressions.`,
    );
  }
  const linears = paths(model)
    .filter(([, layer]) => isLinear(layer))
    .map(([path]) => path);
  const chosen = new Set(
    targetModules === "all-linear"
      ? linears
      : targetModules.flatMap((target) => matches(target, linears, model)),
  );
  if (chosen.size === 0)
    throw new ValueError("lora.inject: the model has no linear layer; there is nothing to adapt.");

  const adapted = rebuild(model, "", (layer, path) =>
    isLinear(layer) && chosen.has(path) ? linear(layer, config, path) : layer,
  );
  return {
    ...adapted,
    base: model,
    init: (key, base = model.init(key)) => addAdapters(adapted, key.fold("lora"), base),
  };
}

/** Every adapted layer of a model with its path. */
export function adaptedLayers(model: Layer): [path: string, layer: LoraLinear][] {
  return paths(model).flatMap(([path, layer]): [string, LoraLinear][] =>
    isLoraLinear(layer) ? [[path, layer]] : [],
  );
}

/** Replaces the parameters at each adapted layer by what `f` makes of them; others stay. */
export function mapAdapted(
  model: Layer,
  params: Params,
  f: (layer: LoraLinear, params: Params, path: string) => Params,
  path = "",
): Params {
  if (isLoraLinear(model)) return f(model, params, path);
  const changed = Object.entries(model.children ?? {}).map(([name, child]): [string, Params] => {
    const inner = params[name];
    if (inner instanceof Tensor)
      throw new ValueError(
        `lora: the parameters have a tensor at ${join(path, name)}, where the model has a layer. Pass the parameters of this model.`,
      );
    return [name, mapAdapted(child, inner ?? {}, f, join(path, name))];
  });
  return { ...params, ...Object.fromEntries(changed) };
}

function addAdapters(adapted: Layer, key: Key, base: Params): Params {
  return mapAdapted(adapted, base, (layer, params, path) => layer.addAdapter(key.fold(path), params));
}

function isLoraLinear(layer: Layer): layer is LoraLinear {
  return layer.kind === "loraLinear";
}

function paths(layer: Layer, path = ""): [path: string, layer: Layer][] {
  const below = Object.entries(layer.children ?? {}).flatMap(([name, child]) =>
    paths(child, join(path, name)),
  );
  return [[path, layer], ...below];
}

function rebuild(layer: Layer, path: string, replace: (layer: Layer, path: string) => Layer): Layer {
  const { children, withChildren } = layer;
  if (!children || !withChildren) return replace(layer, path);
  return withChildren(
    Object.fromEntries(
      Object.entries(children).map(([name, child]) => [name, rebuild(child, join(path, name), replace)]),
    ),
  );
}

function matches(target: string | RegExp, linears: readonly string[], model: Layer): string[] {
  const found = linears.filter((path) =>
    typeof target === "string" ? path === target || path.endsWith(`.${target}`) : path.search(target) >= 0,
  );
  if (found.length > 0) return found;
  const other =
    typeof target === "string"
      ? paths(model).find(([path]) => path === target || path.endsWith(`.${target}`))
      : undefined;
  const problem = other ? `names a ${other[1].kind} layer, not a linear one` : "matches no layer";
  throw new ValueError(
    `lora.inject: target ${String(target)} ${problem}. Linear layers are: ${linears.map((path) => path || "(the model itself)").join(", ") || "none"}.`,
  );
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}
