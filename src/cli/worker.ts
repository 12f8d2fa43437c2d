import { serve } from "../experiments/sweep/pool.ts";
import { print } from "./print.ts";
import { sweepWork } from "./sweep-bench.ts";
import { optionsHelp, parseOptions, UsageError, wholeNumber } from "./usage.ts";

const options = {
  pool: { type: "boolean", help: "", hidden: true },
  threads: { type: "string", value: "N", help: "", hidden: true },
  help: { type: "boolean", short: "h", help: "This text" },
} as const;

const help = `Usage: lorantz worker [OPTIONS]

Options:
${optionsHelp(options)}
`;

/** The command `worker`; see its help. */
export async function worker(args: readonly string[]): Promise<number> {
  const given = parseOptions("worker", args, options);
  if (given.help) {
    print(help);
    return 0;
  }
  if (given.pool) {
    if (!process.connected)
      throw new UsageError("worker: --pool is what lorantz sweep starts its processes with.");
    const threads = wholeNumber("threads", given.threads, { min: 1, max: 64, otherwise: 1 });
    return serve(sweepWork(given.threads === undefined ? undefined : threads));
  }
  return 2;
}
