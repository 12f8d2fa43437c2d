import {
  coerce,
  computeDType,
  convert,
  type DType,
  floatRange,
  isFloat,
  isNarrow,
  normalRange,
} from "../../src/base/dtype.ts";
import { numel } from "../../src/base/shape.ts";
import { evaluate, type Leaves, type Values } from "../../src/graph/evaluate.ts";
import { makeNode, type Node, type Operation, type ScalarRow, topological } from "../../src/graph/node.ts";
import { type Chain, chainOf, moved, roundings } from "./chains.ts";

// What a device may give: the values of the reference evaluator, each with the largest error that the accuracies
// stated by the op table, the rounding of every dtype and sums in any order allow. Errors are worked out node by
// node along the same graph, so that any operation may follow any other: a jump whose place is within the error
// makes the value unknown, and nothing is asked of it.

export interface Bounded {
  readonly values: Values;
  /** Absolute; Infinity where the value is unknown. */
  readonly errors: Values;
  /** Set where products or sums are taken in any order. */
  readonly chain?: Chain | undefined;
}

/** What a backend does with floats. */
export interface Arithmetic {
  /** Chains of products, and of sums, are taken in any order. */
  readonly reorders: boolean;
  /** Subnormal numbers may become 0. */
  readonly flushes: boolean;
  /** Infinity and NaN are computed with as in IEEE 754. */
  readonly specials: boolean;
}

/** Half the distance from 1 to the next number of a float, and its smallest and largest numbers. */
const sizesOf = (dtype: DType) => {
  if (!isFloat(dtype)) return undefined;
  const { digits, least } = floatRange(dtype);
  const { smallest: smallestNormal, largest } = normalRange(dtype);
  return { halfUnit: 2 ** -digits, smallest: 2 ** (least + 1 - digits), smallestNormal, largest };
};

/** What is lost where a result is subnormal; float64 is on the CPU alone, which flushes none. */
const tiniest = (dtype: DType, { flushes }: Arithmetic): number =>
  sizesOf(computeDType(dtype))?.[flushes ? "smallestNormal" : "smallest"] ?? 0;

export function bound(
  roots: readonly Node[],
  leaves: Leaves,
  arithmetic: Arithmetic,
  given: ReadonlyMap<Node, Bounded> = new Map(),
): Bounded[] {
  const order = topological(roots, (node) => !given.has(node)).filter((node) => !given.has(node));
  const values = evaluate(order, leaves, new Map([...given].map(([node, { values }]) => [node, values])));
  const known = new Map(given);
  order.forEach((node, i) => {
    const inputs = node.inputs.map((input) => known.get(input)!);
    const chain = arithmetic.reorders ? chainThrough(node, inputs) : undefined;
    const errors = errorsOf(node, values[i]!, inputs, arithmetic, chain);
    store(node.dtype, values[i]!, errors, arithmetic);
    known.set(node, { values: values[i]!, errors, chain });
  });
  return roots.map((root) => known.get(root)!);
}

/** The chain that a node continues, also through views of it. */
function chainThrough(node: Node, inputs: readonly Bounded[]): Chain | undefined {
  const { operation } = node;
  switch (operation.kind) {
    case "scalar":
      return isFloat(node.dtype) ? chainOf(operation.op.row.name, inputs) : undefined;
    case "identity":
    case "after":
    case "reshape":
      return inputs[0]!.chain;
    case "expand":
    case "permute":
    case "flip":
    case "windows":
    case "slice":
    case "pad":
      return moved(inputs[0]!.chain, (values) => again(node, operation, [values]));
    default:
      return undefined;
  }
}

