import { WasmBuffer } from "./buffer.ts";
import type { List, Loaded, Turn } from "./loaded.ts";
import type { Memory } from "./memory.ts";
import { Modules, supportsVectors } from "./modules.ts";
import { defaultThreads, Pool } from "./pool.ts";
import { listed } from "./pool-worker.ts";
import { turn as atATime, joining } from "./wasm/heuristics.ts";
import { threadScratch } from "./wasm/matmul/schedule.ts";

export interface RunnerOptions {
  readonly threads?: number | undefined;
  /** Fused multiply-add; by default where the platform has it. */
  readonly relaxed?: boolean | undefined;
  /** Nanoseconds of work from which threads share a kernel; less than a worker needs to join makes sense in tests only. */
  readonly worthSharing?: number | undefined;
}

/** Runs kernels: on this thread, or on all of a pool. */
export class Runner {
  readonly memory: Memory;
  readonly modules: Modules;
  readonly lost: Promise<string>;
  readonly #pool: Pool | undefined;
  readonly #worthSharing: number;
  /** Scratch memory of this thread. */
  readonly #own: number;
  #scratch: WasmBuffer | undefined;

  constructor(
    memory: Memory,
    { threads = defaultThreads(), relaxed, worthSharing = joining }: RunnerOptions,
  ) {
    this.memory = memory;
    this.modules = new Modules(memory, relaxed ?? supportsVectors("f32x4.relaxed_madd"));
    this.#worthSharing = worthSharing;
    const scratch = Array.from({ length: memory.shared ? threads : 1 }, () => memory.allocate(threadScratch));
    this.#own = scratch[0]!;
    if (scratch.length > 1) this.#pool = new Pool(memory.memory, scratch.slice(1));
    this.lost = this.#pool?.lost ?? new Promise(() => {});
  }

  get threads(): number {
    return this.#pool?.threads ?? 1;
  }

  /** Starts the workers if one of these is worth sharing. */
  async expect(phases: Loaded["kernel"]["phases"]): Promise<void> {
    if (phases.some(({ units, cost }) => units > 1 && units * cost > this.#worthSharing))
      await this.#pool?.start();
  }

  /** Runs one kernel whose arguments lie at `args`. */
  run(loaded: Loaded, args: number): void {
    const { kernel, turns } = loaded;
    const shared = kernel.scratch > 0 ? this.#scratchOf(kernel.scratch) : 0;
    for (const turn of turns) this.#runTurn(loaded, turn, args, shared - turn.beyond);
  }

  #runTurn({ kernel, compiled }: Loaded, turn: Turn, args: number, scratch: number): void {
    const { phase, first, units } = turn;
    const { cost } = kernel.phases[phase]!;
    const run = compiled.functions[phase]!;
    if (!this.#pool || units === 1 || units * cost < this.#worthSharing || kernel.imports.length > 0) {
      run(first, first + units, args, scratch, this.#own);
      return;
    }
    const fair = Math.ceil(units / (4 * this.#pool.threads));
    const grain = Math.max(1, Math.min(fair, Math.ceil(atATime / cost)));
    const job = { ...this.modules.codeOf(compiled), phase, args, scratch, first, units, grain };
    this.#pool.run(job, run, this.#own);
  }

  /** Runs whole programs, a thread each. */
  runLists(runs: readonly List[]): void {
    void this.#pool!.start(); // until it has, this thread does all of it
    const table = this.memory.allocate(4 * runs.length);
    try {
      runs.forEach(({ at }, i) => {
        this.memory.views.uint32[table / 4 + i] = at;
      });
      const none = { bytes: 0, length: 0, phase: 0, scratch: 0, first: 0 };
      this.#pool!.run(
        { ...none, module: listed, args: table, units: runs.length, grain: 1 },
        (begin, end) => {
          for (const { run } of runs.slice(begin, end)) run(this.#own);
        },
        this.#own,
      );
    } finally {
      this.memory.free(table);
    }
  }

  /** Scratch memory that threads share, kept at the largest size that was wanted. */
  #scratchOf(bytes: number): number {
    if (!this.#scratch || this.#scratch.bytes < bytes) {
      if (this.#scratch) this.memory.free(this.#scratch.at);
      this.#scratch = undefined;
      this.#scratch = new WasmBuffer(this.memory.allocate(bytes), bytes);
    }
    return this.#scratch.at;
  }

  dispose(): void {
    this.#pool?.dispose();
    this.modules.clear();
  }
}
