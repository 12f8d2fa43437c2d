import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import * as models from "../src/models/index.ts";

/** Greedy tokens of a checkpoint's golden.json: with a cache and without, one sequence and a batch of unequal prompts. */
export async function expectGolden(folder: string): Promise<void> {
  const golden = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8"));
  const { model, params } = await models.load(folder);
  const tokens = async (prompts: number[][], options: models.GenerateOptions) =>
    (await models.complete(model, params, prompts, options)).map((made) => [...made.tokens]);
  const [first, ...story] = golden.greedyFromBos.ids as number[];
  expect(await tokens([[first!]], { maxTokens: story.length })).toEqual([story]);
  const wanted = golden.prompts.map(({ greedyIds }: { greedyIds: number[] }) => greedyIds);
  const prompts = golden.prompts.map(({ promptIds }: { promptIds: number[] }) => promptIds);
  expect(await tokens(prompts, { maxTokens: 100 })).toEqual(wanted);
  expect(await tokens(prompts, { maxTokens: 16, cache: false })).toEqual(
    wanted.map((ids: number[]) => ids.slice(0, 16)),
  );
}
