import { readFileSync } from "node:fs";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import {
  activationBytes,
  adapterParameters,
  adapterSize,
  attention,
  bitsPerWeight,
  block,
  bytes,
  changePercent,
  feedForward,
  models,
  nf4,
  nf4Double,
  packedCount,
  parameters,
  stateBytes,
  trainingBytes,
} from "../../src/experiments/accountant.ts";
import type { Claim } from "../../src/experiments/claims/claim.ts";
import { sources } from "../../src/experiments/claims/claim.ts";
import { claims } from "../../src/experiments/claims/registry.ts";
import { type Result, testClaims } from "../../src/experiments/claims/run.ts";
import { describeResult } from "../../src/experiments/claims/summary.ts";
import { type Check, outcome, verdict } from "../../src/experiments/claims/verdict.ts";
import { bases, configOf } from "../../src/experiments/language/base.ts";
import { studies } from "../../src/experiments/studies/registry.ts";
import * as lora from "../../src/lora/index.ts";
import { architecture, decoder } from "../../src/models/index.ts";
import type { Params } from "../../src/nn/layer.ts";
import { init } from "../../src/runtime/init.ts";
import { compile } from "../../src/tensor/compile.ts";
import { zeros } from "../../src/tensor/creation.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { languageLoss } from "../../src/train/index.ts";
import { gradientsOf } from "../../src/train/step.ts";
import { lorantz } from "../command.ts";
import { long } from "../long.ts";
import { cases } from "../thorough.ts";

describe("accountant", () => {
  const { llama2_7B, llama_13B, llama_65B } = models;

  test("parameters of models", () => {
    expect(parameters(llama2_7B)).toBe(6_738_415_616);
    expect(parameters(llama_13B)).toBe(13_015_864_320);
    expect(parameters(llama_65B)).toBe(65_285_660_672);
  });

  test("adapters on Llama-2-7B at r = 8", () => {
    const count = (...targets: string[]) => adapterParameters(llama2_7B, 8, targets);
    for (const [i, one] of attention.entries()) {
      for (const other of attention.slice(i + 1)) expect(count(one, other)).toBe(4_194_304);
    }
    expect(count(...attention)).toBe(8_388_608);
    expect(count(...feedForward)).toBe(11_599_872);
    expect(count(...block)).toBe(19_988_480);
    expect(count("head")).toBe(288_768);
    expect(count(...block, "head")).toBe(20_277_248);
    expect(count(...block, "head", "embedding")).toBe(20_566_016);
    expect(adapterParameters(llama2_7B, 256, [...block, "head"])).toBe(648_871_936);
    expect(adapterParameters(llama_13B, 256, ["query", "value"])).toBe(209_715_200);
  });

  test("one matrix", () => {
    expect(adapterSize(8, { out: 10_000, in: 20_000 })).toBe(240_000);
    expect(() => adapterSize(0, { out: 4, in: 4 })).toThrow("r is 0; a rank is an integer >= 1");
    expect(() => adapterParameters(llama2_7B, 8, ["gate_proj"])).toThrow(
      'has no matrix "gate_proj"; it has query',
    );
  });

  test("bytes of states", () => {
    expect(stateBytes(4_194_304, { bits: 16 })).toBe(16_777_216); // 134.22 Mbit
    expect(stateBytes(4_194_304)).toBe(33_554_432);
    expect(stateBytes(adapterParameters(llama2_7B, 256, ["query", "value"]), { bits: 16 })).toBe(536_870_912);
    expect(stateBytes(648_871_936, { bits: 16 })).toBe(2_595_487_744);
    expect(trainingBytes(10)).toEqual({ parameters: 40, gradients: 40, state: 80, total: 160 });
    expect(bytes(3, 4)).toBe(1.5);
  });

  long("activations of a block are within a hundredth of what its compiled step holds", async () => {
    await init({ backend: "cpu" });
    const [r, batch] = [8, 2];
    const step = async (blocks: number, length: number) => {
      const base = decoder(architecture(configOf({ ...bases.small!, context: 128, blocks })));
      const model = lora.inject(base, { r, alpha: r, targetModules: "all-linear" });
      const [own, frozen] = lora.partition(model.init(random.key(1), base.init(random.key(0))));
      const loss = languageLoss(model);
      const compiled = compile((own: Params, frozen: Params, ids: Tensor<"int32">) =>
        gradientsOf(loss, own, frozen, { tokens: ids, targets: ids }, {}),
      );
      const args = [own, frozen, zeros([batch, length], { dtype: "int32" })] as const;
      const { intermediates } = await compiled.plan(...args);
      const held = async () => {
        await compiled(...args);
        return compiled.inspect().bytes;
      };
      return { intermediates, held };
    };
    for (const length of cases([64], [128])) {
      const [one, two] = [await step(1, length), await step(2, length)];
      const measured = (two.intermediates - one.intermediates) / batch;
      const said = activationBytes({ hidden: 64, inner: 132, heads: 2 }, { r, length });
      expect(measured / said, `${length} tokens`).toBeGreaterThanOrEqual(1);
      expect(measured / said, `${length} tokens`).toBeLessThan(1.01);
      expect(await one.held()).toBe(one.intermediates);
    }
    expect(() => activationBytes({ hidden: 4, inner: 8, heads: 1 }, { r: 0.5, length: 4 })).toThrow(
      "r is 0.5",
    );
  });

  test("bits of quantised weights", () => {
    expect(bitsPerWeight(nf4)).toBe(4.5);
    expect(bitsPerWeight(nf4Double)).toBe(4 + 8 / 64 + 32 / (64 * 256));
    expect(((bitsPerWeight(nf4) - bitsPerWeight(nf4Double)) * parameters(llama_65B)) / 8e9).toBeCloseTo(
      3.04,
      2,
    );
  });

  test("packed weights count logically, and are half as many elements", () => {
    const { logical, stored } = packedCount(llama_13B, 4);
    expect(logical).toBe(parameters(llama_13B));
    expect(stored).toBe(6_671_979_520);
    expect(209_715_200 / logical).toBeCloseTo(0.0161, 4);
    expect(209_715_200 / (stored + 209_715_200)).toBeCloseTo(0.0305, 4);
    expect(packedCount(llama_13B, 8).stored).toBe(logical);
  });

  test("changes in percent", () => {
    expect(changePercent(21.33, 14.18)).toBeCloseTo(-33.5, 1);
    expect(changePercent(1.85, 2.79)).toBeCloseTo(50.8, 1);
  });
});

