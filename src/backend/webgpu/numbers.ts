import { coerce, isFloat } from "../../base/dtype.ts";
import type { Program } from "../../compile/program.ts";
import { createBuffer } from "./buffer.ts";
import { type Shader, scalarVectors } from "./shader.ts";

/** The host numbers of a program on the device: a block for each list of them that a kernel reads, and that for each run. */
export class HostNumbers {
  readonly #device: GPUDevice;
  readonly #program: Program;
  readonly #blocks = new Map<string, { readonly scalars: readonly number[]; readonly offset: number }>();
  readonly #words: Uint32Array<ArrayBuffer>;
  /** Bytes of the blocks of one run. */
  readonly #size: number;
  readonly #buffer: GPUBuffer | undefined;
  #written = false;

  /** @param runs How often the program runs in one submit, each time with numbers of its own. */
  constructor(device: GPUDevice, program: Program, shaders: readonly Shader[], runs: number) {
    this.#device = device;
    this.#program = program;
    const alignment = device.limits.minUniformBufferOffsetAlignment;
    let size = 0;
    for (const { scalars } of shaders) {
      if (scalars.length === 0 || this.#blocks.has(scalars.join())) continue;
      this.#blocks.set(scalars.join(), { scalars, offset: size });
      size += Math.ceil((16 * scalarVectors(scalars.length)) / alignment) * alignment;
    }
    this.#size = size;
    this.#words = new Uint32Array((runs * size) / 4);
    if (size > 0)
      this.#buffer = createBuffer(device, {
        size: runs * size,
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
      for (const { scalars, offset } of this.#blocks.values()) {
        for (let i = 0; i < scalars.length; i++) {
          const [at, word] = [(run * this.#size + offset) / 4 + i, bits[scalars[i]!]!];
          if (this.#words[at] !== word) changed = true;
          this.#words[at] = word;
        }
      }
    });
    if (changed) this.#device.queue.writeBuffer(this.#buffer, 0, this.#words);
    this.#written = true;
  }

  /** What a kernel binds; nothing if it reads none. */
  bindingOf({ scalars }: Shader, run: number): GPUBufferBinding[] {
    const block = this.#blocks.get(scalars.join());
    if (!this.#buffer || !block) return [];
    return [
      {
        buffer: this.#buffer,
        offset: run * this.#size + block.offset,
        size: 16 * scalarVectors(scalars.length),
      },
    ];
  }

  dispose(): void {
    this.#buffer?.destroy();
  }
}

const floatView = new Float32Array(1);
const wordView = new Uint32Array(floatView.buffer);

function bitsOf(value: number, float: boolean): number {
  if (!float) return value >>> 0;
  floatView[0] = value;
  return wordView[0]!;
}
