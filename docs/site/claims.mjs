// Makes the tables and figures of docs/claims.md and docs/experiments.md anew, some hours of work. What was done before is
// kept: of `lorantz claims` by the state of src and the seed, of `lorantz reproduce` by the run. So it may be broken off.
// Usage: npm run claims [-- --cache DIR] [-- OPTIONS OF reproduce]
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cacheFolder } from "../../dist/base/files.js"; // `npm run claims` has built it
import { takeFigures } from "./figures.mjs";
import { readJson } from "./parts.mjs";
import { writeClaims, writeExperiments } from "./tables.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const seeds = 10;

const text = { type: "string" };
const { values: given } = parseArgs({
  options: { cache: text, model: text, steps: text, batch: text, seeds: text, choice: text, seed: text },
});
const { cache = cacheFolder(), ...setting } = given;

const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
if (git("status", "--porcelain", "src") !== "")
  throw new Error(
    "claims: src has changes that no commit has; commit them first, for the pages name the commit",
  );
const state = git("rev-parse", "--short", "HEAD:src");

function lorantz(...args) {
  console.error(`lorantz ${args.join(" ")}`);
  const { status, stdout, signal } = spawnSync(process.execPath, [join(root, "dist/cli/main.js"), ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) process.exit(signal ? 130 : (status ?? 1));
  return stdout;
}

const kept = join(cache, "claims");
mkdirSync(kept, { recursive: true });
const runs = Array.from({ length: seeds }, (_, seed) => {
  const file = join(kept, `${state}-${seed}.json`);
  if (!existsSync(file)) {
    writeFileSync(`${file}.part`, lorantz("claims", "--seed", `${seed}`, "--json"));
    renameSync(`${file}.part`, file);
  }
  return readJson(file);
});

const out = join(cache, "experiments");
const options = Object.entries(setting).flatMap(([name, value]) => [`--${name}`, value]);
lorantz("reproduce", "all", "--cache", join(cache, "language"), "--out", out, ...options);

writeClaims(runs);
writeExperiments(readJson(join(out, "results.json")));
takeFigures(join(out, "report.html"));
