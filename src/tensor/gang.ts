import { checkArgument, field, functionOf } from "../base/arguments.ts";
import type { Loaded } from "../runtime/device.ts";
import { type Begun, begin, type Call, load, run } from "./trace.ts";

/** Milliseconds that those who wait give the others: enough for a batch to be made, little beside a step. */
const patience = 20;

const listOfTasks = field<readonly (() => Promise<unknown>)[]>(
  "a list of functions that give promises, [() => run(a), () => run(b)]",
  (value) => Array.isArray(value) && value.every((task) => typeof task === "function"),
);

/** A call that waits for others. */
interface Waiting {
  readonly call: Call;
  readonly resolve: (result: ReturnType<Begun["finish"]>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Tasks whose compiled functions run together, such as trainings of one model by several recipes. A compiled function that
 * has the gang waits until all its tasks are at a call, or a moment if some are at something else; then all that wait run
 * beside each other. On the CPU a thread takes each, where programs are made of kernels so short that threads would lose more
 * by sharing them. On WebGPU calls of one program become one dispatch of each kernel for all of them: the kernels for it are made when
 * they meet for the eighth time, are tried beside the single ones, and are used if all bits are the same; and if the intermediates of
 * all take no more than 256 MB.
 *
 * Which calls run together decides how long they take and nothing else: each gives the very bits that it gives alone, since
 * it is the same code on a memory of its own. What calls only read, such as a frozen base, is held once.
 *
 * @example
 * const gang = new Gang();
 * const step = compile((w: Tensor, rate: Tensor<"number">) => w.sub(w.mul(rate)), { donate: [0], gang });
 * const trained = await gang.all(
 *   [0.1, 0.2].map((rate) => async () => {
 *     let w = ones([4]);
 *     for (let i = 0; i < 3; i++) w = await step(w, rate);
 *     return w;
 *   }),
 * );
 */
export class Gang {
  #tasks = 0;
  #waiting: Waiting[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Runs tasks at a time, and gives what each resolves to, in order. One that throws stops no other: when all have ended, the
   * error of the first that threw is thrown.
   *
   * @throws ValueError for what is no list of functions.
   */
  async all<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
    checkArgument("Gang.all", "the tasks", tasks, listOfTasks);
    this.#tasks += tasks.length; // nobody goes on before all are there
    const ends = await Promise.allSettled(tasks.map((task) => this.#ended(task)));
    return ends.map((end) => {
      if (end.status === "rejected") throw end.reason;
      return end.value;
    });
  }

  /** Runs one more task beside those that are there, and gives what it resolves to. */
  run<T>(task: () => Promise<T>): Promise<T> {
    checkArgument("Gang.run", "the task", task, functionOf("a function that gives a promise, () => run(a)"));
    this.#tasks++;
    return this.#ended(task);
  }

  async #ended<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task();
    } finally {
      this.#tasks--;
      this.#look();
    }
  }

  /** @internal Runs a call, with others if there are any. */
  async meet(call: Call): Promise<ReturnType<Begun["finish"]>> {
    if (this.#tasks < 2 || !call.device.backend.together) return run(call, await load(call));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      this.#look();
    });
  }

  /** Goes on if nobody is missing, or nobody came for a while. */
  #look(): void {
    clearTimeout(this.#timer);
    if (this.#waiting.length === 0) return;
    if (this.#waiting.length >= this.#tasks) void this.#go();
    else this.#timer = setTimeout(() => void this.#go(), patience);
  }

  async #go(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    // They were loaded before they came here; a program that was dropped meanwhile is loaded again.
    const loaded = await Promise.allSettled(waiting.map(({ call }) => load(call)));
    const ready: { readonly loaded: Loaded; readonly begun: Begun; readonly waiting: Waiting }[] = [];
    for (const [i, each] of waiting.entries()) {
      try {
        const end = loaded[i]!;
        if (end.status === "rejected") throw end.reason;
        ready.push({ loaded: end.value, begun: begin(each.call, end.value), waiting: each });
      } catch (error) {
        each.reject(error);
      }
    }
    const devices = new Set(ready.map(({ waiting: { call } }) => call.device));
    for (const device of devices) {
      const own = ready.filter(({ waiting: { call } }) => call.device === device);
      try {
        const more = device.together(own.map(({ loaded, begun }) => [loaded, begun.args] as const));
        if (more) await more;
        for (const { begun, waiting } of own) waiting.resolve(begun.finish());
      } catch (error) {
        for (const { waiting } of own) waiting.reject(error);
      }
    }
  }
}
