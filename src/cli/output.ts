import {
  accessSync,
  constants,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LorantzError } from "../base/errors.ts";
import { UsageError } from "./usage.ts";

/**
 * A folder for results, checked before the work begins and written once at its end: each file goes to a
 * temporary name first, so that none is ever seen half-written.
 */
export class OutputFolder {
  readonly path: string;
  readonly #created: string | undefined;

  /**
   * Makes the folder if need be and tries to write in it.
   *
   * @throws UsageError if the folder, or one of the files to come, cannot be written.
   */
  constructor(path: string, files: readonly string[]) {
    this.path = path;
    try {
      this.#created = mkdirSync(path, { recursive: true });
      const probe = this.#temporary("probe");
      writeFileSync(probe, "", { flag: "wx" });
      rmSync(probe);
    } catch (error) {
      this.discard();
      throw new UsageError(
        `--out ${path}: cannot write there (${reason(error)}). Give a folder that you may write to.`,
      );
    }
    for (const file of files) this.#checkFile(file);
  }

  /**
   * Writes all files, each whole or not at all. Returns their paths.
   *
   * @throws LorantzError if the system refuses.
   */
  write(files: { readonly [name: string]: string }): string[] {
    const names = Object.keys(files);
    try {
      for (const name of names) writeFileSync(this.#temporary(name), files[name]!);
      for (const name of names) renameSync(this.#temporary(name), join(this.path, name));
    } catch (error) {
      throw new LorantzError(
        `--out ${this.path}: cannot write the results (${reason(error)}). Make room or give another folder.`,
      );
    } finally {
      for (const name of names) rmSync(this.#temporary(name), { force: true });
    }
    return names.map((name) => join(this.path, name));
  }

  /** Removes the folders that were made here and are empty; for work that was broken off. */
  discard(): void {
    if (this.#created === undefined) return;
    try {
      for (let path = resolve(this.path); path.startsWith(this.#created); path = dirname(path))
        rmdirSync(path);
    } catch {
      // Something lies in it: then it stays.
    }
  }

  #temporary(name: string): string {
    return join(this.path, `.${name}.${process.pid}.tmp`);
  }

  #checkFile(name: string): void {
    const path = join(this.path, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (!found) return;
    try {
      if (!found.isFile()) throw new Error("it is not a file");
      accessSync(path, constants.W_OK);
    } catch (error) {
      throw new UsageError(
        `--out ${this.path}: cannot replace ${path} (${reason(error)}). Move it away or give another folder.`,
      );
    }
  }
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException; // from node:fs, or the line above
  const words: { readonly [code: string]: string } = {
    EACCES: "permission denied",
    EEXIST: "a file of that name is there",
    ENOTDIR: "a part of the path is a file",
    EROFS: "the file system is read-only",
    ENOSPC: "no space is left",
  };
  return words[code ?? ""] ?? message;
}
