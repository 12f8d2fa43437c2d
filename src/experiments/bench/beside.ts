import { optimizerOf, type Recipe, trainable } from "../../gauge/index.ts";
import { inject } from "../../lora/index.ts";
import * as models from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import type { Device } from "../../runtime/device.ts";
import { Gang } from "../../tensor/gang.ts";
import { key, uniform } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { languageLoss } from "../../train/index.ts";
import { updateOf } from "../../train/program.ts";
import { configOf, type Schooling } from "../language/base.ts";
import type { BenchCase } from "./case.ts";

const runs = 8;

/** Updates of eight fine-tunings of a small language model, one after the other or as a gang: their quotient says what it gains. */
export function besideCase(schooling: Schooling, together: boolean): BenchCase {
  const { width, blocks, batch, context } = schooling;
  return {
    name: `${runs} runs, ${together ? "in a gang" : "one by one"}`,
    about: `an update each of ${runs} fine-tunings of ${blocks} blocks of width ${width}, ${batch} x ${context} tokens, rank 8, AdamW`,
    work: { operations: runs },
    async prepare(device) {
      const fresh = await fineTunings(schooling, device, undefined);
      const gang = together ? new Gang() : undefined;
      const own = gang ? await fineTunings(schooling, device, gang) : fresh;
      const all = async () => {
        if (gang) return gang.all(own);
        const losses: number[] = [];
        for (const run of own) losses.push(await run());
        return losses;
      };
      return {
        // What a gang gives is what runs alone give.
        async answers() {
          const expected: number[] = [];
          for (const run of gang ? fresh : await fineTunings(schooling, device, undefined))
            expected.push(await run());
          return [{ expected, got: await all() }];
        },
        async run() {
          await all();
          await device.backend.finish();
        },
      };
    },
  };
}

/** Functions that make the next update of a fine-tuning, and give its loss. They have the frozen weights in common. */
async function fineTunings(
  schooling: Schooling,
  device: Device,
  gang: Gang | undefined,
): Promise<readonly (() => Promise<number>)[]> {
  const { batch, context, vocabulary } = schooling;
  const base = models.decoder(models.architecture(configOf(schooling)));
  const frozenBase = await tree.evaluate(base.init(key(0)), device);
  const ids = (name: string) =>
    uniform(key(0).fold(name), [batch, context]).mul(vocabulary).floor().astype("int32");
  const examples = await tree.evaluate({ tokens: ids("tokens"), targets: ids("targets") }, device);
  const made: (() => Promise<number>)[] = [];
  for (let i = 0; i < runs; i++) {
    const recipe: Recipe = { r: 8, alpha: 8 + i, optimizer: { name: "adamw", lr: 1e-3 * (1 + i) } };
    const model = inject(base, { ...recipe, targetModules: "all-linear" });
    const start = await tree.evaluate(model.init(key(i), frozenBase), device);
    const [first, frozen] = trainable<Params>(recipe, start);
    const optimizer = optimizerOf(recipe, { updates: 1000 });
    const update = updateOf(languageLoss(model), optimizer, key(i), 1, { device, ...(gang && { gang }) });
    let [own, state, place] = [first, optimizer.init(first), 0];
    made.push(async () => {
      const after = await update.run(own, state, frozen, [examples], place++);
      [own, state] = [after.params, after.state];
      return after.report.loss;
    });
  }
  return made;
}
