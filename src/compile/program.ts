import type { DeviceDType } from "../base/dtype.ts";
import type { Node } from "../graph/node.ts";
import type { Composite, Kernel } from "./kernel.ts";
import type { Value, ValueId } from "./value.ts";

export interface Scalar {
  readonly source: number;
  /** What it is rounded to; that of float16 is passed as a float32. */
  readonly dtype: DeviceDType;
}

/** Where a value lives while the program runs. */
export type Place =
  | { readonly kind: "input"; readonly index: number }
  | { readonly kind: "output"; readonly index: number }
  /** A range of a slot, from a byte that is a multiple of 256. */
  | { readonly kind: "slot"; readonly index: number; readonly offset: number };

/** What an input or output of a loop's body is: what is carried from step to step, or a value of the program around. */
export type Role =
  | { readonly kind: "carry"; readonly at: number }
  | { readonly kind: "value"; readonly value: ValueId };

/**
 * A program that runs again and again in the place of one kernel. What each step adds to a value along its first axis is
 * written there in place.
 */
export interface LoopKernel extends Composite {
  readonly steps: number;
  readonly reversed: boolean;
  readonly body: Program;
  readonly inputs: readonly Role[];
  readonly outputs: readonly Role[];
  /** What the first step finds, and where the last one leaves it, if anybody wants it. */
  readonly carries: readonly { readonly init: ValueId; readonly last: ValueId | undefined }[];
  /** The host numbers of the body: what they are of the number of the step and those of the program around. */
  readonly numbers: {
    readonly scalars: readonly Node[];
    readonly step: Node;
    readonly given: readonly { readonly node: Node; readonly source: number }[];
  };
}

/** Kernels in order, with the memory plan: what a backend runs. */
export interface Program {
  readonly kernels: readonly (Kernel | LoopKernel)[];
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

/** All kernels, those of loops too, each once. */
export function kernelsOf({ kernels }: Program): Kernel[] {
  return kernels.flatMap((kernel) => (kernel.kind === "loop" ? kernelsOf(kernel.body) : [kernel]));
}

/** All values, those of loops too. */
export function valuesOf({ kernels, values }: Program): Value[] {
  return [...values, ...kernels.flatMap((kernel) => (kernel.kind === "loop" ? valuesOf(kernel.body) : []))];
}

/** Where a value lies: an input that an output takes over lives where the output does. */
export function physicalPlace(program: Pick<Program, "places" | "replaces">, value: ValueId): Place {
  const place = program.places[value]!;
  const output = place.kind === "input" ? program.replaces.indexOf(place.index) : -1;
  return output < 0 ? place : { kind: "output", index: output };
}

/** Names what a kernel binds for a value: values of one place are bound once. */
export function bindingOf(program: Pick<Program, "places" | "replaces">, value: ValueId): string {
  const place = physicalPlace(program, value);
  return `${place.kind} ${place.index} ${place.kind === "slot" ? place.offset : 0}`;
}
