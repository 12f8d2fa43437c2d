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

/** In the place of a token: no logit is a number. */
export const nothing = -1;

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
  const scores = new Float64Array(logits);
  for (const token of new Set(seen)) {
    const score = scores[token]!;
    scores[token] = score < 0 ? score * repetitionPenalty : score / repetitionPenalty;
  }
  if (temperature === 0) {
    if (scores.every(Number.isNaN)) return nothing;
    return scores.reduce(
      (best, score, i) => (score > scores[best]! || Number.isNaN(scores[best]) ? i : best),
      0,
    );
  }
  // Largest first. What is drawn is a place in this order; to sort the tokens themselves takes several times as long.
  const order = largest(scores, topK);
  if (order.length === 0) return nothing;
  const weights = order.map((score) => Math.exp((score - order[0]!) / temperature));
  const total = sum(weights);
  let [kept, mass] = [0, 0];
  while (kept < weights.length && (kept === 0 || (mass < topP * total && weights[kept]! >= minP)))
    mass += weights[kept++]!;
  const drawn = u * sum(weights.subarray(0, kept));
  let before = 0;
  for (let i = 0; i < kept; i++) {
    before += weights[i]!;
    if (drawn < before) return tokenAt(scores, order, i);
  }
  return tokenAt(scores, order, kept - 1);
}

/** The `count` largest numbers, largest first. */
function largest(scores: Float64Array, count: number): Float64Array {
  if (2 * count >= scores.length) return sorted(scores.slice()).subarray(0, count);
  // Some that are large enough so far, of which half go whenever there is no more room.
  const some = new Float64Array(2 * count).fill(Number.NaN);
  let [held, least] = [0, Number.NEGATIVE_INFINITY];
  for (const score of scores) {
    if (Number.isNaN(score) || (held >= count && !(score > least))) continue;
    some[held++] = score;
    if (held < some.length) continue;
    sorted(some);
    held = count;
    least = some[count - 1]!;
  }
  return sorted(some.fill(Number.NaN, held)).subarray(0, count);
}

/** Sorts in place, largest first, and gives what is a number. */
function sorted(values: Float64Array): Float64Array {
  values.sort(); // NaN comes last
  let end = values.length;
  while (end > 0 && Number.isNaN(values[end - 1]!)) end--;
  return values.subarray(0, end).reverse();
}

/** The token at a place in the order of scores: of equal ones the first comes first. */
function tokenAt(scores: Float64Array, order: Float64Array, place: number): number {
  const score = order[place]!;
  let left = place - order.indexOf(score);
  return scores.findIndex((other) => other === score && left-- === 0);
}

function sum(values: Float64Array): number {
  return values.reduce((a, b) => a + b, 0);
}
