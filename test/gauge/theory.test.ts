import { beforeAll, describe, expect, test } from "vitest";
import { balance } from "../../src/experiments/symmetry/balance.ts";
import * as gauge from "../../src/gauge/index.ts";
import { equivalent, type Recipe } from "../../src/gauge/index.ts";
import {
  adam,
  applyUpdates,
  lamb,
  lion,
  loraMuon,
  loraRite,
  type Optimizer,
  radam,
  rprop,
  scaledAdamw,
  sgd,
} from "../../src/optim/index.ts";
import { init } from "../../src/runtime/init.ts";
import { tensor } from "../../src/tensor/creation.ts";
import { apart, losses } from "../tiny.ts";

// What docs/theory.md states and no command prints, with its formulas written out here once more rather than taken
// from the library: the same run is the same losses to the bit, another run is other losses.

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const r = 2;

/** Hyperparameters of A and of B. */
interface Numbers {
  readonly lr: number;
  readonly eps?: number;
  readonly weightDecay?: number;
}

/** A run from A = sigma Z, B = 0 with scaling s. */
interface Start {
  readonly s: number;
  readonly sigma: number;
}

type Rule = "sgd" | "adam" | "adamw";
const shared = { sgd: { momentum: 0.5 }, adam: {}, adamw: {} } as const;

function recipeOf(name: Rule, { s, sigma }: Start, A: Numbers, B: Numbers): Recipe {
  // The union of recipes keeps an optimizer and its numbers together.
  return {
    r,
    alpha: s * r,
    initScale: { A: sigma },
    optimizer: { name, ...shared[name], ...A },
    groups: { B: { ...B } },
  } as unknown as Recipe;
}

/** Powers p with which numbers enter, as h_A / sigma^p and h_B (s sigma)^p. */
const powers = {
  sgd: { lr: 2, eps: 0, weightDecay: -2 },
  adam: { lr: 1, eps: -1, weightDecay: -2 },
  adamw: { lr: 1, eps: -1, weightDecay: -1 },
} as const;

/** The numbers of another start with the same invariants. */
function moved(name: Rule, numbers: Numbers, c: number): Numbers {
  const entries = Object.entries(numbers) as [keyof Numbers, number][];
  return Object.fromEntries(
    entries.map(([key, x]) => [key, x * c ** powers[name][key]]),
  ) as unknown as Numbers;
}

const examples: readonly (readonly [Rule, Numbers, Numbers])[] = [
  ["sgd", { lr: 0.5, weightDecay: 0.125 }, { lr: 0.25, weightDecay: 0.0625 }],
  [
    "adam",
    { lr: 0.0625, eps: 2 ** -8, weightDecay: 0.125 },
    { lr: 0.03125, eps: 2 ** -9, weightDecay: 0.25 },
  ],
  ["adamw", { lr: 0.0625, eps: 2 ** -8, weightDecay: 0.5 }, { lr: 0.03125, eps: 2 ** -9, weightDecay: 1 }],
];
const from = { s: 2, sigma: 1 };
const starts = [
  { s: 8, sigma: 1 },
  { s: 2, sigma: 4 },
  { s: 1 / 4, sigma: 1 / 2 },
];

