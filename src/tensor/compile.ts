import { type Fields, field, isIntegerIn, optional, readOptions, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { after, keepLater, type Later } from "../base/later.ts";
import { programCost } from "../compile/cost.ts";
import { printProgram } from "../compile/print.ts";
import { kernelsOf } from "../compile/program.ts";
import { bytesOf } from "../compile/value.ts";
import { Device, type Loaded } from "../runtime/device.ts";
import { Hold } from "../runtime/hold.ts";
import { defaultDevice } from "../runtime/init.ts";
import { refuseWhileTracing } from "../runtime/tracing.ts";
import { Gang } from "./gang.ts";
import { type Form, formOf, retraced } from "./retraced.ts";
import type { Tensor } from "./tensor.ts";
import { type Call, holdArguments, load, readArguments, rehearse, run, type Trace, trace } from "./trace.ts";

export interface CompileOptions {
  /** Arguments, by position, whose buffers the results may take over; the caller's tensors are then gone. */
  readonly donate?: readonly number[];
  /** Default: the device of the latest `init` at each call. */
  readonly device?: Device;
  /** Runs calls of its tasks beside each other. Default: each call runs when it is made. */
  readonly gang?: Gang;
  /**
   * For how many forms of its arguments (structure, shapes, dtypes) the function is to be traced. One more, once, is a warning on
   * the console that says which argument changes. Default 9.
   */
  readonly expectedTraces?: number;
}

type Filled = CompileOptions & Required<Pick<CompileOptions, "donate" | "expectedTraces">>;

const fields: Fields<Filled> = {
  donate: field("a list of positions such as [0, 1]", Array.isArray, []),
  expectedTraces: field(
    "a whole number >= 1, or Infinity",
    (count) => count === Number.POSITIVE_INFINITY || isIntegerIn(count, 1),
    9,
  ),
  device: optional(field("a device that init opened", (value) => value instanceof Device)),
  gang: optional(field("a gang, new Gang()", (value) => value instanceof Gang)),
};

/** Arguments as callers may give them: a number wherever the function takes a host number. Trees of any keys stay as they are. */
export type Argument<T> =
  T extends Tensor<"number">
    ? T | number
    : T extends Tensor
      ? T
      : string extends keyof T
        ? T
        : T extends readonly unknown[] | { readonly [key: string]: unknown }
          ? { readonly [K in keyof T]: Argument<T[K]> }
          : T;

/** A function pinned to programs, one for each structure, shape and dtype of its arguments. */
export interface Compiled<A extends readonly unknown[], R> {
  (...args: { [K in keyof A]: Argument<A[K]> }): Promise<R>;
  /** How often the function was traced: once for each signature. */
  readonly traces: number;
  /**
   * Does beforehand what the first call with such arguments would have to do: trace, plan, compile, and run the
   * program once on results that are thrown away, as software drivers compile when a kernel first runs. Takes what a
   * call takes, donates nothing, and resolves when the device is done. Only structures, shapes and dtypes matter:
   * where the real arguments are not there yet, `zeros` of their shapes do.
   *
   * @throws As a call does.
   * @example
   * await step.warmup(params, state, zeros([32, 16]), zeros([32, 4]));
   */
  warmup(...args: { [K in keyof A]: Argument<A[K]> }): Promise<void>;
  /**
   * What a call with such arguments would take, memory and work, found without running or loading anything. Only shapes
   * matter, as for `warmup`.
   */
  plan(...args: { [K in keyof A]: Argument<A[K]> }): Promise<MemoryPlan>;
  /** What the latest call or warm-up ran: kernels as text, generated code, bytes of intermediates. */
  inspect(): Inspection;
}

/** Bytes that a call holds while it runs. */
export interface MemoryPlan {
  /** The arguments, and what the function captured. */
  readonly inputs: number;
  /** Intermediate values, which share memory one after the other. */
  readonly intermediates: number;
  /** Results that do not take over a donated argument. */
  readonly results: number;
  /** What its kernels do at least. */
  readonly work: Work;
}

/**
 * Floating-point operations of a program's kernels, a multiply-add being two, and the bytes that they load and store if each
 * loads what it needs once.
 */
export interface Work {
  readonly flops: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export interface Inspection {
  /** Kernels in order with what they read and write. */
  readonly schedule: string;
  readonly kernels: number;
  /** Generated code of each kernel, in the language of the backend. */
  readonly sources: readonly string[];
  /** Bytes held for intermediate values. */
  readonly bytes: number;
}

/**
 * Compiles a function of trees of tensors to one program: it is traced once for each structure, shape and dtype
 * of its arguments, and each call is one submit. Numbers and random keys in the arguments are inputs, so that learning
 * rates, step counts and draws change freely. Tensors the function captures are inputs too; captured values that are not
 * computed yet are computed once, when it is traced.
 *
 * A donated tensor is gone once the call is made, unless the call fails before it runs. What was made of it before and is not
 * computed yet keeps its values, and so do calls that were made before and are not awaited: its buffer is then only read, and
 * the result gets one of its own.
 *
 * @throws DisposedError when a donated tensor is used again; ValueError for arguments that are no trees, and for a donated
 *   tensor that is passed twice or captured.
 * @example
 * const step = compile((w: Tensor, rate: Tensor<"number">) => w.sub(w.mul(rate)), { donate: [0] });
 * w = await step(w, 0.1);
 */
export function compile<A extends readonly unknown[], R>(
  f: (...args: A) => R,
  options: CompileOptions = {},
): Compiled<A, R> {
  if (typeof f !== "function") throw new ValueError(`compile: takes a function; given ${show(f)}.`);
  const { donate, device: chosen, gang, expectedTraces } = readOptions("compile", fields, options);
  for (const position of donate) {
    if (!isIntegerIn(position, 0))
      throw new ValueError(`compile: donate names argument ${show(position)}; positions are integers >= 0.`);
  }
  let count = 0;
  let latest: Loaded | undefined;
  const forms: Form[] = [];

  /** Checks the arguments, holds them, and traces the function for them if they are new. */
  const prepare = (args: readonly unknown[], hold: Hold, gives: boolean): Later<Call> => {
    const device = chosen ?? defaultDevice();
    const beyond = donate.find((position) => position >= args.length);
    if (beyond !== undefined)
      throw new ValueError(
        `compile: donate names argument ${beyond}, and there are ${args.length} arguments.`,
      );
    const { leaves, signature } = readArguments(args, donate);
    const traced = (): Later<Trace> => {
      const traces = device.cacheOf<Later<Trace>>(compiled);
      const known = traces.get(signature);
      if (known) return known;
      count++;
      if (forms.length <= expectedTraces && forms.push(formOf(leaves)) > expectedTraces) {
        const warning = retraced(f.name, forms);
        if (warning) console.warn(warning);
      }
      return keepLater(traces, signature, trace(f, args, leaves, device));
    };
    return after(holdArguments({ leaves, device, hold }, gives), () =>
      after(traced(), (trace) => {
        for (const node of trace.captured) hold.keep(node);
        return { trace, leaves, device, hold };
      }),
    );
  };

  /** Does something with a call, and lets its arguments go. */
  const holding = async <T>(
    args: readonly unknown[],
    gives: boolean,
    then: (call: Call) => Later<T>,
  ): Promise<T> => {
    const hold = new Hold();
    try {
      const done = after(prepare(args, hold, gives), then);
      return done instanceof Promise ? await done : done;
    } finally {
      hold.cancel(); // if it has not run
    }
  };

  const call = (...args: readonly unknown[]): Promise<R> => {
    refuseWhileTracing(nested);
    return holding(args, true, (call) =>
      after(load(call), (loaded) => {
        latest = loaded;
        return after(gang ? gang.meet(call) : run(call, loaded), ({ result, bounds }) =>
          after(
            bounds.length > 0 ? call.trace.bounds.check(bounds) : undefined,
            () => after(call.device.settle(), () => result as R), // the tree that f returned, with values
          ),
        );
      }),
    );
  };

  const compiled = Object.assign(call as Compiled<A, R>, {
    warmup(...args: readonly unknown[]): Promise<void> {
      refuseWhileTracing(nested);
      return holding(args, false, async (call) => {
        const loaded = await load(call);
        latest = loaded;
        await rehearse(call, loaded);
      });
    },
    plan(...args: readonly unknown[]): Promise<MemoryPlan> {
      refuseWhileTracing(nested);
      return holding(args, false, ({ trace }) => {
        const program = trace.plan();
        const { values, inputs, outputs, replaces, slots } = program;
        const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
        const bytesIn = (of: readonly number[]) => sum(of.map((id) => bytesOf(values[id]!)));
        return {
          inputs: bytesIn(inputs),
          intermediates: sum(slots),
          results: bytesIn(outputs.filter((_, i) => replaces[i] === undefined)),
          work: programCost(program),
        };
      });
    },
    inspect(): Inspection {
      if (!latest) throw new ValueError("inspect: the function has not run yet. Call it once first.");
      const { program, executable } = latest;
      return {
        schedule: printProgram(program),
        kernels: kernelsOf(program).length,
        sources: executable.sources,
        bytes: executable.bytes,
      };
    },
  });
  // Object.assign would read the count now.
  return Object.defineProperty(compiled, "traces", { get: () => count });
}

const nested =
  "compile: a compiled function was called while another one is traced. Call the plain function there: it becomes part of the one program.";