/** What it adds to an error that a value is held in its dtype; and what that cannot hold is unknown. */
function store(dtype: DType, values: Values, errors: Values, { flushes, specials }: Arithmetic): void {
  const sizes = sizesOf(dtype);
  for (let i = 0; i < errors.length; i++) {
    const [value, error] = [values[i]!, errors[i]!];
    if (Number.isNaN(error)) errors[i] = Infinity;
    else if (sizes) {
      const size = Math.abs(value);
      if (Number.isFinite(value) ? size + error > sizes.largest * (1 - 2 ** -12) : !specials)
        errors[i] = Infinity;
      else if (isNarrow(dtype) && !Object.is(coerce(value, dtype), value))
        errors[i] = error + size * sizes.halfUnit + sizes.smallest;
      const normal = sizes.smallestNormal;
      if (flushes && size - error < normal && size > 0) errors[i]! += normal;
    }
  }
}

/** The same operation on other values of its inputs, in float64. */
function again(node: Node, operation: Operation, inputs: readonly Values[]): Values {
  const given = node.inputs.map((input, index) =>
    makeNode(
      { kind: "input", index },
      [],
      input.shape,
      input.dtype === "int32" && index === 1 ? "int32" : "float64",
    ),
  );
  const root = makeNode(operation, given, node.shape, "float64");
  return evaluate([root], { buffer: () => [], input: (index) => inputs[index]! })[0]!;
}

const absolute = (x: Values) => x.map(Math.abs);
const none = (size: number) => new Float64Array(size);
const isExact = (x: Values) => x.every((error) => error === 0);

/** Sums of such numbers are exact in any order: multiples of 2^-10 whose magnitudes add up to little. */
function addsExactly(dtype: DType, x: Values, total: Values): boolean {
  const digits = dtype === "float64" ? 2 ** 40 : 2 ** 13;
  return total.every((sum) => sum < digits) && x.every((value) => Number.isInteger(value * 1024));
}

function errorsOf(
  node: Node,
  values: Values,
  inputs: readonly Bounded[],
  arithmetic: Arithmetic,
  chain: Chain | undefined,
): Values {
  const { operation, dtype } = node;
  const [x, y, z] = inputs;
  const size = values.length;
  const unit = sizesOf(computeDType(dtype))?.halfUnit ?? 0;
  const tiny = tiniest(dtype, arithmetic);
  switch (operation.kind) {
    case "constant":
    case "input":
    case "hostNumber":
    case "buffer":
    case "iota":
      return none(size);
    case "identity":
    case "after":
    case "reshape":
      return x!.errors.slice();
    case "expand":
    case "permute":
    case "flip":
    case "windows":
    case "slice":
      return again(node, operation, [x!.errors]);
    case "pad":
      return again(node, { ...operation, value: 0 }, [x!.errors]);
    case "scalar":
      return elementwise(node, operation.op.row, values, inputs, arithmetic, chain);
    case "cast":
      return castErrors(node, values, x!);
    case "cat":
      return again(
        node,
        operation,
        inputs.map(({ errors }) => errors),
      );
    case "update": {
      const [, , ...starts] = inputs;
      if (!starts.every(({ errors }) => isExact(errors))) return none(size).fill(Infinity);
      return again(node, operation, [x!.errors, y!.errors, ...starts.map((start) => start.values)]);
    }
    case "gather": {
      const errors = again(node, operation, [x!.errors, y!.values]);
      y!.errors.forEach((error, i) => {
        if (error > 0) errors[i] = Infinity;
      });
      return errors;
    }
    case "scatterAdd": {
      if (!isExact(y!.errors)) return none(size).fill(Infinity);
      if (!isFloat(dtype)) return whole(again(node, operation, [x!.errors, y!.values, z!.errors]));
      const total = again(node, operation, [absolute(x!.values), y!.values, absolute(z!.values)]);
      if (
        isExact(x!.errors) &&
        isExact(z!.errors) &&
        addsExactly(dtype, x!.values, total) &&
        addsExactly(dtype, z!.values, total)
      )
        return none(size);
      const most = node.inputs[1]!.shape[operation.axis]! + 1;
      return again(node, operation, [x!.errors, y!.values, z!.errors]).map(
        (e, i) => e + most * (unit * (total[i]! + e) + tiny),
      );
    }
    // What is exact on integers; of floats they are not analysed.
    case "procedure":
      return dtype === "int32" && isExact(x!.errors) ? none(size) : none(size).fill(Infinity);
    case "cumsum":
    case "reduce": {
      if (operation.kind === "reduce" && operation.name !== "sum") {
        if (operation.name !== "prod")
          return again(node, { ...operation, name: "max" }, [x!.errors]).map((e) => Math.max(e, 0));
        return productErrors(node, operation, x!, unit, tiny);
      }
      if (!isFloat(dtype)) return whole(again(node, operation, [x!.errors]));
      const total = again(node, operation, [absolute(x!.values)]);
      if (isExact(x!.errors) && addsExactly(dtype, x!.values, total)) return none(size);
      const count =
        operation.kind === "cumsum" ? node.shape[operation.axis]! : x!.values.length / Math.max(size, 1);
      return again(node, operation, [x!.errors]).map((e, i) => e + count * (unit * (total[i]! + e) + tiny));
    }
    case "matmul": {
      const [a, b] = [absolute(x!.values), absolute(y!.values)];
      if (!isFloat(dtype)) {
        const ones = [x!, y!].map(({ values: v }) => v.map(() => 1));
        const spoilt = again(node, operation, [x!.errors, ones[1]!]);
        return whole(again(node, operation, [ones[0]!, y!.errors]).map((e, i) => e + spoilt[i]!));
      }
      const total = again(node, operation, [a, b]);
      const exact = isExact(x!.errors) && isExact(y!.errors);
      const inner = node.inputs[0]!.shape.at(-1)!;
      const fine = (v: Values) => v.every((value) => Number.isInteger(value * 32));
      if (
        exact &&
        fine(a) &&
        fine(b) &&
        total.every((sum) => sum < (dtype === "float64" ? 2 ** 40 : 2 ** 13))
      )
        return none(size);
      const left = exact
        ? total
        : again(node, operation, [a.map((v, i) => v + x!.errors[i]!), b.map((v, i) => v + y!.errors[i]!)]);
      return left.map((sum, i) => sum - total[i]! + (inner + 1) * (unit * sum + 2 * tiny));
    }
    case "loop":
      return loopErrors(operation, inputs, arithmetic, none(size));
    default:
      return operation satisfies never;
  }
}

