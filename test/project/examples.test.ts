import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, expect, test, vi } from "vitest";
import charRnn from "../../docs/examples/char-rnn.ts";
import digits from "../../docs/examples/digits.ts";
import gaussNewton from "../../docs/examples/gauss-newton.ts";
import gpt from "../../docs/examples/gpt.ts";
import hessianSpectrum from "../../docs/examples/hessian-spectrum.ts";
import maml from "../../docs/examples/maml.ts";
import perSampleGradients from "../../docs/examples/per-sample-gradients.ts";
import spirals from "../../docs/examples/spirals.ts";
import { drawn } from "../../src/experiments/charts.ts";
import { init } from "../../src/index.ts";
import { thorough } from "../thorough.ts";

// Each example runs. Those that learn for long do so where there is time for it, and take two steps elsewhere.

beforeAll(async () => {
  await init({ backend: "cpu" });
});

test("microlora proves the gauge, without an import, in two hundred lines", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const { one, other, partner, proof } = await import("../../docs/examples/microlora.ts");
  log.mockRestore();
  expect(partner.alpha).toBe(0.5);
  expect(one.losses.at(-1)).toBeLessThan(one.losses[0]! / 10);
  expect(other.A).not.toEqual(one.A);
  expect(proof).toBe(true);
});

test("spirals", async () => {
  const { figures, picture } = await spirals(thorough ? {} : { steps: 2, grid: 4 });
  expect(figures.after).toBeLessThan(figures.before);
  if (thorough) expect(figures.accuracy).toBeGreaterThan(0.9);
  expect(await drawn({ title: "Spirals", ...picture } as never)).toContain("<svg");
});

test("digits", async () => {
  const { figures } = await digits(thorough ? {} : { steps: 2, batch: 2, shown: 2 });
  expect(figures.first).toBeCloseTo(Math.log(10), 0);
  if (thorough) expect(figures.accuracy).toBeGreaterThan(0.8);
});

test("per-sample gradients", async () => {
  const { figures } = await perSampleGradients({ examples: 8 });
  expect(figures.furthestFromLoop).toBeLessThan(1e-4);
  expect(figures.longestClipped).toBeLessThan(figures.bound * 1.0001);
});

test("maml", async () => {
  const { figures } = await maml(thorough ? {} : { steps: 2, tasks: 2 });
  expect(figures.afterInnerStep).toBeLessThan(figures.beforeInnerStep);
  if (thorough) expect(figures.afterInnerStep).toBeLessThan(figures.beforeInnerStep / 2);
});

test("Gauss-Newton", async () => {
  const { figures } = await gaussNewton({ descents: 20 });
  expect(figures.gaussNewton).toBeLessThan(figures.gradientDescent);
  expect(figures.fromTruth).toBeLessThan(0.1);
});

test("the spectrum of a Hessian", async () => {
  const { figures } = await hessianSpectrum({ inputs: 4, outputs: 3, steps: 1500 });
  expect(figures.zeros).toBe(4);
  expect(figures.parameters).toBe(14);
});

test("a recurrent network", async () => {
  const small = { steps: 40, length: 8, batch: 4, hidden: 16, letter: 4 };
  const { figures } = await charRnn(thorough ? {} : small);
  expect(figures.last).toBeLessThan(figures.first);
  expect(figures.story).toHaveLength(thorough ? 120 : 4);
  expect(figures.kernels).toBeLessThan(80);
  if (thorough) expect(figures.last).toBeLessThan(2.2);
});

test("a GPT", async () => {
  const small = { width: 32, blocks: 1, context: 16, batch: 4, tokens: 8 };
  const { figures } = await gpt(thorough ? {} : { ...small, steps: 10 });
  expect(figures.last).toBeLessThan(figures.first);
  if (thorough) expect(figures.last).toBeLessThan(figures.first - 2);
  expect(figures.story).toMatch(/^The whale /);
});

test("the page names all of them", async () => {
  const folder = new URL("../../docs/examples/", import.meta.url);
  const page = readFileSync(new URL("../examples.md", folder), "utf8");
  const names = readdirSync(folder).filter((file) => file.endsWith(".ts") && file !== "picture.ts");
  for (const name of names) expect(page).toContain(`examples/${name}`);
});
