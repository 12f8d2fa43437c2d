import { Hash } from "../../base/hash.ts";
import { trainable as splitBy } from "../../gauge/index.ts";
import { startsOnHost } from "../../lora/config.ts";
import { type Adapted, attenuate, initialize, inject, packBase } from "../../lora/index.ts";
import { roleOf } from "../../lora/roles.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import { Gang } from "../../tensor/gang.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { batches, type Dataset, dataset, type TextBatches } from "../../text/index.ts";
import { DivergedError, type Evaluator, evaluator, languageLoss, train } from "../../train/index.ts";
import { explicit } from "../recipes.ts";
import { Turns } from "../turns.ts";
import { changeOf } from "./change.ts";
import { curvatureOf, trainedCurvatureOf } from "./curvature.ts";
import { startFromGradient } from "./gradient-start.ts";
import { canonical, keyOf, type Probe, type Run, type RunResult, type Seen } from "./run.ts";
import { SophiaTraining } from "./sophia.ts";
import { spectraOf } from "./spectra.ts";
import type { Store } from "./store.ts";
import type { Subject } from "./subject.ts";
import { entriesOf, type Task } from "./tasks.ts";

/** Runs that go on at a time: more are no faster, and each has its batches and adapters. */
const mostRuns = 8;

/** Examples that are held out, and how many of a batch of them. */
const heldOut = { examples: 64, size: 64 };

/** What a probe saw before the first update. */
interface Before {
  readonly seen?: Seen;
  readonly largest?: number;
}

/** Runs fine-tunings of a subject, each once: results are kept by their keys. */
export class Lab {
  readonly subject: Subject;
  readonly #store: Store;
  /** Runs that are asked for at a time go on beside each other: they have the base in common. */
  readonly #gang = new Gang();
  readonly #turns = new Turns(mostRuns);
  readonly #data = new Map<string, Promise<Dataset>>();

  constructor(subject: Subject, store: Store) {
    this.subject = subject;
    this.#store = store;
  }

  key(run: Run): string {
    return keyOf(run, this.subject.key);
  }

  /** The result of a run that was done. */
  known(run: Run): RunResult | undefined {
    return this.#store.read(this.key(run)) as RunResult | undefined; // as it was written
  }

  /** The result of a run, which is done if it is not there. */
  async run(run: Run, onStep?: () => void | Promise<void>): Promise<RunResult> {
    const known = this.known(run);
    if (known) return known;
    const result = await this.#turns.take(() => this.#gang.run(() => this.#do(run, onStep)));
    this.#store.write(this.key(run), result);
    return result;
  }

  /** Another measurement by its name, done once likewise. */
  async measured<T>(name: string, measure: () => Promise<T>): Promise<T> {
    const key = new Hash().add(name).toString();
    const known = this.#store.read(key) as { readonly value: T } | undefined; // as it was written
    if (known) return known.value;
    const value = await measure();
    this.#store.write(key, { value });
    return value;
  }

  /** Examples of a task as the subject reads them. */
  examples(task: Task, which: "learned" | "heldOut", count: number): Promise<Dataset> {
    const name = `${which} ${count} ${canonical(task)}`;
    const known = this.#data.get(name);
    if (known) return known;
    const { tokenizer, model, real } = this.subject;
    const made = entriesOf(task, which, count, real).then((entries) =>
      dataset(new Blob([entries.map((each) => JSON.stringify(each)).join("\n")]), {
        tokenizer,
        maxLength: model.architecture.context + 1,
        format: "jsonl",
      }),
    );
    this.#data.set(name, made);
    return made;
  }

