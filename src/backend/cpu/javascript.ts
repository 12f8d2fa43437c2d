import { debug } from "../../base/debug.ts";
import { coerce, type DeviceDType, type StoredArray } from "../../base/dtype.ts";
import { DeviceError, internal } from "../../base/errors.ts";
import * as half from "../../base/half.ts";
import { Recent } from "../../base/recent.ts";
import { type Kernel, reads, writesOf } from "../../compile/kernel.ts";
import { describeKernel } from "../../compile/print.ts";
import type { Program } from "../../compile/program.ts";
import type { Target } from "../../compile/target.ts";
import { scalarOps } from "../../graph/scalar.ts";
import * as special from "../../graph/special.ts";
import type { Backend, DeviceBuffer, Executable, KernelTimes } from "../backend.ts";
import { matmul, tile } from "./matmul.ts";
import { printLoop, printMatmul, printRow, printScan, printScatter } from "./print.ts";

/** Memory seen as each element type. */
class CpuBuffer implements DeviceBuffer {
  readonly bytes: number;
  readonly views: Readonly<Record<DeviceDType, StoredArray>>;

  constructor(bytes: number) {
    this.bytes = bytes;
    const memory = allocate(Math.ceil(bytes / 8) * 8);
    const uint32 = new Uint32Array(memory);
    this.views = {
      float16: new Uint16Array(memory),
      float32: new Float32Array(memory),
      float64: new Float64Array(memory),
      int32: new Int32Array(memory),
      uint32,
      bool: uint32,
    };
  }

  /** The elements from a byte on. */
  from(offset: number, dtype: DeviceDType): StoredArray {
    const view = this.views[dtype];
    return offset === 0 ? view : view.subarray(offset / view.BYTES_PER_ELEMENT);
  }
}

function allocate(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch {
    throw new DeviceError(
      `cpu: no memory for a tensor of ${bytes} bytes. Dispose of large tensors, or use a smaller batch.`,
    );
  }
}

function cpuBuffer(buffer: DeviceBuffer): CpuBuffer {
  return buffer instanceof CpuBuffer ? buffer : internal("a buffer of another backend");
}

/** The elements of a buffer in an array of the same kind as `like`. */
function viewOf(buffer: DeviceBuffer, like: StoredArray): StoredArray {
  const { views } = cpuBuffer(buffer);
  if (like instanceof Uint16Array) return views.float16;
  if (like instanceof Float32Array) return views.float32;
  if (like instanceof Float64Array) return views.float64;
  return like instanceof Int32Array ? views.int32 : views.uint32;
}

type Run = (views: readonly StoredArray[], scalars: readonly number[]) => void;

/** Kernels as JavaScript functions, in this thread. */
export class JavaScriptBackend implements Backend {
  readonly name = "cpu";
  readonly description = "JavaScript, one thread";
  readonly target: Target = {
    name: "cpu",
    floats: ["float16", "float32", "float64"],
    maxBindings: 64,
    maxBuffer: Infinity,
    longReduction: Infinity,
    fewThreads: 0,
    busyResults: 0,
    sumsVectorProducts: true,
    maxRow: 16384,
  };
  readonly lost = new Promise<string>(() => {});

  allocate(bytes: number): DeviceBuffer {
    return new CpuBuffer(bytes);
  }

  free(_: DeviceBuffer): void {}

  write(buffer: DeviceBuffer, data: StoredArray): void {
    viewOf(buffer, data).set(data);
  }

  async read(buffer: DeviceBuffer, into: StoredArray): Promise<void> {
    this.readNow(buffer, into);
  }

  readNow(buffer: DeviceBuffer, into: StoredArray): void {
    into.set(viewOf(buffer, into).subarray(0, into.length));
  }

  async load(program: Program): Promise<Executable> {
    return new JavaScriptExecutable(program);
  }

  async finish(): Promise<void> {}

  dispose(): void {}
}

class JavaScriptExecutable implements Executable {
  readonly sources: readonly string[];
  readonly bytes: number;
  readonly #program: Program;
  readonly #kernels: readonly { readonly run: Run; readonly values: readonly number[] }[];
  readonly #slots: readonly CpuBuffer[];

