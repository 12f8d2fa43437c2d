import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generator } from "../../src/base/generator.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import {
  cat,
  compile,
  customVjp,
  type Device,
  grad,
  hessian,
  hvp,
  init,
  jacfwd,
  jacrev,
  jvp,
  ones,
  random,
  stack,
  Tensor,
  tensor,
  tree,
  valueAndGrad,
  vjp,
  vmap,
} from "../../src/index.ts";
import { dropout, functional, linear } from "../../src/nn/index.ts";
import { describeComposed } from "../devices.ts";
import { makeLeaf, prune } from "../fuzz/case.ts";
import { Draft, Random } from "../fuzz/draw.ts";
import { learn } from "../fuzz/fuzz.ts";
import { buildOf, isFloatTensor, weighted } from "../fuzz/judge.ts";
import { operations } from "../fuzz/surface.ts";
import { long } from "../long.ts";

const square = (x: Tensor) => x.square().sum();

/** Whether numbers agree up to the rounding of float32 in another order. */
function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, what = "", within = 2e-5) {
  expect(actual.length, what).toBe(expected.length);
  const largest = Array.from(expected).reduce(
    (most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most),
    1e-30,
  );
  for (let i = 0; i < expected.length; i++) {
    if (Object.is(actual[i], expected[i]) || actual[i] === expected[i]) continue;
    expect(
      Math.abs(actual[i]! - expected[i]!) / largest,
      `${what} [${i}]: ${actual[i]} for ${expected[i]}`,
    ).toBeLessThan(within);
  }
}