describe("theorem 2", () => {
  test.each(examples)("%s: equal invariants, eps and decay among them, are one run", async (name, A, B) => {
    const reference = await losses(recipeOf(name, from, A, B));
    for (const { s, sigma } of starts) {
      const [ofA, ofB] = [
        moved(name, A, sigma / from.sigma),
        moved(name, B, (from.s * from.sigma) / (s * sigma)),
      ];
      expect(await losses(recipeOf(name, { s, sigma }, ofA, ofB))).toEqual(reference);
    }
  });

  test.each(examples)(
    "converse, %s: any one invariant that differs makes another run",
    async (name, A, B) => {
      const reference = await losses(recipeOf(name, from, A, B));
      for (const key of Object.keys(A) as (keyof Numbers)[]) {
        const [otherA, otherB] = [
          recipeOf(name, from, { ...A, [key]: 1.5 * A[key]! }, B),
          recipeOf(name, from, A, { ...B, [key]: 1.5 * B[key]! }),
        ];
        for (const other of [otherA, otherB])
          expect(apart(await losses(other), reference), key).toBeGreaterThan(1e-6);
      }
    },
  );

  test("converse, AdamW: a decay of A that B's rate makes up for shows in the second update", async () => {
    const [A, B] = [
      { lr: 2 ** -6, eps: 2 ** -9, weightDecay: 16 },
      { lr: 2 ** -6, eps: 2 ** -9, weightDecay: 0 },
    ];
    const reference = await losses(recipeOf("adamw", from, A, B), { dtype: "float64" });
    const u = 1 - A.lr * A.weightDecay; // 3/4, and 1/2
    const twice = { ...A, weightDecay: 2 * A.weightDecay };
    const made = { ...B, lr: (B.lr * u) / (1 - 2 * (1 - u)) };
    const other = await losses(recipeOf("adamw", from, twice, made), { dtype: "float64" });
    expect(apart(other.slice(0, 2), reference.slice(0, 2))).toBeLessThan(1e-14);
    expect(apart(other.slice(0, 3), reference.slice(0, 3))).toBeGreaterThan(1e-4);
  });

  test("two numbers are not enough: eps has to follow", async () => {
    const [A, B] = [
      { lr: 2 ** -7, eps: 2 ** -10 },
      { lr: 2 ** -7, eps: 2 ** -10 },
    ];
    const reference = await losses(recipeOf("adam", from, A, B));
    const lr = B.lr / 4;
    const four = { s: 4 * from.s, sigma: 1 };
    expect(await losses(recipeOf("adam", four, A, { lr, eps: 4 * B.eps }))).toEqual(reference);
    expect(apart(await losses(recipeOf("adam", four, A, { ...B, lr })), reference)).toBeGreaterThan(1e-4);
  });

  const adam = { r, alpha: 4 } as const;
  const degenerate: readonly (readonly [what: string, x: Recipe, y: Recipe])[] = [
    [
      "the eps and the decay of a factor whose rate is 0",
      { ...adam, optimizer: { name: "adamw", lr: 0.01 }, groups: { A: { lr: 0 } } },
      {
        ...adam,
        optimizer: { name: "adamw", lr: 0.01 },
        groups: { A: { lr: 0, eps: 1, weightDecay: 0.5 } },
      },
    ],
    [
      "a rate of 0 and a factor that is frozen",
      { ...adam, optimizer: { name: "sgd", lr: 0.1 }, groups: { A: { lr: 0 } } },
      { ...adam, optimizer: { name: "sgd", lr: 0.1 }, trained: ["B"] },
    ],
    [
      "a decay of 0 in either form",
      { ...adam, optimizer: { name: "adam", lr: 0.01, weightDecay: 0 } },
      { ...adam, optimizer: { name: "adamw", lr: 0.01, weightDecay: 0 } },
    ],
    [
      "all numbers of A, where B is frozen at 0",
      { ...adam, optimizer: { name: "adamw", lr: 0.01 }, groups: { B: { lr: 0 } } },
      {
        ...adam,
        optimizer: { name: "adamw", lr: 0.5, eps: 1 },
        groups: { B: { lr: 0 } },
        initScale: { A: 4 },
      },
    ],
    [
      "dampening without momentum",
      { ...adam, optimizer: { name: "sgd", lr: 0.1, momentum: 0, dampening: 0.5 } },
      { ...adam, optimizer: { name: "sgd", lr: 0.1 } },
    ],
  ];
  test.each(degenerate)("degenerate: %s", async (_, x, y) => {
    expect(await losses(y)).toEqual(await losses(x));
    expect(equivalent(x, y)).toBe(true);
  });

  test("two updates of SGD with momentum and decay are the products of the converse's proof", async () => {
    const [mu, A, B] = [0.5, { lr: 0.25, weightDecay: 0.5 }, { lr: 0.5, weightDecay: 0.25 }];
    const optimizer = sgd({ momentum: mu, ...A, groups: [{ match: "loraB", ...B }] });
    // One input, one output, r 1; the gradient G is f - 1 of the function f = B A.
    const numbers = (x: number) => tensor([x], { dtype: "float64" });
    let factors = { loraA: numbers(1), loraB: numbers(0) };
    let state = optimizer.init(factors);
    const step = async () => {
      const { loraA, loraB } = factors;
      const G = loraB.mul(loraA).sub(1);
      const [updates, next] = optimizer.update({ loraA: loraB.mul(G), loraB: G.mul(loraA) }, state, factors);
      [factors, state] = [applyUpdates(factors, updates), next];
      return G.reshape([]).item();
    };
    const values = async () => [
      await factors.loraA.reshape([]).item(),
      await factors.loraB.reshape([]).item(),
    ];
    const g = await step();
    const u = 1 - A.lr * A.weightDecay;
    expect(await values()).toEqual([u, -B.lr * g]);
    const later = await step();
    const [a, b] = await values();
    expect(a).toBeCloseTo(u * u + mu * u - mu + A.lr * B.lr * g * later, 14);
    expect(b).toBeCloseTo(-B.lr * ((1 + mu - B.lr * B.weightDecay) * g + u * later), 14);
  });
});

