/** A column: its heading, its cells, and the side they lean on. */
export interface Column {
  readonly title: string;
  readonly cells: readonly string[];
  readonly align?: "left" | "right";
}

/** Columns as lines of text, with a rule below the headings. */
export function table(columns: readonly Column[]): string {
  const widths = columns.map(({ title, cells }) =>
    Math.max(...[title, ...cells].map((cell) => [...cell].length)),
  );
  const rows = Math.max(...columns.map(({ cells }) => cells.length));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => {
        const room = " ".repeat(widths[i]! - [...cell].length);
        return columns[i]!.align === "right" ? room + cell : cell + room;
      })
      .join("  ")
      .trimEnd();
  return [
    line(columns.map(({ title }) => title)),
    widths.map((width) => "-".repeat(width)).join("  "),
    ...Array.from({ length: rows }, (_, i) => line(columns.map(({ cells }) => cells[i] ?? ""))),
  ].join("\n");
}
