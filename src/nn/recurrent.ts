import {
  checkArgument,
  type Field,
  type Fields,
  flag,
  flagOf,
  fraction,
  oneOf,
  optional,
  readOptions,
} from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { zeros } from "../tensor/creation.ts";
import { cat, sigmoid, stack } from "../tensor/functions.ts";
import { type Key, uniform } from "../tensor/random.ts";
import { scan } from "../tensor/scan.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { aKey, aTensor, checkFloatDType, floatDType, readInput, size, tensorsOf } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";
import { type Forward, module } from "./module.ts";
import { parameter } from "./params.ts";

export interface RecurrentOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** From the last element to the first. Default false. */
  readonly reverse?: boolean;
  /** What the gradient keeps, as in `scan`. Default "store". */
  readonly gradient?: "store" | "recompute";
  /** Default float32. */
  readonly dtype?: FloatDType;
}

/** Options of layers on top of each other, or in both directions. */
export interface StackedOptions extends Omit<RecurrentOptions, "reverse"> {
  /** How many are on top of each other. Default 1. */
  readonly layers?: number;
  /** Whether each goes both ways: what comes out is twice as wide, and the next one takes it. Default false. */
  readonly bidirectional?: boolean;
  /** Probability with which elements between two layers are zeroed in training. Default 0. */
  readonly dropout?: number;
}

const fields: Fields<RecurrentOptions & StackedOptions> = {
  bias: flagOf(true),
  reverse: flag,
  gradient: oneOf(["store", "recompute"], "store"),
  dtype: floatDType,
  layers: optional(size),
  bidirectional: optional(flag),
  dropout: optional(fraction()),
};

/** Parameters of a recurrent layer, by PyTorch's names and in its order of gates. */
export type RecurrentParams = {
  /** `[gates * hidden, in]`. */
  readonly weight_ih: Tensor;
  /** `[gates * hidden, hidden]`. */
  readonly weight_hh: Tensor;
  readonly bias_ih?: Tensor;
  readonly bias_hh?: Tensor;
};

/** Parameters of stacked layers, `l0`, `l0_reverse`, `l1`, ...: `l1_reverse.weight_ih` is PyTorch's `weight_ih_l1_reverse`. */
export type StackedParams = { readonly [layer: string]: RecurrentParams };

/** A sequence, time first: `x` `[time, batch, in]`, and the state that it begins with. */
export interface Sequence<S> {
  readonly x: Tensor;
  /** Zeros if it is left out. Of stacked layers one for each lies along a first axis, from l0 and l0_reverse upwards. */
  readonly state?: S;
}

/** What a recurrent layer gives: `y` `[time, batch, hidden]`, and the state that it ends with. */
export interface Recurred<S> {
  readonly y: Tensor;
  readonly state: S;
}

/** The state of an LSTM: hidden and cell, `[batch, hidden]`. */
export interface LstmState {
  readonly h: Tensor;
  readonly c: Tensor;
}

/** One step: what it carries on, and the hidden state, which is collected. */
type Cell<S> = (of: { readonly x: Tensor; readonly h: Tensor }, state: S) => readonly [state: S, h: Tensor];

interface Kind<S> {
  readonly name: string;
  readonly gates: number;
  readonly initial: (h: Tensor) => S;
  readonly hidden: (state: S) => Tensor;
  readonly state: Field<S>;
  readonly shapes: (state: S) => readonly (readonly [string, Tensor])[];
  readonly cell: Cell<S>;
}

function readSequence<S>({ name, state }: Kind<S>, input: Sequence<S>): Sequence<S> {
  return readInput(name, { x: aTensor, state: optional(state) } as Fields<Sequence<S>>, input);
}

/** One gate of many that lie side by side. */
const gate = (all: Tensor, i: number, count: number) => {
  const length = all.shape.at(-1)! / count;
  return all.at("...", [i * length, (i + 1) * length]).get();
};

type Recurrent<S> = Layer<RecurrentParams | StackedParams, Sequence<S>, Recurred<S>>;

