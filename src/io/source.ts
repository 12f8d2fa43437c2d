import { LorantzError, ValueError } from "../base/errors.ts";

/** Bytes that are read in ranges: a file, a Blob, memory, what a URL leads to. Nothing has to be closed. */
export interface Source {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Whether it fills memory that threads share, too. */
  readonly fillsShared?: boolean;
  /**
   * Fills `into` with the bytes from `start` on.
   *
   * @throws LorantzError where they cannot be read, or the file is another one by now.
   */
  read(into: Uint8Array, start: number): Promise<void>;
}

export function isSource(value: unknown): value is Source {
  const { read, size } = (value ?? {}) as { readonly read?: unknown; readonly size?: unknown };
  return typeof read === "function" && typeof size === "number";
}

/** A range of a source, in memory of its own. */
export async function readRange(source: Source, start: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await source.read(bytes, start);
  return bytes;
}

/** All bytes as text. @throws ValueError for what is no UTF-8. */
export async function readTextOf(source: Source): Promise<string> {
  return decodeText(source.name, await readRange(source, 0, source.size));
}

export function decodeText(where: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ValueError(`${where}: its text is not UTF-8.`);
  }
}

/** @throws LorantzError for a range that the source does not have. */
export function checkRange(
  { name, size }: Pick<Source, "name" | "size">,
  start: number,
  length: number,
): void {
  if (start + length > size)
    throw new LorantzError(`${name}: bytes ${start} to ${start + length} are asked for, and it has ${size}.`);
}