describe("verdicts", () => {
  const one = (value: number, expected: Check["expected"], more: Partial<Check> = {}): Check => ({
    what: "",
    value,
    expected,
    axis: "stated",
    ...more,
  });
  const theory = { exponent: -0.87, limit: -1 };
  const either = {
    anyOf: [
      [0, 1],
      [5, 6],
    ],
  } as const;

  test.each([
    [one(0, { equals: 0 }), "yes"],
    [one(1e-300, { equals: 0 }), "no"],
    [one(2, { between: [1, 2] }), "yes"],
    [one(2, { above: 2 }), "no"],
    [one(1, { below: 2 }), "yes"],
    [one(Number.NaN, { below: 2 }), "undecided"],
    [one(1, { between: [0, 2] }, { interval: [0.5, 1.5] }), "yes"],
    [one(1, { between: [0, 2] }, { interval: [0.5, 2.5] }), "undecided"],
    [one(3, { between: [0, 2] }, { interval: [2.5, 3.5] }), "no"],
    [one(3, { above: 2 }, { interval: [1.5, 4.5] }), "undecided"],
    [one(1, { above: 2 }, { interval: [0, 2] }), "no"],
    [one(1, { below: 2 }, { interval: [Number.NaN, Number.NaN] }), "undecided"],
    // Alternatives: any of them explains the number.
    [one(0.5, either), "yes"],
    [one(5, either), "yes"],
    [one(3, either), "no"],
    [one(3, either, { interval: [2, 5.5] }), "undecided"],
    [one(3, either, { interval: [0.5, 5.5] }), "undecided"],
    // Exponents: that of theory and none beside it.
    [one(-0.9, { theory }, { interval: [-0.95, -0.85] }), "yes"],
    [one(-0.8, { theory }, { interval: [-0.85, -0.75] }), "no"],
    [one(-0.8, { theory }, { interval: [-1.15, -0.45] }), "undecided"],
  ] as const)("outcome of %j is %s", (check, expected) => {
    expect(outcome(check)).toBe(expected);
  });

  const yes = one(1, { equals: 1 });
  const no = one(1, { equals: 2 });
  const open = one(1, { above: 1 }, { interval: [0, 2] });
  const own = (check: Check): Check => ({ ...check, axis: "setting", under: "there" });
  const under = (check: Check): Check => ({ ...check, axis: "condition", under: "sometimes" });
  test.each([
    ["holds", [yes, yes]],
    ["holds", [yes, own(yes), under(yes)]],
    ["holds", [yes, under(no)]], // a condition that a claim does not need
    ["holds", [yes, { ...no, axis: "beside" }]],
    ["contradicted", [no, { ...yes, axis: "beside" }]],
    ["holds in its own setting", [no, own(yes)]],
    ["holds in its own setting", [no, own(yes), under(no)]],
    ["holds in its own setting", [own(yes)]],
    ["holds under a condition", [no, under(yes)]],
    ["contradicted", [yes, no]],
    ["contradicted", [no, under(no)]],
    ["contradicted", [no, under(yes), under(no)]],
    ["contradicted", [yes, own(no)]],
    ["contradicted", [no, own(no), under(yes)]],
    ["undecided", [open]],
    ["undecided", [open, yes]],
    ["undecided", [open, own(yes)]],
    ["undecided", [yes, own(open)]],
    ["undecided", [no, own(open), under(yes)]],
    ["undecided", [no, under(open)]],
    ["holds under a condition", [under(yes)]],
    ["undecided", []],
  ] as const)("%s: %#", (expected, checks) => {
    expect(verdict(checks)).toBe(expected);
  });

  test("an error of arithmetic is wrong, whatever explains it", () => {
    expect(verdict([no, under(yes)], { arithmetic: true })).toBe("wrong");
    expect(verdict([no, own(yes)], { arithmetic: true })).toBe("wrong");
    expect(verdict([yes, under(yes)], { arithmetic: true })).toBe("holds");
    expect(verdict([yes, own(no)], { arithmetic: true })).toBe("contradicted");
  });
});

