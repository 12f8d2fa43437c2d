import { type Fields, field, flag, integer, oneOf, optional, readOptions } from "../base/arguments.ts";
import { type FloatDType, floatDTypes } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import {
  type Folder,
  type FolderSource,
  openFolder,
  readJson,
  safetensors,
  type TensorFile,
} from "../io/index.ts";
import type { Params } from "../nn/layer.ts";
import { Device } from "../runtime/device.ts";
import { defaultDevice } from "../runtime/init.ts";
import { zeros } from "../tensor/creation.ts";
import { blankKey } from "../tensor/key.ts";
import { type Packed, type PackFormat, type PackOptions, pack } from "../tensor/packed.ts";
import { Key, key as keyOf } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { type Architecture, roles } from "./architecture.ts";
import { type Decoder, decoder } from "./decoder.ts";
import { architecture } from "./families.ts";

export interface LoadOptions {
  /** Of the parameters. Default float32; float64 on the CPU alone. */
  readonly dtype?: FloatDType;
  /**
   * Storage of the linear weights of blocks, as in QLoRA: packed one after the other as they are read. Embeddings and the
   * output layer are packed in bfloat16 beside any format; norms and biases stay dense.
   */
  readonly pack?: PackFormat | PackOptions;
  /** In place of the next token, scores of so many classes, by a new output layer `score` without a bias. */
  readonly labels?: number;
  /** Initial values of that layer, where the checkpoint has none. Default `random.key(0)`. */
  readonly key?: Key;
  /** As `decoder` takes it: less memory in training, for more work. Default false. */
  readonly remat?: boolean;
  /** In place of the folder's config.json. */
  readonly config?: object;
  /** Where the parameters go. Default the device of `init`. */
  readonly device?: Device;
}

/** A model, and what it was trained to. */
export interface Loaded {
  readonly model: Decoder;
  readonly params: Params;
  /** The config.json. */
  readonly config: object;
  /** What to know that is no error: layers that are new. */
  readonly notes: readonly string[];
}

const fields: Fields<LoadOptions> = {
  dtype: oneOf(floatDTypes, "float32"),
  pack: optional(
    field(
      'a format such as "nf4", or options of pack',
      (value) => typeof value === "string" || typeof value === "object",
    ),
  ),
  labels: optional(integer(1)),
  key: optional(field("a key such as random.key(0)", (key) => key instanceof Key)),
  remat: flag,
  config: optional(field("an object", (config) => typeof config === "object")),
  device: optional(field("a device that init opened", (device) => device instanceof Device)),
};

/**
 * Reads a checkpoint as the Hugging Face hub has it: `config.json`, and `model.safetensors` or its shards. A tensor is read
 * when its turn comes and goes to the device at once.
 *
 * @param from A folder, a URL below which the files lie, or files that were dropped on a page.
 * @throws LorantzError for a place without these files, ValueError for a configuration that is not implemented, and for
 *   tensors that are missing, unknown, or of another shape than the configuration says, all of them named.
 * @example
 * const { model, params } = await models.load("SmolLM2-135M", { pack: "nf4" });
 */
export async function load(from: FolderSource, options: LoadOptions = {}): Promise<Loaded> {
  const {
    dtype = "float32",
    pack: packing,
    labels,
    key = keyOf(0),
    device,
    remat: again,
    ...given
  } = readOptions("models.load", fields, options);
  const folder = await openFolder(from);
  const config = given.config ?? ((await readJson(folder, "config.json")) as object); // `architecture` looks at it
  const found = classifier(architecture(config), labels ?? classesOf(config));
  const model = decoder(found, { remat: again === true });
  const file = await safetensors.open(folder);
  const shapes = tree.map(model.init(blankKey()), ({ shape }) => zeros(shape));
  const { places, fresh } = placesOf(folder, file, found, shapes);
  const initial = fresh.length > 0 ? model.init(key) : shapes;
  const on = device ?? defaultDevice();
  const read = new Map<string, Tensor | Packed>();
  for (const { path, name, transposed, matrix } of places) {
    const packed = packing !== undefined && matrix ? formatOf(found, path, packing) : undefined;
    read.set(path, await readOne(file, name, { dtype, transposed, packed, on }));
  }
  const drawn = tree.map(initial, (leaf, path) =>
    fresh.includes(path) ? leaf.astype(dtype) : (read.get(path) ?? undefined),
  );
  await tree.evaluate(
    tree.leaves(drawn).filter((leaf) => leaf.dtype === dtype),
    on,
  );
  return {
    model,
    params: drawn,
    config,
    notes: fresh.map((path) => `${path} is not in the checkpoint; it starts at random.`),
  };
}

