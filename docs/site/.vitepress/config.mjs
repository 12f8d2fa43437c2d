import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitepress";
import { readableColumns, style, wideTables } from "./tables.mjs";

// The docs as they are, with search: a site of files that asks nothing of a third party.

const repository = "https://github.com/lorantz/lorantz/blob/main/";

const base = process.env.LORANTZ_SITE_BASE ?? "/";

const pages = (...names) => names.map(([text, link]) => ({ text, link: `/${link}` }));

/** The place of a heading as GitHub names it, so that links within the docs lead there in both. */
const placeOf = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");

export default defineConfig({
  title: "Lorantz",
  description: "Tensors and gradients on WebGPU and CPU, made for LoRA",
  base,
  head: [
    ["link", { rel: "icon", href: `${base}icon.svg` }],
    ["style", {}, style],
  ],
  srcDir: "..",
  srcExclude: ["site/**", "playground/**"],
  cleanUrls: false,
  appearance: true,
  // Built beside these pages, by build.mjs, which looks at their links too.
  ignoreDeadLinks: [/^\/?(\.\/)?(playground|api|examples)\//],
  transformPageData: (page, { siteConfig }) =>
    wideTables(page, readFileSync(join(siteConfig.srcDir, page.filePath), "utf8")),
  markdown: {
    anchor: { slugify: placeOf },
    config(md) {
      md.core.ruler.push("readable-columns", readableColumns);
      // What lies outside of docs/ is in the repository.
      const before = md.renderer.rules.link_open;
      md.renderer.rules.link_open = (tokens, i, options, env, self) => {
        const href = tokens[i].attrGet("href");
        if (href?.startsWith("../")) tokens[i].attrSet("href", repository + href.slice(3));
        return before ? before(tokens, i, options, env, self) : self.renderToken(tokens, i, options);
      };
    },
  },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Playground", link: "/playground/", target: "_self" },
      { text: "Recipes", link: "/playground/recipes.html", target: "_self" },
      { text: "This browser", link: "/playground/measure.html", target: "_self" },
      { text: "API", link: "/api/", target: "_self" },
    ],
    sidebar: [
      {
        text: "Use",
        items: pages(
          ["The playground", "playground"],
          ["Practitioners", "guide-practitioner"],
          ["Fine-tune a model", "fine-tune"],
          ["Sweeps", "sweeps"],
          ["Adapters", "adapters"],
          ["Models", "models"],
          ["Files", "files"],
        ),
      },
      {
        text: "Research",
        items: pages(
          ["Theorists", "guide-theorist"],
          ["Theory", "theory"],
          ["Claims", "claims"],
          ["Experiments", "experiments"],
          ["Three exponents", "three-exponents"],
          ["LoRA", "lora"],
          ["Examples", "examples"],
        ),
      },
      {
        text: "Engine",
        items: pages(
          ["Tensors", "tensors"],
          ["Functions", "functions"],
          ["The array API", "array-api"],
          ["Profiling", "profiling"],
          ["Performance", "performance"],
          ["Benchmarks", "benchmarks"],
          ["Package", "package"],
        ),
      },
      {
        text: "Inside",
        items: pages(
          ["Architecture", "architecture"],
          ["Adding an op", "adding-an-op"],
          ["Adding a dtype", "adding-a-dtype"],
          ["Adding a kernel", "adding-a-kernel"],
          ["Adding a kind of adapter", "adding-an-adapter"],
        ),
      },
    ],
  },
});
