import { listFolder, urlOf, writeFiles } from "#files";
import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { blobOf } from "../io/blob.ts";
import { type Folder, isFolder, openFolder, othersOf, readJson } from "../io/folder.ts";
import * as ggufFile from "../io/gguf.ts";
import { type FileSource, openSource } from "../io/open.ts";
import * as safetensors from "../io/safetensors.ts";
import { readRange } from "../io/source.ts";
import type { AdapterFile, FormatName } from "./file.ts";
import type { FormatOptions, Written } from "./format.ts";
import { gguf } from "./gguf.ts";
import { kohya } from "./kohya.ts";
import { mlx } from "./mlx.ts";
import { peft } from "./peft.ts";

const folders = { peft, mlx };
const formats = { ...folders, kohya, gguf };

/** The forms of adapters that are read and written. */
export const formatNames = Object.keys(formats) as readonly FormatName[];

const configName = "adapter_config.json";

/**
 * Reads an adapter: a folder of PEFT or of MLX-LM, a safetensors file of kohya or diffusers, a GGUF file of llama.cpp. What
 * it is shows in the files.
 *
 * @throws ValueError for a field that changes what the adapter computes and is not implemented, and for files that do not
 *   fit each other; LorantzError for what cannot be read.
 * @example
 * const blobs = await adapters.toBlobs(adapters.extract(model, params), "peft");
 * const files = Object.entries(blobs).map(([name, blob]) => new File([blob], name));
 * const adapter = await adapters.open(await openFolder(files));
 */
export async function open(from: FileSource | Folder, options: FormatOptions = {}): Promise<AdapterFile> {
  if (isFolder(from)) return openIn(from, options);
  if (typeof from === "string" || from instanceof URL) {
    const place = urlOf(from);
    if (typeof place === "string" ? await listFolder(place) : place.pathname.endsWith("/"))
      return openIn(await openFolder(place), options);
  }
  const source = await openSource(from);
  const isGguf = source.size >= 4 && new TextDecoder().decode(await readRange(source, 0, 4)) === "GGUF";
  if (isGguf) return gguf.open(await ggufFile.open(source), options);
  return kohya.open(await safetensors.open(source), options);
}

async function openIn(folder: Folder, options: FormatOptions): Promise<AdapterFile> {
  if (await folder.find(configName)) {
    const config = await readJson(folder, configName);
    const format = isPlainObject(config) && Object.values(folders).find((each) => each.isConfig(config));
    if (format) return format.open(folder);
    throw new ValueError(
      `${folder.name}: ${configName} is of neither PEFT (peft_type, lora_alpha) nor MLX-LM (lora_parameters, fine_tune_type).`,
    );
  }
  const [only, ...more] = (folder.names ?? []).filter((name) => /\.(safetensors|gguf)$/.test(name));
  if (only !== undefined && more.length === 0) return open((await folder.find(only))!, options);
  throw new ValueError(
    `${folder.name}: expected ${configName}, or a single .safetensors or .gguf file${othersOf(folder)}.`,
  );
}

/** The same function in the form of a tool, with the numbers that it will read. */
export async function convert(
  adapter: AdapterFile,
  to: FormatName,
  options: FormatOptions = {},
): Promise<AdapterFile> {
  return formatOf(to).fit(adapter, options);
}

/**
 * Writes an adapter in the form of a tool into a folder: all files, or none. Returns their names.
 *
 * @throws ValueError naming what the tool has no place for; LorantzError if the system refuses.
 */
export async function write(
  folder: string,
  adapter: AdapterFile,
  to: FormatName = formOf(adapter),
  options: FormatOptions = {},
): Promise<readonly string[]> {
  const files = Object.entries(await filesOf(adapter, to, options));
  const at = folder.replace(/[/\\]$/, "");
  await writeFiles(new Map(files.map(([name, content]) => [`${at}/${name}`, pieces(content)])));
  return files.map(([name]) => name);
}

/** The same as Blobs by name, for pages. */
export async function toBlobs(
  adapter: AdapterFile,
  to: FormatName = formOf(adapter),
  options: FormatOptions = {},
): Promise<Readonly<Record<string, Blob>>> {
  const blobs: [string, Blob][] = [];
  for (const [name, content] of Object.entries(await filesOf(adapter, to, options)))
    blobs.push([name, await blobOf(pieces(content))]);
  return Object.fromEntries(blobs);
}

const formOf = ({ format }: AdapterFile): FormatName => (format === "lorantz" ? "peft" : format);

async function filesOf(adapter: AdapterFile, to: FormatName, options: FormatOptions): Promise<Written> {
  const format = formatOf(to);
  return format.write(await format.fit(adapter, options), options);
}

function formatOf(name: FormatName): (typeof formats)[FormatName] {
  if (!Object.hasOwn(formats, name))
    throw new ValueError(
      `an adapter is to be written as ${show(name)}; it is one of ${formatNames.join(", ")}.`,
    );
  return formats[name];
}

async function* pieces(content: Written[string]): AsyncGenerator<Uint8Array> {
  if (typeof content === "string") yield new TextEncoder().encode(content);
  else yield* content;
}

/** What files of adapters leave to their base model: its `config.json`, and the paths of its modules where they are at hand. */
export async function readBase(folder: Folder): Promise<FormatOptions> {
  const base = await readJson(folder, "config.json");
  if (!isPlainObject(base))
    throw new ValueError(`${folder.name}: config.json is ${show(base)}; it is an object.`);
  if (!folder.names?.some((name) => name.endsWith(".safetensors"))) return { base };
  const { names } = await safetensors.open(folder);
  return { base, paths: names.flatMap((name) => (name.endsWith(".weight") ? [name.slice(0, -7)] : [])) };
}
