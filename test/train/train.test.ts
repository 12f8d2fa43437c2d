import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { Hash } from "../../src/base/hash.ts";
import {
  compile,
  type Device,
  init,
  pack,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  where,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as models from "../../src/models/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import {
  DivergedError,
  evaluator,
  type Loss,
  languageLoss,
  nextToken,
  type Terms,
  type TrainOptions,
  train,
} from "../../src/train/index.ts";
import { cases, runs } from "../thorough.ts";

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});

type Params = { readonly weight: Tensor; readonly bias: Tensor };
type Batch = { readonly x: Tensor; readonly targets: Tensor };

const classes = 5;
const params = (): Params => ({
  weight: random.normal(random.key(1), [classes, 3]).astype("float64"),
  bias: random.normal(random.key(2), [classes]).astype("float64"),
});
const logits = ({ weight, bias }: Params, { x }: Batch) => nn.functional.linear(x, weight, bias);
const byTerms: Loss<Params, Batch> = (own, batch) => nextToken(logits(own, batch), batch.targets);
const byMeans: Loss<Params, Batch> = (own, batch) => nn.crossEntropy(logits(own, batch), batch.targets);

/** Examples whose targets are classes, or -100 where they do not count. */
function batchOf(seed: number, rows: readonly (readonly number[])[]): Batch {
  const inputs = random
    .normal(random.key(seed), [rows.length, rows[0]!.length, 3])
    .astype("float64") as Tensor;
  return {
    x: inputs,
    targets: tensor(
      rows.map((row) => [...row]),
      { dtype: "int32" },
    ),
  };
}

const part = (whole: Batch, from: number, to: number): Batch => tree.map(whole, (x) => x.slice([from], [to]));

async function numbers(values: unknown): Promise<number[]> {
  return (await Promise.all(tree.leaves(values).map((leaf) => leaf.data()))).flatMap((data) => [...data]);
}

function furthest(found: readonly number[], expected: readonly number[]): number {
  expect(found.length).toBe(expected.length);
  return Math.max(...found.map((value, i) => Math.abs(value - expected[i]!)));
}

const run = (options: Partial<TrainOptions<Params, Batch>> & Pick<TrainOptions<Params, Batch>, "batches">) =>
  train<Params, Batch>({
    params: params(),
    loss: byTerms,
    optimizer: optim.adamw({ lr: 0.05 }),
    steps: 4,
    ...options,
  });

describe("accumulated gradients", () => {
  const target = fc.oneof(
    { weight: 2, arbitrary: fc.integer({ min: 0, max: classes - 1 }) },
    fc.constant(-100),
  );
  const rows = fc.array(fc.array(target, { minLength: 4, maxLength: 4 }), { minLength: 4, maxLength: 4 });

  test("are those of the large batch, whatever counts in its parts", async () => {
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 0, max: 99 }), async (targets, seed) => {
        fc.pre(targets.flat().some((each) => each >= 0));
        const whole = batchOf(seed, targets);
        const one = await run({ batches: () => whole }).toEnd();
        const four = await run({ batches: (i) => part(whole, i % 4, (i % 4) + 1), accumulate: 4 }).toEnd();
        const [expected, found] = [await numbers(one.params), await numbers(four.params)];
        expect(furthest(found, expected)).toBeLessThan(1e-11);
        expect(furthest(four.losses, one.losses)).toBeLessThan(1e-11);
      }),
      { numRuns: runs(12) },
    );
  });

  test("are not those of the large batch where each part is a mean of its own", async () => {
    const whole = batchOf(3, [
      [0, 1, 2, 3],
      [4, -100, -100, -100],
    ]);
    const halves = (i: number) => part(whole, i % 2, (i % 2) + 1);
    const one = await run({ batches: () => whole, steps: 1 }).toEnd();
    const means = await run({ loss: byMeans, batches: halves, accumulate: 2, steps: 1 }).toEnd();
    const terms = await run({ batches: halves, accumulate: 2, steps: 1 }).toEnd();
    expect(Math.abs(means.losses[0]! - one.losses[0]!)).toBeGreaterThan(1e-2);
    expect(terms.losses[0]!).toBeCloseTo(one.losses[0]!, 13);
  });

  test("have the norm of their sum, before it is clipped", async () => {
    const whole = batchOf(4, [
      [1, 2, -100, 0],
      [3, -100, -100, 4],
    ]);
    const plain = optim.sgd({ lr: 0.1 });
    const clipped: optim.Optimizer = {
      ...plain,
      update: (gradients, state, own) =>
        plain.update(optim.clipByGlobalNorm(gradients, 0.01).gradients, state, own),
    };
    const norms: number[] = [];
    for (const accumulate of [1, 2]) {
      const batches = accumulate === 1 ? () => whole : (i: number) => part(whole, i % 2, (i % 2) + 1);
      for await (const event of run({ batches, accumulate, optimizer: clipped, steps: 1 }))
        if (event.kind === "step") norms.push(event.norm);
    }
    const [, gradients] = valueAndGrad((own: Params) => byMeans(own, whole, {}) as Tensor)(params());
    const norm = Math.hypot(...(await numbers(gradients)));
    expect(norms[0]).toBeCloseTo(norm, 12);
    expect(norms[1]).toBeCloseTo(norm, 12);
  });
});

