import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// The layers of src/, bottom first. A file imports from its own folder and from lower ones; folders of one row
// do not know each other, except where `within` says so.
const layers = [
  ["base"],
  ["graph"],
  ["compile"],
  ["backend"],
  ["backend/cpu", "backend/webgpu"],
  ["runtime"],
  ["tensor"],
  ["nn", "optim"],
  ["lora", "gauge", "functional"],
  ["io"],
  ["text"],
  ["models"],
  ["adapters"],
  ["train"],
  ["laws"],
  ["experiments"],
  ["index.ts"],
  ["browser.ts"],
  ["cli"],
];
const within: Readonly<Record<string, string>> = { gauge: "lora" };

const root = fileURLToPath(new URL("../../src/", import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts"));

/** Source text without comments; strings stay, since they hold the specifiers. */
function withoutComments(text: string): string {
  return text.replace(/("(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, "$1");
}

const sources = new Map(files.map((file) => [file, withoutComments(readFileSync(join(root, file), "utf8"))]));

// Static, type-only, dynamic and `typeof import()` imports, and re-exports: all count.
const imports: readonly Import[] = [...sources].flatMap(([from, text]) => {
  const specifiers = text.matchAll(/\b(?:from|import)\s*\(?\s*["']([^"']+)["']/g);
  return [...specifiers].flatMap(([, specifier = ""]) =>
    targets(from, specifier).map((to) => ({ from, to })),
  );
});

/** The files of src/ that an import leads to; none for a package. */
function targets(from: string, specifier: string): string[] {
  if (specifier === "#files") return ["io/files-node.ts", "io/files-web.ts"];
  if (specifier === "#gpu") return ["backend/webgpu/gpu-node.ts", "backend/webgpu/gpu-web.ts"];
  if (!specifier.startsWith(".")) return [];
  return [relative(root, join(root, dirname(from), specifier)).replaceAll("\\", "/")];
}

const describeEdge = ({ from, to }: Import): string => `${from} imports ${to}`;

/** The layer a file belongs to: the longest listed folder that holds it. */
function folder(file: string): string {
  const [top, second] = file.split("/");
  return layers.flat().find((name) => name === `${top}/${second}`) ?? top ?? "";
}

const rank = (file: string): number => layers.findIndex((row) => row.includes(folder(file)));

function allowed({ from, to }: Import): boolean {
  const [above, below] = [folder(from), folder(to)];
  return above === below || within[above] === below || rank(to) < rank(from);
}

/** The first circle of imports that a depth-first walk meets, as a list of files; empty without one. */
function findCycle(edges: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const path: string[] = [];
  const walk = (file: string): string[] => {
    const start = path.indexOf(file);
    if (start >= 0) return [...path.slice(start), file];
    if (done.has(file)) return [];
    path.push(file);
    for (const to of next.get(file) ?? []) {
      const cycle = walk(to);
      if (cycle.length > 0) return cycle;
    }
    path.pop();
    done.add(file);
    return [];
  };
  for (const file of next.keys()) {
    const cycle = walk(file);
    if (cycle.length > 0) return cycle;
  }
  return [];
}

test("every file of src/ lies in a known layer", () => {
  expect(files.filter((file) => rank(file) < 0)).toEqual([]);
});

test("every relative import names a file of src/, with its .ts ending", () => {
  const lost = imports.filter(({ to }) => !sources.has(to));
  expect(lost.map(describeEdge)).toEqual([]);
});

test("a folder imports only from itself and from lower layers", () => {
  const upward = imports.filter((edge) => !allowed(edge));
  expect(upward.map(describeEdge)).toEqual([]);
});

test("files do not import in a circle", () => {
  expect(findCycle(imports)).toEqual([]);
});

test("the checks see what they look for", () => {
  expect(imports.length).toBeGreaterThan(0);
  expect(allowed({ from: "graph/a.ts", to: "base/b.ts" })).toBe(true);
  expect(allowed({ from: "gauge/a.ts", to: "lora/b.ts" })).toBe(true);
  expect(allowed({ from: "lora/a.ts", to: "gauge/b.ts" })).toBe(false);
  expect(allowed({ from: "nn/a.ts", to: "optim/b.ts" })).toBe(false);
  expect(allowed({ from: "backend/cpu/a.ts", to: "backend/webgpu/b.ts" })).toBe(false);
  expect(allowed({ from: "backend/interface.ts", to: "backend/cpu/a.ts" })).toBe(false);
  expect(allowed({ from: "graph/a.ts", to: "index.ts" })).toBe(false);
  expect(
    findCycle([
      { from: "a", to: "b" },
      { from: "b", to: "c" },
      { from: "c", to: "b" },
    ]),
  ).toEqual(["b", "c", "b"]);
});

test("src/ holds no any", () => {
  const type = /:\s*any\b|\bas any\b|<any\b|,\s*any>|\bany\[\]/;
  const withAny = [...sources].filter(([, text]) => type.test(text.replace(/"[^"\n]*"|`[^`]*`/g, '""')));
  expect(withAny.map(([file]) => file)).toEqual([]);
});

test("names of files are in kebab case", () => {
  expect(files.filter((file) => !/^[a-z0-9./-]+$/.test(file))).toEqual([]);
});

/** Entries of the package, and what each exports. */
const entryPoints = readdirSync(root, { withFileTypes: true })
  .flatMap((entry) =>
    entry.isDirectory() ? [`${entry.name}/index.ts`] : entry.name === "index.ts" ? ["index.ts"] : [],
  )
  .filter((file) => sources.has(file));

function exported(file: string): string[] {
  const text = sources.get(file)!;
  const lists = [...text.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list = ""]) =>
    list.split(","),
  );
  const names = lists.map((name) => name.trim().replace(/^type |^.* as /g, "")).filter(Boolean);
  return [...names, ...[...text.matchAll(/export \* as (\w+)/g)].map(([, name = ""]) => name)];
}

/** Names that stand in several entries because they do the same to different things. */
const shared: readonly string[] = [
  "linear", // a layer, and one with an adapter
  "embedding",
  "inject", // adapters into a model, new ones or those of a file
  "convert", // a recipe, and a file of an adapter
  "load", // a tree, a tokenizer, a model
  "summary", // of a model, and of a checkpoint
  "merge", // and its laws
  "schedule",
];

test("a public name means one thing", () => {
  const entries = entryPoints.filter((file) => !/^(cli|experiments)\//.test(file));
  const places = new Map<string, string[]>();
  for (const file of entries)
    for (const name of exported(file)) places.set(name, [...(places.get(name) ?? []), file]);
  expect(places.size).toBeGreaterThan(300);
  const several = [...places].filter(([, files]) => files.length > 1).map(([name]) => name);
  expect(several.sort()).toEqual([...shared].sort());
});

test("no entry but their own leads to the experiments", () => {
  const reached = new Set(entryPoints.filter((file) => !/^(cli|experiments)\//.test(file)));
  for (const file of reached) for (const { from, to } of imports) if (from === file) reached.add(to);
  expect([...reached].filter((file) => /^(cli|experiments)\//.test(file))).toEqual([]);
  expect(reached.size).toBeGreaterThan(300);
});
