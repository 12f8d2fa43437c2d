import type { Backend } from "../backend/backend.ts";
import type { CpuOptions } from "../backend/cpu/backend.ts";
import { type Fields, field, flag, integer, oneOf, optional, readOptions } from "../base/arguments.ts";
import { DeviceError } from "../base/errors.ts";
import { Device } from "./device.ts";

export interface InitOptions extends CpuOptions {
  /** Force a backend; by default WebGPU if there is an adapter, else CPU. An adapter named so may be a software driver. */
  readonly backend?: BackendName;
  /** Whether a WebGPU adapter that computes on the processor counts where `backend` is left out. Default false: the CPU backend is faster. */
  readonly software?: boolean;
  /** Bytes that live tensors may hold on the device. Default 4 GiB. */
  readonly maxBytes?: number;
  /**
   * Check the indices that a device takes too, of gather, scatterAdd, embeddings, losses and the like: one out of range is then
   * a ValueError that names it. For finding errors: the host waits for the device at each evaluation. Default false.
   */
  readonly checkIndices?: boolean;
}

let current: Device | undefined;

/**
 * Opens a device and makes it the default: WebGPU if there is an adapter, else CPU, or the one asked for. A software
 * driver of WebGPU, such as Mesa's lavapipe or SwiftShader, is no adapter unless it is asked for. `device.name` and
 * `device.description` say which it is.
 *
 * Called again, it opens a further device, which is the default from then on. Tensors stay where they were computed:
 * what is computed of them runs there, and tensors of two devices in one computation are a DeviceError.
 *
 * @throws DeviceError when WebGPU is asked for and cannot be had, with the reason.
 * @example
 * using device = await init();
 */
export async function init(options: InitOptions = {}): Promise<Device> {
  const { backend, software, maxBytes, checkIndices, ...cpu } = readOptions("init", fields, options);
  current = new Device(await open(backend, software, cpu), maxBytes, checkIndices);
  return current;
}

/** A backend, or why there is none. */
type Found = Backend | { readonly reason: string };

/** The names of the backends. */
export const backendNames = ["cpu", "webgpu"] as const;
export type BackendName = (typeof backendNames)[number];

/** How each backend is opened. A bundler makes files of their own of them, and one that is not opened is not loaded. */
const backends = {
  webgpu: async ({ software }: { readonly software: boolean }): Promise<Found> => {
    const { openDevice } = await import("../backend/webgpu/device.ts");
    const opened = await openDevice({ software });
    if ("reason" in opened) return opened;
    return new (await import("../backend/webgpu/backend.ts")).WebGpuBackend(opened);
  },
  cpu: async (options: CpuOptions): Promise<Found> =>
    (await import("../backend/cpu/backend.ts")).openCpu(options),
} satisfies Record<BackendName, unknown>;

const defaultBytes = 4 * 2 ** 30;

const fields: Fields<Filled> = {
  backend: optional(oneOf(backendNames)),
  software: flag,
  maxBytes: field("a number of bytes > 0", (bytes) => typeof bytes === "number" && bytes > 0, defaultBytes),
  checkIndices: flag,
  threads: optional(integer(1, 64)),
  relaxed: optional(flag),
};

type Filled = InitOptions & Required<Pick<InitOptions, "software" | "maxBytes" | "checkIndices">>;

async function open(wanted: BackendName | undefined, software: boolean, cpu: CpuOptions): Promise<Backend> {
  const reasons: string[] = [];
  for (const name of wanted ? [wanted] : (["webgpu", "cpu"] as const)) {
    const found = await backends[name]({ ...cpu, software: software || name === wanted });
    if (!("reason" in found)) return found;
    reasons.push(found.reason);
  }
  throw new DeviceError(
    `init: WebGPU was asked for and cannot be had: ${reasons.join("; ")}. Leave backend out to use the CPU, or see \`lorantz doctor\`.`,
  );
}

let host: Promise<Device> | undefined;

/** A CPU device of one thread that is never the default: for what is computed in float64 wherever tensors are. */
export function hostDevice(): Promise<Device> {
  host ??= open("cpu", false, { threads: 1 }).then((backend) => new Device(backend, defaultBytes));
  return host;
}

/** The device of the latest `init`. */
export function defaultDevice(): Device {
  if (!current || current.disposed)
    throw new DeviceError("no device is open. Call `await init()` first, once, before asking for values.");
  return current;
}
