/**
 * Text from files, names and arguments as a terminal may have it: characters that are not seen, which steer terminals
 * or turn the direction of writing, stand as escapes of JSON. Line breaks stay.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) =>
    found === "\n"
      ? found
      : found
          .split("")
          .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
          .join(""),
  );
}

/** The same in one line. */
export function oneLine(text: string): string {
  return visible(text).replaceAll("\n", "\\n");
}

/** So many of something: `1 cell`, `2 cells`. */
export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
