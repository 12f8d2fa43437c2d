import { random, type Tensor, tree } from "lorantz";
import * as gauge from "lorantz/gauge";
import type { FolderSource } from "lorantz/io";
import * as lora from "lorantz/lora";
import type * as nn from "lorantz/nn";
import { type Training, train } from "lorantz/train";
import { type Experiment, gaugeOf, type RunName, recipeOf, runs } from "./experiment.ts";
import {
  type AdapterNumbers,
  type Batch,
  type Learner,
  type Look,
  type Progress,
  type Task,
  taskOf,
} from "./tasks.ts";

// Two runs side by side, compared after every update.

/** What there is of each run. */
export type Each<T> = Readonly<Record<RunName, T>>;

/** What was seen after an update. */
export interface Seen {
  readonly update: number;
  readonly loss: Each<number>;
  readonly norms: { readonly A: Each<number>; readonly B: Each<number> };
  /** Whether every parameter of Y is that of X times its factor, to the last bit. */
  readonly same: boolean;
  /** Where they differ first, if they do. */
  readonly where?: string;
  /** The largest difference of a parameter over the largest entry of its tensor. */
  readonly gap: number;
}

/** What is looked at now and then. */
export interface View {
  readonly update: number;
  /** Singular values of each change, by the path of its weight. */
  readonly spectra: Each<Readonly<Record<string, readonly number[]>>>;
  readonly needed: Readonly<Record<string, readonly number[]>>;
  /** What the models show, what they should, and what texts go on with. */
  readonly looks?: Each<Look> & { readonly target: Look; readonly prompts: readonly string[] };
}

/** The most updates of a run. */
export const mostUpdates = 100_000;

/** Two runs of an experiment. */
export class Duel {
  readonly #experiment: Experiment;
  readonly #task: Task;
  readonly #learners: Each<Learner>;
  readonly #trainings: Each<Training<nn.Params, Batch>>;
  readonly #steps: Each<AsyncIterator<{ readonly kind: string }>>;

  static async start(
    experiment: Experiment,
    checkpoint: FolderSource,
    progress: Progress = () => {},
  ): Promise<Duel> {
    return new Duel(experiment, await taskOf(experiment, progress, checkpoint));
  }

  private constructor(experiment: Experiment, task: Task) {
    this.#experiment = experiment;
    this.#task = task;
    const key = random.key(experiment.seed).fold("adapter");
    const each = <T>(of: (run: RunName) => T): Each<T> => ({ x: of("x"), y: of("y") });
    this.#learners = each((run) => task.learner(adapterOf(recipeOf(experiment, run))));
    this.#trainings = each((run) => {
      const learner = this.#learners[run];
      return train<nn.Params, Batch>({
        params: learner.init(key),
        loss: (params, batch) => learner.loss(params, batch),
        batches: (update) => task.batch(update),
        recipe: recipeOf(experiment, run),
        steps: mostUpdates,
        nonFinite: "continue",
      });
    });
    this.#steps = each((run) => this.#trainings[run][Symbol.asyncIterator]());
  }

  /** One update of both runs. */
  async step(): Promise<Seen> {
    for (const run of runs) await this.#steps[run].next();
    const [x, y] = [await read(this.#trainings.x.trained), await read(this.#trainings.y.trained)];
    const g = gaugeOf(this.#experiment);
    let where: string | undefined;
    let gap = 0;
    for (const [path, values] of x) {
      const factor = gauge.factor(g, lora.roleOf(path));
      const partner = y.get(path)!;
      const scaled = values.map((value) => value * factor);
      if (!sameBits(scaled, partner)) where ??= path;
      const largest = scaled.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      scaled.forEach((value, i) => {
        const difference = Math.abs(value - partner[i]!) / (largest || 1);
        gap = Number.isNaN(difference) ? difference : Math.max(gap, difference);
      });
    }
    const norm = (of: ReadonlyMap<string, Float32Array>, role: lora.Role) =>
      Math.hypot(
        ...[...of].filter(([path]) => lora.roleOf(path) === role).map(([, values]) => length(values)),
      );
    const { losses } = this.#trainings.x;
    return {
      update: this.#trainings.x.done,
      loss: { x: losses.at(-1)!, y: this.#trainings.y.losses.at(-1)! },
      norms: {
        A: { x: norm(x, "A"), y: norm(y, "A") },
        B: { x: norm(x, "B"), y: norm(y, "B") },
      },
      same: where === undefined,
      ...(where !== undefined && { where }),
      gap,
    };
  }

  /** Whether it is time to look at what the models show. */
  get isTimeToLook(): boolean {
    return this.#trainings.x.done % (this.#task.lookEvery ?? 1) === 0;
  }

  /** @param strength Of the adapters, for what the models show. */
  async view(strength = 1): Promise<View> {
    const { needed = {}, target, prompts = [] } = this.#task;
    const spectrumOf = async (run: RunName) =>
      Object.fromEntries(
        Object.entries(await lora.spectrum(this.#learners[run].model, this.#trainings[run].params)).map(
          ([path, values]) => [path, [...values]],
        ),
      );
    const lookAt = (run: RunName) => {
      const { model, look } = this.#learners[run];
      const { params } = this.#trainings[run];
      return look!(strength === 1 ? params : lora.attenuate(model, params, strength));
    };
    return {
      update: this.#trainings.x.done,
      spectra: { x: await spectrumOf("x"), y: await spectrumOf("y") },
      needed,
      ...(target && { looks: { x: await lookAt("x"), y: await lookAt("y"), target, prompts } }),
    };
  }

  /** The adapter of a run in files of a tool. */
  async adapter(run: RunName, format: "peft" | "mlx"): Promise<Readonly<Record<string, Blob>>> {
    const adapters = await import("lorantz/adapters"); // loaded where they are wanted
    const { model } = this.#learners[run];
    return adapters.toBlobs(adapters.extract(model, this.#trainings[run].params), format);
  }

  dispose(): void {
    for (const run of runs) {
      tree.dispose(this.#trainings[run].trained);
      tree.dispose(this.#trainings[run].state);
    }
    tree.dispose(this.#task.params);
  }
}

/** The final loss of a recipe after some updates: NaN where it left the range of numbers. */
export async function lossAfter(
  updates: number,
  recipe: gauge.Recipe,
  task: Task,
  seed: number,
): Promise<number> {
  const learner = task.learner(adapterOf(recipe));
  const run = train<nn.Params, Batch>({
    params: learner.init(random.key(seed).fold("adapter")),
    loss: (params, batch) => learner.loss(params, batch),
    batches: (update) => task.batch(update),
    recipe,
    steps: updates,
    nonFinite: "continue",
  });
  for await (const _ of run);
  tree.dispose(run.trained);
  tree.dispose(run.state);
  return run.losses.at(-1)!;
}

/** What `lora.inject` takes of a recipe. */
function adapterOf({ r, alpha, rsLora = false, initScale = {} }: gauge.Recipe): AdapterNumbers {
  return { r, alpha, rsLora, initScale };
}

async function read(params: nn.Params): Promise<ReadonlyMap<string, Float32Array>> {
  const entries = tree.entries(params);
  const values = await Promise.all(entries.map(([, leaf]) => (leaf as Tensor<"float32">).data()));
  return new Map(entries.map(([path], i) => [path, values[i]!]));
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [p, q] = [
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  ];
  return p.every((bits, i) => bits === q[i]);
}

const length = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
