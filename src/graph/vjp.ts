import { internal } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";
import { cast, cotangent } from "./cast.ts";
import { add, bitwiseAnd, div, eq, ge, lt, maximum, minimum, mul, where } from "./elementwise.ts";
import {
  expand,
  flip,
  pad,
  padAlong,
  permute,
  reshape,
  slice,
  sliceAlong,
  transpose,
  zeros,
} from "./movement.ts";
import { iota, type Kind, type Node, type Operation } from "./node.ts";
import { cumsum, gather, matmul, reduce, scatterAdd, spread } from "./reduce.ts";
import { region, update } from "./update.ts";

type Of<K extends Kind> = Extract<Operation, { kind: K }>;

/** Cotangents of the inputs of `node`, given the cotangent `g` of its output; written in graph operations. */
type Rule<K extends Kind> = (g: Node, node: Node, operation: Of<K>) => readonly (Node | undefined)[];

const leaf = () => [];

const rules: { readonly [K in Kind]: Rule<K> } = {
  constant: leaf,
  input: leaf,
  buffer: leaf,
  hostNumber: leaf,
  iota: leaf,
  identity: (g, { inputs }, { stops, custom }) => {
    if (custom) return [undefined, ...custom.pull(g, inputs.slice(1 + custom.given))];
    return stops ? [] : [g];
  },
  after: (g) => [g],
  scalar: (g, node, { op }) => {
    if (op.row.vjp) return op.row.vjp(g, node, node.inputs);
    return [];
  },
  cast: (g, { inputs: [x] }) => [cotangent(g, x!.dtype)],
  reshape: (g, { inputs: [x] }) => [reshape(g, x!.shape)],
  expand: (g, { inputs: [x] }) => {
    const axes = stretched(x!.shape, g.shape);
    return [reshape(reduce("sum", g, axes), x!.shape)];
  },
  permute: (g, _, { axes }) => [
    permute(
      g,
      axes.map((_, axis) => axes.indexOf(axis)),
    ),
  ],
  flip: (g, _, { axes }) => [flip(g, axes)],
  slice: (g, { inputs: [x] }, { start, step }) => [unslice(g, start, step, x!.shape)],
  windows: (g, { inputs: [x] }, { axis, step, dilation }) => [fold(g, x!.shape, axis, step, dilation)],
  pad: (g, { inputs: [x] }, { before }) => [slice(g, before, x!.shape)],
  cat: (g, { inputs }, { axis }) => {
    let from = 0;
    return inputs.map(({ shape }) => {
      const count = shape[axis]!;
      from += count;
      return sliceAlong(g, axis, from - count, count);
    });
  },
  update: (g, { inputs: [, part, ...starts] }, { start, step, moving }) => {
    const where = { start, step, moving, starts };
    return [update(g, zeros(part!), where), region(g, part!.shape, where)];
  },
  reduce: (g, node, { name, axes }) => [reduceRule(g, node, name, axes)],
  // C = A B: dA = dC B^T, dB = A^T dC.
  matmul: (g, { inputs: [a, b] }) => [matmul(g, swapped(b!)), matmul(swapped(a!), g)],
  // y_i = sum of x_j for j <= i, so the cotangent of x_j is the sum of g_i for i >= j.
  cumsum: (g, _, { axis }) => [flip(cumsum(flip(g, [axis]), axis), [axis])],
  // Out of range the first or last element was taken, and gets the cotangent.
  gather: (g, { inputs: [x, index] }, { axis }) => {
    const taken = minimum(maximum(index!, 0), Math.max(x!.shape[axis]! - 1, 0));
    return [
      index!.shape[axis] === 1 ? placed(g, taken, axis, x!.shape) : scatterAdd(zeros(x!), taken, g, axis),
      undefined,
    ];
  },
  // Out of range nothing was added, and nothing flows.
  scatterAdd: (g, { inputs: [x, index, source] }, { axis }) => {
    const length = x!.shape[axis]!;
    if (length === 0) return [g, undefined, zeros(source!)];
    const inside = bitwiseAnd(ge(index!, 0), lt(index!, length));
    return [g, undefined, where(inside, gather(g, index!, axis), 0)];
  },
  procedure: leaf,
  loop: () => internal("the results of a loop get their gradients together"),
};

/** Cotangents of the inputs of `node`; undefined or missing where nothing flows. */
export function vjp(g: Node, node: Node): readonly (Node | undefined)[] {
  const { operation } = node;
  // The rule of a kind takes operations of that kind; TypeScript does not see that both are the same one.
  return (rules[operation.kind] as Rule<Kind>)(g, node, operation);
}

