import * as adapters from "../../adapters/index.ts";
import * as lora from "../../lora/index.ts";
import type { Loaded } from "../../models/index.ts";
import type { Params } from "../../nn/index.ts";
import * as tree from "../../tensor/tree.ts";
import type { OracleDType } from "./engine.ts";

/** A checkpoint with an adapter of a file: the model, what the adapter trains, and the other parameters. */
export async function withAdapter(path: string, { model, params, config }: Loaded, dtype: OracleDType) {
  const file = await adapters.open(path, { base: config as Record<string, unknown> }); // an object, as it was read
  const adapted = adapters.inject(model, params, file);
  const [own, frozen] = lora.partition(adapted.params);
  return { model: adapted.model, own: tree.map(own, (leaf) => leaf.astype(dtype)) as Params, frozen };
}