describeComposed("vmap", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test("rows, columns, shared arguments, an axis of the result", async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await vmap((row: Tensor) => row.sum())(x).toArray()).toEqual([6, 15]);
    expect(await vmap((column: Tensor) => column.sum(), { in: 1 })(x).toArray()).toEqual([5, 7, 9]);
    expect(await vmap((column: Tensor) => column.sum(), { in: -1 })(x).toArray()).toEqual([5, 7, 9]);
    const scaled = vmap((row: Tensor, by: Tensor) => row.mul(by), { in: [0, null], out: 1 });
    expect(await scaled(x, tensor([1, 10, 100])).toArray()).toEqual([
      [1, 4],
      [20, 50],
      [300, 600],
    ]);
    expect(await vmap((row: Tensor, by: number) => row.mul(by))(x, 2).toArray()).toEqual([
      [2, 4, 6],
      [8, 10, 12],
    ]);
    const same = vmap((_: Tensor) => tensor([7, 8]))(x);
    expect(await same.toArray()).toEqual([
      [7, 8],
      [7, 8],
    ]);
    const products = vmap(
      vmap((a: Tensor, b: Tensor) => a.mul(b), { in: [null, 0] }),
      { in: [0, null] },
    );
    expect(await products(tensor([1, 2]), tensor([3, 4, 5])).toArray()).toEqual([
      [3, 4, 5],
      [6, 8, 10],
    ]);
  });

  test("per-sample gradients are those of a loop", async () => {
    const layer = linear(5, 3);
    const params = layer.init(random.key(1));
    const [xs, ys] = [random.normal(random.key(2), [4, 5]), random.normal(random.key(3), [4, 3])];
    const loss = (p: typeof params, x: Tensor, y: Tensor) => layer.apply(p, x).tanh().sub(y).square().sum();
    const each = vmap(grad(loss), { in: [null, 0, 0] })(params, xs, ys);
    const loop = [0, 1, 2, 3].map((i) => {
      const one = (all: Tensor) => all.slice([i], [i + 1]).squeeze(0);
      return grad(loss)(params, one(xs), one(ys));
    });
    const stacked = tree.zip(loop as [(typeof loop)[0]], (leaves) => stack(leaves));
    for (const [path, leaf] of tree.entries(each)) {
      const other = tree.entries(stacked).find(([name]) => name === path)![1];
      expectClose(await leaf.data(), await other.data(), path);
    }
  });

  test("without products of matrices, gradients are those of a loop bit for bit", async () => {
    const loss = (w: Tensor, x: Tensor) => w.mul(x).sum().tanh().exp();
    const [w, xs] = [random.normal(random.key(2), [37]), random.normal(random.key(3), [4, 37])];
    const each = await vmap(grad(loss), { in: [null, 0] })(w, xs).data();
    const loop = [0, 1, 2, 3].map((i) => grad(loss)(w, xs.slice([i], [i + 1]).squeeze(0)));
    expect(each).toEqual(await stack(loop).data());
  });

  test("random numbers: the same of one key, others of keys folded by index, those of the loop", async () => {
    const key = random.key(3);
    const shared = await vmap((x: Tensor) => x.add(random.normal(key, [4])))(
      tensor([
        [0, 0, 0, 0],
        [0, 0, 0, 0],
      ]),
    ).toArray();
    expect((shared as number[][])[0]).toEqual((shared as number[][])[1]);
    const own = vmap((i: Tensor<"int32">) => random.normal(key.fold(i), [4]));
    const drawn = await own(tensor([0, 1, 7], { dtype: "int32" })).toArray();
    const loop = await Promise.all([0, 1, 7].map((i) => random.normal(key.fold(i), [4]).toArray()));
    expect(drawn).toEqual(loop);
  });

  test("compiled, in gradients and through caches of one program", async () => {
    const step = compile(
      (w: Tensor, x: Tensor) =>
        grad((v: Tensor) => vmap((row: Tensor) => row.mul(v).sum().sin())(x).sum())(w),
      { device },
    );
    const [w, x] = [random.normal(random.key(0), [3]), random.normal(random.key(1), [6, 3])];
    const plain = grad((v: Tensor) => x.mul(v).sum(1).sin().sum())(w);
    expectClose(await (await step(w, x)).data(), await plain.data());
  });

  test("Hessians, Jacobians and products of them", async () => {
    const x = tensor([1, 2, 3]);
    const cube = (x: Tensor) => x.pow(3).sum();
    expect(await hessian(cube)(x).toArray()).toEqual([
      [6, 0, 0],
      [0, 12, 0],
      [0, 0, 18],
    ]);
    expect(await hvp(cube, x, tensor([1, 1, 1])).toArray()).toEqual([6, 12, 18]);
    const outer = (x: Tensor) => x.outer(x.slice([0], [2]));
    for (const jacobian of [jacrev(outer), jacfwd(outer)]) {
      const J = jacobian(x);
      expect(J.shape).toEqual([3, 2, 3]);
      expect(await J.toArray()).toEqual([
        [
          [2, 0, 0],
          [2, 1, 0],
        ],
        [
          [2, 1, 0],
          [0, 4, 0],
        ],
        [
          [3, 0, 1],
          [0, 3, 2],
        ],
      ]);
    }
    const [y, dy] = jvp(outer, x, tensor([1, 0, 0]));
    expect(y.shape).toEqual([3, 2]);
    expect(await dy.toArray()).toEqual([
      [2, 2],
      [2, 0],
      [3, 0],
    ]);
  });
});

