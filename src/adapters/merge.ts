import { writeFiles } from "#files";
import { show } from "../base/arguments.ts";
import { decode } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import type { Entry } from "../io/entry.ts";
import type { Folder } from "../io/folder.ts";
import { type Metadata, open as openTensors, parts } from "../io/safetensors.ts";
import { readRange } from "../io/source.ts";
import { fromFile, toFile } from "../io/stored.ts";
import { TensorFile } from "../io/tensor-file.ts";
import type { Architecture } from "../models/architecture.ts";
import { architecture } from "../models/families.ts";
import { classifierConfig, classWeight, headOf } from "./classifier.ts";
import {
  type AdapterFile,
  type AdapterModule,
  kindOf,
  multiplierOf,
  tensorsOf,
  type WholeParameter,
} from "./file.ts";
import { readBase } from "./formats.ts";

/** What became of a weight. */
export interface MergedWeight {
  readonly name: string;
  readonly dtype: string;
  /** The Frobenius norm of the change that the adapter makes. */
  readonly change: number;
  /** That of what rounding to the dtype of the model added to it, divided by the change: what merging has lost. */
  readonly error: number;
  /** The share of the elements that rounding left as they were. */
  readonly unchanged: number;
}

export interface MergeReport {
  readonly weights: readonly MergedWeight[];
  /** Parameters that the adapter holds whole. */
  readonly replaced: readonly string[];
  readonly notes: readonly string[];
  /** All that was written. */
  readonly files: readonly string[];
}

/** Files of a checkpoint that hold weights, or say where they are: those are not copied. */
const weightFiles = /\.(safetensors|bin|pt|pth|gguf|h5|msgpack|onnx)$|\.index\.json$|^\./;

/**
 * Writes a checkpoint with an adapter merged into it: `W + s B A` in float64, rounded once to the dtype that the model has
 * the weight in. It goes tensor by tensor, needs no code of the model, and copies the other files of the folder. All is
 * written, or nothing. An adapter with the output layer of a classifier makes one of a model of texts, in config.json too.
 *
 * @param out Another folder than the model's.
 * @throws ValueError or ShapeError for an adapter of another model, with the names and shapes that do not fit; LorantzError
 *   for what cannot be read or written.
 * @example
 * const { weights } = await adapters.mergeCheckpoint(await openFolder("model"), await adapters.open("adapter"), "merged");
 */
export async function mergeCheckpoint(model: Folder, given: AdapterFile, out: string): Promise<MergeReport> {
  // GPT-2's layers lie across, whether or not the files of the adapter say so.
  const { base: config } = (await model.find("config.json")) ? await readBase(model) : {};
  const isGpt2 = config?.model_type === "gpt2";
  const adapter = isGpt2 ? { ...given, config: { ...given.config, fan_in_fan_out: true } } : given;
  const at = out.replace(/[/\\]$/, "");
  if (at === model.name.replace(/[/\\]$/, ""))
    throw new ValueError(`${out}: is the folder of the model itself. Give another one.`);
  const stored = await openTensors(model);
  // The output layer of a classifier takes the place of the one for tokens.
  const head = config && !stored.has(classWeight) ? headOf(adapter) : undefined;
  const untied = head || !config ? undefined : withOwnOutput(stored, config, adapter);
  const file = untied ?? stored;
  const targets = targetsOf(file, adapter, head);
  const weights: MergedWeight[] = [];
  const replaced: string[] = [];
  const entries: Record<string, Entry> = {};
  const ownNames = head ? file.names.filter((name) => name !== tokenWeight) : file.names;
  for (const name of ownNames) {
    const { dtype, shape } = file.info(name);
    const target = targets.get(name);
    entries[name] = {
      dtype,
      shape,
      data: async () => {
        const bytes = await file.bytes(name);
        if (!target) return bytes;
        if ("values" in target) {
          replaced.push(name);
          return toFile(dtype, Float64Array.from(await target.values.data()), "float64");
        }
        const merged = await mergedWeight(`${file.name}: ${name}`, dtype, bytes, shape, adapter, target);
        weights.push({ name, dtype, ...merged.report });
        return merged.bytes;
      },
    };
  }
  if (head) {
    const { values, dtype } = head;
    entries[classWeight] = {
      dtype,
      shape: values.shape,
      data: async () => {
        replaced.push(classWeight);
        return toFile(dtype, Float64Array.from(await values.data()), "float64");
      },
    };
  }
  const files = new Map<string, AsyncIterable<Uint8Array> | Iterable<Uint8Array>>();
  for (const name of model.names ?? ["config.json"]) {
    const source = weightFiles.test(name) ? undefined : await model.find(name);
    if (source) files.set(`${at}/${name}`, [await readRange(source, 0, source.size)]);
  }
  const changed = head // there is a config where one of the two is
    ? classifierConfig(config!, adapter)
    : untied && { ...config, tie_word_embeddings: false };
  if (changed)
    files.set(`${at}/config.json`, [new TextEncoder().encode(`${JSON.stringify(changed, undefined, 2)}\n`)]);
  files.set(`${at}/model.safetensors`, parts(out, entries, { metadata: { format: "pt", ...file.metadata } }));
  await writeFiles(files);
  const order = new Map(file.names.map((name, i) => [name, i]));
  const names = [...adapter.modules.keys()];
  return {
    weights: weights.sort((a, b) => order.get(a.name)! - order.get(b.name)!),
    replaced,
    notes: [
      ...adapter.notes,
      ...(untied
        ? [`the output layer was tied to the embedding, and has a weight of its own: ${tokenWeight}`]
        : []),
      ...(names.some((path) => adapter.modules.get(path)!.kind === "embedding") &&
      !file.has(tokenWeight) &&
      !head
        ? ["an embedding is merged, and there is no lm_head.weight: an output that is tied to it changes too"]
        : []),
    ],
    files: [...files.keys()],
  };
}

