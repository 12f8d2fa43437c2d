import { Hash } from "../../base/hash.ts";
import { key } from "../../tensor/random.ts";
import { drawsOf } from "./draws.ts";
import { sentence } from "./english.ts";
import { query } from "./sql.ts";

/** Texts that a base learns from, and others that its tokenizer is made of besides. */
export interface Corpus {
  readonly texts: readonly string[];
  /** Of all tasks, so that the tokenizer has their words. */
  readonly tasks: readonly string[];
}

/** Sizes of a language model that is trained here, and how: plain data. */
export interface Schooling {
  readonly width: number;
  readonly hidden: number;
  readonly blocks: number;
  readonly heads: number;
  readonly context: number;
  readonly vocabulary: number;
  readonly batch: number;
  readonly steps: number;
  readonly lr: number;
  readonly seed: number;
}

/** A base of experiments. Two of equal data are equal to the bit. */
export interface BaseRecipe extends Schooling {
  readonly name: string;
  /** Texts that it learns from. */
  readonly texts: number;
}

const shared = { context: 64, vocabulary: 448, texts: 16_384, batch: 16, seed: 0 } as const;

/** 112,448 parameters, and 812,160. */
export const bases: { readonly [name: string]: BaseRecipe } = {
  small: { name: "small", width: 64, hidden: 132, blocks: 2, heads: 2, steps: 500, lr: 4e-3, ...shared },
  large: { name: "large", width: 128, hidden: 320, blocks: 4, heads: 4, steps: 500, lr: 2e-3, ...shared },
};

/** Its config.json. */
export function configOf({ width, hidden, blocks, heads, context, vocabulary }: Schooling): object {
  return {
    model_type: "llama",
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: hidden,
    num_hidden_layers: blocks,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: context,
    tie_word_embeddings: true,
  };
}

/** What a base reads: sentences, sums, queries without their questions, and stretches of a real text. */
export const parts = ["english", "sums", "queries", "text"] as const;

export type Part = (typeof parts)[number];

/** A text in stretches of about a hundred letters, at the ends of words. */
export function stretches(text: string): readonly string[] {
  return text.replace(/\s+/g, " ").match(/.{60,100} /g) ?? [];
}

/** Texts of one part. Where there is no real text, there are sentences in its place. */
export async function textsOf(
  part: Part,
  seed: number,
  count: number,
  real: readonly string[],
): Promise<readonly string[]> {
  const draws = await drawsOf(key(seed).fold(part), 0, count);
  return draws.map((each) => {
    if (part === "sums") {
      const [one, other] = [each.below(100), each.below(100)];
      return `${one}+${other}=${one + other}.`;
    }
    if (part === "queries") return `${query(each).sql};`;
    return part === "text" && real.length > 0 ? each.pick(real) : sentence(each);
  });
}

/** Tells bases from others: the recipe, what was read, and what the tokenizer was made of. */
export function baseKey(recipe: BaseRecipe, { texts, tasks }: Corpus): string {
  const hash = new Hash().add(`base 3 ${texts.length}`).add(JSON.stringify(recipe));
  for (const each of [...texts, ...tasks]) hash.add(JSON.stringify(each));
  return hash.toString();
}
