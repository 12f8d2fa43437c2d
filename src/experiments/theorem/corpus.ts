import { ValueError } from "../../base/errors.ts";
import { tensor } from "../../tensor/creation.ts";
import { bits, type Key } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** UTF-8 bytes and where they come from. */
export interface Text {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Windows of text: `x` int32 `[batch, context]` of tokens, `y` int32 `[batch]` of the tokens that follow. */
export type Batch = { readonly x: Tensor<"int32">; readonly y: Tensor<"int32"> };

/** A fixed sequence of batches, each made when it is asked for. */
export interface Batches {
  readonly count: number;
  at(i: number): Batch;
}

/** The bytes that occur in some texts, in order: token i stands for byte `vocabulary[i]`. */
export function vocabularyOf(texts: readonly Text[]): Uint8Array {
  const seen = new Set<number>();
  for (const { bytes } of texts) for (const byte of bytes) seen.add(byte);
  return Uint8Array.from(seen).sort();
}

/** The share of a text that is kept from training, at its end. */
const validationShare = 0.1;

/**
 * A text as tokens, in two parts: the first nine tenths for training, the rest for validation.
 *
 * @throws ValueError if one of the parts is shorter than a context and the byte that follows it.
 */
export class Corpus {
  readonly text: Text;
  readonly context: number;
  readonly training: Uint8Array;
  readonly validation: Uint8Array;

  constructor(text: Text, vocabulary: Uint8Array, context: number) {
    this.text = text;
    this.context = context;
    const { length } = text.bytes;
    const atLeast = Math.ceil((context + 1) / validationShare);
    if (length < atLeast) {
      throw new ValueError(
        `${text.name}: the text has ${length} bytes; at least ${atLeast} are needed, so that the tenth kept for ` +
          `validation holds a context of ${context} bytes and the byte that follows. Give a longer text.`,
      );
    }
    const tokenOf = new Uint8Array(256);
    vocabulary.forEach((byte, token) => {
      tokenOf[byte] = token;
    });
    const tokens = text.bytes.map((byte) => tokenOf[byte]!);
    const split = length - Math.max(context + 1, Math.floor(length * validationShare));
    this.training = tokens.subarray(0, split);
    this.validation = tokens.subarray(split);
  }

  /** `count` batches of windows drawn from the training part: the same ones for the same key. */
  async batches(key: Key, count: number, size: number): Promise<Batches> {
    const draws = await bits(key, [count * size]).data();
    const places = this.training.length - this.context;
    return {
      count,
      at: (i) =>
        this.#windows(
          this.training,
          Array.from(draws.subarray(i * size, (i + 1) * size), (draw) => draw % places),
        ),
    };
  }

  /** `size` windows spread evenly over the validation part. */
  validationBatch(size: number): Batch {
    const places = this.validation.length - this.context;
    return this.#windows(
      this.validation,
      Array.from({ length: size }, (_, i) => Math.floor((i * places) / size)),
    );
  }

  #windows(tokens: Uint8Array, starts: readonly number[]): Batch {
    const { context } = this;
    const x = new Int32Array(starts.length * context);
    const y = new Int32Array(starts.length);
    starts.forEach((start, i) => {
      x.set(tokens.subarray(start, start + context), i * context);
      y[i] = tokens[start + context]!;
    });
    return {
      x: tensor(x, { shape: [starts.length, context], dtype: "int32" }),
      y: tensor(y, { dtype: "int32" }),
    };
  }
}
