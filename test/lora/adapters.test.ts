import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import * as adapters from "../../src/adapters/index.ts";
import {
  init,
  LorantzError,
  ones,
  random,
  ShapeError,
  type Tensor,
  tensor,
  tree,
  ValueError,
} from "../../src/index.ts";
import { gguf, openFolder, safetensors } from "../../src/io/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as models from "../../src/models/index.ts";
import * as nn from "../../src/nn/index.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { everyNth, runs } from "../thorough.ts";

// Adapters of other tools: what is written is read back with its bits, and computes the same.

const { fresh } = scratch("adapters");
let device: Awaited<ReturnType<typeof init>>;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

let folder: string;
beforeEach(() => {
  folder = fresh();
});

/** A model with the names of a Llama: two blocks of width 8, 2 heads of which one is of keys and values. */
const block = () =>
  nn.sequential({
    self_attn: nn.sequential({
      q_proj: nn.linear(8, 8, { bias: false }),
      k_proj: nn.linear(8, 4, { bias: false }),
      o_proj: nn.linear(4, 8, { bias: false }),
    }),
    mlp: nn.sequential({ up_proj: nn.linear(8, 6), down_proj: nn.linear(6, 8, { bias: false }) }),
  });
const llama = () =>
  nn.sequential({
    model: nn.sequential({
      embed_tokens: nn.embedding(10, 8),
      layers: nn.sequential({ 0: block(), 1: block() }),
    }),
    lm_head: nn.linear(8, 10, { bias: false }),
  });
const base = { model_type: "llama", num_attention_heads: 2, num_key_value_heads: 1 };
const ids = tensor([3, 1, 4, 1, 5, 9], { dtype: "int32" });

const linears = ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"];
const made = new Map<string, ReturnType<typeof makeAdapted>>();

/** A model with a random adapter, both factors, and what it gives. */
function adapted(config: Partial<lora.InjectConfig> = {}) {
  const key = JSON.stringify(config);
  if (!made.has(key)) made.set(key, makeAdapted(config));
  return made.get(key)!;
}

async function makeAdapted(config: Partial<lora.InjectConfig>) {
  const net = llama();
  const model = lora.inject(net, {
    r: 2,
    alpha: 4,
    init: "random",
    targetModules: linears,
    ...config,
  });
  const frozen = net.init(random.key(1));
  const params = await tree.evaluate(model.init(random.key(2), frozen));
  let computed: Promise<Float32Array> | undefined;
  const logits = () => {
    computed ??= model.apply(params, ids).data() as Promise<Float32Array>; // its parameters are float32
    return computed;
  };
  return { net, frozen, model, params, logits, adapter: adapters.extract(model, params) };
}

/** What a model gives with an adapter from a file. */
async function logitsWith(net: nn.Layer, frozen: nn.Params, adapter: adapters.AdapterFile) {
  const { model, params } = adapters.inject(net, frozen, adapter);
  return model.apply(params, ids).data();
}

/** The numbers of an adapter by path. */
async function told({ modules, whole, rsLora }: adapters.AdapterFile) {
  const list = async (x: Tensor | undefined) => x && [x.dtype, ...x.shape, ...(await x.data())];
  const one = async ([path, m]: [string, adapters.AdapterModule]) => [
    path,
    [m.kind, m.r, m.alpha, rsLora, m.dtype],
    await list(m.loraA),
    await list(m.loraB),
    await list(m.loraBias),
    await list(m.loraMagnitude),
  ];
  const sorted = [...modules].sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    await Promise.all(sorted.map(one)),
    await Promise.all([...whole].map(async ([path, w]) => [path, w.dtype, await list(w.values)])),
  ];
}

const open = (name: string, options: adapters.FormatOptions = {}) =>
  adapters.open(join(folder, name), { base, ...options });
const write = (name: string, adapter: adapters.AdapterFile, to: adapters.FormatName) =>
  adapters.write(join(folder, name), adapter, to, { base });

