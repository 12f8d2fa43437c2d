import {
  type Fields,
  field,
  integer,
  isPlainObject,
  oneOf,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { Hash } from "../base/hash.ts";
import { type FileSource, openSource } from "../io/open.ts";
import { classedOf, type Example, encode, encodeBehind, type Parts, partsOf } from "./example.ts";
import { type Format, formatOf, recordsOf } from "./records.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How a file becomes examples. */
export interface DatasetOptions {
  readonly tokenizer: Tokenizer;
  /** Ids of an example at most; what is longer is cut at its end, and counted. */
  readonly maxLength: number;
  /**
   * What is learned of a prompt and its completion; or "label": the class of `{ premise, hypothesis, label }` or
   * `{ text, label }`, for a model with `labels` scores, read behind the last token. Default "completion".
   */
  readonly learn?: "completion" | "all" | "label";
  /** The names of the classes in the order of their scores. Default those of the file, sorted. */
  readonly labels?: readonly string[];
  /** Default: by the ending of the file's name. */
  readonly format?: Format;
  /** The file's own names of fields: `{ prompt: "question", completion: "answer" }`. */
  readonly fields?: { readonly [name: string]: string };
}

/** The target of a token after which nothing is learned. */
export const ignored = -100;

/** Numbers that grow. */
class Growing {
  values = new Int32Array(2 ** 12);
  length = 0;

  push(more: readonly number[]): void {
    if (this.length + more.length > this.values.length) {
      const wider = new Int32Array(Math.max(2 * this.values.length, this.length + more.length));
      wider.set(this.values.subarray(0, this.length));
      this.values = wider;
    }
    this.values.set(more, this.length);
    this.length += more.length;
  }
}

/** Examples as tokens, and for each token the one after it, where that is learned. */
export class Dataset {
  /** The file's name. */
  readonly name: string;
  /** Examples that were cut at their end. */
  readonly truncated: number;
  /** Examples that were left out, since nothing that is learned was left of them. */
  readonly dropped: number;
  /** The names of the classes, where these are learned. */
  readonly labels: readonly string[] | undefined;
  readonly #examples: readonly Place[];
  #fingerprint: string | undefined;

  /** @internal */
  constructor(
    name: string,
    examples: readonly Place[],
    { truncated, dropped, labels }: Pick<Dataset, "truncated" | "dropped" | "labels">,
  ) {
    this.name = name;
    this.#examples = examples;
    this.truncated = truncated;
    this.dropped = dropped;
    this.labels = labels;
  }

  /** How many examples there are. */
  get length(): number {
    return this.#examples.length;
  }

  /** The tokens that a model is given of an example: all but its last, or all where its class is learned. */
  tokens(i: number): Int32Array {
    return this.#examples[i]!.tokens;
  }

  /** For each of these the token after it, or behind the last one its class; -100 where nothing is learned. */
  targets(i: number): Int32Array {
    return this.#examples[i]!.targets;
  }

  /** The line of the file in which an example begins. */
  line(i: number): number {
    return this.#examples[i]!.line;
  }

  /** Tokens of all examples, and how many of them are learned. */
  get count(): { readonly tokens: number; readonly learned: number } {
    let [tokens, learned] = [0, 0];
    for (const example of this.#examples) {
      tokens += example.tokens.length;
      for (const target of example.targets) if (target !== ignored) learned++;
    }
    return { tokens, learned };
  }

  /** Tells these examples from others. */
  get fingerprint(): string {
    if (this.#fingerprint !== undefined) return this.#fingerprint;
    const hash = new Hash();
    for (const { tokens, targets } of this.#examples)
      hash.add(Int32Array.of(tokens.length)).add(tokens).add(targets);
    this.#fingerprint = hash.toString();
    return this.#fingerprint;
  }

  /**
   * Two sets: one to learn from, and a share that is held out, spread evenly.
   *
   * @throws ValueError where one of them would be empty.
   */
  split(share: number): [learned: Dataset, heldOut: Dataset] {
    const out = (i: number) => Math.floor((i + 1) * share) > Math.floor(i * share);
    const part = (of: readonly Place[]) =>
      new Dataset(this.name, of, { truncated: 0, dropped: 0, labels: this.labels });
    const parts = [
      this.#examples.filter((_, i) => !out(i)),
      this.#examples.filter((_, i) => out(i)),
    ] as const;
    if (parts.some(({ length }) => length === 0))
      throw new ValueError(
        `${this.name}: of ${this.length} examples a share of ${share} leaves ${parts[0].length} and ${parts[1].length}. Both have one at least: take another share, or examples of their own to evaluate on.`,
      );
    return [part(parts[0]), part(parts[1])];
  }
}

/** An example: views into the tokens of all. */
interface Place {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
  readonly line: number;
}

const optionFields: Fields<DatasetOptions> = {
  tokenizer: field("a tokenizer: text.load(folder), or text.bytes()", isTokenizer),
  maxLength: integer(2),
  learn: oneOf(["completion", "all", "label"], "completion"),
  labels: optional(
    field(
      "a list of different texts",
      (value) =>
        Array.isArray(value) &&
        value.every((each) => typeof each === "string") &&
        new Set(value).size === value.length,
    ),
  ),
  format: optional(oneOf<Format>(["jsonl", "csv", "text"])),
  fields: optional(field("an object of names", isPlainObject)),
};

function isTokenizer(value: unknown): boolean {
  return typeof (value as Tokenizer | undefined)?.encode === "function";
}

/**
 * Reads the examples of a file, a stream of one JSON object a line, of CSV rows or of text. Entries have the fields
 * `{ text }`, `{ prompt, completion }`, `{ messages }`, `{ instruction, input, output }` (Alpaca) or
 * `{ premise, hypothesis, label }`. A prompt and its completion are joined as they stand. A text file is one text, whose ids
 * are cut into stretches of `maxLength`.
 *
 * @throws ValueError with file, line and reason for an entry that is none of these or of which nothing is learned, and for a
 *   file without examples; LorantzError for a file that cannot be read.
 * @example
 * const data = await dataset("train.jsonl", { tokenizer, maxLength: 512 });
 * console.log(data.length, data.truncated);
 */
export async function dataset(from: FileSource, options: DatasetOptions): Promise<Dataset> {
  const {
    tokenizer,
    maxLength,
    learn,
    labels: named,
    format: given,
    fields = {},
  } = readOptions("dataset", optionFields, options);
  const source = await openSource(from);
  const { name } = source;
  const format = given ?? formatOf(name);
  const [tokens, targets] = [new Growing(), new Growing()];
  const starts: number[] = [];
  const lines: number[] = [];
  let [truncated, dropped] = [0, 0];

  if (learn === "label" && format === "text")
    throw new ValueError(`${name}: a text has no classes. Give a .jsonl or .csv file with a field label.`);
  const classes: string[] = [...(named ?? [])];
  /** The number of a class; those of the file are numbered as they come. */
  const classOf = (label: string): number => {
    const known = classes.indexOf(label);
    if (known >= 0) return known;
    if (named) throw new ValueError(`label is ${show(label)}; the classes are ${named.map(show).join(", ")}`);
    return classes.push(label) - 1;
  };
  const add = ({ ids, learn }: Example, line: number): boolean => {
    const next = ids.slice(1).map((id, t) => (learn[t + 1] ? id : ignored));
    if (next.every((target) => target === ignored)) return false;
    starts.push(tokens.length);
    lines.push(line);
    tokens.push(ids.slice(0, -1));
    targets.push(next);
    return true;
  };
  if (format === "text") {
    let rest: number[] = [];
    let before: string | undefined;
    const cut = (line: number, last: boolean) => {
      // Neighbours share a token, which one has as a target and the other as its first token.
      let at = 0;
      for (; rest.length - at > (last ? 1 : maxLength); at += maxLength - 1) {
        const ids = rest.slice(at, at + maxLength);
        add({ ids, learn: ids.map(() => true) }, line);
      }
      rest = rest.slice(at);
    };
    let line = 1;
    for await (const record of recordsOf(name, source, format)) {
      const text = record.fields.text as string; // of stretches
      rest = rest.concat(
        before === undefined ? tokenizer.encode(text) : encodeBehind(before, text, tokenizer),
      );
      before = text;
      ({ line } = record);
      cut(line, false);
    }
    if (before !== undefined && tokenizer.end !== undefined) rest.push(tokenizer.end);
    cut(line, true);
  } else if (learn === "label") {
    for await (const { fields: own, line } of recordsOf(name, source, format)) {
      const { ids, label } = located(name, line, () => {
        const { text, label } = classedOf(renamed(own, fields));
        const ids = tokenizer.encode(text);
        if (ids.length === 0)
          throw new ValueError("there is no token in it, behind which its class could be read");
        return { ids, label: classOf(label) };
      });
      if (ids.length > maxLength) truncated++;
      const kept = ids.slice(0, maxLength);
      starts.push(tokens.length);
      lines.push(line);
      tokens.push(kept);
      targets.push(kept.map((_, t) => (t === kept.length - 1 ? label : ignored)));
    }
  } else {
    for await (const { fields: own, line } of recordsOf(name, source, format)) {
      const examples = located(name, line, () => {
        const made = partsOf(renamed(own, fields), tokenizer);
        const learned = (each: Parts) =>
          each.parts.some(({ text, learn: own }) => text !== "" && (own || learn === "all"));
        if (!made.some(learned))
          throw new ValueError("nothing of it is learned: what is to be written is empty. Remove the line");
        return made.filter(learned).map((each) => encode(each, tokenizer, learn === "all"));
      });
      for (const { ids, learn } of examples) {
        if (ids.length > maxLength) truncated++;
        if (!add({ ids: ids.slice(0, maxLength), learn: learn.slice(0, maxLength) }, line)) dropped++;
      }
    }
  }
  if (starts.length === 0)
    throw new ValueError(
      dropped > 0
        ? `${name}: all ${dropped} examples are cut before anything that is learned: their prompts have ${maxLength} tokens and more. Give a larger maxLength.`
        : `${name}: there are no examples in it.`,
    );
  const labels = named ?? sorted(classes);
  if (learn === "label" && labels.length < 2)
    throw new ValueError(
      `${name}: all examples are of one class, ${show(labels[0])}, so there is nothing to learn. Give examples of another one.`,
    );
  const examples = starts.map((start, i) => {
    const end = starts[i + 1] ?? tokens.length;
    if (learn === "label") targets.values[end - 1] = labels.indexOf(classes[targets.values[end - 1]!]!);
    return {
      tokens: tokens.values.subarray(start, end),
      targets: targets.values.subarray(start, end),
      line: lines[i]!,
    };
  });
  return new Dataset(name, examples, { truncated, dropped, labels: learn === "label" ? labels : undefined });
}

/** Names of classes in an order that does not depend on that of the examples: numbers by size, then texts. */
function sorted(names: readonly string[]): readonly string[] {
  const rank = (name: string) => (name.trim() === "" ? Number.NaN : Number(name));
  const numbers = names.every((name) => Number.isFinite(rank(name)));
  return [...names].sort(numbers ? (a, b) => rank(a) - rank(b) : (a, b) => (a < b ? -1 : 1));
}

/** What `make` gives, or its error with the place in front. */
function located<T>(name: string, line: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError(`${name} line ${line}: ${error.message.replace(/\.$/, "")}.`);
  }
}

/** Fields by the names that are known here. */
function renamed(
  own: { readonly [name: string]: unknown },
  names: { readonly [name: string]: string },
): { readonly [name: string]: unknown } {
  const entries = Object.entries(names).map(([known, given]) => {
    if (!Object.hasOwn(own, given))
      throw new ValueError(
        `there is no field ${given}, which is to be its ${known}; it has ${Object.keys(own).join(", ")}`,
      );
    return [known, own[given]] as const;
  });
  return entries.length === 0 ? own : Object.fromEntries(entries);
}