  async #heldOut(task: Task): Promise<TextBatches> {
    return padded(await this.examples(task, "heldOut", heldOut.examples), { size: heldOut.size });
  }

  async #do(run: Run, onStep?: () => void | Promise<void>): Promise<RunResult> {
    const started = performance.now();
    const { recipe, steps, seed, task, targets = "all-linear", ranks, looks = 1, examples = 2048 } = run;
    const { model: base } = this.subject;
    const learned = await this.examples(task, "learned", examples);
    const unseen = await this.#heldOut(task);
    const model = inject(base, { ...recipe, targetModules: targets, ...(ranks && { rankPattern: ranks }) });
    const loss = languageLoss(model);
    const gang = this.#gang;
    const look = evaluator(loss, unseen, { gang });
    const fresh = await this.#start(model, run);
    const params =
      run.start === "gradient"
        ? await startFromGradient(model, fresh, await (await padded(learned, { size: 64 })).at(0))
        : fresh;
    const probes = run.probes ?? [];
    const before = await this.#before(model, params, run, unseen);
    const shared = {
      params,
      loss,
      recipe: explicit(recipe),
      batches: await padded(learned, { size: run.batch ?? 16, seed }),
      steps,
      key: key(seed).fold("dropout"),
      gang,
    };
    const every = Math.ceil(steps / looks);
    const training = run.sophia
      ? new SophiaTraining({ ...shared, setting: run.sophia, look, every })
      : train({
          ...shared,
          evaluate: { batches: unseen, every },
          ...(run.vectors && {
            trainable: (leaf, path) => roleOf(path) !== "base" || leaf.rank === 1,
          }),
        });
    let diverged: number | undefined;
    try {
      for await (const event of training) if (event.kind === "step") await onStep?.();
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error;
      diverged = error.step;
    }
    const nothing: Seen = { loss: Math.log(base.architecture.vocabulary), accuracy: 0 };
    const finite = ({ loss, accuracy = 0 }: { readonly loss: number; readonly accuracy?: number }): Seen =>
      Number.isFinite(loss) ? { loss, accuracy } : nothing;
    const last = training.evaluations.at(-1)!;
    const seen = diverged === undefined ? finite(last) : nothing;
    const result: RunResult = {
      ...seen,
      curve: training.evaluations.map((each) => ({ step: each.step, ...finite(each) })),
      losses: training.losses,
      ...(diverged !== undefined && { diverged }),
      trained: tree.count(training.trained),
      probes: await this.#probe(model, training.params, {
        probes,
        before,
        look,
        data: unseen,
        task,
        examples,
      }),
      seconds: (performance.now() - started) / 1000,
    };
    tree.dispose(training.trained);
    return result;
  }

  /** Parameters with fresh adapters. What is trained of the base is a copy. */
  async #start(model: Adapted<DecoderInput, DecoderOutput>, { recipe, seed, weights }: Run): Promise<Params> {
    const { params: base } = this.subject;
    const own = weights ? await tree.evaluate(packBase(model, base, { format: weights })) : base;
    const start = key(seed).fold("adapters");
    const params = startsOnHost(recipe)
      ? await initialize(model, start, own)
      : await tree.evaluate(model.init(start, own));
    if (!recipe.trained?.includes("base")) return params;
    const [trained, frozen] = splitBy<Params>(recipe, params);
    const copies = await tree.evaluate(tree.map(trained, (leaf) => leaf.mul(1)));
    return tree.combine<Params>(frozen, copies);
  }

  async #before(
    model: Adapted<DecoderInput, DecoderOutput>,
    params: Params,
    { recipe, probes = [] }: Run,
    data: TextBatches,
  ): Promise<readonly Before[]> {
    const found: Before[] = [];
    for (const probe of probes) {
      if (probe.kind === "task") found.push({ seen: await this.#look(model, params, probe.task) });
      else if (probe.kind === "start") {
        const batch = await data.at(0);
        found.push({ largest: await trainedCurvatureOf(model, params, recipe, batch, probe.rounds) });
      } else found.push({});
    }
    return found;
  }

  async #look(model: Adapted<DecoderInput, DecoderOutput>, params: Params, task: Task): Promise<Seen> {
    const { loss, accuracy = 0 } = await evaluator(languageLoss(model), await this.#heldOut(task), {
      gang: this.#gang,
    })(params);
    return { loss, accuracy };
  }

  async #probe(
    model: Adapted<DecoderInput, DecoderOutput>,
    params: Params,
    {
      probes,
      before,
      look,
      data,
      task,
      examples,
    }: {
      readonly probes: readonly Probe[];
      readonly before: readonly Before[];
      readonly look: Evaluator<Params>;
      readonly data: TextBatches;
      readonly task: Task;
      readonly examples: number;
    },
  ): Promise<RunResult["probes"]> {
    const found: { readonly [name: string]: number }[] = [];
    for (const [i, probe] of probes.entries()) {
      switch (probe.kind) {
        case "task": {
          const after = await this.#look(model, params, probe.task);
          const { loss, accuracy } = before[i]!.seen!; // of a probe of this kind
          found.push({
            before: loss,
            after: after.loss,
            accuracyBefore: accuracy,
            accuracyAfter: after.accuracy,
          });
          break;
        }
        case "learned": {
          const count = Math.min(heldOut.examples, examples);
          const own = await padded(await this.examples(task, "learned", count), { size: count });
          const { loss, accuracy = 0 } = await evaluator(languageLoss(model), own, { gang: this.#gang })(
            params,
          );
          found.push({ loss, accuracy });
          break;
        }
        case "strengths": {
          const all: Record<string, number> = {};
          for (const at of probe.at) {
            const weaker = await tree.evaluate(attenuate(model, params, at));
            all[String(at)] = (await look(weaker)).loss;
          }
          found.push(all);
          break;
        }
        case "spectra":
          found.push(await spectraOf(model, params));
          break;
        case "curvature":
          found.push({ largest: await curvatureOf(model, params, await data.at(0), probe.rounds) });
          break;
        case "start":
          found.push({ largest: before[i]!.largest! }); // likewise
          break;
        case "change":
          found.push({ ...(await changeOf(model, params, this.subject.params)) });
          break;
        default:
          probe satisfies never;
      }
    }
    return found;
  }
}

/** Batches of one length, a multiple of 16, so that few programs are compiled. */
async function padded(
  data: Dataset,
  { size, seed }: { readonly size: number; readonly seed?: number },
): Promise<TextBatches> {
  const longest = Array.from({ length: data.length }, (_, i) => data.tokens(i).length).reduce((a, b) =>
    Math.max(a, b),
  );
  const lengths = [16 * Math.ceil(longest / 16)];
  return batches(data, { size, lengths, ...(seed !== undefined && { seed }) });
}
