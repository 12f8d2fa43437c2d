import { debug } from "../../base/debug.ts";
import { DeviceError } from "../../base/errors.ts";
import { getOrInsert } from "../../base/group.ts";
import { formOf } from "../../compile/form.ts";
import type { Kernel } from "../../compile/kernel.ts";
import { type Compiled, type ListEntry, type Loaded, turnsOf } from "./loaded.ts";
import type { Memory } from "./memory.ts";
import type { Run } from "./pool.ts";
import type { Words } from "./pool-worker.ts";
import { Arguments } from "./wasm/arguments.ts";
import { Module } from "./wasm/assemble.ts";
import { evaluators } from "./wasm/imports.ts";
import { emitKernel, printKernel, type WasmKernel } from "./wasm/kernel.ts";

/** Does the platform have vector instructions, and fused multiply-add? */
export function supportsVectors(instruction: "f32x4.add" | "f32x4.relaxed_madd" = "f32x4.add"): boolean {
  if (typeof WebAssembly === "undefined") return false;
  const module = new Module();
  module.define("probe", { x: "v128" }, (code, { x }) => {
    code.get(x).get(x);
    if (instruction === "f32x4.relaxed_madd") code.get(x);
    code.op(instruction, "drop");
  });
  return WebAssembly.validate(module.encode({ shared: false, maximum: 1 }));
}

/** What all kernels of one form share. */
export interface Emitted extends Pick<Loaded, "turns"> {
  readonly promise: Promise<Compiled>;
  readonly parts: Omit<Loaded["kernel"], "given">;
}

/** Kernels as WebAssembly modules over one memory, compiled once for all that are equal. */
export class Modules {
  readonly #memory: Memory;
  readonly relaxed: boolean;
  readonly #compiled = new Map<string, Promise<Compiled>>();
  readonly #tables = new Map<readonly number[], number>();
  #ids = 0;

  constructor(memory: Memory, relaxed: boolean) {
    this.#memory = memory;
    this.relaxed = relaxed;
  }

  /** @param emitted What is emitted for the program so far, by form. */
  async load(kernel: Kernel, emitted: Map<string, Emitted>): Promise<Loaded> {
    const { text: form } = formOf(kernel);
    const { promise, parts, turns } = getOrInsert(emitted, form, () => this.#emitted(kernel));
    const compiled = await promise;
    compiled.users++;
    return { kernel: { ...parts, given: new Arguments(kernel) }, compiled, turns };
  }

  /** What is kept of a kernel's code while it compiles: the module, once for all that are equal. */
  #emitted(kernel: Kernel): Emitted {
    const emitted = this.#emit(kernel);
    debug("kernel", () => `\n${printKernel(kernel, emitted)}`);
    const { bytes, phases, scratch, imports } = emitted;
    // Kernels of other programs, and those that run more units of the same code, have equal bytes.
    let key = "";
    for (let i = 0; i < bytes.length; i += 4096) key += String.fromCharCode(...bytes.subarray(i, i + 4096));
    const promise = getOrInsert(this.#compiled, key, () => this.#compile(key, bytes));
    const parts = { phases, scratch, imports };
    return { promise, parts, turns: turnsOf(parts) };
  }

  /** Where numbers lie that kernels look up; they stay there. */
  #tableAt(numbers: readonly number[]): number {
    return getOrInsert(this.#tables, numbers, () => {
      const at = this.#memory.allocate(4 * numbers.length);
      this.#memory.views.float32.set(numbers, at / 4);
      return at;
    });
  }

  #emit(kernel: Kernel): WasmKernel {
    const { maximum, shared } = this.#memory;
    const tableAt = (numbers: readonly number[]) => this.#tableAt(numbers);
    return emitKernel(kernel, { maximum, shared, relaxed: this.relaxed, tableAt });
  }

  /** The code of a kernel as text for people. */
  sourceOf(kernel: Kernel): string {
    return printKernel(kernel, this.#emit(kernel));
  }

  async #compile(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<Compiled> {
    const module = await WebAssembly.compile(bytes).catch((error: Error) => {
      throw new DeviceError(
        `cpu: WebAssembly does not compile here: ${error.message}. A page's Content-Security-Policy has to allow ` +
          "'wasm-unsafe-eval' in script-src.",
      );
    });
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: this.#memory.memory },
      evaluators,
    });
    const functions = Object.values(instance.exports) as Run[]; // all exports are functions of this kind
    return { key, id: this.#ids++, bytes, functions, at: undefined, users: 0 };
  }

  /** Programs give their kernels back; the last one takes them out of the cache. */
  release({ compiled }: Loaded): void {
    if (--compiled.users > 0) return;
    this.#compiled.delete(compiled.key);
    if (compiled.at !== undefined) this.#memory.free(compiled.at);
    compiled.at = undefined;
  }

  /** Where workers find a module. */
  codeOf(compiled: Compiled): Pick<Words, "module" | "bytes" | "length"> {
    const { id: module, bytes } = compiled;
    if (compiled.at === undefined) {
      compiled.at = this.#memory.allocate(bytes.length);
      this.#memory.views.uint8.set(bytes, compiled.at);
    }
    return { module, bytes: compiled.at, length: bytes.length };
  }

  /** The functions of a kernel in order, as workers find them; undefined where one is for this thread alone. */
  listed({ kernel, compiled, turns }: Loaded, args: number, scratch: number): ListEntry[] | undefined {
    if (kernel.imports.length > 0) return undefined;
    const { functions } = compiled;
    const code = this.codeOf(compiled);
    return turns.map(({ phase, first, units, beyond }) => ({
      words: { ...code, phase, args, scratch: scratch - beyond, first, units } satisfies Words,
      run: (own) => functions[phase]!(first, first + units, args, scratch - beyond, own),
    }));
  }

  clear(): void {
    this.#compiled.clear();
  }
}
