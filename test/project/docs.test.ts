import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { init } from "../../src/index.ts";
import { lorantz } from "../command.ts";
import { long } from "../long.ts";
import { cases } from "../thorough.ts";
import { writeTinyModel } from "../tiny-model.ts";

// Every TypeScript block of the README and of docs/ is a program of its own, and runs; so do the commands of the guide to
// fine-tuning. They find a tiny model in the folder my-model, and examples in train.jsonl, test.jsonl and pairs.jsonl.

const root = new URL("../../", import.meta.url);
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

// Trainings of the theorist's guide, and models that are loaded: where every case is wanted.
const isSlow = ({ page, number }: { page: string; number: number }) =>
  (page === "docs/guide-theorist.md" && number <= 3) || (page === "docs/models.md" && number === 3);
const slow = examples.filter(isSlow);
const quick = examples.filter((example) => !isSlow(example));

describe("examples in the documentation", () => {
  const before = process.cwd();
  beforeAll(async () => {
    mkdirSync(made, { recursive: true });
    process.chdir(fileURLToPath(made));
    await init({ backend: "cpu" });
    await writeTinyModel("my-model");
    for (const [name, count] of [
      ["train.jsonl", 30],
      ["test.jsonl", 5],
    ] as const) {
      const lines = Array.from({ length: count }, (_, i) =>
        JSON.stringify({ prompt: `${i}+${count}=`, completion: `${i + count}` }),
      );
      writeFileSync(name, lines.join("\n"));
    }
    const pairs = Array.from({ length: 10 }, (_, i) =>
      JSON.stringify({ premise: `${i}`, hypothesis: `${i + (i % 2)}`, label: i % 2 ? "no" : "yes" }),
    );
    writeFileSync("pairs.jsonl", pairs.join("\n"));
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(made, { recursive: true, force: true });
  });

  test("there are some", () => {
    expect(examples.length).toBeGreaterThan(1);
  });

  const guide = readFileSync(new URL("docs/fine-tune.md", root), "utf8");
  const commands = [...guide.matchAll(/^npx lorantz (.*)$/gm)].map(([, line]) => line!);

  long("the commands of the guide to fine-tuning run, one after the other", async () => {
    expect(commands.length).toBeGreaterThan(4);
    for (const line of commands) {
      const args = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
      // What goes on where a run ended has nothing left to do.
      const { code, stderr } = await lorantz(...args);
      expect({ line, code, stderr }).toMatchObject({ line, code: 0 });
    }
  });

  test.each(cases(quick, slow))("$page, example $number, runs", async ({ page, number, code }) => {
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
