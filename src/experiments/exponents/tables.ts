import type { ExponentOptions } from "./exponent.ts";
import { inRank, inTheLimit, inWidth, type Prediction, times } from "./theory.ts";

/** A measured exponent beside what theory says. */
export interface Row {
  readonly name: string;
  readonly theory: Prediction;
  readonly options: ExponentOptions;
  /** Share of the seeds that the row gets, at least two; for rows that train. Default 1. */
  readonly share?: number;
  /** How much longer than others a measurement takes, for progress. Default 1. */
  readonly weight?: number;
}

export interface Table {
  /** How `--only` calls it. */
  readonly name: string;
  readonly title: string;
  /** What is measured, in a sentence or two. */
  readonly about: string;
  readonly rows: readonly Row[];
}

const widths = [64, 128, 256, 512, 1024, 2048, 4096];
const ranks = [4, 8, 16, 32, 64, 128, 256];
const n = 1024;
const r = 8;

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const sgd = { name: "sgd", lr: 1e-4 } as const;

function width(
  name: string,
  options: Omit<ExponentOptions, "of" | "over">,
  [ofA, ofB]: readonly [ofA: Prediction, ofB: Prediction],
): Row[] {
  const shared = { over: { n: widths }, r, start: "randomB", ...options } as const;
  return [
    { name: `${name}: change of A x`, theory: ofA, options: { of: "deltaA", ...shared } },
    { name: `${name}: change of B A x`, theory: ofB, options: { of: "deltaB", ...shared } },
  ];
}

const inner = { of: "deltaB", over: { r: ranks }, n, start: "randomB", alpha: 1, optimizer: adam } as const;
const rank = { over: { r: ranks }, n, outputs: 512 } as const;
const trained = { over: { n: [64, 256, 1024, 4096] }, r: 4, alpha: 4, outputs: 64, optimizer: adam } as const;

/** Rows that train whole models. */
function best(name: string, limit: number, options: Pick<ExponentOptions, "of" | "rates">): Row {
  return { name, theory: inTheLimit(limit), options: { ...options, ...trained }, share: 0.25, weight: 12 };
}

/** The tables on width and rank, each exponent with the one that theory derives. */
export const tables: readonly Table[] = [
  {
    name: "width",
    title: "Width: what one update of A and of B does",
    about:
      "First update from a random B at r = 8, n from 64 to 4096, entries of A x of order 1. With Adam each entry " +
      "of the change of A has one size, so that its effect on x grows like n where signs add up, and like sqrt(n) " +
      "where they do not. For inputs with a common mean theory is the limit's, without terms of order 1/n.",
    rows: [
      ...width("Adam, training input", { optimizer: adam, inputs: "training" }, [
        inWidth.adamA(widths),
        inWidth.adamB(widths),
      ]),
      ...width("Adam, independent centred input", { optimizer: adam, inputs: "independent" }, [
        inTheLimit(0.5),
        inWidth.adamBIndependent(widths, r),
      ]),
      ...width("Adam, independent input with common mean", { optimizer: adam, inputs: "commonMean" }, [
        inTheLimit(1),
        inTheLimit(0),
      ]),
      ...width("SGD, training input", { optimizer: sgd, inputs: "training" }, [
        inWidth.sgdA(widths),
        inWidth.sgdB(widths),
      ]),
    ],
  },
  {
    name: "inner",
    title: "Rank: what one update of B does, before scaling",
    about: "First update from a random B at n = 1024, r from 4 to 256, Adam: B sees an r-vector.",
    rows: [
      {
        name: "Adam, training input: change of B A x",
        theory: inRank.adam(ranks),
        options: { ...inner, inputs: "training" },
      },
      {
        name: "Adam, independent input: change of B A x",
        theory: inRank.adamIndependent(ranks, n),
        options: { ...inner, inputs: "independent" },
      },
    ],
  },
  {
    name: "rank",
    title: "Rank: alpha/r, from B = 0",
    about:
      "First update at n = 1024, r from 4 to 256. With alpha/sqrt(r) every exponent is 1/2 more, and SGD's, where the " +
      "scaling enters twice, 1 more: that is no other measurement, the same runs are multiplied by another power of r.",
    rows: [
      {
        name: "gradient norm of B",
        theory: times(inRank.gradient(ranks), -1),
        options: { ...rank, of: "gradientB", optimizer: adam },
      },
      {
        name: "SGD, output on the training sample",
        theory: times(inRank.sgd(ranks), -2),
        options: { ...rank, of: "deltaOutput", optimizer: sgd },
      },
      {
        name: "SGD, output on an independent input",
        theory: times(inRank.sgdIndependent(ranks, n), -2),
        options: { ...rank, of: "deltaOutput", inputs: "independent", optimizer: sgd },
      },
      {
        name: "Adam, output on the training sample",
        theory: times(inRank.adam(ranks), -1),
        options: { ...rank, of: "deltaOutput", optimizer: adam },
      },
      {
        name: "Adam, output on an independent input",
        theory: times(inRank.adamIndependent(ranks, n), -1),
        options: { ...rank, of: "deltaOutput", inputs: "independent", optimizer: adam },
      },
      {
        name: "Adam, norm of the weight's change",
        theory: times(inRank.adamIndependent(ranks, n), -1),
        options: { ...rank, of: "deltaWeight", optimizer: adam },
      },
      {
        name: "Adam, gradient norm of A after one step",
        theory: inTheLimit(-0.5),
        options: { ...rank, of: "nextGradientA", optimizer: adam },
      },
    ],
  },
  {
    name: "rates",
    title: "Width: the best learning rates",
    about:
      "A rank-1 target, r = 4, inputs with six common factors, 30 steps of Adam from B = 0. With its own rate, A " +
      "wants 1/n at a rate of B that stays; tied, both want the compromise 1/sqrt(n).",
    rows: [
      ...[4, 8, 16].map((part) =>
        best(`best rate of A at lr of B = 1/${part}`, -1, { of: "bestRate", rates: { lrB: 1 / part } }),
      ),
      best("largest useful rate of A at lr of B = 1/8", -1, { of: "largestRate", rates: { lrB: 1 / 8 } }),
      best("best common rate of A and B", -0.5, { of: "bestRate", rates: "tied" }),
    ],
  },
];
