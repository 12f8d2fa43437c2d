import { ValueError } from "../base/errors.ts";
import type { Law } from "./law.ts";
import { guarded, leavesArguments } from "./lora/arguments.ts";
import { anyGauge, bitwiseGauge } from "./lora/gauge.ts";
import { features, type LayerUnderTest, type Subject } from "./lora/layer.ts";
import { patterns } from "./lora/patterns.ts";
import { keepsNothing, linearInAlpha, linearInX, ownScaling, scaled, zeroB } from "./lora/scaling.ts";
import { start, startFromSeed, startOfSize, startRowByRow, startWithoutAlpha } from "./lora/start.ts";

/**
 * The laws of a LoRA layer y = x W^T + scaling (x A^T) B^T with scaling = alpha / r, or alpha / sqrt(r)
 * (Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732). Weights, inputs and configurations
 * are chosen so that no wrong scale looks right.
 *
 * @throws ValueError for a `supports` that is no list of features.
 * @example
 * for (const { name, property } of laws.lora(mine)) test(name, () => fc.assert(property));
 */
export function lora(layer: LayerUnderTest): readonly Law[] {
  const { supports, init = "zero", std, tolerance = 1e-5 } = layer;
  if (!Array.isArray(supports) || !supports.every((feature) => features.includes(feature)))
    throw new ValueError(
      `laws.lora: supports is ${JSON.stringify(supports)}; it is a list of what the layer has of ${features.join(", ")}.`,
    );
  const subject: Subject = { layer: guarded(layer), tolerance };
  return [
    ...scaled(subject, false),
    ...(supports.includes("rsLora") ? scaled(subject, true) : []),
    linearInAlpha(subject),
    linearInX(subject),
    zeroB(subject),
    bitwiseGauge(subject),
    anyGauge(subject),
    ownScaling(subject),
    keepsNothing(subject),
    ...(supports.includes("patterns") ? patterns(subject) : []),
    ...(init === "random" ? [] : [start(subject, init)]),
    ...(init === "residual"
      ? []
      : [startWithoutAlpha(subject), startFromSeed(subject), startRowByRow(subject)]),
    ...(std ? [startOfSize(subject, std)] : []),
    leavesArguments(layer),
  ];
}
