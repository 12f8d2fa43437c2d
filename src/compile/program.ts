import type { DeviceDType } from "../base/dtype.ts";
import type { Kernel } from "./kernel.ts";
import type { Value, ValueId } from "./value.ts";

export interface Scalar {
  readonly source: number;
  readonly dtype: DeviceDType;
}

/** Where a value lives while the program runs. */
export type Place =
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number }
  /** A range of a slot, from a byte that is a multiple of 256. */
  | { readonly kind: "slot"; readonly index: number; readonly offset: number };

/** Kernels in order, with the memory plan: what a backend runs. */
export interface Program {
  readonly kernels: readonly Kernel[];
  readonly values: readonly Value[];
  /** For each value, where it lives; undefined where fusing left it no need to. */
  readonly places: readonly (Place | undefined)[];
  /** Bytes of each slot: a buffer that intermediate values share, one after the other and side by side. */
  readonly slots: readonly number[];
  /** Values that the caller passes, in order. */
  readonly inputs: readonly ValueId[];
  /** Values that the caller receives, in order. */
  readonly outputs: readonly ValueId[];
  /** For each output, the donated input whose buffer it takes over, or undefined for a buffer of its own. */
  readonly replaces: readonly (number | undefined)[];
  /** Host numbers as kernels see them: which one the caller passes, rounded to which dtype. */
  readonly scalars: readonly Scalar[];
}