describe("numbers of the converse's proofs", () => {
  /** What an optimizer makes of A and B, given their gradients at each update. */
  async function made(
    optimizer: Optimizer,
    [A, B]: readonly [readonly number[], readonly number[]],
    gradients: readonly (readonly [readonly number[], readonly number[]])[],
  ): Promise<readonly (readonly [number[], number[]])[]> {
    const wide = (x: readonly number[]) => tensor([...x], { dtype: "float64" });
    let factors = { loraA: wide(A), loraB: wide(B) };
    let state = optimizer.init(factors);
    const seen: [number[], number[]][] = [];
    for (const [a, b] of gradients) {
      const [updates, next] = optimizer.update({ loraA: wide(a), loraB: wide(b) }, state, factors);
      [factors, state] = [applyUpdates(factors, updates), next];
      seen.push([[...(await factors.loraA.data())], [...(await factors.loraB.data())]]);
    }
    return seen;
  }
  const near = (found: readonly number[], due: readonly number[]) => {
    expect(found).toHaveLength(due.length);
    for (const [i, x] of found.entries()) expect(x).toBeCloseTo(due[i]!, 12);
  };
  const [Z, none] = [[1, -2, 0.5], [0]];

  test("AMSGrad is Adam where gradients grow, and only there", async () => {
    const numbers = { lr: 0.1, eps: 1e-3 };
    const both = (second: number) =>
      Promise.all(
        [true, false].map((amsgrad) =>
          made(
            adam({ ...numbers, amsgrad }),
            [Z, none],
            [
              [[0, 0, 0], [0.5]],
              [[1, 1, 1], [second]],
            ],
          ),
        ),
      );
    const [grown, alike] = await both(2);
    expect(grown).toEqual(alike);
    const [fallen, other] = await both(1e-3);
    expect(fallen![1]![1]).not.toEqual(other![1]![1]);
  });

  test("two updates of Lion, and the second gradient's sign", async () => {
    const [A, B] = [
      { lr: 0.25, weightDecay: 0.5 },
      { lr: 0.125, weightDecay: 2 },
    ];
    const optimizer = lion({ ...A, groups: [{ match: "loraB", ...B }] });
    const [u, v] = [1 - A.lr * A.weightDecay, 1 - B.lr * B.weightDecay];
    for (const S of [1, -1]) {
      const [first, second] = await made(
        optimizer,
        [Z, none],
        [
          [[0, 0, 0], [1]],
          [[3, -3, 3], [100 * S]],
        ],
      );
      near(
        first![0],
        Z.map((z) => u * z),
      );
      near(first![1], [-B.lr]);
      near(
        second![0],
        Z.map((z, j) => u * u * z - A.lr * [1, -1, 1][j]!),
      );
      near(second![1], [-B.lr * (v + S)]);
    }
  });

  test("two updates of RAdam are momentum with decay", async () => {
    const [b, A, B] = [
      0.9,
      { lrUnrectified: 0.25, weightDecay: 0.5 },
      { lrUnrectified: 0.5, weightDecay: 0.25 },
    ];
    const optimizer = radam({ lr: 7, ...A, groups: [{ match: "loraB", ...B }] });
    const u = 1 - A.lrUnrectified * A.weightDecay;
    const h = [0.5, 2, -1];
    const [first, second] = await made(
      optimizer,
      [Z, none],
      [
        [[0, 0, 0], [2]],
        [h, [3]],
      ],
    );
    near(
      first![0],
      Z.map((z) => u * z),
    );
    near(first![1], [-B.lrUnrectified * 2]);
    near(
      second![0],
      Z.map((z, j) => ((u * u + 2 * b * u - b) * z - A.lrUnrectified * h[j]!) / (1 + b)),
    );
    const B1 = -B.lrUnrectified * 2;
    near(second![1], [B1 - (B.lrUnrectified * (b * 2 + 3 + B.weightDecay * B1)) / (1 + b)]);
  });

  test("a bound of Rprop shows when a step comes to it, and not before", async () => {
    const run = (largest: number) =>
      made(
        rprop({ lr: 0.1, stepSizes: [1e-6, largest] }),
        [Z, none],
        Array.from({ length: 5 }, () => [[1, 1, 1], [1]] as const),
      );
    const [wide, narrow] = [await run(1), await run(0.16)];
    // Steps of B: 0.1, 0.12, 0.144, 0.1728.
    expect(narrow.slice(0, 3)).toEqual(wide.slice(0, 3));
    expect(narrow[3]).not.toEqual(wide[3]);
    const recipe = (largest: number): Recipe => ({
      r,
      alpha: 4,
      optimizer: { name: "rprop", lr: 0.01, stepSizes: [1e-6, largest] },
    });
    expect(await losses(recipe(50))).toEqual(await losses(recipe(5)));
  });

  test("LAMB from B = 0: a decay shrinks A by the rate, whatever it is, and sizes are the rate's", async () => {
    const of = (lr: number, weightDecay: number) =>
      lamb({ lr, weightDecay, eps: 1e-6, groups: [{ match: "loraB", weightDecay: 0.5 }] });
    const tiny = Z.map(() => 1e-14);
    const size = (x: readonly number[]) => Math.hypot(...x);
    const zero = [0, 0];
    for (const weightDecay of [0.01, 3]) {
      const [first, second] = await made(
        of(0.25, weightDecay),
        [Z, zero],
        [
          [
            [0, 0, 0],
            [1, 2],
          ],
          [tiny, [2, -1]],
        ],
      );
      near(
        first![0],
        Z.map((z) => 0.75 * z),
      );
      for (const [j, x] of second![0].entries()) expect(x).toBeCloseTo(0.75 ** 2 * Z[j]!, 5);
      const moved = second![1].map((x, i) => x - first![1][i]!);
      expect(size(moved) / size(first![1])).toBeCloseTo(0.25, 12);
    }
    const [first, second] = await made(
      of(0.25, 0),
      [Z, zero],
      [
        [
          [0, 0, 0],
          [1, 2],
        ],
        [tiny, [2, -1]],
      ],
    );
    near(first![0], Z);
    expect(size(second![0].map((x, j) => x - Z[j]!)) / size(Z)).toBeCloseTo(0.25, 12);
  });
});

