// Builds the site: the docs, an API reference from the docstrings, the playground; then looks at every link.
// Usage: npm run site [-- FOLDER]    into FOLDER, by default site/
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Application } from "typedoc";
import { build } from "vitepress";
import { buildPlayground } from "../playground/build.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const out = resolve(process.argv[2] ?? `${root}site`);

rmSync(out, { recursive: true, force: true });
await build(`${root}docs/site`, { outDir: out });

const { exports } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));
const entryPoints = Object.values(exports)
  .flatMap(({ types }) => (types?.endsWith("index.d.ts") ? [types] : []))
  .map((types) => root + types.replace("./dist/", "src/").replace(".d.ts", ".ts"));
const api = await Application.bootstrap({
  name: "Lorantz",
  entryPoints,
  tsconfig: `${root}tsconfig.json`,
  skipErrorChecking: true,
  excludeInternal: true,
  excludePrivate: true,
  readme: "none",
  githubPages: false,
  logLevel: "Error",
  hideGenerator: true,
  favicon: `${root}docs/site/icon.svg`,
});
const project = await api.convert();
if (!project) throw new Error("site: TypeDoc read no entry point");
await api.generateDocs(project, join(out, "api"));

await buildPlayground(join(out, "playground"));
cpSync(`${root}docs/site/icon.svg`, join(out, "icon.svg"));
cpSync(`${root}docs/examples`, join(out, "examples"), { recursive: true }); // which the docs link to

const broken = brokenLinks(out);
for (const { page, link } of broken) console.error(`site: ${page} links to ${link}, which is not there`);
if (broken.length > 0) process.exit(1);
console.log(`site: ${readdirSync(out, { recursive: true }).length} files in ${out}`);

/** Links within the site that lead nowhere, and those to places that a page has not. */
function brokenLinks(folder) {
  const found = [];
  const names = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".html"));
  const known = new Map();
  const idsOf = (file) => {
    if (!known.has(file))
      known.set(
        file,
        new Set([...readFileSync(file, "utf8").matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id)),
      );
    return known.get(file);
  };
  for (const page of names) {
    const text = readFileSync(join(folder, page), "utf8");
    for (const [, link] of text.matchAll(/<a\s[^>]*?href="([^"]+)"/g)) {
      if (/^(https?|mailto|data|blob|javascript):/.test(link)) continue;
      const [path, anchor] = decodeURI(link.replaceAll("&amp;", "&")).split("#");
      const bare = path.split("?")[0];
      const at = bare.startsWith("/") ? join(folder, bare) : join(folder, dirname(page), bare);
      const pages = [at, `${at}.html`, join(at, "index.html")].filter((each) => each.endsWith(".html"));
      const other = existsSync(at) && !at.endsWith("/") ? at : undefined;
      const file = bare === "" ? join(folder, page) : (pages.find((each) => existsSync(each)) ?? other);
      if (!file) found.push({ page, link });
      else if (anchor && isPage(file) && !page.startsWith("api") && !idsOf(file).has(anchor))
        found.push({ page, link });
    }
  }
  return found;
}

/** Whether a file is a page of the docs: what the playground makes its places of is not in its HTML. */
function isPage(file) {
  return file.endsWith(".html") && !file.includes("/playground/");
}
