import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Entry } from "../io/entry.ts";
import { type Folder, findFile, readJson } from "../io/folder.ts";
import * as safetensors from "../io/safetensors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type AdapterFile,
  type AdapterModule,
  alphaFor,
  moduleOf,
  multiplierOf,
  type Parts,
  readPart,
  refuse,
  strangers,
  transposed,
  type WholeParameter,
} from "./file.ts";
import type { FolderFormat, Written } from "./format.ts";
import { mostCommon, withCommonMultiplier } from "./rescale.ts";

// MLX-LM (ml-explore/mlx-lm, tuner/lora.py, tuner/dora.py, tuner/utils.py): factors lie across, and one `scale` that no
// rank divides is for all modules.

const weights = "adapters.safetensors";

type Config = Readonly<Record<string, unknown>>;

/** Tensors by their names in files. */
const names = { lora_a: "loraA", lora_b: "loraB", m: "loraMagnitude" } as const;

/** Names of embeddings in models that MLX-LM has. */
const embeddings = /(^|\.)(embed_tokens|wte|tok_embeddings|word_embeddings)$/;

async function open(folder: Folder): Promise<AdapterFile> {
  const where = `${folder.name}: adapter_config.json`;
  const config = (await readJson(folder, "adapter_config.json")) as Config; // format.ts saw an object
  // Before there was fine_tune_type, use_dora said it.
  const { fine_tune_type: type = config.use_dora === true ? "dora" : "lora", lora_parameters: given } =
    config;
  if (type !== "lora" && type !== "dora")
    throw new ValueError(`${where}: fine_tune_type is ${show(type)}; lora and dora are adapters.`);
  if (!isPlainObject(given))
    throw new ValueError(`${where}: lora_parameters is ${show(given)}; it is an object.`);
  const { scale, dropout = 0 } = given;
  if (typeof scale !== "number" || !Number.isFinite(scale))
    throw new ValueError(`${where}: lora_parameters.scale is ${show(scale)}; it is a number.`);
  const file = await safetensors.open(await findFile(folder, weights));
  const found = new Map<string, Parts>();
  const whole = new Map<string, WholeParameter>();
  for (const name of file.names) {
    const [, path, part] = /^(.+)\.(lora_a|lora_b|m)$/.exec(name) ?? [];
    const values = await readPart(file, name);
    if (path === undefined) {
      whole.set(name, values);
      continue;
    }
    const parts = found.get(path) ?? { kind: embeddings.test(path) ? "embedding" : "linear" };
    const across = part !== "m" && values.values.rank === 2;
    parts[names[part as keyof typeof names]] = across
      ? { ...values, values: await transposed(values.values) }
      : values;
    found.set(path, parts);
  }
  const modules = new Map<string, AdapterModule>();
  for (const [path, parts] of found) {
    modules.set(
      path,
      moduleOf(folder.name, path, parts, (r) => alphaFor(scale, r)),
    );
    if ((parts[names.m] !== undefined) !== (type === "dora"))
      throw new ValueError(
        `${where}: fine_tune_type is ${show(type)}, and ${path} has ${parts[names.m] ? "a" : "no"} magnitude m.`,
      );
  }
  const notes: string[] = [];
  if (given.alpha !== undefined)
    notes.push(
      `lora_parameters.alpha is ${show(given.alpha)}: MLX-LM once multiplied scale by alpha / rank, and takes scale as it is since; so does this. If the adapter was trained before, multiply its scale`,
    );
  for (const [path, { kind }] of modules)
    if (kind === "embedding")
      notes.push(
        `${path} is an embedding: where the output layer is tied to it, MLX-LM changes that too, and others, this among them, do not`,
      );
  return {
    name: folder.name,
    format: "mlx",
    rsLora: false,
    dropout: typeof dropout === "number" ? dropout : 0,
    modules,
    whole,
    config,
    metadata: file.metadata,
    notes,
  };
}

async function fit(adapter: AdapterFile): Promise<AdapterFile> {
  const strange = strangers(adapter, [names.m]);
  refuse("MLX-LM", adapter, strange, "Merge the adapter, or train without lora_bias.");
  return withCommonMultiplier(adapter);
}

/** Paths within their blocks where all blocks have the same, or the paths themselves. */
function keysOf(paths: readonly string[]): readonly string[] {
  const blocks = new Map<string, string[]>();
  for (const path of paths) {
    const [, block, rest] = /^((?:.*\.)?(?:layers|h|blocks)\.\d+)\.(.+)$/.exec(path) ?? [];
    if (block === undefined || rest === undefined) return paths;
    blocks.set(block, [...(blocks.get(block) ?? []), rest]);
  }
  const [first = [], ...more] = [...blocks.values()].map((names) => names.toSorted());
  return more.every((names) => names.join() === first.join()) ? first : paths;
}

function write(adapter: AdapterFile): Written {
  const modules = [...adapter.modules.values()];
  const own: Config = adapter.format === "mlx" ? adapter.config : { num_layers: -1 };
  const parameters = isPlainObject(own.lora_parameters) ? own.lora_parameters : {};
  const config = {
    ...own,
    fine_tune_type: modules.some((module) => module[names.m]) ? "dora" : "lora",
    lora_parameters: {
      keys: keysOf([...adapter.modules.keys()]),
      dropout: adapter.dropout,
      ...parameters,
      rank: mostCommon(modules.map(({ r }) => r)),
      scale: mostCommon(modules.map((module) => multiplierOf(adapter, module))),
    },
  };
  const entries: Record<string, Entry> = {};
  for (const [path, module] of adapter.modules) {
    const { loraA, loraB, [names.m]: m, dtype } = module;
    const across = (matrix: Tensor): Entry => ({
      dtype,
      shape: matrix.shape.toReversed(),
      data: () => transposed(matrix),
    });
    entries[`${path}.lora_a`] = across(loraA);
    entries[`${path}.lora_b`] = across(loraB);
    if (m) entries[`${path}.m`] = { dtype, shape: m.shape, data: async () => m };
  }
  for (const [name, { values, dtype }] of adapter.whole)
    entries[name] = { dtype, shape: values.shape, data: async () => values };
  const options = adapter.format === "mlx" ? { metadata: adapter.metadata } : {};
  return {
    "adapter_config.json": `${JSON.stringify(config, null, 4)}\n`,
    [weights]: safetensors.parts(weights, entries, options),
  };
}

export const mlx: FolderFormat = {
  tool: "MLX-LM",
  isConfig: ({ lora_parameters, fine_tune_type }) =>
    lora_parameters !== undefined || fine_tune_type !== undefined,
  open,
  fit,
  write,
};
