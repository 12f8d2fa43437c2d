import { openPath, urlOf } from "#files";
import { show } from "../base/arguments.ts";
import { LorantzError, ValueError } from "../base/errors.ts";
import { checkRange, isSource, type Source } from "./source.ts";

/** Where bytes are: a path (in a page, where there are none, a URL beside it), a URL, a Blob or File, or bytes in memory. */
export type FileSource = string | URL | Blob | ArrayBuffer | Uint8Array | Source;

/**
 * Opens bytes for reading in ranges. A URL is asked for ranges; from a server that does not have them the whole file is
 * kept in memory.
 *
 * @throws LorantzError for what cannot be read; ValueError for anything else than a place of bytes, and for what Git LFS has
 *   put in the place of a file.
 * @example
 * const source = await openSource(new Uint8Array([1, 2, 3]));
 * console.log(source.size); // 3
 */
export async function openSource(from: FileSource): Promise<Source> {
  const source = await opened(from);
  if (source.size < longestPointer) {
    const bytes = new Uint8Array(source.size);
    await source.read(bytes, 0);
    if (new TextDecoder().decode(bytes).startsWith(pointer))
      throw new ValueError(
        `${source.name}: it is a pointer of Git LFS, in the place of a file that was not fetched. Fetch it with git lfs pull, or download it.`,
      );
  }
  return source;
}

/** What Git LFS leaves where a file is not fetched. https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
const pointer = "version https://git-lfs.github.com/spec/";
const longestPointer = 1024;

async function opened(from: FileSource): Promise<Source> {
  if (typeof from === "string" || from instanceof URL) {
    const url = urlOf(from);
    return typeof url === "string" ? openPath(url) : openUrl(url);
  }
  if (from instanceof ArrayBuffer) return ofBytes(new Uint8Array(from));
  if (from instanceof Uint8Array) return ofBytes(from);
  if (from instanceof Blob) return ofBlob(from);
  if (isSource(from)) return from;
  throw new ValueError(
    `a file is given as ${show(from)}; give a path, a URL, a Blob, an ArrayBuffer or a Uint8Array.`,
  );
}

function ofBytes(bytes: Uint8Array, name = "the bytes"): Source {
  const source = { name, size: bytes.length };
  return {
    ...source,
    async read(into, start) {
      checkRange(source, start, into.length);
      into.set(bytes.subarray(start, start + into.length));
    },
  };
}

function ofBlob(blob: Blob): Source {
  const source = { name: blob instanceof File ? blob.name : "the Blob", size: blob.size };
  return {
    ...source,
    async read(into, start) {
      checkRange(source, start, into.length);
      into.set(new Uint8Array(await blob.slice(start, start + into.length).arrayBuffer()));
    },
  };
}

/** A server has no such file. */
export class NotFound extends LorantzError {}

/** Bytes that the first request asks for: the header of most files, or all of a small one. */
const head = 2 ** 18;

async function openUrl(url: URL): Promise<Source> {
  const name = url.href.length > 200 ? `${url.href.slice(0, 200)}...` : url.href;
  const fail = (what: string): never => {
    throw new LorantzError(`${name}: cannot be read (${what}).`);
  };
  const request = async (headers: Record<string, string>): Promise<Response> => {
    // A server may close a connection in the moment in which it is used again: the second try has a new one.
    const get = () => fetch(url, { headers });
    try {
      return await get().catch(get);
    } catch (error) {
      const { message, cause } = error as Error;
      return fail(cause instanceof Error ? `${message}: ${cause.message}` : message);
    }
  };
  const bytesOf = async (response: Response): Promise<Uint8Array> => {
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      return fail(`the answer broke off: ${(error as Error).message}`);
    }
  };
  const first = await request({ Range: `bytes=0-${head - 1}` });
  if (first.status === 200) return ofBytes(await bytesOf(first), name);
  if (first.status === 416) return ofBytes(new Uint8Array(0), name); // an empty file has no ranges
  if (first.status === 404 || first.status === 410) throw new NotFound(`${name}: there is no such file.`);
  if (first.status !== 206) return fail(`the server answers ${first.status} ${first.statusText}`.trim());
  const total = (response: Response) =>
    Number(/\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1]);
  const [size, tag] = [total(first), first.headers.get("ETag")];
  if (!Number.isSafeInteger(size)) return fail("the server does not say how long the file is");
  const start = await bytesOf(first);
  if (start.length !== Math.min(size, head))
    return fail("the server sent another range than it was asked for");
  const source = { name, size };
  return {
    ...source,
    async read(into, at) {
      checkRange(source, at, into.length);
      if (into.length === 0) return;
      const end = at + into.length;
      if (end <= start.length) {
        into.set(start.subarray(at, end));
        return;
      }
      const response = await request({ Range: `bytes=${at}-${end - 1}` });
      if (response.status !== 206) fail(`the server answers ${response.status} to a request for a range`);
      if (total(response) !== size || response.headers.get("ETag") !== tag)
        fail("it changed while it was read; read it again");
      const bytes = await bytesOf(response);
      if (bytes.length !== into.length) fail("the server sent another range than it was asked for");
      into.set(bytes);
    },
  };
}
