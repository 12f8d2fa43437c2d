import { checkCount, isIntegerIn, show } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { broadcastShapes, normalizeAxis, numel } from "../base/shape.ts";
import { diagonal } from "./arrange.ts";
import { type Tensor, tensorNode } from "./tensor.ts";

/** A tensor whose axes have names: letters, and numbers for those of an ellipsis. */
interface Named<D extends DType> {
  readonly x: Tensor<D>;
  readonly axes: readonly string[];
}

/**
 * Sums of products over named axes (Einstein's convention), as NumPy's einsum: repeated letters of an operand are its
 * diagonal, letters that the result lacks are summed, "..." are axes that broadcast. Without "->" the result has the
 * letters that occur once, in alphabetical order. Several operands are joined two by two as products of matrices, in the
 * order that takes the fewest multiplications (all orders are tried up to eight operands, beyond the cheapest pair is next).
 *
 * @throws ValueError for a formula that cannot be read; ShapeError where lengths differ.
 * @example
 * einsum("bij,bjk->bik", x, y); // products of matrices
 */
export function einsum<D extends DType>(formula: string, ...operands: readonly Tensor<D>[]): Tensor<D> {
  const { inputs, output } = parse(formula, operands);
  const lengths = new Map<string, number>();
  const named = inputs.map((axes, i): Named<D> => {
    const x = operands[i]!;
    axes.forEach((axis, at) => {
      const [known, length] = [lengths.get(axis), x.shape[at]!];
      if (known !== undefined && known !== length && !(isSpread(axis) && (known === 1 || length === 1)))
        throw new ShapeError(
          `einsum: ${formula}: axis ${axis} has length ${length} in operand ${i}, ${x}, and ${known} before.`,
        );
      lengths.set(axis, Math.max(known ?? 0, length === 1 && known !== undefined ? known : length));
    });
    return traced({ x, axes });
  });
  const joined = join(
    named.map((one, i) => alone(one, named, i, output)),
    output,
    lengths,
  );
  const rest = summed(joined, output);
  const missing = output.filter((axis) => !rest.axes.includes(axis));
  if (missing.length > 0)
    throw new ValueError(`einsum: ${formula}: axis ${missing[0]} of the result is in no operand.`);
  const ordered = rest.x.permute(output.map((axis) => rest.axes.indexOf(axis)));
  return ordered.expand(output.map((axis) => lengths.get(axis)!));
}

/**
 * Sums of products over axes of two tensors: of the last `axes` of x and the first of y, or of the pairs of axes in two
 * lists. The other axes of x come first, then those of y.
 */
export function tensordot<D extends DType>(
  x: Tensor<D>,
  y: Tensor<D>,
  axes: number | readonly [readonly number[], readonly number[]] = 2,
): Tensor<D> {
  checkCount("tensordot", arguments, 3);
  tensorNode("tensordot", "x", x);
  tensorNode("tensordot", "y", y);
  const [left, right] = pairs(x, y, axes);
  const names = (count: number, from: number) => Array.from({ length: count }, (_, i) => String(from + i));
  const [a, b] = [names(x.rank, 0), names(y.rank, x.rank)];
  left.forEach((axis, i) => {
    if (x.shape[axis] !== y.shape[right[i]!])
      throw new ShapeError(
        `tensordot: axis ${axis} of x ${x} has length ${x.shape[axis]}, axis ${right[i]} of y ${y} has ${y.shape[right[i]!]}.`,
      );
    b[right[i]!] = a[axis]!;
  });
  const output = [...a, ...b].filter((axis) => !(a.includes(axis) && b.includes(axis)));
  const product = contract({ x, axes: a }, { x: y, axes: b }, output);
  return product.x.permute(output.map((axis) => product.axes.indexOf(axis)));
}

function pairs(x: Tensor, y: Tensor, axes: unknown): [number[], number[]] {
  if (isIntegerIn(axes, 0, Math.min(x.rank, y.rank))) {
    const range = Array.from({ length: axes }, (_, i) => i);
    return [range.map((i) => x.rank - axes + i), range];
  }
  const lists: readonly unknown[] = Array.isArray(axes) ? axes : [];
  const [one, other] = lists;
  if (lists.length !== 2 || !Array.isArray(one) || !Array.isArray(other) || one.length !== other.length)
    throw new ValueError(
      `tensordot: axes is ${show(axes)}; it is how many axes of ${x} and ${y} are summed, or two lists of as many axes.`,
    );
  const [left, right] = [x, y].map((z, i) =>
    (lists[i] as number[]).map((axis) => normalizeAxis("tensordot", axis, z.rank)),
  ) as [number[], number[]];
  if (new Set(left).size !== left.length || new Set(right).size !== right.length)
    throw new ValueError(`tensordot: axes ${show(axes)} name an axis twice.`);
  return [left, right];
}

