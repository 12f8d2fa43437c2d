import { join } from "node:path";
import { readBytes } from "../../base/files.ts";
import { parseJson } from "../../base/json.ts";
import { safetensors } from "../../io/index.ts";
import * as lora from "../../lora/index.ts";
import type { Decoder } from "../../models/index.ts";
import type { Params } from "../../nn/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { combine } from "../../tensor/tree.ts";
import type { OracleDType } from "./engine.ts";
import { Fields } from "./fields.ts";

/** The adapted model and the adapter's parameters, of a directory as PEFT writes it. */
export async function readPeft(
  directory: string,
  model: Decoder,
  dtype: OracleDType,
): Promise<{ readonly adapted: ReturnType<typeof adapt>; readonly own: Params }> {
  const file = join(directory, "adapter_config.json");
  const config = new Fields(parseJson(file, new TextDecoder().decode(readBytes(file))), file);
  const tensors = await safetensors.open(join(directory, "adapter_model.safetensors"));
  let own: Params = {};
  for (const name of tensors.names)
    own = combine<Params>(own, placed(pathOf(name), await tensors.read(name, { dtype })));
  return { adapted: adapt(model, config), own };
}

function adapt(model: Decoder, config: Fields) {
  const pattern = (name: string) =>
    config.has(name)
      ? Object.fromEntries(config.object(name).names.map((key) => [key, config.object(name).number(key)]))
      : {};
  return lora.inject(model, {
    r: config.number("r"),
    alpha: config.number("lora_alpha"),
    rsLora: config.has("use_rslora") && config.boolean("use_rslora"),
    targetModules: config.texts("target_modules"),
    rankPattern: pattern("rank_pattern"),
    alphaPattern: pattern("alpha_pattern"),
  });
}

/** `base_model.model.h.0.q.lora_A.weight` is `h.0.q.loraA`. */
export function pathOf(name: string): string {
  return name
    .replace(/^base_model\.model\./, "")
    .replace(/\.weight$/, "")
    .replace(/lora_(embedding_)?([AB])$/, "lora$2");
}

/** A tree with one leaf. */
function placed(path: string, leaf: Tensor): Params {
  return path.split(".").reduceRight<Params | Tensor>((inner, name) => ({ [name]: inner }), leaf) as Params;
}