describe("numbers of the converse's proofs, for rules of pairs", () => {
  type Matrix = readonly (readonly number[])[];
  const matrix = (x: Matrix) =>
    tensor(
      x.map((row) => [...row]),
      { dtype: "float64" },
    );

  /** A and B after each of some gradients. */
  async function made(
    optimizer: Optimizer,
    [A, B]: readonly [Matrix, Matrix],
    gradients: readonly (readonly [Matrix, Matrix])[],
  ) {
    let factors = { loraA: matrix(A), loraB: matrix(B) };
    let state = optimizer.init(factors);
    const seen: [A: number[][], B: number[][]][] = [];
    for (const [a, b] of gradients) {
      const [updates, next] = optimizer.update({ loraA: matrix(a), loraB: matrix(b) }, state, factors);
      [factors, state] = [applyUpdates(factors, updates), next];
      seen.push([
        (await factors.loraA.toArray()) as number[][],
        (await factors.loraB.toArray()) as number[][],
      ]);
    }
    return seen;
  }

  // Rows of Z are orthogonal: the eigenvalues of S are 6 and 14.
  const Z = [
    [1, -1, 2, 0],
    [1, 3, 1, Math.sqrt(3)],
  ];
  const still = [
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ];
  const none = [
    [0, 0],
    [0, 0],
    [0, 0],
  ];
  const G = [
    [1, -2],
    [0.5, 1],
    [2, 0.25],
  ];
  const h = [
    [1, 2, -1, 0.5],
    [0.25, -1, 3, 1],
  ];
  const numbers = { lr: 0.125, reg: 0.5, weightDecay: 2 };
  const rules = [
    ["scaled AdamW", scaledAdamw({ ...numbers, eps: 1e-3 }), 0.75],
    ["LoRA-RITE", loraRite({ ...numbers, eps: 1e-3 }), 0.75],
    ["LoRA-Muon", loraMuon(numbers), Math.sqrt(0.75)],
  ] as const;

  test.each(rules)(
    "%s: the sign of a column of the gradient is that of a column of the update",
    async (_, optimizer, u) => {
      const turned = h.map((row) => row.map((x, j) => (j === 2 ? -x : x)));
      const run = (second: Matrix) =>
        made(
          optimizer,
          [Z, none],
          [
            [still, G],
            [second, G],
          ],
        );
      const [one, other] = [await run(h), await run(turned)];
      for (const [i, row] of Z.entries())
        for (const [j, z] of row.entries()) {
          expect(one[0]![0][i]![j]).toBeCloseTo(u * z, 12);
          const [x, y] = [one[1]![0][i]![j]!, other[1]![0][i]![j]!];
          if (j === 2) expect((x + y) / 2).toBeCloseTo(u * u * z, 10);
          else expect(y).toBeCloseTo(x, 10);
        }
      const moved = one[1]![0].map((row, i) => row[2]! - u * u * Z[i]![2]!);
      expect(Math.hypot(...moved)).toBeGreaterThan(1e-3);
    },
  );

  /** The size of B's first and second direction for a gradient of one eigenvector of S, over the rate and what decay divides it by. */
  async function sizes(of: (weightDecay: number) => Optimizer, i: number, size: number) {
    const gradient = (sign: number) =>
      none.map((row, k) => row.map((_, j) => (j === i ? sign * size * (k + 1) : 0)));
    const run = async (sign: number) =>
      made(
        of(2),
        [Z, none],
        [
          [still, gradient(1)],
          [still, gradient(sign)],
        ],
      );
    const [plus, minus] = [await run(1e6), await run(-1e6)];
    const first = plus[0]![1].map((row) => row[i]!);
    const odd = plus[1]![1].map((row, k) => (row[i]! - minus[1]![1][k]![i]!) / 2);
    return [Math.hypot(...first), Math.hypot(...odd)] as const;
  }

  test("LoRA-RITE and LoRA-Muon: an eigenvector's update has the size of (h + reg)^-1/2, then (u^2 h + reg)^-1/2", async () => {
    const reg = 0.5;
    for (const [of, u] of [
      [(weightDecay: number) => loraRite({ lr: 0.125, reg, weightDecay, eps: 1e-12 }), 0.75],
      [(weightDecay: number) => loraMuon({ lr: 0.125, reg, weightDecay }), Math.sqrt(0.75)],
    ] as const) {
      const [small, large] = [await sizes(of, 0, 1), await sizes(of, 1, 1)];
      expect(small[0] / large[0]).toBeCloseTo(Math.sqrt((14 + reg) / (6 + reg)), 6);
      expect(small[1] / large[1]).toBeCloseTo(Math.sqrt((u * u * 14 + reg) / (u * u * 6 + reg)), 6);
    }
  });

  test.each([
    ["scaledAdamw", { eps: 1e-3 }],
    ["loraRite", { eps: 1e-6 }],
    ["loraMuon", {}],
  ] as const)(
    "%s: a decay of A that B's rate makes up for shows in the second update",
    async (name, constants) => {
      const kept = (u: number) => (name === "loraMuon" ? u * u : u);
      const of = (u: number, lr: number) =>
        ({
          r,
          alpha: 2,
          optimizer: { name, lr: 2 ** -6, reg: 0.5, ...constants },
          groups: { A: { weightDecay: (1 - kept(u)) * 2 ** 6 }, B: { lr, weightDecay: 0 } },
        }) as unknown as Recipe; // one of the three
      const [x, y] = [of(0.75, 2 ** -6), of(0.5, (2 ** -6 * 0.75) / 0.5)];
      expect(equivalent(x, y)).toBe(false);
      const [one, other] = [await losses(x, { dtype: "float64" }), await losses(y, { dtype: "float64" })];
      expect(apart(one.slice(0, 2), other.slice(0, 2))).toBeLessThan(1e-12);
      expect(apart(one.slice(0, 3), other.slice(0, 3))).toBeGreaterThan(1e-4);
    },
  );

  test("from B other than 0, SGD's first update leaves a rho, and the second takes it", async () => {
    const of = (rho: number) =>
      ({
        r,
        alpha: 2,
        init: "random",
        optimizer: { name: "sgd", lr: 1 },
        groups: {
          A: { lr: 0.25 * rho, weightDecay: (1 - 0.9 * rho) / (0.25 * rho) },
          B: { lr: 0.125 / rho, weightDecay: (1 - 0.8 / rho) / (0.125 / rho) },
        },
      }) as unknown as Recipe;
    const [one, other] = [
      await losses(of(1), { dtype: "float64" }),
      await losses(of(1.0625), { dtype: "float64" }),
    ];
    expect(equivalent(of(1), of(1.0625))).toBe(false);
    expect(apart(one.slice(0, 2), other.slice(0, 2))).toBeLessThan(1e-14);
    expect(apart(one.slice(0, 3), other.slice(0, 3))).toBeGreaterThan(1e-5);
  });
});

