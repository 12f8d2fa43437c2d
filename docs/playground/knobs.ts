import type { NumberName } from "./experiment.ts";

// What each control is, and where it is proved or was tried: a sentence, a page of these docs, a claim.

export interface Explained {
  readonly label: string;
  readonly sentence: string;
  readonly page: string;
  /** A claim of docs/claims.md, whose verdict is shown. */
  readonly claim?: string;
}

export const shared = {
  task: {
    label: "Task",
    sentence: "What both runs learn, from the same batches.",
    page: "theory.html#what-follows",
    claim: "S1-5",
  },
  optimizer: {
    label: "Optimizer",
    sentence: "SGD moves with the square of a factor, Adam with the factor itself.",
    page: "theory.html#what-follows",
    claim: "S3-1",
  },
  multiplier: {
    label: "Multiplier",
    sentence: "What stands before B A: at one rank, each is another name for one number.",
    page: "lora.html",
    claim: "S0-13",
  },
  rank: {
    label: "Rank r",
    sentence: "A has r rows and B has r columns; no gauge moves it.",
    page: "theory.html#size-of-an-update",
    claim: "S0-9",
  },
  teacher: {
    label: "Rank of the task",
    sentence: "How many directions are to be learned in the linear task; below it, rank is what is missing.",
    page: "claims.html#the-problems",
    claim: "S1-5",
  },
  seed: {
    label: "Seed",
    sentence: "Draws the task and the first A; both runs have the same.",
    page: "tensors.html",
  },
} as const satisfies Record<string, Explained>;

export const numbers: Readonly<Record<NumberName, Explained>> = {
  alpha: {
    label: "alpha",
    sentence: "Multiplies the branch, and with it the gradient of A and of B.",
    page: "theory.html#the-symmetry",
    claim: "S0-11",
  },
  lrA: {
    label: "rate of A",
    sentence: "Counts over the start of A: their ratio is the first of the two quantities.",
    page: "theory.html#what-follows",
    claim: "S2-3",
  },
  lrB: {
    label: "rate of B",
    sentence: "Counts times the multiplier and the start of A: the second quantity.",
    page: "theory.html#what-follows",
    claim: "S2-8",
  },
  startA: {
    label: "start of A",
    sentence: "A factor on the first A; B starts at 0.",
    page: "theory.html#the-symmetry",
    claim: "S0-11",
  },
  epsA: {
    label: "eps of A",
    sentence: "Beside Adam's root for A: it goes against the factor on A.",
    page: "theory.html#what-follows",
    claim: "S2-2",
  },
  epsB: {
    label: "eps of B",
    sentence: "Beside Adam's root for B: forgotten, it makes another run.",
    page: "theory.html#what-follows",
    claim: "S2-2",
  },
  decayA: {
    label: "decay of A",
    sentence: "Decoupled decay goes against the rate, so that their product stays.",
    page: "theory.html#what-follows",
  },
  decayB: {
    label: "decay of B",
    sentence: "Decoupled decay goes against the rate, so that their product stays.",
    page: "theory.html#what-follows",
  },
};

/** The numbers that have an effect with an optimizer. */
export function numbersOf(optimizer: string): readonly NumberName[] {
  const all = Object.keys(numbers) as NumberName[];
  return all.filter(
    (name) =>
      !(name.startsWith("eps") && optimizer === "sgd") &&
      !(name.startsWith("decay") && optimizer !== "adamw"),
  );
}