/** Step by step; what is carried is held in its dtype in between, which `bound` adds. */
function loopErrors(
  { loop, output, last }: Extract<Operation, { kind: "loop" }>,
  inputs: readonly Bounded[],
  arithmetic: Arithmetic,
  errors: Values,
): Values {
  const { steps, reversed, carries, slices, given, next } = loop;
  const rest = inputs.slice(carries.length);
  let state = inputs.slice(0, carries.length);
  for (let i = 0; i < steps; i++) {
    const step = reversed ? steps - 1 - i : i;
    const known = new Map(carries.map((place, at) => [place, state[at]!]));
    slices.forEach((place, at) => {
      const length = numel(place.shape);
      const part = (all: Values) => all.slice(step * length, (step + 1) * length);
      known.set(place, { values: part(rest[at]!.values), errors: part(rest[at]!.errors) });
    });
    for (const [at, place] of given.entries()) known.set(place, rest[slices.length + at]!);
    const leaves = { buffer: () => [], input: () => [] };
    const [value, ...after] = bound([output, ...next], leaves, arithmetic, known);
    if (!last) errors.set(value!.errors, step * value!.errors.length);
    else if (i === steps - 1) errors.set(after[next.indexOf(output)]!.errors);
    state = after;
  }
  return errors;
}

/** Integers are right or unknown. */
const whole = (errors: Values) => errors.map((e) => (e > 0 || Number.isNaN(e) ? Infinity : 0));

