import { ValueError } from "../base/errors.ts";
import { generator } from "../base/generator.ts";
import { type Columns, svd } from "../lora/linalg.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { computed, held, valuesOf } from "./discovery/host.ts";
import { givenOf, type Numbers } from "./discovery/hyper.ts";

export interface LieAlgebraOptions<H extends object> {
  /** The hyperparameters, passed to the function that makes the optimizer. Numbers in it may change along with X. */
  readonly hyper: H;
  /** The rank r of the layer. Default 3. */
  readonly r: number;
  /** Updates that are made from each point, with a new gradient for each. Default 2, so that state has a say. */
  readonly updates: number;
  /** Random points (A, B, G) of which all must agree. Default 3. */
  readonly points: number;
}

/** A part of the solutions of V = 0: how many there are, and how sure that is. */
export interface NullSpace {
  readonly dimension: number;
  /** Singular values of V over the size of the change itself, descending. */
  readonly singularValues: readonly number[];
  /** The least that was taken for a number, and the largest that was taken for 0 (0 where none was). */
  readonly gap: readonly [kept: number, dropped: number];
}

/** One generator: A moves along X A and B along -B X, hyperparameters h along rate h. */
export interface Generator {
  /** X, r rows of r numbers, the first that is not 0 being 1. */
  readonly matrix: readonly (readonly number[])[];
  /** Hyperparameters that change along with it, by their rate: h' = (1 + t rate) h. */
  readonly hyper: Readonly<Record<string, number>>;
}

/** The infinitesimal matrix symmetries of an update rule of the factors of a layer. */
export interface LieAlgebra extends NullSpace {
  readonly optimizer: string;
  readonly r: number;
  /** What the updates of the product B A do not notice, at fixed hyperparameters. */
  readonly basis: readonly Generator[];
  /** The same where hyperparameters may change along with X; `dimension` counts X only. */
  readonly withHyper: NullSpace & { readonly basis: readonly Generator[] };
  /** Hyperparameters without any effect in these updates, which were left out. */
  readonly idle: readonly string[];
  readonly points: number;
  readonly updates: number;
}

const step = 2 ** -16;
/** A singular value below this may be a zero that differences blur. */
const blurred = 1e-5;
const shown = 1e-6;

/**
 * The Lie algebra of an update rule: let A move by t X A and B by -t B X, which leaves the product B A alone, and let V(X)
 * be the derivative at t = 0 of the change of B A in some updates, the gradients G of B A held. V is linear in X, and its
 * null space is the algebra of the rule's matrix symmetries at that point; V of several random points, one below the
 * other, gives those of the rule. With hyperparameters admitted as further unknowns the scalar gauge, X = 1, appears.
 *
 * V is measured by differences in float64, with no device, and its rank is where singular values fall to the accuracy
 * of differences: they are in the result. Symmetries that are no flow, such as signed permutations, have no tangent.
 *
 * @param optimizer One of the library without schedule, or a function from hyperparameters to an optimizer that takes
 *   `{ loraA, loraB }`; its own numbers for the factors may be nested, `{ A: { lr }, B: { lr } }`.
 * @throws ValueError for options that are no whole numbers, or an optimizer whose updates are not finite.
 * @example
 * (await gauge.lieAlgebra(optim.sgd({ lr: 0.1 }))).dimension; // 3: rotations
 */
