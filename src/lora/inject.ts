import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Layer, Params, ParamsLike } from "../nn/layer.ts";
import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Adapter } from "./adapter.ts";
import { type AdapterConfig, checkConfigNames, isResidual } from "./config.ts";
import type { Adaptable } from "./hosts.ts";
import {
  type Active,
  adaptersByName,
  addAdapters,
  addAdaptersOnHost,
  checkedAdapter,
  isLoraLayer,
  loraLayer,
  noteOf,
} from "./layer.ts";
import { type Chosen, type Pattern, patternValues, targetPaths } from "./targets.ts";
import { adaptedLayers, mapAdapted, mapAdaptedOnHost, rebuild } from "./walk.ts";

export interface InjectConfig extends AdapterConfig, Chosen {
  /** Ranks of some of the targets, by patterns of paths as in PEFT: `{ "down": 16, "layers\\.0\\..*": 4 }`. */
  readonly rankPattern?: Pattern;
  /** Alphas of some of the targets, likewise. */
  readonly alphaPattern?: Pattern;
}

/** A model with adapters in it. */
export interface Adapted<X = Tensor, Y = Tensor> extends Layer<Params, X, Y> {
  /** The model without adapters. */
  readonly base: Layer<Params, X, Y>;
  /** The names of its adapters, in the order they were given; that of `inject` is called "". */
  readonly adapterNames: readonly string[];
  /** What to know of them that is no error, such as a rank above the smaller side of a weight. */
  readonly notes: readonly string[];
  /** Those that act: all, unless `setAdapter` or `perSample` say otherwise. */
  readonly active: Active;
  /**
   * Parameters with fresh adapters: beside the given parameters of the base model, or beside fresh ones. The
   * adapter at a path depends on the key, its name and that path only. Adapters with a name that are among the
   * given parameters stay as they are.
   */
  readonly init: <P extends ParamsLike<P> = Params>(key: Key, base?: P | Params) => Params;
}

/**
 * The model with a LoRA adapter on each target. Parameters of adapters lie beside those of the layer they adapt,
 * as `loraA`, `loraB` (and `loraBias`, `loraMagnitude`), so that parameters of the adapted model are parameters
 * of the base model too.
 *
 * A rank above the smaller side of a weight works, and is among the `notes` of the model.
 *
 * @throws ValueError for a target that matches no layer (with the paths there are), a pattern that matches no
 *   target, a bad configuration, or an option that there is not (with the one that may be meant).
 * @example
 * const model = nn.sequential({ up: nn.linear(8, 32), act: nn.activation((x) => x.tanh()), down: nn.linear(32, 4) });
 * const adapted = lora.inject(model, { r: 2, alpha: 4, targetModules: ["up"] });
 * const params = adapted.init(random.key(1), model.init(random.key(0)));
 * const [adapter, frozen] = lora.partition(params);
 */
export function inject<X, Y>(model: Layer<Params, X, Y>, config: InjectConfig): Adapted<X, Y> {
  return withAdapters(model, new Map([["", adaptersByPath("lora.inject", model, config)]]));
}

/**
 * The model with several adapters, each of a name and a configuration of its own. Parameters of one lie under its
 * name beside those of the layer: `{ weight, bias, english: { loraA, loraB }, french: { ... } }`. All of them act,
 * each with its own scaling, and their changes add up; `setAdapter` and `perSample` choose among them.
 *
 * @param configs By name, in order: a list of pairs, a Map, or an object. JavaScript sorts keys such as "10" and "9" of an
 *   object, so where the order would be lost they are refused there.
 * @throws ValueError for a name that a tree cannot take, a residual initialisation (it would change the weight
 *   that all share), and whatever `inject` throws.
 * @example
 * const config = { r: 4, alpha: 8, targetModules: "all-linear" } as const;
 * const model = lora.injectNamed(nn.mlp([8, 16, 4]), { english: config, french: { ...config, r: 2 } });
 * const params = model.init(random.key(0));
 */
export function injectNamed<X, Y>(model: Layer<Params, X, Y>, configs: NamedConfigs): Adapted<X, Y> {
  const named = pairsOf(configs);
  if (named.length === 0)
    throw new ValueError("lora.injectNamed: there is no adapter. Give one or more by name.");
  for (const [i, [name, config]] of named.entries()) {
    checkName("lora.injectNamed", name);
    checkConfig(`lora.injectNamed: ${JSON.stringify(name)}`, config);
    if (named.findIndex(([other]) => other === name) !== i)
      throw new ValueError(
        `lora.injectNamed: two adapters are called ${JSON.stringify(name)}. Name one anew.`,
      );
    if (isResidual(config))
      throw new ValueError(
        `lora.injectNamed: ${name} starts as ${config.init}, which changes the weight that all adapters share. Train it alone with inject; combine gives it back as an ordinary adapter.`,
      );
  }
  return withAdapters(
    model,
    new Map(
      named.map(([name, config]) => [
        name,
        adaptersByPath(`lora.injectNamed: ${JSON.stringify(name)}`, model, config),
      ]),
    ),
  );
}

/** Configurations of adapters by name, in order. */
export type NamedConfigs =
  | { readonly [name: string]: InjectConfig }
  | Iterable<readonly [name: string, config: InjectConfig]>;