describe("what follows", () => {
  const ratio = 16;
  const plus = (optimizer: Recipe["optimizer"]): Recipe =>
    ({ r, alpha: 4, optimizer, groups: { B: { lr: ratio * optimizer.lr } } }) as Recipe; // the same optimizer
  const common = (optimizer: Recipe["optimizer"], times: number, B: object): Recipe =>
    ({ r, alpha: 4 * times, optimizer, groups: { B } }) as Recipe; // the same optimizer

  test("LoRA+ is alpha times the ratio under Adam, and times its root under SGD", async () => {
    const adamw = { name: "adamw", lr: 2 ** -8, eps: 2 ** -12, weightDecay: 2 ** -4 } as const;
    const follows = { eps: 2 ** -12 * ratio, weightDecay: 2 ** -4 * ratio };
    expect(await losses(common(adamw, ratio, follows))).toEqual(await losses(plus(adamw)));

    const descent = { name: "sgd", lr: 2 ** -6, momentum: 0.5 } as const;
    const reference = await losses(plus(descent));
    expect(await losses(common(descent, Math.sqrt(ratio), {}))).toEqual(reference);
    expect(apart(await losses(common(descent, ratio, {})), reference)).toBeGreaterThan(0.01);
  });

  test("where A starts at 0, as in embeddings, it is A's group that undoes alpha", async () => {
    const embeddings = { r, adapts: ["embedding"] } as const;
    const adam = { name: "adam", lr: 2 ** -6, eps: 2 ** -12 } as const;
    const reference = await losses({ ...embeddings, alpha: 4, optimizer: adam });
    const undone = (role: "A" | "B") =>
      losses({
        ...embeddings,
        alpha: 16,
        optimizer: adam,
        groups: { [role]: { lr: adam.lr / 4, eps: adam.eps * 4 } },
      });
    expect(await undone("A")).toEqual(reference);
    expect(apart(await undone("B"), reference)).toBeGreaterThan(1e-3);
  });

  test("clipping by the global norm follows a = b, unless a bias is clipped with A and B", async () => {
    const clip = { kind: "globalNorm", maxNorm: 2 ** -4, eps: 2 ** -20 } as const;
    const half = { ...clip, maxNorm: 2 * clip.maxNorm, eps: 2 * clip.eps }; // by c = 1/2
    const x = { r, alpha: 4, optimizer: { name: "sgd", lr: 0.25 } } as const;
    const y = { r, alpha: 16, initScale: { A: 1 / 2 }, optimizer: { name: "sgd", lr: 0.25 / 4 } } as const;
    expect(await losses({ ...y, clip: half })).toEqual(await losses({ ...x, clip }));
    // The bias of the branch is divided by k = 4, those of the base stay as they are.
    const branch = { branchBias: true, groups: { branchBias: { lr: 0.25 / 16 } } } as const;
    const [biased, partner] = [
      { ...x, branchBias: true },
      { ...y, ...branch },
    ] as const;
    expect(await losses(partner)).toEqual(await losses(biased));
    expect(
      apart(await losses({ ...partner, clip: half }), await losses({ ...biased, clip })),
    ).toBeGreaterThan(1e-4);
  });
});

