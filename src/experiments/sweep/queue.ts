import type { Job, Queue } from "bullmq";
import { LorantzError } from "../../base/errors.ts";
import type { Cell } from "./cell.ts";
import { attempts, type Executor, type Hearing, LostError } from "./executor.ts";
import type { Folder } from "./folder.ts";
import type { Pool } from "./pool.ts";
import { queueOf, type Store } from "./store.ts";

/** Where a version of the code says that it has a queue. */
const codes = "lorantz-codes";

/** Milliseconds between two looks at the queue, and after which it is said that nobody answers or works. */
const pace = { turn: 100, poll: 500, silent: 10_000 };

/** Cells that wait in the queue at a time: the rest stays with the coordinator. */
const mostWaiting = 256;

/** Milliseconds by which clocks may differ: locks of 30 s are renewed when half of them is left. */
const mostApart = 5000;

/** How long a queue keeps what was computed, in seconds: for coordinators that come back. */
const kept = { age: 7 * 24 * 3600 };

/** What a job comes to. */
interface Done {
  readonly result: unknown;
  /** By the worker's steady clock: those that tell the date differ between machines, and are set. */
  readonly seconds: number;
}

export interface QueuedOptions {
  readonly code: string;
  /** Says what whoever waits should know. */
  readonly note?: (text: string) => void;
}

/**
 * Has cells computed by workers at a queue. A job has the key of its cell, so that a cell is one job whoever asks for it, and
 * what is there from an earlier run is taken.
 */
export function queued(store: Store, { code, note = () => undefined }: QueuedOptions): Executor {
  return {
    async run(cells, folder, hear) {
      if (cells.length === 0) return;
      const queue = store.queue(queueOf(code));
      const round = new Round(queue, cells, folder, hear);
      let [looking, looked] = [undefined as Promise<void> | undefined, performance.now()];
      let [silent, alone, broken] = [false, false, undefined as unknown];
      const began = performance.now();
      try {
        announce(store, code).catch(() => undefined); // it helps people alone
        while (round.open) {
          looking ??= round
            .look()
            .then(() => {
              looked = performance.now();
              silent = false;
            })
            .catch((error: unknown) => {
              if (isFull(error) || error instanceof LorantzError) broken = error;
            })
            .then(() => pause(pace.poll))
            .finally(() => {
              looking = undefined;
            });
          await Promise.race([looking, pause(pace.turn)]);
          if (broken !== undefined) throw isFull(broken) ? full(store) : broken;
          await hear.turn();
          if (!silent && performance.now() - looked > pace.silent) {
            silent = true;
            note(`${store.name} does not answer; waiting for it. What has a result is kept.`);
          }
          if (!alone && !silent && !round.moved && performance.now() - began > pace.silent) {
            alone = true;
            if ((await queue.getWorkersCount()) === 0)
              note(
                `Nobody works at the queue of lorantz ${code}. Start: lorantz worker --queue ${store.name}`,
              );
          }
        }
      } finally {
        await Promise.race([queue.close(), pause(1000)]);
      }
    },
  };
}

/** The cells of a run of a coordinator: those that are still with it, and those in the queue. */
class Round {
  readonly #queue: Queue;
  readonly #folder: Folder;
  readonly #hear: Hearing;
  readonly #here: Cell[];
  readonly #there = new Map<string, Cell>();
  /** Whether any cell has been begun. */
  moved = false;

  constructor(queue: Queue, cells: readonly Cell[], folder: Folder, hear: Hearing) {
    this.#queue = queue;
    this.#here = [...cells];
    this.#folder = folder;
    this.#hear = hear;
  }

  /** Whether anything is left. */
  get open(): boolean {
    return this.#here.length > 0 || this.#there.size > 0;
  }

