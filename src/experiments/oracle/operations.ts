import type { DType } from "../../base/dtype.ts";
import { ValueError } from "../../base/errors.ts";
import * as nn from "../../nn/index.ts";
import { valuesAtHand } from "../../runtime/evaluate.ts";
import * as angles from "../../tensor/angles.ts";
import * as arithmetic from "../../tensor/arithmetic.ts";
import * as arrange from "../../tensor/arrange.ts";
import { einsum, tensordot } from "../../tensor/einsum.ts";
import * as F from "../../tensor/functions.ts";
import * as hyperbolic from "../../tensor/hyperbolic.ts";
import * as linalg from "../../tensor/linalg.ts";
import { type MatrixOrder, matrixNorm, norm } from "../../tensor/norms.ts";
import * as scans from "../../tensor/scans.ts";
import * as order from "../../tensor/sort.ts";
import type { Extremes, Index, Tensor } from "../../tensor/tensor.ts";
import type { OracleDType } from "./engine.ts";
import type { Fields } from "./fields.ts";

/** An operation of the reference files by way of the public functions. */
export type Operation = (
  inputs: readonly Tensor[],
  attrs: Fields,
  dtype: OracleDType,
) => Tensor | readonly Tensor[];

const unary =
  (f: (x: Tensor) => Tensor): Operation =>
  ([x]) =>
    f(x!);
const binary =
  (f: (x: Tensor, y: Tensor) => Tensor): Operation =>
  ([x, y]) =>
    f(x!, y!);

const optional = (attrs: Fields, name: string) => (attrs.has(name) ? attrs.number(name) : null);
const axes = (attrs: Fields) => (attrs.has("axis") ? attrs.numbers("axis") : null);
const axis = (attrs: Fields) => attrs.numbers("axis")[0]!;
const keepdim = (attrs: Fields) => ({ keepdim: attrs.boolean("keepdim") });

function indices(x: Tensor | undefined): Tensor<"int32"> {
  return typed(x, "int32");
}

function condition(x: Tensor | undefined): Tensor<"bool"> {
  return typed(x, "bool");
}

function typed<D extends DType>(x: Tensor | undefined, dtype: D): Tensor<D> {
  if (x?.dtype !== dtype)
    throw new ValueError(`inputs: expected a ${dtype} tensor; found ${x ?? "nothing"}.`);
  return x as Tensor<D>; // just checked
}

function reduction(attrs: Fields): nn.Reduction {
  const name = attrs.text("reduction");
  if (name !== "none" && name !== "mean" && name !== "sum") {
    throw new ValueError(`${attrs.place}.reduction: expected none, mean or sum; found ${name}.`);
  }
  return name;
}

/** Puts a reduced axis back with length 1 if the case keeps it. */
function kept<D extends DType>(x: Tensor<D>, attrs: Fields, at = axis(attrs)): Tensor<D> {
  if (!attrs.boolean("keepdim")) return x;
  return x.unsqueeze(at < 0 ? at + x.rank + 1 : at);
}

/** A number, or a list of them. */
const oneOrMore = (attrs: Fields, name: string): number | readonly number[] =>
  attrs.isList(name) ? attrs.numbers(name) : attrs.number(name);

const conv = (attrs: Fields): nn.functional.ConvOptions => ({
  stride: attrs.numbers("stride"),
  padding: attrs.numbers("padding"),
  dilation: attrs.numbers("dilation"),
  groups: attrs.number("groups"),
});

const swapped = (x: Tensor, swap: boolean) => (swap ? x.transpose(-2, -1) : x);

const extremes = ({ values, indices }: Extremes<DType>) => [values, indices];

const sorting = (attrs: Fields) => ({
  axis: attrs.number("axis"),
  descending: attrs.boolean("descending"),
});

/** What an index of the reference files picks. */
function place(inputs: readonly Tensor[], attrs: Fields) {
  const items = attrs.list("index").map((item): Index => {
    if (item === "newaxis") return null;
    if (item === "..." || typeof item === "number") return item;
    const { range, tensor } = item as { range?: (number | null)[]; tensor?: number };
    return range ?? (inputs[tensor!] as Tensor<"int32">); // or a mask
  });
  return inputs[0]!.at(...items);
}

