import { coerce, computeDType, type FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { type Initializer, zeros as zeroInit } from "../nn/initializers.ts";
import type { Params } from "../nn/layer.ts";
import { scalar, tensor, zeros } from "../tensor/creation.ts";
import { isPacked } from "../tensor/packed.ts";
import { type Key, normal } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Adapter, siteOf, weightOf } from "./adapter.ts";
import { isResidual, startsOnHost } from "./config.ts";
import { hostOf, sizesOf } from "./hosts.ts";
import { type Columns, columnsOf, multiply, qr, rowMajor, scaleColumns, svd, transpose } from "./linalg.ts";

/** The parameters an adapter starts with, and those of its layer: a residual start has a new weight. */
export interface Start {
  readonly own: Params;
  readonly base: Params;
}

/** The start of an adapter that depends on no values of tensors. */
export function start(adapter: Adapter, key: Key, base: Params): Start {
  const { config, layer } = adapter;
  if (startsOnHost(config))
    throw new ValueError(
      `lora: the initialisation ${config.init} decomposes matrices, so it waits for their values. Use await lora.initialize(model, key, params) in place of model.init(key, params).`,
    );
  const dtype = dtypeOf(adapter, base);
  const [inputs, outputs] = sizesOf(layer);
  const { r, initScale = {} } = config;
  const [a, b] = initializers(adapter);
  const draw = (name: "A" | "B", init: Initializer, shape: readonly [number, number]) =>
    init === zeroInit
      ? zeros(shape, { dtype })
      : // Scaled in the parameters' dtype, so that gauges of float64 models are exact to float64.
        init(key.fold(name), shape)
          .astype(dtype)
          .mul(scalar(initScale[name] ?? 1));
  return assemble(adapter, base, draw("A", a, [r, inputs]), draw("B", b, [outputs, r]));
}

/** The start of any adapter; waits for values where it needs them. */
export async function startOnHost(adapter: Adapter, key: Key, base: Params): Promise<Start> {
  const { config, layer, scaling } = adapter;
  if (!startsOnHost(config)) return start(adapter, key, base);
  if (isResidual(config) && isPacked(base.weight))
    throw new ValueError(
      `lora: the initialisation ${config.init} changes the frozen weight, and this one is packed. Initialise beside the dense weight, then pack what is left with lora.packBase.`,
    );
  const weight = weightOf(layer, base);
  // Factors are rounded before the rest of the weight is taken, so that the rest makes up for the rounding.
  const dtype = dtypeOf(adapter, base);
  const settle = (x: Columns, factor = 1): Columns =>
    x.map((column) => column.map((value) => coerce(factor * value, dtype)));
  const like = (x: Columns, of = dtype) =>
    tensor(rowMajor(x), { shape: [x[0]?.length ?? 0, x.length], dtype: of });

  const turn = hostOf(layer).across ? transpose : (x: Columns) => x;
  const whole =
    config.init === "orthogonal"
      ? undefined
      : turn(await read(weight.reshape([weight.shape[0]!, numel(weight.shape.slice(1))])));
  const raw = whole
    ? config.init === "pissa"
      ? await pissa(whole, config.r, scaling.value)
      : olora(whole, config.r)
    : await orthogonal(key, config.r, ...sizesOf(layer));
  const a = settle(raw.a, config.initScale?.A);
  const b = settle(raw.b, config.initScale?.B);
  if (!whole) return assemble(adapter, base, like(a), like(b));
  const part = multiply(b, a);
  const rest = whole.map((column, j) => column.map((value, i) => value - scaling.value * part[j]![i]!));
  return assemble(
    adapter,
    { ...base, weight: like(turn(rest), weight.dtype).reshape(weight.shape) },
    like(a),
    like(b),
  );
}

/** Of the parameters of an adapter. */
function dtypeOf({ config, layer }: Adapter, base: Params): FloatDType {
  return config.dtype ?? computeDType(weightOf(layer, base).dtype);
}

function assemble(adapter: Adapter, base: Params, loraA: Tensor, loraB: Tensor): Start {
  const factors = { loraA, loraB };
  return { base, own: { ...factors, ...adapter.kind.start(siteOf(adapter, base), factors) } };
}

/** How A and B are drawn. */
function initializers({ config, layer }: Adapter): readonly [a: Initializer, b: Initializer] {
  const { r, init = "standard" } = config;
  const { draw, gaussian, zero } = hostOf(layer);
  if (init === "random") return [draw, draw];
  if ((zero === "A") !== (init === "swapped")) return [zeroInit, draw];
  return [init === "gaussian" ? gaussian(r) : draw, zeroInit];
}

interface Matrices {
  /** `[r, in]` */
  readonly a: Columns;
  /** `[out, r]` */
  readonly b: Columns;
}

/** A = sqrt(S / s) V^T and B = U sqrt(S / s) of the r largest singular triples, so that s B A is that part of W. */
async function pissa(weight: Columns, r: number, scaling: number): Promise<Matrices> {
  if (scaling < 0)
    throw new ValueError(
      `lora: init is pissa and the scaling ${scaling}; singular values are divided by it, so it is positive.`,
    );
  const { u, s, v } = await svd(weight);
  const roots = s.slice(0, r).map((value) => Math.sqrt(value / scaling));
  return { a: transpose(scaleColumns(v.slice(0, r), roots)), b: scaleColumns(u.slice(0, r), roots) };
}

/** B and A the first r columns of Q and rows of R. As in PEFT they are not divided by the scaling. */
function olora(weight: Columns, r: number): Matrices {
  const { q, r: upper } = qr(weight, r);
  return { a: upper, b: q };
}

/** PEFT's: normal numbers times the even rows of a random orthogonal matrix for A, the odd ones for B, over 10. */
async function orthogonal(key: Key, r: number, inputs: number, outputs: number): Promise<Matrices> {
  const [square, forA, forB] = await Promise.all([
    read(normal(key.fold("Q"), [r, r])),
    read(normal(key.fold("A"), [inputs, r / 2])),
    read(normal(key.fold("B"), [outputs, r / 2])),
  ]);
  const rows = transpose(qr(square).q);
  const half = (parity: number) => transpose(rows.filter((_, i) => i % 2 === parity));
  const tenth = (x: Columns) => scaleColumns(x, Array(x.length).fill(0.1));
  return { a: transpose(tenth(multiply(forA, half(0)))), b: tenth(multiply(forB, half(1))) };
}

async function read(matrix: Tensor): Promise<Columns> {
  return columnsOf(await matrix.data(), matrix.shape[0]!, matrix.shape[1]!);
}
