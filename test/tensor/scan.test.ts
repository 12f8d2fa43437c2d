import { beforeAll, expect, test } from "vitest";
import { evaluate, type Values } from "../../src/graph/evaluate.ts";
import {
  compile,
  grad,
  hvp,
  init,
  jacfwd,
  jvp,
  remat,
  type ScanOptions,
  scan,
  sigmoid,
  stack,
  type Tensor,
  tensor,
  tree,
  vmap,
  where,
  zeros,
} from "../../src/index.ts";
import type { TensorStorage } from "../../src/runtime/storage.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { thorough } from "../thorough.ts";

// A loop in the graph is held against the same steps written out.

type Step<C, X, Y> = (carry: C, x: X) => readonly [C, Y];
type Run = <C, X, Y>(f: Step<C, X, Y>, init: C, xs: X, options?: ScanOptions) => [C, Y];

/** Written out: a copy of the body for each step. */
const unrolled: Run = (f, init, xs, { length = 0, reverse = false } = {}) => {
  const steps = tree.leaves(xs)[0]?.shape[0] ?? length;
  const order = Array.from({ length: steps }, (_, i) => (reverse ? steps - 1 - i : i));
  let carry = init;
  const all: unknown[] = [];
  for (const i of order) {
    const [next, y] = f(
      carry,
      tree.map(xs, (leaf) => leaf.at(i).get()),
    );
    carry = next;
    all[i] = y;
  }
  const [first, ...rest] = all as [unknown, ...unknown[]];
  return [carry, tree.zip([first, ...rest], (leaves) => stack(leaves, 0))] as never;
};

type Weights = { readonly w: Tensor; readonly u: Tensor; readonly b: Tensor };
const [batch, inputs, hidden, steps] = [2, 3, 2, 3];

function gru({ w, u, b }: Weights) {
  return (h: Tensor, x: Tensor): readonly [Tensor, Tensor] => {
    const given = x.matmul(w).add(b);
    const own = h.matmul(u);
    const part = (of: Tensor, i: number) => of.at("...", [i * hidden, (i + 1) * hidden]).get();
    const z = sigmoid(part(given, 0).add(part(own, 0)));
    const r = sigmoid(part(given, 1).add(part(own, 1)));
    const n = part(given, 2)
      .add(r.mul(part(own, 2)))
      .tanh();
    const next = n.add(z.mul(h.sub(n)));
    return [next, next.square().sum(-1)];
  };
}

/** Numbers that the host has, so that the evaluator may read them. */
const numbers = (seed: number, shape: readonly number[]): Tensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return tensor(Array.from({ length: size }, (_, i) => 0.8 * Math.sin(1.7 * i + 3 * seed + 1))).reshape(
    shape,
  );
};

const make = () => ({
  weights: {
    w: numbers(1, [inputs, 3 * hidden]),
    u: numbers(2, [hidden, 3 * hidden]),
    b: numbers(3, [3 * hidden]),
  },
  h0: numbers(4, [batch, hidden]),
  xs: numbers(5, [steps, batch, inputs]),
});

type Params = ReturnType<typeof make>;

/** In float64, by the reference evaluator. */
const judged = (result: unknown): Values[] =>
  evaluate(
    tree.leaves(result).map(({ node }) => node),
    { buffer: (storage) => (storage as TensorStorage).atHand() ?? [], input: () => [] },
  );

function expectClose(
  got: readonly ArrayLike<number>[],
  wanted: readonly ArrayLike<number>[],
  error: number,
): void {
  expect(got.map(({ length }) => length)).toEqual(wanted.map(({ length }) => length));
  got.forEach((values, i) => {
    const largest = Math.max(1, ...Array.from(wanted[i]!, Math.abs));
    for (let j = 0; j < values.length; j++)
      expect(Math.abs(values[j]! - wanted[i]![j]!)).toBeLessThanOrEqual(error * largest);
  });
}

/** What a backend makes of it, and the evaluator of the steps written out; sums are short, so that few bits are lost. */
async function expectAlike(got: unknown, wanted: unknown): Promise<void> {
  const values = await Promise.all(tree.leaves(got).map((leaf) => leaf.data()));
  expectClose(
    values.map((each) => Array.from(each, Number)),
    judged(wanted),
    2e-4,
  );
}

const options: ScanOptions[] = [{}, { reverse: true }, { gradient: "recompute" }];

