import { existsSync } from "node:fs";
import { join } from "node:path";
import { classWeight, labelsKey } from "../adapters/classifier.ts";
import * as adapters from "../adapters/index.ts";
import { LorantzError } from "../base/errors.ts";
import { Hash } from "../base/hash.ts";
import { table } from "../base/table.ts";
import { type Recipe, trainable } from "../gauge/index.ts";
import { type Adapted, inject } from "../lora/index.ts";
import type * as models from "../models/index.ts";
import type { Params } from "../nn/layer.ts";
import { zeros } from "../tensor/creation.ts";
import { key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import * as text from "../text/index.ts";
import { inFolder, languageLoss, loadCheckpoint, type Save, type Training, train } from "../train/index.ts";
import { interruptible } from "./interrupt.ts";
import {
  batchOptions,
  dataOptions,
  heldOutOptions,
  type Language,
  learnOf,
  modelOptions,
  openLanguage,
  openReading,
  readExamples,
  targetOptions,
  targetsOf,
} from "./language.ts";
import { bytesText, checkMemory, memoryLeft, totalOf } from "./memory.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { givenRecipe, recipeHelp } from "./recipe-text.ts";
import { curveTable, reportOf, type TuneResults } from "./tune-report.ts";
import { oneOf, optionsHelp, parseOptions, UsageError, usable, type Values, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const { adapter: _, ...base } = modelOptions;

const options = {
  ...base,
  ...dataOptions,
  out: {
    type: "string",
    value: "DIR",
    help: "Folder for the adapter, results.json, report.html and checkpoints",
  },
  recipe: {
    type: "string",
    value: "RECIPE",
    help: "A recipe, as below; default r 8, alpha 16, AdamW with lr 2e-4",
  },
  ...targetOptions,
  ...heldOutOptions,
  every: {
    type: "string",
    value: "N",
    help: "Updates from one evaluation and checkpoint to the next; default a tenth",
  },
  patience: {
    type: "string",
    value: "N",
    help: "Stop after so many evaluations in a row that are no better",
  },
  epochs: { type: "string", value: "N", help: "How often all examples are seen; default 1" },
  steps: { type: "string", value: "N", help: "Or: the number of updates" },
  accumulate: { type: "string", value: "N", help: "Batches of an update; default 1" },
  remat: {
    type: "boolean",
    help: "Keep less of each block for the backward pass, and compute it again: less memory, more time",
  },
  group: { type: "boolean", help: "Put examples of similar length into a batch, in an order that is drawn" },
  seed: { type: "string", value: "N", help: "Seed of initial values, order and dropout; default 0" },
  format: {
    type: "string",
    value: "NAME",
    help: "How the adapter is written: peft, mlx, kohya or gguf; default peft",
  },
  resume: {
    type: "boolean",
    help: "Go on with the run whose checkpoint is in --out, given the same options",
  },
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of the table" },
} as const;

const help = `Usage: lorantz tune --model DIR --data FILE --out DIR [OPTIONS]

Fine-tunes a language model with LoRA on examples, and writes the adapter. Ctrl-C leaves a checkpoint, from which
--resume goes on to the same bits. With examples to evaluate on, the adapter is that of the best evaluation.

Options:
${optionsHelp(options)}

Examples are objects on lines of their own, or rows of a table, with the fields { text }, { prompt, completion },
{ messages } (with a tokenizer that has a chat template), { instruction, input, output } or
{ premise, hypothesis, label }; a .txt file is one text. A prompt and its completion are joined as they stand.
With --learn label the classes of { premise, hypothesis, label } or { text, label } are learned by an output layer of
their own, which the adapter holds beside its factors.

${recipeHelp}

Exit codes: 0 done, 1 the work broke off, 2 wrong usage or unusable input, 130 interrupted.
`;

/** The command `tune`; see its help. */
export async function tune(args: readonly string[]): Promise<number> {
  const given = parseOptions("tune", args, options, help);
  const { data: file, out } = given;
  if (file === undefined) throw new UsageError("tune: --data FILE is missing. It has the examples.");
  if (out === undefined) throw new UsageError("tune: --out DIR is missing. The adapter is written there.");
  const recipe = given.recipe === undefined ? undefined : await givenRecipe("--recipe", given.recipe);
  const output = new Output("--out", [join(out, "results.json"), join(out, "report.html")]);
  const checkpoint = join(out, "training", "last.safetensors");
  const isThere = existsSync(checkpoint);
  if (given.resume && !isThere) throw new UsageError(`--resume: there is no ${checkpoint} to go on from.`);
  if (!given.resume && isThere)
    throw new UsageError(
      `--out ${out}: a run is there already (${checkpoint}). Add --resume to go on with it, or give another folder.`,
    );

  const format = oneOf("format", given.format, adapters.formatNames) ?? "peft";
  const reading = { ...(await openReading("tune", given)), fresh: true };
  if (learnOf(given, reading) === "label" && format !== "peft" && format !== "mlx")
    throw new UsageError(
      `--format is ${given.format}, which has no place for the output layer of a classifier. Leave it out, or give mlx.`,
    );
  const examples = await readExamples("tune", given, file, reading);
  const language = await openLanguage("tune", given, {
    reading: { ...reading, labels: examples.data.labels },
    seed: seedOf(given),
  });
  using device = language.device;
  for (const note of language.notes) say(`${note}\n`);
  const run = await prepare(given, { out, recipe, examples, format }, language);
  let left = "nothing was written";
  return await interruptible(
    async (onStep, progress) => {
      const { training } = run;
      const { steps } = training;
      const before = training.done;
      const started = performance.now();
      const seconds = () => (performance.now() - started) / 1000;
      const speed = () => ((training.done - before) * run.tokensAnUpdate) / seconds();
      say(
        `Training on ${device.name}: ${device.description}; ${steps - before} updates, about ${bytesText(run.memory)} of memory.\n`,
      );
      try {
        for await (const event of training)
          if (event.kind === "step")
            await onStep(
              event.step - before,
              steps - before,
              `step ${event.step}: loss ${event.loss.toFixed(4)}, ${Math.round(speed())} tokens/s`,
            );
      } catch (error) {
        // Interrupted; what is wrong with the run itself leaves the checkpoint before it.
        if (!(error instanceof LorantzError) && training.done > 0) {
          await run.save("last", await training.checkpoint());
          left = `${checkpoint} has the run after ${training.done} updates, and --resume goes on from there`;
        }
        throw error;
      }
      const written = await writeAdapter(given, out, language, run, format);
      const results: TuneResults = {
        format: 1,
        lorantz: version(),
        device: { backend: device.name, description: device.description },
        ...run.facts,
        ended: training.done < steps ? "patience" : "steps",
        losses: training.losses,
        evaluations: training.evaluations.map(({ kind: _, ...each }) => each),
        written: written.step,
        speed: speed(),
        seconds: seconds(),
        trajectory: training.hash,
      };
      progress.end();
      const json = `${JSON.stringify(results, undefined, 2)}\n`;
      const files = [
        ...written.files.map((name) => join(out, name)),
        ...output.write([json, await reportOf(results)]),
      ];
      print(given.json ? json : `${table(curveTable(results))}\n`);
      say(`Wrote ${files.join(", ")} after ${Math.round(results.seconds)} s.\n`);
      return 0;
    },
    () => left,
  );
}

type Given = Values<typeof options>;

/** A run that is ready to begin. */
interface Run {
  readonly training: Training<Params, text.Batch>;
  readonly model: Adapted<models.DecoderInput, models.DecoderOutput>;
  readonly save: Save;
  /** Bytes of a step, as planned. */
  readonly memory: number;
  /** On average, without padding. */
  readonly tokensAnUpdate: number;
  readonly facts: Pick<
    TuneResults,
    "model" | "data" | "heldOut" | "recipe" | "targetModules" | "batch" | "seed" | "steps" | "memory"
  >;
}

/** @throws UsageError for what cannot be trained on, and where memory is too small. */
async function prepare(
  given: Given,
  {
    out,
    recipe: own,
    examples: { data, heldOut },
    format,
  }: {
    readonly out: string;
    readonly recipe: Recipe | undefined;
    readonly examples: Awaited<ReturnType<typeof readExamples>>;
    readonly format: adapters.FormatName;
  },
  language: Language,
): Promise<Run> {
  const { device, architecture, params: frozen, config } = language;
  const seed = seedOf(given);
  const accumulate = wholeNumber("accumulate", given.accumulate, { min: 1, max: 65_536, otherwise: 1 });
  if (given.patience !== undefined && given["held-out"] === undefined && given.evaluate === undefined)
    throw new UsageError("tune: --patience waits for evaluations. Give --evaluate FILE or --held-out SHARE.");
  const { size, pack } = batchOptions(given);
  const batches = await usable(() => text.batches(data, { size, pack, seed, group: given.group ?? false }));
  const an = Math.ceil(batches.epoch / accumulate);
  const epochs = wholeNumber("epochs", given.epochs, { min: 1, max: 1e6, otherwise: 1 });
  const steps = wholeNumber("steps", given.steps, { min: 1, max: 1e9, otherwise: epochs * an });
  const every = wholeNumber("every", given.every, { min: 1, max: 1e9, otherwise: Math.ceil(steps / 10) });
  const patience = wholeNumber("patience", given.patience, { min: 1, max: 1e9, otherwise: 0 });
  const recipe: Recipe = own ?? {
    r: 8,
    alpha: 16,
    optimizer: { name: "adamw", lr: 2e-4 },
    schedule: { kind: "warmupLinear", warmup: Math.floor(steps / 20), total: "end" },
  };
  const targetModules = targetsOf(given["target-modules"]);
  return usable(async () => {
    const model = inject(language.model, { ...recipe, targetModules });
    const params = model.init(key(seed).fold("adapters"), frozen);
    // What the form has no place for is refused now, and not after the run.
    await adapters.toBlobs(adapterOf(given, language, model, params), format, baseOf(language));
    const save = inFolder(join(out, "training"));
    const [adapter] = trainable(recipe, params);
    const own = new Set(tree.entries(adapter).map(([path]) => path));
    const training = train({
      params,
      loss: languageLoss(model),
      // With the output layer of a classifier, which is new.
      ...(language.labels && {
        trainable: (_: Tensor, path: string) => own.has(path) || path === classWeight,
      }),
      recipe,
      batches,
      steps,
      accumulate,
      key: key(seed).fold("dropout"),
      about: { config: new Hash().add(JSON.stringify(config)).toString() },
      checkpoint: { every, save },
      ...(heldOut && {
        evaluate: {
          batches: await text.batches(heldOut, { size, pack }),
          every,
          ...(patience > 0 && { patience }),
        },
      }),
      ...(given.resume && { resume: await loadCheckpoint(join(out, "training", "last.safetensors")) }),
    });
    await training.ready();
    const length = batches.lengths.at(-1)!;
    const memory = totalOf(await training.plan(batchLike(size, length, pack)));
    checkMemory(
      memory,
      memoryLeft(device, tree.count(frozen) * 4),
      `Smaller are --batch ${Math.max(1, size >> 1)} with --accumulate ${2 * accumulate}, --max-length ${length >> 1}, ${given.remat ? "" : "--remat, "}or --weights nf4.`,
    );
    const { tokens } = data.count;
    return {
      training,
      model,
      save,
      memory,
      tokensAnUpdate: (tokens / batches.epoch) * accumulate,
      facts: {
        model: {
          folder: given.model!,
          family: architecture.family,
          parameters: tree.count(frozen),
          trained: tree.count(training.trained),
        },
        data: { name: data.name, examples: data.length, tokens, truncated: data.truncated },
        heldOut: heldOut && { name: heldOut.name, examples: heldOut.length },
        recipe,
        targetModules,
        batch: { size, accumulate, longest: length, packed: pack },
        seed,
        steps,
        memory,
      },
    };
  });
}

/** A batch of that shape. */
function batchLike(size: number, length: number, pack: boolean): text.Batch {
  const some = () => zeros([size, length], { dtype: "int32" }) as Tensor<"int32">;
  return { tokens: some(), targets: some(), ...(pack && { positions: some(), segments: some() }) };
}

const seedOf = ({ seed }: Given) => wholeNumber("seed", seed, { min: 0, max: 2 ** 32 - 1, otherwise: 0 });

type Model = Run["model"];

const baseOf = ({ config }: Language) => ({ base: config as Record<string, unknown> }); // of config.json

/** What is written of the parameters of a run. */
function adapterOf(given: Given, { labels }: Language, model: Model, params: Params): adapters.AdapterFile {
  return adapters.extract(model, params, {
    config: { base_model_name_or_path: given.model, task_type: labels ? "SEQ_CLS" : "CAUSAL_LM" },
    ...(labels && {
      whole: { [classWeight]: new Map(tree.entries(params)).get(classWeight)! },
      metadata: { [labelsKey]: JSON.stringify(labels) },
    }),
  });
}

/** Writes the adapter of the best evaluation, or of the end. */
async function writeAdapter(
  given: Given,
  out: string,
  language: Language,
  { training, model }: Run,
  format: adapters.FormatName,
): Promise<{ readonly files: readonly string[]; readonly step: number }> {
  const { best } = training;
  const isBest = best !== undefined && best.step > 0 && best.step < training.done;
  const kept = isBest ? await loadCheckpoint(join(out, "training", "best.safetensors")) : undefined;
  const params = kept ? tree.combine<Params>(training.params, kept.trained) : training.params;
  const files = await adapters.write(
    out,
    adapterOf(given, language, model, params),
    format,
    baseOf(language),
  );
  return { files, step: kept?.done ?? training.done };
}
