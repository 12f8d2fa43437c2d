import { isFloat } from "../base/dtype.ts";
import * as tree from "./tree.ts";

/** The path of the first float tensor of a tree that has NaN or an infinity. */
export async function firstNotFinite(params: unknown): Promise<string | undefined> {
  for (const [path, leaf] of tree.entries(params))
    if (isFloat(leaf.dtype) && (await leaf.isFinite().logicalNot().astype("int32").sum().item()) > 0)
      return path;
  return undefined;
}
