// The `#files` module of pages, where there are no paths. Its twin for Node is files-node.ts.
import { LorantzError } from "../base/errors.ts";
import type { Source } from "./source.ts";

/** The path that a text is, or the URL: here always a URL, beside the page. */
export function urlOf(from: string | URL): string | URL {
  return new URL(from, globalThis.location?.href);
}

export async function openPath(path: string): Promise<Source> {
  throw noPaths(path);
}

/** The names of the files in a folder, or undefined for what is none: here always. */
export async function listFolder(_path: string): Promise<readonly string[] | undefined> {
  return undefined;
}

export async function writeFiles(
  files: ReadonlyMap<string, AsyncIterable<Uint8Array> | Iterable<Uint8Array>>,
): Promise<void> {
  throw noPaths([...files.keys()].join(", "));
}

function noPaths(path: string): LorantzError {
  return new LorantzError(
    `${path}: a page has no files. Read from a URL or a Blob, and write a Blob that the user downloads.`,
  );
}
