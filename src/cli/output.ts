import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  type Stats,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { LorantzError } from "../base/errors.ts";
import { makeFolders, reasonOf, removeFolders } from "../base/files.ts";
import { replacing, writeAll } from "../base/replace.ts";
import { UsageError } from "./usage.ts";

// Everything that a command writes goes this way.

/** How a text gets to its path. */
interface Sink {
  /** Makes the text ready. */
  prepare(text: string): void;
  /** Puts it in its place. */
  commit(): void;
  /** After all: takes back what `commit` did, or what is left over. */
  end(failed: boolean): void;
}

/**
 * Files that belong together, tried before the work begins and written at its end: all of them, or none. A file is
 * written beside its place and renamed, so that it is never seen half-written and an old one stays until the new one is
 * whole; links lead where they led, and permissions stay. A file of several names (hard links) is copied over instead, so
 * that it keeps them. What is no file, such as a device or a pipe, is written into. Missing folders are made when the files are written.
 *
 * @example
 * const output = new Output("--json", ["results.json"]);
 * output.write(["{}\n"]);
 */
export class Output {
  readonly #option: string;
  readonly #paths: readonly string[];
  /** Pipes, whose readers wait. */
  readonly #opened = new Map<string, number>();

  /**
   * @throws UsageError if one of the paths cannot be written.
   */
  constructor(option: string, paths: readonly string[]) {
    this.#option = option;
    this.#paths = paths;
    for (const path of paths) {
      try {
        this.#try(path);
      } catch (error) {
        throw new UsageError(
          `${option} ${path}: cannot write there (${reasonOf(error)}). Give a path that you may write to.`,
        );
      }
    }
  }

  /**
   * Writes a text for each path, and returns the paths.
   *
   * @throws LorantzError if the system refuses; then the files are as they were.
   */
  write(texts: readonly string[]): readonly string[] {
    const made: string[] = [];
    const sinks: Sink[] = [];
    let failed = true;
    try {
      for (const path of this.#paths) {
        made.push(...makeFolders(dirname(path)));
        sinks.push(this.#sink(path));
      }
      for (const [i, sink] of sinks.entries()) sink.prepare(texts[i]!);
      for (const sink of sinks) sink.commit();
      failed = false;
    } catch (error) {
      throw new LorantzError(
        `${this.#option} ${this.#paths.join(", ")}: cannot write the results (${reasonOf(error)}). Make room or give another path.`,
      );
    } finally {
      for (const sink of sinks) sink.end(failed);
      if (failed) removeFolders(made);
    }
    return this.#paths;
  }

  #try(path: string): void {
    const made = makeFolders(dirname(path));
    try {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found && !isReplaced(path, found)) {
        if (found.isDirectory()) throw new Error("it is not a file");
        const file = standardStream(found) ?? openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
        if (found.isFIFO() && file > 2) this.#opened.set(path, file);
        else if (file > 2) tryDevice(file);
        return;
      }
      if (found) accessSync(path, constants.W_OK);
      const place = replacing(path);
      try {
        const file = place.create();
        try {
          writeAll(file, Buffer.from("0"));
        } finally {
          closeSync(file);
        }
      } finally {
        place.end(true);
      }
    } finally {
      removeFolders(made);
    }
  }

  #sink(path: string): Sink {
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found || isReplaced(path, found)) {
      const place = replacing(path);
      return {
        prepare: (text) => {
          const file = place.create();
          try {
            writeAll(file, Buffer.from(text));
          } finally {
            closeSync(file);
          }
        },
        commit: () => place.commit(),
        end: (failed) => place.end(failed),
      };
    }
    const own = standardStream(found) ?? this.#opened.get(path);
    const file = own ?? openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    let ready = "";
    return {
      prepare: (text) => {
        ready = text;
      },
      commit: () => writeAll(file, Buffer.from(ready)),
      end: () => {
        if (file > 2) closeSync(file);
        this.#opened.delete(path);
      },
    };
  }
}

/** Writes nothing to a device, which some refuse; and closes it. */
function tryDevice(file: number): void {
  try {
    writeSync(file, Buffer.alloc(0));
  } finally {
    closeSync(file);
  }
}

/** A file is replaced; what only leads to one, such as /dev/stdout, is written into. */
function isReplaced(path: string, found: Stats): boolean {
  return found.isFile() && !/^\/(dev|proc)\//.test(resolve(path)) && standardStream(found) === undefined;
}

/** Standard output or error, if this is where it leads. */
function standardStream(found: Stats): number | undefined {
  return [1, 2].find((file) => {
    try {
      const { dev, ino } = fstatSync(file);
      return dev === found.dev && ino === found.ino && !found.isCharacterDevice();
    } catch {
      return false; // closed
    }
  });
}
