import { readBytes, reasonOf } from "../base/files.ts";
import { UsageError } from "./usage.ts";

/**
 * The bytes of a file that an option or argument names.
 *
 * @throws UsageError if there is none, or it cannot be read to its end.
 */
export function readFile(option: string, path: string, expected: string): Uint8Array {
  try {
    return readBytes(path);
  } catch (error) {
    throw new UsageError(`${option} ${path}: ${reasonOf(error)}. Give ${expected}.`);
  }
}
