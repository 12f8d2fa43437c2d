import type { ExponentOptions } from "./exponent.ts";

/** A measured exponent beside what theory says. */
export interface Row {
  readonly name: string;
  /** The exponent that theory derives. */
  readonly theory: number;
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

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const sgd = { name: "sgd", lr: 1e-4 } as const;

function width(
  name: string,
  options: Omit<ExponentOptions, "of" | "over">,
  deltaA: number,
  deltaB: number,
): Row[] {
  const shared = { over: { n: widths }, r: 8, start: "randomB", ...options } as const;
  return [
    { name: `${name}: change of A x`, theory: deltaA, options: { of: "deltaA", ...shared } },
    { name: `${name}: change of B A x`, theory: deltaB, options: { of: "deltaB", ...shared } },
  ];
}

function rank(
  name: string,
  options: Omit<ExponentOptions, "over">,
  lora: number,
  rsLora = lora + 0.5,
): Row[] {
  const shared = { over: { r: ranks }, n: 1024, outputs: 512, ...options } as const;
  return [
    { name: `${name}, alpha/r`, theory: lora, options: { scaling: "lora", ...shared } },
    { name: `${name}, alpha/sqrt(r)`, theory: rsLora, options: { scaling: "rsLora", ...shared } },
  ];
}

const trained = { over: { n: [64, 256, 1024, 4096] }, r: 4, alpha: 4, outputs: 64, optimizer: adam } as const;

/** The tables on width and rank, each exponent with the one that theory derives. */
export const tables: readonly Table[] = [
  {
    name: "width",
    title: "Width: what one update of A and of B does",
    about:
      "First update from a random B at r = 8, n from 64 to 4096, entries of A x of order 1. With Adam each entry " +
      "of the change of A has one size, so that its effect on x grows like n where signs add up, and like sqrt(n) " +
      "where they do not.",
    rows: [
      ...width("Adam, training input", { optimizer: adam, inputs: "training" }, 1, 0),
      ...width("Adam, independent centred input", { optimizer: adam, inputs: "independent" }, 0.5, 0),
      ...width("Adam, independent input with common mean", { optimizer: adam, inputs: "commonMean" }, 1, 0),
      ...width("SGD, training input", { optimizer: sgd, inputs: "training" }, 1, 0),
    ],
  },
  {
    name: "inner",
    title: "Rank: what one update of B does, before scaling",
    about: "First update from a random B at n = 1024, r from 4 to 256, Adam: B sees an r-vector.",
    rows: (["training", "independent"] as const).map((inputs) => ({
      name: `Adam, ${inputs} input: change of B A x`,
      theory: inputs === "training" ? 1 : 0.5,
      options: {
        of: "deltaB",
        over: { r: ranks },
        n: 1024,
        start: "randomB",
        alpha: 1,
        inputs,
        optimizer: adam,
      },
    })),
  },
  {
    name: "rank",
    title: "Rank: alpha/r and alpha/sqrt(r), from B = 0",
    about:
      "First update at n = 1024, r from 4 to 256. SGD and the gradient norms shrink with r under alpha/r and not " +
      "under alpha/sqrt(r); Adam's update on the training sample does not shrink under alpha/r, and grows like " +
      "sqrt(r) under alpha/sqrt(r).",
    rows: [
      ...rank("gradient norm of B", { of: "gradientB", optimizer: adam }, -0.5),
      ...rank("SGD, output on the training sample", { of: "deltaOutput", optimizer: sgd }, -1, 0), // s enters twice
      ...rank("Adam, output on the training sample", { of: "deltaOutput", optimizer: adam }, 0),
      ...rank(
        "Adam, output on an independent input",
        { of: "deltaOutput", inputs: "independent", optimizer: adam },
        -0.5,
      ),
      ...rank("Adam, gradient norm of A after one step", { of: "nextGradientA", optimizer: adam }, -0.5),
    ],
  },
  {
    name: "rates",
    title: "Width: the best learning rates",
    about:
      "A rank-1 target, r = 4, inputs with six common factors, 30 steps of Adam from B = 0. With its own rate, A " +
      "wants 1/n at a rate of B that stays; tied, both want the compromise 1/sqrt(n).",
    rows: [
      ...[4, 8, 16].map((part): Row => {
        const lrB = 1 / part;
        return {
          name: `best rate of A at lr of B = 1/${part}`,
          theory: -1,
          options: { of: "bestRate", rates: { lrB }, ...trained },
          share: 0.25,
          weight: 12,
        };
      }),
      {
        name: "largest useful rate of A at lr of B = 1/8",
        theory: -1,
        options: { of: "largestRate", rates: { lrB: 1 / 8 }, ...trained },
        share: 0.25,
        weight: 12,
      },
      {
        name: "best common rate of A and B",
        theory: -0.5,
        options: { of: "bestRate", rates: "tied", ...trained },
        share: 0.25,
        weight: 12,
      },
    ],
  },
];
