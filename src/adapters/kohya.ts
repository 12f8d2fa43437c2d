import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import type { Entry } from "../io/entry.ts";
import { type Metadata, parts as safetensorsParts } from "../io/safetensors.ts";
import type { TensorFile } from "../io/tensor-file.ts";
import { scaling } from "../lora/scaling.ts";
import { full } from "../tensor/creation.ts";
import {
  type AdapterFile,
  type AdapterModule,
  alphaFor,
  moduleOf,
  type Parts,
  readPart,
  refuse,
  strangers,
} from "./file.ts";
import type { FileFormat, FormatOptions, Written } from "./format.ts";
import { checkFields, fieldsOf, valueFor } from "./peft-config.ts";
import { mostCommon, withoutRsLora } from "./rescale.ts";

// kohya (kohya-ss/sd-scripts, networks/lora.py) and diffusers: one file, an alpha for each module. kohya's names have
// underscores for dots, behind a prefix; diffusers has paths, and the factors as lora_A and lora_B too.

/** The text in which diffusers keeps PEFT's configuration of each part of a pipeline, "transformer.lora_alpha" and so on. */
const settingsText = "lora_adapter_metadata";
/** The texts in which the paths are kept that the names have lost. */
const pathsText = "lorantz.paths";
const usualPrefix = "lora_te";

/** Names of modules that have underscores in them, for files that do not say their paths. */
const words: readonly string[] = [
  "self_attn encoder_attn cross_attn text_model language_model vision_model",
  "q_proj k_proj v_proj o_proj out_proj qkv_proj gate_proj up_proj down_proj gate_up_proj",
  "c_attn c_proj c_fc embed_tokens lm_head token_embedding position_embedding",
  "down_blocks up_blocks mid_block transformer_blocks single_transformer_blocks proj_in proj_out",
  "to_q to_k to_v to_out to_qkv add_q_proj add_k_proj add_v_proj to_add_out ff_context time_emb_proj",
  "conv_in conv_out conv_shortcut norm_out time_embedding linear_1 linear_2 input_blocks output_blocks",
  "middle_block double_blocks single_blocks img_attn txt_attn img_mlp txt_mlp img_mod txt_mod final_layer",
]
  .join(" ")
  .split(" ")
  .sort((a, b) => b.length - a.length);

const suffixes: Readonly<Record<string, keyof Omit<Parts, "kind"> | "alpha">> = {
  ".lora_down.weight": "loraA",
  ".lora_up.weight": "loraB",
  ".lora_A.weight": "loraA",
  ".lora_B.weight": "loraB",
  ".lora.down.weight": "loraA",
  ".lora.up.weight": "loraB",
  ".alpha": "alpha",
};

const flat = (path: string) => path.replaceAll(".", "_");

async function open(file: TensorFile<Metadata>, options: FormatOptions): Promise<AdapterFile> {
  const where = file.name;
  const found = new Map<string, Parts>();
  const alphas = new Map<string, number>();
  for (const name of file.names) {
    const suffix = Object.keys(suffixes).find((suffix) => name.endsWith(suffix));
    if (suffix === undefined)
      throw new ValueError(
        `${where}: the tensor ${show(name)} is not known; those of an adapter end in ${Object.keys(suffixes).join(", ")}. ${name.endsWith("dora_scale") ? "DoRA is not implemented in this form: tools take its lengths along different axes." : ""}`.trim(),
      );
    const module = name.slice(0, -suffix.length);
    const part = suffixes[suffix]!;
    const read = await readPart(file, name);
    if (part === "alpha") {
      if (read.values.size !== 1)
        throw new ValueError(`${where}: ${name} is ${show(read.values)}; an alpha is one number.`);
      alphas.set(module, (await read.values.data())[0]!);
    } else found.set(module, { ...(found.get(module) ?? { kind: "linear" }), [part]: read });
  }
  const guessed: string[] = [];
  const known = knownPaths(file, options);
  const settings = settingsOf(file);
  const modules = new Map<string, AdapterModule>();
  for (const [name, parts] of found) {
    const given = alphas.get(name);
    alphas.delete(name);
    const path = pathOf(where, name, known, guessed);
    if (modules.has(path)) throw new ValueError(`${where}: two modules have the path ${path}.`);
    const set = settings(path);
    modules.set(
      path,
      moduleOf(where, path, parts, (r) => {
        const alpha = set?.(r);
        if (alpha !== undefined && given !== undefined && Math.abs(given / alpha - 1) > 1e-6)
          throw new ValueError(
            `${where}: ${path} has the alpha ${given}, and the text ${settingsText} gives it ${alpha} for alpha / rank. Take one of them out.`,
          );
        // None, or 0, stands for the rank: a multiplier of 1.
        return alpha ?? (given || r);
      }),
    );
  }
  for (const [name] of alphas) throw new ValueError(`${where}: ${name} has an alpha, and no factors.`);
  return {
    name: where,
    format: "kohya",
    rsLora: false,
    dropout: 0,
    modules,
    whole: new Map(),
    config: {},
    metadata: file.metadata,
    notes:
      guessed.length > 0
        ? [
            `the paths of ${guessed.length} modules are guessed from their names, such as ${guessed[0]}: give those of the base model`,
          ]
        : [],
  };
}