describe("a run", () => {
  const batches = [0, 1, 2, 3, 4, 5, 6].map((seed) =>
    batchOf(seed, [
      [seed % 5, 1, 2, -100],
      [3, 4, 0, 1],
    ]),
  );
  const at = (i: number) => batches[i % batches.length]!;

  test("is a loop written by hand, bit for bit, with dropout and a schedule", async () => {
    const base = nn.mlp([3, 8, classes]);
    const model = lora.inject(base, { r: 2, alpha: 4, dropout: 0.3, targetModules: "all-linear" });
    const fresh = () => model.init(random.key(3)) as nn.Params;
    const loss = (own: nn.Params, { x, targets }: Batch, context: nn.Context) =>
      nn.crossEntropy(model.apply(own, x.astype("float32"), context), targets);
    const optimizer = optim.adamw({ lr: 0.1, schedule: optim.schedule.cosine({ tMax: 9 }) });
    const key = random.key(7);
    const step = compile(
      (own: nn.Params, state: optim.OptimizerState, rest: nn.Params, batch: Batch, t: Tensor<"number">) => {
        const [value, gradients] = valueAndGrad((own: nn.Params) =>
          loss(tree.combine(rest, own), batch, { training: true, key: key.fold(t) }),
        )(own);
        const [updates, next] = optimizer.update(gradients, state, own);
        return { own: optim.applyUpdates(own, updates), state: next, value };
      },
    );
    let [own, rest] = lora.partition(fresh());
    let state = optimizer.init(own);
    const losses: number[] = [];
    for (let t = 0; t < 6; t++) {
      const after = await step(own, state, rest, at(t), t);
      ({ own, state } = after);
      losses.push(await after.value.item());
    }
    const trainable = (_: Tensor, path: string) => lora.roleOf(path) !== "base";
    const found = await train({
      params: fresh(),
      loss,
      optimizer,
      trainable,
      batches: at,
      steps: 6,
      key,
    }).toEnd();
    expect(found.losses).toEqual(losses);
    expect(await numbers(found.trained)).toEqual(await numbers(own));
  });

  test("tells of each update and evaluation, in order", async () => {
    const seen: string[] = [];
    for await (const { kind, step } of run({ batches: at, evaluate: { batches: [at(5)], every: 3 } }))
      seen.push(`${kind} ${step}`);
    expect(seen).toEqual([
      ...["evaluation 0", "step 1", "step 2", "step 3", "evaluation 3", "step 4", "evaluation 4"],
    ]);
  });

  test("goes on where it was broken off, with the same bits", async () => {
    const whole = await run({ batches: at, steps: 6 }).toEnd();
    const broken = run({ batches: at, steps: 6 });
    for await (const { step } of broken) if (step === 2) break;
    expect(broken.done).toBe(2);
    expect(broken.hash).not.toBe(whole.hash);
    await broken.toEnd();
    expect(broken.hash).toBe(whole.hash);
    expect(await numbers(broken.params)).toEqual(await numbers(whole.params));
  });

  test("has another hash for another trajectory", async () => {
    const hashes = new Set<string>();
    for (const lr of [0.05, 0.05, 0.05 * (1 + 2 ** -40)]) {
      const { hash } = await run({ batches: at, optimizer: optim.adamw({ lr }) }).toEnd();
      hashes.add(hash);
    }
    expect(hashes.size).toBe(2);
  });

  test("stops when evaluations get no better, and knows the best", async () => {
    const rising = optim.sgd({ lr: -0 });
    const climb: optim.Optimizer = {
      ...rising,
      update: (gradients, state) => [
        tree.map(gradients, (gradient) =>
          gradient.mul(state.step.lt(2).astype("float64").mul(2).sub(1)).neg(),
        ),
        { ...state, step: state.step.add(1) },
      ],
    };
    const found = await run({
      batches: () => at(0),
      optimizer: climb,
      steps: 50,
      evaluate: { batches: [at(0)], every: 1, patience: 3 },
    }).toEnd();
    expect(found.best?.step).toBe(2);
    expect(found.done).toBe(5);
    expect(found.ended).toBe(true);
  });

  test("takes its optimizer, schedule and what is trained from a recipe", async () => {
    const recipe = {
      r: 2,
      alpha: 4,
      optimizer: { name: "sgd", lr: 0.5 },
      trained: ["B"],
      schedule: { kind: "warmupLinear", warmup: 2, total: "end" },
      clip: { kind: "globalNorm", maxNorm: 0.1 },
    } as const;
    const model = lora.inject(nn.linear(3, classes), { ...recipe, targetModules: "all-linear" });
    const found = train({
      params: model.init(random.key(1)) as nn.Params,
      loss: (own: nn.Params, { x, targets }: Batch) =>
        nextToken(model.apply(own, x.astype("float32")), targets),
      recipe,
      batches: at,
      steps: 3,
    });
    const before = await numbers((found.params as { loraA: Tensor }).loraA);
    const sizes: number[] = [];
    for await (const _ of found)
      sizes.push(Math.hypot(...(await numbers((found.params as { loraB: Tensor }).loraB))));
    expect(await numbers((found.params as { loraA: Tensor }).loraA)).toEqual(before);
    expect(tree.entries(found.trained).map(([path]) => path)).toEqual(["loraB"]);
    expect(sizes[0]).toBe(0); // the first factor of a warm-up is 0
    expect(sizes[1]).toBeCloseTo(0.5 * 0.5 * 0.1, 5);
  });

  test("of no steps is at its end", async () => {
    expect((await run({ batches: at, steps: 0 }).toEnd()).losses).toEqual([]);
  });
});

