import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import { compile, init, random, type Tensor, tree, valueAndGrad } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";

// Proposition 2: SGD follows orthogonal matrices; Adam signed permutations, and diagonal ones with rates of their own
// for each component; Adam does not follow rotations.

const r = 3;
const steps = 40;
const model = lora.inject(nn.linear(7, 5), { r, alpha: 6, init: "random", targetModules: "all-linear" });

const key = random.key(11);
const normal = (name: string, shape: number[]): Tensor =>
  random.normal(key.fold(name), shape).astype("float64");
const [x, y] = [normal("x", [9, 7]), normal("y", [9, 5])];
const start = tree.map(model.init(key), (leaf) => leaf.astype("float64"));

interface Trained {
  readonly losses: readonly number[];
  readonly params: nn.Params;
}

async function train(optimizer: optim.Optimizer, from: nn.Params): Promise<Trained> {
  const [first, frozen] = lora.partition(from);
  const step = compile((own: nn.Params, state: optim.OptimizerState) => {
    const loss = (p: nn.Params) => nn.mseLoss(model.apply(tree.combine<nn.Params>(frozen, p), x), y);
    const [value, gradients] = valueAndGrad(loss)(own);
    const [updates, next] = optimizer.update(gradients, state, own);
    return { params: optim.applyUpdates(own, updates), state: next, value };
  });
  let [params, state] = [first, optimizer.init(first)];
  const losses: number[] = [];
  for (let t = 0; t < steps; t++) {
    const after = await step(params, state);
    ({ params, state } = after);
    losses.push(await after.value.item());
  }
  return { losses, params: tree.combine<nn.Params>(frozen, params) };
}

/** Largest relative difference of losses, and of parameters after mixing. */
async function deviation(optimizer: optim.Optimizer, g: gauge.MatrixGauge): Promise<number> {
  const [one, other] = [await train(optimizer, start), await train(optimizer, gauge.applyMatrix(g, start))];
  const errors = one.losses.map((loss, i) => Math.abs(other.losses[i]! - loss) / loss);
  const mixed = tree.leaves(gauge.applyMatrix(g, one.params));
  for (const [i, leaf] of tree.leaves(other.params).entries())
    errors.push(await mixed[i]!.sub(leaf).abs().amax().div(leaf.abs().amax()).item());
  return Math.max(...errors);
}

const rotation = ([a, b]: readonly [number, number]) => {
  const [c, s, d, t] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
  return gauge.matrix([
    [c, -s * d, s * t],
    [s, c * d, -c * t],
    [0, t, d],
  ]);
};
const angles = fc.tuple(
  fc.double({ min: 0.3, max: 1.2, noNaN: true }),
  fc.double({ min: 0.3, max: 1.2, noNaN: true }),
);
const signedPermutation = fc
  .tuple(
    fc.shuffledSubarray([0, 1, 2], { minLength: 3 }),
    fc.array(fc.constantFrom(1, -1), { minLength: 3, maxLength: 3 }),
  )
  .map(([order, signs]) =>
    gauge.matrix(order.map((place, i) => order.map((_, j) => (j === place ? signs[i]! : 0)))),
  );