function pairsOf(configs: NamedConfigs): readonly (readonly [name: string, config: InjectConfig])[] {
  if (typeof configs !== "object" || configs === null)
    throw new ValueError(
      `lora.injectNamed: takes adapters by name, an object, a Map or a list of pairs; given ${show(configs)}.`,
    );
  if (Symbol.iterator in configs) return [...(configs as Iterable<readonly [string, InjectConfig]>)];
  const named = Object.entries(configs);
  const sorted = named.find(([name]) => /^(0|[1-9]\d*)$/.test(name))?.[0];
  if (sorted !== undefined && named.length > 1)
    throw new ValueError(
      `lora.injectNamed: JavaScript puts keys such as ${sorted} of an object first and sorts them, so the order of these adapters is lost. Give a list of pairs, [["${sorted}", { ... }], ...], or a Map.`,
    );
  return named;
}

/**
 * `model.init(key, base)` for every initialisation, those too that wait for the values of weights: "orthogonal",
 * "pissa" and "olora". The residual ones, PiSSA and OLoRA, take a part of each weight for the adapter and leave
 * the rest as the frozen weight, so that weight + scaling * B A is the weight there was, to one rounding.
 *
 * Decompositions run on the host in float64, one layer after the other: OLoRA takes about 4 r in out operations,
 * PiSSA the time of `linalg.svd`, which grows with the cube of the smaller side (1 s at 512).
 *
 * @example
 * const model = lora.inject(nn.linear(64, 32), { r: 4, alpha: 8, init: "pissa", targetModules: "all-linear" });
 * const params = await lora.initialize(model, random.key(0));
 */
export function initialize<P extends ParamsLike<P> = Params>(
  model: Adapted<never, unknown>,
  key: Key,
  base?: P | Params,
): Promise<Params> {
  const own = key.fold("lora");
  return mapAdaptedOnHost(model, base ?? model.base.init(key), (layer, params, path) =>
    addAdaptersOnHost(layer, own.fold(path), params),
  );
}

/** The same adapters, of which others act. */
export function withActive<X, Y>(model: Adapted<X, Y>, active: Active): Adapted<X, Y> {
  const adapted = rebuild(model, (layer) =>
    isLoraLayer(layer) ? loraLayer(layer.base, layer.adapters, active) : layer,
  );
  return asAdapted(adapted, model.base, model.adapterNames, active);
}

/** Adapters by their names and the paths of their layers, put into a model. */
export function withAdapters<X, Y>(
  model: Layer<Params, X, Y>,
  byName: ReadonlyMap<string, ReadonlyMap<string, Adapter>>,
): Adapted<X, Y> {
  const names = [...byName.keys()];
  const adapted = rebuild(model, (layer, path) => {
    const own = names.flatMap((name) => {
      const adapter = byName.get(name)!.get(path);
      return adapter ? [[name, adapter] as const] : [];
    });
    // Adapters were made for this layer, so it can be adapted.
    return own.length > 0 ? loraLayer(layer as Adaptable, adaptersByName(own), names) : layer;
  });
  return asAdapted(adapted, model, names, names);
}

function asAdapted<X, Y>(
  adapted: Layer<Params, X, Y>,
  base: Layer<Params, X, Y>,
  adapterNames: readonly string[],
  active: Active,
): Adapted<X, Y> {
  return {
    ...adapted,
    base,
    adapterNames,
    notes: adaptedLayers(adapted).flatMap(([path, { base: layer, adapters }]) =>
      Object.entries(adapters).flatMap(([name, { config }]) => {
        const note = noteOf(layer, config.r, path);
        return note === undefined ? [] : [name === "" ? note : `${name}: ${note}`];
      }),
    ),
    active,
    init: (key, params) => {
      const own = key.fold("lora");
      return mapAdapted(adapted, params ?? base.init(key), (layer, given, path) =>
        addAdapters(layer, own.fold(path), given),
      );
    },
  };
}

/** The adapter of each target of a configuration, with the rank and the alpha that patterns give it. */
function adaptersByPath<X, Y>(
  where: string,
  model: Layer<Params, X, Y>,
  config: InjectConfig,
): ReadonlyMap<string, Adapter> {
  checkConfig(where, config);
  const { targetModules, excludeModules, layersToTransform, layersPattern, ...rest } = config;
  const { rankPattern = {}, alphaPattern = {}, ...own } = rest;
  const targets = targetPaths(model, config);
  const ranks = patternValues("lora.inject: rankPattern", rankPattern, targets, own.r);
  const alphas = patternValues("lora.inject: alphaPattern", alphaPattern, targets, own.alpha);
  const adapters = new Map<string, Adapter>();
  rebuild(model, (layer, path) => {
    if (targets.includes(path))
      adapters.set(
        path,
        // targetPaths chose layers that can be adapted.
        checkedAdapter(layer as Adaptable, { ...own, r: ranks.get(path)!, alpha: alphas.get(path)! }),
      );
    return layer;
  });
  return adapters;
}

function checkConfig(where: string, config: InjectConfig): void {
  checkConfigNames(where, config, [
    "targetModules",
    "excludeModules",
    "layersToTransform",
    "layersPattern",
    "rankPattern",
    "alphaPattern",
  ]);
}

const taken = ["", "weight", "bias"];

export function checkName(operation: string, name: string): void {
  if (typeof name !== "string" || taken.includes(name) || name.includes(".") || name.startsWith("lora"))
    throw new ValueError(
      `${operation}: an adapter cannot be called ${JSON.stringify(name)}: names are not empty, have no dot, do not begin with lora, and are neither weight nor bias.`,
    );
}