function swapped(x: Node): Node {
  return transpose(x, x.shape.length - 2, x.shape.length - 1);
}

/** Zeros with `g` at `index` along `axis`, for one index a lane: elementwise, so that it fuses. */
function placed(g: Node, index: Node, axis: number, shape: Shape): Node {
  return where(eq(iota(shape, axis), expand(index, shape)), expand(g, shape), 0);
}

/** The axes along which `from` was stretched to `to`. */
function stretched(from: Shape, to: Shape): number[] {
  return to.flatMap((length, axis) => (from[axis] !== length ? [axis] : []));
}

function reduceRule(g: Node, node: Node, name: Of<"reduce">["name"], axes: readonly number[]): Node {
  const x = node.inputs[0]!;
  const spreadG = spread(g, axes, x.shape);
  switch (name) {
    case "sum":
      return spreadG;
    case "prod":
      return mul(spreadG, productOfOthers(x, axes));
    case "max":
    case "min": {
      // Tied extremes share evenly.
      const tied = cast(eq(x, spread(node, axes, x.shape)), x.dtype);
      return mul(spreadG, div(tied, spread(reduce("sum", tied, axes), axes, x.shape)));
    }
    default:
      return name satisfies never;
  }
}

/**
 * For each element the product of the others along `axes`: exact at zeros, where dividing the whole product
 * is not. It takes n multiplications per element, without storing the n x n factors.
 */
function productOfOthers(x: Node, axes: readonly number[]): Node {
  const kept = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const order = [...kept, ...axes];
  const n = numel(axes.map((axis) => x.shape[axis]!));
  const outer = kept.map((axis) => x.shape[axis]!);
  const flat = reshape(permute(x, order), [...outer, 1, n]);
  const square = [...outer, n, n];
  const self = eq(iota(square, outer.length), iota(square, outer.length + 1));
  const others = reduce("prod", where(self, 1, expand(flat, square)), [outer.length + 1]);
  const back = order.map((_, axis) => order.indexOf(axis));
  return permute(
    reshape(
      others,
      order.map((axis) => x.shape[axis]!),
    ),
    back,
  );
}

/**
 * The sum of what lies in windows, at each place of the axis that they were taken of. Windows of places side by side come in
 * parts as long as a step: the elements of a part follow each other.
 */
function fold(g: Node, shape: Shape, axis: number, step: number, dilation: number): Node {
  const along = (value: number, otherwise: number) => shape.map(() => otherwise).with(axis, value);
  const [count, size] = [g.shape[axis]!, g.shape[axis + 1]!];
  const length = dilation === 1 ? step : 1;
  const parts = Array.from({ length: Math.ceil(size / length) }, (_, i) => {
    const first = i * length;
    const own = Math.min(length, size - first);
    const whole = padAlong(sliceAlong(g, axis + 1, first, own), axis + 1, 0, length - own);
    const flat = reshape(whole, [...shape.slice(0, axis), count * length, ...shape.slice(axis + 1)]);
    return unslice(flat, along(first * dilation, 0), along(step / length, 1), shape);
  });
  return parts.reduce((sum, part) => add(sum, part));
}

/** Puts the elements of `g` back at `start + i * step` of a tensor of zeros. */
function unslice(g: Node, start: readonly number[], step: readonly number[], shape: Shape): Node {
  let x = g;
  for (let axis = 0; axis < shape.length; axis++) {
    const s = step[axis]!;
    if (s === 1) continue;
    // [n] -> [n, 1] -> [n, s] -> [n s]: s - 1 zeros after each element.
    const lengths = x.shape;
    const split = [...lengths.slice(0, axis + 1), 1, ...lengths.slice(axis + 1)];
    const apart = padAlong(reshape(x, split), axis + 1, 0, s - 1);
    x = reshape(apart, lengths.with(axis, lengths[axis]! * s));
  }
  const room = shape.map((length, axis) => length - start[axis]!);
  const fits = x.shape.map((length, axis) => Math.min(length, room[axis]!));
  if (fits.some((length) => length < 0)) internal(`unslice of [${g.shape}] into [${shape}]`);
  x = slice(
    x,
    fits.map(() => 0),
    fits,
  );
  return pad(
    x,
    start,
    fits.map((length, axis) => room[axis]! - length),
  );
}
