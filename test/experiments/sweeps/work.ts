import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { LorantzError } from "../../../src/base/errors.ts";
import { type Cell, keyOf, type Work } from "../../../src/experiments/sweep/cell.ts";

// Work for the conformance tests of executors: it writes down when it begins and ends.

export interface Task {
  readonly number: number;
  /** What happens on the way: nothing, an error, the end of the process, the end of the process the first time. */
  readonly fate: "ends" | "throws" | "dies" | "dies once";
  readonly milliseconds: number;
  /** The file that it writes to. */
  readonly log: string;
}

export const work: Work<Task, { readonly square: number }> = async (task, onProgress) => {
  const { number, fate, milliseconds, log } = task;
  appendFileSync(log, `begin ${keyOf(task)}\n`);
  const end = performance.now() + milliseconds;
  while (performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await onProgress(performance.now() - end + milliseconds, milliseconds, `number ${number}`);
  }
  if (fate === "throws") throw new LorantzError(`number ${number} cannot be squared`);
  const marker = `${log}.${number}`;
  if (fate === "dies" || (fate === "dies once" && !existsSync(marker))) {
    writeFileSync(marker, "");
    process.kill(process.pid, "SIGKILL");
    await new Promise(() => undefined);
  }
  appendFileSync(log, `end ${keyOf(task)}\n`);
  return { square: number ** 2 };
};

export function cellsOf(
  log: string,
  count: number,
  options: Partial<Pick<Task, "milliseconds">> & { readonly fates?: readonly Task["fate"][] } = {},
): Cell<Task>[] {
  const { milliseconds = 5, fates = [] } = options;
  return Array.from({ length: count }, (_, number) => {
    const task: Task = { number, fate: fates[number] ?? "ends", milliseconds, log };
    return { key: keyOf(task), task };
  });
}
