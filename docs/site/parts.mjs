import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// Parts of pages that commands write, each between two comments: `<!-- NAME -->` and `<!-- end of NAME -->`.

/** Replaces what stands between the comments of that name in a page of the docs. */
export function writePart(page, name, lines) {
  const file = fileURLToPath(new URL(`../${page}`, import.meta.url));
  const text = readFileSync(file, "utf8");
  const [before, after] = [`<!-- ${name} -->`, `<!-- end of ${name} -->`];
  const [from, to] = [text.indexOf(before), text.indexOf(after)];
  if (from < 0 || to < from) throw new Error(`docs/${page} has no ${before} before ${after}`);
  writeFileSync(file, `${text.slice(0, from + before.length)}\n${lines.join("\n")}\n${text.slice(to)}`);
}

/** A row of a table; `|` in a cell ends none. */
export const row = (cells) => `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |`;

/** Where and when results came about, as the JSON of a command says. */
export const made = ({ date, processor, threads, platform, lorantz, version = lorantz, commit }) =>
  `${date.slice(0, 10)}, ${processor}, ${threads} threads, ${platform}; Lorantz ${version}${commit ? ` at ${commit}` : ""}`;

export const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));