describe("there and back", () => {
  test.each(adapters.formatNames)(
    "%s: files are read with the bits that were written, and written again",
    async (to) => {
      const { adapter, net, frozen, logits } = await adapted({ r: 2, alpha: 3 });
      await write("one", adapter, to);
      const read = await open("one");
      expect(read.format).toBe(to);
      expect(await told(read)).toEqual(await told(adapter));
      expect(await logitsWith(net, frozen, read)).toEqual(await logits());
      await write("two", read, to);
      for (const name of readdirSync(join(folder, "one")))
        expect(readFileSync(join(folder, "two", name)), name).toEqual(
          readFileSync(join(folder, "one", name)),
        );
    },
  );

  const pairs = adapters.formatNames.flatMap((a) => adapters.formatNames.map((b) => [a, b] as const));
  test.each(everyNth(3, pairs))("%s, then %s: the same bits", async (a, b) => {
    const { adapter } = await adapted({ r: 4, alpha: 6 });
    await write("a", adapter, a);
    await write("b", await open("a"), b);
    await write("back", await open("b"), a);
    expect(await told(await open("back"))).toEqual(await told(adapter));
  });

  test.each(everyNth(3, adapters.formatNames))(
    "%s: patterns and rsLoRA give the same function",
    async (to) => {
      // Multipliers 4, 1/2 and 8: powers of two, so that what goes into B is exact.
      const config = {
        r: 4,
        alpha: 8,
        rsLora: true,
        rankPattern: { "layers\\.0\\.self_attn\\..*": 16 },
        alphaPattern: { up_proj: 1, q_proj: 32 },
      };
      const { adapter, net, frozen, logits } = await adapted(config);
      const multipliers = new Set(
        [...adapter.modules.values()].map((m) => adapters.multiplierOf(adapter, m)),
      );
      expect([...multipliers].sort((a, b) => a - b)).toEqual(
        [0.5, 2, 4, 8, 16].filter((s) => multipliers.has(s)),
      );
      expect(multipliers.size).toBeGreaterThan(2);
      await write("a", adapter, to);
      const read = await open("a");
      expect(await logitsWith(net, frozen, read)).toEqual(await logits());
      // What a consumer reads that knows the plain numbers only.
      const baked = await adapters.bake(adapter);
      expect(new Set([...baked.modules.values()].map(({ alpha }) => alpha)).size).toBe(1);
      expect(baked.rsLora).toBe(false);
      expect(await logitsWith(net, frozen, baked)).toEqual(await logits());
    },
  );

  test.each(everyNth(3, adapters.formatNames))("%s: other multipliers to rounding", async (to) => {
    const config = { r: 3, alpha: 5, rsLora: true, alphaPattern: { up_proj: 7 } };
    const { adapter, net, frozen, logits } = await adapted(config);
    await write("a", adapter, to);
    const found = await logitsWith(net, frozen, await open("a"));
    const wanted = await logits();
    for (const [i, x] of wanted.entries())
      expect(Math.abs(found[i]! - x)).toBeLessThan(1e-5 * Math.max(...wanted.map(Math.abs)));
  });

  test("any shared multiplier keeps the bits of the factors through any two forms", async () => {
    const names = fc.constantFrom(...adapters.formatNames);
    await fc.assert(
      fc.asyncProperty(
        names,
        names,
        fc.constantFrom(1, 3, 5),
        fc.float({ min: 0.125, max: 64, noNaN: true }),
        async (a, b, r, alpha) => {
          const { adapter: one } = await adapted({ r, targetModules: ["q_proj", "down_proj"] });
          const adapter = {
            ...one,
            modules: new Map([...one.modules].map(([path, m]) => [path, { ...m, alpha }])),
          };
          const through = async (given: adapters.AdapterFile, to: adapters.FormatName) => {
            const blobs = await adapters.toBlobs(given, to, { base });
            const files = Object.entries(blobs).map(([name, blob]) => new File([blob], name));
            return adapters.open(await openFolder(files), { base });
          };
          const back = await through(await through(adapter, a), b);
          for (const [path, { loraA, loraB }] of adapter.modules) {
            const found = back.modules.get(path)!;
            expect(await found.loraA.data()).toEqual(await loraA.data());
            expect(await found.loraB.data()).toEqual(await loraB.data());
            const [s, t] = [
              adapters.multiplierOf(adapter, adapter.modules.get(path)!),
              adapters.multiplierOf(back, found),
            ];
            expect(Math.abs(s - t)).toBeLessThanOrEqual(2 ** -51 * s);
          }
        },
      ),
      { numRuns: runs(30) },
    );
  });

  long("DoRA, the branch bias, embeddings and whole parameters, where a form has them", async () => {
    const dora = await adapted({ dora: true });
    for (const to of ["peft", "mlx"] as const) {
      await write(to, dora.adapter, to);
      expect(await told(await open(to))).toEqual(await told(dora.adapter));
      expect(await logitsWith(dora.net, dora.frozen, await open(to))).toEqual(await dora.logits());
    }
    for (const to of ["kohya", "gguf"] as const)
      await expect(write("no", dora.adapter, to)).rejects.toThrow(
        /has no place for the magnitude \(DoRA\) of model\.layers\.0/,
      );

    const embedded = await adapted({ targetModules: ["embed_tokens", "q_proj"] });
    for (const to of ["peft", "mlx", "gguf"] as const) {
      await write(`e-${to}`, embedded.adapter, to);
      expect(await told(await open(`e-${to}`))).toEqual(await told(embedded.adapter));
      expect(await logitsWith(embedded.net, embedded.frozen, await open(`e-${to}`))).toEqual(
        await embedded.logits(),
      );
    }
    await expect(write("no", embedded.adapter, "kohya")).rejects.toThrow(/the embedding model\.embed_tokens/);

    const biased = await adapted({ branchBias: true });
    await write("biased", biased.adapter, "peft");
    expect(await logitsWith(biased.net, biased.frozen, await open("biased"))).toEqual(await biased.logits());
    await expect(write("no", biased.adapter, "mlx")).rejects.toThrow(/the branch bias of/);

    const { model, params, net, frozen } = await adapted();
    const bias = tensor([1, 2, 3, 4, 5, 6]);
    const head = random.normal(random.key(5), [10, 8]);
    const whole = { "model.layers.1.mlp.up_proj.bias": bias, "lm_head.weight": head };
    const adapter = adapters.extract(model, params, { whole, config: { task_type: "CAUSAL_LM" } });
    await write("whole", adapter, "peft");
    const config = JSON.parse(readFileSync(join(folder, "whole", "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({
      bias: "lora_only",
      modules_to_save: ["lm_head"],
      task_type: "CAUSAL_LM",
      r: 2,
      lora_alpha: 4,
    });
    const read = adapters.inject(net, frozen, await open("whole"));
    expect((read.params as { lm_head: { weight: Tensor } }).lm_head.weight.shape).toEqual([10, 8]);
    const names = (await safetensors.open(join(folder, "whole", "adapter_model.safetensors"))).names;
    expect(names).toContain("base_model.model.model.layers.1.mlp.up_proj.base_layer.bias");
    expect([...(await open("whole")).whole.keys()].sort()).toEqual(Object.keys(whole).sort());
    await expect(write("no", adapter, "gguf")).rejects.toThrow(/lm_head\.weight/);
  });

  test("values of 16 bits stay, and are widened where a factor would round them", async () => {
    const { adapter } = await adapted({ alphaPattern: { q_proj: 8, k_proj: 12 } });
    const modules = new Map([...adapter.modules].map(([path, m]) => [path, { ...m, dtype: "BF16" }]));
    await write("a", { ...adapter, modules }, "peft");
    const read = await open("a");
    await write("again", read, "peft");
    const weights = (name: string) => readFileSync(join(folder, name, "adapter_model.safetensors"));
    expect(weights("again")).toEqual(weights("a"));
    const scaled = await adapters.convert(read, "mlx");
    const dtypes = [...scaled.modules].map(([path, { dtype }]) => `${path.split(".").at(-1)} ${dtype}`);
    expect([...new Set(dtypes)].sort()).toEqual([
      "down_proj BF16",
      "k_proj F32",
      "o_proj BF16",
      "q_proj BF16",
      "up_proj BF16",
    ]);
  });
});

describe("the form of each tool", () => {
  test("PEFT's fields are kept, and refused where they change the function", async () => {
    const { adapter } = await adapted();
    await write("a", adapter, "peft");
    const path = join(folder, "a", "adapter_config.json");
    const config = {
      ...JSON.parse(readFileSync(path, "utf8")),
      eva_config: { x: [1] },
      peft_version: "0.20.0",
      r: 2,
      new_field: null,
    };
    writeFileSync(path, JSON.stringify(config));
    await write("b", await open("a"), "peft");
    expect(JSON.parse(readFileSync(join(folder, "b", "adapter_config.json"), "utf8"))).toEqual(config);
    const refused: readonly (readonly [change: object, message: RegExp])[] = [
      [{ layer_replication: [[0, 2]] }, /the field layer_replication is .* not implemented/],
      [{ alora_invocation_tokens: [1] }, /alora_invocation_tokens/],
      [{ target_parameters: ["mlp.experts"] }, /target_parameters/],
      [{ trainable_token_indices: [5] }, /trainable_token_indices/],
      [{ use_qalora: true }, /use_qalora is true/],
      [{ use_from_the_future: 3 }, /use_from_the_future is 3/],
      [
        { init_lora_weights: "pissa_niter_4" },
        /init_lora_weights is "pissa_niter_4", which changed the weights/,
      ],
      [{ peft_type: "IA3" }, /peft_type is "IA3"/],
      [{ use_dora: true }, /use_dora is true, and model.* has no magnitude/],
      [{ r: 4 }, /is to have the rank 4, and its tensors have 2/],
      [{ lora_alpha: "x" }, /lora_alpha is "x"; it is a number/],
      [{ use_rslora: "true" }, /use_rslora is "true"; it is true or false/],
      [{ fan_in_fan_out: 1 }, /fan_in_fan_out is 1; it is true or false/],
      [{ alpha_pattern: { "(": 1 } }, /pattern "\(" is not a regular expression/],
    ];
    for (const [change, message] of refused) {
      writeFileSync(path, JSON.stringify({ ...config, ...change }));
      await expect(open("a"), JSON.stringify(change)).rejects.toThrow(message);
      await expect(open("a")).rejects.toThrow(ValueError);
    }
    rmSync(join(folder, "a", "adapter_model.safetensors"));
    writeFileSync(path, JSON.stringify(config));
    await expect(open("a")).rejects.toThrow(
      /there is no file adapter_model.safetensors; it has adapter_config.json/,
    );
    writeFileSync(join(folder, "a", "adapter_model.bin"), "");
    await expect(open("a")).rejects.toThrow(/a pickle, adapter_model\.bin/);
  });

  test("names of a PEFT model's state are read too", async () => {
    const { adapter } = await adapted({ dora: true });
    await write("a", adapter, "peft");
    const path = join(folder, "a", "adapter_model.safetensors");
    const file = await safetensors.open(path);
    const entries = file.names.map((name) => {
      const own = name
        .replace(/(lora_[AB]|lora_magnitude_vector)/, "$1.default")
        .replace(/vector\.default$/, "$&.weight");
      return [own, { ...file.info(name), data: () => file.bytes(name) }] as const;
    });
    await safetensors.write(join(folder, "b", "adapter_model.safetensors"), Object.fromEntries(entries));
    writeFileSync(
      join(folder, "b", "adapter_config.json"),
      readFileSync(join(folder, "a", "adapter_config.json")),
    );
    expect(await told(await open("b"))).toEqual(await told(adapter));
  });

  test("whatever the fields of a configuration are, it is read, or refused by an error of ours", async () => {
    const { adapter } = await adapted({ targetModules: ["q_proj"] });
    for (const to of ["peft", "mlx"] as const) {
      await write(to, adapter, to);
      const files = readdirSync(join(folder, to)).map(
        (name) => new File([readFileSync(join(folder, to, name))], name),
      );
      const [config, weights] = files as [File, File];
      const fields = JSON.parse(await config.text()) as object;
      const known = fc.constantFrom(...Object.keys(fields), "lora_parameters", "use_dora", "new_field");
      await fc.assert(
        fc.asyncProperty(fc.dictionary(known, fc.jsonValue({ maxDepth: 2 })), async (change) => {
          const changed = new File([JSON.stringify({ ...fields, ...change })], config.name);
          const read = await adapters
            .open(await openFolder([changed, weights]), { base })
            .catch((error: unknown) => error);
          if (read instanceof Error) expect(read).toBeInstanceOf(LorantzError);
          else expect((read as adapters.AdapterFile).modules.size).toBe(2);
        }),
        { numRuns: runs(200) },
      );
    }
  });

  test("patterns of PEFT are read as PEFT reads them, and unused ones are no error", async () => {
    const { adapter } = await adapted({ targetModules: ["q_proj", "up_proj"] });
    await write("a", adapter, "peft");
    const path = join(folder, "a", "adapter_config.json");
    const config = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(
      path,
      JSON.stringify({ ...config, alpha_pattern: { nothing: 1, "layers.0.*": 32, q_proj: 64 } }),
    );
    const alphas = [...(await open("a")).modules].map(([p, { alpha }]) => [p.slice(13), alpha]);
    expect(Object.fromEntries(alphas)).toEqual({
      "0.mlp.up_proj": 32,
      "0.self_attn.q_proj": 32,
      "1.mlp.up_proj": 4,
      "1.self_attn.q_proj": 64,
    });
  });

  test("kohya: no alpha, or 0, is the rank; names are known, given or guessed", async () => {
    const down = tensor([[1, 2]]);
    const up = tensor([[3], [4]]);
    const name = "lora_unet_down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_q";
    const file = (more: Readonly<Record<string, Tensor>>) =>
      safetensors.toBlob({ [`${name}.lora_down.weight`]: down, [`${name}.lora_up.weight`]: up, ...more });
    for (const [more, alpha] of [
      [{}, 1],
      [{ [`${name}.alpha`]: tensor(0) }, 1],
      [{ [`${name}.alpha`]: tensor(0.5) }, 0.5],
    ] as const) {
      const read = await adapters.open(await file(more));
      const [[path, module]] = [...read.modules] as [[string, adapters.AdapterModule]];
      expect([path, module.alpha]).toEqual([
        "down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_q",
        alpha,
      ]);
      expect(read.notes[0]).toMatch(/the paths of 1 modules are guessed/);
    }
    const path = "down_blocks.0.attentions.1.transformer.blocks_0.attn1.to_q";
    const known = await adapters.open(await file({}), { paths: [path] });
    expect([[...known.modules.keys()], known.notes]).toEqual([[path], []]);
    const dotted = await adapters.open(
      await safetensors.toBlob({
        "transformer.a_b.lora_A.weight": down,
        "transformer.a_b.lora_B.weight": up,
        "transformer.a_b.alpha": tensor(3),
      }),
    );
    expect([...dotted.modules].map(([p, { alpha }]) => [p, alpha])).toEqual([["transformer.a_b", 3]]);
    await expect(adapters.open(await file({ [`${name}.dora_scale`]: up }))).rejects.toThrow(
      /DoRA is not implemented in this form/,
    );
    await expect(adapters.open(await file({ "lora_te_x.alpha": tensor(1) }))).rejects.toThrow(
      /has an alpha, and no factors/,
    );
    await expect(
      adapters.open(await safetensors.toBlob({ [`${name}.lora_down.weight`]: down })),
    ).rejects.toThrow(/has its A, and no B/);
  });

  test("diffusers: multipliers stand in a text of the header, for each part of a pipeline", async () => {
    const [down, up] = [ones([4, 2]), ones([2, 4])];
    const file = (settings: object, more: Readonly<Record<string, Tensor>> = {}) =>
      safetensors.toBlob(
        Object.fromEntries([
          ...["transformer.a.q", "transformer.a.k", "text_encoder.a.q", "vae.a"].flatMap((path) => [
            [`${path}.lora_A.weight`, down],
            [`${path}.lora_B.weight`, up],
          ]),
          ...Object.entries(more),
        ]) as Record<string, Tensor>,
        { metadata: { format: "pt", lora_adapter_metadata: JSON.stringify(settings) } },
      );
    const settings = {
      ...{ "transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": { k: 12 } },
      ...{ "text_encoder.r": 4, "text_encoder.lora_alpha": 6, "text_encoder.use_rslora": true },
    };
    const read = await adapters.open(await file(settings));
    const multipliers = (adapter: adapters.AdapterFile) =>
      Object.fromEntries(
        [...adapter.modules].map(([path, module]) => [path, adapters.multiplierOf(adapter, module)]),
      );
    const expected = { "transformer.a.q": 2, "transformer.a.k": 3, "text_encoder.a.q": 3, "vae.a": 1 };
    expect(multipliers(read)).toEqual(expected);
    await write("again", read, "kohya");
    const again = await open("again");
    expect(multipliers(again)).toEqual(expected);
    expect(again.metadata).not.toHaveProperty("lora_adapter_metadata");
    const plain = await adapters.open(await file({ r: 4, lora_alpha: 12 }));
    expect(multipliers(plain)).toMatchObject({ "transformer.a.q": 3, "vae.a": 3 });

    const alpha = (value: number) => ({ "transformer.a.q.alpha": tensor(value) });
    expect((await adapters.open(await file(settings, alpha(8)))).modules.size).toBe(4);
    for (const [blob, message] of [
      [await file(settings, alpha(4)), /transformer.a.q has the alpha 4, and the text .* gives it 8/],
      [await file({ ...settings, "transformer.r": 8 }), /is to have the rank 8, and its tensors have 4/],
      [await file({ ...settings, "transformer.layer_replication": [[0, 1]] }), /layer_replication/],
      [await file([]), /is no object/],
    ] as const)
      await expect(adapters.open(blob)).rejects.toThrow(message);
  });

  test("MLX-LM: what older versions wrote", async () => {
    const { adapter } = await adapted({ dora: true, targetModules: ["q_proj"] });
    await write("a", adapter, "mlx");
    const path = join(folder, "a", "adapter_config.json");
    const { fine_tune_type, lora_parameters } = JSON.parse(readFileSync(path, "utf8"));
    expect(fine_tune_type).toBe("dora");
    const old = (more: object) =>
      writeFileSync(
        path,
        JSON.stringify({ use_dora: true, lora_parameters: { ...lora_parameters, ...more } }),
      );
    old({});
    expect(await told(await open("a"))).toEqual(await told(adapter));
    old({ alpha: 16 });
    expect((await open("a")).notes.join()).toMatch(/alpha is 16: MLX-LM once multiplied scale by alpha/);
  });

  test("GGUF: no alpha, or 0, is a multiplier of 1; heads are asked for where rows move", async () => {
    const { adapter } = await adapted();
    await write("a", adapter, "gguf");
    const file = await gguf.open(join(folder, "a", "adapter.gguf"));
    const entries = Object.fromEntries(
      file.names.map((name) => [name, { ...file.info(name), data: () => file.bytes(name) }]),
    );
    for (const value of [undefined, 0]) {
      const { "adapter.lora.alpha": _, ...rest } = file.metadata;
      const fields =
        value === undefined ? rest : { ...rest, "adapter.lora.alpha": { type: "float32", value } as const };
      const read = await adapters.open(await gguf.toBlob(entries, fields), { base });
      expect(new Set([...read.modules.values()].map((m) => adapters.multiplierOf(read, m)))).toEqual(
        new Set([1]),
      );
    }
    await expect(adapters.open(join(folder, "a"))).rejects.toThrow(/Give the folder of the base model/);
    await expect(adapters.write(folder, adapter, "gguf")).rejects.toThrow(
      /names the architecture of its model/,
    );
    const model = await gguf.toBlob({}, { "general.type": { type: "string", value: "model" } });
    await expect(adapters.open(model)).rejects.toThrow(/general\.type is "model"; it is "adapter"/);
  });

  test("an adapter of another model is refused by names and shapes", async () => {
    const { adapter, net, frozen } = await adapted();
    const modules = new Map(adapter.modules);
    modules.set("model.layers.7.mlp.up_proj", modules.get("model.layers.0.mlp.up_proj")!);
    modules.set("model.layers.0.self_attn.q_proj", modules.get("model.layers.0.self_attn.k_proj")!);
    const act = () => adapters.inject(net, frozen, { ...adapter, modules });
    expect(act).toThrow(ShapeError);
    expect(act).toThrow(
      /of its 11 modules, 2 do not fit: .*q_proj takes 8 and gives 8 values, and its factors 8 and 4/i,
    );
    expect(act).toThrow(/model\.layers\.7\.mlp\.up_proj is not there/);
  });

  test("what is no adapter is refused", async () => {
    await expect(adapters.open(folder)).rejects.toThrow(/expected adapter_config\.json, or a single/);
    writeFileSync(join(folder, "adapter_config.json"), "{}");
    await expect(adapters.open(folder)).rejects.toThrow(/of neither PEFT .* nor MLX-LM/);
    await expect(adapters.open(await safetensors.toBlob({ weight: ones([2, 2]) }))).rejects.toThrow(
      /the tensor "weight" is not known/,
    );
    const { adapter } = await adapted();
    await expect(adapters.write(folder, adapter, "onnx" as "peft")).rejects.toThrow(
      /one of peft, mlx, kohya, gguf/,
    );
  });
});

const shared = new URL("../../../shared/models/stories260K/adapters/", import.meta.url).pathname;
describe.skipIf(!existsSync(shared))("adapters made elsewhere", () => {
  const heads = { model_type: "llama", num_attention_heads: 8, num_key_value_heads: 4 };
  const from = (name: string) => adapters.open(join(shared, name), { base: heads });

  test("three forms of one adapter are the same, bit for bit", async () => {
    const [peft, mlx, gguf] = await Promise.all(
      ["peft", "mlx", "gguf"].map((tool) => from(`${tool}_all_linear_adamw`)),
    );
    expect(peft!.modules.size).toBe(35);
    expect(await told(mlx!)).toEqual(await told(peft!));
    expect(await told(gguf!)).toEqual(await told(peft!));
  });

  test("each is written as it was read", async () => {
    for (const name of [
      "peft_all_linear_adamw",
      "peft_qv_rslora",
      "mlx_all_linear_adamw",
      "gguf_all_linear_adamw",
    ]) {
      const read = await from(name);
      await adapters.write(join(folder, name), read, undefined, { base: heads });
      const again = await adapters.open(join(folder, name), { base: heads });
      expect(await told(again)).toEqual(await told(read));
      expect(again.config).toEqual(read.config);
      // The same bytes, where the tool has an order of its own for them.
      for (const file of ["adapter_model.safetensors", "adapter.gguf"].filter((file) =>
        existsSync(join(shared, name, file)),
      ))
        expect(
          readFileSync(join(folder, name, file)).equals(readFileSync(join(shared, name, file))),
          file,
        ).toBe(true);
    }
    const rs = await from("peft_qv_rslora");
    expect(adapters.multiplierOf(rs, rs.modules.get("model.layers.0.self_attn.q_proj")!)).toBe(4);
  });

  interface Logits {
    readonly path: string;
    readonly firstLogits?: readonly number[];
    readonly lastLogits?: readonly number[];
    readonly sameLogitsAs?: string;
  }

  long("they compute what is expected of them, and so do conversions and the merged model", async () => {
    const expected = JSON.parse(readFileSync(join(shared, "expected.json"), "utf8")) as {
      readonly inputIds: readonly number[];
      readonly adapters: readonly Logits[];
    };
    const tokens = tensor([[...expected.inputIds]], { dtype: "int32" });
    const stories = join(shared, "..");
    const { model, params } = await models.load(stories, { dtype: "float64" });
    const logitsOf = async (
      decoder: nn.Layer<nn.Params, models.DecoderInput, models.DecoderOutput>,
      all: nn.Params,
    ) => {
      const values = await decoder.apply(all, { tokens }).logits.data();
      return [values.subarray(0, 512), values.subarray(values.length - 512)];
    };
    const furthest = (found: readonly ArrayLike<number>[], wanted: readonly (readonly number[])[]) =>
      Math.max(...wanted.flatMap((list, i) => list.map((x, j) => Math.abs(found[i]![j]! - x))));
    for (const { path, firstLogits, lastLogits, sameLogitsAs } of expected.adapters) {
      const like = firstLogits
        ? { firstLogits, lastLogits }
        : expected.adapters.find((each) => each.path.includes("peft_all"))!;
      expect(sameLogitsAs ?? like.firstLogits).toBeDefined();
      const wanted = [like.firstLogits!, like.lastLogits!];
      const adapter = await from(path);
      const act = (given: adapters.AdapterFile) => {
        const injected = adapters.inject(model, params, given);
        return logitsOf(injected.model, injected.params);
      };
      expect(furthest(await act(adapter), wanted), path).toBeLessThan(1e-9);
      if (!path.startsWith("peft")) continue;
      const converted = await adapters.convert(adapter, "gguf", { base: heads });
      expect(furthest(await act(converted), wanted), path).toBeLessThan(1e-9);
      const out = join(folder, path);
      await adapters.mergeCheckpoint(await openFolder(stories), adapter, out);
      const merged = await models.load(out, { dtype: "float64" });
      // The model's dtype is float32, to which the sums are rounded.
      expect(furthest(await logitsOf(merged.model, merged.params), wanted), path).toBeLessThan(2e-5);
    }
  });
});
if (!existsSync(shared)) console.warn("adapters made elsewhere: skipped, there is no ../shared");

describe("a model whose output layer is the embedding", () => {
  const config = {
    ...{ model_type: "llama", vocab_size: 12, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 },
    ...{ num_attention_heads: 2, num_key_value_heads: 1, tie_word_embeddings: true },
  };
  const [embedding, head] = ["model.embed_tokens", "lm_head"];
  const tokens = tensor([[3, 1, 4, 1]], { dtype: "int32" });
  const draw = (shape: readonly number[]) => random.normal(random.key(9).fold(shape.join()), shape);
  const whole = (path: string): [string, adapters.WholeParameter] => [
    `${path}.weight`,
    { values: draw([12, 8]), dtype: "F32" },
  ];

  test.each([
    ["an adapter of the embedding", [embedding], []],
    ["an adapter of the output", [head], []],
    ["both", [embedding, head], []],
    ["an embedding that is stored whole", ["q_proj"], [embedding]],
    ["an output that is stored whole", ["q_proj"], [head]],
    ["both stored whole", ["q_proj"], [embedding, head]],
  ])("changes what the adapter has alone: %s, put into it and merged", async (_, targetModules, stored) => {
    const model = models.decoder(models.architecture(config));
    const separate = models.decoder(models.architecture({ ...config, tie_word_embeddings: false }));
    const params = await tree.evaluate(model.init(random.key(1)));
    const table = (params.model as { embed_tokens: { weight: Tensor } }).embed_tokens.weight;
    const both = { ...params, lm_head: { weight: table } };
    const adapted = lora.inject(separate, { r: 2, alpha: 4, init: "random", targetModules });
    const adapter = {
      ...adapters.extract(adapted, await tree.evaluate(adapted.init(random.key(2), both))),
      whole: new Map(stored.map(whole)),
    };
    const logitsOf = async (net: models.Decoder, given: nn.Params) => {
      const { model, params } = adapters.inject(net, given, adapter);
      return [...(await model.apply(params, { tokens }).logits.data())];
    };
    const expected = await logitsOf(separate, both);
    expect(await logitsOf(model, params)).toEqual(expected);

    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    await safetensors.write(
      join(folder, "model.safetensors"),
      Object.fromEntries(tree.entries(params)) as Record<string, Tensor>,
    );
    const out = fresh();
    const { notes } = await adapters.mergeCheckpoint(await openFolder(folder), adapter, out);
    expect(notes.join()).toMatch(/a weight of its own: lm_head.weight/);
    const merged = await models.load(out);
    expect(merged.model.architecture.tied).toBe(false);
    const got = [...(await merged.model.apply(merged.params, { tokens }).logits.data())];
    for (const [i, value] of got.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  });

  test("takes an adapter of its output in float64", async () => {
    const model = models.decoder(models.architecture(config));
    const params = tree.map(model.init(random.key(1)), (leaf) => leaf.astype("float64")) as nn.Params;
    const adapted = lora.inject(model, { r: 2, alpha: 4, init: "random", targetModules: [head] });
    const adapter = adapters.extract(adapted, adapted.init(random.key(2), model.init(random.key(1))));
    const read = adapters.inject(model, params, adapter);
    const { logits } = read.model.apply(read.params, { tokens });
    expect(logits.dtype).toBe("float64");
    expect((await logits.data()).every(Number.isFinite)).toBe(true);
  });
});
