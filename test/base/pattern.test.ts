import fc from "fast-check";
import { expect, test } from "vitest";
import { isFound, matcher } from "../../src/base/pattern.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { runs } from "../thorough.ts";

// Patterns of paths: the language is that of RegExp, the time is not.

const atom = fc.constantFrom(
  ..."a b . _ \\. \\w \\d \\W [ab] [^a] [a-c.] [\\w-] [^\\d\\W] \\x61 \\u0062 (?:) ^ $ \\b \\B".split(" "),
);
const quantifier = fc.constantFrom("", "", "", "*", "+", "?", "*?", "{2}", "{1,}", "{0,2}", "{2,3}?");

/** Expressions that are small enough for RegExp, too. */
const { expression } = fc.letrec<{ expression: string; part: string }>((tie) => ({
  expression: fc.oneof(
    fc.array(tie("part"), { maxLength: 4 }).map((parts) => parts.join("")),
    fc
      .array(fc.array(tie("part"), { maxLength: 2 }), { minLength: 2, maxLength: 3 })
      .map((all) => all.map((parts) => parts.join("")).join("|")),
  ),
  part: fc.oneof(
    { maxDepth: 3 },
    fc.tuple(atom, quantifier).map(([a, q]) => (/^(\^|\$|\\[bB])$/.test(a) ? a : a + q)),
    fc
      .tuple(
        fc.constantFrom("(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<name>"),
        tie("expression"),
        quantifier,
      )
      .map(([open, inner, q]) => `${open}${inner})${/^\(\?[=!]|^\(\?<[=!]/.test(open) ? "" : q}`),
  ),
}));
const text = fc.string({ unit: fc.constantFrom(..."aAbBc._1"), maxLength: 8 });

test("matches what RegExp matches", () => {
  fc.assert(
    fc.property(
      expression,
      fc.constantFrom("", "i", "s", "g", "y"),
      fc.array(text, { minLength: 1, maxLength: 5 }),
      (source, flags, texts) => {
        let native: RegExp;
        try {
          native = new RegExp(source, flags);
        } catch {
          expect(() => matcher(source, flags)).toThrow(SyntaxError); // two groups of one name
          return;
        }
        const found = matcher(source, flags);
        for (const each of texts) {
          native.lastIndex = 0;
          expect(found(each), `/${source}/${flags} in ${JSON.stringify(each)}`).toBe(native.test(each));
        }
      },
    ),
    { numRuns: runs(3000) },
  );
});

test("takes bounded time", () => {
  const long = "a".repeat(120);
  for (const source of [
    "(a+)+",
    "(a|aa)+",
    "(a*)*",
    "((a*)*)*",
    "(.*.*.*.*)*",
    "(a?){100}a{100}",
    "(\\w+\\.?)+",
    "([a-z]+)*",
  ]) {
    const found = matcher(`^(.*\\.)?(${source}!)$`);
    const start = process.cpuUsage().user;
    expect(found(`model.${long}`)).toBe(false);
    expect(process.cpuUsage().user - start).toBeLessThan(2e6); // two seconds, where backtracking takes years
    expect(found(`model.${long}!`)).toBe(true);
  }
  expect(matcher("a{1000000000}")("aaa")).toBe(false);
  expect(matcher(`${"(".repeat(300)}a${")*".repeat(300)}$`)(long)).toBe(true);
});

test("patterns of ranks, targets and groups of optimizers are of it", () => {
  const name = "a".repeat(60);
  const model = nn.sequential({ [name]: nn.linear(4, 4) });
  const config = { r: 2, alpha: 4 } as const;
  expect(() =>
    lora.inject(model, { ...config, targetModules: "all-linear", rankPattern: { "(a+)+!": 1 } }),
  ).toThrow("matches none of the adapted layers");
  expect(() => lora.inject(model, { ...config, targetModules: [/^(a+)+!$/] })).toThrow("matches no layer");
  expect(isFound(/(a+)+/g, name)).toBe(true);
  expect(() =>
    optim.sgd({ lr: 1, groups: [{ match: /^(a+)+!$/, lr: 2 }] }).init({ [name]: undefined }),
  ).toThrow("matches no parameter");
});

test("refuses what it does not know, with what it is", () => {
  for (const source of ["(a)\\1", "(?<x>a)\\k<x>", "\\cA", "\\p"])
    expect(() => matcher(source)).toThrow(/pattern: ".*" of ".*" is not known here/);
  expect(() => matcher("\\p{L}", "u")).toThrow("no Unicode classes");
  expect(() => matcher("a".repeat(1001))).toThrow("the expression has 1001 characters");
  expect(() => matcher("(")).toThrow(SyntaxError);
});
