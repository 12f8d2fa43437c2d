import fc from "fast-check";
import { alpha, type LoraConfig, scalingOf } from "../arbitrary/lora.ts";
import { close } from "../compare.ts";
import { type Law, LawError, law } from "../law.ts";
import { type Matrix, shapeOf, zeros } from "../matrix.ts";
import { type Case, cases } from "./cases.ts";
import type { Subject } from "./layer.ts";
import { options, output } from "./output.ts";

/** Ranks and alphas of its own for a layer that a pattern names. */
export function patterns({ layer, tolerance }: Subject): Law[] {
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
  return zeros(rows, columns).map((row, i) => row.map((_, j) => values[(i * columns + j) % values.length]!));
}
