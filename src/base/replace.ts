import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  linkSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

// How every file gets to its place in Node. Only what runs in Node imports this.

/** A file on its way to a path. */
export interface Replacement {
  /** Makes the new file beside the path, and opens it for writing. */
  create(): number;
  /** Puts the new file in the place of the old one. */
  commit(): void;
  /** After all: takes back what `commit` did, if asked to, and removes what is left over. */
  end(failed: boolean): void;
}

/** Numbers the files that are on their way. */
let count = 0;

/** Names of this machine's files on their way begin so, and go on with the process. */
const prefix = `.lorantz-${hostname()
  .replace(/[^\w-]/g, "_")
  .slice(0, 64)}-`;

/**
 * A file that is written beside its place and then renamed, so that it is never seen half-written and an old one stays
 * until the new one is whole; links lead where they led, owner and permissions stay. A file of several names (hard links)
 * is copied over instead, so that it keeps them.
 */
export function replacing(path: string): Replacement {
  const target = targetOf(path);
  const old = statSync(target, { throwIfNoEntry: false });
  if (old && !old.isFile()) throw new Error("it is not a file");
  const beside = (what: string) => join(dirname(target), `${prefix}${process.pid}-${number}-${what}.tmp`);
  const number = count++;
  const [fresh, kept] = [beside("new"), beside("old")];
  const shared = old !== undefined && old.nlink > 1;
  const put = (from: string) => (shared ? copyFileSync(from, target) : renameSync(from, target));
  let placed = false;
  return {
    create: () => {
      removeAbandoned(dirname(target));
      rmSync(fresh, { force: true });
      const file = openSync(fresh, "wx", old ? 0o600 : 0o666);
      if (!old) return file;
      const { uid, gid } = statSync(fresh);
      if (uid !== old.uid || gid !== old.gid) chownSync(fresh, old.uid, old.gid);
      chmodSync(fresh, old.mode & 0o7777);
      return file;
    },
    commit: () => {
      if (old) keep(target, kept, shared);
      placed = true;
      put(fresh);
    },
    end: (failed) => {
      if (failed && placed) {
        if (old) put(kept);
        else rmSync(target, { force: true });
      }
      rmSync(fresh, { force: true });
      rmSync(kept, { force: true });
    },
  };
}

/** Bytes that Node writes at a time; it cannot take more than 2^31. */
const most = 2 ** 30;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of the bytes, however often it takes. */
export function writeAll(file: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(file, bytes, at, Math.min(bytes.length - at, most));
    } catch (error) {
      // A pipe that is full, and whose reader is busy.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(never, 0, 0, 5);
    }
  }
}

/** Puts text in the place of a file, or of none. */
export function replaceText(path: string, text: string): void {
  const replacement = replacing(path);
  let failed = true;
  try {
    const file = replacement.create();
    try {
      writeAll(file, Buffer.from(text));
    } finally {
      closeSync(file);
    }
    replacement.commit();
    failed = false;
  } finally {
    replacement.end(failed);
  }
}

/** Removes what processes of this machine left on its way when they were killed. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    const owner = name.startsWith(prefix)
      ? /^(\d+)-.*\.tmp$/.exec(name.slice(prefix.length))?.[1]
      : undefined;
    if (owner !== undefined && !isRunning(Number(owner))) rmSync(join(folder, name), { force: true });
  }
}

/** Whether there is a process of that number. */
export function isRunning(id: number): boolean {
  try {
    process.kill(id, 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Where a path leads, which need not be there. */
function targetOf(path: string): string {
  let at = resolve(path);
  for (let links = 0; links < 40; links++) {
    const folder = realpathSync(dirname(at));
    at = join(folder, basename(at));
    let link: string;
    try {
      link = readlinkSync(at);
    } catch {
      return at; // no link, or nothing yet
    }
    at = resolve(folder, link);
  }
  throw new Error("its links lead in a circle");
}

/** The old file under another name too, or a copy of it where it is written over or cannot have another name. */
function keep(target: string, kept: string, shared: boolean): void {
  rmSync(kept, { force: true });
  try {
    if (shared) copyFileSync(target, kept);
    else linkSync(target, kept);
  } catch {
    copyFileSync(target, kept);
  }
}