describe("registry", () => {
  test("every claim has an id of its own, a source, a statement, and a test or a reason", () => {
    expect(new Set(claims.map(({ id }) => id)).size).toBe(claims.length);
    for (const claim of claims) {
      expect(claim.id).toMatch(/^(S[0-4]|N)-\d+$/);
      expect(Object.hasOwn(sources, claim.id.split("-")[0]!)).toBe(true);
      expect(claim.statement).toMatch(/\S.*\.$/);
      if ("test" in claim) expect(claim.how).toMatch(/\.$/);
      else if ("study" in claim)
        expect(studies.find(({ name }) => name === claim.study)!.claims).toContain(claim.id);
      else expect(claim.later).toMatch(/\.$/);
    }
  });

  test("every statement of every article is there, in order", () => {
    const counts = { S0: 22, S1: 11, S2: 13, S3: 7, S4: 28 };
    const ids = Object.entries(counts).flatMap(([source, count]) =>
      Array.from({ length: count }, (_, i) => `${source}-${i + 1}`),
    );
    expect(claims.map(({ id }) => id).filter((id) => id.startsWith("S"))).toEqual(ids);
  });

  test("those that need no language model are tested", () => {
    const tested = claims.filter((claim) => "test" in claim).map(({ id }) => id);
    expect(tested).toEqual([
      ...[2, 4, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 20].map((i) => `S0-${i}`),
      ...[1, 5, 7, 9, 10].map((i) => `S1-${i}`),
      ...[1, 2, 3, 4, 8].map((i) => `S2-${i}`),
      ...[1, 2, 3, 4, 5, 6, 7].map((i) => `S3-${i}`),
      ...[2, 6, 8, 9, 13, 14, 23, 24].map((i) => `S4-${i}`),
      ...[1, 2, 3, 15, 22, 23, 31, 33, 34, 37, 38].map((i) => `N-${i}`),
    ]);
  });

  test("the page names every claim that is tested, and no verdict that the program cannot give", () => {
    const page = readFileSync(new URL("../../docs/claims.md", import.meta.url), "utf8");
    for (const claim of claims)
      if ("test" in claim) expect(page).toContain(`| ${claim.id} | ${claim.statement} |`);
    const [, table] = page.split("## What came out");
    const [main] = table!.split("\n## ");
    const verdicts = [...main!.matchAll(/^\| (?:S\d|N)-\d+ \|.*\| ([^|]+) \|$/gm)].map((match) => match[1]!);
    expect(verdicts).toHaveLength(claims.filter((claim) => "test" in claim).length);
    for (const found of verdicts)
      expect([
        "holds",
        "holds in its own setting",
        "holds under a condition",
        "contradicted",
        "wrong",
        "undecided",
      ]).toContain(found);
  });
});

