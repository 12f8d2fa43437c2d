import { readSettings, writeSettings } from "#gpu";
import { debug, environment } from "../../base/debug.ts";
import { DeviceError } from "../../base/errors.ts";
import { compileGraph } from "../../compile/compile.ts";
import type { Program } from "../../compile/program.ts";
import type { Target } from "../../compile/target.ts";
import { cast } from "../../graph/cast.ts";
import { makeNode, type Node } from "../../graph/node.ts";
import { matmul } from "../../graph/reduce.ts";
import type { AdapterDescription } from "./device.ts";
import { subgroupLanes } from "./matmul-subgroup.ts";
import type { MatmulChoice, MatrixChoice, MatrixShape, Precision } from "./tiles.ts";

// Which family of matmul kernels an adapter runs fastest, for each precision: measured at the first product worth it,
// then kept in the user's cache. LORANTZ_TUNE=off takes the default instead, LORANTZ_MATMUL=shared|subgroup|matrix
// forces a family.

export type FamilyName = MatmulChoice["family"];

const families: readonly string[] = ["shared", "subgroup", "matrix"] satisfies readonly FamilyName[];

export interface TuneOptions {
  /** Force a family. */
  readonly matmul?: FamilyName | undefined;
  /** Whether to measure; otherwise the default of the adapter is taken. */
  readonly tune?: boolean;
}

/** What the environment asks for. */
export function tuneOptions(): TuneOptions {
  const matmul = environment("LORANTZ_MATMUL");
  if (matmul !== undefined && !families.includes(matmul)) {
    throw new DeviceError(`webgpu: LORANTZ_MATMUL is "${matmul}"; it is ${families.join(", ")} or not set.`);
  }
  return { matmul: matmul as FamilyName | undefined, tune: environment("LORANTZ_TUNE") !== "off" };
}

/**
 * What an adapter may choose from for products of a precision, its default first: subgroup matrices where they take it;
 * on software subgroups where they have the right size, for loads are dear there; on GPUs tiles in workgroup memory. A
 * forced family holds for the precisions that have it.
 *
 * @throws DeviceError when a family is forced that the adapter cannot run.
 */
export function matmulChoices(
  adapter: AdapterDescription,
  precision: Precision,
  forced?: FamilyName,
): readonly MatmulChoice[] {
  const all = [...matrixChoices(adapter), ...tileChoices(adapter)];
  const own = all.filter((choice) => choice.family !== "matrix" || choice.precision === precision);
  if (forced === undefined) return own;
  const left = own.filter(({ family }) => family === forced);
  if (left.length > 0) return left;
  if (all.some(({ family }) => family === forced)) return own;
  const needs =
    forced === "matrix"
      ? "subgroup matrices of float16 or float32 with float32 sums, and this adapter has none"
      : `subgroups of ${subgroupLanes} lanes, and this adapter has ${adapter.subgroupSize ?? "none of a fixed size"}`;
  throw new DeviceError(`webgpu: LORANTZ_MATMUL=${forced} needs ${needs}. Leave LORANTZ_MATMUL unset.`);
}

/** The largest shape for each precision. */
function matrixChoices({ features, matrices, subgroupSize, limits }: AdapterDescription): MatrixChoice[] {
  if (!features.includes("chromium-experimental-subgroup-matrix") || subgroupSize === undefined) return [];
  return (["float16", "float32"] as const).flatMap((precision) => {
    const size = ({ rows, columns, inner }: MatrixShape) => rows * columns * inner;
    const [largest] = matrices
      .filter((shape) => shape.precision === precision)
      .sort((a, b) => size(b) - size(a));
    if (!largest) return [];
    return [
      {
        family: "matrix",
        lanes: subgroupSize,
        workgroupBytes: limits.maxComputeWorkgroupStorageSize,
        ...largest,
      },
    ];
  });
}

function tileChoices(adapter: AdapterDescription): MatmulChoice[] {
  const shared = (threads: number, quads: number): MatmulChoice => ({ family: "shared", threads, quads });
  const subgroups = adapter.features.includes("subgroups") && adapter.subgroupSize === subgroupLanes;
  const large = adapter.limits.maxComputeInvocationsPerWorkgroup >= 256;
  return [
    ...(adapter.software && subgroups ? [{ family: "subgroup" } as const] : []),
    ...(adapter.software
      ? [shared(64, 1)]
      : [...(large ? [shared(256, 2), shared(256, 1)] : []), shared(64, 2), shared(64, 1)]),
    ...(!adapter.software && subgroups ? [{ family: "subgroup" } as const] : []),
  ];
}

/** Something else than the default must be this much faster: a moment's noise should not decide. */
const margin = 0.85;

/** Time after which no further choice is tried: pipelines of software drivers compile for seconds. */
const maxMilliseconds = 5000;

/** The fastest choice, from the cache or by measurement. `measure` gives milliseconds for a product of that size. */
export async function chooseMatmul(
  adapter: AdapterDescription,
  precision: Precision,
  { matmul, tune = true }: TuneOptions,
  measure: (choice: MatmulChoice, size: number) => Promise<number>,
): Promise<MatmulChoice> {
  const choices = matmulChoices(adapter, precision, matmul);
  const [standard] = choices as readonly [MatmulChoice]; // never empty
  if (!tune || choices.length === 1) return standard;
  const { vendor, architecture, device, description } = adapter;
  const key = [vendor, architecture, device, description, precision, matmul ?? "any"].join("/");
  const known = JSON.stringify((await readChoices())[key]);
  const found = choices.find((choice) => JSON.stringify(choice) === known);
  if (found) return found;
  const start = performance.now();
  const size = adapter.software ? 256 : 1024;
  let best = standard;
  let least = Infinity;
  for (const choice of choices) {
    if (performance.now() - start > maxMilliseconds) break;
    const time = await measure(choice, size);
    debug(
      "time",
      () => `tuning: matmul ${size} of ${precision}, ${JSON.stringify(choice)}: ${time.toFixed(3)} ms`,
    );
    if (choice !== standard && time > least * (best === standard ? margin : 1)) continue;
    [best, least] = [choice, time];
  }
  // Other products may have been measured meanwhile.
  const kept = { ...(await readChoices()), [key]: best };
  await writeSettings(layout, JSON.stringify(kept, undefined, 2));
  return best;
}

/** `[size, size] x [size, size]` of operands in a precision, for measurements. */
export function squareMatmul(size: number, precision: Precision, target: Target): Program {
  const input = (index: number) => makeNode({ kind: "input", index }, [], [size, size], precision);
  const inputs = [input(0), input(1)] as const;
  const [a, b] = inputs.map((x) => cast(x, "float32")) as [Node, Node];
  return compileGraph([matmul(a, b)], { target, inputs, donated: new Set() });
}

/** Settings of this layout; another one is not read. */
const layout = "tuning-1";

/** By adapter and precision. What cannot be read counts as absent. */
async function readChoices(): Promise<Record<string, unknown>> {
  try {
    const choices: unknown = JSON.parse((await readSettings(layout)) ?? "{}");
    return typeof choices === "object" && choices !== null ? { ...choices } : {};
  } catch {
    return {};
  }
}
