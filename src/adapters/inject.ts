import { show } from "../base/arguments.ts";
import { fileDType, isFloat } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { tensorsOf as adapterTensorsOf } from "../lora/adapter.ts";
import { type Adaptable, isAdaptable, sizesOf } from "../lora/hosts.ts";
import { type Adapted, inject as injectAdapters } from "../lora/inject.ts";
import { ownParams } from "../lora/layer.ts";
import { adaptedLayers, paths } from "../lora/walk.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { withoutTied, withTied } from "../nn/params.ts";
import { isPacked } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import { map } from "../tensor/tree.ts";
import { type AdapterFile, type AdapterModule, kindOf, multiplierOf, tensorsOf } from "./file.ts";
import { mostCommon } from "./rescale.ts";

/**
 * The model with an adapter from a file, and its parameters: those of the base model with the factors beside the weights
 * they change, and with the parameters that the file holds whole in the place of the model's. Factors get the dtype that `lora.inject` gives them.
 *
 * @throws ValueError or ShapeError for an adapter of another model, with the names and shapes that do not fit.
 * @example
 * const adapter = await adapters.open("adapter");
 * const { model: adapted, params } = adapters.inject(model, base, adapter);
 */
export function inject<X, Y>(
  model: Layer<Params, X, Y>,
  base: Params,
  adapter: AdapterFile,
): { readonly model: Adapted<X, Y>; readonly params: Params } {
  const modules = [...adapter.modules];
  checkModel(model, adapter);
  const usual = (of: (module: AdapterModule) => number) =>
    mostCommon(modules.map(([, module]) => of(module)));
  const [r, alpha] = [usual((module) => module.r), usual((module) => module.alpha)];
  const others = (of: (module: AdapterModule) => number, usual: number) =>
    Object.fromEntries(
      modules
        .filter(([, module]) => of(module) !== usual)
        .map(([path, module]) => [`^${path.replace(/[^\w]/g, "\\$&")}`, of(module)]),
    );
  const adapted = injectAdapters(model, {
    r,
    alpha,
    rankPattern: others((module) => module.r, r),
    alphaPattern: others((module) => module.alpha, alpha),
    rsLora: adapter.rsLora,
    dropout: adapter.dropout,
    ...Object.fromEntries(
      modules.flatMap(([, module]) => kindOf(module).option?.name ?? []).map((name) => [name, true]),
    ),
    targetModules: [...adapter.modules.keys()],
  });
  // A parameter that is tied to another one stays what it was where the adapter replaces one of the two, as in PEFT.
  let params = withTied(model, base);
  for (const [path, module] of modules)
    params = changed(params, path.split("."), (part) => {
      const own = (part ?? {}) as Params; // checkModel found the layer
      return { ...own, ...map(tensorsOf(module), (leaf) => leaf.astype(dtypeFor(own))) };
    });
  for (const [path, { values }] of adapter.whole)
    params = changed(params, path.split("."), (old) => replaced(adapter, path, old, values));
  return { model: adapted, params: withoutTied(model, params) };
}

/** Of the adapter's parameters, as `lora` has it: that of the weight, and float32 beside one of 16 bits. */
function dtypeFor({ weight }: Params): "float32" | "float64" {
  const like = isPacked(weight) ? weight.like : weight;
  return like instanceof Tensor && like.dtype === "float64" ? "float64" : "float32";
}

/** @throws naming all modules that the model does not have or has in other shapes. */
function checkModel(model: Layer<Params, never, unknown>, adapter: AdapterFile): void {
  const there = new Map(paths(model));
  const problems: string[] = [];
  for (const [path, { loraA, loraB, kind, window }] of adapter.modules) {
    const layer = there.get(path);
    if (!layer || !isAdaptable(layer)) {
      problems.push(`${path} ${layer ? `is a ${layer.kind} layer` : "is not there"}`);
      continue;
    }
    const [inputs, outputs] = sizesOf(layer);
    if (layer.kind !== kind)
      problems.push(`${path} is a ${layer.kind} layer, and its factors are for a ${kind} one`);
    else if (windowOf(layer).window?.join() !== window?.join())
      problems.push(`${path} has windows of [${windowOf(layer).window}], and its factors of [${window}]`);
    else if (loraA.shape[1] !== inputs || loraB.shape[0] !== outputs)
      problems.push(
        `${path} takes ${inputs} and gives ${outputs} values, and its factors ${loraA.shape[1]} and ${loraB.shape[0]}`,
      );
  }
  if (problems.length === 0) return;
  const names = [...there].filter(([, layer]) => isAdaptable(layer)).map(([path]) => path);
  throw new ShapeError(
    `${adapter.name}: the adapter is of another model. Of its ${adapter.modules.size} modules, ${problems.length} do not fit: ${problems.slice(0, 6).join("; ")}${problems.length > 6 ? "; ..." : ""}. The model has ${names.slice(0, 6).join(", ")}${names.length > 6 ? ", ..." : ""}.`,
  );
}

