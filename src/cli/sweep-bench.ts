import { cacheFolder } from "../base/files.ts";
import { type BaseRecipe, bases, configOf } from "../experiments/language/base.ts";
import { openBase } from "../experiments/language/subject.ts";
import type { OnProgress } from "../experiments/sweep/cell.ts";
import {
  type Bench,
  fineTune,
  modelKey,
  type Outcome,
  type Setting,
  type SweepTask,
} from "../experiments/sweep/task.ts";
import { init } from "../runtime/init.ts";
import { Gang } from "../tensor/gang.ts";
import * as text from "../text/index.ts";
import {
  batchOptions,
  dataOptions,
  heldOutOptions,
  type Language,
  modelOptions,
  openLanguage,
  readExamples,
  targetOptions,
  targetsOf,
} from "./language.ts";
import { oneOf, UsageError, usable, type Values, wholeNumber } from "./usage.ts";
import { codeVersion } from "./version.ts";

const { adapter: _, ...base } = modelOptions;

/** Bases by the names that `--model` takes beside folders. */
const ownBases: { readonly [name: string]: BaseRecipe | undefined } = bases;

/** Options that say what the cells of a sweep have in common. */
export const settingOptions = {
  ...base,
  model: {
    ...base.model,
    help: `${base.model.help}; or small or large, which are trained here once`,
  },
  ...dataOptions,
  ...heldOutOptions,
  "held-out": { ...heldOutOptions["held-out"], help: "Or: the share of --data to evaluate on; default 0.1" },
  ...targetOptions,
  epochs: { type: "string", value: "N", help: "How often all examples are seen; default 1" },
  steps: { type: "string", value: "N", help: "Or: the number of updates" },
  accumulate: { type: "string", value: "N", help: "Batches of an update; default 1" },
  every: { type: "string", value: "N", help: "Updates from one evaluation to the next; default a tenth" },
} as const;

/** What was given of them: where whoever works at a cell finds model and data. */
export type Sources = { readonly [N in keyof typeof settingOptions]?: Values<typeof settingOptions>[N] };

/** A model and data, open, with what a sweep says of them. */
export interface OpenBench extends Bench {
  readonly language: Language;
  readonly setting: Setting;
}

/** Opens the model and the data of a sweep. @throws UsageError for what cannot be used. */
export async function openBench(
  command: string,
  given: Sources,
  { threads, say }: { readonly threads?: number; readonly say: (line: string) => void },
): Promise<OpenBench> {
  const { data: file } = given;
  if (file === undefined) throw new UsageError(`${command}: --data FILE is missing. It has the examples.`);
  const values = given as Values<typeof settingOptions>; // undefined where they are not given
  const accumulate = wholeNumber("accumulate", given.accumulate, { min: 1, max: 65_536, otherwise: 1 });
  const { size, pack } = batchOptions(values);
  const options = threads === undefined ? {} : { threads };
  const own = given.model === undefined ? undefined : ownBases[given.model];
  const language = own
    ? await openOwn(command, own, values, options, say)
    : await openLanguage(command, values, options);
  try {
    const evaluated = given.evaluate === undefined ? { "held-out": given["held-out"] ?? "0.1" } : {};
    const { data, heldOut } = await readExamples(command, { ...values, ...evaluated }, file, language, say);
    const unseen = await usable(() => text.batches(heldOut!, { size, pack })); // one of the two was given
    const batches = (seed: number) => usable(() => text.batches(data, { size, pack, seed }));
    const an = Math.ceil((await batches(0)).epoch / accumulate);
    const epochs = wholeNumber("epochs", given.epochs, { min: 1, max: 1e6, otherwise: 1 });
    const steps = wholeNumber("steps", given.steps, { min: 1, max: 1e9, otherwise: epochs * an });
    const every = wholeNumber("every", given.every, { min: 1, max: 1e9, otherwise: Math.ceil(steps / 10) });
    const { device, config, params, model } = language;
    const setting: Setting = {
      model: await modelKey(config, params),
      data: data.fingerprint,
      heldOut: heldOut!.fingerprint,
      backend: device.name,
      weights: given.weights ?? "float32",
      targetModules: targetsOf(given["target-modules"]),
      batch: { size, accumulate, pack },
      steps,
      every,
    };
    return { language, setting, model, params, batches, heldOut: unseen, gang: new Gang() };
  } catch (error) {
    language.device[Symbol.dispose]();
    throw error;
  }
}

/** Where models that are trained here are kept. */
const cache = () => cacheFolder("language");

/** A model that is trained here: once, and then from the user's cache. */
async function openOwn(
  command: string,
  recipe: BaseRecipe,
  given: Values<typeof settingOptions>,
  options: { readonly threads?: number },
  say: (line: string) => void,
): Promise<Language> {
  const stray = (["tokenizer", "weights"] as const).find((name) => given[name] !== undefined);
  if (stray !== undefined)
    throw new UsageError(
      `${command}: --${stray} speaks of a model in a folder; ${recipe.name} is trained here.`,
    );
  const backend = oneOf("backend", given.backend, ["cpu", "webgpu"]);
  const device = await init({ ...(backend && { backend }), ...options });
  let said = false;
  const { model, params, tokenizer } = await openBase(recipe, {
    real: [],
    cache: cache(),
    onStep: (_, total) => {
      if (!said)
        say(`Training the model ${recipe.name} for ${total} updates, once; it is kept in ${cache()}.`);
      said = true;
    },
  });
  const { architecture } = model;
  return { device, model, params, architecture, config: configOf(recipe), tokenizer, notes: [] };
}

/**
 * Work at the cells of sweeps in this process: model and data stay open as long as the cells are of the same. Cells that are worked at
 * at a time are of one sweep, and run beside each other.
 */
export function sweepWork(
  threads: number | undefined,
): (task: SweepTask<Sources>, onProgress: OnProgress) => Promise<Outcome> {
  const code = codeVersion();
  let open: { readonly of: string; readonly bench: Promise<OpenBench> } | undefined;
  const another = async (before: typeof open, { sources, setting }: SweepTask<Sources>) => {
    const last = await before?.bench.catch(() => undefined); // whoever opened it heard why
    last?.language.device[Symbol.dispose]();
    const own = { ...sources, backend: setting.backend };
    return openBench("sweep", own, { say: () => undefined, ...(threads !== undefined && { threads }) });
  };
  return async (task, onProgress) => {
    if (task.code !== code)
      throw new UsageError(
        `the cell is of lorantz ${task.code}, and this is ${code}. Use the same version on all machines.`,
      );
    const { sources, setting } = task;
    const of = JSON.stringify([sources, setting.backend]);
    if (open?.of !== of) {
      const bench = another(open, task);
      open = { of, bench };
      bench.catch(() => {
        if (open?.bench === bench) open = undefined;
      });
    }
    const bench = await open.bench;
    for (const name of ["model", "data", "heldOut", "steps", "every"] as const)
      if (bench.setting[name] !== setting[name])
        throw new UsageError(
          `${name} here is ${bench.setting[name]}, and the sweep's is ${setting[name]}: ${sources.model} or ${sources.data} is another one here than where the sweep was begun. Put the same in its place.`,
        );
    return await fineTune(task, bench, onProgress);
  };
}
