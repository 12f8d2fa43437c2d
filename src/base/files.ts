import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmdirSync,
  statSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { LorantzError } from "./errors.ts";

// Reading files and making folders in Node, so that no path hangs. Only what runs in Node imports this.

/** Bytes that a file may have: what is longer, or never ends, is none of ours. */
const mostBytes = 2 ** 28;

/** How long a pipe may be without anybody who writes to it. */
const patience = 5000;

const never = new Int32Array(new SharedArrayBuffer(4));
const sleep = (milliseconds: number) => Atomics.wait(never, 0, 0, milliseconds);

/**
 * The bytes of a file, or of a pipe or device that ends.
 *
 * @throws Error of node:fs, or one that says why the file is no use: a folder, a pipe that nobody writes to, one too long.
 */
export function readBytes(path: string): Uint8Array {
  const found = statSync(path);
  if (found.isDirectory()) throw new Error("it is a folder");
  if (found.isFile()) {
    if (found.size > mostBytes) throw new Error(`it has ${found.size} bytes, more than ${mostBytes}`);
    if (found.size > 0) return readFileSync(path);
  }
  // Opening a pipe waits for a writer, unless told not to; and files of the system have no length.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return readToEnd(file, fstatSync(file).isFIFO());
  } finally {
    closeSync(file);
  }
}

function readToEnd(file: number, pipe: boolean): Uint8Array {
  const parts: Uint8Array[] = [];
  const end = Date.now() + patience;
  let length = 0;
  for (;;) {
    const part = Buffer.alloc(65536);
    const count = readSome(file, part);
    if (count === 0) {
      if (!pipe || length > 0) return Buffer.concat(parts);
      // Nobody has it open for writing, yet.
      if (Date.now() > end)
        throw new Error(`it is a pipe, and nothing came out of it in ${patience / 1000} s`);
      sleep(10);
    } else if (count === undefined) {
      sleep(5);
    } else {
      length += count;
      if (length > mostBytes) throw new Error(`it has more than ${mostBytes} bytes`);
      parts.push(part.subarray(0, count));
    }
  }
}

/** How many bytes came; undefined where a writer has none ready. */
function readSome(file: number, into: Uint8Array): number | undefined {
  try {
    return readSync(file, into);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
    throw error;
  }
}

/**
 * Makes a folder and those above it that are missing. Returns what it made, outermost first. Below what is no
 * folder, or where none can be made (Node's own recursive way never ends below /proc), it throws.
 */
export function makeFolders(path: string): string[] {
  const missing: string[] = [];
  let at = resolve(path);
  for (
    let found = statSync(at, { throwIfNoEntry: false });
    ;
    found = statSync(at, { throwIfNoEntry: false })
  ) {
    if (found?.isDirectory()) break;
    if (found) throw new Error(`${at} is not a folder`);
    missing.unshift(at);
    at = dirname(at);
  }
  try {
    for (const folder of missing) {
      try {
        mkdirSync(folder);
      } catch (error) {
        // Another process was faster.
        if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw error;
      }
    }
  } catch (error) {
    removeFolders(missing);
    throw error;
  }
  return missing;
}

/**
 * Sees to it that results can be kept in a folder, or in these parts of it, before they are worked for: makes what is missing.
 *
 * @throws LorantzError where that cannot be.
 */
export function keepIn(path: string, parts: readonly string[] = ["."]): void {
  try {
    for (const part of parts) {
      makeFolders(join(path, part));
      accessSync(join(path, part), constants.W_OK);
    }
  } catch (error) {
    throw new LorantzError(
      `${path}: cannot keep results there (${reasonOf(error)}). Give a folder that you may write to.`,
    );
  }
}

/** A place below the folder in which programs keep what they can make again. */
export function cacheFolder(...parts: string[]): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "lorantz", ...parts);
}

/** Removes those of these folders, innermost first, that are there and empty. */
export function removeFolders(folders: readonly string[]): void {
  for (const folder of [...folders].reverse()) {
    try {
      rmdirSync(folder);
    } catch {
      // It was not made, or something lies in it: then it stays.
    }
  }
}

/** Why the system refuses, in words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code !== undefined && reasons[code]) || message;
}

const reasons: { readonly [code: string]: string } = {
  EACCES: "permission denied",
  EEXIST: "a file of that name is there",
  EDQUOT: "the quota is used up",
  EFBIG: "it may not become that large",
  EISDIR: "it is a folder",
  ELOOP: "its links lead in a circle",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "there is no such file",
  ENOSPC: "no space is left",
  ENOTDIR: "a part of the path is a file",
  ENXIO: "nobody reads from it",
  EPERM: "the system does not permit it",
  EPIPE: "whoever read from it has gone",
  EROFS: "the file system is read-only",
};
