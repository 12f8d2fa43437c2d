import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lora from "../../src/lora/index.ts";
import * as models from "../../src/models/index.ts";
import type { Params } from "../../src/nn/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { compile } from "../../src/tensor/compile.ts";
import { tensor, zeros } from "../../src/tensor/creation.ts";
import { grad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { type ReferenceConfig, referenceLogits, type Weights } from "../decoder-reference.ts";
import { long } from "../long.ts";
import { everyNth } from "../thorough.ts";

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const llama = {
  vocab_size: 19,
  hidden_size: 16,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
} as const;
const heads8 = { ...llama, head_dim: 8 } as const;

/** Configurations that between them have every feature, of every family. */
const configs: Readonly<Record<string, ReferenceConfig>> = {
  gpt2: { model_type: "gpt2", vocab_size: 19, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 16 },
  "gpt2, scaled by block, untied": {
    ...{
      model_type: "gpt2",
      vocab_size: 19,
      n_embd: 16,
      n_layer: 3,
      n_head: 4,
      n_positions: 16,
      n_inner: 20,
    },
    ...{ scale_attn_by_inverse_layer_idx: true, tie_word_embeddings: false },
  },
  llama: { model_type: "llama", ...llama, rms_norm_eps: 1e-5, tie_word_embeddings: false },
  "llama with biases": {
    model_type: "llama",
    ...llama,
    attention_bias: true,
    mlp_bias: true,
    tie_word_embeddings: true,
  },
  "llama 3.1": {
    ...{ model_type: "llama", ...llama, rope_theta: 500 },
    rope_scaling: {
      ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
      original_max_position_embeddings: 32,
    },
  },
  "llama, linear scaling": { model_type: "llama", ...heads8, rope_scaling: { type: "linear", factor: 4 } },
  "llama, dynamic scaling, short": {
    ...{ model_type: "llama", ...heads8, max_position_embeddings: 8 },
    rope_scaling: { type: "dynamic", factor: 2 },
  },
  "llama, one head of keys": { model_type: "llama", ...heads8, num_key_value_heads: 1 },
  mistral: { model_type: "mistral", ...llama, sliding_window: 3 },
  qwen2: {
    model_type: "qwen2",
    ...llama,
    tie_word_embeddings: true,
    use_sliding_window: false,
    sliding_window: 2,
  },
  "qwen2 with windows": {
    model_type: "qwen2",
    ...llama,
    use_sliding_window: true,
    sliding_window: 2,
    max_window_layers: 1,
  },
  "qwen2, yarn": {
    ...{ model_type: "qwen2", ...heads8 },
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, beta_fast: 8 },
  },
  qwen3: { model_type: "qwen3", ...heads8, rms_norm_eps: 1e-6, rope_theta: 1000000 },
  phi3: { model_type: "phi3", ...llama, sliding_window: 4, original_max_position_embeddings: 64 },
  "phi3, partial": { model_type: "phi3", ...heads8, partial_rotary_factor: 0.5 },
  "phi3, short": {
    ...{ model_type: "phi3", ...llama, original_max_position_embeddings: 16 },
    rope_scaling: { type: "longrope", short_factor: [1, 1.5], long_factor: [2, 5] },
  },
  "phi3, long": {
    ...{ model_type: "phi3", ...llama, original_max_position_embeddings: 4 },
    rope_scaling: { type: "su", short_factor: [1, 1.5], long_factor: [2, 5] },
  },
  gemma: { model_type: "gemma", ...heads8, hidden_act: "gelu" },
  gemma2: {
    ...{ model_type: "gemma2", ...heads8, sliding_window: 3, query_pre_attn_scalar: 10 },
    ...{ attn_logit_softcapping: 0.05, final_logit_softcapping: 0.2 },
  },
  gemma3: {
    ...{
      model_type: "gemma3_text",
      ...heads8,
      num_hidden_layers: 3,
      sliding_window: 3,
      sliding_window_pattern: 2,
    },
    ...{ query_pre_attn_scalar: 6, rope_scaling: { rope_type: "linear", factor: 8 } },
  },
  "gemma3 by lists": {
    ...{ model_type: "gemma3_text", ...heads8, sliding_window: 3, query_pre_attn_scalar: 6 },
    layer_types: ["full_attention", "sliding_attention"],
  },
};

/** Weights in which nothing is small or zero: norms and biases are drawn too. */
function drawn(model: models.Decoder): Params {
  const key = random.key(5);
  return tree.map(model.init(key), (leaf, path) =>
    random
      .normal(key.fold(path), leaf.shape)
      .astype("float64")
      .mul(leaf.rank === 2 ? 0.4 : 0.3)
      .add(path.includes("norm") && leaf.rank === 1 ? 0.8 : 0),
  ) as Params;
}

