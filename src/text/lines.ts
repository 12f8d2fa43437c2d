import { ValueError } from "../base/errors.ts";
import { type FileSource, openSource } from "../io/open.ts";

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
      throw new ValueError(
        `${source.name}: its text is not UTF-8, somewhere in bytes ${at} to ${at + bytes.length}.`,
      );
    }
  }
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
