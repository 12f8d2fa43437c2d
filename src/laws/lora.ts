import fc from "fast-check";
import { ValueError } from "../base/errors.ts";
import { gauge } from "./arbitrary/gauge.ts";
import { alpha, type LoraConfig, loraConfig, scalingOf } from "./arbitrary/lora.ts";
import { matrix, powerOfTwo, quarter, rough } from "./arbitrary/values.ts";
import { type CloseOptions, close, difference, identical, largest, untouched } from "./compare.ts";
import { type Awaitable, type Law, LawError, law } from "./law.ts";
import { type Matrix, map, multiply, plus, shapeOf, times, transpose, zeros } from "./matrix.ts";

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

const features = ["rsLora", "merge", "patterns"] as const;

/** What a layer may have beyond `alpha / r`. */
export type LoraFeature = (typeof features)[number];

/** A LoRA layer under test, of any library. */
export interface LoraLayer {
  /** What it has; laws about the rest are left out. */
  readonly supports: readonly LoraFeature[];
  /**
   * What it promises about initial values. "zero": A or B is zero, the weight is untouched, and nothing depends on
   * alpha. "residual" (PiSSA, OLoRA): W' + scaling B A = W for every scaling. "random": the weight is untouched,
   * and nothing depends on alpha. Default "zero".
   */
  readonly init?: "zero" | "residual" | "random";
  /** Largest rounding error, as a share of the terms that are added. Default 1e-5, which float32 keeps. */
  readonly tolerance?: number;
  /** Adapts a linear layer without bias to a configuration. Random numbers come from `config.seed` alone. */
  build(weight: Matrix, config: LoraConfig): Awaitable<BuiltLora>;
}

interface Case {
  readonly config: LoraConfig;
  readonly params: LoraParams;
  readonly x: Matrix;
}

/**
 * The laws of a LoRA layer y = x W^T + scaling (x A^T) B^T with scaling = alpha / r, or alpha / sqrt(r)
 * (Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732). Weights, inputs and configurations
 * are chosen so that no wrong scale looks right.
 *
 * @throws ValueError for a `supports` that is no list of features.
 * @example
 * for (const { name, property } of laws.lora(mine)) test(name, () => fc.assert(property));
 */
export function lora(layer: LoraLayer): readonly Law[] {
  const { supports, init = "zero", tolerance = 1e-5 } = layer;
  if (!Array.isArray(supports) || !supports.every((feature) => features.includes(feature)))
    throw new ValueError(
      `laws.lora: supports is ${JSON.stringify(supports)}; it is a list of what the layer has of ${features.join(", ")}.`,
    );
  const subject: Subject = { layer: guarded(layer), tolerance };
  return [
    ...scaled(subject, false),
    ...(supports.includes("rsLora") ? scaled(subject, true) : []),
    linearInAlpha(subject),
    zeroB(subject),
    bitwiseGauge(subject),
    anyGauge(subject),
    ownScaling(subject),
    ...(supports.includes("patterns") ? patterns(subject) : []),
    ...(init === "random" ? [] : [start(subject, init)]),
    ...(init === "residual" ? [] : [startWithoutAlpha(subject)]),
    leavesArguments(layer),
  ];
}

interface Subject {
  readonly layer: LoraLayer;
  readonly tolerance: number;
}

/** The layer on copies of its arguments: if it changes them, one law says so, and no other one fails for it. */
function guarded(layer: LoraLayer): LoraLayer {
  return {
    ...layer,
    build: async (weight, config) => {
      const built = await layer.build(structuredClone(weight), structuredClone(config));
      const { forward, merge } = built;
      return {
        ...built,
        forward: (params, x) => forward.call(built, structuredClone(params), structuredClone(x)),
        ...(merge && { merge: (params: LoraParams) => merge.call(built, structuredClone(params)) }),
      };
    },
  };
}

// --- scaling ---------------------------------------------------------------------------------------------------

