// Writes a run of the benchmarks into docs/benchmarks.md, with its date and machine.
// Usage: npm run bench -- --json run.json && node docs/site/benchmarks.mjs run.json
import { made, readJson, row, writePart } from "./parts.mjs";

const run = readJson(process.argv[2]);
const { backends } = run;
const short = (value) => String(+value.toPrecision(3));
const cells = (result) =>
  result
    ? [
        short(result.ms.median),
        result.rate ? `${short(result.rate.value)} ${result.rate.unit}` : "",
        result.shareOfLimit === undefined ? "" : `${Math.round(100 * result.shareOfLimit)} %`,
      ]
    : ["", "", ""];
const names = [...new Set(backends.flatMap(({ results }) => results.map(({ name }) => name)))];
const limits = backends.map(
  ({ name, description, limits: { gflops, gbs } }) =>
    `- **${name}**: ${description}; at most ${short(gflops)} GFLOP/s and ${short(gbs)} GB/s.`,
);
const ratios = backends.flatMap(({ name, ratios }) =>
  ratios.map((ratio) => row([name, ratio.name, short(ratio.value)])),
);
writePart("benchmarks.md", "a run", [
  `${made(run)}. Milliseconds are medians.`,
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
]);
