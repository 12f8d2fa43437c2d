import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

// Every TypeScript block of the README and of docs/ is a program of its own, and runs.

const root = new URL("../", import.meta.url);
const made = new URL("test/.examples/", root);

const pages = [
  "README.md",
  ...readdirSync(new URL("docs/", root)).flatMap((file) => (file.endsWith(".md") ? [`docs/${file}`] : [])),
];

const examples = pages.flatMap((page) =>
  [...readFileSync(new URL(page, root), "utf8").matchAll(/^```ts\n(.*?)^```/gms)].map((match, i) => ({
    page,
    number: i + 1,
    code: match[1]!,
  })),
);

describe("examples in the documentation", () => {
  beforeAll(() => {
    mkdirSync(made, { recursive: true });
  });
  afterAll(() => rmSync(made, { recursive: true, force: true }));

  test("there are some", () => {
    expect(examples.length).toBeGreaterThan(1);
  });

  test.each(examples)("$page, example $number, runs", async ({ page, number, code }) => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const file = new URL(`${page.replace(/\W/g, "-")}-${number}.ts`, made);
    writeFileSync(file, code);
    try {
      await import(/* @vite-ignore */ file.pathname);
    } finally {
      log.mockRestore();
    }
  });
});
