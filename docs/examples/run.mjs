// Runs an example from the sources, says what it came to, and draws its picture.
//
//   npm run example NAME

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromSources } from "../../test/from-sources.mjs";

const folder = import.meta.dirname;
const names = readdirSync(folder).flatMap((file) =>
  file.endsWith(".ts") && file !== "picture.ts" ? [file.slice(0, -3)] : [],
);
const [name, ...others] = process.argv.slice(2);
const usage = `npm run example NAME, where NAME is one of ${names.join(", ")}`;

if (name === "--help") {
  console.log(usage);
} else if (!names.includes(name) || others.length > 0) {
  console.error(name === undefined ? usage : `there is no example ${[name, ...others].join(" ")}: ${usage}`);
  process.exitCode = 2;
} else {
  await fromSources(async (load) => {
    const { default: example } = await load(join(folder, `${name}.ts`));
    if (!example) return; // a program that says all itself
    const started = performance.now();
    const { figures, picture } = await example();
    console.table(figures);
    console.log(`${((performance.now() - started) / 1000).toFixed(1)} s`);
    if (!picture) return;
    const { drawn } = await load(join(folder, "../../src/experiments/charts.ts"));
    mkdirSync("results", { recursive: true });
    const file = join("results", `${name}.svg`);
    writeFileSync(file, await drawn(picture));
    console.log(`picture: ${file}`);
  });
}
