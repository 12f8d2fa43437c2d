import type { LoraConfig } from "../arbitrary/lora.ts";
import type { Awaitable } from "../law.ts";
import type { Matrix } from "../matrix.ts";

/** The parameters of an adapted linear layer. */
export interface LoraParams {
  /** W, `[out, in]`: frozen. */
  readonly weight: Matrix;
  /** A, `[r, in]`. */
  readonly A: Matrix;
  /** B, `[out, r]`. */
  readonly B: Matrix;
}

/** A layer that was built for one configuration. */
export interface BuiltLora {
  /** As they are when training begins. */
  readonly params: LoraParams;
  /** The scaling that the layer says it has, if it says so. */
  readonly scaling?: number;
  /** The output `[batch, out]` for inputs `[batch, in]`, with the given parameters in place of its own. */
  forward(params: LoraParams, x: Matrix): Awaitable<Matrix>;
  /** The weight `[out, in]` with the adapter in it. */
  merge?(params: LoraParams): Awaitable<Matrix>;
}

export const features = ["rsLora", "merge", "patterns"] as const;

/** What a layer may have beyond `alpha / r`. */
export type LoraFeature = (typeof features)[number];

/** A LoRA layer under test, of any library. */
export interface LayerUnderTest {
  /** What it has; laws about the rest are left out. */
  readonly supports: readonly LoraFeature[];
  /**
   * What it promises about initial values. "zero": A or B is zero, the weight is untouched, and nothing depends on
   * alpha. "residual" (PiSSA, OLoRA): W' + scaling B A = W for every scaling. "random": the weight is untouched,
   * and nothing depends on alpha. Default "zero".
   */
  readonly init?: "zero" | "residual" | "random";
  /**
   * Standard deviation of the numbers that are drawn for A or B, where it is promised: `1 / sqrt(3 in)` for A of
   * loralib and PEFT (uniform, Kaiming with a = sqrt(5)), `1 / r` for PEFT's "gaussian".
   */
  readonly std?: (config: LoraConfig) => number;
  /** Largest rounding error, as a share of the terms that are added. Default 1e-5, which float32 keeps. */
  readonly tolerance?: number;
  /** Adapts a linear layer without bias to a configuration. Random numbers come from `config.seed` alone. */
  build(weight: Matrix, config: LoraConfig): Awaitable<BuiltLora>;
}

/** A layer with the rounding that it may show. */
export interface Subject {
  readonly layer: LayerUnderTest;
  readonly tolerance: number;
}
