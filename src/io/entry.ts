import { show } from "../base/arguments.ts";
import { fileDType } from "../base/dtype.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import type { Shape } from "../base/shape.ts";
import { readStored } from "../runtime/evaluate.ts";
import { isPacked, type Packed } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import { bitsOf, bytesOf, canWrite, isLengths, toFile } from "./stored.ts";

/** What is written: a tensor as its dtype, a weight packed to bfloat16 as BF16, or what is made when its turn comes. */
export type Entry = Tensor | Packed | LazyEntry;

/** A tensor that is made, or bytes that are read, when it is written. */
export interface LazyEntry {
  /** Of the file, "BF16" for instance; a tensor of floats is rounded to it. */
  readonly dtype: string;
  readonly shape: Shape;
  readonly data: () => Promise<Tensor | Uint8Array>;
}

/** What an entry is written as, and how many bytes it takes. */
export type SizedEntry = LazyEntry & { readonly bytes: number };

/** @throws ValueError for what is no entry, or one of a dtype that files do not have. */
export function entryOf(where: string, entry: Entry): SizedEntry {
  const made = lazy(where, entry);
  const bytes = Object.hasOwn(bitsOf, made.dtype) ? bytesOf(made.dtype, made.shape) : undefined;
  if (bytes === undefined)
    throw new ValueError(`${where}: ${made.dtype}[${made.shape.join(",")}] is not of the format.`);
  return { ...made, bytes };
}

/** The bytes of an entry, made now. */
export async function bytesOfEntry(
  where: string,
  { dtype, shape, bytes, data }: SizedEntry,
): Promise<Uint8Array> {
  const made = await data();
  const written = made instanceof Tensor ? await bytesOfTensor(where, made, dtype, shape) : made;
  if (written.length !== bytes)
    throw new ValueError(
      `${where} has ${written.length} bytes; ${dtype}[${shape.join(",")}] takes ${bytes}.`,
    );
  return written;
}

function lazy(where: string, entry: Entry): LazyEntry {
  if (entry instanceof Tensor)
    return { dtype: fileDType(entry.dtype), shape: entry.shape, data: async () => entry };
  if (isPacked(entry)) {
    if (!("bfloat16" in entry))
      throw new ValueError(
        `${where}: the format has no packed weights but bfloat16. Write its parts, or unpack it.`,
      );
    return lazy(where, entry.bfloat16);
  }
  const { dtype, shape, data } = entry;
  if (typeof dtype !== "string" || !isLengths(shape) || typeof data !== "function")
    throw new ValueError(
      `${where}: is ${show(entry)}; give a tensor, a packed weight, or { dtype, shape, data }.`,
    );
  return { dtype, shape, data };
}

/** The bytes of a tensor as a dtype of a file. */
async function bytesOfTensor(
  where: string,
  tensor: Tensor,
  dtype: string,
  shape: Shape,
): Promise<Uint8Array> {
  if (!canWrite(dtype, tensor.dtype))
    throw new DTypeError(`${where}: is ${show(tensor)}, which is not written as ${dtype}.`);
  if (tensor.shape.join() !== shape.join())
    throw new ValueError(`${where}: is ${show(tensor)}, and the shape [${shape.join(",")}] was said.`);
  return toFile(dtype, await readStored(tensor.node), tensor.dtype);
}