describe("balancedness", () => {
  test("changes by lr_A G_A G_A^T - lr_B G_B^T G_B in a step of SGD, and by nothing that a gauge moves", async () => {
    const { D, error, moved } = await balance();
    expect(error).toBeLessThan(1e-11);
    expect(moved).toBeGreaterThan(1e-4); // far more than the error: it is no conserved quantity of steps
    expect((await balance({ a: 4, b: 1 / 8 })).D).toEqual(D);
  });

  test("steps of half the size, twice as many, move it half as far", async () => {
    const [whole, half] = [await balance({ steps: 20 }), await balance({ rate: 1 / 2, steps: 40 })];
    // D itself is divided by the rates.
    expect(half.moved / 2 / whole.moved).toBeCloseTo(1 / 2, 1);
  });
});

describe("a gauge that grows from update to update", () => {
  const wide = { dtype: "float64", updates: 12 } as const;
  const of = (optimizer: object, A: object, B: object, rest: object = {}) =>
    ({
      r,
      alpha: 4,
      init: "random",
      optimizer: { lr: 1, ...optimizer },
      groups: { A, B },
      ...rest,
    }) as Recipe;
  /** A rate, and a decay that leaves a share of the factor. */
  const own = (lr: number, kept: number, more: object = {}) => ({
    lr,
    weightDecay: (1 - kept) / lr,
    ...more,
  });
  const free = { name: "scaledSgd", reg: 0 };
  const average = { ...free, decoupledWeightDecay: true };
  const rite = { name: "loraRite", reg: 0, eps: 1e-6 };
  const muon = { name: "loraMuon", reg: 0 };
  const share = { name: "adafactor", epsGradient: 0, epsParameter: 0, decayRate: 0 };
  const once = { schedule: { kind: "warmupConstant", warmup: 1 } };

  type Of = (rho: number) => Recipe;
  const same: readonly (readonly [string, Of])[] = [
    ["scaled SGD", (rho) => of(free, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho))],
    [
      "scaled SGD with momenta, which grow too",
      (rho) =>
        of(
          average,
          own(0.1 * rho, 0.9 * rho, { momentum: 0.5 * rho }),
          own(0.2 / rho, 0.95 / rho, { momentum: 0.8 / rho, dampening: 0.25 }),
        ),
    ],
    [
      "scaled SGD after one update at rate 0",
      (rho) => of(free, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho), once),
    ],
    ["a factor that decay wipes out", (rho) => of(free, own(0.1 * rho, 0), own(0.2 / rho, 0.95 / rho))],
    ["LoRA-RITE", (rho) => of(rite, own(0.01 * rho, 0.9 * rho), own(0.02 / rho, 0.95 / rho))],
    [
      "LoRA-Muon",
      (rho) =>
        of(
          muon,
          own(0.01 * rho ** 2, 0.9 * rho ** 2, { momentum: 0.5 / rho }),
          own(0.02 / rho ** 2, 0.95 / rho ** 2, { momentum: 0.9 * rho }),
        ),
    ],
    [
      "Adafactor without constants or averages",
      (rho) => of(share, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho)),
    ],
  ];
  test.each(same)("%s: one run", async (_, grown) => {
    const [one, other] = [grown(1), grown(1.02)];
    expect(gauge.explain(one, other)).toMatchObject({ exact: true, bitwise: false, relation: "same" });
    const { growth, words } = gauge.explain(other, one);
    expect(growth).toBeCloseTo(1 / 1.02, 12);
    expect(words[1]).toContain("In each update A is multiplied by 0.9803921569");
    expect(gauge.dedupe([one, other]).runs).toHaveLength(1);
    expect(apart(await losses(one, wide), await losses(other, wide))).toBeLessThan(1e-12);
    // Under a gauge that stays as well.
    const moved = gauge.apply(gauge.of({ a: 4, b: 1 / 2 }), other);
    expect(gauge.explain(one, moved).growth).toBeCloseTo(1.02, 12);
    expect(apart(await losses(one, wide), await losses(moved, wide))).toBeLessThan(1e-12);
  });

  const another: readonly (readonly [string, Of])[] = [
    [
      "with damping",
      (rho) => of({ ...free, reg: 0.5 }, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho)),
    ],
    [
      "with damping of one factor",
      (rho) => of(free, own(0.1 * rho, 0.9 * rho, { reg: 0.5 }), own(0.2 / rho, 0.95 / rho)),
    ],
    [
      "with momenta that stay",
      (rho) => of(average, own(0.1 * rho, 0.9 * rho, { momentum: 0.5 }), own(0.2 / rho, 0.95 / rho)),
    ],
    [
      "with a decay in the momentum",
      (rho) => of(free, own(0.1 * rho, 0.9 * rho, { momentum: 0.5 * rho }), own(0.2 / rho, 0.95 / rho)),
    ],
    ["where one factor shrinks less only", (rho) => of(free, own(0.1 * rho, 0.9 * rho), own(0.2, 0.95))],
    [
      "with a rate that falls",
      (rho) =>
        of(free, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho), {
          schedule: { kind: "exponential", gamma: 0.9 },
        }),
    ],
    [
      "with clipped gradients",
      (rho) =>
        of(free, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho), {
          clip: { kind: "tensorNorm", maxNorm: 0.01 },
        }),
    ],
    [
      "LoRA-Muon with momenta that stay",
      (rho) => of(muon, own(0.01 * rho ** 2, 0.9 * rho ** 2), own(0.02 / rho ** 2, 0.95 / rho ** 2)),
    ],
    [
      "Adafactor with averages",
      (rho) => of({ ...share, decayRate: 0.8 }, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho)),
    ],
    [
      "scaled AdamW, whose updates do not go with the factor",
      (rho) =>
        of(
          { name: "scaledAdamw", reg: 0, eps: 0, betas: [0, 0] },
          own(0.1 * rho, 0.9 * rho),
          own(0.2 / rho, 0.95 / rho),
        ),
    ],
    ["SGD", (rho) => of({ name: "sgd" }, own(0.1 * rho, 0.9 * rho), own(0.2 / rho, 0.95 / rho))],
  ];
  test.each(another)("%s: two runs", async (_, grown) => {
    const [one, other] = [grown(1), grown(1.02)];
    expect(gauge.explain(one, other)).toMatchObject({ exact: false, growth: 1 });
    expect(apart(await losses(one, wide), await losses(other, wide))).toBeGreaterThan(1e-5);
  });
});
