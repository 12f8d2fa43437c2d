// The `#gpu` module of browsers: WebGPU is `navigator.gpu`. Its twin for Node is gpu-node.ts.

export interface GpuOptions {
  /** Ask for Dawn's experimental features too. Browsers decide that by their own flags and ignore this. */
  readonly unsafeApis?: boolean;
}

/** A WebGPU implementation, ready to be asked for adapters. */
export interface OpenGpu {
  readonly gpu: GPU;
  /** Awaits work of the device (`mapAsync`, `onSubmittedWorkDone`) at no cost to the work itself. */
  wait<T>(work: Promise<T>): Promise<T>;
}

/** Why there is no WebGPU here, and what to do about it. */
export interface NoGpu {
  readonly reason: string;
}

export async function openGpu(_options: GpuOptions = {}): Promise<OpenGpu | NoGpu> {
  const gpu: GPU | undefined = globalThis.navigator?.gpu;
  if (gpu === undefined) {
    return { reason: "this browser has no navigator.gpu: use a current one, over https or on localhost" };
  }
  return { gpu, wait: (work) => work };
}
