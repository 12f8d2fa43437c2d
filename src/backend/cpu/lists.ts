import type { entry } from "./pool-worker.ts";

// Runs of whole programs by one thread each.

export type Words = Readonly<Record<Exclude<keyof typeof entry, "words">, number>>;

/** A function of a kernel on some of its units, for workers and for this thread. */
export interface ListEntry {
  readonly words: Words;
  readonly run: (own: number) => void;
}

/** A run of a program by one thread: where the list of its functions lies, and the same for this thread. */
export interface List {
  readonly at: number;
  readonly run: (own: number) => void;
}