/** An axis of an ellipsis: its place from the end. */
const isSpread = (axis: string) => /\d/.test(axis);

function parse(formula: unknown, operands: readonly Tensor[]): { inputs: string[][]; output: string[] } {
  const refuse = (what: string): never => {
    throw new ValueError(`einsum: the formula ${show(formula)} ${what}.`);
  };
  if (typeof formula !== "string") return refuse('is no text such as "ij,jk->ik"');
  operands.forEach((x, i) => {
    tensorNode("einsum", `operand ${i}`, x);
  });
  const text = formula.replaceAll(" ", "");
  const [left, right, ...more] = text.split("->") as [string, string?, ...string[]];
  const terms = left.split(",");
  if (more.length > 0 || [...terms, right ?? ""].some((term) => !/^[A-Za-z]*(\.\.\.)?[A-Za-z]*$/.test(term)))
    refuse('is not of the form "ij,jk->ik": letters, "..." once in a term, commas, and one "->" or none');
  if (terms.length !== operands.length) refuse(`has ${terms.length} terms for ${operands.length} operands`);
  const inputs = terms.map((term, i) => {
    const x = operands[i]!;
    const letters = term.replace("...", "").length;
    const spread = x.rank - letters;
    if (spread < 0 || (spread > 0 && !term.includes("...")))
      throw new ShapeError(`einsum: ${term} names ${letters} axes of operand ${i}, which is ${x}.`);
    return expandEllipsis(term, spread);
  });
  const most = Math.max(0, ...inputs.map((axes) => axes.filter(isSpread).length));
  if (right !== undefined) {
    const output = expandEllipsis(right, most);
    if (new Set(output).size !== output.length) refuse("names an axis of the result twice");
    const unknown = output.find((axis) => !inputs.flat().includes(axis));
    if (unknown !== undefined) refuse(`has the axis ${unknown} in the result, but in no operand`);
    return { inputs, output };
  }
  const letters = inputs.flat().filter((axis) => !isSpread(axis));
  const once = [...new Set(letters)].filter((axis) => letters.indexOf(axis) === letters.lastIndexOf(axis));
  return { inputs, output: [...expandEllipsis("...", most), ...once.sort()] };
}

/** The letters of a term, with numbers, counted down to the last axis, for the ellipsis. */
function expandEllipsis(term: string, count: number): string[] {
  const at = term.indexOf("...");
  if (at < 0) return [...term];
  return [
    ...term.slice(0, at),
    ...Array.from({ length: count }, (_, i) => String(count - i)),
    ...term.slice(at + 3),
  ];
}

/** Letters that occur twice become one axis, the diagonal. */
function traced<D extends DType>(given: Named<D>): Named<D> {
  let { x, axes } = given;
  for (;;) {
    const second = axes.findIndex((axis, i) => axes.indexOf(axis) !== i);
    if (second < 0) return { x, axes };
    const first = axes.indexOf(axes[second]!);
    const name = axes[second]!;
    x = diagonal(x, { axis0: first, axis1: second });
    axes = [...axes.filter((_, i) => i !== first && i !== second), name];
  }
}

/** Sums away what no other operand and not the result has. */
function alone<D extends DType>(
  one: Named<D>,
  all: readonly Named<D>[],
  at: number,
  output: readonly string[],
): Named<D> {
  return summed(one, [...output, ...all.flatMap(({ axes }, i) => (i === at ? [] : axes))]);
}

function summed<D extends DType>({ x, axes }: Named<D>, kept: readonly string[]): Named<D> {
  const gone = axes.flatMap((axis, i) => (kept.includes(axis) ? [] : [i]));
  if (gone.length === 0) return { x, axes };
  return { x: x.sum(gone) as Tensor<D>, axes: axes.filter((axis) => kept.includes(axis)) };
}

/** Joins operands two by two, in the cheapest order. */
function join<D extends DType>(
  operands: readonly Named<D>[],
  output: readonly string[],
  lengths: ReadonlyMap<string, number>,
): Named<D> {
  if (operands.length === 1) return operands[0]!;
  const order = cheapest(
    operands.map(({ axes }) => axes),
    output,
    lengths,
  );
  const list = [...operands];
  for (const [i, j] of order) {
    const [left, right] = [list[i]!, list[j]!];
    const others = list.filter((_, at) => at !== i && at !== j);
    const kept = new Set([...output, ...others.flatMap(({ axes }) => axes)]);
    list.splice(0, list.length, ...others, contract(left, right, [...kept]));
  }
  return list[0]!;
}

