import { checkArgument, checkNames, flag, fraction, isPlainObject, show } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { checkFloatDType } from "../nn/check.ts";
import { chosen, type KindOptions, kinds } from "./kinds/index.ts";
import { type ScalingConfig, scaling } from "./scaling.ts";

/** How A and B start; `docs/lora.md` compares them. */
export type AdapterInit =
  /** A Kaiming-uniform with a = sqrt 5, B zero: the adapter starts as the zero map, and B moves first. */
  | "standard"
  /** A zero, B Kaiming-uniform over its r inputs: also the zero map, and A moves first. */
  | "swapped"
  /** Both Kaiming-uniform: the adapter starts as a random map of rank r. */
  | "random"
  /** A normal with standard deviation 1/r, B zero, as PEFT's "gaussian". */
  | "gaussian"
  /** A and B random in orthogonal halves of the r dimensions, so that BA = 0 with neither zero; r is even. */
  | "orthogonal"
  /** The r largest singular triples of the weight, which keeps the rest (Meng et al. 2024, arXiv:2404.02948). */
  | "pissa"
  /** The first r columns of Q and rows of R of the weight (Buyukakyuz 2024, arXiv:2406.01775). */
  | "olora";

export interface AdapterConfig extends ScalingConfig, KindOptions {
  /** Probability with which an entry of the adapter's input is zeroed in training. Default 0. */
  readonly dropout?: number;
  /** Default "standard". "orthogonal", "pissa" and "olora" start with `initialize`. */
  readonly init?: AdapterInit;
  /** Factors on the initial values of A and B. Default 1 and 1. */
  readonly initScale?: InitScale;
  /**
   * Of the adapter's parameters, in which its branch is computed. Default that of the weight, but float32 where the weight
   * is float16, packed or not: updates of an adapter are too small for 16 bits.
   */
  readonly dtype?: FloatDType;
}

export interface InitScale {
  readonly A?: number;
  readonly B?: number;
}

const inits: readonly AdapterInit[] = [
  "standard",
  "swapped",
  "random",
  "gaussian",
  "orthogonal",
  "pissa",
  "olora",
];

/** Whether initial values come from a decomposition on the host, which waits for values of tensors. */
export function startsOnHost({ init }: AdapterConfig): boolean {
  return init === "orthogonal" || isResidual({ init });
}

/** Whether the adapter starts as a part of the weight, and the frozen weight as the rest. */
export function isResidual({ init }: { readonly init?: AdapterInit | undefined }): boolean {
  return init === "pissa" || init === "olora";
}

const kindOptions = kinds.map(({ option }) => option);

/** The options of an adapter. */
const names: readonly string[] = [
  ...(["r", "alpha", "rsLora", "dropout", "init", "initScale", "dtype"] satisfies (keyof AdapterConfig)[]),
  ...kindOptions.map(({ name }) => name),
];

/** What PEFT and others call them. */
const otherNames: Readonly<Record<string, string>> = {
  rank: "r",
  lora_alpha: "alpha",
  lora_r: "r",
  use_rslora: "rsLora",
  lora_dropout: "dropout",
  init_lora_weights: "init",
  autocast_adapter_dtype: "dtype",
  ...Object.fromEntries(kindOptions.map(({ name, peft }) => [peft, name])),
};

/** The other fields of a recipe (`gauge`), which may stand beside those of an adapter: its trainer reads them. */
const recipeNames: readonly string[] = ["adapts", "optimizer", "groups", "schedule", "trained", "clip"];

/**
 * Checks that a configuration has no other options than those of an adapter, and `more`; a recipe has some.
 *
 * @throws ValueError naming the unknown one, and the one that may be meant.
 */
export function checkConfigNames(where: string, config: object, more: readonly string[] = []): void {
  if (!isPlainObject(config)) checkNames(where, config, [...names, ...more]);
  const own = Object.entries(config).filter(([name]) => !recipeNames.includes(name));
  checkNames(where, Object.fromEntries(own), [...names, ...more], otherNames);
}

/**
 * Checks everything about a configuration that does not depend on a layer.
 *
 * @throws ValueError naming the field, its value and what it may be.
 */
export function checkAdapterConfig(config: AdapterConfig): void {
  scaling(config);
  if (config.dtype !== undefined) checkFloatDType("lora", config.dtype);
  const given = config as unknown as Readonly<Record<string, unknown>>; // an object, as scaling saw
  for (const name of ["rsLora", ...kindOptions.map(({ name }) => name)]) {
    const value = given[name];
    if (value !== undefined) checkArgument("lora", name, value, flag);
  }
  const { r, dropout = 0, init = "standard", initScale = {} } = config;
  if (!fraction().valid(dropout))
    throw new ValueError(`lora: dropout is ${show(dropout)}; it is a probability from 0 to below 1.`);
  if (!inits.includes(init))
    throw new ValueError(`lora: init is ${String(init)}; it is one of ${inits.join(", ")}.`);
  if (init === "orthogonal" && r % 2 !== 0)
    throw new ValueError(
      `lora: init is orthogonal and r ${r}; A and B get half of the dimensions each, so r is even. Use r ${r + 1}.`,
    );
  const [kind, other] = chosen(config);
  if (other)
    throw new ValueError(
      `lora: ${kind!.option.name} and ${other.option.name} are two kinds of adapters, and one has no place for the tensors of the other. Leave one of them out.`,
    );
  checkNames("lora: initScale", initScale, ["A", "B"]);
  for (const [name, value] of Object.entries(initScale)) {
    if (!Number.isFinite(value) || value === 0) {
      throw new ValueError(
        `lora: initScale.${name} is ${value}; it is a finite number other than 0. Start at zero with init.`,
      );
    }
  }
}
