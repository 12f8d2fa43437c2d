import { beforeAll, describe, expect, test } from "vitest";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { programCost } from "../../src/compile/cost.ts";
import { makeNode } from "../../src/graph/node.ts";
import { cat, grad, init, stack, Tensor, tensor } from "../../src/index.ts";
import { describeBackends } from "../devices.ts";
import { target } from "../target.ts";
import { casesOn } from "../thorough.ts";

// Many tensors become one: the right elements, and work that grows with their number and no faster.

const numbers = (count: number, from: number) => Float32Array.from({ length: count }, (_, i) => from + i);

describeBackends("cat and stack of many tensors", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  test.each(casesOn(backend, [1, 7], [2, 3, 100]))("%i of different lengths", async (n) => {
    const lengths = Array.from({ length: n }, (_, i) => (i * 5) % 4); // some are empty
    let from = 0;
    const rows = lengths.map((length) => {
      const made: Tensor = tensor(numbers(2 * length, from), { shape: [length, 2] });
      from += 2 * length;
      return made;
    });
    expect(await cat(rows, 0).data()).toEqual(numbers(from, 0));
    const columns = rows.map((row) => row.transpose());
    expect(await cat(columns, -1).transpose().data()).toEqual(numbers(from, 0));
    const [first, last] = [rows[0]!, rows[n - 1]!];
    const gradient = grad((all: Tensor[]) => cat(all, 0).mul(cat(rows, 0)).sum())(rows);
    expect(await gradient[0]!.data()).toEqual(await first.data());
    expect(await gradient[n - 1]!.data()).toEqual(await last.data());
  });

  test.each(casesOn(backend, [1], [0, 2]))("stacked along axis %i", async (axis) => {
    const parts = Array.from({ length: 50 }, (_, i): Tensor => tensor(numbers(6, 6 * i), { shape: [2, 3] }));
    const joined = stack(parts, axis);
    for (const i of [0, 1, 24, 25, 49]) {
      const at = [0, 0, 0];
      const end = [2, 3];
      at[axis] = i;
      end.splice(axis, 0, i + 1);
      expect(await joined.slice(at, end).squeeze(axis).data()).toEqual(await parts[i]!.data());
    }
  });
});

describe("the work of", () => {
  const work = (n: number, maxBindings: number, f: (parts: Tensor[]) => Tensor[]) => {
    const parts = Array.from(
      { length: n },
      (_, index) => new Tensor(makeNode({ kind: "input", index }, [], [64, 16], "float32")),
    );
    const canonical = canonicalise(
      f(parts).map(({ node }) => node),
      false,
    );
    const program = compileGraph(canonical.build(), {
      target: target(maxBindings),
      inputs: canonical.leaves,
      donated: new Set(),
    });
    return { kernels: program.kernels.length, times: programCost(program).bytesWritten / (n * 64 * 16 * 4) };
  };

  test.each([
    ["cat", (parts: Tensor[]) => [cat(parts, 0)], 1, 1],
    ["stack", (parts: Tensor[]) => [stack(parts, 1)], 1, 1],
    // A kernel of its own writes each part that is not small.
    ["cat of results", (parts: Tensor[]) => [cat(parts.map((x) => x.exp()).concat(parts))], 4, 2],
    [
      "the gradient of stack",
      (parts: Tensor[]) => grad((all: Tensor[]) => stack(all).square().sum())(parts),
      1.6,
      2,
    ],
  ])("%s grows with the number of tensors, an element is written once", (_, f, more, times) => {
    for (const maxBindings of [8, 16]) {
      const few = work(64, maxBindings, f);
      const many = work(256, maxBindings, f);
      expect(many.kernels).toBeLessThanOrEqual(4.2 * few.kernels);
      expect(many.kernels).toBeLessThanOrEqual((more * 256) / 4);
      expect(many.times).toBe(times);
    }
  });
});
