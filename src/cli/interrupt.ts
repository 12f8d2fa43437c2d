import { Progress } from "./progress.ts";

/** Called after each unit of work; throws inside it when the user has interrupted. */
export type OnProgress = (done: number, total: number, what: string) => Promise<void>;

class Interrupted extends Error {}

/**
 * Runs a job that shows its progress on stderr and that the user may interrupt: then `discard` is called, as for
 * any error, and the exit code is 130.
 */
export async function interruptible(
  job: (onProgress: OnProgress, progress: Progress) => Promise<number>,
  discard: () => void = () => {},
): Promise<number> {
  const progress = new Progress(process.stderr);
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
  };
  let turned = performance.now();
  process.once("SIGINT", interrupt);
  try {
    return await job(async (done, total, what) => {
      // Signals are delivered only between turns of the event loop.
      if (performance.now() - turned > 50) {
        await new Promise((resolve) => setImmediate(resolve));
        turned = performance.now();
      }
      if (interrupted) throw new Interrupted();
      progress.update(done, total, what);
    }, progress);
  } catch (error) {
    progress.end();
    discard();
    if (!(error instanceof Interrupted)) throw error;
    process.stderr.write("Interrupted; nothing was written.\n");
    return 130;
  } finally {
    process.removeListener("SIGINT", interrupt);
  }
}
