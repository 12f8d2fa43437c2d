// Writes a run of the benchmarks into docs/benchmarks.md, with its date and machine.
// Usage: npm run bench -- --json run.json && node docs/site/benchmarks.mjs run.json
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const { date, processor, threads, platform, version, commit, backends } = JSON.parse(
  readFileSync(process.argv[2], "utf8"),
);
const short = (value) => String(+value.toPrecision(3));
const cells = (result) =>
  result
    ? [
        short(result.ms.median),
        result.rate ? `${short(result.rate.value)} ${result.rate.unit}` : "",
        result.shareOfLimit === undefined ? "" : `${Math.round(100 * result.shareOfLimit)} %`,
      ]
    : ["", "", ""];
const row = (list) => `| ${list.join(" | ")} |`;
const names = [...new Set(backends.flatMap(({ results }) => results.map(({ name }) => name)))];
const limits = backends.map(
  ({ name, description, limits: { gflops, gbs } }) =>
    `- **${name}**: ${description}; at most ${short(gflops)} GFLOP/s and ${short(gbs)} GB/s.`,
);
const ratios = backends.flatMap(({ name, ratios }) =>
  ratios.map((ratio) => row([name, ratio.name, short(ratio.value)])),
);
const lines = [
  `${date.slice(0, 10)}, ${processor}, ${threads} threads, ${platform}; Lorantz ${version} at ${commit}. Milliseconds are medians.`,
  "",
  ...limits,
  "",
  row(["benchmark", ...backends.flatMap(({ name }) => [`${name}, ms`, "rate", "of limit"])]),
  row(["---", ...backends.flatMap(() => ["---:", "---:", "---:"])]),
  ...names.map((name) =>
    row([name, ...backends.flatMap(({ results }) => cells(results.find((each) => each.name === name)))]),
  ),
  "",
  row(["backend", "quotient", ""]),
  row(["---", "---", "---:"]),
  ...ratios,
];
const page = fileURLToPath(new URL("../benchmarks.md", import.meta.url));
const [before, after] = ["<!-- a run -->", "<!-- its end -->"];
const text = readFileSync(page, "utf8");
const [from, to] = [text.indexOf(before), text.indexOf(after)];
if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no ${before} before ${after}`);
writeFileSync(page, `${text.slice(0, from + before.length)}\n${lines.join("\n")}\n${text.slice(to)}`);
