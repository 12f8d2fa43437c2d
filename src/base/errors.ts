/**
 * Errors a caller may want to handle. Every message says which operation failed, what was given, what was
 * expected and what to do; `internal:` at its start marks a broken invariant of Lorantz itself.
 */
export class LorantzError extends Error {
  override readonly name: string = "LorantzError";
}

/** Shapes, axes or lengths that do not fit. */
export class ShapeError extends LorantzError {
  override readonly name = "ShapeError";
}

/** dtypes that do not fit the operation, each other, or the device. */
export class DTypeError extends LorantzError {
  override readonly name = "DTypeError";
}

/** A value outside what the operation accepts: a negative rank, a learning rate that is NaN, ... */
export class ValueError extends LorantzError {
  override readonly name = "ValueError";
}

/** No device, a lost device, too little memory, a shader that does not compile. */
export class DeviceError extends LorantzError {
  override readonly name = "DeviceError";
}

/** Use of a tensor, step or device after it was donated or disposed. */
export class DisposedError extends LorantzError {
  override readonly name = "DisposedError";
}

/** Throws for a broken invariant: never the fault of the caller. */
export function internal(message: string): never {
  throw new LorantzError(`internal: ${message}`);
}

/** What whatever was thrown says. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
