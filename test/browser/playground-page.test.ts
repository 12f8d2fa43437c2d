import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { buildPlayground, verdicts } from "../../docs/playground/build.mjs";
import { fromAddress, opening } from "../../docs/playground/experiment.ts";
import { stories } from "../../docs/playground/stories.ts";
import * as adapters from "../../src/adapters/index.ts";
import * as gauge from "../../src/gauge/index.ts";
import { init, random } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { cases } from "../thorough.ts";
import { findChromium, flags } from "./chromium.ts";
import { serve } from "./site.ts";

// The playground as people have it, in a real Chromium: built, served as files, and clicked through.

const executablePath = findChromium();
if (!executablePath) {
  const missing =
    "No Chromium was found on the path or in LORANTZ_BROWSER. On Debian, .ci/browsers installs it.";
  if (process.env.LORANTZ_REQUIRE_BROWSER === "1") throw new Error(missing);
  console.warn(`Tests of the playground's page are SKIPPED. ${missing}`);
}

/** Where pictures of the page are put, to be looked at: LORANTZ_SCREENSHOTS, if it is set. */
const pictures = process.env.LORANTZ_SCREENSHOTS;

test("claims have their verdicts from the table of the docs", () => {
  expect(verdicts()["S0-9"]).toMatchObject({ verdict: "holds in its own setting" });
});

