import fc from "fast-check";
import { anyAlpha, type LoraConfig, namesOf, scalingOf } from "../arbitrary/lora.ts";
import { close } from "../compare.ts";
import { type Law, LawError, law } from "../law.ts";
import { type Matrix, multiply, shapeOf, transpose, zeros } from "../matrix.ts";
import { type Case, cases } from "./cases.ts";
import type { Subject } from "./layer.ts";
import { checkScaling, options, output } from "./output.ts";

type Patterns = Required<Pick<LoraConfig, "rankPattern" | "alphaPattern">>;

/** Ranks and alphas of its own for a layer that a pattern names. */
export function patterns({ layer, tolerance }: Subject): Law[] {
  const check = async ({ config, params, x }: Case, given: Partial<Patterns>) => {
    const built = await layer.build(params.weight, { ...config, ...given });
    const own = (pattern: Readonly<Record<string, number>> = {}) =>
      Object.entries(pattern).find(([name]) => namesOf(config.path).includes(name))?.[1];
    const effective = {
      ...config,
      r: own(given.rankPattern) ?? config.r,
      alpha: own(given.alphaPattern) ?? config.alpha,
    };
    const { r } = effective;
    const [rows, columns] = [built.params.A.length, built.params.B[0]?.length];
    if (rows !== r || columns !== r)
      throw new LawError(
        `A has the shape ${shapeOf(built.params.A)}, B has ${shapeOf(built.params.B)}; the rank for ${config.path} is ${r}.`,
      );
    checkScaling(built.scaling, effective, tolerance);
    const resizedParams = {
      ...params,
      A: resized(params.A, r, config.in),
      B: resized(params.B, config.out, r),
    };
    const due = output(resizedParams, x, scalingOf(effective));
    const allowed = options(tolerance, effective, resizedParams, x);
    close("y", await built.forward(resizedParams, x), due, allowed);
    if (built.merge)
      close("x merge(W, A, B)^T", multiply(x, transpose(await built.merge(resizedParams))), due, allowed);
  };
  const either = layer.supports.includes("rsLora") ? ("either" as const) : false;
  const drawn = <T>(of: (one: Case) => fc.Arbitrary<T>) =>
    cases({ rsLora: either }).chain((one) => fc.record({ one: fc.constant(one), given: of(one) }));
  const ranks = ({ config }: Case) =>
    pattern(config.path, fc.constantFrom(...[1, 2, 3].filter((r) => r < Math.min(config.in, config.out))));
  const alphas = ({ config }: Case) => pattern(config.path, anyAlpha(config.r));
  return [
    law(
      "rank pattern",
      "where a name in rankPattern is the path's, its rank takes the place of r: in the shapes and in the scaling",
      drawn(ranks),
      ({ one, given }) => check(one, { rankPattern: given }),
    ),
    law(
      "alpha pattern",
      "where a name in alphaPattern is the path's, its alpha takes the place of alpha: in forward and in merge",
      drawn(alphas),
      ({ one, given }) => check(one, { alphaPattern: given }),
    ),
    law(
      "rank and alpha pattern together",
      "where both patterns name the path, its rank and its alpha take the places of r and alpha",
      drawn((one) => fc.record({ rankPattern: ranks(one), alphaPattern: alphas(one) })),
      ({ one, given }) => check(one, given),
    ),
  ];
}

/** Names that are not, though they have letters, parts or the beginning of the path in common with it. */
function strangers(path: string): string[] {
  const parts = path.split(".");
  const last = parts.at(-1)!;
  return [
    "elsewhere",
    parts[0]!,
    parts.slice(0, -1).join("."),
    `${last}s`,
    `x${last}`,
    last.toUpperCase(),
    `${path}.${last}`,
  ].concat(last.length > 1 ? [last.slice(1), last.slice(0, -1)] : []);
}

/** A pattern with a name of the path, one of another layer, or both in either order. */
function pattern(path: string, value: fc.Arbitrary<number>): fc.Arbitrary<Readonly<Record<string, number>>> {
  const entry = (of: readonly string[]) => fc.tuple(fc.constantFrom(...of), value);
  const [own, other] = [entry(namesOf(path)), entry(strangers(path))];
  return fc
    .oneof(fc.tuple(own), fc.tuple(other), fc.tuple(own, other), fc.tuple(other, own))
    .map((entries) => Object.fromEntries(entries as [string, number][])); // tuples of either length
}

/** The entries of a matrix over again in another shape. */
function resized(x: Matrix, rows: number, columns: number): Matrix {
  const values = x.flat();
  return zeros(rows, columns).map((row, i) => row.map((_, j) => values[(i * columns + j) % values.length]!));
}
