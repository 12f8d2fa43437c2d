import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { floatDTypes } from "../../src/base/dtype.ts";
import { type Storage, topological } from "../../src/graph/node.ts";
import { scalarOps } from "../../src/graph/scalar.ts";
import { tensor } from "../../src/index.ts";
import { backends } from "../devices.ts";
import { long } from "../long.ts";
import { runs, thorough } from "../thorough.ts";
import { bound, compare } from "./bounds.ts";
import { dtypesWith, fuzz, learn } from "./fuzz.ts";
import { operations } from "./surface.ts";
import { openTargets } from "./targets.ts";
import { travel, trips } from "./trips.ts";

// The fuzzer itself: that it reaches everything, finds what is wrong, and makes it small. A few graphs of fixed seeds
// run here on every backend; `npm run fuzz` runs as many as there is time for.

// Learned once for all backends, as it takes ten seconds.
const lesson = dtypesWith(floatDTypes);

long(
  "every public operation is called with success",
  () => {
    const { successes } = learn(lesson);
    expect([...successes].filter(([, count]) => count === 0)).toEqual([]);
    expect(successes.size).toBe(operations().length);
  },
  400_000,
);

test("operations are found by their declarations", () => {
  const names = operations().map(({ name }) => name);
  expect(names).toEqual(
    expect.arrayContaining([
      ...["x.add", "key.fold", "cat", "pack", "random.normal", "nn.functional.linear"],
      ...[
        "nn.mlp",
        "nn.lstm",
        "lora.convolution of nn.conv2d",
        "lora.inject",
        "optim.adamw",
        "optim.loraRite",
        "optim.clipByValue",
        "optim.schedule.cosine",
        "models.gpt2",
        "models.gemma3_text",
      ],
    ]),
  );
  for (const none of ["x.item", "x.toString", "compile", "grad", "init", "nn.module"])
    expect(names).not.toContain(none);
});

