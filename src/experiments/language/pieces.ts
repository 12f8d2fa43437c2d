import { bytes, type Tokenizer } from "../../text/index.ts";

/** Words with the space before them, names with dots, single digits, signs and spaces. */
const piece = / ?[A-Za-z_]+(?:\.[A-Za-z_]+)*| ?\d| ?[^\sA-Za-z\d]|\s/gu;

/**
 * A tokenizer of bytes and of the most frequent pieces of some texts. What is no piece of it is spelled in bytes, so that
 * it has every text.
 *
 * @param size Ids in all, more than the 258 of the bytes.
 */
export function piecesOf(texts: readonly string[], size: number): Tokenizer {
  const spelled = bytes();
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const [each] of text.matchAll(piece))
      if (each.length > 1) counts.set(each, (counts.get(each) ?? 0) + 1);
  const frequent = [...counts]
    .sort(([one, n], [other, m]) => m - n || (one < other ? -1 : 1))
    .slice(0, size - spelled.size)
    .map(([each]) => each);
  const ids = new Map(frequent.map((each, i) => [each, spelled.size + i]));
  return {
    size,
    end: spelled.end,
    chat: undefined,
    encode: (text, { bare = false } = {}) => {
      const found = bare ? [] : spelled.encode("");
      for (const [each] of text.matchAll(piece)) {
        const id = ids.get(each);
        if (id === undefined) found.push(...spelled.encode(each, { bare: true }));
        else found.push(id);
      }
      return found;
    },
    decode: (all) => {
      let text = "";
      let run: number[] = [];
      const flush = () => {
        text += spelled.decode(run);
        run = [];
      };
      for (const id of all) {
        const known = frequent[id - spelled.size];
        if (known === undefined) run.push(id);
        else {
          flush();
          text += known;
        }
      }
      flush();
      return text;
    },
  };
}
