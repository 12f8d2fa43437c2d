import { spawn } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { init, LorantzError, random, type Tensor, tensor, tree } from "../../src/index.ts";
import { saveBlob } from "../../src/io/index.ts";
import type * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import {
  type Checkpoint,
  inFolder,
  loadCheckpoint,
  type TrainOptions,
  train,
} from "../../src/train/index.ts";
import { bundle } from "../command.ts";
import { scratch } from "../scratch.ts";
import { thorough } from "../thorough.ts";

const { root: folder, fresh } = scratch("resume");
beforeAll(async () => {
  await init({ backend: "cpu" });
});

describe("a run that is killed", () => {
  const program = join(folder, "training.mjs");

  /** Runs until it ends, or until some milliseconds after its n-th line; resolves to its last line. */
  function start(place: string, kill?: { readonly line: number; readonly after: number }): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [program, place], { stdio: ["ignore", "pipe", "inherit"] });
      let text = "";
      child.stdout.on("data", (piece: Buffer) => {
        text += piece.toString();
        if (kill && text.split("\n").length > kill.line) setTimeout(() => child.kill("SIGKILL"), kill.after);
      });
      child.on("error", reject);
      child.on("close", () => resolve(text.trim().split("\n").at(-1)!));
    });
  }

  test("and resumed ends in the bits of the unbroken one", async () => {
    writeFileSync(program, await bundle("test/killed-training.ts"));
    const unbroken = await start(fresh());
    expect(unbroken).toMatch(/^end [0-9a-f]{16} [0-9a-f]{16} 24 /);
    const place = fresh();
    const kills = Array.from({ length: thorough ? 40 : 2 }, (_, i) => ({
      line: 1 + ((i * 5) % 3),
      after: [0, 1, 3, 8, 2, 20][i % 6]!,
    }));
    let ended = "";
    for (const kill of kills) {
      ended = await start(place, kill);
      if (ended.startsWith("end")) break;
    }
    if (!ended.startsWith("end")) ended = await start(place);
    expect(ended).toBe(unbroken);
    expect(
      readdirSync(place)
        .filter((name) => name.endsWith(".safetensors"))
        .sort(),
    ).toEqual(["best.safetensors", "last.safetensors"]);
  });
});

