import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { type Message, messagesOf } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A stretch of a text, and whether a model is to learn to write it. */
export interface Part {
  readonly text: string;
  readonly learn: boolean;
}

/** An entry of a file as a text. */
export interface Parts {
  readonly parts: readonly Part[];
  /** Whether the text begins and ends as a template wrote it, so that the tokenizer adds nothing. */
  readonly whole?: boolean;
}

type Fields = { readonly [name: string]: unknown };

/** A kind of entry, told by the fields that it has. */
interface Kind {
  readonly fields: readonly string[];
  readonly parts: (fields: Fields, tokenizer: Tokenizer) => Parts;
}

const pair = (prompt: string, completion: string): Parts => ({
  parts: [
    { text: prompt, learn: false },
    { text: completion, learn: true },
  ],
});

/** The kinds of entries, in the order in which they are looked for. */
const kinds: readonly Kind[] = [
  { fields: ["messages"], parts: ({ messages }, tokenizer) => conversation(messagesOf(messages), tokenizer) },
  {
    fields: ["prompt", "completion"],
    parts: (fields) => pair(text(fields, "prompt"), text(fields, "completion")),
  },
  {
    fields: ["instruction", "output"],
    parts: (fields) =>
      pair(alpaca(text(fields, "instruction"), text(fields, "input", "")), text(fields, "output")),
  },
  {
    fields: ["premise", "hypothesis", "label"],
    parts: (fields) =>
      pair(
        `Premise: ${text(fields, "premise")}\nHypothesis: ${text(fields, "hypothesis")}\nLabel:`,
        ` ${text(fields, "label")}`,
      ),
  },
  { fields: ["text"], parts: (fields) => ({ parts: [{ text: text(fields, "text"), learn: true }] }) },
];

/** The fields of the kinds of entries, for messages and help texts. */
export const knownFields: string = kinds.map(({ fields }) => `{ ${fields.join(", ")} }`).join(", ");

/** The text of an entry. @throws ValueError for fields of no kind, and for a field that is no text. */
export function partsOf(fields: Fields, tokenizer: Tokenizer): Parts {
  const kind = kinds.find(({ fields: own }) => own.every((name) => Object.hasOwn(fields, name)));
  if (!kind)
    throw new ValueError(
      `its fields are ${Object.keys(fields).slice(0, 12).join(", ") || "none"}; expected those of one of ${knownFields}`,
    );
  return kind.parts(fields, tokenizer);
}

function text(fields: Fields, name: string, otherwise?: string): string {
  const value = Object.hasOwn(fields, name) ? (fields[name] ?? otherwise) : otherwise;
  if (typeof value === "string") return value;
  if (name === "label" && Number.isFinite(value)) return String(value);
  throw new ValueError(`${name} is ${show(value)}; it is a text`);
}

/** The prompt of Alpaca (Taori et al. 2023), word for word. */
function alpaca(instruction: string, input: string): string {
  return input === ""
    ? `Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
}

/** A conversation of which the assistant's turns are learned. */
function conversation(messages: readonly Message[], { chat }: Tokenizer): Parts {
  if (!chat)
    throw new ValueError(
      "it is a conversation, and the tokenizer has no chat template. Take a tokenizer with one, or fields prompt and completion",
    );
  const parts: Part[] = [];
  let written = "";
  const write = (until: string, learn: boolean, turn: number) => {
    if (!until.startsWith(written))
      throw new ValueError(
        `the chat template writes the turns before message ${turn} differently once that is there, so that they cannot be told apart. Give fields prompt and completion`,
      );
    if (until.length > written.length) parts.push({ text: until.slice(written.length), learn });
    written = until;
  };
  messages.forEach(({ role }, turn) => {
    if (role !== "assistant") return;
    write(chat.render(messages.slice(0, turn), { reply: true }), false, turn);
    write(chat.render(messages.slice(0, turn + 1)), true, turn);
  });
  const last = messages.length - 1;
  if (messages[last]!.role !== "assistant") write(chat.render(messages), false, last);
  return { parts, whole: true };
}

/** An example as ids, and where they are learned. */
export interface Example {
  readonly ids: readonly number[];
  /** For each id whether it is learned. */
  readonly learn: readonly boolean[];
}

/**
 * A text as ids. The whole is encoded at once; a token that reaches over the border of two parts makes each part be
 * encoded for itself, so that a prompt has the ids that it has alone, as it will when its answer is asked for.
 */
export function encode({ parts, whole = false }: Parts, tokenizer: Tokenizer, learnAll: boolean): Example {
  const ids = tokenizer.encode(parts.map(({ text }) => text).join(""), { bare: whole });
  const own =
    apartAt(ids, parts, (text) => tokenizer.encode(text, { bare: whole })) ??
    parts.map(({ text }, i) => tokenizer.encode(text, { bare: whole || i > 0 }));
  if (!whole && tokenizer.end !== undefined) own.at(-1)!.push(tokenizer.end);
  return {
    ids: own.flat(),
    learn: own.flatMap((each, i) => each.map(() => learnAll || parts[i]!.learn)),
  };
}

/** The ids of each part, where no token reaches over the border of two. */
function apartAt(
  ids: readonly number[],
  parts: readonly Part[],
  encode: (text: string) => readonly number[],
): number[][] | undefined {
  const apart: number[][] = [];
  let before = "";
  let from = 0;
  for (const { text } of parts) {
    before += text;
    const until = apart.length === parts.length - 1 ? ids : encode(before);
    if (until.length < from || !until.every((id, at) => id === ids[at])) return undefined;
    apart.push(ids.slice(from, until.length));
    from = until.length;
  }
  return apart;
}
