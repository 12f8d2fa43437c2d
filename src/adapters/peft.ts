import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";
import type { Entry } from "../io/entry.ts";
import { type Folder, findFile, readJson } from "../io/folder.ts";
import * as safetensors from "../io/safetensors.ts";
import { adapterTensors, kinds, type NamedTensors, type OwnName } from "../lora/kinds/index.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type AdapterFile,
  type AdapterModule,
  kindOf,
  moduleOf,
  type Parts,
  readPart,
  type WholeParameter,
} from "./file.ts";
import type { FolderFormat, Written } from "./format.ts";
import { type Config, checkFields, fieldsOf, valueFor } from "./peft-config.ts";
import { mostCommon } from "./rescale.ts";

// PEFT (huggingface/peft 0.20): tuners/lora/config.py for the fields, tuners/lora/layer.py for what they mean,
// utils/save_and_load.py for names, tuners/lora/dora.py (of 0.16) for the magnitude of a convolution, [1, out, 1, ...].

const weights = "adapter_model.safetensors";
const prefix = "base_model.model.";

/** Names of tensors by what PEFT calls them, without ".weight". */
const partNames: ReadonlyMap<string, keyof NamedTensors> = new Map(
  adapterTensors.map(({ name, peft }) => [peft.replace(/\.weight$/, ""), name]),
);

async function open(folder: Folder): Promise<AdapterFile> {
  const where = `${folder.name}: adapter_config.json`;
  const config = (await readJson(folder, "adapter_config.json")) as Config; // format.ts saw an object
  checkFields(where, config);
  const fields = fieldsOf(where, config);
  if (!(await folder.find(weights)) && (await folder.find("adapter_model.bin")))
    throw new ValueError(
      `${folder.name}: the weights are a pickle, adapter_model.bin, which may run code. Let PEFT save them as ${weights}.`,
    );
  const file = await safetensors.open(await findFile(folder, weights));
  const found = new Map<string, Parts>();
  const whole = new Map<string, WholeParameter>();
  for (const name of file.names) {
    const plain = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    // As the state of a model names them, without the name of the adapter; of embeddings without "embedding".
    const [, path, part = ""] =
      /^(.+)\.(lora_.+)$/.exec(plain.replace(/(\.lora_\w+)\.default(?=\.|$)/, "$1")) ?? [];
    const place = partNames.get(part.replace("_embedding", "").replace(/\.weight$/, ""));
    if (path === undefined || place === undefined) {
      if (plain.includes("lora_"))
        throw new ValueError(`${folder.name}: the tensor ${show(name)} is not known.`);
      whole.set(plain.replace(/\.(modules_to_save|base_layer)\./, "."), await readPart(file, name));
      continue;
    }
    const parts = found.get(path) ?? { kind: "linear" };
    parts[place] = await readPart(file, name);
    if (part.includes("embedding")) parts.kind = "embedding";
    found.set(path, parts);
  }
  const modules = new Map<string, AdapterModule>();
  for (const [path, parts] of found) {
    flatten(parts);
    const module = moduleOf(folder.name, path, parts, () =>
      valueFor(where, fields.alphas, path, fields.alpha),
    );
    const r = valueFor(where, fields.ranks, path, fields.r);
    if (module.r !== r)
      throw new ValueError(
        `${where}: ${path} is to have the rank ${r}, and its tensors have ${module.r}. The files do not belong together.`,
      );
    for (const { option, tensors, adapts } of kinds)
      for (const { name, what } of tensors) {
        const part = module[name as OwnName];
        if (!part && !adapts.includes(module.kind)) continue;
        if ((part !== undefined) === (config[option.peft] === true)) continue;
        throw new ValueError(
          `${where}: ${option.peft} is ${show(config[option.peft] ?? false)}, and ${path} has ${part ? "a" : "no"} ${what}. The files do not belong together.`,
        );
      }
    modules.set(path, module);
  }
  return {
    name: folder.name,
    format: "peft",
    rsLora: fields.rsLora,
    dropout: typeof config.lora_dropout === "number" ? config.lora_dropout : 0,
    modules,
    whole,
    config,
    metadata: file.metadata,
    notes: [],
  };
}

const convolutions = ["conv1d", "conv2d", "conv3d"] as const;

/** The shapes that PEFT gives tensors of a convolution, of those here: [r, in x window], [out, r] and [out]. */
const shapes: { readonly [K in keyof NamedTensors]?: (shape: Shape, window: Shape) => Shape } = {
  loraA: ([r, inputs], window) => [r!, inputs! / numel(window), ...window],
  loraB: ([out, r], window) => [out!, r!, ...window.map(() => 1)],
  loraMagnitude: ([out], window) => [1, out!, ...window.map(() => 1)],
};

