import { gzipSync } from "node:zlib";
import { build, type Rolldown } from "vite";
import { expect, test } from "vitest";
import { root } from "../command.ts";

// What a page loads, as a bundler makes it, in bytes after gzip; docs/package.md has these numbers. What is imported
// decides what is loaded at first, and the backend that is opened comes after.

const entry = "\0entry";

/** What of the bundle of a module is loaded at its start, and all of it. */
async function sizesOf(code: string): Promise<{ first: number; all: number }> {
  const made = await build({
    root,
    configFile: false,
    logLevel: "error",
    resolve: { conditions: ["lorantz-source", "browser", "module"] },
    plugins: [
      {
        name: "entry",
        enforce: "pre", // before the package's own name leads to what was built
        resolveId: (id) =>
          id === entry
            ? id
            : id.match(/^lorantz(?:\/(\w+))?$/) && `${root}src/${id.slice(8) || "."}/index.ts`,
        load: (id) => (id === entry ? code : undefined),
      },
    ],
    build: {
      write: false,
      modulePreload: false,
      rolldownOptions: {
        input: entry,
        preserveEntrySignatures: "strict",
        external: ["yaml", "@huggingface/jinja", "@huggingface/tokenizers"], // optional packages
      },
    },
  });
  const chunks = (made as Rolldown.RolldownOutput).output.filter((chunk) => chunk.type === "chunk"); // one bundle
  const bytes = new Map(chunks.map((chunk) => [chunk.fileName, gzipSync(chunk.code).length]));
  const first = new Set<string>();
  const follow = (name: string) => {
    if (first.has(name)) return;
    first.add(name);
    for (const next of chunks.find(({ fileName }) => fileName === name)!.imports) follow(next);
  };
  follow(chunks.find(({ isEntry }) => isEntry)!.fileName);
  const sum = (names: Iterable<string>) => [...names].reduce((total, name) => total + bytes.get(name)!, 0);
  return { first: sum(first), all: sum(bytes.keys()) };
}

/** Thousands of bytes: a little above what is so. */
const limits: readonly (readonly [what: string, code: string, first: number, all: number])[] = [
  ["a tensor", 'export { tensor } from "lorantz";', 42, 42],
  ["the core", 'export * from "lorantz";', 92, 175],
  [
    "a LoRA training step",
    `export { compile, init, random, tree, valueAndGrad } from "lorantz";
     export { adamw, applyUpdates } from "lorantz/optim";
     export { inject, partition } from "lorantz/lora";
     export { linear, mlp, mseLoss } from "lorantz/nn";`,
    83,
    167,
  ],
  ["all that pages use", `export * from "${root}src/browser.ts";`, 230, 314],
];

test.each(limits)("%s is small", async (_, code, first, all) => {
  const found = await sizesOf(code);
  expect(found.first).toBeLessThan(1000 * first);
  expect(found.all).toBeLessThan(1000 * all);
  // A limit that is far away watches nothing.
  expect(found.first).toBeGreaterThan(850 * first);
  expect(found.all).toBeGreaterThan(850 * all);
});