describe("on the CPU", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  long(
    "vmap of random graphs of all operations, and of their gradients, is the loop",
    async () => {
      const chosen = operations().filter(({ name }) => !/pack/i.test(name));
      const { learned } = learn(["float32", "int32", "bool"], chosen);
      const draw = new Random(generator(4));
      let [compared, gradients] = [0, 0];
      const rounds = 400;
      for (let round = 0; round < rounds; round++) {
        const draft = new Draft(draw, learned, {
          dtypes: ["float32", "int32", "bool"],
          lengths: [1, 2, 3, 4],
          makers: [],
          most: 64,
        });
        draft.leaf("float32", draft.shape(3));
        draft.leaf(draw.pick(["float32", "int32", "bool"] as const), draft.shape(3));
        const ids: string[] = [];
        for (let i = 0; i < 3; i++) {
          const found = draft.call(draw.pick(chosen));
          if (!("thrown" in found)) ids.push(found.id);
        }
        const outputs = [...draft.values].flatMap(([id, value]) =>
          value instanceof Tensor &&
          value.dtype !== "number" &&
          ids.some((own) => id === own || id.startsWith(`${own}.`))
            ? [id]
            : [],
        );
        const graph = prune({
          leaves: draft.leaves,
          steps: draft.steps,
          outputs,
          mode: { gradient: 0, run: "together", donate: false },
        });
        const build = buildOf(graph);
        const isBatched = graph.leaves.map(
          ({ dtype }) => dtype !== "key" && dtype !== "number" && draw.chance(0.8),
        );
        if (!isBatched.includes(true)) continue;
        // Two examples: the leaf, and one with its values the other way round.
        const examples = [0, 1].map((which) =>
          graph.leaves.map((leaf, i) =>
            makeLeaf(which === 1 && isBatched[i] ? { ...leaf, values: [...leaf.values].reverse() } : leaf),
          ),
        );
        const slopes = (leaves: readonly unknown[]) => {
          const floats = leaves.filter(isFloatTensor);
          return grad((given: readonly Tensor[]) => {
            const rest = [...given];
            return weighted(build(leaves.map((leaf) => (isFloatTensor(leaf) ? rest.shift() : leaf))))!;
          })(floats);
        };
        const differentiable = build(examples[0]!).some(isFloatTensor);
        for (const f of differentiable ? [build, slopes] : [build]) {
          let singles: Awaited<ReturnType<typeof referenceValues>>[];
          try {
            singles = await Promise.all(examples.map((leaves) => referenceValues(f(leaves) as Tensor[])));
          } catch {
            continue; // an index that only the other example has, or a number that is refused when it is known
          }
          const stacked = examples[0]!.map((leaf, i) =>
            isBatched[i] ? stack([leaf as Tensor, examples[1]![i] as Tensor]) : leaf,
          );
          // Keys are no trees: they are captured.
          const tensors = stacked.flatMap((leaf, i) =>
            graph.leaves[i]!.dtype === "key" ? [] : [[leaf, i] as const],
          );
          const all = vmap(
            (...given: readonly unknown[]) => {
              const leaves = [...stacked];
              for (const [at, [, i]] of tensors.entries()) leaves[i] = given[at];
              return [...(f(leaves) as readonly Tensor[])];
            },
            { in: tensors.map(([, i]) => (isBatched[i] ? 0 : null)) },
          )(...tensors.map(([leaf]) => leaf));
          const [first, second] = singles;
          (await referenceValues(all)).forEach((values, i) => {
            const expected = [...first![i]!, ...second![i]!];
            expectClose(
              values,
              expected,
              `round ${round}: ${graph.steps.map(({ operation }) => operation.name)}`,
              1e-4,
            );
          });
          compared++;
          if (f === slopes) gradients++;
        }
      }
      // About three in four rounds have something to compare; far fewer, and the drafts have lost their way.
      expect(compared).toBeGreaterThan(rounds / 4);
      expect(gradients).toBeGreaterThan(rounds / 20);
    },
    400_000,
  );

  test("argument numbers", async () => {
    const f = (x: Tensor, scale: number, y: Tensor) => x.mul(y).mul(scale).sum();
    const [x, y] = [tensor([1, 2]), tensor([3, 4])];
    expect(await grad(f, { argnums: 2 })(x, 2, y).toArray()).toEqual([2, 4]);
    const [dx, dy] = grad(f, { argnums: [0, 2] })(x, 2, y);
    expect([await dx.toArray(), await dy.toArray()]).toEqual([
      [6, 8],
      [2, 4],
    ]);
    const [value, [second]] = valueAndGrad(f, { argnums: [2] })(x, 2, y);
    expect([await value.item(), await second.toArray()]).toEqual([22, [2, 4]]);
    expect(() => grad(f, { argnums: 3 })(x, 2, y)).toThrow(/argnums names argument 3; given 3/);
    expect(() => grad(f, { argnums: [0, 0] as never })).toThrow(/argnums/);
    expect(() => grad(f, { argnum: 1 } as never)).toThrow(/argnum/);
    expect(() => grad((n: Tensor) => n.sum(), { argnums: [0] })(tensor([1], { dtype: "int32" }))).toThrow(
      /0 is int32/,
    );
  });

  test("a gradient of one's own: called with what was kept, in every transform", async () => {
    let calls = 0;
    const scaled = customVjp(
      (x: Tensor, by: Tensor) => {
        calls++;
        return [{ y: x.mul(by), twice: x.mul(2) }, { by }];
      },
      ({ by }, { y, twice }) => [y.mul(by).mul(10).add(twice.mul(2)), by.mul(0)],
    );
    const f = (x: Tensor) => scaled(x, tensor([3, 5])).y.sum();
    expect(await f(tensor([1, 2])).item()).toBe(13);
    expect(await grad(f)(tensor([1, 2])).toArray()).toEqual([30, 50]);
    const both = (x: Tensor) => {
      const { y, twice } = scaled(x, tensor([3, 5]));
      return y.sum().add(twice.sum());
    };
    expect(await grad(both)(tensor([1, 2])).toArray()).toEqual([32, 52]);
    expect(await jvp(f, tensor([1, 2]), tensor([1, 1]))[1].item()).toBe(80);
    expect(
      await vmap(grad(f))(
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ).toArray(),
    ).toEqual([
      [30, 50],
      [30, 50],
    ]);
    const mapped = (xs: Tensor) =>
      vmap((x: Tensor, by: Tensor) => scaled(x, by).y.sum())(
        xs,
        tensor([
          [1, 2],
          [3, 4],
        ]),
      ).sum();
    expect(await grad(mapped)(ones([2, 2])).toArray()).toEqual([
      [10, 20],
      [30, 40],
    ]);
    expect(await (await compile(grad(f))(tensor([1, 2]))).toArray()).toEqual([30, 50]);
    expect(calls).toBeGreaterThan(0);
    // The gradient of the gradient is that of what backward builds.
    const cubic = customVjp(
      (x: Tensor) => [x.pow(3), x],
      (x, g: Tensor) => [g.mul(x.square())],
    );
    expect(
      await grad((x: Tensor) => grad((x: Tensor) => cubic(x).sum())(x).sum())(tensor([2])).toArray(),
    ).toEqual([4]);
    // Of what is null there is no gradient: of whole numbers, or of a tree.
    const rounded = customVjp(
      (x: Tensor, steps: Tensor<"int32">, _: { least: Tensor; most: Tensor }) => [
        x.mul(steps.astype("float32")).round(),
        null,
      ],
      (_, g: Tensor) => [g, null, undefined],
    );
    const bounds = { least: tensor(0), most: tensor(9) };
    const withBounds = (x: Tensor, b: typeof bounds) =>
      rounded(x, tensor([2, 3], { dtype: "int32" }), b).sum();
    const [dx, db] = grad(withBounds, { argnums: [0, 1] })(tensor([1, 2]), bounds);
    expect(await Promise.all([dx.toArray(), db.least.item(), db.most.item()])).toEqual([[1, 1], 0, 0]);
    const each = vmap((x: Tensor) => grad(withBounds)(x, bounds))(ones([3, 2]));
    expect(await each.toArray()).toEqual([1, 2, 3].map(() => [1, 1]));

    const wrong = customVjp(
      (x: Tensor) => [x.mul(1), null],
      () => [ones([3])],
    );
    expect(() => grad((x: Tensor) => wrong(x).sum())(ones([2]))).toThrow(
      /float32\[3\]; its argument is float32\[2\]/,
    );
    const none = customVjp(
      (x: Tensor) => [x.mul(1), null],
      () => [] as never,
    );
    expect(() => grad((x: Tensor) => none(x).sum())(ones([2]))).toThrow(
      /backward returned \[\]; .* \[\*\], or null/,
    );
    expect(() =>
      customVjp(
        (x: Tensor) => x as never,
        () => [null],
      )(ones([2])),
    ).toThrow(/must return \[outputs/);
  });

  test("trees of inputs and outputs give trees of blocks", async () => {
    const f = ({ a, b }: { a: Tensor; b: Tensor }) => ({ sum: a.add(b.sum()), product: a.sum().mul(b) });
    const at = { a: tensor([1, 2]), b: tensor([3, 4, 5]) };
    for (const J of [jacrev(f)(at), jacfwd(f)(at)]) {
      expect(await J.sum.a.toArray()).toEqual([
        [1, 0],
        [0, 1],
      ]);
      expect(await J.sum.b.toArray()).toEqual([
        [1, 1, 1],
        [1, 1, 1],
      ]);
      expect(await J.product.a.toArray()).toEqual([
        [3, 3],
        [4, 4],
        [5, 5],
      ]);
      expect(await J.product.b.toArray()).toEqual([
        [3, 0, 0],
        [0, 3, 0],
        [0, 0, 3],
      ]);
    }
    const H = hessian(({ a, b }: typeof at) => a.sum().mul(b.square().sum()))(at);
    expect(await H.a.a.toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(await H.a.b.toArray()).toEqual([
      [6, 8, 10],
      [6, 8, 10],
    ]);
    expect(await H.b.b.toArray()).toEqual([
      [6, 0, 0],
      [0, 6, 0],
      [0, 0, 6],
    ]);
  });

  test("tangents agree with differences of values", async () => {
    const f = (x: Tensor) =>
      cat(
        [
          functional.layerNorm(x.tanh(), [3]).softmax(-1),
          x.cumsum(1).amax(1, { keepdim: true }),
          x.gather(1, tensor([[2], [0]], { dtype: "int32" })),
        ],
        1,
      );
    const x = tensor(
      [
        [0.25, -1, 0.5],
        [2, 0.75, -0.5],
      ],
      { dtype: "float64" },
    );
    const v = tensor(
      [
        [1, 0.5, -1],
        [0.25, 2, 1],
      ],
      { dtype: "float64" },
    );
    const [, dy] = jvp(f, x, v);
    const h = 1e-6;
    const [exact, plus, minus] = await referenceValues([dy, f(x.add(v.mul(h))), f(x.sub(v.mul(h)))]);
    expectClose(
      exact!,
      plus!.map((y, i) => (y - minus![i]!) / (2 * h)),
      "jvp",
      1e-8,
    );
  });

  test("dropout differs between examples whose keys do", async () => {
    const layer = dropout(0.5);
    const f = (x: Tensor, i: Tensor<"int32">) =>
      layer.apply(layer.init(random.key(0)), x, { training: true, key: random.key(1).fold(i) });
    const rows = (await vmap(f)(ones([2, 32]), tensor([0, 1], { dtype: "int32" })).toArray()) as number[][];
    expect(rows[0]).not.toEqual(rows[1]);
    expect(rows[1]).toEqual(
      await layer
        .apply(layer.init(random.key(0)), ones([32]), { training: true, key: random.key(1).fold(1) })
        .toArray(),
    );
  });

  test("what cannot be mapped is refused by name", () => {
    const x = ones([2, 3]);
    expect(() => vmap(square)(ones([]))).toThrow(/argument 0 is float32\[\], which has no axis/);
    expect(() => vmap(square, { in: 2 })(x)).toThrow(/axis 2/);
    expect(() => vmap((a: Tensor, b: Tensor) => a.add(b))(x, ones([3]))).toThrow(
      /argument 1 is float32\[3\], with 3 along axis 0, where others have 2/,
    );
    expect(() => vmap((a: Tensor) => a, { in: [null] })(x)).toThrow(/no argument has a tensor with an axis/);
    expect(() => vmap((a: Tensor, b: Tensor) => a.add(b), { in: [0] })(x, x)).toThrow(
      /in has 1 axes for 2 arguments/,
    );
    expect(() => vmap(square, { axis: 1 } as never)).toThrow(/axis/);
    expect(() => vmap((a: Tensor) => a.data() as never)(x)).toThrow(/a function is being traced/);
    expect(() => vmap(async (a: Tensor) => a)(x)).toThrow(/async/);
    expect(() => jvp((a: Tensor) => a, x, [x] as never)).toThrow();
    expect(() => jvp((a: Tensor) => a, x, ones([3, 2]))).toThrow(/does not expand/);
    expect(() => jvp((a: Tensor) => a, x, ones([2, 3], { dtype: "int32" }) as never)).toThrow(
      /tangent is int32/,
    );
    expect(() => vjp((a: Tensor) => a, x)[1](ones([2, 3], { dtype: "int32" }) as never)).toThrow(
      /cotangent is int32/,
    );
  });
});