function recurrent<S>(
  kind: Kind<S>,
  inputs: number,
  units: number,
  options: RecurrentOptions & StackedOptions,
): Recurrent<S> {
  const { name } = kind;
  const { layers, bidirectional, dropout, reverse, ...own } = readOptions(name, fields, options);
  checkArgument(name, "in", inputs, size);
  checkArgument(name, "hidden", units, size);
  if (layers === undefined && bidirectional === undefined && dropout === undefined)
    return single(kind, inputs, units, { ...own, reverse: reverse === true }) as Recurrent<S>;
  if (reverse)
    throw new ValueError(
      `${name}: reverse is of one layer; of stacked ones give bidirectional, or turn what goes in with flip.`,
    );
  const directions = bidirectional ? ["", "_reverse"] : [""];
  const names = Array.from({ length: layers ?? 1 }, (_, i) => directions.map((way) => `l${i}${way}`));
  const children = names.flatMap((ways, i) =>
    ways.map((at, way): [string, Layer<RecurrentParams, Sequence<S>, Recurred<S>>] => [
      at,
      single(kind, i === 0 ? inputs : directions.length * units, units, { ...own, reverse: way === 1 }),
    ]),
  );
  const forward: Forward<Record<string, (typeof children)[number][1]>, Sequence<S>, Recurred<S>> = (
    all,
    input,
    { training, key },
  ) => {
    const { x, state } = readSequence(kind, input);
    for (const [what, of] of state === undefined ? [] : kind.shapes(state))
      if (of.rank !== 3 || of.shape[0] !== children.length)
        throw new ShapeError(
          `${name}: ${what} is ${of}; expected [${children.length},batch,${units}], one for each layer and direction.`,
        );
    const ends: S[] = [];
    const y = names.reduce((below, ways, i) => {
      const drawn = { training: training === true, ...(key && { key: key.fold(`dropout${i}`) }) };
      const taken = i > 0 && dropout ? functional.dropout(below, dropout, drawn) : below;
      const both = ways.map((at) => {
        const first = state === undefined ? undefined : tree.map(state, (s) => s.at(ends.length).get());
        const { y, state: end } = all[at]!(first === undefined ? { x: taken } : { x: taken, state: first });
        ends.push(end);
        return y;
      });
      return both.length === 1 ? both[0]! : cat(both, -1);
    }, x);
    return { y, state: tree.zip(ends as [S, ...S[]], (one) => stack(one)) };
  };
  return module(Object.fromEntries(children), forward) as Recurrent<S>;
}

/** One layer in one direction. */
function single<S>(
  kind: Kind<S>,
  inputs: number,
  units: number,
  { bias, reverse, gradient, ...given }: RecurrentOptions,
): Layer<RecurrentParams, Sequence<S>, Recurred<S>> {
  const { name, gates, initial, hidden, shapes, cell } = kind;
  const dtype = checkFloatDType(name, given.dtype);
  const bound = 1 / Math.sqrt(units);
  const draw = (key: Key, path: string, shape: readonly number[]) =>
    uniform(key.fold(path), shape, { min: -bound, max: bound }).astype(dtype);
  return {
    kind: name,
    init: (key) => {
      checkArgument(name, "the key", key, aKey);
      return {
        weight_ih: draw(key, "weight_ih", [gates * units, inputs]),
        weight_hh: draw(key, "weight_hh", [gates * units, units]),
        ...(bias && {
          bias_ih: draw(key, "bias_ih", [gates * units]),
          bias_hh: draw(key, "bias_hh", [gates * units]),
        }),
      };
    },
    apply: (params, input) => {
      const { x, state } = readSequence(kind, input);
      if (x.rank !== 3 || x.shape[2] !== inputs)
        throw new ShapeError(`${name}: x is ${x}; expected [time, batch, ${inputs}], time first.`);
      const first = state ?? initial(zeros([x.shape[1]!, units], { dtype: x.dtype as FloatDType }));
      for (const [what, of] of shapes(first))
        if (!sameShape(of.shape, [x.shape[1]!, units]))
          throw new ShapeError(
            `${name}: ${what} is ${of}; expected [${x.shape[1]},${units}], of the batch of x.`,
          );
      const of = (path: string) => parameter(name, params, path);
      const [given, own] = [of("weight_ih").transpose(), of("weight_hh").transpose()];
      const [last, y] = scan(
        (carry: S, x: Tensor) => {
          const [ofInput, ofState] = [x.matmul(given), hidden(carry).matmul(own)];
          return cell(
            bias
              ? { x: ofInput.add(of("bias_ih")), h: ofState.add(of("bias_hh")) }
              : { x: ofInput, h: ofState },
            carry,
          );
        },
        first,
        x,
        { reverse: reverse === true, gradient: gradient ?? "store" },
      );
      return { y, state: last };
    },
  };
}