/**
 * What diffusers' text says of the module at a path: the alpha with which alpha / r is its multiplier, by its rank. It says
 * nothing of paths that begin otherwise.
 */
function settingsOf({ name, metadata }: TensorFile<Metadata>) {
  const text = metadata[settingsText];
  const all = text === undefined ? {} : parseJson(`${name}: ${settingsText}`, text);
  if (!isPlainObject(all)) throw new ValueError(`${name}: ${settingsText} is no object.`);
  const heads = Object.keys(all).flatMap((key) => (/^(.+\.)?lora_alpha$/.test(key) ? key.slice(0, -10) : []));
  const configs = heads.map((head) => {
    const own = Object.entries(all).filter(([key]) => key.startsWith(head));
    const config = Object.fromEntries(own.map(([key, value]) => [key.slice(head.length), value]));
    const where = `${name}: ${settingsText}`;
    checkFields(where, config);
    return { head, where, fields: fieldsOf(where, config) };
  });
  return (path: string): ((r: number) => number) | undefined => {
    const found = configs.find(({ head }) => path.startsWith(head));
    if (!found) return undefined;
    const { where, head, fields } = found;
    const [inner, { ranks, alphas, rsLora }] = [path.slice(head.length), fields];
    return (r) => {
      const rank = valueFor(where, ranks, inner, fields.r);
      if (rank !== r)
        throw new ValueError(
          `${where}: ${path} is to have the rank ${rank}, and its tensors have ${r}. The file does not fit together.`,
        );
      return alphaFor(scaling({ r, alpha: valueFor(where, alphas, inner, fields.alpha), rsLora }).value, r);
    };
  };
}

/** Paths by kohya's names, where they are known. */
function knownPaths(
  { name, metadata }: TensorFile<Metadata>,
  { paths = [] }: FormatOptions,
): ReadonlyMap<string, string> {
  const text = metadata[pathsText];
  const own = text === undefined ? {} : parseJson(`${name}: ${pathsText}`, text);
  if (!isPlainObject(own)) throw new ValueError(`${name}: ${pathsText} is no object.`);
  const texts = Object.entries(own).filter(
    (entry): entry is [string, string] => typeof entry[1] === "string",
  );
  return new Map([...paths.map((path): [string, string] => [flat(path), path]), ...texts]);
}

/** The path of a module: its name where that has dots, else what is known of it, else a guess. */
function pathOf(where: string, name: string, known: ReadonlyMap<string, string>, guessed: string[]): string {
  if (name.includes(".") || known.has(name)) return known.get(name) ?? name;
  const rest =
    /^lora_(?:te\d?|unet|transformer|prior_te|prior_unet)_(.+)$/.exec(name)?.[1] ??
    /^lora_(.+)$/.exec(name)?.[1];
  if (rest === undefined)
    throw new ValueError(`${where}: the module ${show(name)} does not begin with lora_, as kohya's do.`);
  const path = known.get(rest);
  if (path !== undefined) return path;
  const parts: string[] = [];
  for (let left = rest; left !== ""; ) {
    const word = words.find((each) => left === each || left.startsWith(`${each}_`)) ?? left.split("_", 1)[0]!;
    parts.push(word);
    left = left.slice(word.length + 1);
  }
  guessed.push(parts.join("."));
  return parts.join(".");
}

async function fit(adapter: AdapterFile): Promise<AdapterFile> {
  const whole = [...adapter.whole.keys()];
  const embeddings = [...adapter.modules].flatMap(([path, { kind }]) =>
    kind === "embedding" ? [`the embedding ${path}`] : [],
  );
  refuse(
    "kohya's form",
    adapter,
    [...strangers(adapter), ...embeddings, ...whole],
    "Merge the adapter instead.",
  );
  return withoutRsLora(adapter);
}

function write(adapter: AdapterFile): Written {
  const entries: Record<string, Entry> = {};
  const paths: Record<string, string> = {};
  const names = new Set<string>();
  const sorted = [...adapter.modules].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [path, { loraA, loraB, alpha, dtype }] of sorted) {
    const name = `${usualPrefix}_${flat(path)}`;
    if (names.has(name))
      throw new ValueError(`${adapter.name}: two modules have the name ${name} in kohya's form.`);
    names.add(name);
    paths[name] = path;
    entries[`${name}.lora_down.weight`] = { dtype, shape: loraA.shape, data: async () => loraA };
    entries[`${name}.lora_up.weight`] = { dtype, shape: loraB.shape, data: async () => loraB };
    const exact = Math.fround(alpha) === alpha;
    entries[`${name}.alpha`] = full([], alpha, { dtype: exact ? "float32" : "float64" });
  }
  const modules = [...adapter.modules.values()];
  // Each module has its alpha now; diffusers takes only one of the two.
  const { [settingsText]: _, ...own } = adapter.format === "kohya" ? adapter.metadata : {};
  const metadata = {
    ss_network_module: "networks.lora",
    ss_network_dim: String(mostCommon(modules.map(({ r }) => r))),
    ss_network_alpha: String(mostCommon(modules.map(({ alpha }) => alpha))),
    ...own,
    [pathsText]: JSON.stringify(paths),
  };
  return { "adapter.safetensors": safetensorsParts("adapter.safetensors", entries, { metadata }) };
}

export const kohya: FileFormat<Metadata> = { tool: "kohya", open, fit, write };