  /** Puts cells into the queue as far as there is room, and takes out of it what is done. */
  async look(): Promise<void> {
    const adding = this.#here.splice(0, mostWaiting - this.#there.size);
    for (const cell of adding) this.#there.set(cell.key, cell);
    const fresh = new Set(adding.map(({ key }) => key));
    await Promise.all([...this.#there.values()].map((cell) => this.#lookAt(cell, fresh.has(cell.key))));
  }

  async #lookAt(cell: Cell, fresh: boolean): Promise<void> {
    const { key } = cell;
    if (this.#folder.has(key)) return this.#end(cell, () => this.#hear.done(cell, "found"));
    let job = (await this.#queue.getJob(key)) as Job | undefined;
    if (job === undefined) {
      // New, or the queue has lost what it held.
      await this.#queue.add("cell", cell.task, {
        jobId: key,
        attempts, // at once: a delay ends by the clock of whoever looks
        removeOnComplete: kept,
        removeOnFail: kept,
      });
      return;
    }
    if (fresh && job.finishedOn && job.failedReason) {
      // It failed in an earlier run.
      await job.retry("failed", { resetAttemptsMade: true });
      job = undefined;
      return;
    }
    if (job.processedOn) this.moved = true;
    const { progress, failedReason, returnvalue, finishedOn } = job;
    if (!finishedOn) {
      if (typeof progress === "object" && "share" in progress)
        this.#hear.progress?.(cell, Number(progress.share), String((progress as { what?: unknown }).what));
      return;
    }
    if (failedReason && returnvalue === null) {
      const times = job.attemptsMade > 1 ? `, ${job.attemptsMade} times` : "";
      return this.#end(cell, () => this.#hear.failed(cell, `${failedReason}${times}`));
    }
    const { result, seconds } = returnvalue as Done; // as `workAt` made it
    this.#folder.write(cell, result, seconds);
    this.#end(cell, () => this.#hear.done(cell, "ran"));
  }

  #end({ key }: Cell, say: () => void): void {
    if (this.#there.delete(key)) say();
  }
}

export interface WorkOptions {
  readonly code: string;
  readonly note?: (text: string) => void;
  /** Milliseconds after which a worker of which nothing is heard has lost its cell. Default 30 s. */
  readonly lock?: number;
}

/** A worker at a queue, which computes its cells in the processes of a pool. */
export interface Working {
  /** Cells that it has computed. */
  readonly count: number;
  /** Milliseconds since it had something to do. */
  readonly idle: number;
  /** Gives back what it is at, and ends. */
  close(): Promise<void>;
}

/**
 * Works at the cells of a queue, as many at a time as the pool has processes. The processes do the work, so that this one can
 * tell the queue in time that it is alive.
 *
 * @throws LorantzError where the clock here is another one than that by which the queue tells who is alive.
 */
export async function workAt(
  store: Store,
  pool: Pool,
  { code, note = () => undefined, lock = 30_000 }: WorkOptions,
): Promise<Working> {
  const { UnrecoverableError, WaitingError } = store.bull;
  const ahead = await store.ahead();
  if (Math.abs(ahead) > mostApart)
    throw new LorantzError(
      `queue: the clock here is ${Math.round(Math.abs(ahead) / 1000)} s ${ahead > 0 ? "ahead of" : "behind"} that of ${store.name}, where workers tell by their clocks who is alive. Set it, as by NTP; ${mostApart / 1000} s are allowed.`,
    );
  // What was computed, for a queue that has lost it.
  const done = new Map<string, Done>();
  const state = { count: 0, busy: 0, since: performance.now(), closing: false };
  const worker = store.worker(
    queueOf(code),
    async (job, token) => {
      const key = job.id!;
      if (done.has(key)) return done.get(key);
      state.busy++;
      const began = performance.now();
      let said = began;
      try {
        const result = await pool.run({ key, task: job.data }, (share, what) => {
          if (performance.now() - said < 1000) return;
          said = performance.now();
          job.updateProgress({ share, what }).catch(() => undefined);
        });
        state.count++;
        const found = { result, seconds: (performance.now() - began) / 1000 };
        done.set(key, found);
        if (done.size > mostWaiting) done.delete(done.keys().next().value!);
        return found;
      } catch (error) {
        if (state.closing) {
          await job.moveToWait(token);
          throw new WaitingError();
        }
        if (error instanceof LostError || !(error instanceof LorantzError)) throw error;
        // It would come out so again.
        throw new UnrecoverableError(error.message);
      } finally {
        state.busy--;
        state.since = performance.now();
      }
    },
    {
      concurrency: pool.size,
      lockDuration: lock,
      stalledInterval: Math.ceil(lock / 6), // a lost cell is found by two looks after its lock has ended
      maxStalledCount: 8,
      drainDelay: 1,
    },
  );
  let lost = false;
  worker.on("error", (error) => {
    if (!lost) note(`${store.name}: ${error.message}; going on when it answers.`);
    lost = true;
  });
  worker.on("active", () => {
    lost = false;
  });
  await worker.waitUntilReady();
  for (const other of await othersAt(store, code)) note(other);
  return {
    get count() {
      return state.count;
    },
    get idle() {
      return state.busy > 0 ? 0 : performance.now() - state.since;
    },
    close: async () => {
      state.closing = true;
      pool.close();
      await Promise.race([worker.close(), pause(5000)]);
    },
  };
}

/** Says of a version of the code that it has a queue. */
async function announce(store: Store, code: string): Promise<void> {
  const list = store.queue(codes);
  try {
    await list.add("code", { code }, { jobId: queueOf(code) });
  } finally {
    await list.close();
  }
}

/** What waits at the queues of other versions of the code, in words. */
async function othersAt(store: Store, code: string): Promise<readonly string[]> {
  const list = store.queue(codes);
  try {
    const jobs = await list.getJobs(["waiting"]);
    const others = jobs
      .map(({ data }) => String((data as { code?: unknown }).code))
      .filter((other) => other !== code);
    const words = others.map(async (other) => {
      const queue = store.queue(queueOf(other));
      try {
        const { waiting = 0 } = await queue.getJobCounts("waiting");
        return waiting === 0
          ? []
          : [
              `${waiting} cells wait at ${store.name} for lorantz ${other}; this is ${code}, and leaves them alone. Use the same version on all machines.`,
            ];
      } finally {
        await queue.close();
      }
    });
    return (await Promise.all(words)).flat();
  } finally {
    await list.close();
  }
}

function isFull(error: unknown): boolean {
  return error instanceof Error && /^OOM |disk full|No space left/i.test(error.message);
}

function full(store: Store): LorantzError {
  return new LorantzError(
    `queue: ${store.name} is full, and takes no more cells. Give it more memory (maxmemory) or room; the same command goes on from what has a result.`,
  );
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
