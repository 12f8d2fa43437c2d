/** Words of the control block at the start of the memory, apart by cache lines where threads meet. */
export const control = {
  /** Counts jobs; workers wait for it to change. */
  generation: 0,
  stop: 1,
  /** Set by a worker that failed. */
  failed: 2,
  /** The job: which module (and where its bytes lie), which function of it, its arguments, how many units. */
  module: 4,
  bytes: 5,
  length: 6,
  phase: 7,
  args: 8,
  scratch: 9,
  units: 10,
  grain: 11,
  /** How many workers are at the job; below zero while there is none to join. */
  gate: 32,
  /** The next unit that nobody has taken. */
  next: 48,
} as const;

/** Bytes of the control block. */
export const controlBytes = 256;

/** Added to the gate while it is closed. */
export const closed = -1_000_000;

/** Looks at the generation before a worker goes to sleep: some ten microseconds. */
const spins = 20_000;

/**
 * What a worker runs, as a string: bundlers then need to know nothing of it, and Node and browsers run the same.
 * It never returns to its event loop; it sleeps on the generation and takes part in jobs while the gate is open.
 */
export const workerSource = `
const c = ${JSON.stringify(control)};
function work({ memory, own }) {
  const words = new Int32Array(memory.buffer, 0, ${controlBytes / 4});
  const modules = new Map();
  const instantiate = (key) => {
    let functions = modules.get(key);
    if (!functions) {
      if (modules.size >= 2000) modules.clear();
      const at = words[c.bytes] >>> 0;
      const bytes = new Uint8Array(memory.buffer, at, words[c.length]).slice();
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
      functions = Object.values(instance.exports);
      modules.set(key, functions);
    }
    return functions;
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
        const run = instantiate(words[c.module])[words[c.phase]];
        const units = words[c.units];
        const grain = words[c.grain];
        for (;;) {
          const unit = Atomics.add(words, c.next, grain);
          if (unit >= units) break;
          run(unit, Math.min(unit + grain, units), words[c.args], words[c.scratch], own);
        }
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
