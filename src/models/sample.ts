import { type Fields, field, integer, nonNegative, optional, positive } from "../base/arguments.ts";

/** How a token is taken from logits; by default the likeliest one. */
export interface SampleOptions {
  /** Logits are divided by it before a token is drawn. 0, the default, takes the likeliest token. */
  readonly temperature?: number;
  /** Draw from so many likeliest tokens. */
  readonly topK?: number;
  /** Draw from the fewest likeliest tokens whose probabilities add up to it. */
  readonly topP?: number;
  /** Draw from tokens at least so likely as this share of the likeliest. */
  readonly minP?: number;
  /** Logits of tokens that are there already, in the prompt too, are divided by it, or multiplied where negative. */
  readonly repetitionPenalty?: number;
}

const share = field<number>("a number > 0 and <= 1", (p) => typeof p === "number" && p > 0 && p <= 1);

export const sampleFields: Fields<SampleOptions> = {
  temperature: nonNegative(0),
  topK: optional(integer(1)),
  topP: optional(share),
  minP: optional(share),
  repetitionPenalty: optional(positive()),
};

/** Whether the token is the likeliest one as logits are. */
export function isPlain({ temperature = 0, repetitionPenalty = 1 }: SampleOptions): boolean {
  return temperature === 0 && repetitionPenalty === 1;
}

/**
 * The token that a number from 0 to 1 draws: penalty, temperature, top-k, top-p and min-p act in this order, as in
 * Hugging Face's `generate`, and the likeliest tokens take the first parts of the interval. In float64.
 *
 * @param seen Tokens that are there already.
 */
export function sample(
  logits: ArrayLike<number>,
  seen: Iterable<number>,
  u: number,
  options: SampleOptions,
): number {
  const { temperature = 0, topK = logits.length, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const scores = Float64Array.from(logits);
  for (const token of new Set(seen)) {
    const score = scores[token]!;
    scores[token] = score < 0 ? score * repetitionPenalty : score / repetitionPenalty;
  }
  if (temperature === 0) return scores.reduce((best, score, i) => (score > scores[best]! ? i : best), 0);
  const order = likeliest(scores, topK);
  const top = scores[order[0]!]!;
  const weights = order.map((token) => Math.exp((scores[token]! - top) / temperature));
  const total = sum(weights);
  let [kept, mass] = [0, 0];
  while (kept < weights.length && (kept === 0 || (mass < topP * total && weights[kept]! >= minP)))
    mass += weights[kept++]!;
  const drawn = u * sum(weights.slice(0, kept));
  let before = 0;
  for (let i = 0; i < kept; i++) {
    before += weights[i]!;
    if (drawn < before) return order[i]!;
  }
  return order[kept - 1]!;
}

/** The `count` places of the largest numbers, largest first; of equal ones the first. */
function likeliest(scores: Float64Array, count: number): number[] {
  const order = Array.from(scores, (_, i) => i).filter((i) => !Number.isNaN(scores[i]!));
  order.sort((i, j) => scores[j]! - scores[i]! || i - j);
  return order.slice(0, count);
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