  constructor(program: Program) {
    this.#program = program;
    this.#slots = program.slots.map((bytes) => new CpuBuffer(bytes));
    this.bytes = program.slots.reduce((sum, bytes) => sum + bytes, 0);
    const made = program.kernels.map(makeKernel);
    this.#kernels = made;
    this.sources = made.map(({ source }) => source);
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly DeviceBuffer[], scalars: readonly number[]): void {
    for (const _ of this.#steps(inputs, outputs, scalars));
  }

  async profile(
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    scalars: readonly number[],
  ): Promise<KernelTimes> {
    const ends = [performance.now()];
    for (const _ of this.#steps(inputs, outputs, scalars)) ends.push(performance.now());
    return { clock: "host", spans: ends.slice(1).map((end, i) => ({ start: ends[i]!, end })) };
  }

  /** Runs one kernel after the other and yields after each. */
  *#steps(
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    scalars: readonly number[],
  ): Generator<void> {
    const { places, values } = this.#program;
    const rounded = this.#program.scalars.map(({ source, dtype }) => coerce(scalars[source]!, dtype));
    this.#program.replaces.forEach((input, output) => {
      if (input === undefined || inputs[input] === outputs[output]) return;
      // The plan lets the output take over this input, the caller keeps it: it gets a copy to overwrite.
      const [from, to] = [cpuBuffer(inputs[input]!), cpuBuffer(outputs[output]!)];
      to.views.uint32.set(from.views.uint32.subarray(0, to.views.uint32.length));
    });
    for (const kernel of this.#kernels) {
      const views = kernel.values.map((value) => {
        const place = places[value]!;
        const { dtype } = values[value]!;
        if (place.kind === "slot") return this.#slots[place.index]!.from(place.offset, dtype);
        return cpuBuffer((place.kind === "input" ? inputs : outputs)[place.index]!).views[dtype];
      });
      kernel.run(views, rounded);
      yield;
    }
  }

  dispose(): void {}
}

/** Evaluations of the rows in float64, by name. */
export const rows: Record<string, (x: number, y: number, z: number) => number> = {};
for (const [name, { row }] of scalarOps) rows[name] = (x, y, z) => row.evaluate(x, y, z, "float64");

/** Generated functions by source: equal kernels are compiled once. */
const functions = new Recent<string, Run>(1024);

function makeKernel(kernel: Kernel): { run: Run; values: readonly number[]; source: string } {
  const { source, values } = kernelSource(kernel);
  let run = functions.get(source);
  if (!run) {
    debug("kernel", () => `\n${source}`);
    const make = new Function(
      "rows",
      "special",
      "half",
      "matmul",
      `return (views, scalars) => {\n${source}\n};`,
    );
    run = make(rows, special, half, matmul) as Run; // the generated text has this signature
    functions.set(source, run);
  }
  return { run, values, source };
}

/** A kernel as JavaScript, and the values it is given, in order. */
export function kernelSource(kernel: Kernel): {
  readonly source: string;
  readonly values: readonly number[];
} {
  const values = [...new Set([...reads(kernel), ...writesOf(kernel)])];
  // Values are named by their order in the kernel, so that equal kernels have equal sources.
  const nameOf = (value: number) => `v${values.indexOf(value)}`;
  const parameters = values.map(nameOf).join(", ");
  const head = [`// ${describeKernel(kernel)}`, `const [${parameters}] = views;`];
  let source: string;
  switch (kernel.kind) {
    case "loop":
      source = indent([...head, ...printLoop(kernel, nameOf)]);
      break;
    case "row":
      source = indent([...head, ...printRow(kernel, nameOf)]);
      break;
    case "scan":
      source = indent([...head, ...printScan(kernel, nameOf)]);
      break;
    case "scatter":
      source = indent([...head, ...printScatter(kernel, nameOf)]);
      break;
    case "matmul": {
      const { packA, packB, epilogue } = printMatmul(kernel, tile, nameOf);
      const shape = {
        batch: kernel.batch.extent,
        rows: kernel.row.extent,
        columns: kernel.column.extent,
        inner: kernel.inner.extent,
      };
      source = indent([
        ...head,
        "const packA = (into, offset, start, batch) => {",
        ...packA,
        "};",
        "const packB = (into, offset, start, batch) => {",
        ...packB,
        "};",
        "const epilogue = (panel, start, end, stride, batch) => {",
        ...epilogue,
        "};",
        `matmul(${JSON.stringify(shape)}, packA, packB, epilogue);`,
      ]);
      break;
    }
    default:
      return kernel satisfies never;
  }
  return { source, values };
}

/** Indents by braces. */
function indent(lines: readonly string[]): string {
  let depth = 0;
  return lines
    .map((line) => {
      if (line.startsWith("}")) depth--;
      const text = "  ".repeat(Math.max(depth, 0)) + line;
      if (line.endsWith("{")) depth++;
      return text;
    })
    .join("\n");
}
