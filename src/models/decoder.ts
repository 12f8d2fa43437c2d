import { type Fields, field, flag, optional, readOptions } from "../base/arguments.ts";
import { computeDType, type FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import * as nn from "../nn/index.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { module } from "../nn/module.ts";
import { arange } from "../tensor/creation.ts";
import { remat } from "../tensor/remat.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Architecture, BlockKind } from "./architecture.ts";
import { assemble } from "./assemble.ts";
import { attention, cut, type Passed, type Stream } from "./attention.ts";
import { advance, type BlockCache, type Cache } from "./cache.ts";
import { linear, normOf } from "./parts.ts";
import { frequenciesAt, type Places, type Stand } from "./places.ts";

/** What a decoder reads. A row of the batch is one sequence, unless segments say otherwise. */
export interface DecoderInput {
  /** int32 `[batch, length]`. */
  readonly tokens: Tensor;
  /** int32 `[batch, length]`. Default 0, 1, 2, ..., behind those in the cache. */
  readonly positions?: Tensor;
  /**
   * int32 `[batch, length]`: tokens see those of their own number alone, at positions that are not behind theirs. Examples
   * of a packed row have numbers of their own, and positions that begin again; padding is -1. Default 0 throughout.
   */
  readonly segments?: Tensor;
  /** What was seen before; the new tokens are written behind it. */
  readonly cache?: Cache;
  /** int32 `[batch, n]`: the places in the row whose logits are wanted. Default all. */
  readonly at?: Tensor;
}

/** What a decoder gives. Nothing of it is computed unless it is used. */
export interface DecoderOutput {
  /** `[batch, length, width]`, or `[batch, n, width]` with `at`: what the output layer reads. */
  readonly hidden: Tensor;
  /** `[batch, length, vocabulary]`, or of `n` places, or of `labels` scores. */
  readonly logits: Tensor;
  /** The cache with the new tokens, if there was one. */
  readonly cache?: Cache;
}

/** A transformer that predicts the next token, or classifies. Parameters have the names of its checkpoints. */
export interface Decoder extends Layer<Params, DecoderInput, DecoderOutput> {
  readonly architecture: Architecture;
}

const int32 = field<Tensor>("an int32 tensor", (value) => value instanceof Tensor && value.dtype === "int32");

const input: Fields<DecoderInput> = {
  tokens: int32,
  positions: optional(int32),
  segments: optional(int32),
  cache: optional(field("what emptyCache or the call before returned", (value) => typeof value === "object")),
  at: optional(int32),
};

export interface DecoderOptions {
  /** Keep the inputs of blocks alone for the backward pass, and compute the rest again (`remat`). Default false. */
  readonly remat?: boolean;
}

/**
 * The decoder of an architecture.
 *
 * @throws ShapeError for inputs that do not fit each other; ValueError for more tokens than the model has positions.
 * @example
 * const model = models.decoder(models.architecture({ model_type: "llama", vocab_size: 64, hidden_size: 32,
 *   intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2 }));
 * const tokens = tensor([[1, 2, 3]], { dtype: "int32" });
 * const { logits } = model.apply(model.init(random.key(0)), { tokens }); // float32[1,3,64]
 */
export function decoder(architecture: Architecture, options: DecoderOptions = {}): Decoder {
  const { remat: again } = readOptions("decoder", { remat: flag }, options);
  const { names, tied, labels, logitCap, width, vocabulary } = architecture;
  const classifies = labels !== undefined;
  const head = linear(architecture, width, labels ?? vocabulary, false);
  const output = { body: names.body, embedding: names.embedding, head: names.head };
  const made = assemble(
    names,
    { body: body(architecture, again === true), head },
    (parts, given: DecoderInput): DecoderOutput => {
      const { hidden, cache } = parts.body(checked(architecture, given));
      const scores = parts.head(hidden);
      const logits =
        logitCap === undefined || classifies ? scores : scores.div(logitCap).tanh().mul(logitCap);
      return { hidden, logits, ...(cache && { cache }) };
    },
    {
      output: output.head,
      ...(tied &&
        !classifies && { tied: { [`${output.head}.weight`]: `${output.body}.${output.embedding}.weight` } }),
    },
  );
  return { ...made, architecture };
}

/** The same, checked. */
type Reading = { readonly [K in keyof DecoderInput]: K extends "cache" ? Cache : Tensor<"int32"> };

function checked(architecture: Architecture, given: DecoderInput): Reading {
  const all = readOptions("decoder", input, given);
  const { tokens, positions, segments, at, cache } = all;
  const [batch, length] = tokens.shape;
  if (tokens.rank !== 2) throw new ShapeError(`decoder: tokens are int32[batch,length]; given ${tokens}.`);
  for (const [name, other] of Object.entries({ positions, segments })) {
    if (other && !sameShape(other.shape, tokens.shape))
      throw new ShapeError(
        `decoder: ${name} are ${other}; expected int32[${batch},${length}], as tokens are.`,
      );
  }
  if (at && (at.rank !== 2 || at.shape[0] !== batch))
    throw new ShapeError(`decoder: at is ${at}; expected int32[${batch},n], places in each row.`);
  if (cache && cache.positions.shape[0] !== batch)
    throw new ShapeError(
      `decoder: the cache is of ${cache.positions.shape[0]} samples, and tokens are ${tokens}.`,
    );
  if (!positions && length! > architecture.context)
    throw new ValueError(
      `decoder: ${length} tokens; this ${architecture.family} was made for ${architecture.context} positions. Give shorter sequences.`,
    );
  return all as Reading; // the fields saw to the dtypes
}

interface Read {
  readonly hidden: Tensor;
  readonly cache?: Cache;
}

/** Everything but the output layer. */
function body(architecture: Architecture, again: boolean): Layer<Params, Reading, Read> {
  const { vocabulary, width, context: longest, learnedPositions, initialStd, embeddingScale } = architecture;
  const table = (rows: number) =>
    nn.embedding(rows, width, {
      init: (key, shape) => nn.initializers.normal(key, shape, { std: initialStd }),
    });
  const { embedding: dropped } = architecture.dropout;
  return assemble(
    architecture.names,
    {
      embedding: table(vocabulary),
      positions: learnedPositions ? table(longest) : undefined,
      embeddingDrop: dropped > 0 ? nn.dropout(dropped) : undefined,
      blocks: list(
        architecture.blocks.map((kind) => block(architecture, kind)),
        again,
      ),
      last: normOf(architecture, width),
    },
    (
      { embedding, positions, embeddingDrop, blocks, last },
      { tokens, at, cache, ...given }: Reading,
      context,
    ): Read => {
      const length = tokens.shape[1]!;
      const own: Stand = { positions: arange(length), ...given };
      const next = cache && advance(cache, length, given);
      let x = embedding(tokens);
      const there = next?.places ?? { ...own, keys: own };
      const dtype = computeDType(x.dtype as FloatDType); // of an embedding
      const places: Places = {
        ...there,
        frequencies: frequenciesAt(there.positions, architecture.blocks, dtype),
      };
      if (embeddingScale !== undefined) x = x.mul(embeddingScale);
      if (positions) x = x.add(positions(places.positions));
      context.watch?.("embedded", x);
      if (embeddingDrop) x = embeddingDrop(x);
      const passed = blocks({ x, places, ...(cache && { caches: cache.blocks }) });
      return {
        hidden: last(at ? rowsAt(passed.x, at) : passed.x),
        ...(next && { cache: { ...next.cache, blocks: passed.caches } }),
      };
    },
  );
}

/** `[batch, n, width]`: the vectors at these places of each row. */
function rowsAt(x: Tensor, at: Tensor<"int32">): Tensor {
  const [batch, n] = at.shape as [number, number];
  return x.gather(1, at.unsqueeze(-1).expand([batch, n, x.shape[2]!]));
}

interface Through {
  readonly x: Tensor;
  readonly places: Places;
  readonly caches?: { readonly [block: string]: BlockCache };
}

/** Blocks one after the other, by their numbers, each with its part of the cache. */
function list(
  blocks: readonly Layer<Params, Stream, Passed>[],
  again: boolean,
): Layer<Params, Through, Required<Omit<Through, "places">>> {
  return module(
    Object.fromEntries(blocks.map((block, i) => [String(i), block])),
    (children, { x, places, caches }: Through) => {
      const written: [string, BlockCache][] = [];
      const through = Object.entries(children).reduce((y, [name, block]) => {
        const own = caches?.[name];
        const run = again ? remat(block) : block;
        const passed = run({ x: y, places, ...(own && { cache: own }) });
        if (passed.cache) written.push([name, passed.cache]);
        return passed.x;
      }, x);
      return { x: through, caches: Object.fromEntries(written) };
    },
  ) as Layer<Params, Through, Required<Omit<Through, "places">>>;
}

/** x + attention(norm(x)), then x + network(norm(x)). */
function block(architecture: Architecture, kind: BlockKind): Layer<Params, Stream, Passed> {
  const { width, resultNorms, dropout, names } = architecture;
  const norm = () => normOf(architecture, width);
  const drop = () => (dropout.residual > 0 ? nn.dropout(dropout.residual) : undefined);
  // GPT-2 drops inside of its two parts, under their names; the numbers are those of a layer of the block.
  return assemble(
    names,
    {
      beforeAttention: norm(),
      attention: attention(architecture, kind),
      residualDrop: drop(),
      afterAttention: resultNorms ? norm() : undefined,
      beforeNetwork: norm(),
      network: network(architecture),
      networkDrop: drop(),
      afterNetwork: resultNorms ? norm() : undefined,
    },
    (parts, { x, ...rest }: Stream): Passed => {
      const attended = parts.attention({ ...rest, x: parts.beforeAttention(x) });
      const y = x.add(through(attended.x, parts.residualDrop, parts.afterAttention));
      const z = parts.network(parts.beforeNetwork(y));
      return { ...attended, x: y.add(through(z, parts.networkDrop, parts.afterNetwork)) };
    },
  );
}

/** The tensor through those functions that there are. */
function through(x: Tensor, ...functions: (((x: Tensor) => Tensor) | undefined)[]): Tensor {
  return functions.reduce((y, f) => (f ? f(y) : y), x);
}

/** The two layers of a block after attention, with a gate or without. */
function network(architecture: Architecture): Layer {
  const { width, hidden, biases, gated, fused, activation, names } = architecture;
  const up = (outputs: number) => linear(architecture, width, outputs, biases.network);
  const joined = gated && fused;
  return assemble(
    names,
    {
      gateUp: joined ? up(2 * hidden) : undefined,
      gate: gated && !fused ? up(hidden) : undefined,
      up: joined ? undefined : up(hidden),
      act: nn.activation(activation),
      down: linear(architecture, hidden, width, biases.network),
    },
    (parts, x: Tensor) => {
      const [gate, raised] = parts.gateUp
        ? cut(parts.gateUp(x), [hidden, hidden])
        : [parts.gate?.(x), parts.up!(x)];
      return parts.down(gate ? parts.act(gate).mul(raised!) : parts.act(raised!));
    },
  );
}
