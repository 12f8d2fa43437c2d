import { expect, test } from "vitest";
import { referenceValues } from "../../src/experiments/reference.ts";
import { grad, sort, type Tensor, tensor, tree } from "../../src/index.ts";
import { bound, compare } from "../fuzz/bounds.ts";
import { settledValues } from "../fuzz/judge.ts";
import { canonicalGraphs } from "../graphs.ts";
import { nestDevice, stagesOf } from "../nests.ts";
import { cases, everyNth } from "../thorough.ts";

// What a nest says is all that there is to know of a kernel: the shortest printer makes the evaluator's values of it.
// Random graphs run on it as well, in the stages of the CPU (test/fuzz/targets.ts).

const exact = { reorders: false, flushes: false, specials: true };

test.each(everyNth(2, canonicalGraphs))("$name", async ({ make, run }) => {
  const { f, args } = make();
  const expected = tree.leaves(f(...(args as never[]))) as Tensor[];
  const nodes = expected.map(({ node }) => node);
  const bounds = bound(nodes, await settledValues(nodes), exact);
  const results = tree.leaves((await run(nestDevice())).results) as Tensor[];
  for (const [i, result] of results.entries()) {
    const { at, judged } = compare(await result.data(), bounds[i]!);
    expect(at).toBeUndefined();
    // A quotient by what may be 0 is unknown.
    expect(judged).toBeGreaterThan(0.9 * result.size - 1);
  }
});

test("where permutations point", async () => {
  const x = tensor(Float32Array.from({ length: 60 }, (_, i) => (i * 7) % 11)).reshape([5, 12]) as Tensor;
  const device = nestDevice();
  for (const axis of [0, 1]) {
    const g = grad((x: Tensor) => sort(x, { axis }).values.mul(x).sum())(x);
    const [wanted] = await referenceValues([g]);
    const [found] = (await tree.evaluate([g], device)) as [Tensor];
    expect([...(await found.data())]).toEqual([...wanted!]);
  }
});

test("what is cut into parts", async () => {
  for (const shape of cases(
    [[200_003], [700, 300]],
    [
      [2, 100_000],
      [5, 40_000, 2],
    ],
  )) {
    const size = shape.reduce((n, extent) => n * extent, 1);
    const values = Int32Array.from({ length: size }, (_, i) => (i * 7919) % 1009);
    const [whole, parts] = await Promise.all(
      [nestDevice(), nestDevice(stagesOf)].map(async (device) => {
        const x = tensor(values, { shape, dtype: "int32" });
        const results = [x.sum(), x.amax(), x.astype("float32").sum(0), x.sum(shape.length - 1)];
        await tree.evaluate(results, device);
        return Promise.all(results.map(async (result) => [...(await result.data())]));
      }),
    );
    expect(parts).toEqual(whole);
  }
});
