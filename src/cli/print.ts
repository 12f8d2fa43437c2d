import { reasonOf } from "../base/files.ts";
import { visible } from "../base/text.ts";

// What commands say. Standard output carries results, standard error all else.

/** What went wrong with a stream: the first error of each. */
const broken: { stdout?: unknown; stderr?: unknown } = {};

function write(name: "stdout" | "stderr", text: string): void {
  try {
    process[name].write(text);
  } catch (error) {
    broken[name] ??= error; // some streams throw at once
  }
}

/** Writes results to standard output. */
export function print(text: string): void {
  write("stdout", visible(text));
}

/** Writes a message to standard error. */
export function say(text: string): void {
  write("stderr", visible(text));
}

/** Standard error for what rewrites a line of a terminal. */
export const terminal = {
  get isTTY(): boolean {
    return process.stderr.isTTY;
  },
  get columns(): number {
    return process.stderr.columns;
  },
  write: (text: string) => write("stderr", text),
};

/** Whether somebody who read what is written has gone, as `head` goes after its lines. */
export function readerGone(): boolean {
  return Object.values(broken).some((error) => (error as NodeJS.ErrnoException).code === "EPIPE");
}

/** From now on an error of a standard stream does not end the process: `ended` speaks of it. */
export function watchStreams(): void {
  for (const name of ["stdout", "stderr"] as const)
    process[name].on("error", (error) => {
      broken[name] ??= error;
    });
}

/**
 * The exit code of a command that has done its work with this one: results that could not be printed are a failure,
 * except where their reader has gone, who has seen what it wanted.
 */
export async function ended(code: number): Promise<number> {
  for (const name of ["stdout", "stderr"] as const)
    await new Promise<void>((resolve) => process[name].write("", () => resolve()));
  const { stdout } = broken;
  if (stdout === undefined || (stdout as NodeJS.ErrnoException).code === "EPIPE") return code;
  say(`lorantz: cannot write to standard output (${reasonOf(stdout)}).\n`);
  return code || 1;
}
