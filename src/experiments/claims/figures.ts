// What the articles give in figures.

/** S0: 28 runs at one learning rate, and two runs that are said to perform alike. */
export const alphas = [0.5, 2, 8, 32, 128, 256, 512] as const;
export const ranks = [2, 8, 32, 128] as const;
export const learningRate = 1e-5;
export const runX = { r: 8, alpha: 1, lr: 0.00512 } as const;
export const runY = { r: 8, alpha: 512, lr: 1e-5 } as const;

/** S1-1: billions of parameters of LLaMA-13B in 4 bits, and percent that rank 256 adds. */
export const quantised = { stored: 6.6, percent: 3 } as const;

/** S4-2: GB and hours, and percent saved and lost. */
export const qlora = {
  lora: { memory: 21.33, hours: 1.85 },
  qlora: { memory: 14.18, hours: 2.79 },
  saved: 33,
  slower: 33,
} as const;

/** S4-6: GB by optimizer and rank; parameters, and megabytes of Adam's state. */
export const optimizers = {
  sgd: { r8: 14.15, r256: 14.46 },
  adamw: { r8: 14.18, r256: 17.86 },
  parameters: 4_194_304,
  megabytes: 16.78,
} as const;

/** S4-8: parameters on two projections and on all layers, and how many times more. */
export const layers = { model: 6_738_415_616, two: 4_194_304, all: 20_277_248, factor: 5 } as const;

/** S4-9: the two projections, where they are named. */
export const twoProjections = [
  ["key", "value"],
  ["query", "value"],
] as const;

/** S4-13: parameters of a 10,000 x 20,000 matrix at r = 8, and how many times fewer. */
export const example = { out: 10_000, in: 20_000, r: 8, parameters: 240_000, fewer: 830 } as const;

/** S4-14: the text's A and B, whose product A B is the change of that matrix; the code's change is B A. */
export const factors = { A: [10_000, 8], B: [8, 20_000] } as const;