describe("an evaluation", () => {
  test("weighs batches by what counts in them", async () => {
    const parts = [
      batchOf(1, [[0, 1, 2, 3]]),
      batchOf(2, [[4, -100, -100, -100]]),
      batchOf(3, [[-100, -100, -100, -100]]),
    ];
    const found = await evaluator(byTerms, { at: (i) => parts[i]!, count: 3 })(params());
    let [sum, right] = [0, 0];
    for (const batch of parts) {
      const rows = (await logits(params(), batch).reshape([4, classes]).toArray()) as number[][];
      const targets = await batch.targets.data();
      rows.forEach((row, i) => {
        const target = targets[i]!;
        if (target < 0) return;
        sum += Math.log(row.reduce((total, x) => total + Math.exp(x), 0)) - row[target]!;
        right += row.indexOf(Math.max(...row)) === target ? 1 : 0;
      });
    }
    expect(found.count).toBe(5);
    expect(found.loss).toBeCloseTo(sum / 5, 12);
    expect(found.perplexity).toBeCloseTo(Math.exp(sum / 5), 12);
    expect(found.accuracy).toBe(right / 5);
  });

  test("of nothing is an error", async () => {
    const nothing = { at: () => batchOf(3, [[-100, -100]]), count: 1 };
    await expect(evaluator(byTerms, nothing)(params())).rejects.toThrow("no target counts");
    expect(() => evaluator(byTerms, { at: () => batchOf(3, [[1, 2]]) })).toThrow("no count");
  });
});

