import {
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { isPlainObject } from "../../base/arguments.ts";
import { LorantzError, ValueError } from "../../base/errors.ts";
import { keepIn, reasonOf } from "../../base/files.ts";
import { isRunning, replaceText } from "../../base/replace.ts";
import type { Cell } from "./cell.ts";

/** What a file of a result holds. */
export interface Kept<T = unknown, R = unknown> {
  readonly format: 1;
  readonly key: string;
  readonly task: T;
  readonly result: R;
  readonly seconds: number;
}

/** What became of asking for a cell: it is ours now, it has a result already, or somebody else is at it. */
export type Taken = "ours" | "done" | "busy";

/** Milliseconds after which a claim whose owner is not seen and does not change is given up for. */
const patience = 60_000;

/** Who claims: a process, on a machine, in its own space of process numbers. */
const place = `${hostname()} ${processSpace()}`;

/**
 * Results in a folder, a file for each key: written beside its place and renamed, so that a file that is there is whole. Whoever
 * works at a cell has a claim beside it. A claim is void where its process is gone, or, as clocks differ and machines see
 * no processes of each other, where it has not changed for a minute by the clock of the one who waits.
 *
 * @throws LorantzError where the folder cannot be made, and for what in it is no result.
 */
export class Folder {
  readonly path: string;
  readonly #ours = new Set<string>();
  readonly #seen = new Map<string, { readonly text: string; readonly since: number }>();
  #beats = 0;

  constructor(path: string) {
    this.path = path;
    keepIn(path, ["cells", "claims"]);
  }

  /** The keys that have a result. */
  keys(): readonly string[] {
    return readdirSync(join(this.path, "cells")).flatMap((name) =>
      name.endsWith(".json") && !name.startsWith(".") ? [name.slice(0, -".json".length)] : [],
    );
  }

  has(key: string): boolean {
    return statSync(this.#result(key), { throwIfNoEntry: false }) !== undefined;
  }

  /** The result of a key. @throws LorantzError for a file that is none. */
  read(key: string): Kept | undefined {
    const path = this.#result(key);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new LorantzError(`${path}: cannot read the result (${reasonOf(error)}).`);
    }
    let kept: unknown;
    try {
      kept = JSON.parse(text);
    } catch {
      // Falls through: it is no result.
    }
    if (!isPlainObject(kept) || kept.format !== 1 || kept.key !== key || !("result" in kept))
      throw new ValueError(
        `${path}: it is no result of the cell ${key}, which a sweep writes. Remove the file, and the cell is run again.`,
      );
    return kept as unknown as Kept; // as `write` made it
  }

  /** Puts a result in its place. */
  write<T>(cell: Cell<T>, result: unknown, seconds: number): void {
    const kept: Kept<T> = { format: 1, ...cell, result, seconds };
    const path = this.#result(cell.key);
    try {
      replaceText(path, `${JSON.stringify(kept)}\n`);
    } catch (error) {
      throw new LorantzError(
        `${path}: cannot write the result (${reasonOf(error)}). Make room, and start the sweep again: what is there is kept.`,
      );
    }
  }

  /** Asks for a cell, to work at it. */
  take(key: string): Taken {
    if (this.has(key)) return "done";
    const path = this.#claim(key);
    if (!this.#make(path)) {
      if (!this.#isVoid(path)) return "busy";
      this.#remove(path);
      if (!this.#make(path)) return "busy";
    }
    this.#ours.add(key);
    if (!this.has(key)) return "ours";
    // Somebody ended it between the two looks.
    this.release(key);
    return "done";
  }

  /** Gives a cell back. */
  release(key: string): void {
    if (this.#ours.delete(key)) rmSync(this.#claim(key), { force: true });
  }

  /**
   * Says that the owner of the claims is alive; more often than once a minute. Where nothing can be written, others may take over
   * what is ours: it is computed twice then, and kept once.
   */
  beat(): void {
    this.#beats++;
    for (const key of this.#ours) {
      try {
        writeFileSync(this.#claim(key), this.#words());
      } catch {
        // The result will say so.
      }
    }
  }

  #result(key: string): string {
    return join(this.path, "cells", `${key}.json`);
  }

  #claim(key: string): string {
    return join(this.path, "claims", key);
  }

  #words(): string {
    return `${JSON.stringify({ place, process: process.pid, beats: this.#beats })}\n`;
  }

  #make(path: string): boolean {
    try {
      writeFileSync(path, this.#words(), { flag: "wx" });
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw new LorantzError(`${path}: cannot claim the cell (${reasonOf(error)}).`);
    }
  }

  #isVoid(path: string): boolean {
    const text = textOf(path);
    if (text === undefined) return true;
    const owner = ownerOf(text);
    if (owner?.place === place && !isRunning(owner.process)) return true;
    const seen = this.#seen.get(path);
    if (seen?.text !== text) {
      this.#seen.set(path, { text, since: performance.now() });
      return false;
    }
    return performance.now() - seen.since > patience;
  }

  /** Removes a void claim, which one of several who find it void does. */
  #remove(path: string): void {
    const text = textOf(path);
    const aside = `${path}.${process.pid}.void`;
    try {
      renameSync(path, aside);
    } catch {
      return; // somebody was faster
    }
    // It was somebody's new claim, made since it was read.
    if (textOf(aside) !== text) renameSync(aside, path);
    else rmSync(aside, { force: true });
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function ownerOf(text: string): { readonly place: string; readonly process: number } | undefined {
  try {
    return JSON.parse(text) as { place: string; process: number }; // as `words` made it
  } catch {
    return undefined; // cut off by a kill
  }
}

/** Tells apart containers of one name that do not see each other's processes. */
function processSpace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
