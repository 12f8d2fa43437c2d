import { isPlainObject, show } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import type { AnyLayer, Params, ParamsLike } from "../nn/layer.ts";
import { scalar, tensor, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { siteOf, tensorsOf } from "./adapter.ts";
import { read } from "./combine.ts";
import { activeNames, type LoraLayer, ownParams, withOwn } from "./layer.ts";
import { multiply, rowMajor, scaleColumns, svdOfProduct, transpose } from "./linalg.ts";
import { type Pattern, patternValues } from "./targets.ts";
import { adaptedLayers, mapAdapted, mapAdaptedOnHost } from "./walk.ts";

/**
 * Parameters whose active adapters act with less (or more) strength: `W + strength * scaling * B A`. The factor
 * goes into B (and the branch bias), as if alpha had been changed after training. 0 is the base and 1 the
 * adapter, bit for bit in weights and outputs; only a zero may lose its sign. The singular directions of the
 * change stay, its singular values are multiplied (`spectrum`).
 *
 * With DoRA the magnitude goes back to the lengths of the rows of W in the same measure, so 0 is the base to
 * rounding. With PiSSA and OLoRA strength 0 is the *rest* of the weight, not the base: first make the difference to
 * the start an adapter, with `combineAdapters` and weights 1 and -1.
 *
 * @param strength A number for all layers, or for some of them by patterns of paths as in `rankPattern`, where the
 *   others keep theirs.
 * @throws ValueError for a strength that is negative or not finite, or a pattern that matches no adapted layer.
 * @example
 * const half = lora.attenuate(adapted, params, 0.5);
 * const early = lora.attenuate(adapted, params, { "layers\\.[0-3]\\..*": 0 });
 */
export function attenuate<P extends ParamsLike<P>>(
  model: AnyLayer,
  params: P | Params,
  strength: number | Pattern,
): P {
  if (typeof strength !== "number" && !isPlainObject(strength))
    throw new ValueError(
      `lora.attenuate: the strength is ${show(strength)}; it is a number, or numbers by patterns of paths.`,
    );
  const pattern = typeof strength === "number" ? {} : strength;
  const all = typeof strength === "number" ? strength : 1;
  for (const value of [all, ...Object.values(pattern)]) checkStrength("lora.attenuate: the strength", value);
  const there = adaptedLayers(model).map(([path]) => path);
  const strengths = patternValues("lora.attenuate: strength", pattern, there, all);
  return mapAdapted(model, params, (layer, given, path) => {
    const by = scalar(strengths.get(path)!);
    return mapActive("lora.attenuate", layer, given, (name) => {
      const adapter = layer.adapters[name]!;
      const own = tensorsOf(adapter, ownParams(given, name));
      return {
        loraA: own.loraA,
        loraB: own.loraB.mul(by),
        ...adapter.kind.attenuate(siteOf(adapter, given), own, by),
      };
    });
  }) as unknown as P; // of the same structure
}

/**
 * Parameters whose active adapters keep a share of each singular value of `scaling * B A`: `share(s, i, path)` of
 * the i-th largest, s. B changes, A stays. All shares 1 give the adapter bit for bit, all 0 the base. Computed on
 * the host in float64, from the factors alone.
 *
 * @throws ValueError for a share that is negative or not finite, or DoRA, whose change is not `scaling * B A`.
 * @example
 * const strongest = await lora.attenuateSpectrum(adapted, params, (_, i) => (i < 2 ? 1 : 0));
 */
export async function attenuateSpectrum<P extends ParamsLike<P>>(
  model: AnyLayer,
  params: P | Params,
  share: (singularValue: number, index: number, path: string) => number,
): Promise<P> {
  return mapAdaptedOnHost(model, params, async (layer, given, path) => {
    const made = new Map<string, Params>();
    for (const name of activeNames("lora.attenuateSpectrum", layer)) {
      const adapter = layer.adapters[name]!;
      const { kind, scaling } = adapter;
      if (!kind.isSum)
        throw new ValueError(
          `lora.attenuateSpectrum: the adapter of ${path || "the model"} is ${kind.title}; its change of the weight is not s B A. Use attenuate.`,
        );
      const { loraA, loraB, ...rest } = tensorsOf(adapter, ownParams(given, name));
      const { a, b } = await read({ loraA, loraB });
      const { u, s } = await svdOfProduct(b, a);
      const shares = Array.from(s, (value, i) => share(Math.abs(scaling.value) * value, i, path));
      for (const value of shares) checkStrength("lora.attenuateSpectrum: a share", value);
      made.set(name, { loraA, loraB: keep(loraB, b, u, shares), ...rest });
    }
    return mapActive("lora.attenuateSpectrum", layer, given, (name) => made.get(name)!);
  }) as Promise<unknown> as Promise<P>; // of the same structure
}

/** U diag(shares) U^T B: since B A = U S V^T, it times A is U diag(shares) S V^T. */
function keep(
  loraB: Tensor,
  b: readonly Float64Array[],
  u: readonly Float64Array[],
  shares: readonly number[],
): Tensor {
  // U U^T B is B (where A loses nothing of it) to rounding only; both ends are exact.
  if (shares.every((share) => share === 1)) return loraB;
  if (shares.every((share) => share === 0)) return zerosLike(loraB);
  const kept = multiply(scaleColumns(u, shares), multiply(transpose(u), b));
  return tensor(rowMajor(kept), { shape: loraB.shape, dtype: loraB.dtype as FloatDType }); // adapters are floats
}

function mapActive(operation: string, layer: LoraLayer, given: Params, f: (name: string) => Params): Params {
  return activeNames(operation, layer).reduce((all, name) => withOwn(all, name, f(name)), given);
}

function checkStrength(what: string, value: number): void {
  if (!Number.isFinite(value) || value < 0)
    throw new ValueError(
      `${what} is ${show(value)}; it is a finite number >= 0, where 0 is off and 1 leaves it.`,
    );
}
