import {
  type Fields,
  field,
  functionOf,
  integer,
  isPlainObject,
  oneOf,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { isFloat } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { Hash } from "../base/hash.ts";
import { optimizerOf, type Recipe, trainable as trainableBy } from "../gauge/index.ts";
import { checkOptimizer, type Optimizer, type OptimizerState, type Schedule } from "../optim/optimizer.ts";
import { Device } from "../runtime/device.ts";
import type { MemoryPlan } from "../tensor/compile.ts";
import { firstNotFinite } from "../tensor/finite.ts";
import { Gang } from "../tensor/gang.ts";
import { Key, key as rootKey } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { type Batches, batchesOf, type GivenBatches } from "./batches.ts";
import { type Checkpoint, checkpointOf, checkSetup, type Save, type Setup, setupOf } from "./checkpoint.ts";
import { type Evaluator, evaluator } from "./evaluate.ts";
import {
  type CheckpointName,
  DivergedError,
  type EvaluationEvent,
  type StepEvent,
  type TrainEvent,
} from "./events.ts";
import type { Loss } from "./loss.ts";
import { type Report, type Update, updateOf } from "./program.ts";

/** When and on what a run is evaluated. */
export interface EvaluateOptions<B> {
  /** Batches with an end. */
  readonly batches: GivenBatches<B>;
  /** Updates from one evaluation to the next. There is one before the first update, and one after the last. */
  readonly every: number;
  /** Stop after so many evaluations in a row that are no better than the best. Default: never. */
  readonly patience?: number;
}

/** When and how a run is saved. */
export interface CheckpointOptions {
  /** Updates from one checkpoint to the next; there is one after the last update, too. Default: only that one. */
  readonly every?: number;
  /** Puts a checkpoint away: `inFolder("run")`, or a function of one's own. */
  readonly save: Save;
}

/** What a run is made of. */
export interface TrainOptions<P, B> {
  /** All parameters. Those that are trained are used up: `params` of the run has them. */
  readonly params: P;
  /** The loss of a batch. */
  readonly loss: Loss<P, B>;
  /** Batches by their place; update t, from 0, takes those from t * accumulate on. */
  readonly batches: GivenBatches<B>;
  /** How many updates. */
  readonly steps: number;
  /** Updates the trained parameters. This or a recipe. */
  readonly optimizer?: Optimizer;
  /** Says what is trained, and gives the optimizer with its schedule and clipping. */
  readonly recipe?: Recipe;
  /** A factor on all learning rates, where the recipe has no schedule of its own. */
  readonly schedule?: Schedule;
  /** Which parameters are trained. Default: those of the recipe, or all floats. */
  readonly trainable?: (leaf: Tensor, path: string) => boolean;
  /** How many batches an update takes; their gradients are joined to that of one large batch. Default 1. */
  readonly accumulate?: number;
  /** Random numbers of dropout: batch i draws from `key.fold(i)`. Default `random.key(0)`. */
  readonly key?: Key;
  readonly evaluate?: EvaluateOptions<B>;
  /** Saves the run as "last", and as "best" after an evaluation with a smaller loss than all before. */
  readonly checkpoint?: CheckpointOptions;
  /** Go on from there, to the same end, bit for bit. Whatever else is given is what it was given at first. */
  readonly resume?: Checkpoint;
  /** Plain data that a checkpoint is only resumed with, such as the name of the model. */
  readonly about?: Setup;
  /** What a loss or gradient that is not finite does. Default "stop". */
  readonly nonFinite?: "stop" | "continue";
  /** Default: the device of the latest `init`. */
  readonly device?: Device;
  /** Other trainings beside which its updates and evaluations run, in the time of fewer; see `Gang`. */
  readonly gang?: Gang;
}

type Read = {
  -readonly [K in keyof Omit<TrainOptions<unknown, unknown>, "params" | "batches">]: TrainOptions<
    never,
    never
  >[K];
};

const fields = {
  loss: functionOf("a function (params, batch, context) => a scalar, or { sum, count }"),
  steps: integer(0),
  optimizer: optional(field("an optimizer", (value) => typeof value === "object")),
  recipe: optional(field("a recipe", isPlainObject)),
  schedule: optional(functionOf("a schedule, with a recipe")),
  trainable: optional(functionOf("a function of the tensor and its path")),
  accumulate: integer(1, Infinity, 1),
  key: optional(field("a key of random.key", (value) => value instanceof Key)),
  evaluate: optional(field("{ batches, every }", isPlainObject)),
  checkpoint: optional(field("{ save, every }", isPlainObject)),
  resume: optional(field("a checkpoint, as loadCheckpoint gives it", isPlainObject)),
  about: optional(field("an object of plain data", isPlainObject)),
  nonFinite: oneOf(["stop", "continue"], "stop"),
  device: optional(field("a device that init opened", (value) => value instanceof Device)),
  gang: optional(field("a gang, new Gang()", (value) => value instanceof Gang)),
} as Fields<Read>; // functions and trees are of the caller's types

const evaluateFields = {
  every: integer(1),
  patience: optional(integer(1)),
  batches: field("a list of batches, or an object with at(index) and count", (value) => value !== undefined),
} as Fields<EvaluateOptions<never>>; // batches are of the caller's type

const checkpointFields = {
  every: optional(integer(1)),
  save: functionOf("a function (name, checkpoint) => promise, such as inFolder(path)"),
} as Fields<CheckpointOptions>; // what the function takes is its own affair

/**
 * Trains some of a model's parameters, as an async iterator of what happens: each update, each evaluation. What is not
 * asked for does not go on; breaking off and iterating again does.
 *
 * The loss is a function of all parameters and a batch. Where it returns `{ sum, count }`, accumulated gradients are those
 * of one large batch even if different numbers of targets count in its parts (a mean of means is not).
 *
 * @throws ValueError for options that are missing, unknown or do not fit, and where nothing is trained; `DivergedError`,
 *   while iterating, for a loss or gradient that is not finite.
 * @example
 * const run = train({ params: model.init(random.key(0)), loss, batches, optimizer: adamw({ lr: 1e-3 }), steps: 100 });
 * for await (const event of run) if (event.kind === "step") console.log(event.step, event.loss);
 * run.params; // trained
 */
export function train<P, B>(options: TrainOptions<P, B>): Training<P, B> {
  return new Training(options);
}

/** A run of `train`: an async iterable of its events, and where it stands. */
export class Training<P, B> implements AsyncIterable<TrainEvent> {
  /** How many updates it has. */
  readonly steps: number;
  readonly #update: Update<P, B>;
  readonly #batches: Batches<B>;
  readonly #accumulate: number;
  readonly #stops: boolean;
  readonly #evaluation:
    | { readonly by: Evaluator<P>; readonly every: number; readonly patience: number }
    | undefined;
  readonly #frozen: unknown;
  readonly #names: readonly string[];
  readonly #checkpoint: { readonly every: number; readonly save: Save } | undefined;
  #resume: Checkpoint | undefined;
  readonly #describe: () => Promise<Setup>;
  #setup: Setup | undefined;
  #broken: DivergedError | undefined;
  #own: P;
  #state: OptimizerState;
  #done = 0;
  #losses: number[] = [];
  #evaluations: EvaluationEvent[] = [];
  #hash = new Hash();

  /** @internal */
  constructor(options: TrainOptions<P, B>) {
    if (!isPlainObject(options)) readOptions("train", fields, options); // which refuses it
    const { params, batches, ...others } = options;
    const read = readOptions<Read>("train", fields, others) as unknown as Omit<
      TrainOptions<P, B>,
      "params" | "batches"
    > & {
      readonly accumulate: number;
    }; // as it checked
    const { loss, steps, accumulate, key = rootKey(0), evaluate, device, gang, recipe, trainable } = read;
    const on = { ...(device && { device }), ...(gang && { gang }) };
    const optimizer = optimizerFor(options);
    [this.#own, this.#frozen] = split(params, recipe, trainable);
    this.#names = tree.entries(this.#own).map(([path]) => path);
    if (this.#names.length === 0)
      throw new ValueError(
        `train: nothing is trained: ${tree.count(params) === 0 ? "there are no parameters" : `of ${tree.leaves(params).length} parameters, such as ${tree.entries(params)[0]![0]}, none is ${recipe ? "of the recipe's adapters" : "both a float and trainable"}`}.`,
      );
    this.steps = steps;
    this.#batches = batchesOf("train", batches);
    this.#accumulate = accumulate;
    const { count } = this.#batches;
    if (count !== undefined && count < steps * accumulate)
      throw new ValueError(
        `train: there are ${count} batches, and ${steps} steps of ${accumulate} take ${steps * accumulate}. Give more batches, fewer steps, or batches without an end (text.batches with a seed, or a function of the place).`,
      );
    this.#stops = read.nonFinite === "stop";
    this.#update = updateOf(loss, optimizer, key, accumulate, on);
    this.#state = optimizer.init(this.#own);
    let evaluation: { readonly [name: string]: unknown } | undefined;
    if (evaluate) {
      const {
        every,
        patience,
        batches: own,
      } = readOptions<EvaluateOptions<B>>(
        "train: evaluate",
        evaluateFields as unknown as Fields<EvaluateOptions<B>>, // the same names
        evaluate,
      );
      const heldOut = batchesOf("train: evaluate", own);
      const by = evaluator(loss, heldOut, on);
      this.#evaluation = { by, every, patience: patience ?? Infinity };
      evaluation = { every, patience, data: heldOut.fingerprint };
    }
    if (read.checkpoint) {
      const { every = Infinity, save } = readOptions("train: checkpoint", checkpointFields, read.checkpoint);
      this.#checkpoint = { every, save };
    }
    this.#resume = read.resume;
    const [trained, frozen, data] = [this.#own, this.#frozen, this.#batches.fingerprint];
    const { about } = read;
    this.#describe = () =>
      setupOf({ steps, accumulate, recipe, optimizer, key, data, evaluation, about, trained, frozen });
  }

  /** All parameters as they are now. Those that are trained are used up by the next update. */
  get params(): P {
    return tree.combine<P>(this.#frozen, this.#own);
  }

  /** The parameters that are trained, with undefined where the others are. */
  get trained(): P {
    return this.#own;
  }

  /** The state of the optimizer. */
  get state(): OptimizerState {
    return this.#state;
  }

  /** Updates done. */
  get done(): number {
    return this.#done;
  }

  /** The loss of each update. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  get evaluations(): readonly EvaluationEvent[] {
    return this.#evaluations;
  }

  /** The evaluation of the smallest loss. */
  get best(): EvaluationEvent | undefined {
    return this.#evaluations.findLast(({ best }) => best);
  }

  /** 16 hexadecimal digits of the trajectory: equal where all losses and gradient norms were, to the last bit. */
  get hash(): string {
    return this.#hash.toString();
  }

  /** Whether there is nothing more to do: all updates are done, or patience is at its end. */
  get ended(): boolean {
    return this.#done >= this.steps || this.#impatient;
  }

  get #impatient(): boolean {
    const since = this.#evaluations.length - 1 - this.#evaluations.findLastIndex(({ best }) => best);
    return this.#evaluation !== undefined && since >= this.#evaluation.patience;
  }

  /** The memory that an update on batches like this one takes, found without running anything. */
  plan(batch: B): Promise<MemoryPlan> {
    return this.#update.plan(this.#own, this.#state, this.#frozen, batch);
  }

  /** Takes up what is resumed; iterating does so too. @throws ValueError for a checkpoint of another run. */
  async ready(): Promise<this> {
    await this.#ready();
    return this;
  }

  /** Where the run stands now, to be saved. Its tensors are used up by the next update. */
  async checkpoint(): Promise<Checkpoint> {
    await this.#ready();
    return checkpointOf({
      setup: await this.#described(),
      done: this.#done,
      hash: this.hash,
      losses: [...this.#losses],
      evaluations: [...this.#evaluations],
      trained: this.#own,
      state: this.#state,
    });
  }

  /** Goes on from where the run stands. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TrainEvent, void, undefined> {
    await this.#ready();
    if (this.#done === 0 && this.#evaluations.length === 0 && this.#evaluation) yield await this.#look();
    while (!this.ended) {
      const events: TrainEvent[] = [await this.#advance()];
      // All of it before anything is said of the update, so that whoever breaks off there leaves a whole one.
      const due = (every: number) => this.#done % every === 0 || this.#done === this.steps;
      if (this.#evaluation && due(this.#evaluation.every)) {
        const seen = await this.#look();
        events.push(seen);
        if (seen.best) events.push(...(await this.#save("best")));
      }
      if (this.#checkpoint && (due(this.#checkpoint.every) || this.ended))
        events.push(...(await this.#save("last")));
      yield* events;
    }
  }

  /**
   * Looks at what is resumed, the first time.
   *
   * @throws ValueError for a checkpoint of another run; what ended the run, if something did.
   */
  async #ready(): Promise<void> {
    if (this.#broken) throw this.#broken;
    if (!this.#resume) return;
    const { setup: there, done, hash, losses, evaluations, trained, state } = this.#resume;
    checkSetup(there, await this.#described());
    [this.#own, this.#state] = [trained as P, state]; // of the parameters that the setup lists
    [this.#done, this.#losses, this.#evaluations] = [done, [...losses], [...evaluations]];
    this.#hash = Hash.from(hash);
    this.#resume = undefined;
  }

  /** What the run is of. All frozen parameters are read for it, so nobody asks without need. */
  async #described(): Promise<Setup> {
    this.#setup ??= await this.#describe();
    return this.#setup;
  }

  async #save(name: CheckpointName): Promise<readonly TrainEvent[]> {
    if (!this.#checkpoint) return [];
    await this.#checkpoint.save(name, await this.checkpoint());
    return [{ kind: "checkpoint", step: this.#done, name }];
  }

  /** Runs to the end, and is then the run. */
  async toEnd(): Promise<this> {
    for await (const _ of this);
    return this;
  }

  async #advance(): Promise<StepEvent> {
    const place = this.#done * this.#accumulate;
    const batches: B[] = [];
    for (let i = place; i < place + this.#accumulate; i++) batches.push(await this.#batches.at(i));
    const { params, state, report } = await this.#update.run(
      this.#own,
      this.#state,
      this.#frozen,
      batches,
      place,
    );
    [this.#own, this.#state] = [params, state];
    this.#done++;
    if (this.#stops) await this.#check(report, place);
    const { loss, count, norm } = report;
    this.#losses.push(loss);
    this.#hash.add(Float64Array.of(loss, norm));
    return { kind: "step", step: this.#done, loss, count, norm };
  }

  /** @throws DivergedError for a loss or gradient that is not finite; ValueError where nothing counts. */
  async #check({ loss, count, broken }: Report, place: number): Promise<void> {
    const parameter = this.#names[broken];
    if (Number.isFinite(loss) && parameter === undefined) return;
    const last = place + this.#accumulate - 1;
    const said: string[] = [];
    if (this.#batches.describe)
      for (let i = place; i <= last; i++) said.push(await this.#batches.describe(i));
    const where = `${place === last ? `batch ${place}` : `batches ${place} to ${last}`}${said.length > 0 ? ` (${said.join("; ")})` : ""}`;
    if (count === 0)
      throw new ValueError(
        `train: in ${where}, of step ${this.#done}, no target counts, so there is no loss. Is everything masked or cut off?`,
      );
    const what =
      parameter === undefined
        ? `the loss is ${show(loss)}, and all gradients are finite`
        : `the loss is ${show(loss)}, and the first parameter whose gradient is not finite is ${parameter}`;
    const frozen = await firstNotFinite(this.#frozen);
    const advice =
      frozen === undefined
        ? "Lower the learning rate, clip gradients, or look at that batch"
        : `The frozen parameter ${frozen} is not finite itself: read it again, or repair its file`;
    this.#broken = new DivergedError(
      `train: step ${this.#done}, ${where}: ${what}. ${advice}; what was saved before is as it was.`,
      this.#done,
      parameter,
    );
    throw this.#broken;
  }

  async #look(): Promise<EvaluationEvent> {
    const seen = await this.#evaluation!.by(this.#own, this.#frozen);
    const best = !Number.isNaN(seen.loss) && !(this.best !== undefined && this.best.loss <= seen.loss);
    const event: EvaluationEvent = { kind: "evaluation", step: this.#done, best, ...seen };
    this.#evaluations.push(event);
    return event;
  }
}

function optimizerFor({
  optimizer,
  recipe,
  schedule,
  steps,
}: Pick<TrainOptions<never, never>, "optimizer" | "recipe" | "schedule" | "steps">): Optimizer {
  if ((optimizer === undefined) === (recipe === undefined))
    throw new ValueError(
      `train: ${recipe ? "both an optimizer and a recipe are" : "neither an optimizer nor a recipe is"} given. Give one: a recipe has its optimizer.`,
    );
  if (recipe) return optimizerOf(recipe, { updates: steps, ...(schedule && { schedule }) });
  if (schedule)
    throw new ValueError("train: a schedule is given beside an optimizer. Give it to the optimizer itself.");
  checkOptimizer("train", optimizer);
  return optimizer!;
}

function split<P>(
  params: P,
  recipe: Recipe | undefined,
  trainable: ((leaf: Tensor, path: string) => boolean) | undefined,
): [own: P, frozen: P] {
  if (recipe && !trainable) return trainableBy(recipe, params);
  return tree.partition(params, (leaf, path) => isFloat(leaf.dtype) && (trainable?.(leaf, path) ?? true));
}
