/** Repetitions of one run at most; the seeds of the next run begin after them. */
const repetitions = 2 ** 16;

/** The largest seed of a run: what is drawn from its repetitions stays below 2^32. */
export const largestSeed = 4095;

/** The seeds of a run's independent repetitions. Runs with different seeds have none in common. */
export function seedsOf(seed: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => repetitions * seed + i);
}
