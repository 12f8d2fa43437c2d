import { type Fields, field, integer, readOptions } from "../base/arguments.ts";
import { numel } from "../base/shape.ts";
import { type FolderSource, openFolder, readJson, safetensors } from "../io/index.ts";
import { sizesOf } from "../lora/hosts.ts";
import { adaptedLayers, inject, type Targets } from "../lora/index.ts";
import { blankKey } from "../tensor/key.ts";
import * as tree from "../tensor/tree.ts";
import type { Architecture } from "./architecture.ts";
import { decoder } from "./decoder.ts";
import { architecture } from "./families.ts";

/** What a checkpoint is, and what training adapters on it takes. Sizes are bytes. */
export interface Summary {
  readonly architecture: Architecture;
  readonly parameters: {
    readonly total: number;
    /** Of tokens and positions. */
    readonly embeddings: number;
    readonly blocks: number;
    /** 0 where it is tied. */
    readonly output: number;
  };
  /** Elements in the files by their dtype, and the bytes of all. */
  readonly stored: { readonly bytes: number; readonly dtypes: { readonly [dtype: string]: number } };
  /** Weights in memory, by how they are kept. */
  readonly weights: { readonly float32: number; readonly bfloat16: number; readonly nf4: number };
  readonly adapters: AdapterSize;
  /** Keys and values of one sample with a full context, in float32. */
  readonly cache: number;
}

export interface AdapterSize {
  readonly r: number;
  /** Names of the adapted layers, as often as there are layers of each. */
  readonly layers: { readonly [name: string]: number };
  readonly parameters: number;
  /** Adapters, their gradients, and two moments. */
  readonly bytes: number;
}

export interface SummaryOptions {
  /** Rank of the adapters. Default 8. */
  readonly r?: number;
  /** Layers that get one. Default "all-linear". */
  readonly targetModules?: Targets;
}

const fields: Fields<SummaryOptions> = {
  r: integer(1, undefined, 8),
  targetModules: field<Targets>(
    '"all-linear", or a list of names and regular expressions',
    (value) => value === "all-linear" || Array.isArray(value),
    "all-linear",
  ),
};

/** Bits of an element in NF4, with the magnitudes of its blocks. */
const nf4Bits = 4.127;

/**
 * What a checkpoint is, from its configuration and the headers of its files; no weight is read.
 *
 * @throws as `models.load`, for what is no checkpoint.
 * @example
 * const { parameters, adapters } = await models.summary("SmolLM2-135M", { r: 16 });
 */
export async function summary(from: FolderSource, options: SummaryOptions = {}): Promise<Summary> {
  const { r = 8, targetModules = "all-linear" } = readOptions("models.summary", fields, options);
  const folder = await openFolder(from);
  const found = architecture(await readJson(folder, "config.json"));
  const file = await safetensors.open(folder);
  const model = decoder(found);
  const { names } = found;
  const all = tree.entries(model.init(blankKey()));
  const count = (keep: (path: string, rank: number) => boolean) =>
    all.reduce((sum, [path, { size, rank }]) => (keep(path, rank) ? sum + size : sum), 0);
  const inBlocks = (path: string) => path.startsWith(`${names.body}.${names.blocks}.`);
  const [total, blocks, output] = [
    count(() => true),
    count(inBlocks),
    count((path) => path.startsWith(`${names.head}.`)),
  ];
  const tables = [names.embedding, names.positions].map((name) => `${names.body}.${name}.`);
  const embeddings = count((path) => tables.some((name) => path.startsWith(name)));
  const [matrices, packed] = [
    count((_, rank) => rank === 2),
    count((path, rank) => rank === 2 && inBlocks(path)),
  ];
  const dtypes: Record<string, number> = {};
  let bytes = 0;
  for (const name of file.names) {
    const info = file.info(name);
    bytes += info.bytes;
    dtypes[info.dtype] = (dtypes[info.dtype] ?? 0) + numel(info.shape);
  }
  const layers: Record<string, number> = {};
  let adapted = 0;
  for (const [path, { base }] of adaptedLayers(inject(model, { r, alpha: r, targetModules }))) {
    const name = path.slice(path.lastIndexOf(".") + 1);
    layers[name] = (layers[name] ?? 0) + 1;
    const [inputs, outputs] = sizesOf(base);
    adapted += r * (inputs + outputs);
  }
  return {
    architecture: found,
    parameters: { total, embeddings, blocks, output },
    stored: { bytes, dtypes },
    weights: {
      float32: 4 * total,
      bfloat16: 2 * matrices + 4 * (total - matrices),
      nf4: Math.round((nf4Bits / 8) * packed + 2 * (matrices - packed) + 4 * (total - matrices)),
    },
    adapters: { r, layers, parameters: adapted, bytes: 16 * adapted },
    cache: 8 * found.blocks.length * found.sharedHeads * found.headSize * found.context,
  };
}

/**
 * About how many bytes a step of training adapters holds beside weights and adapters: what the blocks keep for the backward
 * pass, and the logits. An estimate in float32 from the sizes alone; `compile(f).plan(...)` counts those of a given step.
 */
export function stepBytes(
  { blocks, width, hidden, heads, sharedHeads, headSize, gated, vocabulary }: Architecture,
  { batch, length }: { readonly batch: number; readonly length: number },
): number {
  const attention = 4 * width + 2 * (heads + sharedHeads) * headSize + heads * length;
  const block = attention + (gated ? 3 : 2) * hidden;
  return Math.round(4 * batch * length * (blocks.length * block + 4 * width + 1.6 * vocabulary));
}
