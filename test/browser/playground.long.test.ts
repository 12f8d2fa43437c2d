import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlayground } from "../../docs/playground/build.mjs";
import { Duel } from "../../docs/playground/duel.ts";
import { opening } from "../../docs/playground/experiment.ts";
import { init } from "../../src/index.ts";
import { writeTinyModel } from "../tiny-model.ts";
import { findChromium, flags } from "./chromium.ts";
import { serve } from "./site.ts";

// The language task, whose frozen model is made in the page: some seconds of a processor.

test("teaches a small language model SQL, shows what it writes, and gives its adapter", async () => {
  using _ = await init({ backend: "cpu" });
  const duel = await Duel.start(opening("language"));
  const before = await duel.view();
  const seen = [];
  for (let i = 0; i < 60; i++) seen.push(await duel.step());
  expect(seen.every(({ same }) => same)).toBe(true);
  expect(seen.at(-1)!.loss.x).toBeLessThan(0.5 * seen[0]!.loss.x);
  const { looks } = await duel.view();
  expect(looks!.x.texts).toEqual(looks!.y.texts);
  expect(looks!.x.texts!.every((text) => text.startsWith(" select"))).toBe(true);
  expect(before.looks!.x.texts!.some((text) => text.startsWith(" select"))).toBe(false);
  // Nothing of the adapter is the frozen model.
  expect((await duel.view(0)).looks!.x.texts).toEqual(before.looks!.x.texts);
  expect(Object.keys(await duel.adapter("x", "peft"))).toContain("adapter_config.json");
  duel.dispose();
}, 600_000);

describe.skipIf(!findChromium())("in Chromium", { timeout: 600_000 }, () => {
  let folder: string;
  let site: Awaited<ReturnType<typeof serve>>;
  let browser: Awaited<ReturnType<typeof chromium.launch>>;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "lorantz-playground-"));
    await buildPlayground(join(folder, "page"));
    site = await serve(join(folder, "page"));
    browser = await chromium.launch({ executablePath: findChromium()!, args: [...flags] });
  });
  afterAll(async () => {
    await browser?.close();
    site?.close();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  test("makes a base, tunes it twice to the same bits, and takes a checkpoint of the reader's own", async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(300_000);
    const faults: string[] = [];
    page.on("pageerror", (error) => faults.push(error.message));
    await page.goto(`${site.url}index.html#task=language`);
    await page.waitForSelector("#lamp[data-lamp=same]");
    await page.waitForSelector("#play:text-is('Run')");
    expect(await page.textContent("#texts tbody")).toContain("select");
    // Of the adapter nothing: what the frozen model writes.
    await page.evaluate(() => {
      const strength = document.getElementById("strength") as HTMLInputElement;
      strength.value = "0";
      strength.dispatchEvent(new Event("change"));
    });
    await page.waitForSelector("#texts tbody:has-text('we look')");
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
    expect(await page.textContent("#message")).toContain("b.json: it is no file");
  });
});
