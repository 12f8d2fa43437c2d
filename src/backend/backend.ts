import type { StoredArray } from "../base/dtype.ts";
import type { Program } from "../compile/program.ts";
import type { Target } from "../compile/target.ts";

// What a backend is. Types only: one file above (runtime/device.ts) chooses the implementation.

/** Memory on a device; what it is, only its backend knows. */
export interface DeviceBuffer {
  readonly bytes: number;
}

/** When each kernel of a program ran, in the program's order. */
export interface KernelTimes {
  /** What measured: the device's own timestamps, or the host's clock around work that it waits for. */
  readonly clock: "device" | "host";
  /** Milliseconds on that clock, whose zero is arbitrary. */
  readonly spans: readonly { readonly start: number; readonly end: number }[];
}

/** What a run of a program is given, in the program's order. */
export interface RunArguments {
  readonly inputs: readonly DeviceBuffer[];
  /** One may be the buffer of an input that the plan lets it replace; where it is another one, it begins as a copy of that. */
  readonly outputs: readonly DeviceBuffer[];
  /** The host numbers. */
  readonly scalars: readonly number[];
}

/** A program made ready to run. */
export interface Executable {
  /** Runs the program as one submit. */
  run(args: RunArguments): void;
  /**
   * Does what `run` does and times each kernel. The work is submitted when it returns, in order with other work;
   * kernels do not overlap, so that their sum may be more than a run takes.
   */
  profile(args: RunArguments): Promise<KernelTimes>;
  /** The generated code of each kernel, for people and golden tests. */
  readonly sources: readonly string[];
  /** Bytes held for intermediate values. */
  readonly bytes: number;
  dispose(): void;
}

/** A run of a program with what it is given. */
export interface Submission {
  readonly executable: Executable;
  readonly args: RunArguments;
}

export interface Backend {
  readonly name: string;
  /** What it runs on, for people: the adapter, or the processor. */
  readonly description: string;
  /** What programs may assume of it. */
  readonly target: Target;
  /** Resolves with the reason when the device is lost; a backend that cannot be lost never resolves it. */
  readonly lost: Promise<string>;
  /** @throws DeviceError when the buffer is larger than the device allows. */
  allocate(bytes: number): DeviceBuffer;
  free(buffer: DeviceBuffer): void;
  /** Copies values into a buffer, from a byte on that is a multiple of 4. */
  write(buffer: DeviceBuffer, data: StoredArray, at?: number): void;
  /** The bytes of a buffer where they lie, for the host to fill, on backends where they stay there whatever else happens. */
  bytesOf?(buffer: DeviceBuffer): Uint8Array | undefined;
  /** Copies the first bytes of a buffer into `into`, after all work submitted so far. */
  read(buffer: DeviceBuffer, into: StoredArray): Promise<void>;
  /** The same at once, on backends whose work is done when it was submitted. */
  readNow?(buffer: DeviceBuffer, into: StoredArray): void;
  load(program: Program): Promise<Executable>;
  /**
   * Does what `run` does for each of these, possibly beside each other; only on backends where that is faster than to submit them one
   * by one. All are submitted when it returns; if it gives something to await, those that come next may be faster after that.
   */
  together?(submissions: readonly Submission[]): Promise<unknown> | undefined;
  /** Resolves when the work submitted so far is done. */
  finish(): Promise<void>;
  dispose(): void;
}
