// The `#gpu` module of browsers and Deno: WebGPU is `navigator.gpu`. Its twin for Node is gpu-node.ts.

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

export async function openGpu(): Promise<OpenGpu | NoGpu> {
  const gpu: GPU | undefined = globalThis.navigator?.gpu;
  if (gpu === undefined) {
    return {
      reason:
        "there is no navigator.gpu: use a current browser, over https or on localhost, or Deno with --unstable-webgpu",
    };
  }
  return { gpu, wait: (work) => work };
}

/** What `writeSettings` kept under that name, or undefined: in browsers in the page's local storage. */
export async function readSettings(name: string): Promise<string | undefined> {
  try {
    return globalThis.localStorage.getItem(`lorantz-${name}`) ?? undefined;
  } catch {
    return undefined; // no storage, or none for this page
  }
}

/** Keeps a text for later pages; where it cannot, nothing happens. */
export async function writeSettings(name: string, text: string): Promise<void> {
  try {
    globalThis.localStorage.setItem(`lorantz-${name}`, text);
  } catch {
    // No storage, or it is full: the next page measures again.
  }
}
