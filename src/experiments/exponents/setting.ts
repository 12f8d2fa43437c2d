import { ValueError } from "../../base/errors.ts";
import { type Scaling, scaling } from "../../lora/index.ts";
import type { OptimizerConfig } from "../../optim/index.ts";

/** The inputs that a quantity is measured on. */
export type Inputs =
  /** The sample that the update was made from. */
  | "training"
  /** Independent of it, with centred entries. */
  | "independent"
  /** Independent of it but for a mean of 1 in every entry, which the sample has too. */
  | "commonMean";

/** Where the layer stands before the update. */
export type Start =
  /** B is zero, as LoRA starts. */
  | "zeroB"
  /** B has entries of order 1. */
  | "randomB";

/**
 * A linear layer with an adapter, and how it is trained. Entries of inputs have variance 1; A has independent
 * normal entries of variance 1/n, so that A x has entries of order 1.
 */
export interface Setting {
  /** Width: inputs of the layer. */
  readonly n: number;
  /** Outputs of the layer. */
  readonly outputs: number;
  readonly r: number;
  readonly alpha: number;
  /** Which scaling: alpha / r, or alpha / sqrt(r). */
  readonly scaling: "lora" | "rsLora";
  readonly optimizer: OptimizerConfig;
  readonly inputs: Inputs;
  readonly start: Start;
  readonly seed: number;
}

/** What is taken where a caller says nothing else. eps is negligible against every gradient here. */
export const defaultSetting: Omit<Setting, "seed"> = {
  n: 1024,
  outputs: 16,
  r: 8,
  alpha: 8,
  scaling: "lora",
  optimizer: { name: "adam", lr: 1e-4, eps: 1e-12 },
  inputs: "training",
  start: "zeroB",
};

/** The scaling of a setting's adapter. */
export function scalingOf({ r, alpha, scaling: mode }: Setting): Scaling {
  return scaling({ r, alpha, rsLora: mode === "rsLora" });
}

/** @throws ValueError naming what cannot be measured. */
export function checkSetting(setting: Setting): void {
  const { n, outputs, r, inputs, start, scaling: mode } = setting;
  for (const [name, size] of Object.entries({ n, outputs })) {
    if (!Number.isInteger(size) || size < 1)
      throw new ValueError(`exponent: ${name} is ${size}; it is an integer >= 1.`);
  }
  oneOf("inputs", inputs, ["training", "independent", "commonMean"]);
  oneOf("start", start, ["zeroB", "randomB"]);
  oneOf("scaling", mode, ["lora", "rsLora"]);
  scalingOf(setting);
  if (r > n) throw new ValueError(`exponent: r is ${r}, larger than the width ${n}. Use r <= ${n}.`);
}

function oneOf(name: string, given: string, words: readonly string[]): void {
  if (!words.includes(given))
    throw new ValueError(`exponent: ${name} is ${JSON.stringify(given)}; it is one of ${words.join(", ")}.`);
}
