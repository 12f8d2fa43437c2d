import { describe, expect, test, vi } from "vitest";
import { printKernel } from "../../src/backend/webgpu/print.ts";
import { programCost } from "../../src/compile/cost.ts";
import { Entries, maxSize } from "../../src/compile/entries.ts";
import { walk } from "../../src/compile/expr.ts";
import { expressionsOf } from "../../src/compile/kernel.ts";
import { kernelsOf, type Program } from "../../src/compile/program.ts";
import { long } from "../long.ts";
import { models, stepOf } from "../models.ts";
import { gpu } from "../printer.ts";
import { cases, everyNth, thorough } from "../thorough.ts";

// How the cost of a training step grows, counted and not timed; and what it takes to compile.

const depths = thorough ? ([4, 8, 12] as const) : ([4, 6, 8] as const);

describe.each(everyNth(4, Object.entries(models)))("a step of the %s", (name, make) => {
  const made = new Map<string, Promise<Program>>();
  /** The step of so many layers and examples, compiled once. */
  function stepWith(layers: number, examples: number): Promise<Program> {
    const key = `${layers} ${examples}`;
    const step = made.get(key) ?? stepOf(make(layers), { examples });
    made.set(key, step);
    return step;
  }
  const quantities = (program: Program) => ({ kernels: program.kernels.length, ...programCost(program) });
  /** What the second of two steps costs more than the first. */
  const added = ([less, more]: readonly Program[]) => {
    const [a, b] = [quantities(less!), quantities(more!)];
    return Object.entries(b).map(([key, value]) => value - a[key as keyof typeof a]);
  };
  // The sum that runs along a transformer's blocks is stored whenever it has grown too long to be added up again.
  const spread = name.includes("transformer") ? 0.03 : 0;

  test("further layers cost the same", { timeout: 120_000 }, async () => {
    const steps: Program[] = [];
    for (const layers of depths) steps.push(await stepWith(layers, 4));
    const [early, late] = [added(steps.slice(0, 2)), added(steps.slice(1))];
    for (const [i, amount] of early.entries())
      expect(Math.abs(late[i]! - amount)).toBeLessThanOrEqual(spread * amount);
  });

  test("further layers share the code of the first", async () => {
    const codes = async (layers: number) => {
      const program = await stepWith(layers, 4);
      return new Set(kernelsOf(program).map((kernel) => printKernel(kernel, program, gpu).source)).size;
    };
    const few = await codes(depths[0]);
    expect(await codes(depths[2])).toBeLessThanOrEqual(name.includes("transformer") ? 1.2 * few : few);
  });

  test("further examples cost the same, and no kernel", async () => {
    const steps: Program[] = [];
    for (const examples of [8, 16, 24]) steps.push(await stepWith(2, examples));
    expect(added(steps.slice(1))).toEqual(added(steps.slice(0, 2)));
    expect(added(steps)[0]).toBe(0);
  });

  test.each(cases([10], [64]))(
    "kernels are of bounded size where %i buffers may be bound",
    async (maxBindings) => {
      const program = await stepOf(make(6), { examples: 4, clip: true, maxBindings });
      for (const kernel of kernelsOf(program)) {
        let size = 0;
        walk(expressionsOf(kernel), () => size++);
        expect(size).toBeLessThanOrEqual(1.25 * maxSize); // loops may add index arithmetic
      }
    },
  );
});

describe("a step that clips by the norm of all gradients", () => {
  const step = (layers: number, clip: boolean) =>
    stepOf(models["adapted perceptron"]!(layers), { examples: 4, clip });

  long("takes one kernel more for each two updates, and few for the norm", async () => {
    const updates = 2 * 24; // A and B of each layer; two bind nine buffers, as what they update in place is bound once
    const more = (await step(24, true)).kernels.length - (await step(24, false)).kernels.length;
    expect(more).toBeGreaterThanOrEqual(updates / 2);
    expect(more).toBeLessThanOrEqual(updates / 2 + updates / 3);
  });

  test("is compiled with work that grows with its layers", async () => {
    // Every pair of kernels that might be joined is asked which of them waits for the other.
    const asked = vi.spyOn(Entries.prototype, "reaches");
    const pairs = async (layers: number) => {
      asked.mockClear();
      await step(layers, true);
      return asked.mock.calls.length;
    };
    const [few, many] = thorough ? [await pairs(16), await pairs(48)] : [await pairs(8), await pairs(24)];
    asked.mockRestore();
    expect(few).toBeGreaterThan(100);
    // Three times the layers: were every kernel compared with every other one, it would be nine times.
    expect(many).toBeLessThan(5 * few);
  });
});
