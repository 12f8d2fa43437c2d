import { ValueError } from "../../base/errors.ts";
import { type Build, Unsupported } from "./case.ts";
import type { Fields } from "./fields.ts";

/** The cases of a file of kind `tokenizer`: texts, numbered. */
export function tokenizerCases(content: Fields): readonly Fields[] {
  return content.objects("cases").map((fields, i) => fields.named(`text ${i}`));
}

/** The ids of a text, and the text of its ids without the first. A U+FEFF at its start is lost, as in the library. */
export const buildTokenizerCase: Build = async (fields, _engine, _others, { tokenizer }) => {
  if (!tokenizer) throw new Unsupported("they are of a checkpoint, which --model names");
  const { encode, decode } = await tokenizer();
  const [text, ids] = [fields.text("text"), fields.numbers("ids")];
  const same = (what: string, found: string, wanted: string) => {
    if (found !== wanted)
      throw new ValueError(`${what} ${JSON.stringify(found)}, expected ${JSON.stringify(wanted)}.`);
  };
  same("encode gives", encode(text).join(" "), ids.join(" "));
  same("decode gives", decode(ids.slice(1)), text.replace(/^\uFEFF/, ""));
  return [];
};
