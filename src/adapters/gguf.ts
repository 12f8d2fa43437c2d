import { isIntegerIn, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Entry } from "../io/entry.ts";
import { type GgufFields, parts as ggufParts } from "../io/gguf.ts";
import type { TensorFile } from "../io/tensor-file.ts";
import type { Tensor } from "../tensor/tensor.ts";
import {
  type AdapterFile,
  type AdapterModule,
  moduleOf,
  type Parts,
  readPart,
  refuse,
  rowsFrom,
  strangers,
  transposed,
  type WholeParameter,
} from "./file.ts";
import type { FileFormat, FormatOptions, Written } from "./format.ts";
import { mostCommon, withCommonAlpha } from "./rescale.ts";

// Adapters of llama.cpp: convert_lora_to_gguf.py, conversion/llama.py (permute), src/llama-adapter.cpp (names, alpha).

/** llama.cpp's name of an architecture by Hugging Face's model_type; those of them that rotate adjacent pairs. */
const architectures: Readonly<Record<string, string>> = {
  llama: "llama",
  mistral: "llama",
  qwen2: "qwen2",
  qwen3: "qwen3",
  gemma: "gemma",
  gemma2: "gemma2",
  gemma3: "gemma3",
  gemma3_text: "gemma3",
  phi3: "phi3",
};
const rotatesPairs = "llama";

/** llama.cpp's name of a module of a block by Hugging Face's. */
const inBlock: Readonly<Record<string, string>> = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.qkv_proj": "attn_qkv",
  "self_attn.o_proj": "attn_output",
  "mlp.gate_proj": "ffn_gate",
  "mlp.gate_up_proj": "ffn_up",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
};
const outside: Readonly<Record<string, string>> = { "model.embed_tokens": "token_embd", lm_head: "output" };

function nameOf(path: string): string | undefined {
  const [, block, rest] = /^model\.layers\.(\d+)\.(.+)$/.exec(path) ?? [];
  if (rest === undefined) return outside[path];
  return inBlock[rest] && `blk.${block}.${inBlock[rest]}`;
}

function pathOf(name: string, architecture: string): string | undefined {
  const pathIn = (table: Readonly<Record<string, string>>, wanted: string) => {
    const paths = Object.keys(table).filter((path) => table[path] === wanted);
    return architecture === "phi3" ? paths[0] : paths.at(-1);
  };
  const [, block, rest] = /^blk\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (rest === undefined) return pathIn(outside, name);
  const path = pathIn(inBlock, rest);
  return path && `model.layers.${block}.${path}`;
}

/**
 * The place in Hugging Face's order of a row of B of q or k in llama.cpp's: a head's halves there, adjacent pairs here.
 * `back` turns it round.
 */
function rowOf(rows: number, heads: number, back: boolean): (row: number) => number {
  const size = rows / heads;
  const half = size / 2;
  return (row) => {
    const [head, at] = [Math.floor(row / size), row % size];
    const from = back ? (at % half) * 2 + Math.floor(at / half) : (at % 2) * half + Math.floor(at / 2);
    return head * size + from;
  };
}

/** B in the order of rows of the other side, where that is another one. */
async function reordered(
  where: string,
  path: string,
  matrix: Tensor,
  architecture: string,
  { base }: FormatOptions,
  back: boolean,
): Promise<Tensor> {
  const which = /\.self_attn\.([qk])_proj$/.exec(path)?.[1];
  if (which === undefined || architecture !== rotatesPairs) return matrix;
  const all = base?.num_attention_heads;
  const heads = which === "q" ? all : (base?.num_key_value_heads ?? all);
  const rows = matrix.shape[0]!;
  if (!isIntegerIn(heads, 1) || rows % (2 * heads) !== 0)
    throw new ValueError(
      `${where}: the rows of ${path} lie in another order in GGUF, head by head, and the base model has ${show(heads)} heads for its ${rows} rows. Give the folder of the base model (its config.json).`,
    );
  return rowsFrom(matrix, rowOf(rows, heads, back));
}

