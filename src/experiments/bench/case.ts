import type { Device } from "../../runtime/device.ts";
import { compile } from "../../tensor/compile.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { referenceValues } from "../reference.ts";

/** What a benchmark counts in one call: it turns the time into a rate. */
export type Work =
  /** Floating-point operations, two for each multiply-add: GFLOP/s. */
  | { readonly flops: number }
  /** Bytes read and written if each element moves once: GB/s. */
  | { readonly bytes: number }
  /** Operations whose overhead is measured: microseconds each. */
  | { readonly operations: number }
  /** One thing that takes what it takes. */
  | { readonly calls: 1 };

/** A benchmark: its work, the function that is timed, and how its answer is checked. */
export interface BenchCase {
  readonly name: string;
  /** What it computes, for people. */
  readonly about: string;
  readonly work: Work;
  /** Every call is a first one: few are made, and none to warm up. */
  readonly cold?: true;
  prepare(device: Device): Promise<Prepared>;
}

export interface Prepared {
  /** What the reference evaluator and the timed function give, at the same places. */
  answers(): Promise<readonly Answer[]>;
  /** One call; the device is done with it when it resolves. */
  run(): Promise<void>;
}

export interface Answer {
  readonly expected: ArrayLike<number>;
  readonly got: ArrayLike<number>;
}

/** A timed function with its arguments. */
export interface Timed<A extends readonly unknown[], R> {
  readonly f: (...args: A) => R;
  readonly args: readonly [...A];
  /** Not compiled: each call builds the graph anew. */
  readonly lazy?: boolean;
  /**
   * For training steps: the arguments of the next call, from the results of the last. Arguments that `donate`
   * names are handed over.
   */
  readonly step?: {
    readonly donate: readonly number[];
    readonly next: (results: R, args: A) => readonly [...A];
  };
  /**
   * For functions of rows: positions of the arguments whose first axis is that of the result. Only some rows are
   * checked, since the evaluator would take seconds over all.
   */
  readonly rowwise?: readonly number[];
}

/** Rows that are checked of a function of rows. */
const checkedRows = 16;

/** Makes the arguments' values, and what is timed of `timed`. */
export async function prepare<A extends readonly unknown[], R>(
  device: Device,
  timed: Timed<A, R>,
): Promise<Prepared> {
  const { f, step, rowwise, lazy } = timed;
  let args: A = await tree.evaluate(timed.args as unknown as A, device); // it is A, spelled so that tuples are inferred
  const compiled = compile(f, { device, donate: step?.donate ?? [] });
  const call = async (): Promise<R> =>
    lazy ? tree.evaluate(f(...args), device) : compiled(...(args as never)); // trees of tensors are arguments as they are

  return {
    async answers() {
      const sample = rowwise ? rowSampler(args, rowwise) : undefined;
      const reference = f(...((sample?.args ?? args) as A)); // fewer rows of the same tensors
      // Before the call: it may take the arguments over.
      const expected = await referenceValues(tensors(reference));
      const results = await call();
      const got = await Promise.all(
        tensors(results).map(async (result) => {
          const values = await result.data();
          return sample ? sample.pick(values) : values;
        }),
      );
      if (step) args = step.next(results, args) as unknown as A;
      else tree.dispose(results);
      return expected.map((values, i) => ({ expected: values, got: got[i]! }));
    },
    async run() {
      const results = await call();
      await device.backend.finish();
      if (step) args = step.next(results, args) as unknown as A;
      else tree.dispose(results);
    },
  };
}

/** Evenly spaced rows, the last one among them. */
function rowSampler(args: readonly unknown[], rowwise: readonly number[]) {
  const tensorAt = (i: number) => args[i] as Tensor; // rowwise names tensors
  const rows = tensorAt(rowwise[0]!).shape[0]!;
  const stride = Math.max(1, Math.floor(rows / checkedRows));
  const start = (rows - 1) % stride;
  return {
    /** The arguments with only those rows. */
    args: args.map((arg, i) => (rowwise.includes(i) ? tensorAt(i).slice([start], [rows], [stride]) : arg)),
    /** Those rows of a result. */
    pick(values: ArrayLike<number>): number[] {
      const length = values.length / rows;
      const picked: number[] = [];
      for (let row = start; row < rows; row += stride)
        for (let i = 0; i < length; i++) picked.push(values[row * length + i]!);
      return picked;
    },
  };
}

function tensors(results: unknown): Tensor[] {
  return tree.leaves(results).filter((leaf) => leaf.dtype !== "number");
}
