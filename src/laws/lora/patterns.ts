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
    pattern(config.path, fc.constantFrom(...new Set([1, 2, 3, config.in, config.out])));
  const alphas = ({ config }: Case) => pattern(config.path, anyAlpha(config.r));
  return [
    law(
      "rank pattern",
      "where a name in rankPattern is the path's, the first such rank takes the place of r: in the shapes and in the scaling",
      drawn(ranks),
      ({ one, given }) => check(one, { rankPattern: given }),
    ),
    law(
      "alpha pattern",
      "where a name in alphaPattern is the path's, the first such alpha takes the place of alpha: in forward and in merge",
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

/** Names that are not, though they have letters, parts, the beginning or the end of the path in common with it. */
function strangers(path: string): string[] {
  const parts = path.split(".");
  const last = parts.at(-1)!;
  const cut = (name: string) => [name.slice(1), name.slice(0, -1)];
  return [
    "elsewhere",
    parts[0]!,
    parts.slice(0, -1).join("."),
    `${last}s`,
    `x${last}`,
    last.toUpperCase(),
    `${path}.${last}`,
    `elsewhere.${last}`,
    ...namesOf(path).flatMap(cut),
  ].filter((name) => !namesOf(path).includes(name) && name.split(".").every((part) => part !== ""));
}

/** A pattern with a name of the path or two, with names that are not, or with both in either order. */
function pattern(path: string, value: fc.Arbitrary<number>): fc.Arbitrary<Readonly<Record<string, number>>> {
  const names = namesOf(path);
  const each = (keys: readonly string[]) =>
    fc.tuple(...keys.map((key) => value.map((own): readonly [string, number] => [key, own])));
  const own = fc.constantFrom(...names).chain((name) => each([name]));
  const others = fc.shuffledSubarray(strangers(path), { minLength: 1 }).chain(each);
  const two = fc
    .tuple(
      fc.shuffledSubarray(names, { minLength: 2, maxLength: 2 }),
      fc.uniqueArray(value, { minLength: 2, maxLength: 2 }),
    )
    .map(([keys, values]) => keys.map((key, i): readonly [string, number] => [key, values[i]!]));
  const both = fc
    .tuple(own, others, fc.boolean())
    .map(([one, more, first]) => (first ? [...one, ...more] : [...more, ...one]));
  return fc.oneof(own, others, both, two, two).map((entries) => Object.fromEntries(entries));
}

/** The entries of a matrix over again in another shape. */
function resized(x: Matrix, rows: number, columns: number): Matrix {
  const values = x.flat();
  return zeros(rows, columns).map((row, i) => row.map((_, j) => values[(i * columns + j) % values.length]!));
}
