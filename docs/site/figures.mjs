// Takes those figures of a report that a page of the docs shows into docs/figures/, as files of their own.
// Usage: node docs/site/figures.mjs REPORT.html...    of `exponents --out`; those of `reproduce` come with `npm run claims`
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const docs = fileURLToPath(new URL("..", import.meta.url));
const text = readdirSync(docs)
  .filter((name) => name.endsWith(".md"))
  .map((name) => readFileSync(docs + name, "utf8"))
  .join("");
const slug = (title) =>
  title
    .toLowerCase()
    .replaceAll(/&[a-z#0-9]+;|[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");

export function takeFigures(report) {
  mkdirSync(`${docs}figures`, { recursive: true });
  for (const section of readFileSync(report, "utf8").split("<h2>").slice(1)) {
    const name = slug(section.slice(0, section.indexOf("</h2>")));
    const figures = section.matchAll(/<figcaption><b>(.*?)\.<\/b>.*?(<svg.*?<\/svg>)/gs);
    for (const [, title, svg] of figures) {
      const file = `figures/${[...new Set([name, slug(title)])].join("-")}.svg`;
      if (!text.includes(`](${file})`)) continue;
      writeFileSync(docs + file, `${svg}\n`);
      console.log(`docs/${file}: ${svg.length} bytes`);
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const report of process.argv.slice(2)) takeFigures(report);
