import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import type { FileSource } from "../io/open.ts";
import { rowsOf } from "./csv.ts";
import { linesOf, piecesOf } from "./lines.ts";

/** The forms of files. */
export type Format = "jsonl" | "csv" | "text";

/** One entry of a file: its fields, and the line that it begins in. */
export interface RecordAt {
  readonly fields: { readonly [name: string]: unknown };
  readonly line: number;
}

/** The form of a file, by the ending of its name. @throws ValueError for another ending. */
export function formatOf(name: string): Format {
  const ending = /\.(\w+)$/.exec(name)?.[1]?.toLowerCase();
  switch (ending) {
    case "jsonl":
    case "ndjson":
      return "jsonl";
    case "csv":
      return "csv";
    case "txt":
    case "text":
    case "md":
      return "text";
    default:
      throw new ValueError(
        `${name}: the ending says nothing of the format. Name the file .jsonl, .csv or .txt, or give the format.`,
      );
  }
}

/**
 * The entries of a file in order, as it is read: objects, one on each line; rows below a row of names; a text in stretches of
 * whole lines, one field `text` each.
 *
 * @throws ValueError with file, line and reason for what is neither.
 */
export async function* recordsOf(
  name: string,
  from: FileSource,
  format: Format,
): AsyncGenerator<RecordAt, void, undefined> {
  const pieces = piecesOf(from);
  if (format === "jsonl") yield* objectsOf(name, pieces);
  else if (format === "csv") yield* tableOf(name, pieces);
  else yield* stretchesOf(pieces);
}

async function* objectsOf(name: string, pieces: AsyncIterable<string>): AsyncGenerator<RecordAt> {
  for await (const { text, line } of linesOf(pieces)) {
    if (text.trim() === "") continue;
    const fields = parseJson(`${name} line ${line}`, text);
    if (!isPlainObject(fields))
      throw new ValueError(
        `${name} line ${line}: it is ${Array.isArray(fields) ? "a list" : show(fields)}; each line is an object.`,
      );
    yield { fields, line };
  }
}

async function* tableOf(name: string, pieces: AsyncIterable<string>): AsyncGenerator<RecordAt> {
  let names: readonly string[] | undefined;
  for await (const { cells, line } of rowsOf(name, pieces)) {
    if (!names) {
      const twice = cells.find((cell, i) => cells.indexOf(cell) !== i);
      if (twice !== undefined)
        throw new ValueError(`${name} line ${line}: two columns are named ${JSON.stringify(twice)}.`);
      names = cells;
      continue;
    }
    if (cells.length !== names.length)
      throw new ValueError(
        `${name} line ${line}: there are ${cells.length} cells for ${names.length} columns (${names.join(", ")}). Put cells with commas or quotes in quotes.`,
      );
    yield { fields: Object.fromEntries(names.map((column, i) => [column, cells[i]])), line };
  }
}

/** Characters of a stretch, at least: a tokenizer takes long over a long text. */
const stretch = 2 ** 14;
/** From so many on a stretch ends with any line; before with one after which the next begins with no space. */
const longStretch = 8 * stretch;

/** Where the first stretch of a text ends, or 0 where more has to be read to know. */
function endOfStretch(text: string): number {
  const line = /\n(?=\S)/g;
  line.lastIndex = stretch;
  const found = line.exec(text);
  return found ? found.index + 1 : text.indexOf("\n", longStretch) + 1;
}

async function* stretchesOf(pieces: AsyncIterable<string>): AsyncGenerator<RecordAt> {
  let [rest, line] = ["", 1];
  for await (const piece of pieces) {
    rest += piece;
    for (let end = endOfStretch(rest); end > 0; end = endOfStretch(rest)) {
      const text = rest.slice(0, end);
      yield { fields: { text }, line };
      line += text.split("\n").length - 1;
      rest = rest.slice(end);
    }
  }
  if (rest !== "") yield { fields: { text: rest }, line };
}