/** Beyond so many operands not all orders are tried. */
const mostTried = 8;

type Pair = readonly [number, number];

/** Which pair is joined next, each time; the result goes to the end of the list. */
function cheapest(
  axes: readonly (readonly string[])[],
  output: readonly string[],
  lengths: ReadonlyMap<string, number>,
): Pair[] {
  const cost = (names: Iterable<string>) => numel([...names].map((axis) => lengths.get(axis)!));
  const after = (list: readonly (readonly string[])[], [i, j]: Pair) => {
    const others = list.filter((_, at) => at !== i && at !== j);
    const kept = new Set([...output, ...others.flat()]);
    const both = new Set([...list[i]!, ...list[j]!]);
    return { rest: [...others, [...both].filter((axis) => kept.has(axis))], cost: cost(both) };
  };
  const pairsOf = (count: number): Pair[] =>
    Array.from({ length: count }, (_, i) => i).flatMap((i) =>
      Array.from({ length: count - i - 1 }, (_, j): Pair => [i, i + 1 + j]),
    );
  const known = new Map<string, { cost: number; order: Pair[] }>();
  const best = (list: readonly (readonly string[])[]): { cost: number; order: Pair[] } => {
    if (list.length === 1) return { cost: 0, order: [] };
    const key = list.map((names) => names.join("")).join();
    const found = known.get(key);
    if (found) return found;
    let chosen: { cost: number; order: Pair[] } | undefined;
    const candidates = pairsOf(list.length).map((pair) => ({ pair, ...after(list, pair) }));
    const tried =
      list.length > mostTried ? [candidates.reduce((a, b) => (b.cost < a.cost ? b : a))] : candidates;
    for (const { pair, rest, cost } of tried) {
      const further = best(rest);
      if (!chosen || cost + further.cost < chosen.cost)
        chosen = { cost: cost + further.cost, order: [pair, ...further.order] };
    }
    known.set(key, chosen!);
    return chosen!;
  };
  return best(axes).order;
}

/** The sum of products over axes that both have and that are not kept, as one product of matrices. */
function contract<D extends DType>(left: Named<D>, right: Named<D>, kept: readonly string[]): Named<D> {
  const [a, b] = [summed(left, [...kept, ...right.axes]), summed(right, [...kept, ...left.axes])];
  const shared = a.axes.filter((axis) => b.axes.includes(axis));
  const batch = shared.filter((axis) => kept.includes(axis));
  const inner = shared.filter((axis) => !kept.includes(axis));
  const [rows, columns] = [a, b].map(({ axes }) => axes.filter((axis) => !shared.includes(axis))) as [
    string[],
    string[],
  ];
  const lengthsOf = ({ x, axes }: Named<D>, names: readonly string[]) =>
    names.map((axis) => x.shape[axes.indexOf(axis)]!);
  const ordered = ({ x, axes }: Named<D>, names: readonly string[]) =>
    x.permute(names.map((axis) => axes.indexOf(axis)));
  // Axes of an ellipsis may have length 1 on one side.
  const both = (names: readonly string[]) =>
    broadcastShapes("einsum", lengthsOf(a, names), lengthsOf(b, names));
  const [batchShape, innerShape] = [both(batch), both(inner)];
  const [m, n] = [lengthsOf(a, rows), lengthsOf(b, columns)];
  const x = ordered(a, [...batch, ...rows, ...inner]).expand([...batchShape, ...m, ...innerShape]);
  const y = ordered(b, [...batch, ...inner, ...columns]).expand([...batchShape, ...innerShape, ...n]);
  const axes = [...batch, ...rows, ...columns];
  const shape = [...batchShape, ...m, ...n];
  if (inner.length === 0) {
    const flat = x
      .reshape([...batchShape, ...m, ...n.map(() => 1)])
      .mul(y.reshape([...batchShape, ...m.map(() => 1), ...n]));
    return { x: flat, axes };
  }
  const product = x
    .reshape([numel(batchShape), numel(m), numel(innerShape)])
    .matmul(y.reshape([numel(batchShape), numel(innerShape), numel(n)]));
  return { x: product.reshape(shape), axes };
}
