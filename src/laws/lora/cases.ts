import fc from "fast-check";
import { type LoraConfig, loraConfig } from "../arbitrary/lora.ts";
import { matrix, quarter } from "../arbitrary/values.ts";
import type { Matrix } from "../matrix.ts";
import type { LoraParams } from "./layer.ts";

/** A layer to build, with other parameters and inputs to try it on. */
export interface Case {
  readonly config: LoraConfig;
  readonly params: LoraParams;
  readonly x: Matrix;
}

interface CaseOptions {
  /** Default false. */
  readonly rsLora?: boolean | "either";
  readonly values?: () => fc.Arbitrary<number>;
}

/** A configuration with weights and inputs that have no zero in them. */
export function cases({ rsLora = false, values = quarter }: CaseOptions = {}): fc.Arbitrary<Case> {
  return loraConfig(rsLora === "either" ? {} : { rsLora }).chain((config) =>
    fc.record({
      config: fc.constant(config),
      params: fc.record({
        weight: matrix(config.out, config.in, values()),
        A: matrix(config.r, config.in, values()),
        B: matrix(config.out, config.r, values()),
      }),
      x: fc.constantFrom(2, 1, 3, 4, 5, 17).chain((batch) => matrix(batch, config.in, values())),
    }),
  );
}