function windowOf(layer: Adaptable): Pick<AdapterModule, "window"> {
  return layer.kind === "linear" || layer.kind === "embedding" ? {} : { window: layer.shape.slice(2) };
}

type Part = Params[string] | Params;

/** Parameters with a part replaced; parts on the way are made where they are missing. */
function changed(
  params: Part | undefined,
  path: readonly string[],
  f: (old: Part | undefined) => Part,
): Params {
  const [name, ...rest] = path;
  if (name === undefined) return f(params) as Params; // the root is an object
  const own = (params instanceof Tensor || params === undefined || params === null ? {} : params) as Params;
  const old = Object.hasOwn(own, name) ? own[name] : undefined;
  return { ...own, [name]: rest.length === 0 ? f(old) : changed(old, rest, f) } as Params;
}

function replaced(adapter: AdapterFile, path: string, old: Part | undefined, values: Tensor): Tensor {
  const shape = isPacked(old) ? old.like.shape.slice(1) : old instanceof Tensor ? old.shape : undefined;
  if (shape?.join() !== values.shape.join())
    throw new ValueError(
      `${adapter.name}: it holds ${path} as ${show(values)}, and the model has ${shape ? `[${shape.join(",")}]` : "none"} there.`,
    );
  return old instanceof Tensor && isFloat(old.dtype) && old.dtype !== "number"
    ? values.astype(old.dtype)
    : values;
}

export interface ExtractOptions {
  /** Fields of PEFT's configuration, such as `base_model_name_or_path` and `task_type`. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Parameters that are stored whole, by path: biases that were trained too, the output layer of a classifier. */
  readonly whole?: Readonly<Record<string, Tensor>>;
  /** Texts for the header of a safetensors file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * The adapter of a model that `lora.inject` made, to be written to files.
 *
 * @throws ValueError for a model without adapters, or with several.
 * @example
 * await adapters.write("adapter", adapters.extract(model, params), "peft");
 */
export function extract(
  model: Adapted<never, unknown>,
  params: Params,
  { config = {}, whole = {}, metadata = {} }: ExtractOptions = {},
): AdapterFile {
  const layers = adaptedLayers(model);
  if (layers.length === 0 || model.adapterNames.join() !== "")
    throw new ValueError(
      `adapters.extract: the model has the adapters ${model.adapterNames.map((name) => show(name)).join(", ") || "none"}; a file holds one, made by lora.inject. Combine several with lora.combineAdapters.`,
    );
  const modules = layers.map(([path, layer]): [string, AdapterModule] => {
    const adapter = layer.adapters[""]!;
    const at = path
      .split(".")
      .reduce<Part | undefined>((part, name) => (part as Params | undefined)?.[name], params);
    const own = adapterTensorsOf(adapter, ownParams((at ?? {}) as Params, ""));
    const { r, alpha } = adapter.config;
    return [
      path,
      { ...own, kind: layer.base.kind, ...windowOf(layer.base), r, alpha, dtype: fileDType(own.loraA.dtype) },
    ];
  });
  const { rsLora = false, dropout = 0 } = layers[0]![1].adapters[""]!.config;
  const adapter: AdapterFile = {
    name: "the adapter",
    format: "lorantz",
    rsLora,
    dropout,
    modules: new Map(modules),
    whole: new Map(
      Object.entries(whole).map(([path, values]) => [path, { values, dtype: fileDType(values.dtype) }]),
    ),
    config,
    metadata,
    notes: [],
  };
  for (const [, module] of modules) multiplierOf(adapter, module);
  return adapter;
}