describe("matrix gauges", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
    await tree.evaluate([start, x, y]);
  });

  test("SGD with momentum and decay follows rotations, and its factors rotate along", async () => {
    const sgd = optim.sgd({ lr: 0.05, momentum: 0.9, weightDecay: 0.01 });
    await fc.assert(
      fc.asyncProperty(angles, async (a) => {
        const g = rotation(a);
        expect(g.kind).toBe("orthogonal");
        expect(gauge.matrixRefusal(g, "sgd")).toBeUndefined();
        expect(await deviation(sgd, g)).toBeLessThan(1e-12);
      }),
      { numRuns: 6 },
    );
  });

  test("AdamW follows signed permutations", async () => {
    await fc.assert(
      fc.asyncProperty(signedPermutation, async (g) => {
        expect(g.kind).toBe("signed permutation");
        expect(gauge.matrixRefusal(g, "adamw")).toBeUndefined();
        expect(await deviation(optim.adamw({ lr: 0.02, weightDecay: 0.1 }), g)).toBeLessThan(1e-12);
      }),
      { numRuns: 6 },
    );
  });

  test("Adam does not follow rotations, and is refused", async () => {
    const g = rotation([0.7, 0.5]);
    expect(gauge.matrixRefusal(g, "adam")).toMatch(/adam treats each number by itself/);
    expect(await deviation(optim.adam({ lr: 0.02 }), g)).toBeGreaterThan(1e-3);
  });

  test("diagonal matrices need rates for each component: then Adam follows them", async () => {
    const d = [2, 0.3, 7];
    const g = gauge.matrix(d.map((x, i) => d.map((_, j) => (i === j ? x : 0))));
    expect(gauge.matrixRefusal(g, "adam")).toMatch(/each row of A and each column of B/);
    const parts = (params: nn.Params) =>
      Object.fromEntries(
        d.flatMap((_, i) => [
          [`A${i}`, (params.loraA as Tensor).slice([i], [i + 1])],
          [`B${i}`, (params.loraB as Tensor).slice([null, i], [null, i + 1])],
        ]),
      );
    const adam = (scale: (path: string) => number) =>
      optim.adam({
        lr: 0.02,
        groups: d.flatMap((_, i) =>
          ["A", "B"].map((side) => {
            const c = scale(`${side}${i}`);
            return { match: `${side}${i}`, lr: 0.02 * c, eps: 1e-3 / c };
          }),
        ),
      });
    const losses = async (optimizer: optim.Optimizer, from: nn.Params) => {
      const step = compile((own: Record<string, Tensor>, state: optim.OptimizerState) => {
        const loss = (p: Record<string, Tensor>) => {
          const product = d.reduce<Tensor | undefined>((sum, _, i) => {
            const part = p[`B${i}`]!.matmul(p[`A${i}`]!);
            return sum ? sum.add(part) : part;
          }, undefined)!;
          return nn.mseLoss(x.matmul(product.transpose()).mul(2), y);
        };
        const [value, gradients] = valueAndGrad(loss)(own);
        const [updates, next] = optimizer.update(gradients, state, own);
        return { params: optim.applyUpdates(own, updates), state: next, value };
      });
      let own: Record<string, Tensor> = parts(from);
      let state = optimizer.init(own);
      const seen: number[] = [];
      for (let t = 0; t < steps; t++) {
        const after = await step(own, state);
        [own, state] = [after.params, after.state];
        seen.push(await after.value.item());
      }
      return seen;
    };
    const one = await losses(
      adam(() => 1),
      start,
    );
    const other = await losses(
      adam((path) => (path.startsWith("A") ? d[Number(path[1])]! : 1 / d[Number(path[1])]!)),
      gauge.applyMatrix(g, start),
    );
    expect(Math.max(...one.map((loss, i) => Math.abs(other[i]! - loss) / loss))).toBeLessThan(1e-12);
  });

  test("clipping by a norm follows rotations, by value it does not", async () => {
    const recipe = { r, alpha: 6, optimizer: { name: "sgd", lr: 0.05, momentum: 0.9 } } as const;
    const g = rotation([0.7, 0.5]);
    const byNorm = { ...recipe, clip: { kind: "globalNorm", maxNorm: 0.5 } } as const;
    expect(gauge.matrixRefusal(g, byNorm)).toBeUndefined();
    expect(await deviation(gauge.optimizerOf(byNorm), g)).toBeLessThan(1e-12);
    const byValue = { ...recipe, clip: { kind: "value", maxValue: 0.05 } } as const;
    expect(gauge.matrixRefusal(g, byValue)).toMatch(/clipping by value treats each number by itself/);
    expect(await deviation(gauge.optimizerOf(byValue), g)).toBeGreaterThan(1e-3);
  });

  test("a multiple of an orthogonal matrix is a gauge and what is left; unknown optimizers are errors", async () => {
    const double = gauge.matrix([
      [2, 0, 0],
      [0, 2, 0],
      [0, 0, 2],
    ]);
    expect(double.scale).toBe(2);
    expect(gauge.matrixRefusal(double, "sgd")).toMatch(/gauge.of\(\{ a: 2, b: 0.5 \}\)/);
    // With these numbers it follows.
    const recipe = { r, alpha: 6, optimizer: { name: "adamw", lr: 0.02 } } as const;
    const partner = gauge.apply(gauge.of({ a: 2, b: 0.5 }), recipe);
    const one = await train(gauge.optimizerOf(recipe), start);
    const other = await train(gauge.optimizerOf(partner), gauge.applyMatrix(double, start));
    expect(other.losses).toEqual(one.losses);
    expect(() => gauge.matrixRefusal(double, "adamV")).toThrow(/"adamV" is no optimizer/);
    expect(() => gauge.matrixRefusal(double, "loraMuon")).toThrow(/depends on its reg: pass its options/);
  });

  test("says what is wrong with a matrix", () => {
    expect(() => gauge.matrix([[1, 2]])).toThrow(/r rows of r numbers/);
    expect(() =>
      gauge.matrix([
        [1, 2],
        [2, 4],
      ]),
    ).toThrow(/no inverse/);
    expect(() => gauge.matrix([[Number.NaN]])).toThrow(/finite/);
    expect(() => gauge.applyMatrix(gauge.matrix([[2]]), start)).toThrow(
      /loraA.*of rank 3; the matrix mixes 1/,
    );
    expect(
      gauge.matrixRefusal(
        gauge.matrix([
          [1, 1],
          [0, 1],
        ]),
        "sgd",
      ),
    ).toMatch(/only for orthogonal/);
  });
});