describe("tests of claims", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });

  const byId = (id: string): Claim => claims.find((claim) => claim.id === id)!;
  const tested = async (id: string, seeds = 4): Promise<Result> =>
    (await testClaims([byId(id)], { seeds }))[0]!;

  // Of these the verdict does not hang on chance.
  test.each([
    ["S0-4", "holds"],
    ["S0-11", "holds under a condition"],
    ["S0-14", "holds"],
    ["S0-18", "holds"],
    ["S1-1", "wrong"],
    ["S1-7", "holds"],
    ["S1-9", "holds"],
    ["S1-10", "holds"],
    ["S2-1", "holds"],
    ["S2-8", "holds"],
    ["S3-2", "holds"],
    ["S3-4", "holds"],
    ["S3-5", "holds in its own setting"],
    ["S3-7", "holds under a condition"],
    ["S4-2", "wrong"],
    ["S4-6", "contradicted"],
    ["S4-8", "holds"],
    ["S4-9", "wrong"],
    ["S4-13", "holds"],
    ["S4-14", "wrong"],
    ["S4-24", "holds"],
    ["N-3", "holds under a condition"],
    ["N-15", "holds"],
    ["N-22", "holds"],
    ["N-33", "holds"],
    ["N-34", "holds"],
    ["N-37", "holds"],
    ["N-38", "holds"],
  ])("%s %s", async (id, expected) => {
    const result = await tested(id);
    expect(result.verdict, describeResult(result)).toBe(expected);
  });

  long("run Y is another run than X, and LoRA+ in disguise", async () => {
    const { checks } = await tested("S0-12", 8);
    expect(checks!.slice(0, 2).map(({ outcome }) => outcome)).toEqual(["no", "no"]);
    expect(checks![2]!.value).toBeLessThan(0.05);
    expect(checks!.slice(3).map(({ value }) => value)).toEqual([0, 0]);
  });

  long("the article's script: parameters tell, losses do not", async () => {
    const { checks, verdict } = await tested("S3-3", 2);
    expect(checks!.slice(0, 2).map(({ value }) => value)).toEqual([0, 0]);
    expect(checks![2]!.value).toBeGreaterThan(0.9);
    expect(checks![3]!.value).toBeLessThan(0.1);
    expect(["holds", "undecided"]).toContain(verdict); // few seeds
  });

  test("the rule of SGD is exact under SGD and no rule under Adam", async () => {
    const { checks } = await tested("S3-1");
    expect(checks!.map(({ outcome }) => outcome)).toEqual(["no", "yes", "yes"]);
  });

  test.each(cases(["S0-9"], ["S3-6", "S0-13", "S0-20", "S2-3", "S2-4"]))(
    "%s is judged on the sample of the update and on an independent input",
    async (id) => {
      const { checks } = await tested(id, 2);
      const on = (input: RegExp) => checks!.filter(({ what }) => input.test(what)).length;
      expect(on(/training (sample|input)/)).toBeGreaterThan(0);
      expect(on(/independent/)).toBeGreaterThan(0);
    },
  );

  test("another seed draws other numbers, and the same one the same", async () => {
    const values = async (seed: number) => {
      const [result] = await testClaims([byId("S4-23")], { seed, seeds: 2 });
      return result!.checks!.map(({ value }) => value);
    };
    const [first, again, other] = [await values(0), await values(0), await values(1)];
    expect(again).toEqual(first);
    expect(other[0]).not.toBe(first[0]);
  });

  test("a claim for later has its reason and no checks", async () => {
    const result = await tested("N-41");
    expect(result.verdict).toBe("not tested");
    expect(result.checks).toBeUndefined();
    expect(describeResult(result)).toContain(
      "  reason     The quantity is the throughput that one run leaves unused of a GPU",
    );
    expect(describeResult(result)).toContain("  measure    npm run bench");
    expect(describeResult(await tested("S0-5"))).toContain("lorantz reproduce alpha-rank");
  });
});

describe("lorantz claims", () => {
  afterEach(() => vi.restoreAllMocks());

  const claimsCommand = (...args: string[]) => lorantz("claims", ...args);

  test("prints a claim, in words and as JSON", async () => {
    const words = await claimsCommand("s4-13");
    expect(words.code).toBe(0);
    expect(words.stdout).toContain("S4-13  holds");
    expect(words.stdout).toMatch(/240000 +exact +/);
    const { stdout } = await claimsCommand("S4-13", "S0-5", "--json", "--seeds", "3", "--seed", "7");
    const { results, seed, seeds } = JSON.parse(stdout) as { results: Result[]; seed: number; seeds: number };
    expect([seed, seeds]).toEqual([7, 3]);
    expect(results.map(({ id, verdict }) => [id, verdict])).toEqual([
      ["S4-13", "holds"],
      ["S0-5", "not tested"],
    ]);
    expect(results[0]!.checks![0]).toMatchObject({
      value: 240_000,
      expected: { equals: 240_000 },
      outcome: "yes",
    });
  });

  test("lists all", async () => {
    const { code, stdout } = await claimsCommand("--list");
    expect(code).toBe(0);
    for (const { id, statement } of claims) {
      expect(stdout).toContain(`  ${id} `);
      expect(stdout).toContain(statement);
    }
    expect(JSON.parse((await claimsCommand("--list", "--json")).stdout)).toHaveLength(claims.length);
  });

  test.each([
    [["S0-99"], 'there is no claim "S0-99". There are S0-1, S0-2'],
    [["everything"], 'there is no claim "everything". IDs are like S0-9'],
    [["--seeds", "1"], '--seeds is "1"; it is a whole number from 2 to 1000'],
    [["--seeds", "0x10"], '--seeds is "0x10"'],
    [["--seed", "-1"], "--seed"],
    [["--seed", "4096"], '--seed is "4096"; it is a whole number from 0 to 4095'],
  ])("%j is refused with code 2", async (args, message) => {
    const { code, stdout, stderr } = await claimsCommand(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});
