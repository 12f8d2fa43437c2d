/** Words of the control block at the start of the memory, apart by cache lines where threads meet. */
export const control = {
  /** Counts jobs; workers wait for it to change. */
  generation: 0,
  stop: 1,
  /** Set by a worker that failed. */
  failed: 2,
  /** The job: which module (and where its bytes lie), which function of it, its arguments, its first unit and how many. */
  module: 4,
  bytes: 5,
  length: 6,
  phase: 7,
  args: 8,
  scratch: 9,
  units: 10,
  grain: 11,
  first: 14,
  /** Into how many shares the units are cut, and units of a share. */
  shares: 12,
  share: 13,
  /** How many workers are at the job; below zero while there is none to join. */
  gate: 32,
  /** The next unit of the first share that nobody has taken; that of each further share is `apart` words on. */
  next: 48,
  apart: 16,
} as const;

/** Most shares that a job is cut into. */
export const mostShares = 64;

/** The module of a job whose units are whole runs of programs: its arguments are the addresses of their lists of functions. */
export const listed = -1;

/**
 * Words of an entry of such a list, which begins with how many there are: of a function of a kernel, as in the control block.
 */
export const entry = {
  module: 0,
  bytes: 1,
  length: 2,
  phase: 3,
  args: 4,
  scratch: 5,
  first: 6,
  units: 7,
  words: 8,
} as const;

/** A function of a kernel on some of its units, as such words. Where the module's bytes lie is for workers that have not compiled it yet. */
export type Words = Readonly<Record<Exclude<keyof typeof entry, "words">, number>>;

/** Bytes of the control block. */
export const controlBytes = 4 * (control.next + control.apart * mostShares);

/** Added to the gate while it is closed. */
export const closed = -1_000_000;

/** Looks at the generation before a worker goes to sleep: some ten microseconds. */
const spins = 20_000;

/**
 * Runs the units of the thread's own share, then what is left of the others'. A kernel that runs again finds in the
 * thread's cache what it left there. Workers have it as text, so it uses nothing but its arguments.
 */
export function takeUnits(
  words: Int32Array<ArrayBufferLike>,
  c: typeof control,
  index: number,
  run: (begin: number, end: number) => void,
): void {
  const [shares, share, units, grain] = [words[c.shares]!, words[c.share]!, words[c.units]!, words[c.grain]!];
  const first = words[c.first]!;
  for (let i = 0; i < shares; i++) {
    const which = (index + i) % shares;
    const end = Math.min(units, (which + 1) * share);
    for (;;) {
      const unit = Atomics.add(words, c.next + c.apart * which, grain);
      if (unit >= end) break;
      run(first + unit, first + Math.min(unit + grain, end));
    }
  }
}

/**
 * What a worker runs, as a string: bundlers then need to know nothing of it, and Node and browsers run the same.
 * It never returns to its event loop; it sleeps on the generation and takes part in jobs while the gate is open.
 */
export const workerSource = `
const c = ${JSON.stringify(control)};
const e = ${JSON.stringify(entry)};
const takeUnits = ${takeUnits};
function work({ memory, own, index }) {
  const words = new Int32Array(memory.buffer, 0, ${controlBytes / 4});
  const modules = new Map();
  const instantiate = (key, at, length) => {
    let functions = modules.get(key);
    if (!functions) {
      if (modules.size >= 2000) modules.clear();
      const bytes = new Uint8Array(memory.buffer, at >>> 0, length).slice();
      try {
        const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
        functions = Object.values(instance.exports);
      } catch {
        return undefined; // no memory: others do the work
      }
      modules.set(key, functions);
    }
    return functions;
  };
  const runOne = () => {
    const functions = instantiate(words[c.module], words[c.bytes], words[c.length]);
    const [phase, args, scratch] = [words[c.phase], words[c.args], words[c.scratch]];
    return functions && ((begin, end) => functions[phase](begin, end, args, scratch, own));
  };
  const runListed = () => {
    const all = new Int32Array(memory.buffer);
    const lists = Array.from({ length: words[c.units] }, (_, i) => {
      const at = all[(words[c.args] >>> 2) + i] >>> 2;
      return Array.from({ length: all[at] }, (_, j) => {
        const of = (field) => all[at + 1 + j * e.words + field];
        const functions = instantiate(of(e.module), of(e.bytes), of(e.length));
        const [first, args, scratch] = [of(e.first), of(e.args), of(e.scratch)];
        return functions && (() => functions[of(e.phase)](first, first + of(e.units), args, scratch, own));
      });
    });
    if (lists.some((list) => list.includes(undefined))) return undefined;
    return (begin, end) => {
      for (let i = begin; i < end; i++) for (const run of lists[i]) run();
    };
  };
  let seen = 0;
  for (;;) {
    for (let i = 0; Atomics.load(words, c.generation) === seen; i++) {
      if (i > ${spins}) Atomics.wait(words, c.generation, seen);
    }
    seen = Atomics.load(words, c.generation);
    if (Atomics.load(words, c.stop)) return;
    if (Atomics.add(words, c.gate, 1) >= 0) {
      try {
        const run = words[c.module] === ${listed} ? runListed() : runOne();
        if (run) takeUnits(words, c, index, run);
      } catch {
        Atomics.store(words, c.failed, 1);
      }
    }
    Atomics.sub(words, c.gate, 1);
    Atomics.notify(words, c.gate);
  }
}
if (typeof require === "function") {
  const { parentPort, workerData } = require("node:worker_threads");
  parentPort.postMessage("ready");
  work(workerData);
} else {
  onmessage = ({ data }) => {
    postMessage("ready");
    work(data);
  };
}
`;