function productErrors(node: Node, operation: Operation, x: Bounded, unit: number, tiny: number): Values {
  if (!isFloat(node.dtype)) return whole(again(node, { ...operation, name: "sum" } as Operation, [x.errors]));
  const size = absolute(x.values);
  const total = again(node, operation, [size]);
  const atLeastOne = again(node, operation, [size.map((value) => Math.max(value, 1))]);
  if (isExact(x.errors) && x.values.every(Number.isInteger) && atLeastOne.every((value) => value < 2 ** 24))
    return none(total.length);
  const count = x.values.length / Math.max(total.length, 1);
  const wide = again(node, operation, [size.map((value, i) => value + x.errors[i]!)]);
  // Partial products may leave the range that the whole one is in.
  const edges = again(node, operation, [
    size.map((value) => Math.max(value, 1 / Math.max(value, 2 ** -200))),
  ]);
  return wide.map((sum, i) =>
    edges[i]! > 2 ** 120 ? Infinity : sum - total[i]! + count * (unit * sum + tiny),
  );
}

function castErrors(node: Node, values: Values, x: Bounded): Values {
  const from = node.inputs[0]!.dtype;
  const to = node.dtype;
  const { errors } = x;
  if (isFloat(to)) {
    const { halfUnit: unit, smallest } = sizesOf(to)!;
    return errors.map((e, i) => {
      const value = values[i]!;
      return e === 0 && Object.is(coerce(value, to), value) ? 0 : e + unit * Math.abs(value) + smallest;
    });
  }
  if (to === "bool") return errors.map((e, i) => (e > 0 && Math.abs(x.values[i]!) <= e ? Infinity : 0));
  if (!isFloat(from)) return whole(errors);
  return errors.map((e, i) => {
    const value = x.values[i]!;
    return e === 0 || convert(value - e, to) === convert(value + e, to) ? 0 : Infinity;
  });
}

/** Beyond a quarter of a value, or of 1, an error has left nothing of it. */
const most = 0.25;