function scaled({ layer, tolerance }: Subject, rsLora: boolean): Law[] {
  const [formula, suffix] = rsLora ? ["alpha / sqrt(r)", ", with rsLoRA"] : ["alpha / r", ""];
  const forward = law(
    `forward applies the scaling once${suffix}`,
    `y = x W^T + s (x A^T) B^T with s = ${formula}`,
    cases({ rsLora }),
    async ({ config, params, x }) => {
      const built = await layer.build(params.weight, config);
      const y = await built.forward(params, x);
      close("y", y, output(params, x, scalingOf(config)), options(tolerance, config, params, x));
    },
  );
  const declared = law(
    `scaling is ${formula}${suffix}`,
    `scaling = ${formula}`,
    cases({ rsLora }),
    async ({ config, params }) => {
      const { scaling } = await layer.build(params.weight, config);
      if (scaling === undefined) return;
      const expected = scalingOf(config);
      if (!(Math.abs(scaling - expected) <= tolerance * expected))
        throw new LawError(`scaling is ${scaling}, expected ${expected}.${guess(scaling, config)}`);
    },
  );
  if (!layer.supports.includes("merge")) return [declared, forward];
  const merged = law(
    `merge equals forward${suffix}`,
    `x merge(W, A, B)^T = forward(x), s = ${formula}`,
    cases({ rsLora }),
    async ({ config, params, x }) => {
      const built = await layer.build(params.weight, config);
      if (!built.merge)
        throw new LawError(
          'The layer supports "merge", and build returned no merge. Return one, or drop "merge".',
        );
      const y = multiply(x, transpose(await built.merge(params)));
      close("x merge(W, A, B)^T", y, await built.forward(params, x), options(tolerance, config, params, x));
    },
  );
  return [declared, forward, merged];
}

function linearInAlpha({ layer, tolerance }: Subject): Law {
  return law(
    "linear in alpha",
    "forward(t alpha) - x W^T = t (forward(alpha) - x W^T)",
    cases().chain((one) => fc.record({ one: fc.constant(one), t: fc.constantFrom(2, 3, 0.5) })),
    async ({ one: { config, params, x }, t }) => {
      const base = multiply(x, transpose(params.weight));
      const change = async (alpha: number) => {
        const built = await layer.build(params.weight, { ...config, alpha });
        return plus(await built.forward(params, x), times(-1, base));
      };
      const found = await change(t * config.alpha);
      const size = t * sizeOf(params, x, scalingOf(config)) + largest(base);
      close(`what the adapter adds at ${t} alpha`, found, times(t, await change(config.alpha)), {
        tolerance,
        size,
      });
    },
  );
}

function zeroB({ layer, tolerance }: Subject): Law {
  return law("B = 0 gives the base", "forward(W, A, 0) = x W^T", cases(), async ({ config, params, x }) => {
    const built = await layer.build(params.weight, config);
    const y = await built.forward({ ...params, B: map(params.B, () => 0) }, x);
    const base = multiply(x, transpose(params.weight));
    close("y", y, base, { tolerance, size: sizeOf(params, x, 0) });
  });
}

// --- the gauge -------------------------------------------------------------------------------------------------

function bitwiseGauge({ layer }: Subject): Law {
  return law(
    "gauge by powers of two, bitwise",
    "forward(a A, b B, alpha / (a b)) = forward(A, B, alpha), to the last bit",
    cases({ values: rough }).chain((one) =>
      fc.record({ one: fc.constant(one), gauge: gauge({ powersOfTwo: true }) }),
    ),
    async ({ one, gauge }) => {
      const [y, partner] = await gauged(layer, one, gauge);
      identical("y of the gauge partner", partner, y);
    },
  );
}

function anyGauge({ layer, tolerance }: Subject): Law {
  return law(
    "gauge by any factors",
    "forward(a A, b B, alpha / (a b)) = forward(A, B, alpha), to rounding",
    cases().chain((one) => fc.record({ one: fc.constant(one), gauge: gauge({ powersOfTwo: false }) })),
    async ({ one, gauge }) => {
      const [y, partner] = await gauged(layer, one, gauge);
      const size = sizeOf(one.params, one.x, scalingOf(one.config));
      close("y of the gauge partner", partner, y, { tolerance, size });
    },
  );
}

async function gauged(
  layer: LoraLayer,
  { config, params, x }: Case,
  { a, b, k }: { readonly a: number; readonly b: number; readonly k: number },
): Promise<[y: Matrix, partner: Matrix]> {
  const one = await layer.build(params.weight, config);
  const y = await one.forward(params, x);
  const other = await layer.build(params.weight, { ...config, alpha: k * config.alpha });
  const moved = { weight: params.weight, A: times(a, params.A), B: times(b, params.B) };
  return [y, await other.forward(moved, x)];
}

// --- several layers --------------------------------------------------------------------------------------------

function ownScaling({ layer, tolerance }: Subject): Law {
  return law(
    "each layer keeps its own scaling",
    "building a second layer leaves the first one as it was",
    cases().chain((one) => fc.record({ one: fc.constant(one), other: alpha(one.config.r) })),
    async ({ one: { config, params, x }, other }) => {
      const built = await layer.build(params.weight, config);
      const before = await built.forward(params, x);
      const second = await layer.build(params.weight, { ...config, alpha: other });
      await second.forward(params, x);
      const size = sizeOf(params, x, scalingOf(config));
      close("y of the first layer", await built.forward(params, x), before, { tolerance, size });
    },
  );
}

function patterns({ layer, tolerance }: Subject): Law[] {
  /** The last part of the path, the whole path, or another layer's name. */
  const named = cases().chain((one) =>
    fc.record({
      one: fc.constant(one),
      name: fc.constantFrom(one.config.path, one.config.path.split(".").at(-1)!, "elsewhere"),
      rank: fc.constantFrom(...[1, 2, 3].filter((rank) => rank < Math.min(one.config.in, one.config.out))),
      other: alpha(one.config.r),
    }),
  );
  const check = async (
    { config, params, x }: Case,
    pattern: Pick<LoraConfig, "rankPattern" | "alphaPattern">,
    effective: LoraConfig,
  ) => {
    const built = await layer.build(params.weight, { ...config, ...pattern });
    const { r } = effective;
    const [rows, columns] = [built.params.A.length, built.params.B[0]?.length];
    if (rows !== r || columns !== r)
      throw new LawError(
        `A has the shape ${shapeOf(built.params.A)}, B has ${shapeOf(built.params.B)}; the rank for ${config.path} is ${r}.`,
      );
    const own = { ...params, A: resized(params.A, r, config.in), B: resized(params.B, config.out, r) };
    const expected = output(own, x, scalingOf(effective));
    close("y", await built.forward(own, x), expected, options(tolerance, effective, own, x));
  };
  return [
    law(
      "rank pattern",
      "where a name in rankPattern is the path's, its rank takes the place of r: in the shapes and in the scaling",
      named,
      ({ one, name, rank }) =>
        check(
          one,
          { rankPattern: { [name]: rank } },
          { ...one.config, r: name === "elsewhere" ? one.config.r : rank },
        ),
    ),
    law(
      "alpha pattern",
      "where a name in alphaPattern is the path's, its alpha takes the place of alpha",
      named,
      ({ one, name, other }) =>
        check(
          one,
          { alphaPattern: { [name]: other } },
          { ...one.config, alpha: name === "elsewhere" ? one.config.alpha : other },
        ),
    ),
  ];
}

/** The entries of a matrix over again in another shape. */
function resized(x: Matrix, rows: number, columns: number): Matrix {
  const values = x.flat();
  return map(zeros(rows, columns), () => 0).map((row, i) =>
    row.map((_, j) => values[(i * columns + j) % values.length]!),
  );
}

// --- initial values --------------------------------------------------------------------------------------------

function start({ layer, tolerance }: Subject, init: "zero" | "residual"): Law {
  const statement =
    init === "zero" ? "W' = W, and A or B is 0, not both" : "W' + s B A = W, at every scaling s";
  const drawn = cases({ rsLora: layer.supports.includes("rsLora") ? "either" : false });
  return law(`initial values: ${init}`, statement, drawn, async ({ config, params: { weight }, x }) => {
    const built = await layer.build(weight, config);
    const { params } = built;
    if (init === "zero") {
      identical("W'", params.weight, weight);
      const zeroSides = [params.A, params.B].filter((side) => largest(side) === 0).length;
      if (zeroSides !== 1)
        throw new LawError(
          zeroSides === 0
            ? "Neither A nor B starts at zero."
            : "Both A and B start at zero: their gradients are zero for good.",
        );
    } else if (Math.min(largest(params.A), largest(params.B)) === 0) {
      throw new LawError("A or B starts at zero: there is nothing of the weight in the adapter.");
    }
    const expected = multiply(x, transpose(weight));
    const size = Math.max(sizeOf(params, x, scalingOf(config)), sizeOf({ ...params, weight }, x, 0));
    close("y of the fresh layer", await built.forward(params, x), expected, { tolerance, size });
  });
}

