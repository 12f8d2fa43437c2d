import { existsSync } from "node:fs";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lora from "../../src/lora/index.ts";
import * as models from "../../src/models/index.ts";
import { nothing, sample } from "../../src/models/sample.ts";
import { spelling } from "../../src/models/spelling.ts";
import type { Params } from "../../src/nn/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import * as random from "../../src/tensor/random.ts";
import * as tree from "../../src/tensor/tree.ts";
import { expectGolden } from "../golden-texts.ts";
import { long } from "../long.ts";

const config = {
  ...{
    model_type: "gemma3_text",
    vocab_size: 23,
    hidden_size: 16,
    intermediate_size: 20,
    num_hidden_layers: 2,
  },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 48 },
  ...{ sliding_window: 5, sliding_window_pattern: 2, tie_word_embeddings: false },
};
const model = models.decoder(models.architecture(config));
/** Weights so large that the likeliest token changes from place to place. */
const drawn = () =>
  tree.map(model.init(random.key(2)), (leaf, path) =>
    random.normal(random.key(2).fold(path), leaf.shape).mul(leaf.rank === 2 ? 0.5 : 0.2),
  ) as Params;
const prompts = [[3, 1, 4, 1, 5, 9], [2], [7, 18, 2]];
const tokensOf = (made: readonly models.Completion[]) => made.map(({ tokens }) => tokens);

const shared = new URL("../../../shared/models/stories260K/", import.meta.url).pathname;
if (!existsSync(shared)) console.warn("greedy texts of stories260K: skipped, there is no ../shared");

describe("greedy texts", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  test("are the same with a cache and without, alone and in a batch", async () => {
    const params = drawn();
    const together = tokensOf(await models.complete(model, params, prompts, { maxTokens: 12 }));
    expect(new Set(together.flat()).size).toBeGreaterThan(3);
    const without = await models.complete(model, params, prompts, { maxTokens: 12, cache: false });
    expect(tokensOf(without)).toEqual(together);
    const alone = await models.complete(model, params, [prompts[1]!], { maxTokens: 12 });
    expect(tokensOf(alone)).toEqual([together[1]]);
  });

  test("are none where logits are NaN", async () => {
    const params = tree.map(drawn(), (leaf, path) =>
      path.endsWith("1.mlp.up_proj.weight") ? leaf.mul(Number.NaN) : leaf,
    ) as Params;
    for (const options of [{}, { cache: false }, { repetitionPenalty: 2 }, { temperature: 1 }])
      await expect(models.complete(model, params, prompts, { maxTokens: 2, ...options })).rejects.toThrow(
        /the logits of a token are NaN.* The parameter .*1\.mlp\.up_proj\.weight is not finite itself/,
      );
  });

  test.skipIf(!existsSync(shared))("of stories260K are the golden ones", { timeout: 120_000 }, () =>
    expectGolden(shared),
  );
});

describe("samples", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  const drawing = { maxTokens: 10, temperature: 1.2, topK: 8, topP: 0.9, minP: 0.01, repetitionPenalty: 1.3 };

  test("depend on seed, place and prompt, not on the others nor on the cache", async () => {
    const params = drawn();
    const one = tokensOf(await models.complete(model, params, prompts, { ...drawing, seed: 1 }));
    expect(tokensOf(await models.complete(model, params, prompts, { ...drawing, seed: 1 }))).toEqual(one);
    expect(tokensOf(await models.complete(model, params, prompts, { ...drawing, seed: 2 }))).not.toEqual(one);
    const fewer = await models.complete(model, params, prompts.slice(0, 2), {
      ...drawing,
      seed: 1,
      cache: false,
    });
    expect(tokensOf(fewer)).toEqual(one.slice(0, 2));
  });

  test("are drawn on the device that is given", async () => {
    const params = drawn();
    const expected = tokensOf(await models.complete(model, params, prompts, { ...drawing, seed: 1, device }));
    const other = await init({ backend: "cpu", threads: 1 });
    other.dispose(); // the default from now on, and of no use
    const options = { ...drawing, seed: 1, device };
    expect(tokensOf(await models.complete(model, params, prompts, options))).toEqual(expected);
    device.dispose();
    device = await init({ backend: "cpu" });
  });

  long("may have adapters of their own", async () => {
    const adapter = { r: 2, alpha: 8, init: "random", targetModules: ["q_proj", "down_proj"] } as const;
    const adapted = lora.injectNamed(model, { one: adapter, two: adapter });
    const params = adapted.init(random.key(9), drawn());
    const options = { maxTokens: 8 };
    const made = await models.complete(adapted, params, prompts, {
      ...options,
      adapters: ["two", null, "one"],
    });
    for (const [i, name] of ["two", null, "one"].entries()) {
      const alone = lora.setAdapter(adapted, name === null ? [] : [name]);
      const [own] = await models.complete(alone, params, [prompts[i]!], options);
      expect(made[i]!.tokens).toEqual(own!.tokens);
    }
  });

  test("end at stop tokens and stop texts, each on its own", async () => {
    const params = drawn();
    const decode = (ids: readonly number[]) => ids.map((id) => String.fromCharCode(97 + id)).join("");
    const all = tokensOf(await models.complete(model, params, prompts, { maxTokens: 12 }));
    const stop = all[0]![4]!;
    const ended = await models.complete(model, params, prompts, {
      maxTokens: 12,
      stopTokens: [stop],
      decode,
    });
    ended.forEach(({ tokens, text, end }, i) => {
      const at = all[i]!.indexOf(stop);
      expect(tokens).toEqual(at < 0 ? all[i] : all[i]!.slice(0, at + 1));
      expect(end).toBe(at < 0 ? "length" : "stop");
      expect(text).toBe(decode(at < 0 ? tokens : tokens.slice(0, -1)));
    });
    const word = decode(all[1]!.slice(3, 5));
    const texts = await models.complete(model, params, prompts, { maxTokens: 12, stop: [word], decode });
    texts.forEach(({ text, end }, i) => {
      const whole = decode(all[i]!);
      const at = whole.indexOf(word);
      expect(text).toBe(at < 0 ? whole : whole.slice(0, at));
      expect(end).toBe(at < 0 ? "length" : "stop");
    });
  });

  test.each([
    ["no prompts", [], {}, "prompts are []"],
    ["an empty prompt", [[]], {}, "prompt 0 has no tokens"],
    ["a foreign id", [[1], [23]], {}, "prompt 1 has the id 23; ids are integers from 0 to 22"],
    [
      "too long a text",
      [[1, 2]],
      { maxTokens: 47 },
      "the longest prompt has 2 tokens, and 47 more do not fit into the 48",
    ],
    ["stop texts without decode", [[1]], { stop: ["a"] }, "give decode too"],
    ["adapters without any", [[1]], { adapters: ["one"] }, "a model with adapters (lora.injectNamed)"],
    ["a share above 1", [[1]], { topP: 1.5 }, "topP is 1.5; it is a number > 0 and <= 1"],
    ["an unknown option", [[1]], { beams: 2 }, "no option beams"],
  ])("are refused with %s", async (_, prompts, options, message) => {
    const made = models.complete(
      model,
      model.init(random.key(0)),
      prompts,
      options as models.GenerateOptions,
    );
    await expect(made).rejects.toThrow(message);
  });
});

