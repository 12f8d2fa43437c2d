import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlayground } from "../../docs/playground/build.mjs";
import { Duel, type View } from "../../docs/playground/duel.ts";
import { opening, updatesFor } from "../../docs/playground/experiment.ts";
import { queries } from "../../docs/playground/grammar.ts";
import { init } from "../../src/index.ts";
import { scratch } from "../scratch.ts";
import { config, writeTinyModel } from "../tiny-model.ts";
import { findChromium, flags } from "./chromium.ts";
import { serve } from "./site.ts";

// The language task, from the model that lies beside the page.

const base = fileURLToPath(new URL("../../docs/playground/files/base", import.meta.url));

test("teaches a small language model to answer in SQL, and not only in its form", async () => {
  using _ = await init({ backend: "cpu" });
  const duel = await Duel.start(opening("language"), base);
  const right = (view: View) => view.looks!.x.texts!.filter((text, i) => text === wanted[i]).length;
  const before = await duel.view();
  const wanted = before.looks!.target.texts!;
  expect(before.looks!.x.texts!.every((text) => text.startsWith("we "))).toBe(true);
  expect(right(before)).toBe(0);
  const seen = [];
  for (let i = 0; i < updatesFor.language; i++) seen.push(await duel.step());
  expect(seen.every(({ same }) => same)).toBe(true);
  expect(seen.at(-1)!.loss.x).toBeLessThan(0.2 * seen[0]!.loss.x);
  const after = await duel.view();
  expect(after.looks!.x.texts).toEqual(after.looks!.y.texts);
  expect(right(after)).toBeGreaterThan(0.75 * wanted.length);
  // Nothing of the adapter is the frozen model.
  expect((await duel.view(0)).looks!.x.texts).toEqual(before.looks!.x.texts);
  expect(Object.keys(await duel.adapter("x", "peft"))).toContain("adapter_config.json");
  duel.dispose();
}, 600_000);

test("asks no question that a training saw", () => {
  const learned = new Set(queries(4096, 1, false).map(({ question }) => question));
  expect(queries(64, 1, true).filter(({ question }) => learned.has(question))).toEqual([]);
});

describe.skipIf(!findChromium())("in Chromium", { timeout: 600_000 }, () => {
  const { root: folder } = scratch("playground");
  let site: Awaited<ReturnType<typeof serve>>;
  let browser: Awaited<ReturnType<typeof chromium.launch>>;
  beforeAll(async () => {
    await buildPlayground(join(folder, "page"));
    site = await serve(join(folder, "page"));
    browser = await chromium.launch({ executablePath: findChromium()!, args: [...flags] });
  });
  afterAll(async () => {
    await browser?.close();
    site?.close();
  });

  test("tunes the model beside the page twice to the same bits, and takes a checkpoint of the reader's own", async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(300_000);
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    await page.goto(`${site.url}index.html#task=language`);
    await page.waitForSelector("#lamp[data-lamp=same]");
    await page.waitForSelector("#play:text-is('Run')");
    expect(await page.textContent("#texts tbody")).toContain("✓ select");
    expect(await page.textContent("#right")).toMatch(/of 24 questions that no training saw: 0 before/);
    // Of the adapter nothing: what the frozen model writes.
    await page.evaluate(() => {
      const strength = document.getElementById("strength") as HTMLInputElement;
      strength.value = "0";
      strength.dispatchEvent(new Event("change"));
    });
    await page.waitForSelector("#texts tbody:has-text('we tell')");
    const waiting = page.waitForEvent("download");
    await page.click("#adapter-peft");
    expect((await waiting).suggestedFilename()).toMatch(/^adapter_(config\.json|model\.safetensors)$/);

    using _ = await init({ backend: "cpu" });
    const model = join(folder, "tiny");
    await writeTinyModel(model);
    await page.setInputFiles(
      "#checkpoint",
      readdirSync(model).map((name) => join(model, name)),
    );
    await page.waitForSelector("#lamp[data-lamp=waiting]");
    await page.click("#once");
    await page.waitForSelector("#lamp[data-lamp=same]");
    // A folder that is no model is a sentence and a button.
    await page.setInputFiles("#checkpoint", join(model, "tokenizer.json"));
    await page.waitForSelector("#message:not([hidden]) button");
    expect(await page.textContent("#message")).toContain("config.json");
    // And a model too large: what its configuration says is not there, and its own model comes back.
    await page.setInputFiles("#checkpoint", [
      ...readdirSync(model)
        .filter((name) => name !== "config.json")
        .map((name) => ({ name, mimeType: "x/y", buffer: readFileSync(join(model, name)) })),
      {
        name: "config.json",
        mimeType: "x/y",
        buffer: Buffer.from(JSON.stringify({ ...config, hidden_size: 8192, intermediate_size: 28672 })),
      },
    ]);
    await page.waitForSelector("#message:has-text('8192')");
    await page.getByRole("button", { name: "Back to the page's own model" }).click();
    await page.waitForSelector("#device:has-text('On ')");
    expect(await page.isHidden("#message")).toBe(true);
    expect(page.url()).toContain("task=language");
    expect(faults).toEqual([]);
    await page.close();
  });

  test("measure.html tests the backends, measures them, and reads what it saved", async () => {
    const page = await browser.newPage();
    await page.goto(`${site.url}measure.html`);
    await page.click("#go");
    await page.waitForSelector("#results:not([hidden])", { timeout: 110_000 });
    const rows = await page.textContent("#results");
    for (const words of ["cpu", "webgpu", "GFLOP/s", "LoRA step"]) expect(rows).toContain(words);
    const counts = [...rows!.matchAll(/promised(?:cpu|webgpu)(\d+) of (\d+)/g)];
    expect(counts).toHaveLength(2);
    for (const [, right, all] of counts) expect(right).toBe(all);
    const waiting = page.waitForEvent("download");
    await page.click("#save");
    const saved = await (await waiting).path();
    await page.setInputFiles("#compare", saved);
    await page.waitForSelector("#message:has-text('Beside')");
    await page.setInputFiles("#compare", [{ name: "b.json", mimeType: "x/y", buffer: Buffer.from("{}") }]);
    await page.waitForSelector("#message:has-text('b.json: it is no file')");
  });
});
