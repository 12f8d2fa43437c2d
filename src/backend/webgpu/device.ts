import { openGpu } from "#gpu";
import { messageOf } from "../../base/errors.ts";
import type { OpenGpu } from "./gpu-web.ts";
import type { MatrixShape, Precision } from "./tiles.ts";

/** What was found, for people and for `lorantz doctor`. */
export interface AdapterDescription {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  /** A driver that computes on the processor: the CPU backend is faster. */
  readonly software: boolean;
  /** Optional features that the device was opened with. */
  readonly features: readonly string[];
  /** Invocations of a subgroup, where that never varies. */
  readonly subgroupSize: number | undefined;
  /** Shapes of subgroup matrices with float32 sums, by the precision of what is multiplied. */
  readonly matrices: readonly (MatrixShape & { readonly precision: Precision })[];
  readonly limits: Readonly<Record<LimitName, number>>;
}

/** Limits that are raised from WebGPU's defaults to what the adapter has. */
const limitNames = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
] as const;

export type LimitName = (typeof limitNames)[number];

/** Features that are asked for where the adapter has them. */
const wantedFeatures = [
  "shader-f16",
  "timestamp-query",
  "subgroups",
  "chromium-experimental-subgroup-matrix",
] as readonly GPUFeatureName[]; // the last one is Dawn's own

/** What Dawn says of subgroup matrices, beside what WebGPU has. */
interface MatrixInfo {
  readonly subgroupMatrixConfigs?: readonly {
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }[];
}

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly adapter: AdapterDescription;
  readonly wait: OpenGpu["wait"];
}

export interface WantedAdapter {
  /** Whether an adapter will do that computes on the processor. Default true. */
  readonly software?: boolean;
}

/** Opens the fastest adapter with its real limits, or says why there is none that is wanted. */
export async function openDevice({
  software = true,
}: WantedAdapter = {}): Promise<OpenDevice | { readonly reason: string }> {
  const opened = await openGpu();
  if ("reason" in opened) return opened;
  const { gpu, wait } = opened;
  const adapter = await wait(gpu.requestAdapter({ powerPreference: "high-performance" }));
  if (!adapter)
    return {
      reason:
        "no WebGPU adapter was found: install a Vulkan driver (on Linux without a GPU, Mesa's lavapipe)",
    };
  if (!software && isSoftware(adapter.info))
    return { reason: `the adapter ${adapter.info.description} computes on the processor` };
  const requiredFeatures = wantedFeatures.filter((feature) => adapter.features.has(feature));
  const limits = Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]])) as Record<
    LimitName,
    number
  >; // one entry per name
  try {
    const device = await wait(adapter.requestDevice({ requiredFeatures, requiredLimits: limits }));
    return { device, wait, adapter: describeAdapter(adapter.info, requiredFeatures, limits) };
  } catch (error) {
    return {
      reason: `the adapter ${adapter.info.description} gives no device: ${messageOf(error)}`,
    };
  }
}

/** Does the adapter compute on the processor? */
export function isSoftware(info: GPUAdapterInfo): boolean {
  const { isFallbackAdapter, vendor, architecture, device, description } = info;
  const names = `${vendor} ${architecture} ${device} ${description}`;
  return isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|softpipe|basic render/i.test(names);
}

function describeAdapter(
  info: GPUAdapterInfo & MatrixInfo,
  features: readonly string[],
  limits: Readonly<Record<LimitName, number>>,
): AdapterDescription {
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = info;
  const subgroupSize = subgroupMinSize === subgroupMaxSize ? subgroupMinSize : undefined;
  const software = isSoftware(info);
  const matrices = (info.subgroupMatrixConfigs ?? []).flatMap(
    ({ componentType, resultComponentType, M: rows, N: columns, K: inner }) => {
      const precision = ({ f16: "float16", f32: "float32" } as const)[componentType];
      return precision && resultComponentType === "f32" ? [{ precision, rows, columns, inner }] : [];
    },
  );
  return { vendor, architecture, device, description, software, features, subgroupSize, matrices, limits };
}