function elementwise(
  node: Node,
  row: ScalarRow,
  values: Values,
  inputs: readonly Bounded[],
  arithmetic: Arithmetic,
  chain: Chain | undefined,
): Values {
  const { flushes, specials } = arithmetic;
  const { dtype } = node;
  const argument = node.inputs.at(-1)!.dtype;
  const size = values.length;
  const errors = none(size);
  if (!isFloat(argument)) {
    const isShift = /Shift/.test(row.name);
    const floatOfBits = row.types === "bitcast";
    for (let i = 0; i < size; i++) {
      const out = isShift && inputs[1]!.values[i]! >>> 0 > 31;
      const taken = row.types === "select" ? [0, inputs[0]!.values[i] ? 1 : 2] : inputs.map((_, n) => n);
      errors[i] = out || taken.some((n) => inputs[n]!.errors[i]! > 0) ? Infinity : 0;
      if (floatOfBits && flushes && Math.abs(values[i]!) < 2 ** -126 && values[i] !== 0) errors[i] = Infinity;
    }
    return errors;
  }
  const { halfUnit: unit } = sizesOf(computeDType(argument))!;
  const tiny = tiniest(argument, arithmetic);
  const normal = flushes ? (sizesOf(argument)?.smallestNormal ?? 0) : 0;
  if (row.types === "select") {
    const [c, x, y] = inputs as [Bounded, Bounded, Bounded];
    for (let i = 0; i < size; i++) {
      const taken = c.values[i] ? x : y;
      const other = c.values[i] ? y : x;
      errors[i] = taken.errors[i]!;
      if (c.errors[i]! > 0)
        errors[i] =
          Object.is(x.values[i], y.values[i]) && x.errors[i] === 0 && y.errors[i] === 0
            ? 0
            : Math.abs(x.values[i]! - y.values[i]!) + taken.errors[i]! + other.errors[i]!;
    }
    return errors;
  }
  // Comparisons, extremes and tests look at values as they are; arithmetic may assume that all are finite.
  const looks =
    row.types === "compare" || row.types === "test" || row.name === "maximum" || row.name === "minimum";
  const f = (a: number, b: number) => row.evaluate(a, b, 0, "float64");
  const [x, y] = inputs as [Bounded, Bounded | undefined];
  for (let i = 0; i < size; i++) {
    const a = x.values[i]!;
    const b = y ? y.values[i]! : 0;
    // A device may take a subnormal argument for zero.
    const ea = x.errors[i]! + (Math.abs(a) < normal ? Math.abs(a) : 0);
    const eb = y ? y.errors[i]! + (Math.abs(b) < normal ? Math.abs(b) : 0) : 0;
    const value = values[i]!;
    if (ea === Infinity || eb === Infinity) {
      errors[i] = Infinity;
      continue;
    }
    if (!specials && !looks && !(Number.isFinite(a) && Number.isFinite(b))) {
      errors[i] = Infinity;
      continue;
    }
    if (row.types === "compare") {
      errors[i] = ea + eb > 0 && Math.abs(a - b) <= ea + eb ? Infinity : 0;
      continue;
    }
    if (row.types === "bitcast") {
      errors[i] = ea > 0 || Number.isNaN(a) ? Infinity : 0;
      continue;
    }
    let deviation = 0;
    let unsure = false;
    const see = (p: number, q: number) => {
      const other = f(p, q);
      if (Object.is(other, value) || other === value) return;
      if (Number.isFinite(other) && Number.isFinite(value))
        deviation = Math.max(deviation, Math.abs(other - value));
      else unsure = true;
    };
    if (ea > 0 || eb > 0) {
      const others = eb > 0 ? around(b, eb) : [b];
      for (const p of ea > 0 ? around(a, ea) : [a]) for (const q of others) see(p, q);
      // Between the samples a function may bend.
      deviation *= 1.25;
    }
    // Zeros have no sign that anybody promised.
    if (a === 0) see(-a, b);
    if (b === 0 && y) {
      see(a, -b);
      if (a === 0) see(-a, -b);
    }
    if (unsure || deviation > most * Math.max(1, Math.abs(value))) {
      errors[i] = isFloat(dtype) && !unsure && jumps.has(row.name) ? deviation : Infinity;
      continue;
    }
    if (dtype === "bool") {
      errors[i] = deviation > 0 ? Infinity : 0;
      continue;
    }
    if (!Number.isFinite(value)) continue;
    const exact = deviation === 0;
    const anyOrder = chain && chain.count > 2 ? roundings(chain, i, value, { unit, exact }) : 0;
    if (
      exact &&
      anyOrder === 0 &&
      row.ulp === 0 &&
      (argument === "float64" || argument === "number" || Math.fround(value) === value)
    ) {
      errors[i] = argument === "float64" || argument === "number" ? 2 * unit * Math.abs(value) : 0;
      continue;
    }
    // Steps of an approximation may be subnormal where its result is not.
    const steps = row.ulp > 0 ? 64 : 1;
    const own = 2 * unit * (row.ulp + 0.5) * Math.abs(value);
    errors[i] = deviation + Math.max(own, anyOrder + 2 * unit * row.ulp * Math.abs(value)) + tiny * steps;
  }
  return errors;
}

/** Values that one may have within an error; 0, where it is one of them, for what has a pole there. */
function around(x: number, error: number): number[] {
  const between = error * (Math.SQRT2 - 1); // no whole number: powers of negative numbers have none there
  const values = [x - error, x - between, x, x + between, x + error];
  return [...values, ...[0, Math.round(x)].filter((special) => Math.abs(x - special) <= error)];
}

/** Functions whose values stay near each other on both sides of a jump. */
const jumps = new Set(["floor", "ceil", "round", "sign"]);

/** Where a device's values leave the bounds: the first place, and how many of the values were judged. */
export function compare(
  found: ArrayLike<number>,
  { values, errors }: Bounded,
): { readonly at: number | undefined; readonly judged: number } {
  let judged = 0;
  let at: number | undefined;
  for (let i = 0; i < values.length; i++) {
    const error = errors[i]!;
    if (error === Infinity) continue;
    judged++;
    const [have, want] = [found[i]!, values[i]!];
    const right = Object.is(have, want) || have === want || Math.abs(have - want) <= error;
    if (!right && at === undefined) at = i;
  }
  if (found.length !== values.length) at ??= Math.min(found.length, values.length);
  return { at, judged };
}
