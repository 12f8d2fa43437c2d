import { LorantzError } from "../../base/errors.ts";
import type { Cell } from "./cell.ts";
import type { Folder } from "./folder.ts";

/** Who hears how the cells of a run fare. */
export interface Hearing {
  /** Called several times a second; throws to end the run. */
  readonly turn: () => Promise<void>;
  /** A cell has a result in the folder; `how` it got there: computed for this run, or by somebody else. */
  readonly done: (cell: Cell, how: "ran" | "found") => void;
  /** A cell has none and will get none in this run. */
  readonly failed: (cell: Cell, reason: string) => void;
  /** How far a cell is, from 0 to 1. */
  readonly progress?: (cell: Cell, share: number, what: string) => void;
}

/**
 * Gets cells computed. Once `run` resolves, each of them was reported once: as done, with its result in the folder, or as
 * failed. It may be killed at any moment and started again.
 */
export interface Executor {
  run(cells: readonly Cell[], folder: Folder, hear: Hearing): Promise<void>;
}

/** What came of a run. */
export interface Ran {
  readonly ran: number;
  /** Computed by others meanwhile, or there before. */
  readonly found: number;
  readonly failed: readonly { readonly cell: Cell; readonly reason: string }[];
}

/**
 * Sees to it that cells have results in a folder: those that have one already are left alone, and of equal keys one is
 * computed.
 */
export async function runCells(
  cells: readonly Cell[],
  executor: Executor,
  folder: Folder,
  hear: Partial<Hearing> = {},
): Promise<Ran> {
  const different = [...new Map(cells.map((cell) => [cell.key, cell])).values()];
  const waiting = different.filter(({ key }) => !folder.has(key));
  const failed: { readonly cell: Cell; readonly reason: string }[] = [];
  let [ran, found] = [0, different.length - waiting.length];
  await executor.run(waiting, folder, {
    turn: async () => hear.turn?.(),
    progress: (cell, share, what) => hear.progress?.(cell, share, what),
    done: (cell, how) => {
      if (how === "ran") ran++;
      else found++;
      hear.done?.(cell, how);
    },
    failed: (cell, reason) => {
      failed.push({ cell, reason });
      hear.failed?.(cell, reason);
    },
  });
  return { ran, found, failed };
}

/** A process that worked at a cell is gone: the cell may be tried again. */
export class LostError extends LorantzError {
  override readonly name = "LostError";
}

/** How often a cell is tried whose process is lost. */
export const attempts = 3;
