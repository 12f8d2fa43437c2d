import { afterAll, describe, expect, test, vi } from "vitest";
import { Module } from "../../src/backend/cpu/wasm/assemble.ts";
import { target as cpu } from "../../src/backend/cpu/wasm/heuristics.ts";
import { emitKernel } from "../../src/backend/cpu/wasm/kernel.ts";
import { WasmBackend } from "../../src/backend/cpu/wasm.ts";
import { printerOf, printKernel } from "../../src/backend/webgpu/print.ts";
import { Bindings } from "../../src/backend/webgpu/shader.ts";
import { formOf } from "../../src/compile/form.ts";
import type { Kernel } from "../../src/compile/kernel.ts";
import { kernelsOf, type Program } from "../../src/compile/program.ts";
import { compile, type Tensor, zeros } from "../../src/index.ts";
import { canonicalGraphs } from "../graphs.ts";
import { models, stepOf } from "../models.ts";
import "../wasm-printers.ts";
import { gpu, wgslPrinter } from "../printer.ts";
import { everyNth } from "../thorough.ts";

// Kernels of one form are emitted once.

const tables = new Map<readonly number[], number>();
const tableAt = (numbers: readonly number[]) => {
  tables.set(numbers, tables.get(numbers) ?? 1024 * (1 + tables.size));
  return tables.get(numbers)!;
};
const emit = (kernel: Kernel) => emitKernel(kernel, { shared: true, maximum: 65536, relaxed: true, tableAt });

/** What is emitted of a kernel, but for what it is given. */
const codeOf = (kernel: Kernel) => {
  const { bytes, phases, scratch, imports, given } = emit(kernel);
  const counts = [given.values.length, given.scalars.length];
  return JSON.stringify([Buffer.from(bytes).toString("base64"), phases, scratch, imports, counts]);
};

const textOf = (kernel: Kernel) => formOf(kernel).text;

/** Checks all pairs of equal form, and gives how many kernels there were and how many forms. */
function checkForms(kernels: readonly Kernel[]): { readonly kernels: number; readonly forms: number } {
  const codes = new Map<string, string>();
  for (const kernel of kernels) {
    const form = textOf(kernel);
    const code = codeOf(kernel);
    expect(codes.get(form) ?? code).toBe(code);
    codes.set(form, code);
  }
  return { kernels: kernels.length, forms: codes.size };
}

/** The kernels of a function of one vector. */
async function kernelsFor(f: (x: Tensor, y: Tensor) => unknown): Promise<Kernel[]> {
  const seen: Program[] = [];
  const device = wgslPrinter(undefined, (program) => seen.push(program));
  await compile(f, { device })(zeros([8]), zeros([8]));
  return kernelsOf(seen.at(-1)!);
}

describe("kernels of one form have the same code", () => {
  test("in graphs of all kinds", async () => {
    const seen: Program[] = [];
    const device = wgslPrinter(undefined, (program) => seen.push(program), cpu);
    for (const { run } of everyNth(2, canonicalGraphs)) await run(device);
    const { kernels, forms } = checkForms(seen.flatMap(kernelsOf));
    expect(forms).toBeLessThan(kernels);
  });

  test.each(everyNth(2, Object.entries(models)))("in a step of the %s", async (_, make) => {
    const program = await stepOf(make(5), { examples: 4, clip: true });
    const { kernels, forms } = checkForms(kernelsOf(program));
    expect(forms).toBeLessThan(0.75 * kernels);
  });
});

describe("kernels of one form are printed once on WebGPU, to the same shader", () => {
  const check = (programs: readonly Program[]) => {
    const print = printerOf(gpu);
    for (const program of programs)
      for (const kernel of program.kernels)
        if (kernel.kind !== "loop") expect(print(kernel, program)).toEqual(printKernel(kernel, program, gpu));
  };

  test("in graphs of all kinds", async () => {
    const seen: Program[] = [];
    const device = wgslPrinter(undefined, (program) => seen.push(program));
    for (const { run } of everyNth(2, canonicalGraphs)) await run(device);
    check(seen);
  });

  test.each(everyNth(2, Object.entries(models)))("in a step of the %s", async (_, make) => {
    check([await stepOf(make(4), { examples: 4, clip: true })]);
  });

  test("what is printed does not grow with the layers", async () => {
    const write = vi.spyOn(Bindings.prototype, "declarations");
    const printed = async (layers: number) => {
      const program = await stepOf(models["adapted transformer"]!(layers), { examples: 4 });
      write.mockClear();
      const print = printerOf(gpu);
      for (const kernel of kernelsOf(program)) print(kernel, program);
      return { kernels: program.kernels.length, count: write.mock.calls.length };
    };
    const [few, many] = [await printed(2), await printed(5)];
    write.mockRestore();
    expect(many.kernels).toBeGreaterThan(1.8 * few.kernels);
    expect(many.count).toBeLessThanOrEqual(1.2 * few.count);
  });
});

test("what reads one value twice is of another form than what reads two", async () => {
  const [once] = await kernelsFor((x) => x.sub(x));
  const [twice] = await kernelsFor((x, y) => x.sub(y));
  const [back] = await kernelsFor((x, y) => y.sub(x));
  expect(textOf(once!)).not.toBe(textOf(twice!));
  expect(textOf(back!)).toBe(textOf(twice!));
});

test("constants are kept apart", async () => {
  const forms = await Promise.all(
    [0, -0, 1, Number.NaN].map(async (number) => textOf((await kernelsFor((x) => x.add(number)))[0]!)),
  );
  expect(new Set(forms).size).toBe(4);
});

describe("the CPU backend", () => {
  const backend = new WasmBackend({ threads: 1 });
  afterAll(() => backend.dispose());

  test("emits code once for all layers", async () => {
    const encode = vi.spyOn(Module.prototype, "encode");
    const emitted = async (layers: number) => {
      const program = await stepOf(models["adapted transformer"]!(layers), { examples: 4 });
      encode.mockClear();
      (await backend.load(program)).dispose();
      return { kernels: program.kernels.length, count: encode.mock.calls.length };
    };
    const [few, many] = [await emitted(2), await emitted(5)];
    encode.mockRestore();
    expect(many.kernels).toBeGreaterThan(1.8 * few.kernels);
    // The sum that runs along the blocks is stored whenever it has grown too long.
    expect(many.count).toBeLessThanOrEqual(1.2 * few.count);
  });
});
