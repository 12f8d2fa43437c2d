import { checkNames, isPlainObject, show } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import type { Params, ParamsLike } from "../nn/layer.ts";
import { scalar, tensor } from "../tensor/creation.ts";
import { cat } from "../tensor/functions.ts";
import { wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { map } from "../tensor/tree.ts";
import { type Adapter, adapterOf, tensorsOf } from "./adapter.ts";
import { type Adapted, withAdapters } from "./inject.ts";
import type { AdapterKind, Tensors } from "./kinds/kind.ts";
import { baseParams, type LoraLayer, ownParams } from "./layer.ts";
import {
  type Columns,
  columnsOf,
  rowMajor,
  type Svd,
  scaleColumns,
  svdOfProduct,
  transpose,
} from "./linalg.ts";
import { known } from "./named.ts";
import { mapAdaptedOnHost } from "./walk.ts";

export interface CombineOptions {
  /** The adapters that go in, by name, each with its weight; negative ones subtract. */
  readonly weights: { readonly [name: string]: number };
  /**
   * How (w_i is a weight, s_i the scaling of its adapter):
   * - `"cat"`: the sum of w_i s_i B_i A_i, exactly; ranks add up. A stacks w_i s_i A_i, B stacks B_i.
   * - `"linear"`: A = sum of sign(w_i s_i) sqrt(|w_i s_i|) A_i and B = sum of sqrt(|w_i s_i|) B_i, for equal ranks.
   *   Cross terms B_i A_j make it another matrix than that sum, except for a single adapter.
   * - `"svd"`: the best approximation of that sum of rank `rank`: A = V^T, B = U diag(s).
   */
  readonly method: "cat" | "linear" | "svd";
  /** Of "svd". Default: the largest rank that goes in. */
  readonly rank?: number;
}

/**
 * One adapter from a weighted sum of several, as PEFT's `add_weighted_adapter`: a model with that one adapter, of
 * scaling 1, and its parameters. Layers that none of the adapters is on have none; nothing that goes in changes.
 * Of one adapter with weight 1 it is that adapter, to rounding. Branch biases are added up, w_i s_i each. "svd"
 * decomposes on the host in float64, from the factors alone.
 *
 * @throws ValueError for a name that the model does not have, weights that are not finite numbers, unequal ranks
 *   with "linear", a rank that is not an integer >= 1, or DoRA, whose change is not s B A.
 * @example
 * const config = { r: 2, alpha: 4, init: "random", targetModules: "all-linear" } as const;
 * const model = lora.injectNamed(nn.linear(8, 4), { english: config, french: config });
 * const params = model.init(random.key(0));
 * const both = await lora.combineAdapters(model, params, { weights: { english: 0.7, french: 0.3 }, method: "cat" });
 * const y = both.model.apply(both.params, ones([1, 8]));
 */
export async function combineAdapters<X, Y, P extends ParamsLike<P>>(
  model: Adapted<X, Y>,
  params: P | Params,
  options: CombineOptions,
): Promise<{ readonly model: Adapted<X, Y>; readonly params: Params }> {
  checkNames("lora.combineAdapters", options, ["weights", "method", "rank"]);
  const { weights, method, rank } = options;
  if (!isPlainObject(weights))
    throw new ValueError(
      `lora.combineAdapters: weights is ${show(weights)}; it is an object, a number for each name.`,
    );
  const names = known("lora.combineAdapters", model, Object.keys(weights));
  if (names.length === 0)
    throw new ValueError(
      "lora.combineAdapters: weights names no adapter. Give one or more, each with a number.",
    );
  for (const name of names) {
    if (!Number.isFinite(weights[name]))
      throw new ValueError(
        `lora.combineAdapters: the weight of ${name} is ${weights[name]}; it is a finite number.`,
      );
  }
  if (method !== "cat" && method !== "linear" && method !== "svd")
    throw new ValueError(
      `lora.combineAdapters: method is ${String(method)}; it is "cat", "linear" or "svd".`,
    );
  if (rank !== undefined && (method !== "svd" || !Number.isInteger(rank) || rank < 1))
    throw new ValueError(`lora.combineAdapters: rank is ${rank}; it is an integer >= 1, and of "svd" only.`);

  const adapters = new Map<string, Adapter>();
  const combined = await mapAdaptedOnHost(model, params, async (layer, all, path) => {
    const parts = partsOf(layer, all, weights, path);
    const base = baseParams(layer, all);
    if (parts.length === 0) return base;
    const made = await methods[method](parts, rank, path);
    const r = made.loraA.shape[0]!;
    // What is not plain LoRA says how its tensors add up.
    const { option, sum } = parts.find(({ kind }) => kind.sum)?.kind ?? parts[0]!.kind;
    adapters.set(path, adapterOf(layer.base, { r, alpha: r, ...(option && { [option.name]: true }) }));
    return { ...base, ...made, ...sum?.(parts) };
  });
  return { model: withAdapters(model.base, new Map([["", adapters]])), params: combined };
}

/** The singular values of `scaling * B A` for an adapter on each of its layers, largest first; on the host. */
export async function spectrum<P extends ParamsLike<P>>(
  model: Adapted<never, unknown>,
  params: P | Params,
  name = "",
): Promise<{ readonly [path: string]: Float64Array }> {
  known("lora.spectrum", model, [name]);
  const found: [string, Float64Array][] = [];
  await mapAdaptedOnHost(model, params, async (layer, all, path) => {
    const parts = partsOf(layer, all, { [name]: 1 }, path);
    if (parts.length > 0) found.push([path, (await svdOfSum(parts)).s]);
    return all;
  });
  return Object.fromEntries(found);
}

interface Part {
  readonly name: string;
  readonly kind: AdapterKind;
  readonly own: Tensors;
  /** w_i s_i */
  readonly factor: number;
}

function partsOf(layer: LoraLayer, all: Params, weights: CombineOptions["weights"], path: string): Part[] {
  return Object.keys(weights).flatMap((name) => {
    const adapter = layer.adapters[name];
    if (!adapter) return [];
    const { kind, scaling } = adapter;
    if (!kind.isSum)
      throw new ValueError(
        `lora: the adapter ${JSON.stringify(name)} of ${path || "the model"} is ${kind.title}; its change of the weight is not s B A, so it has no sum or spectrum. Merge it instead.`,
      );
    // Adapters of float16 are put together in float32, beside others or not.
    const own = map(tensorsOf(adapter, ownParams(all, name)), wide);
    return [{ name, kind, own, factor: weights[name]! * scaling.value }];
  });
}

type Made = Pick<Tensors, "loraA" | "loraB">;
type Method = (parts: readonly Part[], rank: number | undefined, path: string) => Made | Promise<Made>;

const methods: Readonly<Record<CombineOptions["method"], Method>> = {
  cat: stacked,
  linear: (parts, _, path) => {
    const ranks = parts.map(({ own }) => own.loraA.shape[0]!);
    if (ranks.some((r) => r !== ranks[0]))
      throw new ValueError(
        `lora.combineAdapters: linear needs equal ranks; at ${path || "the model"} ${parts.map(({ name }, i) => `${name} has ${ranks[i]}`).join(" and ")}. Use cat or svd.`,
      );
    const root = ({ factor }: Part) => Math.sqrt(Math.abs(factor));
    return {
      loraA: sum(parts.map((part) => times(part.own.loraA, Math.sign(part.factor) * root(part)))),
      loraB: sum(parts.map((part) => times(part.own.loraB, root(part)))),
    };
  },
  svd: async (parts, rank = Math.max(...parts.map(({ own }) => own.loraA.shape[0]!))) => {
    const { u, s, v } = await svdOfSum(parts);
    // Adapters are floats.
    const dtype = parts[0]!.own.loraA.dtype as FloatDType;
    const like = (x: Columns) => tensor(rowMajor(x), { shape: [x[0]!.length, x.length], dtype });
    return { loraA: like(transpose(v.slice(0, rank))), loraB: like(scaleColumns(u.slice(0, rank), s)) };
  },
};

function stacked(parts: readonly Part[]): Made {
  return {
    loraA: cat(parts.map(({ own, factor }) => times(own.loraA, factor))),
    loraB: cat(
      parts.map(({ own }) => own.loraB),
      1,
    ),
  };
}

/** The decomposition of the sum of w_i s_i B_i A_i, in float64. */
async function svdOfSum(parts: readonly Part[]): Promise<Svd> {
  const factors = await Promise.all(parts.map(({ own }) => read(own)));
  const rows = factors.flatMap(({ a }, i) => {
    const { factor } = parts[i]!;
    return transpose(a).map((row) => row.map((x) => factor * x));
  });
  return svdOfProduct(
    factors.flatMap(({ b }) => b),
    transpose(rows),
  );
}

/** The factors on the host, in float64. */
export async function read({ loraA, loraB }: Made) {
  const [a, b] = await Promise.all([loraA.data(), loraB.data()]);
  return {
    a: columnsOf(a, loraA.shape[0]!, loraA.shape[1]!),
    b: columnsOf(b, loraB.shape[0]!, loraB.shape[1]!),
  };
}

function times(x: Tensor, factor: number): Tensor {
  return x.mul(scalar(factor));
}

function sum(terms: readonly Tensor[]): Tensor {
  return terms.reduce((total, term) => total.add(term)); // there is at least one part
}
