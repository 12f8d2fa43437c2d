import { numel } from "../base/shape.ts";
import { cast } from "../graph/cast.ts";
import { add, bitwiseAnd, leftShift, lt, mul, neg, rightShift, sub, where } from "../graph/elementwise.ts";
import { reshape } from "../graph/movement.ts";
import { constant, type Node } from "../graph/node.ts";
import { gather } from "../graph/reduce.ts";
import { hostNode } from "../runtime/storage.ts";

// Tables of quantiles: entry 256 o + j holds the value with tail probability ((1 + j/256) 2^o + 1/2) / 2^32 in units, for
// o = 0 to 30. Units are such that no value needs more digits than a float32 has.

const quantileOctaves = 31;
const cellsPerOctave = 256;
const quantileCells = quantileOctaves * cellsPerOctave;
const normalUnit = 2 ** 21;
const gumbelUnit = 2 ** 19;

/** A node for each draw of values that are computed once: what went to one device does not follow to the next. */
const tables = {
  normal: tableOf(() => quantilesOf(upperQuantile, normalUnit)),
  exponential: tableOf(() => [
    ...quantilesOf((p) => -Math.log(p), gumbelUnit),
    ...quantilesOf((p) => -Math.log1p(-p), gumbelUnit),
  ]),
  // The upper tail, then the lower one.
  gumbel: tableOf(() => [
    ...quantilesOf((p) => -Math.log(-Math.log1p(-p)), gumbelUnit),
    ...quantilesOf((p) => -Math.log(-Math.log(p)), gumbelUnit),
  ]),
};

function tableOf(make: () => readonly number[]): () => Node {
  let table: Int32Array | undefined;
  return () => {
    table ??= Int32Array.from(make());
    return hostNode(table, [table.length], "int32");
  };
}

function lookUp(quantiles: Node, cell: Node): Node {
  const column = reshape(cell, [numel(cell.shape)]);
  return reshape(gather(quantiles, column, 0), cell.shape);
}

/** What a distribution has at the tail probabilities of a table. */
function quantilesOf(at: (p: number) => number, unit: number): number[] {
  return Array.from({ length: quantileCells + 1 }, (_, i) => {
    const size = (1 + (i % cellsPerOctave) / cellsPerOctave) * 2 ** Math.floor(i / cellsPerOctave);
    return Math.round(at(Math.min((size + 0.5) / 2 ** 32, 0.5)) * unit);
  });
}

/** z with P(Z > z) = p for p up to 1/2; relative error 1.2e-9 (the rational approximations of P. J. Acklam). */
function upperQuantile(p: number): number {
  const horner = (coefficients: readonly number[], x: number) =>
    coefficients.reduce((sum, c) => sum * x + c, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return -(
      horner(
        [
          -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734,
          4.374664141464968, 2.938163982698783,
        ],
        q,
      ) / horner([7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1], q)
    );
  }
  const q = 0.5 - p;
  const r = q * q;
  return (
    (q *
      horner(
        [
          -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2,
          -3.066479806614716e1, 2.506628277459239,
        ],
        r,
      )) /
    horner(
      [
        -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1,
        -1.328068155288572e1, 1,
      ],
      r,
    )
  );
}

/**
 * The value of a table of quantiles, for random bits of which the highest chooses the tail, in the table's unit.
 *
 * @param from Where in the table the entries of the tail begin.
 */
function quantile(random: Node, quantiles: Node, from?: Node): Node {
  // Shift the lower 31 bits up until the highest is set: the octave of the tail probability.
  let m = leftShift(random, 1);
  let octave: Node = constant(quantileOctaves - 1, "int32");
  for (const shift of [16, 8, 4, 2, 1]) {
    const small = lt(rightShift(m, 32 - shift), 1);
    m = where(small, leftShift(m, shift), m);
    octave = where(small, sub(octave, shift), octave);
  }
  octave = where(lt(octave, 0), 0, octave); // all 31 bits zero
  const cell = add(
    mul(octave, cellsPerOctave),
    bitwiseAnd(cast(rightShift(m, 23), "int32"), cellsPerOctave - 1),
  );
  const rest = cast(bitwiseAnd(rightShift(m, 8), 0x7fff), "int32");
  const place = from ? add(cell, from) : cell;
  const [low, high] = [lookUp(quantiles, place), lookUp(quantiles, add(place, 1))];
  return add(low, rightShift(mul(sub(high, low), rest), 15));
}

/** The value of a table of two tails, of which the highest bit chooses one. */
function tailed(random: Node, table: Node): Node {
  const from = cast(where(lt(random, 2 ** 31), 0, quantileCells + 1), "int32");
  return mul(cast(quantile(random, table, from), "float32"), 1 / gumbelUnit);
}

/** The standard normal number of 32 bits: the highest is the sign, the others the probability of what lies beyond. */
export function normalNoise(random: Node): Node {
  const size = quantile(random, tables.normal());
  return mul(cast(where(lt(random, 2 ** 31), size, neg(size)), "float32"), 1 / normalUnit);
}

export const gumbelNoise = (random: Node) => tailed(random, tables.gumbel());
export const exponentialNoise = (random: Node) => tailed(random, tables.exponential());
