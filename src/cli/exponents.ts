import { join } from "node:path";
import { table } from "../base/table.ts";
import { report } from "../experiments/exponents/report.ts";
import { measure } from "../experiments/exponents/run.ts";
import { columns, headline } from "../experiments/exponents/summary.ts";
import { tables } from "../experiments/exponents/tables.ts";
import { largestSeed } from "../experiments/seeds.ts";
import { init } from "../runtime/init.ts";
import { interruptible } from "./interrupt.ts";
import { machine } from "./machine.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { oneOf, optionsHelp, parseOptions, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const defaults = { seed: 0, seeds: 40 };
const names = tables.map(({ name }) => name);

const options = {
  only: { type: "string", value: "NAME", help: `One table: ${names.join(", ")}; default all` },
  seeds: {
    type: "string",
    value: "N",
    help: `Repetitions, 2 to 1000, fewer where models are trained; default ${defaults.seeds}`,
  },
  seed: {
    type: "string",
    value: "N",
    help: `Which repetitions, 0 to ${largestSeed}: none is drawn under two seeds; default ${defaults.seed}`,
  },
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of tables" },
  out: { type: "string", value: "DIR", help: "Folder for exponents.json and exponents.html; default none" },
} as const;

const help = `Usage: lorantz exponents [OPTIONS]

Measures how LoRA training grows with the width of a layer and with the rank of its adapter, for Adam and SGD, and
compares each exponent with the one that theory derives for these sizes. Runs on the CPU, some minutes.

Tables:
${tables.map(({ name, title }) => `  ${name.padEnd(Math.max(...names.map((other) => other.length)))}  ${title}`).join("\n")}

Options:
${optionsHelp(options)}

Exit codes: 0 no exponent differs from theory, 1 one does or the work broke off, 2 wrong usage, 130 interrupted.
`;

const files = ["exponents.json", "exponents.html"];

/** The command `exponents`; see its help. */
export async function exponents(args: readonly string[]): Promise<number> {
  const given = parseOptions("exponents", args, options, help);
  const only = oneOf("only", given.only, names);
  const seeds = wholeNumber("seeds", given.seeds, { min: 2, max: 1000, otherwise: defaults.seeds });
  const seed = wholeNumber("seed", given.seed, { min: 0, max: largestSeed, otherwise: defaults.seed });
  const folder = given.out;
  const out =
    folder === undefined
      ? undefined
      : new Output(
          "--out",
          files.map((file) => join(folder, file)),
        );
  const chosen = tables.filter(({ name }) => only === undefined || name === only);
  return interruptible(async (onProgress, progress) => {
    using _device = await init({ backend: "cpu" });
    const started = performance.now();
    const measured = await measure(chosen, { seed, seeds, onProgress });
    progress.end();
    const seconds = (performance.now() - started) / 1000;
    const results = {
      format: 1,
      lorantz: version(),
      ...machine(),
      seed,
      seeds,
      seconds,
      tables: measured,
    } as const;
    const json = `${JSON.stringify(results, undefined, 2)}\n`;
    const written = out?.write([json, await report(results)]);
    const text = measured
      .map((each) => `${each.title}\n${each.about}\n\n${table(columns(each))}\n`)
      .join("\n");
    print(given.json ? json : `${text}\n${headline(measured)}\n`);
    if (written) say(`Wrote ${written.join(" and ")} after ${Math.round(seconds)} s.\n`);
    return measured.some(({ rows }) => rows.some(({ verdict }) => verdict === "differs")) ? 1 : 0;
  });
}
