import { availableParallelism } from "node:os";
import { serve } from "../experiments/sweep/pool.ts";
import { workAt } from "../experiments/sweep/queue.ts";
import { openStore } from "../experiments/sweep/store.ts";
import { interruptible } from "./interrupt.ts";
import { say } from "./print.ts";
import { poolOf } from "./sweep.ts";
import { sweepWork } from "./sweep-bench.ts";
import { optionsHelp, parseOptions, UsageError, usable, wholeNumber } from "./usage.ts";
import { codeVersion } from "./version.ts";

const options = {
  queue: {
    type: "string",
    value: "URL",
    help: "The queue, redis://HOST:PORT or postgres://USER@HOST:PORT/DATABASE",
  },
  workers: {
    type: "string",
    value: "N",
    help: "Processes that work side by side; default as many as there are cores",
  },
  idle: { type: "string", value: "SECONDS", help: "End after so long without work; default never" },
  pool: { type: "boolean", help: "", hidden: true },
  threads: { type: "string", value: "N", help: "", hidden: true },
} as const;

const help = `Usage: lorantz worker --queue URL [OPTIONS]

Works at the fine-tunings that lorantz sweep --queue URL puts into a queue, on any number of machines. Each finds the model and
the data under the paths that the sweep was begun with. Ctrl-C gives back what is being worked at.

Options:
${optionsHelp(options)}

Exit codes: 0 idle for as long as --idle says, 1 the work broke off, 2 wrong usage, 130 interrupted.
`;

/** The command `worker`; see its help. */
export async function worker(args: readonly string[]): Promise<number> {
  const given = parseOptions("worker", args, options, help);
  if (given.pool) {
    if (!process.connected)
      throw new UsageError("worker: --pool is for the processes that lorantz sweep and worker start.");
    const threads = wholeNumber("threads", given.threads, { min: 1, max: 64, otherwise: 1 });
    return serve(sweepWork(given.threads === undefined ? undefined : threads));
  }
  const { queue } = given;
  if (queue === undefined)
    throw new UsageError("worker: --queue URL is missing. It is what the sweep was begun with.");
  const size = wholeNumber("workers", given.workers, { min: 1, max: 256, otherwise: availableParallelism() });
  const idle = wholeNumber("idle", given.idle, { min: 1, max: 1e6, otherwise: 0 });
  const code = codeVersion();
  return interruptible(
    async (onProgress, progress) => {
      const store = await usable(() => openStore(queue));
      const note = (text: string) => {
        progress.end();
        say(`${text}\n`);
      };
      const working = await usable(() => workAt(store, poolOf(size), { code, note }));
      try {
        say(`Working at ${store.name} for lorantz ${code}, ${size} at a time.\n`);
        while (idle === 0 || working.idle < 1000 * idle) {
          await new Promise((resolve) => setTimeout(resolve, 200));
          await onProgress(0, 0, `${working.count} fine-tunings done`);
        }
        progress.end();
        say(`${working.count} fine-tunings done; nothing to do for ${idle} s.\n`);
        return 0;
      } finally {
        await working.close();
        await store.close();
      }
    },
    () => "what was being worked at is given back",
  );
}
