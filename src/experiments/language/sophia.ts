import { type Recipe, trainable } from "../../gauge/index.ts";
import type { Params } from "../../nn/layer.ts";
import { hutchinson, type OptimizerState, type Sophia, sophia } from "../../optim/index.ts";
import { scalar } from "../../tensor/creation.ts";
import type { Gang } from "../../tensor/gang.ts";
import type { Key } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch, TextBatches } from "../../text/index.ts";
import { DivergedError, type Evaluator, type Loss } from "../../train/index.ts";
import { termsOf } from "../../train/loss.ts";
import { compiled, type Update, updateOf } from "../../train/program.ts";

/** Sophia in place of a recipe's optimizer: `gamma` as in `optim.sophia`, and from how many updates to how many it estimates curvature. */
export interface SophiaSetting {
  readonly lr: number;
  readonly gamma: number;
  readonly every: number;
}

interface Options {
  readonly params: Params;
  readonly loss: Loss<Params, Batch>;
  /** Says what is trained. */
  readonly recipe: Recipe;
  readonly setting: SophiaSetting;
  readonly batches: TextBatches;
  readonly steps: number;
  readonly key: Key;
  readonly look: Evaluator<Params>;
  /** Updates from one look to the next. */
  readonly every: number;
  readonly gang: Gang;
}

/** Estimates curvature on the batch of an update, and gives the state that knows of it. */
type Curve = (
  own: Params,
  state: OptimizerState,
  frozen: Params,
  batch: Batch,
  place: Tensor<"number">,
) => Promise<OptimizerState>;

/**
 * A training by Sophia, as `train` has it for recipes. Every so many updates the diagonal of the Hessian is estimated on the
 * batch of the update, by Hutchinson's signs.
 */
export class SophiaTraining implements AsyncIterable<{ readonly kind: "step" }> {
  readonly losses: number[] = [];
  readonly evaluations: { readonly step: number; readonly loss: number; readonly accuracy?: number }[] = [];
  readonly #options: Options;
  readonly #update: Update<Params, Batch>;
  readonly #curve: Curve;
  readonly #frozen: Params;
  #own: Params;
  #state: OptimizerState;

  constructor(options: Options) {
    const { params, loss, recipe, setting, key, gang } = options;
    const optimizer: Sophia = sophia({ lr: setting.lr, gamma: setting.gamma, weightDecay: 0 });
    this.#options = options;
    [this.#own, this.#frozen] = trainable<Params>(recipe, params);
    this.#state = optimizer.init(this.#own);
    this.#update = updateOf(loss, optimizer, key, 1, { gang });
    this.#curve = compiled(
      (own: Params, state: OptimizerState, frozen: Params, batch: Batch, place: Tensor<"number">) => {
        const context = { training: true, key: key.fold(place) };
        const mean = (own: Params): Tensor => {
          const { sum, count } = termsOf(loss(tree.combine<Params>(frozen, own), batch, context));
          return sum.div(count);
        };
        return optimizer.curved(state, hutchinson(mean, own, key.fold("curvature").fold(place)));
      },
      { donate: [1], gang },
    );
  }

  get params(): Params {
    return tree.combine<Params>(this.#frozen, this.#own);
  }

  get trained(): Params {
    return this.#own;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<{ readonly kind: "step" }, void, undefined> {
    const { batches, setting, steps, every } = this.#options;
    await this.#look(0);
    const parameters = tree.leaves(this.#own).length;
    for (let done = 0; done < steps; done++) {
      const batch = await batches.at(done);
      if (done % setting.every === 0)
        this.#state = await this.#curve(this.#own, this.#state, this.#frozen, batch, scalar(done));
      const after = await this.#update.run(this.#own, this.#state, this.#frozen, [batch], done);
      [this.#own, this.#state] = [after.params, after.state];
      const { loss, broken } = after.report;
      this.losses.push(loss);
      if (!Number.isFinite(loss) || broken < parameters)
        throw new DivergedError(
          `sophia: step ${done + 1}: a loss or gradient is not finite.`,
          done + 1,
          undefined,
        );
      if ((done + 1) % every === 0 || done + 1 === steps) await this.#look(done + 1);
      yield { kind: "step" };
    }
  }

  async #look(step: number): Promise<void> {
    this.evaluations.push({ step, ...(await this.#options.look(this.params)) });
  }
}
