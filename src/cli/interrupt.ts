import { readerGone, say, terminal } from "./print.ts";
import { Progress } from "./progress.ts";

/** Called after each unit of work; throws inside it when the user has interrupted. */
export type OnProgress = (done: number, total: number, what: string) => Promise<void>;

/** Signals that ask to end, and the exit codes that say so. */
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** As of a process that SIGPIPE ends. */
const nobodyReads = 141;

class Interrupted extends Error {
  readonly code: number;

  constructor(code: number) {
    super("interrupted");
    this.code = code;
  }
}

/**
 * Runs a job that shows its progress on stderr. It may be interrupted, and it ends when nobody reads any more what it
 * says; the exit code tells.
 *
 * @param left Says what an interrupted job leaves behind. Default: nothing.
 */
export async function interruptible(
  job: (onProgress: OnProgress, progress: Progress) => Promise<number>,
  left: () => string = () => "nothing was written",
): Promise<number> {
  const progress = new Progress(terminal);
  let asked: number | undefined;
  const listeners = Object.entries(signals).map(([signal, code]) => {
    const listener = () => {
      asked = code;
    };
    process.once(signal, listener);
    return [signal, listener] as const;
  });
  let turned = performance.now();
  try {
    return await job(async (done, total, what) => {
      // Signals are delivered only between turns of the event loop.
      if (performance.now() - turned > 50) {
        await new Promise((resolve) => setImmediate(resolve));
        turned = performance.now();
      }
      if (readerGone()) throw new Interrupted(nobodyReads);
      if (asked !== undefined) throw new Interrupted(asked);
      progress.update(done, total, what);
    }, progress);
  } catch (error) {
    progress.end();
    if (!(error instanceof Interrupted)) throw error;
    say(`Interrupted; ${left()}.\n`);
    return error.code;
  } finally {
    for (const [signal, listener] of listeners) process.removeListener(signal, listener);
  }
}
