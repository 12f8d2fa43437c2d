import { DTypeError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import type { AnyLayer, Params, ParamsLike } from "../nn/layer.ts";
import { evaluate } from "../tensor/tree.ts";
import { tensorsOf, weightOf } from "./adapter.ts";
import { read } from "./combine.ts";
import { hostOf } from "./hosts.ts";
import type { Tensors } from "./kinds/kind.ts";
import { type LoraLayer, ownParams } from "./layer.ts";
import { type Columns, columnsOf, multiply, rowMajor, transpose } from "./linalg.ts";
import { merge, mergeable, unmerge } from "./merge.ts";
import { partition } from "./roles.ts";
import { mapAdapted } from "./walk.ts";

/** Largest errors of the weights of a layer, in units in the last place of the larger one of weight and merged. */
export interface MergeError {
  /** Of `merge`, against the change and the sum in float64. */
  readonly merge: number;
  /** Of `unmerge` after `merge`, against the weight before. */
  readonly unmerge: number;
}

/**
 * Measures what merging and unmerging these parameters costs, for each adapted layer by its path; float32 only.
 * It forms each weight on the host, so it takes r in out operations there.
 *
 * @throws DTypeError for weights that are not float32; ValueError as `merge`.
 * @example
 * const model = lora.inject(nn.linear(16, 8), { r: 2, alpha: 4, init: "random", targetModules: "all-linear" });
 * const errors = await lora.mergeError(model, model.init(random.key(0))); // { "": { merge: 0.6, unmerge: 0.5 } }
 */
export async function mergeError<P extends ParamsLike<P>>(
  model: AnyLayer,
  params: P | Params,
): Promise<{ readonly [path: string]: MergeError }> {
  const merged = merge(model, params);
  const again = unmerge(model, merged, partition(params)[0]);
  await evaluate([params, merged, again]);
  const [given, after, back] = [params, merged, again].map((all) => layersOf(model, all));
  const errors: [string, MergeError][] = [];
  for (const [path, { layer, own }] of given!) {
    const weights = [own, after!.get(path)!.own, back!.get(path)!.own].map((all) =>
      weightOf(layer.base, all),
    );
    if (weights[0]!.dtype !== "float32")
      throw new DTypeError(
        `lora.mergeError: the weight of ${path || "the model"} is ${weights[0]}; float32 only.`,
      );
    const [w, m, u] = await Promise.all(weights.map((weight) => weight.data()));
    const exact = await exactMerge(layer, own);
    let [merge, unmerge] = [0, 0];
    for (let i = 0; i < exact.length; i++) {
      const unit = unitInLastPlace(Math.max(Math.abs(w![i]!), Math.abs(m![i]!)));
      merge = Math.max(merge, Math.abs(m![i]! - exact[i]!) / unit);
      unmerge = Math.max(unmerge, Math.abs(u![i]! - w![i]!) / unit);
    }
    errors.push([path, { merge, unmerge }]);
  }
  return Object.fromEntries(errors);
}

/** Each adapted layer with its parameters, by path. */
function layersOf(
  model: AnyLayer,
  params: Params,
): ReadonlyMap<string, { readonly layer: LoraLayer; readonly own: Params }> {
  const found = new Map<string, { readonly layer: LoraLayer; readonly own: Params }>();
  mapAdapted(model, params, (layer, own, path) => {
    found.set(path, { layer, own });
    return own;
  });
  return found;
}

/** The distance from a float32 to the next larger one. */
function unitInLastPlace(x: number): number {
  return 2 ** Math.max(Math.floor(Math.log2(x)) - 23, -149);
}

/** The merged weight in float64, as it lies. */
async function exactMerge(layer: LoraLayer, all: Params): Promise<Float64Array> {
  const start = weightOf(layer.base, all);
  const { across } = hostOf(layer.base);
  const turn = (x: Columns) => (across ? x : transpose(x));
  let rows = turn(columnsOf(await start.data(), start.shape[0]!, numel(start.shape.slice(1))));
  for (const name of mergeable(layer)) {
    const adapter = layer.adapters[name]!;
    const own = tensorsOf(adapter, ownParams(all, name));
    const [{ a, b }, values] = await Promise.all([read(own), valuesOf(own)]);
    const change = transpose(multiply(b, a)).map((row) => row.map((x) => adapter.scaling.value * x));
    rows = rows.map((row, i) => adapter.kind.exactRow(row, change[i]!, i, values));
  }
  return rowMajor(turn(rows));
}

async function valuesOf(own: Tensors): Promise<{ readonly [name: string]: ArrayLike<number> }> {
  const entries = Object.entries(own).map(async ([name, x]) => [name, await x.data()] as const);
  return Object.fromEntries(await Promise.all(entries));
}
