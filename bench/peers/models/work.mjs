// What all engines are given.

/** Ids that look random, another row for each i. */
export const idsOf = (vocabulary, length, i = 0) =>
  Array.from({ length }, (_, t) => ((i + 1) * 7919 * (t + 1) + ((t * t * 31) % 977)) % vocabulary);

export const prompt = [1, 300, 301, 405, 17, 333, 99, 260];

export const recipe = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } };
