import fc from "fast-check";
import { loraConfig, scalingOf } from "../arbitrary/lora.ts";
import { powerOfTwo } from "../arbitrary/values.ts";
import { close, difference, identical, largest } from "../compare.ts";
import { type Law, LawError, law } from "../law.ts";
import { type Matrix, multiply, transpose, zeros } from "../matrix.ts";
import { cases } from "./cases.ts";
import type { LayerUnderTest, LoraParams, Subject } from "./layer.ts";
import { sizeOf } from "./output.ts";

export function start({ layer, tolerance }: Subject, init: "zero" | "residual"): Law {
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

/** What is drawn at random: the side that is not zero, or both. */
function drawnSides({ A, B }: LoraParams): Matrix[] {
  return [A, B].filter((side) => largest(side) > 0);
}

export function startFromSeed({ layer }: Subject): Law {
  return law(
    "initial values come from the seed",
    "the same seed gives the same A and B, another seed others",
    cases().chain((one) =>
      fc.record({ one: fc.constant(one), later: fc.constantFrom(1, 2, 9, 2 ** 8, 2 ** 16, 2 ** 31) }),
    ),
    async ({ one: { config, params }, later }) => {
      const at = async (seed: number) => (await layer.build(params.weight, { ...config, seed })).params;
      const first = await at(config.seed);
      const path = difference(await at(config.seed), first);
      if (path !== undefined)
        throw new LawError(`params${path} differs between two builds with seed ${config.seed}.`);
      const other = drawnSides(await at(config.seed + later));
      const same = drawnSides(first).findIndex((side, i) => difference(side, other[i]) === undefined);
      if (same >= 0)
        throw new LawError(`seeds ${config.seed} and ${config.seed + later} start with the same factor.`);
    },
  );
}

/** Large enough that one start has hundreds of random numbers. */
const largeShapes = [
  { in: 96, out: 64, r: 8 },
  { in: 64, out: 128, r: 12 },
  { in: 48, out: 48, r: 16 },
  { in: 24, out: 40, r: 24 },
] as const;

const largeConfig = () =>
  fc.tuple(loraConfig(), fc.constantFrom(...largeShapes)).map(([config, shape]) => ({ ...config, ...shape }));

export function startOfSize({ layer }: Subject, std: NonNullable<LayerUnderTest["std"]>): Law {
  return law(
    "initial values have the promised size",
    "the random factor's mean is 0 and its standard deviation the promised one, to 6 standard errors of normal numbers",
    largeConfig(),
    async (config) => {
      const { params } = await layer.build(zeros(config.out, config.in), config);
      const due = std(config);
      for (const side of drawnSides(params)) {
        const values = side.flat();
        const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
        const found = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
        const error = 6 / Math.sqrt(values.length);
        if (Math.abs(mean) > error * due || Math.abs(found / due - 1) > error / Math.SQRT2)
          throw new LawError(
            `the ${values.length} numbers of the random factor have mean ${mean} and standard deviation ${found}, expected 0 and ${due}, for [${config.out},${config.in}] with r ${config.r}.`,
          );
      }
    },
  );
}

export function startRowByRow({ layer }: Subject): Law {
  return law(
    "initial values differ from row to row",
    "no two rows, and no two columns, of the random factor are the same",
    largeConfig(),
    async (config) => {
      const { params } = await layer.build(zeros(config.out, config.in), config);
      for (const side of drawnSides(params))
        for (const [what, all] of [
          ["rows", side],
          ["columns", transpose(side)],
        ] as const) {
          // Short ones may be the same by chance, where numbers are few.
          const long = all.filter((row) => row.length >= 24).map((row) => JSON.stringify(row));
          const same = long.findIndex((row, i) => long.indexOf(row) < i);
          if (same >= 0)
            throw new LawError(
              `${what} ${long.indexOf(long[same]!)} and ${same} of the random factor are the same, for [${config.out},${config.in}] with r ${config.r}.`,
            );
        }
    },
  );
}

export function startWithoutAlpha({ layer }: Subject): Law {
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
