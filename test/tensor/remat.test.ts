import { beforeAll, describe, expect, test } from "vitest";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { makeNode } from "../../src/graph/node.ts";
import {
  arange,
  compile,
  full,
  grad,
  init,
  random,
  remat,
  scan,
  stack,
  Tensor,
  tensor,
  valueAndGrad,
  vmap,
  where,
} from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { target } from "../target.ts";
import { thorough } from "../thorough.ts";

// Recomputed rather than kept: the same bits, for less memory.

type Weights = { readonly up: Tensor; readonly down: Tensor };
const block = (x: Tensor, { up, down }: Weights) =>
  x.add(x.matmul(up).mul(0.5).tanh().exp().matmul(down).mul(0.1));

describeComposed("remat", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  const weights = (n: number) =>
    Array.from(
      { length: n },
      (_, i): Weights => ({
        up: random.normal(random.key(i).fold("up"), [8, 24], { std: 0.3 }),
        down: random.normal(random.key(i).fold("down"), [24, 8], { std: 0.3 }),
      }),
    );
  const x = random.normal(random.key(9), [16, 8]);

  const forms = {
    plain: <A extends readonly unknown[], R>(f: (...args: A) => R) => f,
    remat,
    nested: <A extends readonly unknown[], R>(f: (...args: A) => R) => remat(remat(f)),
  };
  const lossOf = (form: (f: typeof block) => typeof block) => (ws: Weights[], x: Tensor) =>
    ws
      .reduce((h, w) => form(block)(h, w), x)
      .square()
      .mean();

  test("gives the same bits, compiled and not, of first and second order", async () => {
    const ws = weights(thorough ? 3 : 2); // code that runs once is compiled for long
    const results = Object.values(forms).map(async (form) => {
      const loss = lossOf(form);
      const [value, gradients] = await compile((w: Weights[], x: Tensor) => valueAndGrad(loss)(w, x))(ws, x);
      const eager = grad(loss)(ws, x);
      const second = grad((w: Weights[]) =>
        grad(loss)(w, x).reduce((sum, { up }) => sum.add(up.square().sum()), tensor(0) as Tensor),
      )(ws);
      return [
        await value.data(),
        ...(await Promise.all(
          [gradients, eager, second].flat().flatMap(({ up, down }) => [up.data(), down.data()]),
        )),
      ];
    });
    const [plain, ...others] = await Promise.all(results);
    for (const other of others) expect(other).toEqual(plain);
  });

  test("holds loops, whatever enters them", async () => {
    const outside = tensor([0, 1, 2], { dtype: "int32" });
    const entering: Record<string, (x: Tensor) => Tensor> = {
      places: () => arange(3),
      "places in another shape": () => arange(3).reshape([3, 1]).reshape([3]),
      constants: () => full([3], 2, { dtype: "int32" }),
      tensors: () => outside,
      "what is made of the argument": (x) => x.argmax(1),
    };
    for (const [name, steps] of Object.entries(entering)) {
      const f = (x: Tensor) =>
        scan(
          (h: Tensor, i: Tensor) => [
            h
              .at(i as Tensor<"int32">)
              .mul(2)
              .tanh(),
            null,
          ],
          x,
          steps(x),
        )[0];
      const x = tensor([
        [1, 2, 3],
        [-1, 0, 1],
        [0.5, 2, 0],
      ]);
      const of = (g: typeof f) => grad((x: Tensor) => g(x).square().sum())(x).toArray();
      expect(await of(remat(f)), name).toEqual(await of(f));
    }
  });

  test("takes and gives trees, captures, draws, and lets some inputs have no gradient", async () => {
    const captured = random.normal(random.key(3), [8]);
    const f = ({ a, b }: { a: Tensor; b: [Tensor, Tensor] }, key: random.Key, mask: Tensor<"bool">) => {
      const h = a.mul(b[0]).sin().mul(captured);
      const dropped = where(random.uniform(key, [8]).lt(0.5), h, 0).exp();
      return { sum: dropped.add(b[1]), parts: [where(mask, dropped, h), a] as const };
    };
    const of =
      (form: <A extends readonly unknown[], R>(g: (...args: A) => R) => (...args: A) => R) =>
      (a: Tensor, c: Tensor) => {
        const { sum, parts } = form(f)({ a, b: [a.exp(), c] }, random.key(5), a.gt(0));
        return sum.mul(parts[0]).mul(parts[1]).sum();
      };
    const a = random.normal(random.key(1), [8]);
    const c = random.normal(random.key(2), [8]);
    for (const transform of [
      (g: ReturnType<typeof of>) => grad((both: { a: Tensor; c: Tensor }) => g(both.a, both.c))({ a, c }).a,
      (g: ReturnType<typeof of>) => grad(g)(a, c),
      (g: ReturnType<typeof of>) => vmap(grad(g), { in: [0, null] })(stack([a, a.mul(2)]), c),
    ])
      expect(await transform(of(remat)).data()).toEqual(await transform(of(forms.plain)).data());
  });
});

