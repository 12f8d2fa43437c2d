import { adapterTensors } from "../lora/kinds/index.ts";
import { type AdapterFile, type AdapterModule, alphaFor, multiplierOf, scaled } from "./file.ts";

// Tools that have one number for all modules: where the multipliers of modules differ by more, the rest goes into B.

/** A factor this near to 1 is below what B in float32 can tell. */
const tiny = 2 ** -24;

/** The value that most modules have, the first of those that as many have. */
export function mostCommon(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, each) => (each[1] > best[1] ? each : best), [1, 0])[0];
}

/**
 * The same function with one alpha for all modules, `alpha / r` as multiplier and no patterns: what every consumer reads.
 * B of modules that need another alpha is multiplied by what is left, exactly where that is a power of two.
 *
 * @param round What a file does to alpha.
 */
export function withCommonAlpha(
  adapter: AdapterFile,
  round: (alpha: number) => number = (alpha) => alpha,
): Promise<AdapterFile> {
  const modules = [...adapter.modules.values()];
  const alpha = round(mostCommon(modules.map((module) => alphaFor(multiplierOf(adapter, module), module.r))));
  return rescaled(adapter, () => alpha);
}

/** The same function with one multiplier for all modules. */
export function withCommonMultiplier(adapter: AdapterFile): Promise<AdapterFile> {
  const common = mostCommon([...adapter.modules.values()].map((module) => multiplierOf(adapter, module)));
  return rescaled(adapter, (r) => alphaFor(common, r));
}

/** The same function with an alpha of its own for each module, and `alpha / r` as multiplier. */
export function withoutRsLora(adapter: AdapterFile): AdapterFile {
  const modules = [...adapter.modules].map(([path, module]): [string, AdapterModule] => [
    path,
    adapter.rsLora ? { ...module, alpha: alphaFor(multiplierOf(adapter, module), module.r) } : module,
  ]);
  return { ...adapter, rsLora: false, modules: new Map(modules) };
}

async function rescaled(adapter: AdapterFile, alphaOf: (r: number) => number): Promise<AdapterFile> {
  const modules = new Map<string, AdapterModule>();
  for (const [path, module] of adapter.modules) {
    const alpha = alphaOf(module.r);
    modules.set(path, {
      ...(await times(module, multiplierOf(adapter, module) / (alpha / module.r))),
      alpha,
    });
  }
  return { ...adapter, rsLora: false, modules };
}

/** B, and what the branch adds to B A, times a number; what 16 bits would round is stored in 32. */
async function times(module: AdapterModule, factor: number): Promise<AdapterModule> {
  if (Math.abs(factor - 1) < tiny) return module;
  const { dtype } = module;
  const branch = adapterTensors.filter(({ gauge }) => "b" in gauge || "k" in gauge);
  const entries = branch.map(async ({ name }) => {
    const tensor = module[name];
    return tensor ? [[name, await scaled(tensor, factor)] as const] : [];
  });
  return {
    ...module,
    ...Object.fromEntries((await Promise.all(entries)).flat()),
    dtype: Number.isInteger(Math.log2(Math.abs(factor))) || dtype === "F64" ? dtype : "F32",
  };
}