export async function lieAlgebra<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  options: Partial<LieAlgebraOptions<H>> = {},
): Promise<LieAlgebra> {
  const { r = 3, updates = 2, points = 3 } = options;
  for (const [name, value] of Object.entries({ r, updates, points }))
    if (!Number.isInteger(value) || value < 1)
      throw new ValueError(`gauge.lieAlgebra: ${name} is ${value}; it is an integer >= 1.`);
  const given =
    typeof optimizer === "function" ? givenOf(optimizer, options.hyper ?? ({} as H)) : alone(optimizer);
  const draw = generator(r);
  const { numbers, make } = given;
  const all: Sized[] = [];
  for (let i = 0; i < points; i++) all.push(await sized(make, pointOf(r, updates, draw), numbers));
  const derivative = (move: (t: number) => Move) => derivativeOf(make, all, move);
  const units = Array.from({ length: r * r }, (_, at) => at);
  const columns: Float64Array[] = [];
  for (const at of units) columns.push(await derivative((t) => ({ X: [at, t], numbers })));
  const movable = new Map<string, Float64Array>();
  const idle: string[] = [];
  for (const [name, value] of numbers) {
    if (value === 0 || !Number.isFinite(value)) continue;
    const column = await derivative((t) => ({ numbers: new Map(numbers).set(name, value * (1 + t)) })).catch(
      () => undefined, // it takes no such number
    );
    if (column && Math.hypot(...column) > 1e-8) movable.set(name, column);
    else idle.push(name);
  }
  const names = [...movable.keys()];
  const fixed = await nullSpace(columns);
  const joint = await nullSpace([...columns, ...movable.values()]);
  const pure = names.length > 0 ? await nullSpace([...movable.values()]) : undefined;
  const basis = generators(joint.vectors, r, names);
  return {
    optimizer: make(numbers).name,
    r,
    ...told(fixed),
    basis: generators(fixed.vectors, r, []),
    // Changes of hyperparameters alone, such as one rate against another, move no X.
    withHyper: { ...told(joint), dimension: joint.dimension - (pure?.dimension ?? 0), basis },
    idle,
    points,
    updates,
  };
}

function alone(optimizer: Optimizer): Pick<ReturnType<typeof givenOf>, "make" | "numbers"> {
  return { make: () => optimizer, numbers: new Map() };
}

/** Where the updates start, and the gradients of the product in each of them. */
interface Point {
  readonly A: readonly (readonly number[])[];
  readonly B: readonly (readonly number[])[];
  readonly G: readonly (readonly (readonly number[])[])[];
}

interface Move {
  /** The place in X of the number that is t, and t. */
  readonly X?: readonly [at: number, t: number];
  readonly numbers: Numbers;
}

type Matrix = readonly (readonly number[])[];

/** A point with m = r + 1 outputs and n = r + 2 inputs. */
function pointOf(r: number, updates: number, draw: () => number): Point {
  const random = (rows: number, columns: number): Matrix =>
    Array.from({ length: rows }, () => Array.from({ length: columns }, () => 2 * draw() - 1));
  return {
    A: random(r, r + 2),
    B: random(r + 1, r),
    G: Array.from({ length: updates }, () => random(r + 1, r + 2)),
  };
}

/** The derivative of the changes of the product at all points, each over its size. */
async function derivativeOf(
  make: (numbers: Numbers) => Optimizer,
  points: readonly Sized[],
  move: (t: number) => Move,
): Promise<Float64Array> {
  const parts: number[] = [];
  for (const { point, size } of points) {
    const [up, down] = [await changeOf(make, point, move(step)), await changeOf(make, point, move(-step))];
    for (const [i, x] of up.entries()) parts.push((x - down[i]!) / (2 * step * size));
  }
  return Float64Array.from(parts);
}

/** A point with the size of the change of the product from it. */
interface Sized {
  readonly point: Point;
  readonly size: number;
}

async function sized(make: (numbers: Numbers) => Optimizer, point: Point, numbers: Numbers): Promise<Sized> {
  const size = Math.hypot(...(await changeOf(make, point, { numbers })));
  if (!(size > 0 && size < Infinity))
    throw new ValueError(
      `gauge.lieAlgebra: the product of the factors changes by ${size} in the updates; it is positive and finite. Use other hyperparameters.`,
    );
  return { point, size };
}

