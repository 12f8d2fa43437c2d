import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { openCpu } from "../../src/backend/cpu/backend.ts";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { Bindings } from "../../src/backend/webgpu/shader.ts";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { reads, resultsOf, writesOf } from "../../src/compile/kernel.ts";
import { readsInPlace } from "../../src/compile/overwrite.ts";
import { kernelsOf, type Program } from "../../src/compile/program.ts";
import { bytesOf, type ValueId } from "../../src/compile/value.ts";
import { makeNode } from "../../src/graph/node.ts";
import { cat, stack } from "../../src/tensor/functions.ts";
import { grad } from "../../src/tensor/grad.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { backends } from "../devices.ts";
import { canonicalGraphs } from "../graphs.ts";
import { models, perceptronOf, stepOf } from "../models.ts";
import { wgslPrinter } from "../printer.ts";
import { target as targetOf } from "../target.ts";
import { cases, everyNth, runs } from "../thorough.ts";

const webgpu = (await backends()).includes("webgpu");

const target = targetOf(8);

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

/** A range of bytes: of an input's buffer, where an output takes that over. */
interface Range {
  readonly buffer: string;
  readonly start: number;
  readonly end: number;
}

function rangeOf({ replaces, places, values }: Program, value: ValueId): Range {
  const place = places[value]!;
  const bytes = bytesOf(values[value]!);
  if (place.kind === "slot")
    return { buffer: `slot ${place.index}`, start: place.offset, end: place.offset + bytes };
  const input = place.kind === "output" ? replaces[place.index] : undefined;
  return {
    buffer: input === undefined ? `${place.kind} ${place.index}` : `input ${input}`,
    start: 0,
    end: bytes,
  };
}

const meet = (a: Range, b: Range) => a.buffer === b.buffer && a.start < b.end && b.start < a.end;

/** Each value is read where it was written, before anything else is written there. */
function checkMemory(p: Program): void {
  // What lies in memory while the kernels run.
  const held = new Map<ValueId, Range>(p.inputs.map((value) => [value, rangeOf(p, value)]));
  for (const kernel of p.kernels) {
    for (const value of reads(kernel)) expect(held.has(value)).toBe(true);
    for (const value of writesOf(kernel)) {
      const range = rangeOf(p, value);
      const place = p.places[value]!;
      if (place.kind === "slot") {
        expect(place.offset % 256).toBe(0);
        expect(range.end).toBeLessThanOrEqual(p.slots[place.index]!);
        // The same bytes are never read and written by one dispatch, except element by element.
        for (const other of reads(kernel)) {
          const its = rangeOf(p, other);
          if (!meet(its, range)) continue;
          expect(its).toEqual(range);
          const { index } = resultsOf(kernel).find((store) => store.value === value)!;
          expect(readsInPlace(kernel, other, index)).toBe(true);
        }
      }
      for (const [other, its] of held) if (meet(its, range)) held.delete(other);
      held.set(value, range);
    }
  }
  for (const value of p.outputs) expect(held.has(value)).toBe(true);
}

test("no two live values share memory, and each is read as it was written", () => {
  fc.assert(fc.property(program, checkMemory), { numRuns: runs(300) });
});

/** A buffer counts once, also where a result takes over what the kernel reads. */
function checkBindings(p: Program, maxBindings: number): void {
  for (const kernel of kernelsOf(p))
    expect(new Bindings(kernel, p).list.length).toBeLessThanOrEqual(maxBindings);
}

test("kernels stay within the bindings of the target", () => {
  fc.assert(
    fc.property(program, (p) => checkBindings(p, target.maxBindings)),
    { numRuns: runs(200) },
  );
});

