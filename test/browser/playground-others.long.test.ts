import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPlayground } from "../../docs/playground/build.mjs";
import { stories } from "../../docs/playground/stories.ts";
import { scratch } from "../scratch.ts";
import { onPath } from "./chromium.ts";
import { serve } from "./site.ts";
import { openFirefox, openWebKit, type Tab, until } from "./webdriver.ts";

// The playground in the other two engines, on the processor: Firefox, and WebKitGTK, which has the engine of Safari.

const firefox = onPath("firefox-esr", "firefox");
const driver = onPath("WebKitWebDriver");
const libraries = "/usr/lib";
const minis = (() => {
  try {
    return readdirSync(libraries).map((name) => join(libraries, name, "webkit2gtk-4.1"));
  } catch {
    return []; // no Linux
  }
})();
const mini = onPath("MiniBrowser", ...minis.map((folder) => join(folder, "MiniBrowser")));

const browsers: Readonly<Record<string, (() => Promise<Tab>) | undefined>> = {
  Firefox: firefox ? () => openFirefox(firefox) : undefined,
  WebKitGTK: driver && mini ? () => openWebKit(driver, mini) : undefined,
};

for (const [name, open] of Object.entries(browsers))
  if (!open)
    console.warn(
      `Tests of the playground in ${name} are SKIPPED: it was not found. Debian has it in ${name === "Firefox" ? "firefox-esr" : "webkit2gtk-driver, which wants xvfb and xauth"}.`,
    );

describe.each(Object.entries(browsers))("in %s", (_, openTab) => {
  const { root: folder } = scratch("playground");
  let site: Awaited<ReturnType<typeof serve>>;
  let tab: Tab;
  beforeAll(async () => {
    if (!openTab) return;
    await buildPlayground(folder);
    site = await serve(folder);
    tab = await openTab();
  });
  afterAll(async () => {
    await tab?.close();
    site?.close();
  });

  const open = async (address: string) => {
    await tab.goto("about:blank"); // or an address that differs by its end alone would be the same page
    await tab.goto(`${site.url}${address}`);
    await tab.evaluate(`
      window.faults = [];
      for (const kind of ["error", "unhandledrejection"])
        addEventListener(kind, (event) => window.faults.push(event.message ?? String(event.reason)));
    `);
  };
  const nothingWrong = async () => {
    expect(await tab.evaluate("return window.faults")).toEqual([]);
    expect(await tab.evaluate("return document.getElementById('message').hidden")).toBe(true);
  };
  const untilIs = (what: string, script: string, wanted: unknown) =>
    until(
      `${what} ${wanted}`,
      async () => (await tab.evaluate(script)) === wanted || undefined,
      // What the page says of itself tells a slow one from one that waits for ever.
      () =>
        tab.evaluate(
          "return ['device', 'lamp-words', 'message'].map((id) => document.getElementById(id)?.textContent)",
        ),
    );
  const untilLamp = (wanted: string) =>
    untilIs("the lamp is", "return document.getElementById('lamp')?.dataset.lamp", wanted);
  const runs = test.skipIf(!openTab);

  runs.each(stories.map((story, i) => [story.title, i + 1, story.steps.length] as const))(
    "tells the story %s to its end, which holds",
    async (_, place, count) => {
      await open("index.html");
      await tab.click(`#stories .buttons button:nth-child(${place})`);
      for (let step = 1; step < count; step++) {
        await untilIs(
          "the step is",
          "return document.querySelector('.story')?.dataset.story.split(' ')[1]",
          String(step),
        );
        await tab.click(".story .next:not(:disabled)");
      }
      await untilIs("the end", "return document.querySelector('.holds[data-holds]')?.dataset.holds", "yes");
      await nothingWrong();
    },
  );

  runs("learns the picture, puts the lamp out, and lights it again", async () => {
    await open("index.html#task=picture");
    await untilLamp("same");
    await tab.click("#numbers tr:first-child td:last-child button:last-child");
    await untilLamp("different");
    await tab.click("#partner"); // at once, before the run that the click before it began
    await untilLamp("same");
    await nothingWrong();
  });

  runs("reads a recipe", async () => {
    await open("recipes.html");
    await untilIs(
      "rows",
      "return document.querySelector('#invariants')?.textContent.includes('s sigma lr_B')",
      true,
    );
  });
});