async function open(file: TensorFile<GgufFields>, options: FormatOptions): Promise<AdapterFile> {
  const where = file.name;
  const field = (name: string) => file.metadata[name]?.value;
  for (const [name, expected] of [
    ["general.type", "adapter"],
    ["adapter.type", "lora"],
  ] as const)
    if (field(name) !== expected)
      throw new ValueError(
        `${where}: ${name} is ${show(field(name))}; it is ${show(expected)} for an adapter.`,
      );
  if (field("adapter.alora.invocation_tokens") !== undefined)
    throw new ValueError(`${where}: it acts from certain tokens on (aLoRA), which is not implemented.`);
  const architecture = String(field("general.architecture"));
  const found = new Map<string, Parts>();
  for (const name of file.names) {
    const [, own, which] = /^(.+)\.weight\.lora_(a|b)$/.exec(name) ?? [];
    const path = own === undefined ? undefined : pathOf(own, architecture);
    if (path === undefined) throw new ValueError(`${where}: the tensor ${show(name)} is not known.`);
    const kind = own === "token_embd" ? "embedding" : "linear";
    const read: WholeParameter = await readPart(file, name);
    const parts = found.get(path) ?? { kind };
    if (which === "b")
      parts.loraB = {
        ...read,
        values: await reordered(where, path, read.values, architecture, options, true),
      };
    else parts.loraA = kind === "embedding" ? { ...read, values: await transposed(read.values) } : read;
    found.set(path, parts);
  }
  const alpha = field("adapter.lora.alpha");
  const modules = new Map<string, AdapterModule>();
  // None, or 0, is a multiplier of 1.
  for (const [path, parts] of found)
    modules.set(
      path,
      moduleOf(where, path, parts, (r) => (typeof alpha === "number" && alpha !== 0 ? alpha : r)),
    );
  return {
    name: where,
    format: "gguf",
    rsLora: false,
    dropout: 0,
    modules,
    whole: new Map(),
    config: file.metadata,
    metadata: {},
    notes: [],
  };
}

function architectureOf(adapter: AdapterFile, { base }: FormatOptions): string {
  const own =
    adapter.format === "gguf" ? (adapter.config as GgufFields)["general.architecture"]?.value : undefined;
  const type = base?.model_type;
  const architecture = typeof type === "string" ? architectures[type] : own;
  if (typeof architecture === "string") return architecture;
  throw new ValueError(
    `${adapter.name}: a GGUF adapter names the architecture of its model, and the base model's model_type is ${show(type)}; known are ${Object.keys(architectures).join(", ")}. Give the folder of the base model (its config.json).`,
  );
}

async function fit(adapter: AdapterFile, options: FormatOptions): Promise<AdapterFile> {
  architectureOf(adapter, options);
  const unnamed = [...adapter.modules.keys()].flatMap((path) =>
    nameOf(path) === undefined ? [`the module ${path}`] : [],
  );
  refuse(
    "llama.cpp",
    adapter,
    [...strangers(adapter), ...unnamed, ...adapter.whole.keys()],
    "Merge the adapter, and convert the merged model.",
  );
  return withCommonAlpha(adapter, Math.fround);
}

/** As llama.cpp's converter writes it, whatever the types of the tensors. */
const unquantised: GgufFields = { "general.quantization_version": { type: "uint32", value: 2 } };

async function write(adapter: AdapterFile, options: FormatOptions): Promise<Written> {
  const architecture = architectureOf(adapter, options);
  const fields: GgufFields = {
    ...(adapter.format === "gguf" ? (adapter.config as GgufFields) : unquantised),
    "general.architecture": { type: "string", value: architecture },
    "general.type": { type: "string", value: "adapter" },
    "adapter.type": { type: "string", value: "lora" },
    "adapter.lora.alpha": {
      type: "float32",
      value: mostCommon([...adapter.modules.values()].map(({ alpha }) => alpha)),
    },
  };
  const entries: Record<string, Entry> = {};
  for (const [path, { kind, loraA, loraB, dtype }] of adapter.modules) {
    const name = nameOf(path)!; // fit has looked
    const embedded = kind === "embedding";
    entries[`${name}.weight.lora_a`] = {
      dtype,
      shape: embedded ? loraA.shape.toReversed() : loraA.shape,
      data: async () => (embedded ? transposed(loraA) : loraA),
    };
    entries[`${name}.weight.lora_b`] = {
      dtype,
      shape: loraB.shape,
      data: () => reordered(adapter.name, path, loraB, architecture, options, false),
    };
  }
  return { "adapter.gguf": ggufParts("adapter.gguf", entries, fields) };
}

export const gguf: FileFormat<GgufFields> = { tool: "llama.cpp", open, fit, write };