describe("a token", () => {
  const logit = fc.oneof(
    fc.double({ min: -20, max: 20, noNaN: true }),
    fc.integer({ min: -2, max: 2 }), // some are equal
    fc.constantFrom(Number.NaN, Number.NEGATIVE_INFINITY),
  );
  const logits = fc.array(logit, { minLength: 1, maxLength: 60 }).filter((x) => x.some(Number.isFinite));
  const fraction = fc.double({ min: 0.01, max: 1, noNaN: true });

  test("is drawn with its probability, among those that the filters leave", () => {
    fc.assert(
      fc.property(
        logits,
        fraction,
        fc.integer({ min: 1, max: 12 }),
        fraction,
        fraction,
        (x, temperature, topK, topP, minP) => {
          const order = x
            .map((_, i) => i)
            .filter((i) => !Number.isNaN(x[i]))
            .sort((i, j) => x[j]! - x[i]! || i - j)
            .slice(0, topK);
          const weights = order.map((i) => Math.exp((x[i]! - x[order[0]!]!) / temperature));
          const total = weights.reduce((a, b) => a + b, 0);
          const kept = order.filter((_, n) => {
            const before = weights.slice(0, n).reduce((a, b) => a + b, 0);
            return n === 0 || (before < topP * total && weights[n]! >= minP);
          });
          const mass = kept.reduce((sum, _, n) => sum + weights[n]!, 0);
          let from = 0;
          kept.forEach((token, n) => {
            const to = from + weights[n]! / mass;
            const middle = (from + to) / 2;
            if (to - from > 1e-9)
              expect(sample(x, [], middle, { temperature, topK, topP, minP })).toBe(token);
            from = to;
          });
        },
      ),
    );
  });

  test("is the likeliest without a temperature, and repetition costs", () => {
    expect(sample([1, 3, 2], [], 0.9, {})).toBe(1);
    expect(sample([1, 3, 2], [1], 0.9, { repetitionPenalty: 2 })).toBe(2);
    expect(sample([-1, -3], [0, 0], 0.9, { repetitionPenalty: 4 })).toBe(1);
    expect(sample([Number.NaN, Number.NaN], [], 0.5, { temperature: 1 })).toBe(nothing);
  });
});

describe("spelling", () => {
  const decode = (ids: readonly number[]) => new TextDecoder().decode(Uint8Array.from(ids));

  test("gives the text up to the first stop text, and nothing that it would take back", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("a", "b", "é", "€"), { maxLength: 12 }),
        fc.array(fc.stringMatching(/^[abé]{1,3}$/), { maxLength: 2 }),
        (letters, stops) => {
          const bytes = [...new TextEncoder().encode(letters.join(""))];
          const spelled = spelling([65], decode, stops);
          let text = "";
          let stopped = false;
          for (const byte of bytes) {
            const piece = spelled.add(byte);
            text += piece.text;
            expect(letters.join("").startsWith(text)).toBe(true);
            if (piece.stopped) {
              stopped = true;
              break;
            }
          }
          text += spelled.rest();
          const whole = letters.join("");
          const at = stops.map((stop) => whole.indexOf(stop)).filter((place) => place >= 0);
          expect(stopped).toBe(at.length > 0);
          if (!stopped) expect(text).toBe(whole);
          else for (const stop of stops) expect(text.includes(stop)).toBe(false);
        },
      ),
    );
  });
});
