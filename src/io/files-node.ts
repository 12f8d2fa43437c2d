// The `#files` module of Node, Deno and Bun: paths are files. Its twin for pages is files-web.ts.
import { closeSync, fstatSync, fsyncSync, openSync, read, type Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LorantzError } from "../base/errors.ts";
import { makeFolders, reasonOf, removeFolders } from "../base/files.ts";
import { type Replacement, replacing, writeAll } from "../base/replace.ts";
import { checkRange, type Source } from "./source.ts";

/** The path that a text or a URL of a file is, or the URL that it is. */
export function urlOf(from: string | URL): string | URL {
  if (typeof from === "string" && !/^(https?|blob|data|file):/i.test(from)) return from;
  const url = new URL(from);
  return url.protocol === "file:" ? fileURLToPath(url) : url;
}

/** Deno and Bun have the same functions; that theirs fill memory that threads share is not said anywhere. */
const fillsShared = !("deno" in process.versions || "bun" in process.versions);

/** Most bytes of one call of the system. */
const most = 2 ** 30;

/**
 * A file, opened anew for each range, so that nothing has to be closed.
 *
 * @throws LorantzError for what is no file or cannot be read.
 */
export async function openPath(path: string): Promise<Source> {
  const first = await statOf(path);
  if (!first.isFile()) throw new LorantzError(`${path}: cannot be read (it is not a file).`);
  const source = { name: path, size: first.size, fillsShared };
  return {
    ...source,
    async read(into, start) {
      checkRange(source, start, into.length);
      if (into.length === 0) return;
      let file: number | undefined;
      try {
        file = openSync(path, "r");
        const now = fstatSync(file);
        let at = 0;
        while (isSame(now, first) && at < into.length) {
          const count = await readAt(file, into, at, Math.min(into.length - at, most), start + at);
          if (count === 0) break;
          at += count;
        }
        if (at < into.length)
          throw new LorantzError(
            `${path}: it changed while it was read. Read it again when nobody writes it.`,
          );
      } catch (error) {
        if (error instanceof LorantzError) throw error;
        refuse(path)(error);
      } finally {
        if (file !== undefined) closeSync(file);
      }
    },
  };
}

const readAt = (file: number, into: Uint8Array, at: number, length: number, position: number) =>
  new Promise<number>((resolve, reject) => {
    read(file, into, at, length, position, (error, count) => (error ? reject(error) : resolve(count)));
  });

const isSame = (a: Stats, b: Stats) => a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs;

const refuse =
  (path: string) =>
  (error: unknown): never => {
    throw new LorantzError(`${path}: cannot be read (${reasonOf(error)}).`);
  };

const statOf = (path: string): Promise<Stats> => stat(path).catch(refuse(path));

/** The names of the files in a folder, or undefined for what is none. @throws LorantzError where nothing is. */
export async function listFolder(path: string): Promise<readonly string[] | undefined> {
  if (!(await statOf(path)).isDirectory()) return undefined;
  const entries = await readdir(path, { withFileTypes: true }).catch(refuse(path));
  const names: string[] = [];
  for (const entry of entries) {
    const isLink = entry.isSymbolicLink();
    const found = isLink ? await stat(join(path, entry.name)).catch(() => undefined) : entry;
    if (found?.isFile()) names.push(entry.name);
  }
  return names.sort();
}

/**
 * Writes files that belong together: all of them, or none. Each is written beside its place and renamed.
 *
 * @throws LorantzError if the system refuses, and whatever the parts throw; then the files are as they were.
 */
export async function writeFiles(
  files: ReadonlyMap<string, AsyncIterable<Uint8Array> | Iterable<Uint8Array>>,
): Promise<void> {
  const made: string[] = [];
  const places: Replacement[] = [];
  let failed = true;
  try {
    for (const [path, parts] of files) {
      let file = -1;
      try {
        made.push(...refusing(path, () => makeFolders(dirname(path))));
        const place = refusing(path, () => replacing(path));
        places.push(place);
        file = refusing(path, () => place.create());
        for await (const part of parts) refusing(path, () => writeAll(file, part));
        refusing(path, () => fsyncSync(file));
      } finally {
        if (file >= 0) closeSync(file);
      }
    }
    const paths = [...files.keys()];
    for (const [i, place] of places.entries()) refusing(paths[i]!, () => place.commit());
    failed = false;
  } finally {
    for (const place of places) place.end(failed);
    if (failed) removeFolders(made);
  }
}

function refusing<T>(path: string, f: () => T): T {
  try {
    return f();
  } catch (error) {
    throw new LorantzError(
      `${path}: cannot be written (${reasonOf(error)}). Make room or give another path; nothing was changed.`,
    );
  }
}
