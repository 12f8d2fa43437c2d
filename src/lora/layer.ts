import { show } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import type { Embedding } from "../nn/embedding.ts";
import type { AnyLayer, Context, Layer, Params } from "../nn/layer.ts";
import type { Linear } from "../nn/linear.ts";
import { where } from "../tensor/functions.ts";
import { inDType, plus } from "../tensor/precision.ts";
import type { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type Adapter, adapterOf } from "./adapter.ts";
import { type AdapterConfig, checkConfigNames, isResidual } from "./config.ts";
import { type Adaptable, type Convolutional, hostOf, isAdaptable, sizesOf } from "./hosts.ts";
import { rememberBase } from "./merged.ts";
import { type Start, start, startOnHost } from "./start.ts";

/**
 * A layer with adapters. The adapter without a name, `""`, has its parameters beside those
 * of the layer, `{ weight, bias?, loraA, loraB }`; those of others lie one level deeper, under their names.
 */
export interface LoraLayer extends Layer {
  readonly kind: "lora";
  readonly base: Adaptable;
  /** By name; made by `adaptersByName`. */
  readonly adapters: { readonly [name: string]: Adapter };
  readonly active: Active;
}

/** Which adapters act: those named, on every sample; or for each sample one of them. */
export type Active = readonly string[] | PerSample;

export interface PerSample {
  readonly names: readonly string[];
  /** int32 `[batch]`: the position in `names` of each sample's adapter, -1 for none. */
  readonly choice: Tensor<"int32">;
}

/**
 * A linear layer with a low-rank update (Hu et al. 2021, arXiv:2106.09685):
 *
 *     y = base(x) + scaling * ((dropout(x) A^T) B^T + beta)
 *
 * with `loraA` A of shape `[r, in]`, `loraB` B of shape `[out, r]`, and `loraBias` beta of shape `[out]` only
 * with `branchBias`. Parameters of the adapter have the dtype of the weight, and
 * float32 where that is float16 (`dtype`): the branch is computed in it, added, and rounded once. `x` is `[..., in]`; the result is
 * `[..., out]`. Dropout acts on the adapter's input, in training, under the key of the context.
 *
 * With `dora` (Liu et al. 2024, arXiv:2402.09353) there is `loraMagnitude` m of shape `[out]` too, and
 *
 *     y = m / |W + scaling * B A| * (x W^T + scaling * (x A^T) B^T) + bias
 *
 * with the length of each row under the fraction; m starts as these lengths. As in PEFT no gradient goes through
 * the length (section 4.3 of the paper). Deviation from PEFT: lengths are computed without forming B A.
 *
 * @throws ValueError for a bad configuration.
 * @example
 * const layer = lora.linear(nn.linear(64, 32), { r: 4, alpha: 8 });
 * const params = layer.init(random.key(0)); // weight, bias, loraA, loraB
 */
export function linear(base: Linear, config: AdapterConfig): LoraLayer {
  return loraLayer(base, adaptersByName([["", checkedAdapter(base, config)]]), [""]);
}

/**
 * An embedding with a low-rank update: `weight[i] + scaling * A^T[i] B^T`, with `loraA` A of shape
 * `[r, vocabulary]` and `loraB` B of shape `[dim, r]`. "standard" starts with A zero and B normal, as loralib and
 * PEFT do; PEFT calls the tensors `lora_embedding_A` and `lora_embedding_B`. There is no dropout on indices.
 *
 * @throws ValueError for a bad configuration, or dora.
 * @example
 * const layer = lora.embedding(nn.embedding(256, 32), { r: 4, alpha: 8 });
 */
export function embedding(base: Embedding, config: AdapterConfig): LoraLayer {
  return loraLayer(base, adaptersByName([["", checkedAdapter(base, config)]]), [""]);
}

/**
 * A convolution with a low-rank update, as PEFT's: of windows of x, A is a convolution like the layer's with r outputs, and B
 * one of single places, so that the weight changes by `scaling * B A` in its shape. `loraA` is the matrix `[r, in x window]` and
 * `loraB` `[out, r]`; files of PEFT have `[r, in, ...window]` and `[out, r, 1, ...]`. Dropout acts on x. `dora` and `branchBias` are as on
 * `linear`, with `loraMagnitude` or `loraBias` `[out]`: a row of the weight is the window of one output.
 *
 * @throws ValueError for a bad configuration, or several groups.
 * @example
 * const layer = lora.convolution(nn.conv2d(3, 8, 3, { padding: 1 }), { r: 2, alpha: 4 });
 */
export function convolution(base: Convolutional, config: AdapterConfig): LoraLayer {
  return loraLayer(base, adaptersByName([["", checkedAdapter(base, config)]]), [""]);
}

/** An adapter for a layer, its configuration checked. */
export function checkedAdapter(base: Adaptable, config: AdapterConfig): Adapter {
  if (typeof base !== "object" || base === null || !isAdaptable(base))
    throw new ValueError(
      `lora: takes a linear layer, an embedding or a convolution, such as nn.linear(64, 32); given ${show(base)}.`,
    );
  checkConfigNames("lora", config);
  const adapter = adapterOf(base, config);
  if (isResidual(config) && config.r > roomOf(base))
    throw new ValueError(
      `lora: init is ${config.init} and r ${config.r}; the weight ${shapeOf(base)} has only ${roomOf(base)} ranks to take from. Use r <= ${roomOf(base)}.`,
    );
  return adapter;
}