describe("bounds", () => {
  const ieee = { reorders: false, flushes: false, specials: true };
  const leaves = { buffer: () => Float32Array.of(0.1, 1e-7, 3), input: () => [] };
  const of = (f: (x: ReturnType<typeof tensor>) => ReturnType<typeof tensor>) =>
    bound([f(tensor([0.1, 1e-7, 3])).node], leaves, ieee)[0]!;

  test("exact arithmetic leaves no room", () => {
    expect([...of((x) => x.neg()).errors]).toEqual([0, 0, 0]);
    expect(of((x) => x.mul(2)).errors[2]).toBe(0);
  });

  test("rounding leaves a little, and an error grows where the function is steep", () => {
    const { values, errors } = of((x) => x.exp().square());
    errors.forEach((error, i) => {
      expect(error).toBeGreaterThan(0);
      expect(error).toBeLessThan(3e-6 * values[i]!);
    });
    expect(of((x) => x.sub(0.1).reciprocal()).errors[0]).toBe(Infinity);
  });

  test("a pole within the error is unknown", () => {
    expect(of((x) => x.mul(0).div(x.exp().log().sub(0.1))).errors[0]).toBe(Infinity);
    expect(of((x) => x.mul(0).div(x.exp().log().sub(0.1))).errors[2]).toBeLessThan(1e-30);
  });

  test("a jump within the error is unknown, one beyond it is not", () => {
    expect([...of((x) => x.exp().log().le(0.1)).errors]).toEqual([Infinity, 0, 0]);
    expect([...of((x) => x.exp().log().astype("int32")).errors]).toEqual([0, 0, Infinity]);
  });

  test("chains of products and of sums are within the bound in any order, and need not be exact", () => {
    const numbers = fc.oneof(
      fc.float({ min: Math.fround(-9), max: 9, noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(0, 1, -0.5, 3, 1e6, Math.fround(0.30225), Math.fround(-0.0045)),
    );
    const terms = fc.array(fc.tuple(numbers, fc.nat(5)), { minLength: 3, maxLength: 5 });
    fc.assert(
      fc.property(terms, fc.boolean(), (drawn, isProduct) => {
        const step = (x: number, y: number) => Math.fround(isProduct ? x * y : x + y);
        const tensors = drawn.map(([x]) => tensor(Float32Array.of(x)));
        const root = tensors.reduce((x, y) => (isProduct ? x.mul(y) : x.add(y)));
        const given = new Map(tensors.map((x, i) => [x.node, drawn[i]![0]]));
        const values = topological([root.node]).flatMap(({ operation }, i, all) =>
          operation.kind === "buffer" ? [[operation.storage, given.get(all[i]!)!] as const] : [],
        );
        const own = { buffer: (storage: Storage) => [new Map(values).get(storage)!], input: () => [] };
        const expected = bound([root.node], own, { reorders: true, flushes: false, specials: true })[0]!;
        // Another order, and another tree of the same: each number joins one of those before it.
        const work = drawn.map(([x]) => x);
        for (const [, at] of drawn) {
          if (work.length < 2) break;
          const [x] = work.splice(at % work.length, 1);
          const partner = at % work.length;
          work[partner] = step(work[partner]!, x!);
        }
        while (work.length > 1) work.push(step(work.shift()!, work.shift()!));
        expect(compare(work, expected).at).toBeUndefined();
      }),
      { numRuns: runs(2000) },
    );
  });

  test("values outside are found", () => {
    const expected = of((x) => x.exp());
    const right = Float32Array.from(expected.values);
    expect(compare(right, expected)).toEqual({ at: undefined, judged: 3 });
    right[1]! += 1e-5;
    expect(compare(right, expected).at).toBe(1);
    expect(compare([Number.NaN, right[1]!, right[2]!], expected).at).toBe(0);
  });
});

describe.each(await backends())("on %s", (name) => {
  test.each(name === "webgpu" ? [undefined, 8] : [undefined])(
    "random graphs, bindings: %s",
    async (bindings) => {
      const targets = await openTargets(name, bindings);
      const { faults, judged, elements } = await fuzz(targets, {
        seed: 5,
        graphs: name === "cpu" ? runs(150) : thorough ? 75 : 10,
        // What is learned of all operations takes ten seconds: where not every case is wanted, methods of tensors are tried.
        ...(!thorough && { lesson, only: "x." }),
      });
      for (const { device } of targets) device.dispose();
      expect(faults.map(({ why, test: pasted }) => `${why}\n${pasted}`)).toEqual([]);
      // What is judged depends on bounds and not on the backend; of few graphs one large one can be without any.
      if (thorough && name === "cpu") expect(judged / elements).toBeGreaterThan(0.7);
    },
    400_000,
  );
});

test.each(trips)("$name comes back as it went", { timeout: 120_000 }, async (way) => {
  const [target] = await openTargets("cpu");
  expect(
    await travel(way, target!.device, 3, way.name === "models.generate" ? runs(9) : runs(200)),
  ).toBeUndefined();
  target!.device.dispose();
});

test("a wrong operation is found and made small", async () => {
  // What the evaluator expects is wrong, which is the same to the one who compares.
  const evaluate = vi.spyOn(scalarOps.get("abs")!.row, "evaluate");
  evaluate.mockImplementation((x) => (x > 2 ? 2 : Math.abs(x)));
  const targets = await openTargets("cpu");
  try {
    const { faults } = await fuzz(targets, { seed: 5, graphs: 40, only: "abs" });
    const found = faults.filter(({ key }) => key === "x.abs 0 together false values");
    expect(found).toHaveLength(1);
    expect(found[0]!.test).toMatch(/const s\d+ = \w+\.abs\(\);\n {4}return \[s\d+\];/);
    // The same graph again, from its number.
    const from = Number(/graph (\d+)/.exec(found[0]!.why)![1]);
    const again = await fuzz(targets, { seed: 5, from, graphs: 1, only: "abs" });
    expect(again.faults.map(({ test: pasted }) => pasted)).toContain(found[0]!.test);
  } finally {
    evaluate.mockRestore();
    for (const { device } of targets) device.dispose();
  }
});
