import { bytesPerElement, type DeviceDType } from "../base/dtype.ts";

/** A value that a program stores: an input, an output or an intermediate. */
export type ValueId = number & { readonly brand?: "ValueId" };

export interface Value {
  readonly id: ValueId;
  readonly dtype: DeviceDType;
  readonly size: number;
}

export function bytesOf({ dtype, size }: Value): number {
  return Math.max(size * bytesPerElement(dtype), 4);
}
