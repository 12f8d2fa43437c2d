import fc from "fast-check";

/**
 * A LoRA configuration for one weight of shape `[out, in]`, chosen so that nothing hides a wrong scale: alpha / r
 * and alpha / sqrt(r) are never 1, alpha is never 1 or r, and `r < in`, `r < out`, `in != out`, so that neither
 * factor is square.
 */
export interface LoraConfig {
  readonly in: number;
  readonly out: number;
  readonly r: number;
  readonly alpha: number;
  /** The scaling is alpha / sqrt(r) instead of alpha / r. */
  readonly rsLora: boolean;
  /** Where the layer sits in its model. */
  readonly path: string;
  /** What initial values are drawn from. */
  readonly seed: number;
  /** Ranks by name of a layer, which take the place of `r`. A name matches a path whose last part it is. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alphas by name of a layer, which take the place of `alpha`. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** The scaling that a configuration promises, its patterns apart. */
export function scalingOf({ r, alpha, rsLora }: Pick<LoraConfig, "r" | "alpha" | "rsLora">): number {
  return alpha / (rsLora ? Math.sqrt(r) : r);
}

/** Few, so that compiled libraries compile little. */
const shapes = [
  { in: 5, out: 3, r: 2 },
  { in: 4, out: 7, r: 3 },
  { in: 6, out: 5, r: 4 },
] as const;

/** An alpha that no wrong scale can pass for: not 1, r, sqrt(r) or r^2. */
export function alpha(r: number): fc.Arbitrary<number> {
  const hidden = [1, r, Math.sqrt(r), r * r];
  const all = [0.75, ...Array.from({ length: 63 }, (_, i) => i + 2)];
  return fc.constantFrom(...all.filter((value) => !hidden.includes(value)));
}

export interface LoraConfigOptions {
  /** Default both. */
  readonly rsLora?: boolean;
}

/** A configuration without patterns. */
export function loraConfig({ rsLora }: LoraConfigOptions = {}): fc.Arbitrary<LoraConfig> {
  return fc.constantFrom(...shapes).chain((shape) =>
    fc.record({
      in: fc.constant(shape.in),
      out: fc.constant(shape.out),
      r: fc.constant<number>(shape.r),
      alpha: alpha(shape.r),
      rsLora: rsLora === undefined ? fc.boolean() : fc.constant(rsLora),
      path: fc.constantFrom("layers.0.q", "layers.1.down"),
      seed: fc.nat({ max: 999 }),
    }),
  );
}
