import { ValueError } from "../base/errors.ts";

/** A row of a table, and the line that it begins in. */
export interface Row {
  readonly cells: readonly string[];
  readonly line: number;
}

/**
 * The rows of comma-separated values (RFC 4180): cells may stand in quotes, and have commas, ends of lines and doubled
 * quotes there. Empty lines are left out.
 *
 * @throws ValueError for a quote that is not closed, and for text after one that is.
 */
export async function* rowsOf(
  where: string,
  pieces: AsyncIterable<string>,
): AsyncGenerator<Row, void, undefined> {
  let cells: string[] = [];
  let cell = "";
  let state: "start" | "plain" | "quoted" | "closed" = "start";
  let [line, begin] = [1, 1];
  const ended = (): Row | undefined => {
    const last = state === "closed" ? cell : cell.replace(/\r$/, "");
    const row =
      cells.length === 0 && last === "" && state !== "closed"
        ? undefined
        : { cells: [...cells, last], line: begin };
    [cells, cell, state] = [[], "", "start"];
    return row;
  };
  for await (const piece of pieces) {
    for (const character of piece) {
      if (state === "quoted") {
        if (character === '"') state = "closed";
        else cell += character;
        if (character === "\n") line++;
        continue;
      }
      if (character === "\n") {
        const row = ended();
        begin = ++line;
        if (row) yield row;
      } else if (character === ",") {
        cells.push(cell);
        [cell, state] = ["", "start"];
      } else if (character === '"' && (state === "start" || state === "closed")) {
        if (state === "closed") cell += '"'; // two are one
        state = "quoted";
      } else if (state !== "closed" || character !== "\r") {
        if (state === "closed")
          throw new ValueError(
            `${where} line ${line}: ${JSON.stringify(character)} follows a closed quote; expected a comma or the end of the line.`,
          );
        cell += character;
        state = "plain";
      }
    }
  }
  if (state === "quoted")
    throw new ValueError(`${where} line ${begin}: a quote is opened there and never closed.`);
  const row = ended();
  if (row) yield row;
}
