import { key } from "../../tensor/random.ts";
import { type BaseRecipe, type Corpus, type Part, textsOf } from "./base.ts";
import { drawsOf } from "./draws.ts";
import { entriesOf, taskKinds } from "./tasks.ts";

/** How many of nine texts are of each part. */
const shares: { readonly [P in Part | "words"]: number } = {
  english: 3,
  sums: 3,
  queries: 1,
  text: 1,
  words: 1,
};

/**
 * What a base learns from: its parts mixed, and words of the tasks in no order. A frozen model can only write tokens that
 * it has met: those that no text has keep the vectors that they began with.
 */
export async function corpusOf(
  { seed, texts: count }: Pick<BaseRecipe, "seed" | "texts">,
  real: readonly string[],
): Promise<Corpus> {
  const tasks = await taskTexts();
  const words = [...new Set(tasks.flatMap((text) => text.split(/(?= )/)))];
  const kinds = Object.entries(shares) as [Part | "words", number][];
  const all = kinds.reduce((sum, [, share]) => sum + share, 0);
  const rounds = Math.ceil(count / all);
  const own = await Promise.all(
    kinds.map(async ([kind, share]) => {
      const texts =
        kind === "words"
          ? (await drawsOf(key(seed).fold(kind), 0, rounds * share)).map((draws) =>
              Array.from({ length: 16 }, () => draws.pick(words)).join(""),
            )
          : await textsOf(kind, seed, rounds * share, real);
      return { texts, share };
    }),
  );
  const mixed = Array.from({ length: rounds }, (_, i) =>
    own.flatMap(({ texts, share }) => texts.slice(i * share, (i + 1) * share)),
  );
  return { texts: mixed.flat().slice(0, count), tasks };
}

async function taskTexts(): Promise<readonly string[]> {
  const all: string[] = [];
  for (const name of Object.keys(taskKinds)) {
    // Capitals of another alphabet are spelled in bytes at every distance.
    if (name === "language") continue;
    for (const each of await entriesOf({ name }, "learned", 256, [])) all.push(Object.values(each).join(""));
  }
  return all;
}