describe("what is not finite", () => {
  const good = batchOf(1, [[0, 1, 2, 3]]);
  const poisoned = { ...good, x: good.x.mul(Number.NaN) };
  const batches = {
    at: (i: number) => (i === 2 ? poisoned : good),
    describe: (i: number) => `examples of ${i}`,
  };

  test.each([1, 2])("ends the run with step, batch and parameter (accumulate %i)", async (accumulate) => {
    const error: unknown = await run({ batches, accumulate })
      .toEnd()
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DivergedError);
    const { message, step, parameter } = error as DivergedError;
    expect(step).toBe(accumulate === 1 ? 3 : 2);
    expect(parameter).toBe("weight");
    expect(message).toContain(accumulate === 1 ? "batch 2 (examples of 2)" : "batches 2 to 3");
  });

  test("names the first parameter of which it is so", async () => {
    const loss: Loss<Params, Batch> = (own, batch) => {
      const { sum, count } = nextToken(logits(own, batch), batch.targets);
      // The gradient of a root at 0 is infinite, and its value is not.
      return { sum: sum.add(own.bias.sub(own.bias).mul(0).sum().sqrt()), count };
    };
    await expect(run({ loss, batches: () => good }).toEnd()).rejects.toThrow(
      /the first parameter whose gradient is not finite is bias/,
    );
  });

  test("names a frozen parameter that is the reason", async () => {
    const { weight, bias } = params();
    const spoilt = { weight: where(tensor([1, 0, 0]).gt(0), Number.NaN, weight), bias } as Params;
    const training = run({
      params: spoilt,
      trainable: (_, path) => path === "bias",
      batches: () => good,
    });
    await expect(training.toEnd()).rejects.toThrow("The frozen parameter weight is not finite itself");
  });

  test("is let through where that is asked for", async () => {
    const found = await run({ batches, nonFinite: "continue" }).toEnd();
    expect(found.losses.map(Number.isFinite)).toEqual([true, true, false, false]);
  });

  test("is told from a batch in which nothing counts", async () => {
    const empty = batchOf(1, [[-100, -100]]);
    await expect(run({ batches: () => empty }).toEnd()).rejects.toThrow(
      "batch 0, of step 1, no target counts",
    );
    await expect(run({ batches: () => empty, accumulate: 2 }).toEnd()).rejects.toThrow("no target counts");
  });
});

describe("the loss of a decoder with a large vocabulary", () => {
  const input = {
    tokens: tensor([[1, 5, 9, 8191]], { dtype: "int32" }),
    targets: tensor([[5, -100, 8191, 0]], { dtype: "int32" }),
  } as const;
  const of = (more: object) =>
    models.decoder(
      models.architecture({
        ...{
          model_type: "llama",
          vocab_size: 8192,
          hidden_size: 8,
          intermediate_size: 8,
          num_hidden_layers: 1,
        },
        ...{ num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 8, ...more },
      }),
    );

  const outputs = cases<readonly [name: string, more: object, targetModules: readonly string[]]>(
    [["the weight of the embedding", { tie_word_embeddings: true }, ["q_proj"]]],
    [
      ["an output weight of its own", {}, ["q_proj"]],
      ["an adapter on the output", {}, ["q_proj", "lm_head"]],
    ],
  );
  test.each(outputs)("is that of all logits, with its gradient: %s", async (_, more, targetModules) => {
    const model = lora.inject(of(more), { r: 2, alpha: 4, init: "random", targetModules });
    const [own, rest] = lora.partition(model.init(random.key(1)));
    const plain: Loss<nn.Params, typeof input> = (all, { targets, ...given }) =>
      nextToken(model.apply(all, given).logits, targets);
    const [found, expected] = [languageLoss(model), plain].map((loss) =>
      valueAndGrad((trained: nn.Params) => {
        const { sum, count } = loss(tree.combine<nn.Params>(rest, trained), input, {}) as Terms;
        return sum.div(count);
      })(own),
    );
    const [values, wanted] = [await numbers(found), await numbers(expected)];
    expect(wanted.some((x) => Math.abs(x) > 1e-5)).toBe(true);
    expect(furthest(values, wanted)).toBeLessThan(1e-5);
  });

  test("is that of the output weight where a model has one beside the embedding that it is tied to", async () => {
    const tied = of({ tie_word_embeddings: true });
    const params = {
      ...tied.init(random.key(1)),
      lm_head: { weight: random.normal(random.key(2), [8192, 8]) },
    };
    const { sum } = languageLoss(tied)(params, input, {}) as Terms;
    const { targets, ...given } = input;
    const expected = nextToken(tied.apply(params, given).logits, targets).sum;
    const [found, wanted] = [await sum.item(), await expected.item()];
    expect(Math.abs(found / wanted - 1)).toBeLessThan(1e-5);
  });

  test("keeps no logits for the backward pass", async () => {
    const tokens = tensor([Array(1024).fill(1)], { dtype: "int32" });
    const model = of({ max_position_embeddings: 1024 });
    const params = model.init(random.key(0));
    const kept = async (loss: Loss<nn.Params, typeof input>) => {
      const step = compile((all: nn.Params, ids: Tensor) =>
        valueAndGrad((embedded: Tensor) => {
          const body = all.model as nn.Params;
          const whole = { ...all, model: { ...body, embed_tokens: { weight: embedded } } };
          const { sum } = loss(whole, { tokens: ids, targets: ids } as never, {}) as Terms;
          return sum;
        })((all.model as { embed_tokens: { weight: Tensor } }).embed_tokens.weight),
      );
      return (await step.plan(params, tokens)).intermediates;
    };
    const all = await kept((own, { targets, ...given }) =>
      nextToken(model.apply(own, given).logits, targets),
    );
    expect(await kept(languageLoss(model))).toBeLessThan(all);
  });

  test("keeps none where the output weight is packed, and is the same", async () => {
    const ids = tensor([Array.from({ length: 1024 }, (_, i) => i)], { dtype: "int32" });
    const model = lora.inject(of({ max_position_embeddings: 1024 }), {
      ...{ r: 2, alpha: 4, init: "random", targetModules: ["q_proj"] },
    });
    const params = model.init(random.key(0));
    const head = pack((params.lm_head as { weight: Tensor }).weight, { format: "bfloat16" });
    const [own, rest] = lora.partition({ ...params, lm_head: { weight: head } } as nn.Params);
    const plain: Loss<nn.Params, typeof input> = (all, { targets, ...given }) =>
      nextToken(model.apply(all, given).logits, targets);
    const [found, expected] = [languageLoss(model), plain].map((loss) =>
      compile((trained: nn.Params, frozen: nn.Params) =>
        valueAndGrad((some: nn.Params) => {
          const all = tree.combine<nn.Params>(frozen, some);
          return (loss(all, { tokens: ids, targets: ids } as never, {}) as Terms).sum.div(1024);
        })(trained),
      ),
    );
    const [less, more] = [await found!.plan(own, rest), await expected!.plan(own, rest)];
    expect(less.intermediates).toBeLessThan(0.7 * more.intermediates);
    const [values, wanted] = [
      await numbers(await found!(own, rest)),
      await numbers(await expected!(own, rest)),
    ];
    expect(furthest(values, wanted)).toBeLessThan(1e-5);
  });
});

