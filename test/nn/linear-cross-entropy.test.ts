import { beforeAll, describe, expect, test } from "vitest";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { programCost } from "../../src/compile/cost.ts";
import { makeNode } from "../../src/graph/node.ts";
import { compile, grad, init, random, Tensor, tensor, valueAndGrad, zeros } from "../../src/index.ts";
import { crossEntropy, functional, linearCrossEntropy, type Reduction } from "../../src/nn/index.ts";
import { describeComposed } from "../devices.ts";
import { target } from "../target.ts";

// The loss of a vocabulary without its logits: the same values and gradients, and less memory.

type Loss = (hidden: Tensor, weight: Tensor) => Tensor;

describeComposed("cross entropy by chunks", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  const hidden = random.normal(random.key(0), [3, 7, 8]);
  const weight = random.normal(random.key(1), [40, 8]);
  const data = Int32Array.from({ length: 21 }, (_, i) => (i % 5 === 4 ? -1 : (i * 17) % 40));
  const classes: Tensor = tensor(data, { shape: [3, 7] });

  const close = async (a: Tensor, b: Tensor) => {
    const [x, y] = [await a.data(), await b.data()];
    expect(x.length).toBe(y.length);
    const size = Math.max(...y.map(Math.abs));
    x.forEach((v, i) => {
      expect(Math.abs(v - y[i]!)).toBeLessThan(3e-6 * size);
    });
  };

  const forms: readonly (readonly [reduction: Reduction, chunk: number | undefined])[] = [
    ["mean", 4],
    ["sum", 21],
    ["none", 5],
    ["mean", undefined],
  ];
  test.each(forms)(
    "%s with chunks of %s is the plain form, and so are gradients",
    async (reduction, chunk) => {
      const options = { reduction: reduction as Reduction, ignoreIndex: -1 };
      const weights = random.uniform(random.key(2), reduction === "none" ? [3, 7] : []);
      const plain: Loss = (h, w) =>
        crossEntropy(functional.linear(h, w), classes, options).mul(weights).sum();
      const cut: Loss = (h, w) =>
        linearCrossEntropy(h, w, classes, chunk ? { ...options, chunk } : options)
          .mul(weights)
          .sum();
      const both = (f: Loss) => (p: { h: Tensor; w: Tensor }) => f(p.h, p.w);
      const [a, da] = await compile(() => valueAndGrad(both(plain))({ h: hidden, w: weight }))();
      const [b, db] = await compile(() => valueAndGrad(both(cut))({ h: hidden, w: weight }))();
      await close(b, a);
      await close(db.h, da.h);
      await close(db.w, da.w);
      if (chunk !== 4 || backend === "webgpu") return; // what kernels the way back has does not depend on chunks
      const second = (f: Loss) =>
        grad((p: { h: Tensor; w: Tensor }) => {
          const g = grad(both(f))(p);
          return g.h.square().sum().add(g.w.square().sum());
        })({ h: hidden, w: weight });
      const [c, d] = [second(plain), second(cut)];
      await close(d.h, c.h);
      await close(d.w, c.w);
    },
  );

  test("nothing counted, no rows, and wrong arguments", async () => {
    const none = tensor([-1, -1], { dtype: "int32" });
    const known = zeros([2], { dtype: "int32" }).sub(1); // a shader compiler sees that none is counted
    expect(await crossEntropy(zeros([2, 8]), known, { ignoreIndex: -1 }).item()).toBeNaN();
    expect(await linearCrossEntropy(zeros([2, 8]), weight, none, { ignoreIndex: -1 }).item()).toBeNaN();
    expect(
      await linearCrossEntropy(zeros([0, 8]), weight, zeros([0], { dtype: "int32" }), {
        reduction: "sum",
      }).item(),
    ).toBe(0);
    expect(() => linearCrossEntropy(zeros([2, 7]), weight, none)).toThrow("the weight is [classes, 7]");
    expect(() => linearCrossEntropy(zeros([2, 8]), weight, zeros([3], { dtype: "int32" }))).toThrow(
      "expected one class for each row",
    );
    expect(() => linearCrossEntropy(zeros([2, 8]), weight, none, { chunk: 0 })).toThrow("chunk is 0");
    expect(() => linearCrossEntropy(zeros([2, 8]), weight, tensor([0, 40], { dtype: "int32" }))).toThrow(
      "class 40 is out of range",
    );
  });
});

describe("a program", () => {
  const [rows, width, count] = [64, 16, 20_000];
  const plan = (loss: (h: Tensor, w: Tensor, c: Tensor) => Tensor, which: "frozen" | "trained") => {
    const [h, w] = [
      [rows, width],
      [count, width],
    ].map((shape, index) => new Tensor(makeNode({ kind: "input", index }, [], shape, "float32"))) as [
      Tensor,
      Tensor,
    ];
    const c = new Tensor(makeNode({ kind: "input", index: 2 }, [], [rows], "int32"));
    const results =
      which === "frozen"
        ? valueAndGrad((h: Tensor) => loss(h, w, c))(h)
        : valueAndGrad((p: Tensor[]) => loss(p[0]!, p[1]!, c))([h, w]);
    const canonical = canonicalise(
      results.flat().map(({ node }) => node),
      false,
    );
    const program = compileGraph(canonical.build(), {
      target: target(64),
      inputs: canonical.leaves,
      donated: new Set(),
    });
    return { bytes: program.slots.reduce((sum, slot) => sum + slot, 0), flops: programCost(program).flops };
  };
  const logits = rows * count * 4;
  const chunked = (h: Tensor, w: Tensor, c: Tensor) => linearCrossEntropy(h, w, c, { chunk: 8 });
  const plain = (h: Tensor, w: Tensor, c: Tensor) => crossEntropy(functional.linear(h, w), c);

  test("keeps the logits of a chunk", () => {
    expect(plan(plain, "frozen").bytes).toBeGreaterThan(logits);
    expect(plan(chunked, "frozen").bytes).toBeLessThan(2.1 * (logits / 8));
    // The sum of the weight's gradient is beside it.
    expect(plan(chunked, "trained").bytes).toBeLessThan(2.1 * (logits / 8) + 2.1 * count * width * 4);
  });

  test("computes the gradient of the head only where it is wanted", () => {
    const product = 2 * rows * width * count;
    expect(plan(chunked, "frozen").flops).toBeLessThan(2 * product + 40 * rows * count);
    expect(plan(chunked, "trained").flops).toBeGreaterThan(4 * product);
  });
});