const binaryMethods = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
] as const;
const unaryMethods = [
  "neg",
  "exp",
  "log",
  "log2",
  "log1p",
  "expm1",
  "sqrt",
  "rsqrt",
  "square",
  "reciprocal",
  "sin",
  "cos",
  "tanh",
  "erf",
  "erfinv",
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
] as const;

/** Every operation, by its name in the reference files. */
export const operations: Readonly<Record<string, Operation>> = {
  ...Object.fromEntries(binaryMethods.map((name) => [name, binary((x, y) => x[name](y))])),
  ...Object.fromEntries(unaryMethods.map((name) => [name, unary((x) => x[name]())])),

  mul_self: unary((x) => x.mul(x)),
  div_self: unary((x) => x.div(x)),
  pow_scalar: ([x], attrs) => x!.pow(attrs.number("exponent")),
  clamp: ([x], attrs) => x!.clamp(optional(attrs, "min"), optional(attrs, "max")),
  where: ([c, x, y]) => F.where(condition(c), x!, y!),
  masked_fill: ([x, mask], attrs) => x!.maskedFill(condition(mask), attrs.number("value")),

  exp2: unary(hyperbolic.exp2),
  log10: unary(hyperbolic.log10),
  tan: unary(angles.tan),
  asin: unary(angles.asin),
  acos: unary(angles.acos),
  atan: unary(angles.atan),
  atan2: binary(angles.atan2),
  sinh: unary(hyperbolic.sinh),
  cosh: unary(hyperbolic.cosh),
  asinh: unary(hyperbolic.asinh),
  acosh: unary(hyperbolic.acosh),
  atanh: unary(hyperbolic.atanh),
  fmod: binary(arithmetic.fmod),
  remainder: binary(arithmetic.remainder),
  floor_divide: binary(arithmetic.floorDivide),
  hypot: binary(arithmetic.hypot),
  lerp: ([x, y, weight]) => arithmetic.lerp(x!, y!, weight!),
  nan_to_num: ([x], attrs) =>
    arithmetic.nanToNum(x!, {
      nan: attrs.number("nan"),
      posinf: attrs.number("posinf"),
      neginf: attrs.number("neginf"),
    }),
  isclose: ([x, y], attrs) =>
    arithmetic.isClose(x!, y!, {
      rtol: attrs.number("rtol"),
      atol: attrs.number("atol"),
      equalNan: attrs.boolean("equalNan"),
    }),
  any: ([x], attrs) => arithmetic.any(x!, axes(attrs), keepdim(attrs)),
  all: ([x], attrs) => arithmetic.all(x!, axes(attrs), keepdim(attrs)),
  logical_and: binary(arithmetic.logicalAnd),
  logical_or: binary(arithmetic.logicalOr),
  logical_xor: binary(arithmetic.logicalXor),
  logical_not: unary((x) => x.logicalNot()),

  relu: unary(F.relu),
  sigmoid: unary(F.sigmoid),
  silu: unary(F.silu),
  gelu: unary(F.gelu),
  gelu_tanh: unary(F.geluTanh),
  softplus: unary(F.softplus),
  log_sigmoid: unary(F.logSigmoid),
  elu: unary((x) => F.elu(x)),
  leaky_relu: ([x], attrs) => F.leakyRelu(x!, attrs.number("negative_slope")),

  tensordot: ([x, y], attrs) =>
    tensordot(
      x!,
      y!,
      attrs.isList("axes") ? (attrs.numberLists("axes") as [number[], number[]]) : attrs.number("axes"),
    ),
  einsum: (inputs, attrs) => einsum(attrs.text("formula"), ...inputs),
  norm: ([x], attrs) => norm(x!, { ord: attrs.number("ord"), axis: axes(attrs), ...keepdim(attrs) }),
  matrix_norm: ([x], attrs) => {
    const ord = attrs.value("ord");
    return matrixNorm(x!, (ord === "fro" || ord === "nuc" ? ord : attrs.number("ord")) as MatrixOrder);
  },

  matmul: binary((x, y) => x.matmul(y)),
  matmul_t: ([x, y], attrs) =>
    swapped(x!, attrs.boolean("transposeA")).matmul(swapped(y!, attrs.boolean("transposeB"))),
  outer: binary((x, y) => x.outer(y)),

  sum: ([x], attrs) => x!.sum(axes(attrs), keepdim(attrs)),
  mean: ([x], attrs) => x!.mean(axes(attrs), keepdim(attrs)),
  prod: ([x], attrs) => x!.prod(axes(attrs), keepdim(attrs)),
  amax: ([x], attrs) => x!.amax(axes(attrs), keepdim(attrs)),
  amin: ([x], attrs) => x!.amin(axes(attrs), keepdim(attrs)),
  logsumexp: ([x], attrs) => x!.logsumexp(axes(attrs), keepdim(attrs)),
  var: ([x], attrs) => x!.var(axes(attrs), { ...keepdim(attrs), correction: attrs.number("correction") }),
  std: ([x], attrs) => x!.std(axes(attrs), { ...keepdim(attrs), correction: attrs.number("correction") }),
  max: ([x], attrs) => {
    const { values, indices } = x!.max(axis(attrs));
    return [kept(values, attrs), kept(indices, attrs)];
  },
  min: ([x], attrs) => {
    const { values, indices } = x!.min(axis(attrs));
    return [kept(values, attrs), kept(indices, attrs)];
  },
  argmax: ([x], attrs) => kept(x!.argmax(axis(attrs)), attrs),
  argmin: ([x], attrs) => kept(x!.argmin(axis(attrs)), attrs),
  cumprod: ([x], attrs) => scans.cumprod(x!, attrs.number("axis")),
  cummax: ([x], attrs) => extremes(scans.cummax(x!, attrs.number("axis"))),
  cummin: ([x], attrs) => extremes(scans.cummin(x!, attrs.number("axis"))),
  logcumsumexp: ([x], attrs) => scans.logcumsumexp(x!, attrs.number("axis")),
  searchsorted: ([sorted, values], attrs) =>
    scans.searchsorted(sorted!, values!, { side: attrs.text("side") as "left" | "right" }),
  bincount: ([index, weights], attrs) => {
    const known = Array.from(valuesAtHand(index!.node) ?? []);
    const length = Math.max(attrs.number("minlength"), ...known.map((i) => i + 1));
    return weights
      ? scans.bincount(indices(index), { weights, length })
      : scans.bincount(indices(index), { length });
  },
  sort: ([x], attrs) => extremes(order.sort(x!, sorting(attrs))),
  argsort: ([x], attrs) => order.argsort(x!, sorting(attrs)),
  topk: ([x], attrs) =>
    extremes(order.topk(x!, attrs.number("k"), attrs.number("axis"), { largest: attrs.boolean("largest") })),
  median: ([x], attrs) => {
    const options = { axis: optional(attrs, "axis"), ...keepdim(attrs) };
    const lower = attrs.has("even") && attrs.text("even") === "lower";
    return lower
      ? order.quantile(x!, 0.5, { ...options, interpolation: "lower" })
      : order.median(x!, options);
  },
  quantile: ([x], attrs) =>
    order.quantile(x!, oneOrMore(attrs, "q"), {
      axis: optional(attrs, "axis"),
      ...keepdim(attrs),
      interpolation: attrs.text("interpolation") as "linear",
    }),
  unique: ([x]) => {
    const { values, inverse, counts } = order.uniqueAmong(x!, valuesAtHand(x!.node) ?? []);
    return [values, inverse, counts];
  },
  cholesky: ([a], attrs) => linalg.cholesky(a!, { upper: attrs.boolean("upper") }),
  triangular_solve: ([a, b], attrs) =>
    linalg.triangularSolve(a!, b!, {
      upper: attrs.boolean("upper"),
      transposed: attrs.boolean("transposeA"),
      unitDiagonal: attrs.boolean("unitDiagonal"),
    }),
  solve: binary(linalg.solve),
  inv: unary(linalg.inv),
  det: unary(linalg.det),
  slogdet: ([a]) => {
    const { sign, logabsdet } = linalg.slogdet(a!);
    return [sign, logabsdet];
  },
  // What does not depend on signs and bases.
  eigh: ([a]) => {
    const { w, v } = linalg.eigh(a!);
    return [w, v.mul(w.div(4).exp().unsqueeze(-2)).matmul(v.transpose())];
  },
  svd: ([a]) => {
    const { u, s, v } = linalg.svd(a!);
    return [s, u.matmul(v.transpose())];
  },
  svd_truncate: ([a], attrs) => {
    const { u, s, v } = linalg.svd(a!);
    const first = (x: Tensor) => x.at("...", [0, attrs.number("rank")]).get();
    return first(u).mul(first(s).unsqueeze(-2)).matmul(first(v).transpose());
  },
  qr: ([a]) => {
    const { q, r } = linalg.qr(a!);
    return [q, r];
  },
  pinv: ([a], attrs) => linalg.pinv(a!, attrs.has("rtol") ? { rtol: attrs.number("rtol") } : {}),
  lstsq: binary((a, b) => linalg.lstsq(a, b)),
  svdvals: ([a]) => linalg.svd(a!).s,
  eigvalsh: ([a]) => linalg.eigh(a!).w,
  at_get: (inputs, attrs) => place(inputs, attrs).get(),
  at_set: (inputs, attrs) => place(inputs, attrs).set(inputs.at(-1)!),
  at_add: (inputs, attrs) => place(inputs, attrs).add(inputs.at(-1)!),
  at_multiply: (inputs, attrs) => place(inputs, attrs).mul(inputs.at(-1)!),
  at_min: (inputs, attrs) => place(inputs, attrs).min(inputs.at(-1)!),
  at_max: (inputs, attrs) => place(inputs, attrs).max(inputs.at(-1)!),
  cumsum: ([x], attrs) => x!.cumsum(attrs.number("axis")),
  softmax: ([x], attrs) => x!.softmax(attrs.number("axis")),
  log_softmax: ([x], attrs) => x!.logSoftmax(attrs.number("axis")),

  gather: ([x, index], attrs) => x!.gather(attrs.number("axis"), indices(index)),
  scatter_add: ([x, index, source], attrs) => x!.scatterAdd(attrs.number("axis"), indices(index), source!),
  index_select: ([x, index], attrs) => x!.indexSelect(attrs.number("axis"), indices(index)),
  // The files hold it as floats.
  one_hot: ([index], attrs) => F.oneHot(indices(index), attrs.number("numClasses")).astype("float32"),

  slice: ([x], attrs) => x!.slice(attrs.numbers("start"), attrs.numbers("end"), attrs.numbers("step")),
  cat: (inputs, attrs) => F.cat(inputs, attrs.number("axis")),
  stack: (inputs, attrs) => F.stack(inputs, attrs.number("axis")),
  pad: ([x], attrs) => x!.pad(padding(attrs), attrs.number("value")),
  permute: ([x], attrs) => x!.permute(attrs.numbers("axes")),
  transpose: ([x], attrs) => x!.transpose(attrs.number("axis0"), attrs.number("axis1")),
  reshape: ([x], attrs) => x!.reshape(attrs.numbers("shape")),
  reshape_of_transpose: unary((x) => x.transpose(0, 1).reshape([-1])),
  roll: ([x], attrs) =>
    arrange.roll(x!, oneOrMore(attrs, "shifts"), attrs.has("axis") ? oneOrMore(attrs, "axis") : null),
  tile: ([x], attrs) => arrange.tile(x!, attrs.numbers("repeats")),
  diff: ([x], attrs) => arrange.diff(x!, { n: attrs.number("n"), axis: attrs.number("axis") }),
  linspace: (_, attrs, dtype) =>
    arrange.linspace(attrs.number("start"), attrs.number("stop"), attrs.number("num"), { dtype }),
  diag: ([x], attrs) => arrange.diag(x!, attrs.number("diagonal")),
  diagonal: ([x], attrs) =>
    arrange.diagonal(x!, {
      offset: attrs.number("diagonal"),
      axis0: attrs.number("axis0"),
      axis1: attrs.number("axis1"),
    }),
  meshgrid: (inputs, attrs) => arrange.meshgrid(inputs, { indexing: attrs.text("indexing") as "ij" | "xy" }),
  expand: ([x], attrs) => x!.expand(attrs.numbers("shape")),
  flip: ([x], attrs) => x!.flip(attrs.numbers("axes")),
  tril: ([x], attrs) => x!.tril(attrs.number("diagonal")),
  triu: ([x], attrs) => x!.triu(attrs.number("diagonal")),
  squeeze: ([x], attrs) => x!.squeeze(attrs.number("axis")),
  unsqueeze: ([x], attrs) => x!.unsqueeze(attrs.number("axis")),
  split_equal: ([x], attrs) => x!.split(attrs.number("parts"), attrs.number("axis")),
  repeat_interleave: ([x], attrs) => x!.repeatInterleave(attrs.number("repeats"), attrs.number("axis")),

  linear: ([x, weight, bias]) => nn.functional.linear(x!, weight!, bias),
  embedding: ([index, table]) => nn.functional.embedding(indices(index), table!),
  layer_norm: ([x, weight, bias], attrs) =>
    nn.functional.layerNorm(x!, attrs.numbers("normalizedShape"), { weight, bias, eps: attrs.number("eps") }),
  rms_norm: ([x, weight], attrs) => nn.functional.rmsNorm(x!, weight, { eps: attrs.number("eps") }),
  sdpa: ([q, k, v, mask], attrs) =>
    nn.functional.scaledDotProductAttention(q!, k!, v!, {
      mask: mask ?? null,
      causal: attrs.boolean("causal"),
      ...(attrs.has("scale") ? { scale: attrs.number("scale") } : {}),
    }),
  rope: ([x], attrs) =>
    nn.functional.rope(x!, { theta: attrs.number("theta"), positions: attrs.numbers("positions") }),

  ...Object.fromEntries(
    ([1, 2, 3] as const).flatMap((n): [string, Operation][] => [
      [`conv${n}d`, ([x, weight, bias], attrs) => nn.functional[`conv${n}d`](x!, weight!, bias, conv(attrs))],
      [
        `conv_transpose${n}d`,
        ([x, weight, bias], attrs) =>
          nn.functional[`convTranspose${n}d`](x!, weight!, bias, {
            ...conv(attrs),
            outputPadding: attrs.numbers("outputPadding"),
          }),
      ],
      [
        `max_pool${n}d`,
        ([x], attrs) =>
          nn.functional[`maxPool${n}d`](x!, attrs.numbers("kernel"), {
            stride: attrs.numbers("stride"),
            padding: attrs.numbers("padding"),
            dilation: attrs.numbers("dilation"),
            ceilMode: attrs.boolean("ceilMode"),
          }),
      ],
      [
        `avg_pool${n}d`,
        ([x], attrs) =>
          nn.functional[`avgPool${n}d`](x!, attrs.numbers("kernel"), {
            stride: attrs.numbers("stride"),
            padding: attrs.numbers("padding"),
            countIncludePad: attrs.boolean("countIncludePad"),
          }),
      ],
    ]),
  ),
  unfold: ([x], attrs) =>
    nn.functional.unfold(x!, attrs.numbers("kernel"), {
      stride: attrs.numbers("stride"),
      padding: attrs.numbers("padding"),
      dilation: attrs.numbers("dilation"),
    }),

  cross_entropy: ([logits, classes], attrs) =>
    nn.crossEntropy(logits!, indices(classes), {
      reduction: reduction(attrs),
      labelSmoothing: attrs.number("labelSmoothing"),
      ignoreIndex: attrs.number("ignoreIndex"),
    }),
  nll_loss: ([input, classes], attrs) =>
    nn.nllLoss(input!, indices(classes), {
      reduction: reduction(attrs),
      ignoreIndex: attrs.number("ignoreIndex"),
    }),
  mse_loss: ([x, y], attrs) => nn.mseLoss(x!, y!, { reduction: reduction(attrs) }),
  l1_loss: ([x, y], attrs) => nn.l1Loss(x!, y!, { reduction: reduction(attrs) }),
  smooth_l1_loss: ([x, y], attrs) =>
    nn.smoothL1Loss(x!, y!, { reduction: reduction(attrs), beta: attrs.number("beta") }),
  huber_loss: ([x, y], attrs) =>
    nn.huberLoss(x!, y!, { reduction: reduction(attrs), delta: attrs.number("delta") }),
  bce_with_logits: ([x, y], attrs) => nn.bceWithLogits(x!, y!, { reduction: reduction(attrs) }),
  kl_div: ([x, y], attrs) => nn.klDiv(x!, y!, { reduction: reduction(attrs) }),
};

function padding(attrs: Fields): [number, number][] {
  return attrs.list("padding").map((pair) => {
    const [before, after] = Array.isArray(pair) ? pair : [];
    if (typeof before !== "number" || typeof after !== "number") {
      throw new ValueError(
        `${attrs.place}.padding: expected pairs [before, after]; found ${JSON.stringify(pair)}.`,
      );
    }
    return [before, after];
  });
}
