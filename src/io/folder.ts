import { listFolder, urlOf } from "#files";
import { show } from "../base/arguments.ts";
import { LorantzError, ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import { NotFound, openSource } from "./open.ts";
import { readTextOf, type Source } from "./source.ts";

/** Files by name: a folder on disk, what lies below a URL, or files that were dropped on a page. */
export interface Folder {
  /** For messages. */
  readonly name: string;
  /** Names of all files, where they can be listed; below a URL they cannot. */
  readonly names?: readonly string[];
  /** The file of that name, or undefined where there is none. */
  find(file: string): Promise<Source | undefined>;
}

/** Where a folder is: a path, a URL, files (of an input of a page, say), or one that is open already. */
export type FolderSource = string | URL | readonly File[] | Folder;

/**
 * Opens a folder for reading.
 *
 * @throws LorantzError for a path that is no folder; ValueError for anything else than a place of files.
 * @example
 * const folder = await openFolder([new File(["{}"], "config.json")]);
 * console.log(await readJson(folder, "config.json")); // {}
 */
export async function openFolder(from: FolderSource): Promise<Folder> {
  if (typeof from === "string" || from instanceof URL) {
    const place = urlOf(from);
    return typeof place === "string" ? ofPath(place) : ofUrl(place);
  }
  if (Array.isArray(from) && from.every((file) => file instanceof File)) return ofFiles(from);
  if (isFolder(from)) return from;
  throw new ValueError(`a folder is given as ${show(from)}; give a path, a URL or a list of File.`);
}

export function isFolder(value: unknown): value is Folder {
  const { find, name } = (value ?? {}) as { readonly find?: unknown; readonly name?: unknown };
  return typeof find === "function" && typeof name === "string";
}

async function ofPath(path: string): Promise<Folder> {
  const names = await listFolder(path);
  if (!names) throw new LorantzError(`${path}: it is a file; give the folder that it lies in.`);
  return {
    name: path,
    names,
    find: async (file) =>
      names.includes(file) ? openSource(`${path.replace(/[/\\]$/, "")}/${file}`) : undefined,
  };
}

function ofUrl(url: URL): Folder {
  const base = new URL(url);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return {
    name: base.href,
    async find(file) {
      const at = new URL(base);
      at.pathname += file.split("/").map(encodeURIComponent).join("/");
      try {
        return await openSource(at);
      } catch (error) {
        if (error instanceof NotFound) return undefined;
        throw error;
      }
    },
  };
}

function ofFiles(files: readonly File[]): Folder {
  return {
    name: "the files",
    names: files.map(({ name }) => name),
    async find(wanted) {
      const found = files.filter(({ name }) => name === wanted);
      if (found.length > 1) throw new ValueError(`there are ${found.length} files named ${show(wanted)}.`);
      return found[0] && openSource(found[0]);
    },
  };
}

/** A file that must be there. @throws LorantzError that lists what is there. */
export async function findFile(folder: Folder, file: string): Promise<Source> {
  const source = await folder.find(file);
  if (source) return source;
  throw new LorantzError(`${folder.name}: there is no file ${file}${othersOf(folder)}.`);
}

export function othersOf({ names }: Folder): string {
  if (!names) return "";
  return names.length === 0
    ? "; it is empty"
    : `; it has ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}`;
}

/** The text of a file of a folder. @throws LorantzError where there is none, ValueError for what is no UTF-8. */
export async function readText(folder: Folder, file: string): Promise<string> {
  return readTextOf(await findFile(folder, file));
}

/** The value of a JSON file of a folder. @throws as `readText`, and ValueError for what is no JSON. */
export async function readJson(folder: Folder, file: string): Promise<unknown> {
  return parseJson(`${folder.name}: ${file}`, await readText(folder, file));
}
