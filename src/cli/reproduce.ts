import { join } from "node:path";
import { cacheFolder } from "../base/files.ts";
import { bases, stretches } from "../experiments/language/base.ts";
import { Lab } from "../experiments/language/lab.ts";
import { storeIn } from "../experiments/language/store.ts";
import { givenSubject, openBase, type Subject } from "../experiments/language/subject.ts";
import { largestSeed } from "../experiments/seeds.ts";
import { studies } from "../experiments/studies/registry.ts";
import { describeStudy, studiesPage } from "../experiments/studies/report.ts";
import { runStudy, type StudyOptions, type StudyResult } from "../experiments/studies/run.ts";
import type { Study } from "../experiments/studies/study.ts";
import { init } from "../runtime/init.ts";
import { interruptible, type OnProgress } from "./interrupt.ts";
import { openLanguage } from "./language.ts";
import { machine } from "./machine.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { loadDataset } from "./texts.ts";
import { oneOf, optionsHelp, parseArguments, UsageError, type Values, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const defaults = { steps: 100, batch: 8, seed: 0, seeds: 6, choice: 2 };

/** Options that say on which model, how long and how often. */
export const studyOptions = {
  model: {
    type: "string",
    value: "NAME",
    help: `${Object.keys(bases).join(" or ")}, trained here once, or a folder as the Hugging Face hub has it; default small`,
  },
  steps: { type: "string", value: "N", help: `Updates of a run; default ${defaults.steps}` },
  batch: { type: "string", value: "N", help: `Examples of a batch; default ${defaults.batch}` },
  seeds: {
    type: "string",
    value: "N",
    help: `Paired seeds that are compared, 2 to 100; default ${defaults.seeds}`,
  },
  choice: {
    type: "string",
    value: "N",
    help: `Other seeds, by which rates are chosen; default ${defaults.choice}`,
  },
  seed: {
    type: "string",
    value: "N",
    help: `Which seeds, 0 to ${largestSeed}: none is drawn under two; default 0`,
  },
  cache: {
    type: "string",
    value: "DIR",
    help: "Folder for bases and results of runs, by their keys; default in the user's cache",
  },
} as const;

const options = {
  ...studyOptions,
  out: { type: "string", value: "DIR", help: "Folder for results.json and report.html; default none" },
  list: { type: "boolean", help: "List the experiments with how many runs each takes, and end" },
  json: { type: "boolean", help: "Print JSON on stdout instead of text" },
} as const;

const width = Math.max(...studies.map(({ name }) => name.length));

const help = `Usage: lorantz reproduce NAME... [OPTIONS]

Runs experiments of articles on LoRA on a language model, and says what they come to: the design, tables, and a verdict
on each claim. Each run is kept by its key, so that an experiment that is broken off goes on where it stood.

Experiments:
${studies.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`).join("\n")}
  ${"all".padEnd(width)}  All of them

Options:
${optionsHelp(options)}

Exit codes: 0 done, whatever the verdicts, 1 the work broke off, 2 wrong usage, 130 interrupted.
`;

/** The command `reproduce`; see its help. */
export async function reproduce(args: readonly string[]): Promise<number> {
  const { values: given, positionals } = parseArguments("reproduce", args, options, help);
  const setting = settingOf(given);
  if (given.list) {
    for (const study of studies) {
      const runs = study.count(seedCounts(setting));
      print(`${study.name.padEnd(width)}  ${String(runs).padStart(4)} runs  ${study.title}\n`);
    }
    return 0;
  }
  const names = [...studies.map(({ name }) => name), "all"];
  if (positionals.length === 0)
    throw new UsageError(`reproduce: an experiment is missing. There are ${names.join(", ")}.`);
  const asked = positionals.map((name) => oneOf("reproduce", name, names)!);
  const chosen = studies.filter(({ name }) => asked.includes("all") || asked.includes(name));
  const { out } = given;
  const output =
    out === undefined
      ? undefined
      : new Output("--out", [join(out, "results.json"), join(out, "report.html")]);
  return interruptible(
    async (onProgress, progress) => {
      const results = await runStudies(chosen, given, onProgress);
      progress.end();
      const found = { format: 1, lorantz: version(), ...machine(), studies: results };
      const json = `${JSON.stringify(found, undefined, 2)}\n`;
      const written = output?.write([json, await studiesPage(results)]);
      print(given.json ? json : `${results.map(describeStudy).join("\n\n\n")}\n`);
      if (written) say(`Wrote ${written.join(" and ")}.\n`);
      return 0;
    },
    () => "the runs that were done are kept, and the same command goes on from there",
  );
}

type Given = Partial<Values<typeof studyOptions>>;

/** Runs studies on the model of the options. */
export async function runStudies(
  chosen: readonly Study[],
  given: Given,
  onProgress: OnProgress,
): Promise<readonly StudyResult[]> {
  const setting = settingOf(given);
  const cache = given.cache ?? cacheFolder("language");
  const subject = await openSubject(given.model ?? "small", cache, onProgress);
  const lab = new Lab(subject, storeIn(join(cache, "runs")));
  const counts = chosen.map((study) => study.count(seedCounts(setting)));
  const all = counts.reduce((sum, count) => sum + count, 0);
  const results: StudyResult[] = [];
  let before = 0;
  for (const [i, study] of chosen.entries()) {
    const own = counts[i]!;
    results.push(
      await runStudy(study, lab, {
        ...setting,
        onProgress: (share, what) => onProgress(before + share * own, all, what),
      }),
    );
    before += own;
  }
  return results;
}

function settingOf(given: Given): Omit<StudyOptions, "onProgress"> {
  return {
    steps: wholeNumber("steps", given.steps, { min: 4, max: 1e6, otherwise: defaults.steps }),
    batch: wholeNumber("batch", given.batch, { min: 1, max: 65_536, otherwise: defaults.batch }),
    comparison: wholeNumber("seeds", given.seeds, { min: 2, max: 100, otherwise: defaults.seeds }),
    choice: wholeNumber("choice", given.choice, { min: 1, max: 100, otherwise: defaults.choice }),
    seed: wholeNumber("seed", given.seed, { min: 0, max: largestSeed, otherwise: defaults.seed }),
  };
}

function seedCounts({ choice, comparison }: Pick<StudyOptions, "choice" | "comparison">) {
  const list = (count: number) => Array.from({ length: count }, (_, i) => i);
  return { choice: list(choice), comparison: list(comparison) };
}

/** A base that is trained here once, or a given checkpoint. */
async function openSubject(name: string, cache: string, onProgress: OnProgress): Promise<Subject> {
  const real = stretches((await loadDataset("base")).text);
  const base = Object.hasOwn(bases, name) ? bases[name] : undefined;
  if (!base) {
    const { model, params, config, tokenizer, architecture } = await openLanguage("reproduce", {
      model: name,
      backend: "cpu",
    });
    return givenSubject(
      name,
      { model: { ...model, architecture }, params, config, notes: [] },
      tokenizer,
      real,
    );
  }
  await init({ backend: "cpu" });
  return openBase(base, {
    real,
    cache,
    onStep: (done, total, loss) =>
      onProgress(done, total, `training the base ${name} once: loss ${loss.toFixed(3)}`),
  });
}
