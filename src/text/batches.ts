import {
  type Fields,
  field,
  flagOf,
  integer,
  isIntegerIn,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { integerRange } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { tensor } from "../tensor/creation.ts";
import { bits, key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Dataset, ignored } from "./dataset.ts";

/** Examples side by side: int32 `[batch, length]` each. */
export type Batch = {
  readonly tokens: Tensor<"int32">;
  /** The token after each, or -100 where it is not learned. */
  readonly targets: Tensor<"int32">;
  /** Of packed rows: the place of each token in its example. */
  readonly positions?: Tensor<"int32">;
  /** Of packed rows: the example of each token, counted within the row; -1 where there is none. */
  readonly segments?: Tensor<"int32">;
};

/** How examples become batches. */
export interface BatchOptions {
  /** Rows of a batch. */
  readonly size: number;
  /** Shuffles, another way in every epoch, without an end. Without a seed the examples come once, in order. */
  readonly seed?: number;
  /** Put several examples into a row, as many as go into its length, each of which sees itself only. Default false. */
  readonly pack?: boolean;
  /**
   * Put examples of similar length into a batch, for less padding: those of 64 batches in turn are sorted by length, and their
   * batches shuffled. Needs a seed, and is not for packed rows, which are filled anyway. Default false.
   */
  readonly group?: boolean;
  /**
   * Lengths that rows are padded to, rising: the first that all examples of the batch fit. Default: powers of two and the
   * middles between them from 32 on, up to the longest example. Packed rows have the last one.
   */
  readonly lengths?: readonly number[];
}

const optionFields: Fields<BatchOptions & { readonly pack: boolean; readonly group: boolean }> = {
  size: integer(1),
  seed: optional(integer(...integerRange.uint32)),
  pack: flagOf(false),
  group: flagOf(false),
  lengths: optional(
    field<readonly number[]>(
      "a list of rising integers >= 1",
      (value) =>
        Array.isArray(value) &&
        value.length > 0 &&
        value.every((each, i) => Number.isInteger(each) && each > (i === 0 ? 0 : value[i - 1])),
    ),
  ),
};

/** The batches of a data set. What one is depends on the seed and its place alone. */
export interface TextBatches {
  at(index: number): Promise<Batch>;
  /** How many there are; without an end where they are shuffled. */
  readonly count?: number;
  /** How many take each example once, or a little more where that does not come out even. */
  readonly epoch: number;
  /** The lengths that rows may have, rising. */
  readonly lengths: readonly number[];
  readonly fingerprint: string;
  describe(index: number): Promise<string>;
}

/** The examples of a row. */
type RowOf = readonly number[];

/**
 * Batches of a data set: padded to one of a few lengths, so that few programs are compiled, or packed. Epochs follow each
 * other without a gap, so that batch i holds the same examples however many batches an update takes. The last batch of an
 * end is filled with empty rows.
 *
 * @throws ValueError for options, and where a length is too short for an example.
 * @example
 * const data = batches(await dataset("train.jsonl", { tokenizer, maxLength: 512 }), { size: 8, seed: 0 });
 * const { tokens, targets } = await data.at(0);
 */
export async function batches(data: Dataset, options: BatchOptions): Promise<TextBatches> {
  const { size, seed, pack, group, lengths: given } = readOptions("batches", optionFields, options);
  if (group && (pack || seed === undefined))
    throw new ValueError(
      `batches: group is given ${pack ? "with pack, whose rows are all of one length" : "without a seed, and the examples are to come in order"}. Leave it out.`,
    );
  const longest = Array.from({ length: data.length }, (_, i) => data.tokens(i).length).reduce((a, b) =>
    Math.max(a, b),
  );
  const lengths = given ?? bucketsUpTo(longest);
  if (lengths.at(-1)! < longest)
    throw new ValueError(
      `batches: the last of the lengths is ${lengths.at(-1)}, and an example of ${data.name} has ${longest} tokens. Give a longer one, or a smaller maxLength.`,
    );
  const order = await orderOf(data.length, seed, "rows");
  const rows: readonly RowOf[] = pack
    ? packed(data, order, lengths.at(-1)!)
    : Array.from({ length: data.length }, (_, i) => [i]);
  const count = seed === undefined ? Math.ceil(rows.length / size) : undefined;

  /** The same places, neighbours of similar length as far as is asked for. */
  const grouped = (places: readonly number[], epoch: number) =>
    group
      ? groupedBy(places, (i) => data.tokens(i).length, size, (size - ((epoch * rows.length) % size)) % size)
      : places;
  const orders = new Map<number, Promise<readonly number[]>>();
  const orderIn = (epoch: number): Promise<readonly number[]> => {
    const known =
      orders.get(epoch) ?? orderOf(rows.length, seed, epoch).then((places) => grouped(places, epoch));
    orders.delete(epoch);
    orders.set(epoch, known);
    for (const old of orders.keys()) if (orders.size > 2) orders.delete(old);
    return known;
  };
  const rowsOf = async (index: number): Promise<readonly RowOf[]> => {
    if (!isIntegerIn(index, 0, count === undefined ? Infinity : count - 1))
      throw new ValueError(
        `batches: there is no batch ${show(index)} of ${data.name}; ${count === undefined ? "batches count from 0" : `there are ${count}`}.`,
      );
    const found: RowOf[] = [];
    for (let at = index * size; at < (index + 1) * size; at++) {
      const epoch = Math.floor(at / rows.length);
      if (epoch > 0 && seed === undefined) break;
      found.push(rows[(await orderIn(epoch))[at % rows.length]!]!);
    }
    return found;
  };
  const made = [
    data.fingerprint,
    `size ${size}`,
    `seed ${seed}`,
    ...(pack ? ["packed"] : []),
    ...(group ? ["grouped"] : []),
    lengths.join(" "),
  ];
  return {
    ...(count !== undefined && { count }),
    epoch: Math.ceil(rows.length / size),
    lengths,
    fingerprint: made.join(", "),
    at: async (index) => batchOf(data, await rowsOf(index), { size, lengths, pack }),
    describe: async (index) => {
      const lines = (await rowsOf(index)).flat().map((i) => data.line(i));
      return `${data.name} line${lines.length > 1 ? "s" : ""} ${lines.slice(0, 16).join(", ")}${lines.length > 16 ? ", ..." : ""}`;
    },
  };
}

/** Rows as tensors, padded. */
function batchOf(
  data: Dataset,
  rows: readonly RowOf[],
  {
    size,
    lengths,
    pack,
  }: { readonly size: number; readonly lengths: readonly number[]; readonly pack: boolean },
): Batch {
  const lengthOf = (row: RowOf) => row.reduce((sum, i) => sum + data.tokens(i).length, 0);
  const longest = rows.reduce((most, row) => Math.max(most, lengthOf(row)), 0);
  const length = pack ? lengths.at(-1)! : lengths.find((each) => each >= longest)!;
  const filled = (value: number) => new Int32Array(size * length).fill(value);
  const [tokens, targets, positions, segments] = [filled(0), filled(ignored), filled(0), filled(-1)];
  rows.forEach((row, at) => {
    let start = at * length;
    row.forEach((i, segment) => {
      const own = data.tokens(i);
      tokens.set(own, start);
      targets.set(data.targets(i), start);
      positions.set(
        own.map((_, place) => place),
        start,
      );
      segments.fill(segment, start, start + own.length);
      start += own.length;
    });
  });
  const made = (values: Int32Array) => tensor(values, { shape: [size, length], dtype: "int32" });
  return {
    tokens: made(tokens),
    targets: made(targets),
    ...(pack && { positions: made(positions), segments: made(segments) }),
  };
}

/** Places in the order of a seed, another one for each name of an order; as they are without a seed. */
async function orderOf(
  length: number,
  seed: number | undefined,
  name: string | number,
): Promise<readonly number[]> {
  const places = Array.from({ length }, (_, i) => i);
  if (seed === undefined) return places;
  const draws = await bits(key(seed).fold("order").fold(name), [length]).data();
  return places.sort((a, b) => draws[a]! - draws[b]! || a - b);
}

/** Batches whose examples are sorted together. */
const together = 64;

/**
 * Shuffled places of examples, sorted by length in stretches, and whole batches of them in the order of their first draws.
 *
 * @param lead So many examples fill the last batch of the epoch before.
 */
function groupedBy(
  places: readonly number[],
  lengthOf: (place: number) => number,
  size: number,
  lead: number,
): readonly number[] {
  const found: number[] = places.slice(0, lead);
  const drawn = new Map(places.map((place, at) => [place, at]));
  for (let from = lead; from < places.length; from += size * together) {
    const sorted = places
      .slice(from, from + size * together)
      .sort((a, b) => lengthOf(a) - lengthOf(b) || drawn.get(a)! - drawn.get(b)!);
    const parts: number[][] = [];
    for (let at = 0; at < sorted.length; at += size) parts.push(sorted.slice(at, at + size));
    const rest = parts.at(-1)!.length < size ? parts.pop()! : [];
    // Where the first example of each was drawn to is as good as a draw of its own.
    parts.sort((a, b) => drawn.get(a[0]!)! - drawn.get(b[0]!)!);
    found.push(...parts.flat(), ...rest);
  }
  return found;
}

/** Rows that are open for more examples at a time. */
const open = 64;

/** Examples put into rows of a length, each into the first open row that has room for it. */
function packed(data: Dataset, order: readonly number[], length: number): readonly RowOf[] {
  const rows: { readonly examples: number[]; room: number }[] = [];
  let from = 0;
  for (const i of order) {
    const need = data.tokens(i).length;
    let row = rows.slice(from).find(({ room }) => room >= need);
    if (!row) {
      row = { examples: [], room: length };
      rows.push(row);
      from = Math.max(0, rows.length - open);
    }
    row.examples.push(i);
    row.room -= need;
  }
  return rows.map(({ examples }) => examples);
}

/** Powers of two and the middles between them, from 32 up to a length. */
function bucketsUpTo(longest: number): readonly number[] {
  const lengths: number[] = [];
  for (let power = 32; (lengths.at(-1) ?? 0) < longest; power *= 2) lengths.push(power, 1.5 * power);
  return [...lengths.filter((each) => each < longest), longest];
}
