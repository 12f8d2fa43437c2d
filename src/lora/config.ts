import { ValueError } from "../base/errors.ts";
import { type ScalingConfig, scaling } from "./scaling.ts";

/** How A and B start. */
export type AdapterInit =
  /** A Kaiming-uniform with a = sqrt 5, B zero: the adapter starts as the zero map, and B moves first. */
  | "standard"
  /** A zero, B Kaiming-uniform over its r inputs: also the zero map, and A moves first. */
  | "swapped"
  /** Both Kaiming-uniform: the adapter starts as a random map of rank r. */
  | "random";

export interface AdapterConfig extends ScalingConfig {
  /** Probability with which an entry of the adapter's input is zeroed in training. Default 0. */
  readonly dropout?: number;
  /** Default "standard". */
  readonly init?: AdapterInit;
  /** Factors on the initial values of A and B. Default 1 and 1. */
  readonly initScale?: InitScale;
  /** A bias inside the scaled branch, `scaling * (B A x + loraBias)`, starting at zero. Default false. */
  readonly branchBias?: boolean;
}

export interface InitScale {
  readonly A?: number;
  readonly B?: number;
}

const inits: readonly AdapterInit[] = ["standard", "swapped", "random"];

/**
 * Checks everything about a configuration that does not depend on a layer.
 *
 * @throws ValueError naming the field, its value and what it may be.
 */
export function checkAdapterConfig(config: AdapterConfig): void {
  scaling(config);
  const { dropout = 0, init = "standard", initScale = {} } = config;
  if (!(dropout >= 0 && dropout < 1)) {
    throw new ValueError(`lora: dropout is ${dropout}; it is a probability from 0 to below 1.`);
  }
  if (!inits.includes(init))
    throw new ValueError(`lora: init is ${String(init)}; it is one of ${inits.join(", ")}.`);
  for (const [name, value] of Object.entries(initScale)) {
    if (!Number.isFinite(value) || value === 0) {
      throw new ValueError(
        `lora: initScale.${name} is ${value}; it is a finite number other than 0. Start at zero with init.`,
      );
    }
  }
}