/** The output layer of a classifier, as its checkpoints and adapters name it. */
export const classHead = "score";

/** How many classes a checkpoint tells apart; undefined for one that writes texts. */
export function classesOf(config: object): number | undefined {
  const { architectures, num_labels, id2label } = config as {
    readonly architectures?: unknown;
    readonly num_labels?: unknown;
    readonly id2label?: unknown;
  };
  const isOne =
    Array.isArray(architectures) && architectures.some((name) => /SequenceClassification$/.test(name));
  const own =
    typeof num_labels === "number"
      ? num_labels
      : Object.keys(typeof id2label === "object" ? (id2label ?? {}) : {}).length || 2;
  return isOne ? own : undefined;
}

/** The architecture with an output layer for so many classes. */
function classifier(found: Architecture, labels: number | undefined): Architecture {
  return labels === undefined ? found : { ...found, labels, names: { ...found.names, head: classHead } };
}

interface Place {
  readonly path: string;
  /** In the file. */
  readonly name: string;
  readonly transposed: boolean;
  readonly matrix: boolean;
}

/** Whether a weight lies in x out in the files of its architecture, and out x in here. */
export function isTransposed({ transposed, names }: Architecture, path: string): boolean {
  return transposed && path.startsWith(`${names.body}.${names.blocks}.`) && path.endsWith(".weight");
}

/** Where the file has each parameter. @throws ValueError that lists what does not fit. */
function placesOf(
  { name: where }: Folder,
  file: TensorFile,
  found: Architecture,
  shapes: Params,
): { readonly places: readonly Place[]; readonly fresh: readonly string[] } {
  const { names, labels } = found;
  const problems: string[] = [];
  const fresh: string[] = [];
  const used = new Set<string>();
  const places = tree.entries(shapes).flatMap(([path, leaf]): Place[] => {
    // A model that was saved without its output layer has no name in front.
    const name = [path, path.replace(`${names.body}.`, "")].find((candidate) => file.has(candidate));
    if (name === undefined) {
      if (labels !== undefined && path.startsWith(`${names.head}.`)) fresh.push(path);
      else problems.push(`${path} is missing`);
      return [];
    }
    used.add(name);
    const transposed = leaf.rank === 2 && isTransposed(found, path);
    const shape = transposed ? [...leaf.shape].reverse() : leaf.shape;
    const there = file.info(name).shape;
    if (!sameShape(there, shape))
      problems.push(`${name} is [${there.join(",")}], expected [${shape.join(",")}]`);
    return [{ path, name, transposed, matrix: leaf.rank === 2 }];
  });
  for (const name of file.names)
    if (!used.has(name) && !isIdle(found, name)) problems.push(`${name} is unknown`);
  if (problems.length > 0) {
    const listed = problems.slice(0, 12).join("; ");
    const more = problems.length > 12 ? `; and ${problems.length - 12} more` : "";
    throw new ValueError(
      `${where}: ${problems.length} tensors are not those of the ${found.family} that config.json describes: ${listed}${more}.`,
    );
  }
  return { places, fresh };
}

/** Tensors of files that no model has: masks, tables of frequencies, what is tied, the output that a classifier replaces. */
function isIdle({ tied, labels, names }: Architecture, name: string): boolean {
  const output = name === `${names.head}.weight` || name === `${roles.head}.weight`;
  return (
    /(^|\.)attn\.(masked_)?bias$|(^|\.)rotary_emb\.inv_freq$/.test(name) ||
    (output && (tied || labels !== undefined))
  );
}

/** How a matrix is packed: as is asked in blocks; what has a row for each token in bfloat16, which decoding can pay for. */
function formatOf(
  { names }: Architecture,
  path: string,
  packing: PackFormat | PackOptions,
): PackFormat | PackOptions {
  return path.startsWith(`${names.body}.${names.blocks}.`) ? packing : "bfloat16";
}

interface ReadOne {
  readonly dtype: FloatDType;
  readonly transposed: boolean;
  readonly packed: PackFormat | PackOptions | undefined;
  readonly on: Device;
}

/** One parameter, on its device. */
async function readOne(
  file: TensorFile,
  name: string,
  { dtype, transposed, packed, on: device }: ReadOne,
): Promise<Tensor | Packed> {
  if (!transposed)
    return packed === undefined
      ? file.read(name, { dtype, device })
      : file.read(name, { dtype, device, pack: packed });
  const stored = await file.read(name, { dtype, device });
  const turned = stored.transpose();
  const made = await tree.evaluate(
    packed === undefined ? turned : pack(turned, typeof packed === "string" ? { format: packed } : packed),
    device,
  );
  stored.dispose();
  return made;
}
