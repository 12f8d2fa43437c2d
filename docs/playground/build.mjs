// The playground as files for any server: plain modules, relative addresses, nothing from elsewhere.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Claims that knobs name, and their verdicts, by their ids, from the first table of docs/claims.md. */
export function verdicts() {
  const named = readFileSync(`${root}docs/playground/knobs.ts`, "utf8").matchAll(/claim: "([^"]+)"/g);
  const asked = new Set(Array.from(named, ([, id]) => id));
  const found = new Map();
  for (const line of readFileSync(`${root}docs/claims.md`, "utf8").split("\n")) {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    const [, id, claim] = cells;
    if (asked.has(id) && !found.has(id)) found.set(id, { claim, verdict: cells.at(-2) });
  }
  return Object.fromEntries(found);
}

// What pages share is loaded whole by each of them; the first page is to be there soon, and is bundled by itself.
const bundles = [["index"], ["recipes", "measure"]];

/** Builds it into a folder. */
export async function buildPlayground(outDir) {
  for (const pages of bundles) await bundle(pages, outDir, pages === bundles[0]);
}

function bundle(pages, outDir, isFirst) {
  return build({
    root: `${root}docs/playground`,
    base: "./",
    configFile: false,
    logLevel: "error",
    publicDir: isFirst && `${root}docs/playground/files`,
    plugins: [{ name: "narrow", transformIndexHtml: (html) => html.replace(/\n\s*/g, " ") }],
    define: { LORANTZ_VERDICTS: JSON.stringify(verdicts()) },
    resolve: {
      conditions: ["lorantz-source", "browser", "module"],
      alias: [
        { find: /^lorantz$/, replacement: `${root}src/index.ts` },
        { find: /^lorantz\/(\w+)$/, replacement: `${root}src/$1/index.ts` },
      ],
    },
    worker: { format: "es" },
    build: {
      target: "es2022",
      outDir,
      emptyOutDir: isFirst,
      modulePreload: { polyfill: false },
      rolldownOptions: {
        input: Object.fromEntries(pages.map((page) => [page, `${root}docs/playground/${page}.html`])),
      },
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPlayground(`${root}site/playground`);
