import { checkArgument } from "../base/arguments.ts";
import { probability } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";

/**
 * Zeroes elements with probability `p` in training; see `functional.dropout`. No parameters.
 *
 * @throws ValueError if `p` is not from 0 to below 1; in training, if the context has no key.
 */
export function dropout(p: number): Layer {
  checkArgument("dropout", "p", p, probability);
  return {
    kind: "dropout",
    init: () => ({}),
    apply: (_, x, context = {}) => functional.dropout(x, p, context),
  };
}
