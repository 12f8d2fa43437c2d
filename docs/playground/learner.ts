import type * as lora from "lorantz/lora";
import { inject } from "lorantz/lora";
import * as nn from "lorantz/nn";
import type { AdapterNumbers, Learner } from "./tasks.ts";

/** What learns targets y of inputs x, by adapters on all linear layers of a frozen model. */
export function learnerOf(
  base: nn.Layer,
  frozen: nn.Params,
  lookOf?: (model: lora.Adapted) => NonNullable<Learner["look"]>,
): (numbers: AdapterNumbers) => Learner {
  return (numbers) => {
    const model = inject(base, { ...numbers, targetModules: "all-linear" });
    return {
      model,
      init: (key) => model.init(key, frozen),
      loss: (params, { x, y }) => nn.mseLoss(model.apply(params, x!), y!),
      ...(lookOf && { look: lookOf(model) }),
    };
  };
}
