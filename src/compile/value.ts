import type { DeviceDType } from "../base/dtype.ts";

/** A buffer-sized value of a program: an input, an output or an intermediate. */
export type ValueId = number & { readonly brand?: "ValueId" };

export interface Value {
  readonly id: ValueId;
  readonly dtype: DeviceDType;
  readonly size: number;
}