const lossWith =
  (run: Run, of: ScanOptions = {}) =>
  ({ weights, h0, xs }: Params) => {
    const [last, ys] = run(gru(weights), h0, xs, of);
    return last
      .mul(tensor([1, -2]))
      .sum()
      .add(ys.square().sum());
  };

const nested = (run: Run) => (a: Tensor) => {
  const xs = [
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
    [
      [0, 1],
      [1, 0],
      [1, 1],
    ],
  ];
  const outer = (c: Tensor, x: Tensor): readonly [Tensor, Tensor] => {
    const [inner, seen] = run((d: Tensor, y: Tensor) => [d.mul(a).add(y).sin(), d], c, x);
    return [inner.add(c.mul(0.5)), seen];
  };
  const [last, seen] = run(outer, tensor([0.1, 0.2]), tensor(xs));
  return last.sum().add(seen.square().sum());
};

/** Each with what runs a loop, so that one is compared with the other. */
const cases: Record<string, (run: Run) => unknown> = {
  ...Object.fromEntries(
    options.flatMap((of) => {
      const name = JSON.stringify(of);
      const moved = (p: Params) => tree.map(p, (leaf) => leaf.mul(0.5).add(0.1));
      return [
        [`values ${name}`, (run: Run) => run(gru(make().weights), make().h0, make().xs, of)],
        [`gradients ${name}`, (run: Run) => grad(lossWith(run, of))(make())],
        [`jvp ${name}`, (run: Run) => jvp(lossWith(run, of), make(), moved(make()))],
        [`hvp ${name}`, (run: Run) => hvp(lossWith(run, of), make(), moved(make()))],
        [
          `gradients of a gradient ${name}`,
          (run: Run) => grad((p: Params) => grad(lossWith(run, of))(p).weights.u.square().sum())(make()),
        ],
      ];
    }),
  ),
  vmap: (run) =>
    vmap((h0: Tensor) => run(gru(make().weights), h0, make().xs))(numbers(6, [2, batch, hidden])),
  "vmap of grad": (run) =>
    vmap((xs: Tensor) => grad(lossWith(run))({ ...make(), xs }))(numbers(7, [2, steps, batch, inputs])),
  "grad of vmap": (run) =>
    grad((p: Params) =>
      vmap((xs: Tensor) => lossWith(run)({ ...p, xs }))(numbers(7, [2, steps, batch, inputs])).sum(),
    )(make()),
  "a loop in a loop": (run) => nested(run)(tensor([0.3, 0.6])),
  "its gradient": (run) => grad(nested(run))(tensor([0.3, 0.6])),
  "its Hessian": (run) => jacfwd(grad(nested(run)))(tensor([0.3, 0.6])),
  "dtypes and what is left out": (run) => {
    const f = (c: { n: Tensor; best: Tensor; unused: Tensor }, x: { v: Tensor; skip: Tensor }) => {
      const better = x.v.gt(c.best);
      const next = { n: c.n.add(1), best: where(better, x.v, c.best), unused: c.unused.mul(2) };
      return [next, { at: c.n, better, none: null }] as const;
    };
    const start = { n: tensor(0, { dtype: "int32" }), best: tensor(-10), unused: tensor([1, 2]) };
    const [{ n, best }, ys] = run(f, start, { v: tensor([3, 1, 4, 1, 5]), skip: zeros([5]) });
    return [n, best, ys];
  },
  remat: (run) =>
    grad((w: Tensor) =>
      remat((w: Tensor) =>
        run(
          (c: Tensor, x: Tensor) => [c.mul(w).add(x.mul(0.25)), c],
          tensor([1, 2]),
          numbers(8, [3, 2]),
        )[1].sum(),
      )(w),
    )(tensor([0.5, 2])),
};

test.each(Object.keys(cases))("the evaluator: %s", (name) => {
  expectClose(judged(cases[name]!(scan)), judged(cases[name]!(unrolled)), 1e-12);
});