/** The output layer for tokens, which a classifier does not have. */
const tokenWeight = "lm_head.weight";

/**
 * The tensors of a checkpoint whose output layer is the embedding, with a weight for each, where the adapter changes only
 * one of the two: merged into one weight it would change both. Undefined where they are not tied, as far as is known.
 */
function withOwnOutput(
  file: TensorFile<Metadata>,
  config: Readonly<Record<string, unknown>>,
  { modules, whole }: AdapterFile,
): TensorFile<Metadata> | undefined {
  const found = knownArchitecture(config);
  if (!found?.tied || file.has(classWeight)) return undefined;
  const { body, embedding, head } = found.names;
  const ends = [`${body}.${embedding}`, head];
  if (!ends.some((path) => modules.has(path) || whole.has(`${path}.weight`))) return undefined;
  const name = [`${body}.${embedding}.weight`, `${embedding}.weight`].find((each) => file.has(each));
  if (name === undefined) return undefined;
  const placed = file.names.map((each) => [each, file.placed(each)] as const);
  return new TensorFile(
    file.name,
    new Map([...placed, [`${head}.weight`, file.placed(name)]]),
    file.metadata,
  );
}

function knownArchitecture(config: object): Architecture | undefined {
  try {
    return architecture(config);
  } catch {
    return undefined; // merging needs no code of the model
  }
}

type Target = AdapterModule | WholeParameter;