/**
 * A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) as PyTorch's: with gates r, z and n of the rows of the
 * weights, in this order,
 *
 *     r = sigmoid(Wx_r + Uh_r)   z = sigmoid(Wx_z + Uh_z)   n = tanh(Wx_n + r Uh_n)   h = (1 - z) n + z h
 *
 * where each product has its bias. It takes `{ x, state? }` with `x` `[time, batch, in]` and the state `[batch, hidden]`, and
 * gives `{ y, state }`; on `scan`, so that the time to compile does not grow with how long sequences are. Parameters have
 * PyTorch's names without the layer's number, and its initial values: uniform in +-1/sqrt(hidden).
 *
 * With `layers`, `bidirectional` or `dropout` it is as many such layers, children `l0`, `l0_reverse`, `l1` and so on, whose
 * states lie in PyTorch's order along a first axis, `[layers * directions, batch, hidden]`; `y` has both directions side by
 * side, `[time, batch, directions * hidden]`. PyTorch's `weight_ih_l1_reverse` is `l1_reverse.weight_ih`.
 *
 * @throws ValueError for sizes that are not integers >= 1; ShapeError if `x` or the state have other shapes.
 * @example
 * const layer = gru(8, 16);
 * const { y } = layer.apply(layer.init(random.key(0)), { x: ones([5, 2, 8]) }); // float32[5,2,16]
 */
export function gru(
  inputs: number,
  hidden: number,
  options?: RecurrentOptions,
): Layer<RecurrentParams, Sequence<Tensor>, Recurred<Tensor>>;
export function gru(
  inputs: number,
  hidden: number,
  options: StackedOptions,
): Layer<StackedParams, Sequence<Tensor>, Recurred<Tensor>>;
export function gru(inputs: number, hidden: number, options: RecurrentOptions = {}): Recurrent<Tensor> {
  const kind: Kind<Tensor> = {
    name: "gru",
    gates: 3,
    initial: (h) => h,
    hidden: (h) => h,
    state: aTensor,
    shapes: (h) => [["the state", h]],
    cell: ({ x, h: own }, h) => {
      const r = sigmoid(gate(x, 0, 3).add(gate(own, 0, 3)));
      const z = sigmoid(gate(x, 1, 3).add(gate(own, 1, 3)));
      const n = gate(x, 2, 3)
        .add(r.mul(gate(own, 2, 3)))
        .tanh();
      const next = n.add(z.mul(h.sub(n)));
      return [next, next];
    },
  };
  return recurrent(kind, inputs, hidden, options);
}

/**
 * A long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) as PyTorch's: with
 * gates i, f, g and o of the rows of the weights, in this order,
 *
 *     c = sigmoid(f) c + sigmoid(i) tanh(g)        h = sigmoid(o) tanh(c)
 *
 * It takes `{ x, state? }` with `x` `[time, batch, in]` and the state `{ h, c }`, both `[batch, hidden]`, and gives
 * `{ y, state }`; else as `gru`.
 *
 * @throws As `gru`.
 * @example
 * const layer = lstm(8, 16);
 * const { y, state } = layer.apply(layer.init(random.key(0)), { x: ones([5, 2, 8]) }); // y float32[5,2,16]
 */
export function lstm(
  inputs: number,
  hidden: number,
  options?: RecurrentOptions,
): Layer<RecurrentParams, Sequence<LstmState>, Recurred<LstmState>>;
export function lstm(
  inputs: number,
  hidden: number,
  options: StackedOptions,
): Layer<StackedParams, Sequence<LstmState>, Recurred<LstmState>>;
export function lstm(inputs: number, hidden: number, options: RecurrentOptions = {}): Recurrent<LstmState> {
  const kind: Kind<LstmState> = {
    name: "lstm",
    gates: 4,
    initial: (h) => ({ h, c: h }),
    hidden: ({ h }) => h,
    state: tensorsOf<LstmState>("h", "c"),
    shapes: ({ h, c }) => [
      ["the state's h", h],
      ["the state's c", c],
    ],
    cell: ({ x, h: own }, { c }) => {
      const [i, f, g, o] = [0, 1, 2, 3].map((k) => gate(x, k, 4).add(gate(own, k, 4))) as [
        Tensor,
        Tensor,
        Tensor,
        Tensor,
      ];
      const next = sigmoid(f).mul(c).add(sigmoid(i).mul(g.tanh()));
      const h = sigmoid(o).mul(next.tanh());
      return [{ h, c: next }, h];
    },
  };
  return recurrent(kind, inputs, hidden, options);
}