/** Gives tensors of a convolution, A `[r, in, ...window]`, B `[out, r, 1, ...]` and so on, the shapes that they have here. */
function flatten(parts: Parts): void {
  const { loraA: a, loraB: b } = parts;
  const window = a?.values.shape.slice(2) ?? [];
  const kind = convolutions[window.length - 1];
  if (!a || !b || !kind || b.values.rank !== a.values.rank || numel(window) === 0) return;
  Object.assign(parts, { kind, window });
  for (const { name, axes } of adapterTensors) {
    const part = parts[name];
    if (!part) continue;
    const { shape, size } = part.values;
    const values = part.values.reshape(axes.length === 1 ? [size] : [shape[0]!, numel(shape.slice(1))]);
    // What has another shape stays as it is, and is refused with it.
    if (shaped(name, values, parts).shape.join() === shape.join()) parts[name] = { ...part, values };
  }
}

/** A tensor of an adapter in the shape that files of PEFT have it in. */
function shaped(name: keyof NamedTensors, values: Tensor, { window }: Pick<AdapterModule, "window">): Tensor {
  return window ? values.reshape(shapes[name]?.(values.shape, window) ?? values.shape) : values;
}

/** Whether a configuration of PEFT still says what the modules are. */
function describes(config: Config, adapter: AdapterFile): boolean {
  const { r, alpha, ranks, alphas, rsLora } = fieldsOf(adapter.name, config);
  return (
    rsLora === adapter.rsLora &&
    [...adapter.modules].every(
      ([path, module]) =>
        valueFor(adapter.name, ranks, path, r) === module.r &&
        valueFor(adapter.name, alphas, path, alpha) === module.alpha,
    )
  );
}

/** The fields that say what the modules are. */
function described(adapter: AdapterFile): Config {
  const modules = [...adapter.modules];
  const [r, alpha] = [mostCommon(modules.map(([, m]) => m.r)), mostCommon(modules.map(([, m]) => m.alpha))];
  const pattern = (of: (module: AdapterModule) => number, usual: number) =>
    Object.fromEntries(
      modules.filter(([, m]) => of(m) !== usual).map(([path, m]) => [path.replaceAll(".", "\\."), of(m)]),
    );
  return {
    r,
    lora_alpha: alpha,
    rank_pattern: pattern((m) => m.r, r),
    alpha_pattern: pattern((m) => m.alpha, alpha),
    use_rslora: adapter.rsLora,
  };
}

/** A configuration for an adapter that PEFT has not written: its defaults, and what the adapter is. */
function configOf(adapter: AdapterFile): Config {
  const modules = [...adapter.modules];
  const whole = [...adapter.whole.keys()];
  const biases = whole.some((name) => name.endsWith(".bias") && adapter.modules.has(name.slice(0, -5)));
  return {
    alpha_pattern: {},
    auto_mapping: null,
    base_model_name_or_path: null,
    bias: biases ? "lora_only" : "none",
    exclude_modules: null,
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    ...Object.fromEntries(
      kinds.map((kind) => [kind.option.peft, modules.some(([, module]) => kindOf(module) === kind)]),
    ),
    lora_dropout: adapter.dropout,
    modules_to_save: [
      ...new Set(
        whole.map((name) => name.replace(/\.[^.]+$/, "")).filter((path) => !adapter.modules.has(path)),
      ),
    ],
    peft_type: "LORA",
    revision: null,
    target_modules: [...adapter.modules.keys()],
    task_type: null,
    ...described(adapter),
    ...(adapter.format === "lorantz" && adapter.config),
  };
}

function write(adapter: AdapterFile): Written {
  const config =
    adapter.format !== "peft"
      ? configOf(adapter)
      : describes(adapter.config, adapter)
        ? adapter.config
        : { ...adapter.config, ...described(adapter) };
  const entries: Record<string, Entry> = {};
  for (const [path, module] of adapter.modules)
    for (const { name, peft } of adapterTensors) {
      const own = module[name];
      if (!own) continue;
      const values = shaped(name, own, module);
      const part =
        module.kind === "embedding" ? peft.replace(/^lora_([AB])\.weight$/, "lora_embedding_$1") : peft;
      const { dtype } = module;
      entries[`${prefix}${path}.${part}`] = { dtype, shape: values.shape, data: async () => values };
    }
  for (const [name, { values, dtype }] of adapter.whole) {
    // PEFT keeps what an adapted module had before in a module of its own.
    const [, path = "", own] = /^(.*)\.([^.]+)$/.exec(name) ?? [];
    const place = adapter.modules.has(path) ? `${path}.base_layer.${own}` : name;
    entries[`${prefix}${place}`] = { dtype, shape: values.shape, data: async () => values };
  }
  const metadata = adapter.format === "peft" ? adapter.metadata : { format: "pt", ...adapter.metadata };
  return {
    "adapter_config.json": `${JSON.stringify(config, null, 2)}\n`,
    [weights]: safetensors.parts(weights, entries, { metadata }),
  };
}

export const peft: FolderFormat = {
  tool: "PEFT",
  isConfig: ({ peft_type, lora_alpha }) => peft_type !== undefined || lora_alpha !== undefined,
  open,
  fit: async (adapter) => adapter,
  write,
};
