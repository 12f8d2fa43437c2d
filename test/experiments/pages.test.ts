import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { claims } from "../../src/experiments/claims/registry.ts";
import { studies } from "../../src/experiments/studies/registry.ts";

const page = (name: string) => readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");

/** The first cells of a table's rows, between the comments of that name. */
function idsIn(text: string, part: string): readonly string[] {
  const [from, to] = [`<!-- ${part} -->`, `<!-- end of ${part} -->`].map((mark) => text.indexOf(mark));
  return [...text.slice(from, to).matchAll(/^\| ([SN]\d*-\d+) \|/gm)].map(([, id]) => id!);
}

test("the page on claims has those that are tested without a language model, and names those not run yet", () => {
  const text = page("claims.md");
  const tested: readonly string[] = claims.filter((claim) => "test" in claim).map(({ id }) => id);
  const shown = idsIn(text, "what came out");
  expect(shown.length).toBeGreaterThan(40);
  for (const id of shown) expect(tested).toContain(id);
  const named = text.match(/^\*\*Not run\*\*: .*(\n.+)*/m)?.[0].match(/[SN]\d*-\d+/g) ?? [];
  expect([...shown, ...named].sort()).toEqual([...tested].sort());
});

test("the page on experiments has each claim that a study judges, or names it among those not run", () => {
  const text = page("experiments.md");
  const notRun = text.match(/^\*\*Not run\*\*[\s\S]*?(?=\n\n[^|])/m)![0];
  const named = notRun.match(/\b[SN]\d*-\d+/g) ?? [];
  const shown = idsIn(text, "what came out");
  expect(shown.length).toBeGreaterThan(40);
  for (const { name, claims: judged } of studies)
    for (const id of judged) expect([...shown, ...named], name).toContain(id);
});
