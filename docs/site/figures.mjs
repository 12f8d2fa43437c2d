// Takes those figures of reports that a page of the docs shows into docs/figures/, as files of their own.
// Usage: node docs/site/figures.mjs REPORT.html...    of `reproduce --out` and `exponents --out`
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

mkdirSync(`${docs}figures`, { recursive: true });
for (const report of process.argv.slice(2))
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
