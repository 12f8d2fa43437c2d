import fc from "fast-check";

/**
 * A LoRA configuration for one weight of shape `[out, in]`, chosen so that nothing hides a wrong scale: alpha / r
 * and alpha / sqrt(r) are never 1 or -1, and alpha is never 1 or r. The weight is wide, tall or square, the rank below
 * both its sides, equal to one or to both, or above them, and alpha a whole number, a fraction or negative.
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
  /**
   * Ranks by name of a layer, which take the place of `r`. A name matches a path whose last parts it is, and of several
   * that match the first counts, as in PEFT.
   */
  readonly rankPattern?: Readonly<Record<string, number>>;
  /** Alphas by name of a layer, which take the place of `alpha`. */
  readonly alphaPattern?: Readonly<Record<string, number>>;
}

/** The scaling that a configuration promises, its patterns apart. */
export function scalingOf({ r, alpha, rsLora }: Pick<LoraConfig, "r" | "alpha" | "rsLora">): number {
  return alpha / (rsLora ? Math.sqrt(r) : r);
}

/** The names that a pattern may call a path by: whole parts at its end, the shortest first, and the whole path. */
export function namesOf(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, i) => parts.slice(parts.length - 1 - i).join("."));
}

/**
 * Few, so that compiled libraries compile little: wide, tall, square, wide with a large rank; then the rank of one side,
 * of the other, of both, and above both.
 */
const shapes = [
  { in: 4, out: 3, r: 2 },
  { in: 4, out: 7, r: 3 },
  { in: 5, out: 5, r: 2 },
  { in: 11, out: 10, r: 9 },
  { in: 3, out: 6, r: 3 },
  { in: 6, out: 4, r: 4 },
  { in: 3, out: 3, r: 3 },
  { in: 4, out: 3, r: 5 },
] as const;

/** A positive alpha that no wrong scale can pass for: not 1, r, sqrt(r) or r^2. */
export function alpha(r: number): fc.Arbitrary<number> {
  const hidden = [1, r, Math.sqrt(r), r * r];
  const all = [...Array.from({ length: 63 }, (_, i) => i + 2), 0.75];
  return fc.constantFrom(...all.filter((value) => !hidden.includes(value)));
}

/** The same of either sign, fractions more often, and sometimes a small or a large one: shrinks to a small whole number. */
export function anyAlpha(r: number): fc.Arbitrary<number> {
  const rare = fc.constantFrom(0.75, 2.5, 10.25, 0.0625, 300);
  const positive = fc.oneof({ weight: 4, arbitrary: alpha(r) }, { weight: 1, arbitrary: rare });
  return fc.tuple(positive, fc.constantFrom(1, 1, 1, -1)).map(([value, sign]) => sign * value);
}

/** Whether an alpha is of a kind that some layers have reasons to refuse: no whole number, or negative. */
export function isUnusual(alpha: number): boolean {
  return !Number.isInteger(alpha) || alpha < 0;
}

/** Whether a rank is: above the smaller side of the weight it adds parameters, and no functions. */
export function isUnusualRank(r: number, sides: Pick<LoraConfig, "in" | "out">): boolean {
  return r > Math.min(sides.in, sides.out);
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
      alpha: anyAlpha(shape.r),
      rsLora: rsLora === undefined ? fc.boolean() : fc.constant(rsLora),
      path: fc.constantFrom("layers.0.q", "layers.1.down", "layers.12.mlp.down", "layers.3.self_attn.q_proj"),
      seed: fc.nat({ max: 999 }),
    }),
  );
}
