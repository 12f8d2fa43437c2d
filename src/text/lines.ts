import { ValueError } from "../base/errors.ts";
import { firstInvalid } from "../base/utf8.ts";
import { type FileSource, openSource } from "../io/open.ts";
import { readRange, type Source } from "../io/source.ts";

/** Bytes that are read at once. */
const chunk = 2 ** 20;

/** A file as pieces of text, as it is read: never the whole of it. @throws ValueError for what is no UTF-8. */
export async function* piecesOf(from: FileSource): AsyncGenerator<string, void, undefined> {
  const source = await openSource(from);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let at = 0; at < source.size; at += chunk) {
    const bytes = new Uint8Array(Math.min(chunk, source.size - at));
    await source.read(bytes, at);
    try {
      yield decoder.decode(bytes, { stream: at + chunk < source.size });
    } catch {
      throw await notUtf8(source, at, bytes.length);
    }
  }
}

/** The error for a text that is no UTF-8 in some bytes, or begins a character before them that they do not end. */
async function notUtf8(source: Source, at: number, length: number): Promise<ValueError> {
  const from = Math.max(0, at - 3);
  const bytes = await readRange(source, from, at + length - from);
  // What began before is whole, or it is what is wrong.
  let start = 0;
  while (from > 0 && start < 3 && bytes[start]! >> 6 === 0b10) start++;
  const wrong = from + start + (firstInvalid(bytes.subarray(start)) ?? 0);
  let line = 1;
  for (let at = 0; at < wrong; at += chunk)
    for (const byte of await readRange(source, at, Math.min(chunk, wrong - at))) if (byte === 0x0a) line++;
  const [byte] = await readRange(source, wrong, 1);
  const shown = `0x${byte!.toString(16).padStart(2, "0")}`;
  return new ValueError(
    `${source.name} line ${line}: its text is not UTF-8 (byte ${wrong} of the file is ${shown}). Convert it, for example with iconv -t UTF-8.`,
  );
}

/** Pieces cut at the ends of lines instead, which lie with the line before. */
export async function* linesOf(
  pieces: AsyncIterable<string>,
): AsyncGenerator<{ readonly text: string; readonly line: number }, void, undefined> {
  let rest = "";
  let line = 0;
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    for (const text of lines) yield { text: text.replace(/\r$/, ""), line: ++line };
  }
  if (rest !== "") yield { text: rest, line: ++line };
}