/** How much the product B A changes in the updates from a moved point. */
async function changeOf(
  make: (numbers: Numbers) => Optimizer,
  { A, B, G }: Point,
  { X, numbers }: Move,
): Promise<number[]> {
  const optimizer = make(numbers);
  const r = A.length;
  const [row, column, t] = X ? [Math.floor(X[0] / r), X[0] % r, X[1]] : [0, 0, 0];
  // (1 + t E) A, and B (1 - t E), with one entry in E.
  let a: Matrix = A.map((own, i) => (i === row ? own.map((x, j) => x + t * A[column]![j]!) : own));
  let b: Matrix = B.map((own) => own.map((x, j) => (j === column ? x - t * own[row]! : x)));
  const start = product(b, a);
  let params = { loraA: tensorOf(a), loraB: tensorOf(b) };
  let state = await computed(optimizer.init(params));
  for (const g of G) {
    const gradients = { loraA: tensorOf(product(turned(b), g)), loraB: tensorOf(product(g, turned(a))) };
    const [updates, next] = await computed(optimizer.update(gradients, state, params));
    state = next;
    a = sum(a, valuesOf(updates.loraA));
    b = sum(b, valuesOf(updates.loraB));
    params = { loraA: tensorOf(a), loraB: tensorOf(b) };
  }
  return product(b, a).flatMap((own, i) => own.map((x, j) => x - start[i]![j]!));
}

function tensorOf(rows: Matrix) {
  return held(rows.flat(), { shape: [rows.length, rows[0]!.length], dtype: "float64" });
}

function product(x: Matrix, y: Matrix): Matrix {
  return x.map((row) => y[0]!.map((_, j) => row.reduce((total, value, k) => total + value * y[k]![j]!, 0)));
}

function turned(x: Matrix): Matrix {
  return x[0]!.map((_, j) => x.map((row) => row[j]!));
}

function sum(x: Matrix, flat: ArrayLike<number>): Matrix {
  return x.map((row, i) => row.map((value, j) => value + flat[i * row.length + j]!));
}

interface Null extends NullSpace {
  /** Of the columns' length: combinations of columns that are 0. */
  readonly vectors: readonly Float64Array[];
}

/** The rank is where singular values fall most, among those that may be blurred zeros. */
async function nullSpace(columns: Columns): Promise<Null> {
  const { s, v } = await svd(columns);
  const singularValues = [...s];
  let [rank, fall] = [singularValues.length, 1];
  for (let i = 0; i < singularValues.length; i++) {
    const before = i === 0 ? 1 : singularValues[i - 1]!;
    const ratio = before / Math.max(singularValues[i]!, Number.EPSILON);
    if (singularValues[i]! < blurred && ratio > fall) [rank, fall] = [i, ratio];
  }
  return {
    dimension: columns.length - rank,
    singularValues,
    gap: [singularValues[rank - 1] ?? 0, singularValues[rank] ?? 0],
    vectors: v.slice(rank),
  };
}

function told({ dimension, singularValues, gap }: Null): NullSpace {
  return { dimension, singularValues, gap };
}

/** The vectors as generators that are easy to read: reduced rows, of which those without X are left out. */
function generators(vectors: readonly Float64Array[], r: number, names: readonly string[]): Generator[] {
  const rows = vectors.map((vector) => [...vector]);
  let top = 0;
  for (let column = 0; column < r * r && top < rows.length; column++) {
    let pivot = top;
    for (let i = top; i < rows.length; i++)
      if (Math.abs(rows[i]![column]!) > Math.abs(rows[pivot]![column]!)) pivot = i;
    if (Math.abs(rows[pivot]![column]!) < shown) continue;
    [rows[top], rows[pivot]] = [rows[pivot]!, rows[top]!];
    const own = rows[top]!.map((x) => x / rows[top]![column]!);
    rows[top] = own;
    for (let i = 0; i < rows.length; i++) {
      const factor = rows[i]![column]!;
      if (i !== top) rows[i] = rows[i]!.map((x, j) => x - factor * own[j]!);
    }
    top++;
  }
  const rounded = (x: number) => Math.round(x / shown) / (1 / shown) + 0; // no -0
  return rows.slice(0, top).map((row) => ({
    matrix: Array.from({ length: r }, (_, i) => row.slice(i * r, (i + 1) * r).map(rounded)),
    hyper: Object.fromEntries(
      names
        .map((name, i): [string, number] => [name, rounded(row[r * r + i]!)])
        .filter(([, rate]) => rate !== 0),
    ),
  }));
}
