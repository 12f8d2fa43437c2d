// Questions about a school, as text and as SQL: what the small language model is to turn into each other.

/** Numbers from 0 to 1 by their place: the same for the same seed everywhere (mulberry32). */
export function draws(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const tables = ["pupils", "teachers", "clubs", "rooms"];
const columns = ["name", "age", "size", "town", "grade"];
const comparisons = [
  ["above", ">"],
  ["below", "<"],
  ["of", "="],
] as const;

export interface Query {
  readonly question: string;
  readonly sql: string;
  /** The question answered in plain words, as the base does it. */
  readonly plain: string;
}

export function query(draw: () => number): Query {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(draw() * list.length)]!;
  const [wanted, table, by, [word, sign]] = [pick(columns), pick(tables), pick(columns), pick(comparisons)];
  const number = 1 + Math.floor(draw() * 9);
  const counted = draw() < 0.3;
  return {
    question: `${counted ? "how many" : wanted} ${counted ? "" : "of "}${table} with ${by} ${word} ${number}?`,
    sql: `select ${counted ? "count(*)" : wanted} from ${table} where ${by} ${sign} ${number};`,
    plain: `we look at ${table}: their ${by} is ${word} ${number}.`,
  };
}