/**
 * What to know of an adapter of this rank, or undefined: above the smaller side of the weight B A can be any matrix, so
 * further ranks add parameters but no functions. PEFT takes it without a word.
 */
export function noteOf(base: Adaptable, r: number, path: string): string | undefined {
  const room = roomOf(base);
  return r > room
    ? `r ${r} is above ${room}, the smaller side of the weight ${shapeOf(base)}${path && ` of ${path}`}: B A reaches every matrix at r ${room}.`
    : undefined;
}

function roomOf(base: Adaptable): number {
  return Math.min(...sizesOf(base));
}

function shapeOf(base: Adaptable): string {
  return `[${hostOf(base).weight(base).join(",")}]`;
}

/** Adapters by name, in an object that has nothing by itself: "constructor" is a name like any other. */
export function adaptersByName(
  adapters: readonly (readonly [name: string, Adapter])[],
): LoraLayer["adapters"] {
  return Object.setPrototypeOf(Object.fromEntries(adapters), null);
}

/** A layer with some adapters, of which some act. */
export function loraLayer(base: Adaptable, adapters: LoraLayer["adapters"], active: Active): LoraLayer {
  const layer: LoraLayer = {
    kind: "lora",
    base,
    adapters,
    active,
    init: (key) => addAdapters(layer, key.fold("lora"), base.init(key)),
    apply: (params, x, context = {}) => {
      const y = base.apply(params, x, context);
      const added = (name: string) =>
        adapters[name]!.branch(ownParams(params, name), params, x, streamOf(context, name));
      if (!("choice" in active))
        return inDType(
          active.filter((name) => adapters[name]).reduce((sum, name) => plus(sum, added(name)), y),
          y,
        );
      const { names, choice } = active;
      if (x.shape[0] !== choice.shape[0])
        throw new ShapeError(
          `lora.perSample: the choice ${choice} is for another number of samples than the input ${x} of a layer has. Give one index for each sample, along the first axis.`,
        );
      const chosen = choice.reshape([-1, ...y.shape.slice(1).map(() => 1)]);
      return names.reduce(
        (result, name, i) =>
          adapters[name] ? where(chosen.eq(i), inDType(plus(y, added(name)), y), result) : result,
        y,
      );
    },
  };
  return layer;
}

export function isLoraLayer(layer: AnyLayer): layer is LoraLayer {
  return layer.kind === "lora";
}

/** The parameters of the adapter of that name among those of its layer. */
export function ownParams(params: Params, name: string): Params {
  if (name === "") return params;
  const own = Object.hasOwn(params, name) ? params[name] : undefined;
  if (own === undefined || own instanceof Tensor)
    throw new ValueError(
      `lora: the parameters have no adapter ${name} here. Add it with the model's init(key, params).`,
    );
  return own;
}

/** The parameters of a layer with those of adapters put in under their names. */
export function withOwn(params: Params, name: string, own: Params): Params {
  return name === "" ? { ...params, ...own } : { ...params, [name]: own };
}

/** Only what belongs to the layer itself. */
export function baseParams({ adapters }: LoraLayer, params: Params): Params {
  return Object.fromEntries(
    Object.entries(params).filter(([name]) => !adapters[name] && !isAdapterTensor(name)),
  );
}

/** Whether a tensor of that name is an adapter's own: `loraA` and so on. */
export function isAdapterTensor(name: string): boolean {
  return name.startsWith("lora");
}

/** The names of the adapters that act on every sample of a layer, in order. */
export function activeNames(operation: string, { active, adapters }: LoraLayer): readonly string[] {
  if ("choice" in active)
    throw new ValueError(
      `${operation}: the model has an adapter for each sample, and a weight has one change only. Take one with setAdapter.`,
    );
  return active.filter((name) => adapters[name]);
}

/** Parameters with fresh adapters for those that are not there yet under a name. */
export function addAdapters(layer: LoraLayer, key: Key, params: Params): Params {
  return Object.entries(layer.adapters).reduce(
    (all, [name, adapter]) =>
      isThere(all, name) ? all : put(name, all, start(adapter, keyOf(key, name), all)),
    params,
  );
}

/** `addAdapters` for any initialisation. */
export async function addAdaptersOnHost(layer: LoraLayer, key: Key, params: Params): Promise<Params> {
  let all = params;
  for (const [name, adapter] of Object.entries(layer.adapters)) {
    if (!isThere(all, name)) all = put(name, all, await startOnHost(adapter, keyOf(key, name), all));
  }
  return all;
}

const isThere = (params: Params, name: string) =>
  name !== "" && Object.hasOwn(params, name) && params[name] !== undefined;

const keyOf = (key: Key, name: string) => (name === "" ? key : key.fold(name));

function put(name: string, params: Params, { own, base }: Start): Params {
  const adapted = { ...params, ...base };
  rememberBase(adapted);
  return withOwn(adapted, name, own);
}

/** Adapters of different names drop different inputs. */
function streamOf(context: Context, name: string): Context {
  return name === "" || !context.key ? context : { ...context, key: context.key.fold(name) };
}