/** The tensor of the checkpoint that each part of the adapter changes. */
function targetsOf(
  file: TensorFile,
  adapter: AdapterFile,
  head: WholeParameter | undefined,
): ReadonlyMap<string, Target> {
  const targets = new Map<string, Target>();
  const problems: string[] = [];
  // Some checkpoints leave the name of the model itself out: "h.0.attn" for "transformer.h.0.attn".
  const find = (name: string) => [name, name.replace(/^[^.]+\./, "")].find((each) => file.has(each));
  for (const [path, module] of adapter.modules) {
    const name = find(`${path}.weight`);
    const [out, inputs] = [module.loraB.shape[0]!, module.loraA.shape[1]!];
    const { window } = module;
    const shape = window ? [out, inputs / numel(window), ...window] : [out, inputs];
    const forms = window ? [shape] : [shape, shape.toReversed()];
    if (name === undefined) problems.push(`${path}.weight is not there`);
    else if (!forms.some((form) => form.join() === file.info(name).shape.join()))
      problems.push(`${name} is [${file.info(name).shape.join(",")}], and the change [${shape.join(",")}]`);
    else if (!/^(F64|F32|F16|BF16)$/.test(file.info(name).dtype))
      problems.push(`${name} is ${file.info(name).dtype}, which nothing is added to`);
    else targets.set(name, module);
  }
  for (const [path, whole] of adapter.whole) {
    if (whole === head) continue; // it is new
    const name = find(path);
    if (name === undefined) problems.push(`${path} is not there`);
    else if (file.info(name).shape.join() !== whole.values.shape.join())
      problems.push(
        `${name} is [${file.info(name).shape.join(",")}], and ${show(whole.values)} is to replace it`,
      );
    else targets.set(name, whole);
  }
  for (const [path, module] of adapter.modules)
    if (!kindOf(module).inWeight)
      problems.push(`${path} is ${kindOf(module).title}, of which more than the weight changes`);
  if (problems.length === 0) return targets;
  throw new ShapeError(
    `${adapter.name}: cannot be merged into ${file.name}: ${problems.slice(0, 6).join("; ")}${problems.length > 6 ? `; and ${problems.length - 6} more` : ""}.`,
  );
}

/** Whether the weight lies across: `[in, out]`, as an embedding's, or those of layers that PEFT calls fan_in_fan_out. */
function liesAcross(
  shape: readonly number[],
  { config }: AdapterFile,
  { kind, window, loraA, loraB }: AdapterModule,
): boolean {
  if (window) return false;
  const straight = shape[0] === loraB.shape[0] && shape[1] === loraA.shape[1];
  const across = shape[0] === loraA.shape[1] && shape[1] === loraB.shape[0];
  return across && (!straight || kind === "embedding" || config.fan_in_fan_out === true);
}

async function mergedWeight(
  where: string,
  dtype: string,
  bytes: Uint8Array,
  shape: readonly number[],
  adapter: AdapterFile,
  module: AdapterModule,
): Promise<{ readonly bytes: Uint8Array; readonly report: Omit<MergedWeight, "name" | "dtype"> }> {
  const old = decode(fromFile(where, dtype, bytes, shape, "float64"), "float64");
  const entries = Object.entries(tensorsOf(module));
  const read = await Promise.all(entries.map(async ([name, x]) => [name, await x.data()] as const));
  const values: { readonly [name: string]: ArrayLike<number> } = Object.fromEntries(read);
  const [a, b] = [values.loraA!, values.loraB!];
  const { exactRow } = kindOf(module);
  const [outputs, inputs] = [module.loraB.shape[0]!, module.loraA.shape[1]!];
  const multiplier = multiplierOf(adapter, module);
  const across = liesAcross(shape, adapter, module);
  const place = (i: number, j: number) => (across ? j * outputs + i : i * inputs + j);
  const exact = Float64Array.from(old);
  const [weight, change] = [new Float64Array(inputs), new Float64Array(inputs)];
  for (let i = 0; i < outputs; i++) {
    change.fill(0);
    for (let k = 0; k < module.r; k++) {
      const factor = b[i * module.r + k]!;
      for (let j = 0; j < inputs; j++) change[j]! += factor * a[k * inputs + j]!;
    }
    for (let j = 0; j < inputs; j++) {
      weight[j] = old[place(i, j)]!;
      change[j]! *= multiplier;
    }
    const row = exactRow(weight, change, i, values);
    for (let j = 0; j < inputs; j++) exact[place(i, j)] = row[j]!;
  }
  const rounded = toFile(dtype, exact, "float64");
  const now = decode(fromFile(where, dtype, Uint8Array.from(rounded), shape, "float64"), "float64");
  let [moved, error, unchanged] = [0, 0, 0];
  for (let i = 0; i < exact.length; i++) {
    moved += (exact[i]! - old[i]!) ** 2;
    error += (now[i]! - exact[i]!) ** 2;
    if (now[i] === old[i]) unchanged++;
  }
  return {
    bytes: rounded,
    report: {
      change: Math.sqrt(moved),
      error: moved === 0 ? 0 : Math.sqrt(error / moved),
      unchanged: exact.length === 0 ? 1 : unchanged / exact.length,
    },
  };
}
