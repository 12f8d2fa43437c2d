// Questions about a school, in plain words and as SQL: what the small language model is to turn into each other.

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

const tables = ["pupils", "teachers", "clubs", "rooms", "books", "teams"];
const columns = ["name", "age", "size", "town", "grade", "year", "floor", "price"];
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
  /** One of eight, which no training sees: what is learned is tried on these. */
  readonly heldOut: boolean;
}

export function query(draw: () => number): Query {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(draw() * list.length)]!;
  const [wanted, table, by, [word, sign]] = [pick(columns), pick(tables), pick(columns), pick(comparisons)];
  const number = 1 + Math.floor(draw() * 20);
  const counted = draw() < 0.3;
  const order = draw() < 0.4 ? pick(columns) : undefined;
  const question = `${counted ? "how many" : `${wanted} of`} ${table} with ${by} ${word} ${number}${order ? ` by ${order}` : ""}?`;
  return {
    question,
    sql: `select ${counted ? "count(*)" : wanted} from ${table} where ${by} ${sign} ${number}${order ? ` order by ${order}` : ""}`,
    plain: `we ${counted ? "count the" : `tell the ${wanted} of`} ${table} with ${by} ${word} ${number}${order ? ` sorted by ${order}` : ""}.`,
    heldOut: hash(question) % 8 === 0,
  };
}

/** So many queries, held out or not. */
export function queries(count: number, seed: number, heldOut: boolean): Query[] {
  const draw = draws(seed);
  const found: Query[] = [];
  while (found.length < count) {
    const drawn = query(draw);
    if (drawn.heldOut === heldOut) found.push(drawn);
  }
  return found;
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.charCodeAt(0), 0x01000193) >>> 0;
  return value;
}

/** Every word of all these texts. */
export const words: readonly string[] = [
  ...tables,
  ...columns,
  ...comparisons.flat(),
  ...Array.from({ length: 20 }, (_, i) => String(i + 1)),
  ..."how many with by ? we count the tell sorted .".split(" "),
  ..."select count(*) from where order".split(" "),
];