test("mistakes are named", () => {
  const good = { params: params(), loss: byTerms, batches: () => batchOf(1, [[1]]), steps: 3 };
  const optimizer = optim.sgd({ lr: 0.1 });
  expect(() => train({ ...good })).toThrow("neither an optimizer nor a recipe");
  expect(() =>
    train({ ...good, optimizer, recipe: { r: 1, alpha: 1, optimizer: { name: "sgd", lr: 1 } } }),
  ).toThrow("both");
  expect(() => train({ ...good, optimizer, steps: -1 })).toThrow("steps is -1; it is an integer >= 0");
  expect(() => train({ ...good, optimizer, batches: [] })).toThrow("list of batches is empty");
  expect(() => train({ ...good, optimizer, acumulate: 3 } as never)).toThrow("no option acumulate");
  expect(() => train({ ...good, optimizer, trainable: () => false })).toThrow(
    "nothing is trained: of 2 parameters",
  );
  expect(() => train({ ...good, recipe: { r: 1, alpha: 1, optimizer: { name: "sgd", lr: 1 } } })).toThrow(
    "none is of the recipe's adapters",
  );
  expect(() => train({ ...good, optimizer, evaluate: { batches: () => good.batches(), every: 1 } })).toThrow(
    "no count",
  );
});

test("runs where the device is told", async () => {
  const other = await init({ backend: "cpu" });
  const found = await run({ batches: () => batchOf(1, [[1, 2]]), device, steps: 1 }).toEnd();
  expect(found.done).toBe(1);
  other.dispose();
  device = await init({ backend: "cpu" });
});

test("hashes are FNV-1a, and go on", () => {
  expect(new Hash().toString()).toBe("cbf29ce484222325");
  expect(new Hash().add("a").toString()).toBe("af63dc4c8601ec8c");
  expect(new Hash().add("foobar").toString()).toBe("85944171f73967e8");
  expect(Hash.from(new Hash().add("foo").toString()).add("bar").toString()).toBe("85944171f73967e8");
});

test("no options are refused by name", () => {
  for (const none of [null, 5])
    expect(() => train(none as never)).toThrow("train: takes an object of options; given");
  expect(() => train(undefined as never)).toThrow("train: loss is missing");
});

test("batches that end before the steps are refused before any work", () => {
  const one = tensor([1, 2]);
  const options = {
    params: { w: tensor([1, 2]) },
    loss: ({ w }: { readonly w: Tensor }, x: Tensor) => w.mul(x).sum() as Tensor,
    optimizer: optim.sgd({ lr: 0.1 }),
    accumulate: 2,
  };
  expect(() => train({ ...options, batches: [one, one, one], steps: 2 })).toThrow(
    "train: there are 3 batches, and 2 steps of 2 take 4.",
  );
  expect(train({ ...options, batches: [one, one, one, one], steps: 2 }).steps).toBe(2);
});
