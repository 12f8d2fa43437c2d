import { internal } from "../../../../base/errors.ts";
import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Module } from "../assemble.ts";
import { threadScratch } from "../matmul/schedule.ts";
import type { Defined } from "../nest.ts";
import { defineImages } from "./images.ts";
import { partsOf, planes, scheduleWinograd, weightPlane } from "./schedule.ts";
import { defineSlope } from "./slope.ts";
import { defineWeights } from "./weights.ts";

/** The product as a convolution of 3 x 3; undefined where it is none, or not one that is faster so. */
export function defineConvolution(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  relaxed: boolean,
): Defined | undefined {
  const g = scheduleWinograd(kernel, relaxed);
  if (!g) return undefined;
  if (partsOf(g).bytes > threadScratch)
    internal("a block of a convolution is larger than the scratch memory");
  const fused = g.relaxed ? ", fused multiply-add" : "";
  const note = `windows of 3 x 3 in tiles of 2 x 2, by Winograd's transforms${fused}`;
  if (g.slope) return { phases: [defineSlope(module, kernel, given, g, g.slope)], note };
  const phases = [defineWeights(module, kernel, given, g), defineImages(module, kernel, given, g)];
  return { phases, scratch: planes * weightPlane(kernel.row.extent, g.windows.channels), note };
}