/** Graphs that want many buffers at once: long sums of what is stored for another reason, read by views and reductions. */
const greedy = fc
  .record({
    steps: fc.array(
      fc.record({
        kind: fc.nat(9),
        many: fc.integer({ min: 2, max: 22 }),
        from: fc.array(fc.nat(), { minLength: 22, maxLength: 22 }),
      }),
      { minLength: 1, maxLength: 16 },
    ),
    outputs: fc.array(fc.record({ of: fc.nat(), part: fc.nat(2) }), { minLength: 1, maxLength: 4 }),
    maxBindings: fc.constantFrom(8, 10, 16),
    donate: fc.boolean(),
  })
  .map(({ steps, outputs, maxBindings, donate }) => {
    const made = Array.from(
      { length: 8 },
      (_, index) => new Tensor(makeNode({ kind: "input", index }, [], [6, 6], "float32")),
    );
    const frame = [
      [1, 1],
      [0, 0],
    ] as const;
    const sum = (parts: readonly Tensor[]) => parts.reduce((a, b) => a.add(b));
    for (const { kind, many, from } of steps) {
      const of = from.map((i) => made[i % made.length]!);
      const [x, y] = of as [Tensor, Tensor];
      const results = [
        () => sum(Array.from({ length: many }, (_, i) => x.mul(i + 1).sin())),
        () => sum(of.slice(0, many)),
        () => sum(of.slice(0, many).map((part) => part.sin())),
        () => cat(of.slice(0, many), 0).slice([3], [9]).add(y),
        () => stack(of.slice(0, many), 1).sum(1).mul(y),
        () => x.slice([1], [5]).pad(frame).exp().add(y),
        () => x.sub(x.mean(1, { keepdim: true })).mul(y),
        () => x.matmul(y).tanh(),
        () => x.sum(0, { keepdim: true }).expand([6, 6]).mul(y.sin()),
        () => x.transpose().mul(y),
      ];
      made.push(results[kind]!());
    }
    const roots = outputs.map(({ of, part }) => {
      const x = made[made.length - 1 - (of % made.length)]!;
      return [x, x.slice([1], [3]), x.sum(0)][part]!.node;
    });
    const canonical = canonicalise(roots, false);
    const donated = new Set(donate ? canonical.leaves.keys() : []);
    return {
      p: compileGraph(canonical.build(), {
        target: { ...target, maxBindings },
        inputs: canonical.leaves,
        donated,
      }),
      maxBindings,
    };
  });

test("kernels stay within the bindings of the target, whatever is stored for other reasons", () => {
  fc.assert(
    fc.property(greedy, ({ p, maxBindings }) => {
      checkBindings(p, maxBindings);
      checkMemory(p);
    }),
    { numRuns: runs(300) },
  );
});

test("a long sum of sines, of which a slice and the whole are read", () => {
  const x = new Tensor(makeNode({ kind: "input", index: 0 }, [], [64, 64], "float32"));
  const sum = Array.from({ length: 20 }, (_, i) => x.mul(i + 1).sin()).reduce((a, b) => a.add(b));
  for (const roots of [
    [sum.slice([3], [40])],
    [sum, sum.slice([1])],
    [sum.sum(0), sum.expand([4, 64, 64])],
  ]) {
    const canonical = canonicalise(
      roots.map(({ node }) => node),
      false,
    );
    for (const maxBindings of [8, 10, 16]) {
      const small = { ...target, maxBindings };
      checkBindings(
        compileGraph(canonical.build(), { target: small, inputs: canonical.leaves, donated: new Set() }),
        maxBindings,
      );
    }
  }
});

/** Updates of donated inputs, some of which other kernels read too: by as many bindings as a kernel may have. */
const updates = fc
  .array(fc.record({ kind: fc.nat(5), of: fc.array(fc.nat(7), { minLength: 2, maxLength: 4 }) }), {
    minLength: 1,
    maxLength: 12,
  })
  .map((steps) => {
    const inputs = Array.from(
      { length: 8 },
      (_, index) => new Tensor(makeNode({ kind: "input", index }, [], [6, 6], "float32")),
    );
    const made = [...inputs];
    for (const { kind, of } of steps) {
      const sum = of.map((i) => inputs[i]!).reduce((a, b) => a.add(b));
      const last = made[made.length - 1]!;
      const results = [
        () => sum,
        () => sum.mul(2),
        () => sum.add(last),
        () => sum.matmul(last),
        () => sum.add(last.sum()),
        () => sum.transpose(),
      ];
      made.push(results[kind]!());
    }
    const canonical = canonicalise(
      made.slice(8).map(({ node }) => node),
      false,
    );
    const small = { ...target, maxBindings: 6 };
    const donated = new Set(canonical.leaves.keys());
    return compileGraph(canonical.build(), { target: small, inputs: canonical.leaves, donated });
  });

