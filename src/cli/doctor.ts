import { openGpu } from "#gpu";
import { isSoftware } from "../backend/webgpu/device.ts";
import { DeviceError } from "../base/errors.ts";
import { type OpResult, passes, selfTest } from "../experiments/selftest.ts";
import { init } from "../runtime/init.ts";
import { platform } from "./machine.ts";
import { print, terminal } from "./print.ts";
import { Progress } from "./progress.ts";
import { optionsHelp, parseOptions } from "./usage.ts";

const options = {
  json: { type: "boolean", help: "Print the findings as JSON" },
} as const;

const help = `Usage: lorantz doctor [OPTIONS]

Says which devices were found and why not more, and tests every operation on each against the reference
evaluator. Errors are in units in the last place (ulp); an operation that exceeds what the op table allows makes
the exit code 1.

Options:
${optionsHelp(options)}
`;

/** What is known of the way to WebGPU. */
interface WebGpuFindings {
  /** Why there is none, or none that can be used. */
  readonly reason?: string;
  readonly adapter?: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
    /** Computed by the processor: correct, and slower than the CPU backend. */
    readonly software: boolean;
  };
  readonly limits?: Readonly<Record<string, number>>;
  readonly features?: readonly string[];
}

interface BackendFindings {
  readonly name: string;
  readonly description: string;
  readonly results: readonly OpResult[];
}

/** Limits that decide how large tensors and kernels can be. */
const telling = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** `lorantz doctor`: returns 1 if an operation is less accurate than promised, or does not run. */
export async function doctor(args: readonly string[]): Promise<number> {
  const values = parseOptions("doctor", args, options, help);
  const adapter = await findAdapter();
  const progress = new Progress(terminal);
  const backends: BackendFindings[] = [];
  let webgpu: WebGpuFindings = adapter;
  for (const name of ["webgpu", "cpu"] as const) {
    try {
      using device = await init({ backend: name });
      const results = await selfTest(device, (done, total) => {
        if (terminal.isTTY) progress.update(done, total, `self-test on ${name}`);
      });
      backends.push({ name, description: device.description, results });
    } catch (error) {
      if (!(error instanceof DeviceError) || name === "cpu") throw error;
      webgpu = { reason: error.message, ...adapter };
    } finally {
      progress.end();
    }
  }
  const taken = adapter.adapter?.software ? "cpu" : backends[0]!.name; // what init() takes
  const healthy = backends.every(({ results }) => results.every(passes));
  if (values.json) {
    print(`${JSON.stringify({ platform, webgpu, taken, healthy, backends }, finite, 2)}\n`);
  } else {
    const blocks = [
      `Platform  ${platform}`,
      describeWebGpu(webgpu),
      describeChoice(webgpu, taken),
      ...backends.map(describeBackend),
    ];
    print(`${blocks.join("\n\n")}\n`);
  }
  return healthy ? 0 : 1;
}

async function findAdapter(): Promise<WebGpuFindings> {
  const opened = await openGpu();
  if ("reason" in opened) return { reason: opened.reason };
  const adapter = await opened.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    return {
      reason:
        "the package webgpu is there, but no adapter. Install a graphics driver with Vulkan; Mesa's lavapipe " +
        "(mesa-vulkan-drivers on Debian) is one in software",
    };
  }
  const { vendor, architecture, device, description } = adapter.info;
  return {
    adapter: { vendor, architecture, device, description, software: isSoftware(adapter.info) },
    limits: Object.fromEntries(telling.map((name) => [name, adapter.limits[name]])),
    features: [...adapter.features].sort(),
  };
}

function describeWebGpu({ reason, adapter, limits, features }: WebGpuFindings): string {
  if (!adapter) return `WebGPU    none: ${reason}`;
  const { vendor, architecture, device, description, software } = adapter;
  const name = [vendor, architecture, device, description].filter(Boolean).join(", ");
  return [
    `WebGPU    ${name}${software ? " (in software)" : ""}`,
    ...(reason ? [`          cannot be used: ${reason}`] : []),
    ...Object.entries(limits ?? {}).map(
      ([limit, value]) => `          ${limit}: ${value.toLocaleString("en")}`,
    ),
    `          features: ${features?.join(", ") || "none"}`,
  ].join("\n");
}

function describeChoice({ adapter, reason }: WebGpuFindings, taken: string): string {
  if (taken === "webgpu") return 'init()    takes WebGPU; init({ backend: "cpu" }) takes the CPU';
  if (!adapter || reason) return "init()    takes the CPU, as WebGPU cannot be had";
  return 'init()    takes the CPU, as the adapter computes in software; init({ backend: "webgpu" }) takes it all the same';
}

/** A row for each operation, with its error in each dtype. */
function describeBackend({ name, description, results }: BackendFindings): string {
  const operations = [...new Set(results.map((result) => result.name))];
  const width = Math.max(...operations.map((operation) => operation.length));
  const rows = operations.map((operation) => {
    const own = results.filter((result) => result.name === operation);
    const errors = own.map(({ dtype, ulp }) => `${dtype} ${ulp === 0 ? "exact" : ulp.toFixed(2)}`.padEnd(15));
    const failures = own
      .filter((result) => !passes(result))
      .map(
        ({ dtype, ulp, problem }) =>
          `\n    FAILED ${dtype}: ${problem ?? `the error is ${ulp.toFixed(2)} ulp`}`,
      );
    // float16 is allowed little more than the rounding of float32's result, which is not worth a column.
    const allowed = `up to ${Math.max(...own.map((result) => result.allowed))}`.padEnd(10);
    return `  ${operation.padEnd(width)}  ${allowed}${errors.join("")}`.trimEnd() + failures.join("");
  });
  const failed = results.filter((result) => !passes(result)).length;
  const verdict = failed === 0 ? "all within bounds" : `${failed} FAILED`;
  const title = `Self-test on ${name} (${description}): ${results.length} trials, ${verdict}; errors in ulp`;
  return [title, ...rows].join("\n");
}

/** JSON has no Infinity. */
function finite(_: string, value: unknown): unknown {
  return value === Infinity ? "Infinity" : value;
}