describe("a checkpoint", () => {
  type Params = { readonly w: Tensor; readonly frozen: Tensor };
  const options = (more: Partial<TrainOptions<Params, Tensor>> = {}): TrainOptions<Params, Tensor> => ({
    params: { w: random.normal(random.key(1), [4]), frozen: tensor([1, 2, 3, 4]) },
    loss: ({ w, frozen }, batch, { key }) => {
      const noise = key ? random.normal(key, [4]).mul(0.1) : 0;
      return w.mul(frozen).sub(batch).add(noise).square().mean() as Tensor;
    },
    trainable: (_, path) => path === "w",
    batches: { at: (i) => random.normal(random.key(2).fold(i), [4]), fingerprint: "normal numbers" },
    optimizer: optim.adamw({ lr: 0.1 }),
    steps: 9,
    about: { model: "four numbers" },
    ...more,
  });

  async function at(done: number): Promise<Checkpoint> {
    let found: Checkpoint | undefined;
    const save = async (_: string, checkpoint: Checkpoint) => {
      // Through a file, as the tensors are used up by the next update.
      if (checkpoint.done === done) found = await loadCheckpoint(await saveBlob(checkpoint));
    };
    await train(options({ checkpoint: { every: 1, save } })).toEnd();
    return found!;
  }

  test("of any step is gone on from to the same bits, with random numbers, moments and places", async () => {
    const whole = await train(options()).toEnd();
    for (const done of [1, 5, 9]) {
      const run = await train(options({ resume: await at(done) })).toEnd();
      expect(run.hash).toBe(whole.hash);
      expect(run.losses).toEqual(whole.losses);
      for (const part of ["params", "state"] as const)
        expect(await Promise.all(tree.leaves(run[part]).map((leaf) => leaf.toArray()))).toEqual(
          await Promise.all(tree.leaves(whole[part]).map((leaf) => leaf.toArray())),
        );
    }
  });

  test.each<[string, Partial<TrainOptions<Params, Tensor>>, string]>([
    ["steps", { steps: 10 }, "steps is 9 in the checkpoint and 10 now"],
    ["accumulation", { accumulate: 2 }, "accumulate is 1 in the checkpoint and 2 now"],
    [
      "a rate",
      { optimizer: optim.adamw({ lr: 0.2 }) },
      "optimizer.w.lr is 0.1 in the checkpoint and 0.2 now",
    ],
    [
      "an optimizer",
      { optimizer: optim.sgd({ lr: 0.1 }) },
      'optimizer.name is "adamw" in the checkpoint and "sgd" now',
    ],
    ["a key", { key: random.key(3) }, 'key is "0 0" in the checkpoint and "3 0" now'],
    [
      "data",
      { batches: { at: () => tensor([0, 0, 0, 0]), fingerprint: "zeros" } },
      'data is "normal numbers" in the checkpoint and "zeros" now',
    ],
    [
      "a model",
      { about: { model: "another" } },
      'about.model is "four numbers" in the checkpoint and "another" now',
    ],
    [
      "frozen weights",
      { params: { w: random.normal(random.key(1), [4]), frozen: tensor([1, 2, 3, 5]) } },
      "frozen.values is ",
    ],
    [
      "what is trained",
      { trainable: () => true },
      'trained.1 is not there in the checkpoint and "frozen float32[4]" now',
    ],
    [
      "an evaluation",
      { evaluate: { batches: [tensor([1, 1, 1, 1])], every: 3 } },
      "evaluation.every is not there in the checkpoint and 3 now",
    ],
  ])("is refused with other %s, and says what differs", async (_, more, message) => {
    await expect(train(options({ resume: await at(3), ...more })).toEnd()).rejects.toThrow(message);
  });

  test("names the field of a recipe that differs", async () => {
    const recipe = { r: 1, alpha: 1, trained: ["base"], optimizer: { name: "sgd", lr: 0.1 } } as const;
    const { optimizer: _, trainable: __, ...rest } = options({ steps: 2 });
    let found: Checkpoint | undefined;
    const save = async (_: string, checkpoint: Checkpoint) => {
      found = checkpoint;
    };
    await train({ ...rest, recipe, checkpoint: { save } }).toEnd();
    const other = { ...recipe, optimizer: { name: "sgd", lr: 0.2 } } as const;
    const again = options().params;
    await expect(train({ ...rest, params: again, recipe: other, resume: found! }).toEnd()).rejects.toThrow(
      "recipe.optimizer.lr is 0.1 in the checkpoint and 0.2 now",
    );
  });

  test("is written to a folder, and read back; another file is refused", async () => {
    const run = train(options({ checkpoint: { save: inFolder(folder) } }));
    const names: string[] = [];
    for await (const event of run) if (event.kind === "checkpoint") names.push(`${event.name} ${event.step}`);
    expect(names).toEqual(["last 9"]);
    expect((await loadCheckpoint(join(folder, "last.safetensors"))).done).toBe(9);
    await expect(loadCheckpoint(await saveBlob({ step: 3 }))).rejects.toThrow("no checkpoint of a training");
  });

  test("that was damaged, or has lost a part, is refused by an error of ours", async () => {
    const made = await at(3);
    const whole = new Uint8Array(await (await saveBlob(made)).arrayBuffer());
    const refused = async (file: ArrayBuffer | Blob, what: string) => {
      const found = await loadCheckpoint(file).catch((error: unknown) => error);
      if (found instanceof Error) expect(found, what).toBeInstanceOf(LorantzError);
      return found instanceof Error ? found.message : undefined;
    };
    const place = fc.record({
      at: fc.oneof(fc.nat(whole.length - 1), fc.integer({ min: -200, max: -1 })),
      by: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(place, async ({ at, by }) => {
        const bytes = Uint8Array.from(whole);
        bytes[(at + bytes.length) % bytes.length]! ^= by;
        // What stays the same by it is blanks of the header, or the order of names.
        if ((await refused(bytes.buffer, `byte ${at}`)) === undefined)
          expect((await loadCheckpoint(bytes.buffer)).sum).toBe(made.sum);
      }),
      { numRuns: thorough ? 2000 : 200 },
    );
    for (const name of ["setup", "done", "hash", "losses", "evaluations", "trained", "state", "sum"]) {
      const { [name]: _, ...rest } = made as unknown as Record<string, unknown>;
      for (const other of [{}, { [name]: null }, { [name]: [] }, { [name]: "x" }])
        if (name !== "evaluations" || !Array.isArray(other[name]))
          expect(await refused(await saveBlob({ ...rest, ...other }), name)).toMatch(/is damaged/);
    }
    const last = Uint8Array.from(whole);
    last[last.length - 1]! ^= 1;
    expect(await refused(last.buffer, "the last byte")).toMatch(/is damaged: what it holds is not what was/);
    const older = await saveBlob({ ...made, kind: "lorantz checkpoint 1" });
    expect(await refused(older, "kind")).toMatch(/is a "lorantz checkpoint 1", and this version goes on/);
  });

  test("of the smallest loss is kept beside the last", async () => {
    const kept: string[] = [];
    const save = async (name: string, { done }: Checkpoint) => {
      kept.push(`${name} ${done}`);
    };
    const losses = [5, 4, 3, 6, 2, 7];
    const run = train({
      params: { w: tensor(0) } as nn.Params,
      loss: (params: nn.Params, batch: Tensor) => (params.w as Tensor).mul(0).add(batch),
      batches: () => tensor(1),
      optimizer: optim.sgd({ lr: 1 }),
      steps: 5,
      evaluate: { batches: { at: () => tensor(losses.shift()!), count: 1 }, every: 1 },
      checkpoint: { every: 2, save },
    });
    await run.toEnd();
    expect(kept).toEqual(["best 1", "best 2", "last 2", "best 4", "last 4", "last 5"]);
    expect(run.best?.step).toBe(4);
  });

  test("cannot be made of a run that diverged", async () => {
    const run = train(options({ batches: () => tensor([Number.NaN, 0, 0, 0]) }));
    await expect(run.toEnd()).rejects.toThrow("not finite is w");
    await expect(run.checkpoint()).rejects.toThrow("not finite is w");
  });
});
