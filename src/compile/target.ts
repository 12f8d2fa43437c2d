import type { FloatDType } from "../base/dtype.ts";

/** What the schedule must know of a device. */
export interface Target {
  readonly name: string;
  /** Floats that it stores. */
  readonly floats: readonly FloatDType[];
  /** Most buffers of values that one kernel may bind. */
  readonly maxBindings: number;
  /** Bytes up to which several values may share a buffer. */
  readonly maxBuffer: number;
  /**
   * Reductions longer than this, which few threads would have to make, run in two stages; Infinity where one thread
   * does it all anyway, or kernels cut them.
   */
  readonly longReduction: number;
  /** Fewer are few: see `longReduction`. */
  readonly fewThreads: number;
  /**
   * Results that keep the device busy: a matmul with fewer and a long inner axis is split along that axis (split.ts);
   * 0 where it never is.
   */
  readonly busyResults: number;
  /** A matrix times a vector is faster as sums of products than as a matmul. */
  readonly sumsVectorProducts: boolean;
  /** Many invocations work on one row of a procedure: it becomes a graph on shorter rows where it has one. */
  readonly sharesRows: boolean;
  /** Longest row that one kernel may reduce several times and then store; 0 where there are no such kernels. */
  readonly maxRow: number;
  /** Elements before and behind a value of floats that may be read where what is read is not used. */
  readonly reach: number;
}