describe("a chain of blocks", () => {
  const [rows, width, hidden] = [64, 32, 512];
  type Blocks = (x: Tensor, weights: readonly Weights[]) => Tensor;
  const chain =
    (form: (f: typeof block) => typeof block): Blocks =>
    (x, weights) =>
      weights.reduce((h, w) => form(block)(h, w), x);

  /** Bytes of intermediates beside weights, inputs and gradients, or of what is made of those. */
  const bytes = (n: number, blocks: Blocks, made = (gradients: readonly Tensor[]) => gradients) => {
    let index = 0;
    const input = (shape: readonly number[]) =>
      new Tensor(makeNode({ kind: "input", index: index++ }, [], shape, "float32"));
    const weights = Array.from({ length: n }, () => ({
      up: input([width, hidden]),
      down: input([hidden, width]),
    }));
    const loss = (all: Weights[], x: Tensor) => blocks(x, all).square().mean();
    const gradients = grad(loss)(weights, input([rows, width]));
    const results = made(gradients.flatMap(({ up, down }) => [up, down]));
    const canonical = canonicalise(
      results.map(({ node }) => node),
      false,
    );
    const program = compileGraph(canonical.build(), {
      target: target(64),
      inputs: canonical.leaves,
      donated: new Set(),
    });
    return program.slots.reduce((sum, slot) => sum + slot, 0);
  };
  const [inputs, inside] = [rows * width * 4, rows * hidden * 4];

  test.each([4, 8, 16])("of %i keeps their inputs and the values of one", (n) => {
    expect(
      bytes(
        n,
        chain((f) => f),
      ),
    ).toBeGreaterThan(n * inside);
    expect(bytes(n, chain(remat))).toBeLessThan(n * inputs + 4 * inside);
  });

  test.each([4, 8, 16])("of %i keeps no more where gradients wait for their norm", (n) => {
    const norm = (gradients: readonly Tensor[]) => [
      gradients.map((g) => g.square().sum()).reduce((sum, each) => sum.add(each)),
    ];
    const gradients = 2 * n * width * hidden * 4;
    expect(bytes(n, chain(remat), norm)).toBeLessThan(n * inputs + 4 * inside + gradients);
    const low = (all: readonly Tensor[]) => norm(all.map((g) => g.slice([0, 0], [4, 4])));
    expect(bytes(n, chain(remat), low)).toBeLessThan(n * inputs + 5 * inside);
  });

  test("keeps the inputs of outer blocks and of those of one, nested", () => {
    const outer = remat(chain(remat));
    const fours: Blocks = (x, weights) =>
      [0, 4, 8, 12].reduce((h, i) => outer(h, weights.slice(i, i + 4)), x);
    expect(bytes(16, fours)).toBeLessThan(8 * inputs + 4 * inside);
  });
});