function startWithoutAlpha({ layer }: Subject): Law {
  return law(
    "initial values do not depend on alpha",
    "A, B and W at the start are the same for every alpha",
    cases().chain((one) => fc.record({ one: fc.constant(one), t: powerOfTwo(3) })),
    async ({ one: { config, params }, t }) => {
      const first = await layer.build(params.weight, config);
      const second = await layer.build(params.weight, { ...config, alpha: t * config.alpha });
      const at = difference(first.params, second.params);
      if (at !== undefined)
        throw new LawError(
          `params${at} differs between alpha ${config.alpha} and ${t * config.alpha}, seed ${config.seed}.`,
        );
    },
  );
}

function leavesArguments(layer: LoraLayer): Law {
  return law(
    "arguments stay as they were",
    "build, forward and merge change nothing that they are given",
    cases(),
    async (drawn) => {
      // A copy, so that the counterexample is what was drawn.
      const { config, params, x } = structuredClone(drawn);
      await untouched({ config, params, x }, async () => {
        const built = await layer.build(params.weight, config);
        await built.forward(params, x);
        await built.merge?.(params);
      });
    },
  );
}

// --- cases -----------------------------------------------------------------------------------------------------

interface CaseOptions {
  /** Default false. */
  readonly rsLora?: boolean | "either";
  readonly values?: () => fc.Arbitrary<number>;
}

/** A configuration with weights and inputs that have no zero in them. */
function cases({ rsLora = false, values = quarter }: CaseOptions = {}): fc.Arbitrary<Case> {
  return loraConfig(rsLora === "either" ? {} : { rsLora }).chain((config) =>
    fc.record({
      config: fc.constant(config),
      params: fc.record({
        weight: matrix(config.out, config.in, values()),
        A: matrix(config.r, config.in, values()),
        B: matrix(config.out, config.r, values()),
      }),
      x: matrix(2, config.in, values()),
    }),
  );
}

function output({ weight, A, B }: LoraParams, x: Matrix, scaling: number): Matrix {
  const branch = multiply(multiply(x, transpose(A)), transpose(B));
  return plus(multiply(x, transpose(weight)), times(scaling, branch));
}

/** The largest sum of the sizes of the terms of an output: what rounding errors are in proportion to. */
function sizeOf(params: LoraParams, x: Matrix, scaling: number): number {
  const size = (m: Matrix) => map(m, Math.abs);
  const sizes = { weight: size(params.weight), A: size(params.A), B: size(params.B) };
  return largest(output(sizes, size(x), Math.abs(scaling)));
}

/** How to compare outputs, with a guess at the scale that was applied. */
function options(tolerance: number, config: LoraConfig, params: LoraParams, x: Matrix): CloseOptions {
  const base = multiply(x, transpose(params.weight)).flat();
  const expected = output(params, x, scalingOf(config)).flat();
  return {
    tolerance,
    size: sizeOf(params, x, scalingOf(config)),
    hint: (found, due) => {
      const share = expected.indexOf(due);
      const branch = (due - (base[share] ?? 0)) / scalingOf(config);
      return branch === 0 || share < 0 ? "" : guess((found - base[share]!) / branch, config);
    },
  };
}

/** Which known mistake a scaling looks like. */
function guess(scaling: number, { alpha, r, rsLora }: LoraConfig): string {
  const known: readonly (readonly [value: number, meaning: string])[] = [
    [0, "the adapter is left out"],
    [1, "no scaling is applied"],
    [1 / r, "alpha is ignored"],
    [alpha, "alpha is not divided"],
    [rsLora ? alpha / r : alpha / Math.sqrt(r), rsLora ? "rsLoRA is ignored" : "alpha is divided by sqrt(r)"],
    [scalingOf({ alpha, r, rsLora }) ** 2, "the scaling is applied twice"],
  ];
  const match = known.find(([value]) => Math.abs(scaling - value) <= 1e-4 * Math.max(1, value));
  return match ? ` The scaling in effect is ${scaling}: ${match[1]}.` : "";
}
