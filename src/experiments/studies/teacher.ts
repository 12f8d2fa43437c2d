import type { Recipe } from "../../gauge/index.ts";
import { vertex } from "./contrast.ts";
import type { Bench, Lesson } from "./study.ts";

/** Whole numbers, both ends included. */
export const between = ([from, to]: readonly [number, number]): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/**
 * For each seed of the comparison log2 of the rate at which the logarithm of the last loss on the teacher is least; NaN where
 * that is at an end of the range.
 */
export async function bestRates(
  bench: Bench,
  logs: readonly number[],
  recipe: (lr: number) => Recipe,
  lesson: Pick<Lesson, "width" | "samples" | "steps">,
): Promise<readonly number[]> {
  const found: number[] = [];
  for (const seed of bench.comparison) {
    const losses: number[] = [];
    for (const log of logs)
      losses.push(Math.log(await bench.teach({ recipe: recipe(2 ** log), ...lesson, seed })));
    const at = losses.indexOf(Math.min(...losses));
    found.push(at === 0 || at === losses.length - 1 ? Number.NaN : vertex(logs, losses));
  }
  return found;
}