async function readWeights(params: Params): Promise<Weights> {
  const read = new Map<string, { shape: readonly number[]; data: ArrayLike<number> }>();
  for (const [path, leaf] of tree.entries(params))
    read.set(path, { shape: leaf.shape, data: await leaf.data() });
  return (name) => {
    const found = read.get(name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  };
}

const int32 = (values: readonly (readonly number[])[]) =>
  tensor(Int32Array.from(values.flat()), { shape: [values.length, values[0]!.length], dtype: "int32" });

async function rows(logits: Tensor): Promise<number[][]> {
  const width = logits.shape.at(-1)!;
  const data = [...(await logits.data())];
  return Array.from({ length: data.length / width }, (_, i) => data.slice(i * width, (i + 1) * width));
}

function expectClose(actual: readonly (readonly number[])[], expected: readonly (readonly number[])[]): void {
  expect(actual.length).toBe(expected.length);
  const error = Math.max(...actual.flatMap((row, i) => row.map((x, j) => Math.abs(x - expected[i]![j]!))));
  expect(error).toBeLessThan(1e-9);
}

const sequence = [3, 1, 4, 1, 5, 9, 2, 6];

describe.each(everyNth(3, Object.entries(configs)))("%s", (_, config) => {
  const model = models.decoder(models.architecture(config));
  const params = drawn(model);

  test("has the logits of its definition, whole, packed, padded and cached", async () => {
    const weights = await readWeights(await tree.evaluate(params));
    const whole = referenceLogits(config, weights, sequence);

    // A whole row, and two examples in one row with padding behind them.
    const count = [0, 1, 2, 3, 4, 5, 6, 7];
    const { logits } = model.apply(params, {
      tokens: int32([sequence, [3, 1, 4, 7, 5, 2, 0, 0]]),
      positions: int32([count, [0, 1, 2, 0, 1, 2, 0, 0]]),
      segments: int32([count.map(() => 0), [0, 0, 0, 1, 1, 1, -1, -1]]),
    });
    const apart = [
      [3, 1, 4],
      [7, 5, 2],
    ].flatMap((tokens) => referenceLogits(config, weights, tokens, 7));

    // Five tokens at once, of which some places are wanted, then the rest.
    const empty = models.emptyCache(model.architecture, { batch: 1, slots: 10, dtype: "float64" });
    const of = (from: number, to: number) => int32([sequence.slice(from, to)]);
    const first = model.apply(params, { tokens: of(0, 5), cache: empty, at: int32([[1, 4]]) });
    const second = model.apply(params, { tokens: of(5, 8), cache: first.cache! });

    const parts = [first.logits, second.logits];
    await tree.evaluate([logits, parts]);
    expectClose((await rows(logits)).slice(0, 14), [...whole, ...apart]);
    expectClose(
      (await Promise.all(parts.map(rows))).flat(),
      [1, 4, 5, 6, 7].map((i) => whole[i]!),
    );
  });
});

test("dynamic scaling turns a sequence by its own length, up to a factor times the context", async () => {
  const config = {
    ...{ model_type: "llama", ...heads8, max_position_embeddings: 5 },
    rope_scaling: { rope_type: "dynamic", factor: 2 },
  };
  const model = models.decoder(models.architecture(config));
  const params = await tree.evaluate(drawn(model));
  const logits = async (tokens: readonly number[]) =>
    rows(model.apply(params, { tokens: int32([tokens]) }).logits);
  const weights = await readWeights(params);
  const plain = { ...config, rope_scaling: null };
  expectClose(await logits(sequence), referenceLogits(config, weights, sequence));
  expectClose(await logits(sequence.slice(0, 5)), referenceLogits(plain, weights, sequence.slice(0, 5)));
  for (const shape of [
    [1, 0],
    [0, 3],
  ]) {
    const { logits: none } = model.apply(params, { tokens: zeros(shape, { dtype: "int32" }) });
    expect(none.shape.slice(0, 2)).toEqual(shape);
    expect(await none.data()).toHaveLength(0);
  }
  expect(() => model.apply(params, { tokens: int32([[...sequence, 1, 2, 3]]) })).toThrow(
    "11 tokens; this llama was made for 10 positions",
  );
});

describe("a decoder", () => {
  const model = models.decoder(models.architecture(configs.llama));

  test("has the names of its checkpoint, which PEFT's targets mean", () => {
    const adapted = (config: Pick<lora.InjectConfig, "targetModules" | "layersToTransform">) =>
      lora.adaptedLayers(lora.inject(model, { r: 1, alpha: 1, ...config })).map(([path]) => path);
    expect(adapted({ targetModules: ["q_proj"], layersToTransform: [1] })).toEqual([
      "model.layers.1.self_attn.q_proj",
    ]);
    expect(adapted({ targetModules: ["embed_tokens", "lm_head"] })).toEqual([
      "model.embed_tokens",
      "lm_head",
    ]);
    expect(adapted({ targetModules: "all-linear" })).toHaveLength(14);
    expect(adapted({ targetModules: [/layers\.0\..*(gate|up)_proj/] })).toEqual([
      "model.layers.0.mlp.gate_proj",
      "model.layers.0.mlp.up_proj",
    ]);
  });

  test("an adapted decoder takes and gives what it did, with an adapter for each sample", async () => {
    const config = {
      r: 2,
      alpha: 4,
      init: "random",
      targetModules: ["q_proj", "v_proj", "embed_tokens"],
    } as const;
    const adapted = lora.injectNamed(model, { one: config, two: config });
    const params = adapted.init(random.key(1), drawn(model));
    const tokens = int32([sequence, sequence, sequence]);
    const choice = tensor([1, -1, 0], { dtype: "int32" });
    const mixed = await rows(lora.perSample(adapted, choice).apply(params, { tokens }).logits);
    const alone = async (names: string[]) =>
      rows(lora.setAdapter(adapted, names).apply(params, { tokens: int32([sequence]) }).logits);
    expectClose(mixed, [...(await alone(["two"])), ...(await alone([])), ...(await alone(["one"]))]);
  });

  test.each([
    ["tokens are missing", {}, "tokens is missing"],
    ["floats", { tokens: tensor([[1]]) }, "it is an int32 tensor"],
    [
      "a vector",
      { tokens: tensor([1], { dtype: "int32" }) },
      "tokens are int32[batch,length]; given int32[1]",
    ],
    [
      "positions of another shape",
      { tokens: int32([[1, 2]]), positions: int32([[1]]) },
      "positions are int32[1,1]",
    ],
    [
      "too many tokens",
      { tokens: int32([Array(65).fill(1)]) },
      "65 tokens; this llama was made for 64 positions",
    ],
    ["an unknown field", { tokens: int32([[1]]), mask: 1 }, "there is no option mask"],
  ])("refuses %s", (_, input, message) => {
    const params = model.init(random.key(0));
    expect(() => model.apply(params, input as models.DecoderInput)).toThrow(message);
  });
});

long("remat has the same gradients, bit for bit, and holds less", async () => {
  const deep = models.architecture({ ...configs.gemma3, num_hidden_layers: 6 });
  const tokens = int32([sequence, sequence]);
  const stepOf = (remat: boolean) => {
    const model = models.decoder(deep, { remat });
    return compile((params: Params) =>
      grad((params: Params) => model.apply(params, { tokens }).logits.square().mean())(params),
    );
  };
  const params = await tree.evaluate(models.decoder(deep).init(random.key(3)));
  const [plain, again] = [stepOf(false), stepOf(true)];
  const [one, other] = [await plain(params), await again(params)];
  for (const [i, [path, leaf]] of tree.entries(one).entries())
    expect([path, ...(await leaf.data())]).toEqual([path, ...(await tree.entries(other)[i]![1].data())]);
  const held = async (step: typeof plain) => (await step.plan(params)).intermediates;
  expect(await held(again)).toBeLessThan(0.3 * (await held(plain)));
});

describe("a configuration", () => {
  const base = configs.llama!;
  test.each([
    ["weights that MLX quantised", { ...base, quantization: { bits: 4 } }, "quantization (an object)"],
    ["pairs of neighbours", { ...base, rope_interleaved: true }, "rope_interleaved (true)"],
    ["no model_type", {}, "model_type is missing; there are gpt2, llama,"],
    ["another architecture", { model_type: "mamba" }, 'model_type is "mamba"'],
    ["pictures", { model_type: "gemma3" }, "give the text_config"],
    ["a missing size", { ...base, hidden_size: undefined }, "hidden_size is missing; expected"],
    [
      "an unknown field",
      { ...base, parallel_attention: true },
      "parallel_attention (true) is a field that Lorantz does not know",
    ],
    ["heads that are pruned", { ...configs.gpt2, pruned_heads: { 0: [1] } }, "pruned_heads (an object)"],
    ["another attention", { ...configs.phi3, full_attn_mod: 2 }, "full_attn_mod is 2; expected 1"],
    [
      "an unknown scaling",
      { ...base, rope_scaling: { rope_type: "ntk", factor: 2 } },
      "a scaling of that kind is unknown",
    ],
    ["an unknown activation", { ...base, hidden_act: "xielu" }, 'hidden_act is "xielu"'],
    ["quantised weights", { ...base, quantization_config: {} }, "quantization_config is an object"],
    [
      "both directions",
      { ...configs.gemma2, use_bidirectional_attention: true },
      "use_bidirectional_attention",
    ],
    [
      "more blocks than there can be",
      { ...base, num_hidden_layers: 1e9 },
      "num_hidden_layers is 1000000000; expected an integer from 1 to 10000",
    ],
    [
      "more heads",
      { ...configs.gpt2, n_head: 1e9 },
      "n_head is 1000000000; expected an integer from 1 to 65536",
    ],
    ["wider heads", { ...base, head_dim: 1e9 }, "heads of 1000000000 are more than the 65536"],
    ["an axis too long", { ...base, hidden_size: 1e12 }, "expected an integer from 1 to 2147483647"],
    [
      "more than a whole turned",
      { ...base, partial_rotary_factor: 1e9 },
      "partial_rotary_factor is 1000000000; it is a share",
    ],
    ["angles below 0", { ...base, rope_theta: -1 }, "rope_theta is -1; expected a finite number >= 0"],
    ["angles without a base", { ...base, rope_theta: 0 }, "rope_theta is 0; expected a finite number > 0"],
    ["a norm below 0", { ...base, rms_norm_eps: -1e-6 }, "rms_norm_eps is -0.000001; expected"],
    [
      "a window of part of a token",
      { ...base, model_type: "mistral", sliding_window: 2.5 },
      "sliding_window is 2.5; expected an integer from 1",
    ],
    [
      "a scaling by 0",
      { ...base, rope_scaling: { rope_type: "linear", factor: 0 } },
      "rope_scaling: factor is 0; expected a finite number > 0",
    ],
    ["heads that do not fit", { ...base, num_key_value_heads: 3 }, "4 heads cannot share 3 heads of keys"],
    [
      "an unknown number of a scaling",
      { ...base, rope_scaling: { rope_type: "linear", factor: 2, offset: 3 } },
      "offset (3)",
    ],
  ])("is refused with %s", (_, config, message) => {
    expect(() => models.architecture(config)).toThrow(message);
  });

  test("may hold what changes nothing, and fields that are off", () => {
    const more = {
      torch_dtype: "bfloat16",
      bos_token_id: 1,
      transformers_version: "4",
      parallel_attention: false,
    };
    expect(models.architecture({ ...base, ...more })).toEqual(models.architecture(base));
    const old = { output_past: true, pruned_heads: {}, num_return_sequences: 1, typical_p: 1 };
    expect(models.architecture({ ...configs.gpt2, ...old })).toEqual(models.architecture(configs.gpt2));
    const phi = { full_attn_mod: 1, interpolate_factor: 1, lm_head_bias: false };
    expect(models.architecture({ ...configs.phi3, ...phi })).toEqual(models.architecture(configs.phi3));
  });

  test("may say the base of angles twice, if both are the same", () => {
    const both = (inside: number) => ({
      ...{ ...base, rope_theta: 5000 },
      rope_parameters: { rope_type: "default", rope_theta: inside },
    });
    expect(models.architecture(both(5000))).toEqual(models.architecture({ ...base, rope_theta: 5000 }));
    expect(() => models.architecture(both(6000))).toThrow("its rope parameters say 6000");
  });

  test.each([
    ["gemma2", "attn_logit_softcapping", 50],
    ["gemma2", "final_logit_softcapping", 30],
    ["mistral", "sliding_window", 4096],
    ["mistral", "num_key_value_heads", 8],
    ["gemma", "num_key_value_heads", 16],
    ["gemma2", "num_key_value_heads", 4],
    ["gemma3_text", "num_key_value_heads", 4],
    ["qwen2", "num_key_value_heads", 32],
    ["qwen3", "num_key_value_heads", 32],
  ])("of %s without %s has %d, and with null none", (model_type, name, usual) => {
    const of = (value: number | null | undefined) =>
      models.architecture({
        ...{ model_type, vocab_size: 11, hidden_size: 64, intermediate_size: 8, num_hidden_layers: 2 },
        ...{ num_attention_heads: 64, num_key_value_heads: 8, head_dim: 4, [name]: value },
      });
    expect(of(undefined)).toEqual(of(usual));
    expect(of(null)).not.toEqual(of(usual));
    if (name === "num_key_value_heads") expect(of(null)).toEqual(of(64));
  });
});
