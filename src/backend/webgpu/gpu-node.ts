// The `#gpu` module of Node: WebGPU is Dawn, from the optional package `webgpu`, loaded at the first call. Its
// twin for browsers is gpu-web.ts.
//
// Lifetime, as measured with webgpu 0.6.2. Dawn keeps the process alive only while a promise of its own is
// pending (`mapAsync`, `onSubmittedWorkDone`, ...); an undestroyed device or an instance that somebody holds
// does not. A device whose instance was collected crashes the process, so the instance stays referenced here
// until the process ends and there is nothing to release. A buffer or device that is collected while it is
// being mapped rejects the map with AbortError: whoever maps must hold both.
import { readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname } from "node:path";
import { cacheFolder, makeFolders } from "../../base/files.ts";
import type { NoGpu, OpenGpu } from "./gpu-web.ts";

/** Held for the life of the process. */
let instance: GPU | undefined;

/** Dawn offers subgroup matrices only to whom asks for what is experimental. */
const flags = ["enable-dawn-features=allow_unsafe_apis"];

export async function openGpu(): Promise<OpenGpu | NoGpu> {
  let dawn: typeof import("webgpu");
  try {
    dawn = await import("webgpu");
  } catch (error) {
    return { reason: loadFailure(error) };
  }
  if (instance === undefined) {
    // Mesa's drivers look for it when they start, and a bare container has none.
    if (process.platform === "linux") process.env.XDG_RUNTIME_DIR ??= tmpdir();
    installGlobals(dawn.globals);
    instance = dawn.create(flags);
  }
  return { gpu: instance, wait };
}

function loadFailure(error: unknown): string {
  const missing = error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
  if (missing) return "the package webgpu is not installed: run `npm install webgpu`";
  return `the package webgpu does not load on this ${process.platform}-${process.arch}: ${error}`;
}

/** GPUBufferUsage, GPUMapMode and the like, as a browser has them. What is there already stays. */
function installGlobals(globals: object): void {
  for (const [name, value] of Object.entries(globals)) {
    if (name in globalThis) continue;
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
}

// While a promise of Dawn is pending, its binding polls the device once per turn of the event loop and asks for
// the next turn at once: a whole core spins, and a driver that computes on two cores takes up to 1.8 times as
// long. So each turn of a wait ends with a nap, short against the time waited so far and at most a millisecond.
// Naps alone do not keep the process alive.
const cell = new Int32Array(new SharedArrayBuffer(4));
let waits = 0;
let waitingSince = 0;
let napping = false;

async function wait<T>(work: Promise<T>): Promise<T> {
  waits++;
  waitingSince = performance.now();
  if (!napping) {
    napping = true;
    setImmediate(nap).unref();
  }
  try {
    return await work;
  } finally {
    waits--;
  }
}

function nap(): void {
  napping = waits > 0;
  if (!napping) return;
  Atomics.wait(cell, 0, 0, Math.min((performance.now() - waitingSince) / 16, 1));
  setImmediate(nap).unref();
}

function settingsFile(name: string): string {
  return cacheFolder(`${name}.json`);
}

/** What `writeSettings` kept under that name, or undefined: a file in the user's cache directory. */
export async function readSettings(name: string): Promise<string | undefined> {
  try {
    const file = settingsFile(name);
    // Reading a pipe or a device of that name might never end.
    return (await stat(file)).isFile() ? await readFile(file, "utf8") : undefined;
  } catch {
    return undefined; // absent or unreadable
  }
}

/** Keeps a text for later processes, whole or not at all; where it cannot, nothing happens. */
export async function writeSettings(name: string, text: string): Promise<void> {
  const file = settingsFile(name);
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    makeFolders(dirname(file));
    await writeFile(temporary, text);
    await rename(temporary, file);
  } catch {
    // A read-only home: the next process measures again.
    await rm(temporary, { force: true }).catch(() => {});
  }
}