describe.skipIf(!executablePath)("in Chromium", { timeout: 120_000 }, () => {
  const { root: folder } = scratch("playground");
  let site: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  let page: Page;
  let faults: string[];

  beforeAll(async () => {
    await buildPlayground(folder);
    site = await serve(folder);
    browser = await chromium.launch({ executablePath: executablePath!, args: [...flags] });
  });
  afterAll(async () => {
    await browser?.close();
    site?.close();
  });
  afterEach(async () => {
    await page?.close();
  });

  const open = async (address = "", width = 1280) => {
    page = await browser.newPage({ viewport: { width, height: 900 } });
    page.setDefaultTimeout(90_000);
    faults = [];
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
    await page.goto(`${site.url}index.html${address}`);
  };
  const untilLamp = (wanted: string) => page.waitForSelector(`#lamp[data-lamp=${wanted}]`);
  const paused = () => page.waitForSelector("#play:text-is('Run')");
  const shot = async (name: string) => {
    if (!pictures) return;
    mkdirSync(pictures, { recursive: true });
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  };

  test("lights the lamp, puts it out when one knob moves alone, and lights it again by its partners", async () => {
    await open();
    await untilLamp("same");
    await paused();
    expect(await page.textContent("#lamp-words")).toContain("The same bits after 150 updates");
    await page.fill("#y-alpha", "64");
    await page.press("#y-alpha", "Tab");
    await untilLamp("different");
    await paused();
    expect(await page.textContent("#words")).toContain("not the same run");
    await page.click("#partner");
    expect(await page.textContent("#moved")).toMatch(/rate of B.*eps of B/);
    await untilLamp("same");
    expect(faults).toEqual([]);
    // An address is an experiment: opened again it is the same one.
    const address = new URL(page.url()).hash;
    expect(fromAddress(address.slice(1)).y.alpha).toBe(64);
    await page.close();
    await open(address);
    expect(await page.inputValue("#y-alpha")).toBe("64");
    await untilLamp("same");
    await paused();
    await shot("playground-wide");
  });

  long("says of factors that are no powers of two that they round", async () => {
    const { x } = opening();
    await open(`#y.alpha=24&y.lrB=${x.lrB / 3}&y.epsB=${x.epsB * 3}`);
    await untilLamp("rounding");
    expect(faults).toEqual([]);
  });

  const told = stories.map(({ name, title, steps }) => [name, title, steps.length] as const);
  test.each(cases([], told))("tells the story %s to its end, which holds", async (_, title, count) => {
    await open();
    await page.getByRole("button", { name: title }).click();
    for (let step = 1; step < count; step++) await page.click(".story .next:not(:disabled)");
    const end = await page.waitForSelector(".holds[data-holds]");
    expect(await end.getAttribute("data-holds")).toBe("yes");
    expect(faults).toEqual([]);
  });

  long("runs move in the plane by keys: alpha along one axis, rates along the diagonal", async () => {
    await open();
    await paused();
    const before = fromAddress(new URL(page.url()).hash.slice(1));
    // Every tool has a line of the list, and its number a square.
    const tools = Object.keys(gauge.libraries).length;
    expect(await page.locator("#tools li").count()).toBe(tools);
    const numbers = await page.$$eval("#plane .tool + text", (texts) =>
      texts.flatMap((text) => (text.textContent ?? "").split(", ").map(Number)),
    );
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: tools }, (_, i) => i + 1));
    await page.focus("#plane [data-run=y]");
    await page.keyboard.press("ArrowUp");
    await page.waitForFunction((alpha) => location.hash.includes(`y.alpha=${alpha}`), 2 * before.y.alpha);
    await page.focus("#plane [data-run=y]");
    await page.keyboard.press("ArrowRight");
    await page.waitForFunction((lr) => location.hash.includes(`y.lrA=${lr}&`), 2 * before.y.lrA);
    expect(faults).toEqual([]);
  });

  long("shows pictures of the picture task, on a phone's width too", async () => {
    await open("#task=picture", 390);
    await page.waitForSelector("#pictures:not([hidden])");
    await untilLamp("same");
    await paused();
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
    await shot("playground-phone");
    expect(faults).toEqual([]);
  });

  long("trains on WebGPU where it is asked for", async () => {
    await open();
    await paused();
    await page.selectOption("#backend", "webgpu");
    await page.waitForSelector("#device:has-text('webgpu')");
    await page.click("#once");
    await untilLamp("same");
    expect(faults).toEqual([]);
  });

  long("says what is wrong with an address, a number and a rate that is too large, and goes on", async () => {
    await open("#rank=1000");
    expect(await page.textContent("#message")).toContain('rank is "1000"');
    await page.fill("#x-lrA", "much");
    await page.press("#x-lrA", "Tab");
    expect(await page.getAttribute("#x-lrA", "aria-invalid")).toBe("true");
    expect(await page.textContent("#moved")).toContain("it is a number");
    await page.close();
    await open("#optimizer=sgd&x.lrA=900&x.lrB=900&y.lrA=900&y.lrB=900");
    await untilLamp("broken");
    expect(await page.textContent("#lamp-words")).toContain("left the range of numbers");
    expect(faults).toEqual([]);
  });

  /** Settings of the reader, which nothing below may lose. */
  const own = "#seed=7&rank=2&y.alpha=16";
  const ownAreThere = async () => {
    expect(await page.inputValue("#shared-seed")).toBe("7");
    expect(await page.inputValue("#y-alpha")).toBe("16");
    expect(page.url()).toContain("seed=7");
  };
  const said = async () => {
    await page.waitForSelector("#message:not([hidden])");
    return await page.textContent("#message");
  };

  long("says that a device was lost, and opens another one", async () => {
    await open(own);
    await paused();
    await page.selectOption("#backend", "webgpu");
    await page.waitForSelector("#device:has-text('webgpu')");
    await page.click("#play");
    await page.waitForFunction("/update/.test(document.querySelector('#lamp-words').textContent)");
    const session = await browser.newBrowserCDPSession();
    await session.send("Browser.crashGpuProcess").catch(() => {}); // which ends the answer, too
    expect(await said()).toMatch(/device|adapter|lost/i);
    await ownAreThere();
    await page.selectOption("#backend", "cpu");
    await page.waitForSelector("#device:has-text('cpu')");
    expect(await page.isHidden("#message")).toBe(true);
    await page.click("#once");
    await page.waitForSelector("#lamp[data-lamp=same], #lamp[data-lamp=different]");
    await ownAreThere();
  });

  long("says that there is no memory, that the worker ended, or that it could not be loaded", async () => {
    const worker = /worker-.*\.js/;
    const broken = {
      'WebAssembly.Memory = class { constructor() { throw new RangeError("could not allocate memory"); } };':
        "no WebAssembly memory with room for",
      'setTimeout(() => { throw new Error("a fault of the browser"); }, 3000);': "a fault of the browser",
      "}": "The worker ended",
    };
    for (const [line, words] of Object.entries(broken)) {
      const [first] = readdirSync(join(folder, "assets")).filter((name) => worker.test(name));
      const script = readFileSync(join(folder, "assets", first!), "utf8");
      page = await browser.newPage();
      await page.route(worker, (route) =>
        route.fulfill({ contentType: "text/javascript", body: `${line}\n${script}` }),
      );
      await page.goto(`${site.url}index.html${own}`);
      expect(await said()).toContain(words);
      await ownAreThere();
      await page.unroute(worker);
      await page.click("#message button");
      await page.waitForSelector("#device:has-text('cpu'), #device:has-text('webgpu')");
      await ownAreThere();
      await page.close();
    }
  });

  long(
    "goes on after a tab was put to sleep, and says so; two tabs at once are two experiments",
    async () => {
      await open(own);
      await paused();
      await page.click("#play");
      await page.waitForFunction("document.querySelector('#losses').ariaLabel?.includes('after')");
      const first = page;
      await open();
      await untilLamp("same");
      await paused();
      expect(await page.inputValue("#shared-seed")).toBe("1");
      await page.close();
      page = first;
      await ownAreThere();
      // A browser without a window freezes no page, so what one that does would say is said here.
      await page.evaluate(() => {
        for (const name of ["freeze", "resume"]) document.dispatchEvent(new Event(name));
      });
      expect(await said()).toMatch(/sleep after update \d+; it goes on from there/);
      await page.waitForFunction(
        (label) => document.querySelector("#losses")?.getAttribute("aria-label") !== label,
        await page.getAttribute("#losses", "aria-label"),
      );
      await ownAreThere();
    },
  );

  long("has no fault that axe-core finds, in light and in dark", async () => {
    const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
    for (const colorScheme of cases<"light" | "dark">(["light"], ["dark"])) {
      await open();
      await page.emulateMedia({ colorScheme });
      await untilLamp("same");
      await paused();
      await page.addScriptTag({ path: axe });
      const violations = await page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)].join(' ')))",
      );
      expect(violations).toEqual([]);
      if (colorScheme === "dark") await shot("playground-dark");
      await page.close();
    }
  });

  test("is less than 250 kB compressed, and asks for nothing from elsewhere", async () => {
    const asked = site.asked.length;
    await open();
    const elsewhere: string[] = [];
    page.on("request", (request) => {
      const url = request.url();
      if (![site.url, "data:", "blob:"].some((start) => url.startsWith(start))) elsewhere.push(url);
    });
    await page.reload();
    await untilLamp("same");
    expect(elsewhere).toEqual([]);
    const files = new Set(site.asked.slice(asked));
    const size = [...files].reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);
    expect(size).toBeLessThan(250_000);
    expect(size).toBeGreaterThan(100_000);
  });

  test("recipes.html says what a recipe is, what equals it, and who reads an adapter differently", async () => {
    page = await browser.newPage();
    await page.goto(`${site.url}recipes.html`);
    expect(await page.textContent("#invariants")).toContain("s sigma lr_B");
    await page.selectOption("#example", "flags of a trainer");
    expect(await page.textContent("#settings")).toContain('"lora_alpha": 32');
    await page.selectOption("#library", "mlx-lm");
    expect(await page.textContent("#settings")).toContain('"scale": 2');
    await page.fill("#text", "--r 16 --nonsense 3");
    expect(await page.textContent("#message")).toContain("nonsense");
    // A file as PEFT writes it: whose it is and what it lacks are buttons.
    await page.selectOption("#tool", "Lorantz");
    await page.fill("#text", '{ "peft_type": "LORA", "r": 16, "lora_alpha": 64, "use_rslora": false }');
    await page.getByRole("button", { name: "Read it as PEFT with an optimizer of torch.optim" }).click();
    await page.getByRole("button", { name: "Add a learning rate" }).click();
    expect(await page.isHidden("#message")).toBe(true);
    expect(await page.textContent("#settings")).toContain("scale");
    await page.selectOption("#example", "flags of a trainer");
    await page.fill("#text", "--r 16 --nonsense 3");
    await page.waitForURL(/nonsense/);
    const address = page.url();
    await page.goto("about:blank");
    await page.goto(address);
    expect(await page.inputValue("#text")).toBe("--r 16 --nonsense 3");
    // An adapter of rank-stabilised LoRA, which some read with alpha / r.
    await init({ backend: "cpu" });
    const base = nn.sequential({ layer: nn.linear(4, 4) });
    const model = lora.inject(base, { r: 4, alpha: 8, rsLora: true, targetModules: "all-linear" });
    const params = model.init(random.key(0));
    const blobs = await adapters.toBlobs(adapters.extract(model, params), "peft");
    const files = await Promise.all(
      Object.entries(blobs).map(async ([name, blob]) => ({
        name,
        mimeType: "application/octet-stream",
        buffer: Buffer.from(await blob.arrayBuffer()),
      })),
    );
    await page.setInputFiles("#files", files);
    await page.waitForSelector("#lint:not([hidden])");
    expect(await page.textContent("#lint")).toContain("layer");
    expect(await page.textContent("#readers")).toContain("differently, by factors such as 0.5");
    await page.setInputFiles("#files", [{ name: "a.gguf", mimeType: "x/y", buffer: Buffer.from("nothing") }]);
    await page.waitForFunction(
      () => !document.querySelector("#lint-words")?.textContent?.includes("Reading"),
    );
    expect(await page.isHidden("#lint")).toBe(true);
  });
});
