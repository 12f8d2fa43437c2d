/** Lines of a language with braces as text, indented by what they open and close. */
export function indent(lines: readonly string[]): string {
  let depth = 0;
  return lines
    .map((line) => {
      if (/^[})]/.test(line)) depth--;
      const text = line === "" ? "" : "  ".repeat(Math.max(depth, 0)) + line;
      if (/[{(]$/.test(line)) depth++;
      return text;
    })
    .join("\n");
}