describeBackends("scan", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  // As one program, so that what is common is compiled once.
  const few = [
    "values {}",
    "gradients {}",
    'gradients {"reverse":true}',
    "vmap",
    "a loop in a loop",
    "its gradient",
    "dtypes and what is left out",
  ];
  const together = thorough ? Object.keys(cases) : few;
  test("gives what the steps give, written out", { timeout: 120_000 }, async () => {
    const all = compile(() => together.map((name) => cases[name]!(scan)));
    await expectAlike(
      await all(),
      together.map((name) => cases[name]!(unrolled)),
    );
  });

  test("takes numbers of the host, again and again", async () => {
    const loss = (rate: Tensor | number) => (w: Tensor) =>
      scan(
        (c: Tensor, x: Tensor) => [c.mul(w).add(x.mul(rate)), null],
        tensor([1, 2]),
        tensor([
          [1, 2],
          [3, 4],
        ]),
      )[0].sum();
    const step = compile((w: Tensor, rate: number) => grad(loss(rate))(w));
    // (c w + r x) w + r x': its slope is 2 c w + r x.
    expect(await (await step(tensor([0.5, 2]), 0.25)).toArray()).toEqual([1.25, 8.5]);
    expect(await (await step(tensor([0.5, 2]), 0.5)).toArray()).toEqual([1.5, 9]);
  });

  test("begins with one element that a number of the host fills, whatever its shape", async () => {
    for (const shape of [[], [1], [1, 1]]) {
      const x = tensor([1, 2, 4], { shape: [3, ...shape] });
      const [last, all] = scan((c: Tensor, x: Tensor) => [c.add(x), c], zeros(shape), x);
      await tree.evaluate([last, all]);
      expect(last.shape).toEqual(shape);
      expect([...(await last.data()), ...(await all.data())]).toEqual([7, 0, 1, 3]);
    }
  });

  longOn(backend)("a GRU over 256 steps is a handful of kernels, and so is its gradient", async () => {
    const long = numbers(9, [256, batch, inputs]);
    const forward = compile((p: Params) => scan(gru(p.weights), p.h0, p.xs)[1]);
    await forward({ ...make(), xs: long });
    expect(forward.inspect().kernels).toBe(4); // that of all slices, two of the recurrence, and the sums
    const step = compile((p: Params) => grad(lossWith(scan))(p).weights);
    const [got] = tree.leaves(await step({ ...make(), xs: long }));
    expect(step.inspect().kernels).toBeLessThanOrEqual(16);
    for (const value of await got!.data()) expect(Number.isFinite(value)).toBe(true);
  });
});

test("takes one step, none, and a length", async () => {
  await init({ backend: "cpu" });
  const f = (c: Tensor, x: Tensor): readonly [Tensor, Tensor] => [c.add(x), c.mul(x)];
  expectClose(judged(scan(f, tensor(2), tensor([3]))), [[5], [6]], 0);
  expectClose(judged(scan(f, tensor(2), zeros([0]))), [[2], []], 0);
  expectClose(judged(scan((c: Tensor) => [c.mul(2), null], tensor(1), null, { length: 10 })), [[1024]], 0);
});

test("recompute keeps less for the gradient", async () => {
  await init({ backend: "cpu" });
  const xs = numbers(1, [64, 16, 32]);
  const f =
    (w: Tensor) =>
    (c: Tensor, x: Tensor): readonly [Tensor, null] => [
      c.matmul(w).tanh().matmul(w).tanh().matmul(w).add(x).tanh(),
      null,
    ];
  const bytes = async (gradient: "store" | "recompute") => {
    const step = compile((w: Tensor) =>
      grad((w: Tensor) => scan(f(w), zeros([16, 32]), xs, { gradient })[0].sum())(w),
    );
    const g = await step(numbers(2, [32, 32]).mul(0.2));
    return [await g.data(), step.inspect().bytes] as const;
  };
  const [[a, kept], [b, again]] = [await bytes("store"), await bytes("recompute")];
  expectClose([a], [b], 1e-4);
  expect(again).toBeLessThan(kept / 2);
});

test("says what does not fit", () => {
  const xs = zeros([3, 2]);
  const same = (c: Tensor, x: Tensor): readonly [Tensor, Tensor] => [c, x];
  expect(() => scan(same, zeros([2]), tensor(1))).toThrow(/xs is float32\[\], which has no axis/);
  expect(() => scan(same, zeros([2]), xs, { length: 4 })).toThrow(
    /xs is float32\[3,2\], of 3 steps where there are 4/,
  );
  expect(() => scan((c: Tensor) => [c, null], zeros([2]), null)).toThrow(/Say how many steps/);
  expect(() => scan((c: Tensor) => [c.sum(), c] as never, zeros([2]), xs)).toThrow(/its shape must stay/i);
  expect(() => scan((c: Tensor) => [c.astype("int32"), c] as never, zeros([2]), xs)).toThrow(/Cast with/);
  expect(() => scan((c: Tensor) => [[c], c] as never, zeros([2]), xs)).toThrow(/must be alike/);
  expect(() => scan((c: Tensor) => c as never, zeros([2]), xs)).toThrow(/must return \[/);
});
