// What a measured process says and is told: lines of JSON. It first says what its answer is, then how long each run took.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** Most memory that this process ever held, in bytes. */
function peak() {
  const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kilobytes) * 1024;
}

/** Answers a parent until it asks no more. `run` may give what it counts: a run is then measured by that. */
export async function serve({ answer, run, more }) {
  say({ answer, more });
  for await (const _ of createInterface({ input: process.stdin })) {
    const [cpu, start] = [process.cpuUsage(), performance.now()];
    await run();
    const { user, system } = process.cpuUsage(cpu);
    say({ ms: performance.now() - start, cpu: (user + system) / 1000, peak: peak() });
  }
  process.exit(0);
}
