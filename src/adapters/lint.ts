import { columnsOf, svdOfProduct } from "../lora/linalg.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { consumers } from "./consumers.ts";
import { type AdapterFile, type AdapterModule, multiplierOf } from "./file.ts";

/** What a module of an adapter does. */
export interface ModuleReport {
  readonly path: string;
  readonly kind: AdapterModule["kind"];
  readonly r: number;
  readonly alpha: number;
  /** The factor on B A. */
  readonly multiplier: number;
  /** Frobenius norms of A, of B, and of the change of the weight, multiplier and all. */
  readonly normA: number;
  readonly normB: number;
  readonly change: number;
  /** Singular values of the change, the largest first. */
  readonly spectrum: readonly number[];
  /** How many ranks the change uses: its squared norm divided by that of the largest singular value. */
  readonly stableRank: number;
}

/** How a consumer reads the files. */
export interface Reading {
  readonly consumer: string;
  readonly says: string;
  readonly source: string;
  /** Its multiplier divided by ours for the modules that it reads differently; empty where it reads all as they are. */
  readonly factors: Readonly<Record<string, number>>;
  /** Whether the factor is known: some reports do not say enough. */
  readonly known: boolean;
}

export interface AdapterReport {
  readonly name: string;
  readonly format: AdapterFile["format"];
  readonly modules: readonly ModuleReport[];
  readonly consumers: readonly Reading[];
  readonly notes: readonly string[];
}

/**
 * What an adapter does to each module, and which consumers of its files read another adapter from them. Computed on the
 * host in float64 from the factors alone.
 *
 * @example
 * const { modules, consumers } = await adapters.lint(await adapters.open("adapter"));
 * const wrong = consumers.filter(({ factors }) => Object.keys(factors).length > 0);
 */
export async function lint(adapter: AdapterFile): Promise<AdapterReport> {
  const modules: ModuleReport[] = [];
  const notes = [...adapter.notes];
  for (const [path, module] of adapter.modules) {
    const [a, b] = await Promise.all([module.loraA.data(), module.loraB.data()]);
    if (!a.every(Number.isFinite) || !b.every(Number.isFinite)) {
      notes.push(`${path} has values that are not finite: whatever it is added to is lost`);
      continue;
    }
    const [normA, normB] = [norm(a), norm(b)];
    const multiplier = multiplierOf(adapter, module);
    const { s } = await svdOfProduct(columns(module.loraB, b), columns(module.loraA, a));
    const spectrum = [...s].map((value) => Math.abs(multiplier) * value);
    const change = norm(spectrum);
    if (change === 0)
      notes.push(`${path} changes nothing: ${normB === 0 ? "B" : normA === 0 ? "A" : "B A"} is zero`);
    modules.push({
      path,
      kind: module.kind,
      r: module.r,
      alpha: module.alpha,
      multiplier,
      normA,
      normB,
      change,
      spectrum,
      stableRank: change === 0 ? 0 : (change / spectrum[0]!) ** 2,
    });
    const room = Math.min(module.loraA.shape[1]!, module.loraB.shape[0]!);
    if (module.r > room) notes.push(`${path} has the rank ${module.r}, and its weight only ${room}`);
  }
  for (const [path] of adapter.whole)
    notes.push(`${path} is stored whole, and replaces the parameter of the base model`);
  return {
    name: adapter.name,
    format: adapter.format,
    modules,
    consumers: consumers
      .filter(({ reads }) => reads === adapter.format)
      .map(({ name, says, source, multiplier }) => ({
        consumer: name,
        says,
        source,
        known: multiplier !== undefined,
        factors: Object.fromEntries(
          [...adapter.modules].flatMap(([path, module]) => {
            const factor = multiplier ? multiplier(adapter, module) / multiplierOf(adapter, module) : 1;
            return Math.abs(factor - 1) < 1e-6 ? [] : [[path, factor]];
          }),
        ),
      })),
    notes,
  };
}

const columns = ({ shape }: Tensor, values: ArrayLike<number>) => columnsOf(values, shape[0]!, shape[1]!);

/** The root of the sum of squares, scaled so that these stay in range. */
function norm(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]!));
  if (largest === 0) return 0;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i]! / largest) ** 2;
  return largest * Math.sqrt(sum);
}
