import { DeviceError, internal } from "../../base/errors.ts";
import {
  closed,
  control,
  controlBytes,
  mostShares,
  takeUnits,
  type Words,
  workerSource,
} from "./pool-worker.ts";

/** A part of a kernel to be run, as words of the control block. */
export interface Job extends Words {
  /** Units taken at a time. */
  readonly grain: number;
}

/** A function of a kernel in this thread. */
export type Run = (begin: number, end: number, args: number, scratch: number, own: number) => void;

interface Handle {
  terminate(): void;
}

type Builtin = (name: string) => unknown;

const builtin = (globalThis as { process?: { getBuiltinModule?: Builtin } }).process?.getBuiltinModule;

/** How many threads are worth having: the processors, at most 8. */
export function defaultThreads(): number {
  const os = builtin?.("node:os") as typeof import("node:os") | undefined;
  const cores = os?.availableParallelism?.() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
  return Math.max(1, Math.min(cores, 8));
}

/**
 * Workers over one shared memory. The calling thread opens a job and takes units from it like the others; when
 * none are left it closes the gate and waits for those who had joined. Workers that are late, or still starting,
 * are not waited for. They never keep a process alive. One that joined and does not come back, since something ended
 * it, leaves its part of the job undone: the pool is lost.
 */
export class Pool {
  readonly #memory: WebAssembly.Memory;
  readonly #words: Int32Array<ArrayBufferLike>;
  /** Scratch memory of each worker. */
  readonly #own: readonly number[];
  /** Those that are there; until `start` has resolved nobody knows. */
  #workers: readonly Handle[] | undefined;
  #started: Promise<void> | undefined;
  readonly #patience: number;
  /** Resolves with the reason when the pool is lost. */
  readonly lost: Promise<string>;
  #lose: (reason: string) => void = () => {};

  /**
   * @param own Addresses of the workers' scratch memory: as many workers.
   * @param patience Milliseconds that a worker may take for what it has begun when nothing else is left.
   */
  constructor(memory: WebAssembly.Memory, own: readonly number[], patience = 60_000) {
    this.lost = new Promise((resolve) => {
      this.#lose = resolve;
    });
    this.#patience = patience;
    this.#memory = memory;
    this.#own = own;
    this.#words = new Int32Array(memory.buffer, 0, controlBytes / 4);
    this.#words[control.gate] = closed;
  }

  /** Threads that run kernels, the calling one included: those asked for, and after `start` those that are there. */
  get threads(): number {
    return (this.#workers ?? this.#own).length + 1;
  }

  /** Starts the workers, once. Resolves when they are there, or are not to be had. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const workers = await Promise.all(
      this.#own.map((own, i) => spawn({ memory: this.#memory, own, index: i + 1 })),
    );
    this.#workers = workers.filter((worker) => worker !== undefined);
    if (Atomics.load(this.#words, control.stop)) this.#terminate(); // disposed of meanwhile
  }

  /** Runs all units of a job; returns when they are done. */
  run(job: Job, run: Run, own: number): void {
    const words = this.#words;
    const { first, units, args, scratch } = job;
    if (!this.#workers?.length) {
      run(first, first + units, args, scratch, own);
      return;
    }
    for (const name in job) words[control[name as keyof Job]] = job[name as keyof Job];
    const shares = Math.min(this.threads, mostShares);
    const share = Math.ceil(units / shares);
    words[control.shares] = shares;
    words[control.share] = share;
    for (let i = 0; i < shares; i++) Atomics.store(words, control.next + control.apart * i, i * share);
    Atomics.add(words, control.gate, -closed);
    Atomics.add(words, control.generation, 1);
    Atomics.notify(words, control.generation);
    try {
      takeUnits(words, control, 0, (begin, end) => run(begin, end, args, scratch, own));
    } finally {
      Atomics.add(words, control.gate, closed);
      this.#join();
    }
    if (Atomics.exchange(words, control.failed, 0)) internal("a worker of the CPU backend failed");
  }

  /** Waits until no worker is at the job. */
  #join(): void {
    const words = this.#words;
    for (let spins = 0; spins < 100_000; spins++) {
      if (Atomics.load(words, control.gate) === closed) return;
    }
    let [waited, last] = [0, performance.now()];
    for (;;) {
      const gate = Atomics.load(words, control.gate);
      if (gate === closed) return;
      // Pages may not block their main thread: there it is spinning to the end.
      if (builtin) Atomics.wait(words, control.gate, gate, 1);
      const now = performance.now();
      waited += Math.min(now - last, 10); // more is time in which the process was stopped
      last = now;
      if (waited > this.#patience) this.#giveUp(gate - closed);
    }
  }

  #giveUp(workers: number): never {
    const reason = `${workers === 1 ? "a worker thread" : `${workers} worker threads`} did not come back from a kernel in ${this.#patience / 1000} s; something ended it, or the machine is overloaded`;
    this.#terminate();
    this.#lose(reason);
    throw new DeviceError(
      `cpu: ${reason}. What the kernel wrote is not whole. Dispose of the device and call init() again, with { threads: 1 } to do without workers.`,
    );
  }

  dispose(): void {
    Atomics.store(this.#words, control.stop, 1);
    Atomics.add(this.#words, control.generation, 1);
    Atomics.notify(this.#words, control.generation);
    this.#terminate();
  }

  #terminate(): void {
    for (const worker of this.#workers ?? []) worker.terminate();
    this.#workers &&= [];
  }
}

interface Start {
  readonly memory: WebAssembly.Memory;
  readonly own: number;
  /** The number of the thread; the calling one is 0. */
  readonly index: number;
}

/** Milliseconds that a worker may take to start: one that has not answered by then is done without. */
const startPatience = 30_000;

/** A running worker, or undefined where there are none, or it ends before it is ready. */
function spawn(start: Start): Promise<Handle | undefined> {
  const threads = builtin?.("node:worker_threads") as typeof import("node:worker_threads") | undefined;
  return new Promise((resolve) => {
    let handle: Handle | undefined;
    const settle = (ready: boolean) => {
      clearTimeout(timer);
      if (!ready) handle?.terminate();
      resolve(ready ? handle : undefined);
    };
    const timer = setTimeout(settle, startPatience, false);
    try {
      if (threads) {
        const worker = new threads.Worker(workerSource, { eval: true, execArgv: [], workerData: start });
        handle = { terminate: () => void worker.terminate() };
        worker.once("error", () => settle(false));
        worker.once("exit", () => settle(false));
        // Kept referenced until it answers: a process that waits for nothing else would end here.
        worker.once("message", () => {
          worker.unref();
          settle(true);
        });
        return;
      }
      const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
      const worker = new Worker(url);
      const answer = (ready: boolean) => {
        URL.revokeObjectURL(url);
        settle(ready);
      };
      handle = worker;
      worker.onerror = () => answer(false); // a policy forbids blobs as workers
      worker.onmessage = () => answer(true);
      worker.postMessage(start);
    } catch {
      settle(false); // no workers at all: one thread then
    }
  });
}
