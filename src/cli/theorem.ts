import { join } from "node:path";
import { table } from "../base/table.ts";
import { type ProveOptions, prove } from "../experiments/theorem/experiment.ts";
import { prepare, proveOnOwn, type Text } from "../experiments/theorem/own-model.ts";
import { report } from "../experiments/theorem/report.ts";
import type { Findings, Results } from "../experiments/theorem/results.ts";
import { columns, headline } from "../experiments/theorem/summary.ts";
import { inject } from "../lora/index.ts";
import type { Device } from "../runtime/device.ts";
import { type BackendName, backendNames, init } from "../runtime/init.ts";
import { interruptible } from "./interrupt.ts";
import { dataOptions, modelOptions, openLanguage, readData, targetOptions, targetsOf } from "./language.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { loadDataset, readText } from "./texts.ts";
import { oneOf, optionsHelp, parseOptions, UsageError, usable, type Values, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const defaults = { seed: 0, steps: 150, out: "results" };

/** Batches for a model that was given, of which the job has about two thousand. */
const small = { batch: 4, length: 128 };

const { adapter: _, backend: __, ...modelOnly } = modelOptions;
const { pack: ___, ...dataOnly } = dataOptions;

/** Options of a model that was trained elsewhere. */
const onModel = {
  ...modelOnly,
  model: {
    ...modelOnly.model,
    help: "Prove it on this model instead: a folder as the Hugging Face hub has it",
  },
  ...dataOnly,
  "max-length": {
    ...dataOnly["max-length"],
    help: `Tokens of an example; longer ones are cut. Default ${small.length}`,
  },
  batch: { ...dataOnly.batch, help: `Examples of a batch; default ${small.batch}` },
  ...targetOptions,
} as const;

const options = {
  base: { type: "string", value: "FILE", help: "Text that the base model learns; default Moby Dick" },
  target: {
    type: "string",
    value: "FILE",
    help: "Text that it is fine-tuned on; default State of the Union addresses",
  },
  ...onModel,
  seed: { type: "string", value: "N", help: `Seed of initial values and batches; default ${defaults.seed}` },
  steps: {
    type: "string",
    value: "N",
    help: `Steps of each fine-tuning, 20 to 10000; default ${defaults.steps}`,
  },
  backend: {
    type: "string",
    value: "NAME",
    help: "cpu or webgpu; default webgpu if there is an adapter, in software too, else cpu",
  },
  out: {
    type: "string",
    value: "DIR",
    help: `Folder for results.json and report.html; default ${defaults.out}`,
  },
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of the table" },
} as const;

const help = `Usage: lorantz theorem [OPTIONS]

Trains a small transformer on one text, freezes it, and fine-tunes it with LoRA on another, by recipes that
the scaling theorem says are the same training run, and by others that it says are not. Prints the comparison,
writes results.json and report.html. With --model and --data it does so on that very model and those examples.

Options:
${optionsHelp(options)}

Exit codes: 0 everything is as the theorem predicts, 1 it is not or the work broke off, 2 wrong usage or
unusable input, 130 interrupted.
`;

const files = ["results.json", "report.html"];

/** The command `theorem`; see its help. */
export async function theorem(args: readonly string[]): Promise<number> {
  const given = parseOptions("theorem", args, options, help);
  const seed = wholeNumber("seed", given.seed, { min: 0, max: 2 ** 32 - 1, otherwise: defaults.seed });
  // Fewer steps than 20 are too few for runs that differ to differ by enough.
  const steps = wholeNumber("steps", given.steps, { min: 20, max: 10_000, otherwise: defaults.steps });
  const backend = oneOf("backend", given.backend, backendNames);
  const subject = given.model === undefined ? await ownModel(given) : await givenModel(given, backend);
  const folder = given.out ?? defaults.out;
  const out = new Output(
    "--out",
    files.map((file) => join(folder, file)),
  );

  return interruptible(async (onStep, progress) => {
    using device = subject.device ?? (await init(backend ? { backend } : { software: true }));
    say(`Training on ${device.backend.name}: ${device.description}\n`);
    const started = performance.now();
    const findings = await subject.prove({ seed, steps, onStep });
    const results: Results = {
      format: 2,
      lorantz: version(),
      device: { backend: device.backend.name, description: device.description },
      ...findings,
      seconds: (performance.now() - started) / 1000,
    };
    progress.end();
    const json = `${JSON.stringify(results, undefined, 2)}\n`;
    const written = out.write([json, await report(results)]);
    print(given.json ? json : `${table(columns(results))}\n\n${headline(results)}\n`);
    say(`Wrote ${written.join(" and ")} after ${Math.round(results.seconds)} s.\n`);
    return results.laws.broken === 0 ? 0 : 1;
  });
}

type Given = Values<typeof options>;

/** What the theorem is proved on. */
interface Subject {
  /** Where it lies already. */
  readonly device?: Device;
  readonly prove: (options: ProveOptions) => Promise<Findings>;
}

async function ownModel(given: Given): Promise<Subject> {
  const stray = Object.keys(onModel).find((name) => given[name as keyof Given] !== undefined);
  if (stray !== undefined)
    throw new UsageError(`theorem: --${stray} speaks of a model that is given. Add --model DIR.`);
  const [base, target] = await texts(given.base, given.target);
  const material = await usable(() => prepare(base, target));
  return { prove: (options) => proveOnOwn(material, options) };
}

async function givenModel(given: Given, backend: BackendName | undefined): Promise<Subject> {
  const stray = (["base", "target"] as const).find((name) => given[name] !== undefined);
  if (stray)
    throw new UsageError(`theorem: --${stray} is a text for the job's own model. Give --data with --model.`);
  if (given.data === undefined)
    throw new UsageError("theorem: --data FILE is missing. It has examples for the model.");
  const language = await openLanguage("theorem", { ...given, backend: backend ?? "cpu" });
  const { device, model, params, architecture } = language;
  const batch = wholeNumber("batch", given.batch, { min: 1, max: 65_536, otherwise: small.batch });
  const length = given["max-length"] ?? String(Math.min(small.length, architecture.context));
  const data = await readData(given.data, { ...given, "max-length": length }, language, (line) =>
    say(`${line}\n`),
  );
  const targetModules = targetsOf(given["target-modules"]);
  await usable(async () => inject(model, { r: 1, alpha: 1, targetModules })); // before the work begins
  const { family } = architecture;
  const subject = { name: given.model!, family, model, params, data, targetModules, batch };
  return { device, prove: (options) => prove(subject, options) };
}

async function texts(
  base: string | undefined,
  target: string | undefined,
): Promise<[base: Text, target: Text]> {
  if ((base === undefined) !== (target === undefined)) {
    const [one, other] = base === undefined ? ["target", "base"] : ["base", "target"];
    throw new UsageError(
      `--${one} is given and --${other} FILE is missing. Give both, or neither for the built-in texts.`,
    );
  }
  if (base === undefined || target === undefined)
    return [await loadDataset("base"), await loadDataset("target")];
  return [readText("base", base), readText("target", target)];
}