test("kernels that update in place stay within the bindings of the target", () => {
  fc.assert(
    fc.property(updates, (p) => {
      checkMemory(p);
      checkBindings(p, 6);
    }),
    { numRuns: runs(500) },
  );
});

test("an output does not take the input that another kernel updates in place", () => {
  const [a, x] = [0, 1].map((index) => new Tensor(makeNode({ kind: "input", index }, [], [6, 6], "float32")));
  const updated = a!.mul(2);
  const canonical = canonicalise([updated.matmul(x!).node, updated.node], false);
  const donated = new Set([canonical.leaves.indexOf(a!.node)]);
  const p = compileGraph(canonical.build(), { target, inputs: canonical.leaves, donated });
  expect(p.replaces).toEqual([undefined, [...donated][0]]);
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
    most = Math.max(
      most,
      [...live].reduce((sum, value) => sum + bytesOf(values[value]!), 0),
    );
    for (const value of live) if (lastUse.get(value)! <= at) live.delete(value);
  });
  return most;
}

const inputsOf = (...shapes: readonly (readonly number[])[]) =>
  shapes.map((shape, index) => new Tensor(makeNode({ kind: "input", index }, [], shape, "float32")));

function programOf(roots: readonly Tensor[]): Program {
  const canonical = canonicalise(
    roots.map(({ node }) => node),
    false,
  );
  return compileGraph(canonical.build(), { target, inputs: canonical.leaves, donated: new Set() });
}

const slotBytes = ({ slots }: Program) => slots.reduce((sum, bytes) => sum + bytes, 0);

test("of products whose sum several read, the sum is kept, not the products", () => {
  const [x, a, b, c] = inputsOf([8, 8], [8, 8], [8, 8], [8, 8]) as [Tensor, Tensor, Tensor, Tensor];
  const sum = x.matmul(a).add(x.matmul(b).mul(2)).add(x);
  // It is read before the last product, which the sums of another row are for, and behind it.
  const p = programOf([sum.tanh().matmul(c).mul(sum)]);
  expect(p.kernels).toHaveLength(3);
  expect(slotBytes(p)).toBe(2 * 8 * 8 * 4);
  // Where somebody reads a product itself, that is there anyway, and the sum is made where it is read.
  const product = x.matmul(a);
  const shared = product.add(x);
  const q = programOf([shared.tanh().matmul(c).mul(shared), shared.sin().matmul(product)]);
  expect(slotBytes(q)).toBe(3 * 8 * 8 * 4);
});

test("of a softmax its shares alone are kept for the gradient", () => {
  const layers = 4;
  const gradient = grad((x: Tensor) => {
    let y = x;
    for (let i = 0; i < layers; i++) y = y.matmul(y.transpose()).softmax(-1).matmul(y);
    return y.square().sum();
  });
  const p = programOf([gradient(inputsOf([64, 4])[0]!)]);
  expect(slotBytes(p)).toBeLessThan((layers + 2.5) * 64 * 64 * 4);
});

function expectSmall(p: Program): void {
  expect(slotBytes(p)).toBeLessThanOrEqual(1.1 * lowerBound(p));
}

test.each(everyNth(2, canonicalGraphs))(
  "$name holds little more than what is alive at once",
  async ({ run }) => {
    const programs: Program[] = [];
    await run(wgslPrinter(undefined, (p) => programs.push(p)));
    expect(programs.length).toBeGreaterThan(0);
    for (const p of programs) expectSmall(p);
  },
);

const options = cases([8], [64, 10]).flatMap((maxBindings) =>
  cases([true], [false]).map((clip) => ({ clip, maxBindings })),
);

test.each(everyNth(4, Object.keys(models)).flatMap((name) => options.map((o) => ({ name, ...o }))))(
  "a step of the $name holds little more than what is alive at once, clipped: $clip, bindings: $maxBindings",
  async ({ name, ...rest }) => {
    for (const examples of cases([4], [16, 64])) {
      const p = await stepOf(models[name]!(4), { examples, ...rest });
      checkMemory(p);
      checkBindings(p, rest.maxBindings);
      expectSmall(p);
    }
  },
);

