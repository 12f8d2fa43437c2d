import fc from "fast-check";
import { expect, test } from "vitest";
import { bytesPerElement } from "../src/base/dtype.ts";
import { canonicalise } from "../src/compile/canonical.ts";
import { compileGraph } from "../src/compile/compile.ts";
import { type Kernel, writesOf } from "../src/compile/kernel.ts";
import { reads } from "../src/compile/plan.ts";
import type { Place, Program } from "../src/compile/program.ts";
import type { Target } from "../src/compile/target.ts";
import { makeNode } from "../src/graph/node.ts";
import { Tensor } from "../src/tensor/tensor.ts";
import { canonicalGraphs } from "./graphs.ts";
import { experiment, models, stepOf } from "./models.ts";
import { wgslPrinter } from "./printer.ts";

const target: Target = {
  name: "test",
  floats: ["float32", "float64"],
  maxBindings: 8,
  longReduction: 4096,
  busyResults: 0,
  sumsVectorProducts: false,
  maxRow: 16384,
};

/** A random program on square matrices: enough matmuls and reductions that many intermediates are stored. */
const program = fc
  .record({
    inputs: fc.integer({ min: 1, max: 4 }),
    steps: fc.array(fc.record({ kind: fc.integer({ min: 0, max: 6 }), left: fc.nat(), right: fc.nat() }), {
      minLength: 1,
      maxLength: 24,
    }),
    outputs: fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
    donated: fc.uniqueArray(fc.integer({ min: 0, max: 3 })),
  })
  .map(({ inputs, steps, outputs, donated }) => {
    const made = Array.from(
      { length: inputs },
      (_, index) => new Tensor(makeNode({ kind: "input", index }, [], [6, 6], "float32")),
    );
    for (const { kind, left, right } of steps) {
      const [x, y] = [made[left % made.length]!, made[right % made.length]!];
      const results = [
        () => x.add(y),
        () => x.mul(y).exp(),
        () => x.matmul(y),
        () => x.sub(x.mean(1, { keepdim: true })),
        () => x.transpose().mul(y),
        () => x.cumsum(0),
        () => x.matmul(y.transpose()).tanh(),
      ];
      made.push(results[kind]!());
    }
    const roots = outputs.map((i) => made[i % made.length]!.node);
    const canonical = canonicalise(roots, false);
    return compileGraph(canonical.build(), {
      target,
      inputs: canonical.leaves,
      donated: new Set(donated.filter((i) => i < canonical.leaves.length)),
    });
  });

/** The memory a value lives in, as one name: outputs that take over an input's buffer share its name. */
function memory({ replaces }: Program, place: Place): string {
  const input = place.kind === "output" ? replaces[place.index] : undefined;
  return input === undefined ? `${place.kind} ${place.index}` : `input ${input}`;
}

test("no two live values share memory, and each is read as it was written", () => {
  fc.assert(
    fc.property(program, (p) => {
      // What each memory holds while the kernels run.
      const holds = new Map<string, number>();
      for (const value of p.inputs) holds.set(memory(p, p.places[value]!), value);
      for (const kernel of p.kernels) {
        for (const value of reads(kernel)) expect(holds.get(memory(p, p.places[value]!))).toBe(value);
        for (const value of writesOf(kernel)) {
          const place = p.places[value]!;
          if (place.kind === "slot") {
            const { size, dtype } = p.values[value]!;
            expect(p.slots[place.index]).toBeGreaterThanOrEqual(size * bytesPerElement(dtype));
            // A buffer is never read and written by one dispatch, except in place of a donated input.
            for (const other of reads(kernel)) expect(memory(p, p.places[other]!)).not.toBe(memory(p, place));
          }
          holds.set(memory(p, place), value);
        }
      }
      for (const value of p.outputs) expect(holds.get(memory(p, p.places[value]!))).toBe(value);
    }),
    { numRuns: 300 },
  );
});

test("kernels stay within the bindings of the target", () => {
  fc.assert(
    fc.property(program, (p) => {
      const bindings = (kernel: Kernel) =>
        reads(kernel).size + writesOf(kernel).length + (p.scalars.length > 0 ? 1 : 0);
      for (const kernel of p.kernels) expect(bindings(kernel)).toBeLessThanOrEqual(target.maxBindings);
    }),
    { numRuns: 200 },
  );
});

test("a chain of matmuls needs two slots, however long", () => {
  const x = new Tensor(makeNode({ kind: "input", index: 0 }, [], [8, 8], "float32"));
  let y = x;
  for (let i = 0; i < 20; i++) y = y.matmul(x).tanh();
  const canonical = canonicalise([y.node], false);
  const p = compileGraph(canonical.build(), { target, inputs: canonical.leaves, donated: new Set() });
  expect(p.kernels).toHaveLength(20);
  expect(p.slots).toEqual([256, 256]);
});

/** The largest sum of intermediate values that are alive at once: no plan can do with less. */
function lowerBound({ kernels, places, values }: Program): number {
  const lastUse = new Map<number, number>();
  kernels.forEach((kernel, at) => {
    for (const value of [...reads(kernel), ...writesOf(kernel)]) lastUse.set(value, at);
  });
  const live = new Set<number>();
  let most = 0;
  kernels.forEach((kernel, at) => {
    for (const value of writesOf(kernel)) if (places[value]?.kind === "slot") live.add(value);
    const bytes = [...live].map((value) => values[value]!.size * bytesPerElement(values[value]!.dtype));
    most = Math.max(
      most,
      bytes.reduce((sum, each) => sum + each, 0),
    );
    for (const value of live) if (lastUse.get(value)! <= at) live.delete(value);
  });
  return most;
}

test.each(canonicalGraphs)("$name holds little more than what is alive at once", async ({ run }) => {
  const programs: Program[] = [];
  await run(wgslPrinter(undefined, (p) => programs.push(p)));
  expect(programs.length).toBeGreaterThan(0);
  for (const p of programs)
    expect(p.slots.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(1.1 * lowerBound(p));
});

// Whole buffers cannot hold a gradient where two activations were: clipping keeps the gradients of a perceptron of
// square layers, each half as large again as an activation here.
const mixed = 1.2;

const steps = [...Object.keys(models), "model of the experiment"].flatMap((name) =>
  [10, 64].flatMap((maxBindings) => [false, true].map((clip) => ({ name, clip, maxBindings }))),
);

test.each(steps)(
  "a step of the $name holds little more than what is alive at once, clipped: $clip, bindings: $maxBindings",
  async ({ name, clip, maxBindings }) => {
    const setup = models[name]?.(4) ?? experiment();
    const p = await stepOf(setup, { examples: 16, clip, maxBindings });
    const most = clip && name === "perceptron" ? mixed : 1.1;
    expect(p.slots.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(most * lowerBound(p));
  },
);
