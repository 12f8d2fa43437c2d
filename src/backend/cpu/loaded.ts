import type { Run } from "./pool.ts";
import type { Words } from "./pool-worker.ts";
import type { WasmKernel } from "./wasm/kernel.ts";

/** A compiled module, shared by the kernels that have it: they may differ in how many units they run. */
export interface Compiled {
  readonly key: string;
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly functions: readonly Run[];
  /** Where the bytes lie for the workers; undefined while none needed them. */
  at: number | undefined;
  users: number;
}

export interface Loaded {
  /** What there is to know of a kernel to run it; its code is shared, and its text is made again for whoever asks. */
  readonly kernel: Pick<WasmKernel, "given" | "phases" | "scratch" | "imports">;
  readonly compiled: Compiled;
  /** What it runs, in order. */
  readonly turns: readonly Turn[];
}

/** A phase of a kernel on some of its units. */
export interface Turn {
  readonly phase: number;
  readonly first: number;
  readonly units: number;
  /** How far before the scratch memory that there is begins what would be there if there were as much as for all rounds. */
  readonly beyond: number;
}

/** What a kernel runs, in order: the phases of one round, then those of the next. */
export function turnsOf({ phases, scratch }: Pick<WasmKernel, "phases" | "scratch">): Turn[] {
  const { units: all, round = all } = phases[0]!; // a kernel has one at least
  const rounds = all === 0 ? 0 : Math.ceil(all / round);
  return Array.from({ length: rounds }, (_, i) =>
    phases.map(({ units, round = units }, phase) => ({
      phase,
      first: i * round,
      units: Math.min(round, units - i * round),
      beyond: i * scratch,
    })),
  ).flat();
}

/** A function of a kernel on some of its units, for workers and for this thread. */
export interface ListEntry {
  readonly words: Words;
  readonly run: (own: number) => void;
}

/** A run of a whole program by one thread: where the list of its functions lies, and the same for this thread. */
export interface List {
  readonly at: number;
  readonly run: (own: number) => void;
}
