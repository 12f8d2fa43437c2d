import { coerce, isFloat } from "../../base/dtype.ts";
import type { Program } from "../../compile/program.ts";
import { createBuffer } from "./buffer.ts";
import type { Shader } from "./shader.ts";

/** Bytes of a block of so many numbers: the next one may begin behind it on every device. */
export const numbersBytes = (count: number) => Math.ceil(count / 64) * 256;

/** The host numbers of a program on the device: a block for each list of them that a kernel reads, which has those of all runs one after the other. */
export class HostNumbers {
  readonly #device: GPUDevice;
  readonly #program: Program;
  readonly #blocks = new Map<string, Block>();
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #runs: number;
  readonly #buffer: GPUBuffer | undefined;
  #written = false;

  /** @param runs How often the program runs in one submit, each time with numbers of its own. */
  constructor(device: GPUDevice, program: Program, shaders: readonly Shader[], runs: number) {
    this.#device = device;
    this.#program = program;
    this.#runs = runs;
    let end = 0;
    for (const { scalars } of shaders) {
      if (scalars.length === 0 || this.#blocks.has(scalars.join())) continue;
      const size = numbersBytes(scalars.length);
      this.#blocks.set(scalars.join(), { scalars, offset: end, size });
      end += runs * size;
    }
    this.#words = new Uint32Array(end / 4);
    if (end > 0)
      this.#buffer = createBuffer(device, {
        size: end,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
        label: "host numbers",
      });
  }

  /** Rounds the host numbers of each run to their dtypes, and writes them if they are new. */
  write(runs: readonly (readonly number[])[]): void {
    if (!this.#buffer) return;
    let changed = !this.#written;
    runs.forEach((numbers, run) => {
      const bits = this.#program.scalars.map(({ source, dtype }) =>
        bitsOf(coerce(numbers[source]!, dtype), isFloat(dtype)),
      );
      for (const { scalars, offset, size } of this.#blocks.values()) {
        for (let i = 0; i < scalars.length; i++) {
          const [at, word] = [(offset + run * size) / 4 + i, bits[scalars[i]!]!];
          if (this.#words[at] !== word) changed = true;
          this.#words[at] = word;
        }
      }
    });
    if (changed) this.#device.queue.writeBuffer(this.#buffer, 0, this.#words);
    this.#written = true;
  }

  /** What a kernel binds for a run, or for all of them; nothing if it reads none. */
  bindingOf({ scalars }: Shader, run: number | "all"): GPUBufferBinding[] {
    const block = this.#blocks.get(scalars.join());
    if (!this.#buffer || !block) return [];
    const { offset, size } = block;
    const part = run === "all" ? { offset, size: this.#runs * size } : { offset: offset + run * size, size };
    return [{ buffer: this.#buffer, ...part }];
  }

  dispose(): void {
    this.#buffer?.destroy();
  }
}

/** Bytes from its beginning on, and of one run. */
interface Block {
  readonly scalars: readonly number[];
  readonly offset: number;
  readonly size: number;
}

const floatView = new Float32Array(1);
const wordView = new Uint32Array(floatView.buffer);

function bitsOf(value: number, float: boolean): number {
  if (!float) return value >>> 0;
  floatView[0] = value;
  return wordView[0]!;
}