// Widths that do not divide each other, and more or fewer examples than these.
const widths = [
  [64, 64, 64, 64, 64, 64, 64],
  [512, 256, 128, 64, 10],
  [100, 300, 200, 50, 300, 100],
  [10, 1000, 10],
  [64, 256, 64, 256, 64],
];

test.each(
  everyNth(2, widths).flatMap((each) =>
    cases([true], [false]).map((clip) => [each.join(" "), clip, each] as const),
  ),
)(
  "a step of layers of %s holds little more than what is alive at once, clipped: %s",
  async (_, clip, each) => {
    const [whole, adapted] = [perceptronOf(each), { ...perceptronOf(each), adapt: "all-linear" } as const];
    for (const setup of [whole, adapted]) {
      for (const examples of cases([100], [1, 32, 256])) {
        const p = await stepOf(setup, { examples, clip });
        checkMemory(p);
        expectSmall(p);
      }
    }
  },
);

test("slots do not outgrow the largest buffer of the target", async () => {
  const large = 24 * 24 * 4; // a gradient
  const slots = async (maxBuffer: number) =>
    (await stepOf(perceptronOf([24, 24, 24]), { examples: 16, clip: true, maxBuffer })).slots;
  expect(Math.max(...(await slots(Infinity)))).toBeGreaterThan(large);
  expect(Math.max(...(await slots(large)))).toBe(large);
  // A value that is too large for any buffer is for the backend to refuse.
  expect(Math.max(...(await slots(large / 2)))).toBe(large);
});

describe("values side by side in one buffer", () => {
  const opened = cases<{
    readonly name: string;
    readonly open: () => Promise<Backend>;
    readonly skip: boolean;
  }>(
    [{ name: "cpu", open: async () => openCpu({ threads: 2 }), skip: false }],
    [
      {
        name: "webgpu",
        open: async () => {
          const opened = await openDevice();
          if ("reason" in opened) throw new Error(opened.reason);
          return new WebGpuBackend(opened);
        },
        skip: !webgpu,
      },
    ],
  );

  for (const { name, open, skip } of opened)
    test.skipIf(skip)(`are those of a buffer for each on ${name}`, async () => {
      const p = await stepOf(perceptronOf([24, 24, 24]), { examples: 16, clip: true });
      const buffer = (value: ValueId) => rangeOf(p, value).buffer;
      const mixed = p.kernels.filter((kernel) => {
        const read = new Set([...reads(kernel)].map(buffer));
        return writesOf(kernel).some((value) => buffer(value).startsWith("slot") && read.has(buffer(value)));
      });
      expect(mixed.length).toBeGreaterThan(0); // one that reads and writes parts of one buffer
      const apart: Program = {
        ...p,
        places: p.places.map((place, index) =>
          place?.kind === "slot" ? { kind: "slot", index, offset: 0 } : place,
        ),
        slots: p.values.map(bytesOf),
      };
      const backend = await open();
      const results: Float32Array[][] = [];
      for (const program of [p, apart]) {
        const allocate = (value: ValueId) => backend.allocate(bytesOf(p.values[value]!));
        const inputs = p.inputs.map((value) => {
          const made = allocate(value);
          backend.write(
            made,
            Float32Array.from({ length: p.values[value]!.size }, (_, i) => (0.1 + value * i) % 1),
          );
          return made;
        });
        const outputs = p.outputs.map((value, i) => {
          const replaced = p.replaces[i];
          return replaced === undefined ? allocate(value) : inputs[replaced]!;
        });
        const executable = await backend.load(program);
        executable.run({ inputs, outputs, scalars: new Array<number>(64).fill(0.5) });
        results.push(
          await Promise.all(
            outputs.map(async (output, i) => {
              const into = new Float32Array(p.values[p.outputs[i]!]!.size);
              await backend.read(output, into);
              return into;
            }),
          ),
        );
        executable.dispose();
      }
      backend.dispose();
      expect(results[0]!.flatMap((each) => [...each]).every(Number.isFinite)).toBe(true);
      expect(results[0]).toEqual(results[1]);
    });
});
