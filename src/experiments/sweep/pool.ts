import { type ChildProcess, fork } from "node:child_process";
import { LorantzError } from "../../base/errors.ts";
import type { Cell, OnProgress, Work } from "./cell.ts";
import { LostError } from "./executor.ts";

/** How a process that computes cells is started: a module that calls `serve`. */
export interface Program {
  readonly module: string;
  readonly args: readonly string[];
  readonly env?: { readonly [name: string]: string };
}

type Answer =
  | { readonly kind: "result"; readonly result: unknown }
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "progress"; readonly share: number; readonly what: string };

interface Member {
  readonly child: ChildProcess;
  busy: boolean;
}

/** The pool was closed while a cell was computed: nobody waits for it any more. */
class ClosedError extends Error {}

/** Processes that compute cells, started when they are needed. They end with the process that has them. */
export class Pool {
  readonly size: number;
  readonly #program: Program;
  #members: Member[] = [];
  #closed = false;

  constructor(program: Program, size: number) {
    this.#program = program;
    this.size = size;
  }

  /**
   * Computes a cell in a process that is free; no more than `size` at a time.
   *
   * @throws LostError if the process ends before it answers; LorantzError for what the work throws; another error where the pool
   *   was closed.
   */
  run(cell: Cell, onProgress?: (share: number, what: string) => void): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ClosedError("the processes were ended"));
    const member = this.#members.find(({ busy }) => !busy) ?? this.#start();
    const { child } = member;
    member.busy = true;
    return new Promise((resolve, reject) => {
      const ended = (code: number | null, signal: string | null) => {
        this.#members = this.#members.filter((other) => other !== member);
        settle();
        const how = signal ?? `exit code ${code ?? "unknown"}`;
        reject(
          this.#closed
            ? new ClosedError("the processes were ended")
            : new LostError(`the process that worked at it ended (${how})`),
        );
      };
      const failed = (error: Error) => {
        child.kill("SIGKILL");
        ended(null, error.message);
      };
      const answered = (answer: Answer) => {
        if (answer.kind === "progress") return onProgress?.(answer.share, answer.what);
        settle();
        if (answer.kind === "result") resolve(answer.result);
        else reject(new LorantzError(answer.message));
      };
      const settle = () => {
        member.busy = false;
        child.off("exit", ended).off("error", failed).off("message", answered);
      };
      child.on("exit", ended).on("error", failed).on("message", answered);
      child.send(cell, (error) => {
        if (error && member.busy) failed(error);
      });
    });
  }

  /** Ends all processes, whatever they are at. */
  close(): void {
    this.#closed = true;
    for (const { child } of this.#members) child.kill("SIGKILL");
    this.#members = [];
  }

  #start(): Member {
    const { module, args, env } = this.#program;
    const child = fork(module, [...args], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { ...process.env, ...env },
    });
    const member = { child, busy: false };
    this.#members.push(member);
    return member;
  }
}

/** Makes this process one of a pool: computes the cells that it is sent, and ends when whoever sends them is gone. */
export function serve<T, R>(work: Work<T, R>): Promise<never> {
  const answer = (message: Answer) =>
    new Promise<void>((resolve) => {
      if (process.connected) process.send!(message, undefined, undefined, () => resolve());
      else resolve();
    });
  // A terminal sends signals to all; the one that has the pool says what becomes of this one.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => undefined);
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ task }: Cell<T>) => {
    let turned = performance.now();
    const onProgress: OnProgress = async (done, total, what) => {
      if (performance.now() - turned < 100) return;
      // Whether the other end is still there shows between turns of the event loop only.
      await new Promise((resolve) => setImmediate(resolve));
      turned = performance.now();
      await answer({ kind: "progress", share: done / total, what });
    };
    try {
      const result = await work(task, onProgress);
      await answer({ kind: "result", result });
    } catch (error) {
      const foreseen = error instanceof LorantzError && !error.message.startsWith("internal:");
      const message = error instanceof Error ? (foreseen ? error.message : error.stack) : String(error);
      await answer({ kind: "error", message: message ?? "" });
    }
  });
  return new Promise(() => undefined);
}
