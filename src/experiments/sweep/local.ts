import { LorantzError } from "../../base/errors.ts";
import type { Cell, Work } from "./cell.ts";
import { attempts, type Executor, type Hearing, LostError } from "./executor.ts";
import type { Folder } from "./folder.ts";
import type { Pool } from "./pool.ts";

/** Milliseconds between two looks at what goes on, and between two signs of life. */
const pace = { turn: 200, beat: 5000 };

/** Computes some cells at a time, by claims in the folder: as many such executors as one likes share out its cells. */
function byClaims(
  size: number,
  compute: (cell: Cell, hear: Hearing) => Promise<unknown>,
  close: () => void,
): Executor {
  return {
    async run(cells, folder, hear) {
      const waiting = [...cells];
      const running = new Map<string, Promise<void>>();
      let [broken, over] = [undefined as unknown, false];
      const start = async (cell: Cell): Promise<void> => {
        const began = performance.now();
        try {
          const result = await compute(cell, hear);
          if (!over) keep(cell, result, (performance.now() - began) / 1000);
        } catch (error) {
          if (over) return;
          if (error instanceof LorantzError) hear.failed(cell, error.message);
          else broken ??= error;
        } finally {
          folder.release(cell.key);
          running.delete(cell.key);
        }
      };
      const keep = (cell: Cell, result: unknown, seconds: number): void => {
        try {
          folder.write(cell, result, seconds);
        } catch (error) {
          broken ??= error; // there is no room for the next one either
          return;
        }
        hear.done(cell, "ran");
      };
      const beats = setInterval(() => folder.beat(), pace.beat);
      try {
        while (waiting.length > 0 || running.size > 0) {
          startSome(waiting, running, size, folder, hear, start);
          await Promise.race([...running.values(), pause(pace.turn)]);
          if (broken !== undefined) throw broken;
          await hear.turn();
        }
      } finally {
        clearInterval(beats);
        over = true;
        close();
        for (const key of running.keys()) folder.release(key);
      }
    },
  };
}

/** Starts cells from the front that nobody else is at, as long as there is room. */
function startSome(
  waiting: Cell[],
  running: Map<string, Promise<void>>,
  size: number,
  folder: Folder,
  hear: Hearing,
  start: (cell: Cell) => Promise<void>,
): void {
  for (let i = 0; i < waiting.length && running.size < size; ) {
    const cell = waiting[i]!;
    const taken = folder.take(cell.key);
    if (taken === "busy") i++;
    else waiting.splice(i, 1);
    if (taken === "done") hear.done(cell, "found");
    if (taken === "ours") running.set(cell.key, start(cell));
  }
}

/**
 * Computes cells in processes of this machine. A cell whose process is lost is tried again, twice.
 *
 * @example
 * await runCells(cells, local(new Pool({ module: "worker.js", args: [] }, 4)), new Folder("results"));
 */
export function local(pool: Pool): Executor {
  const compute = async (cell: Cell, hear: Hearing): Promise<unknown> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await pool.run(cell, (share, what) => hear.progress?.(cell, share, what));
      } catch (error) {
        if (!(error instanceof LostError)) throw error;
        if (attempt === attempts) throw new LorantzError(`${error.message}, ${attempts} times`);
      }
    }
  };
  return byClaims(pool.size, compute, () => pool.close());
}

/** Computes cells in this process, so many at a time. */
export function inProcess<T>(work: Work<T, unknown>, size = 1): Executor {
  return byClaims(
    size,
    (cell, hear) =>
      work(cell.task as T, async (done, total, what) => {
        hear.progress?.(cell, done / total, what);
        await hear.turn();
      }),
    () => undefined,
  );
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
