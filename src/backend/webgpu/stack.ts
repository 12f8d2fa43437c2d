import { internal } from "../../base/errors.ts";
import type { Program } from "../../compile/program.ts";
import { bytesOf, type ValueId } from "../../compile/value.ts";
import type { DeviceBuffer, RunArguments } from "../backend.ts";
import { copyBuffer, type GpuBuffer, gpuBuffer, type Memory, wholeQuads } from "./buffer.ts";
import { numbersBytes } from "./numbers.ts";
import type { Binding, Shader } from "./shader.ts";

// Runs of one program at a time, in one dispatch of each kernel: the workgroups along z are runs. What each run has of its own lies
// in one memory, part after part. Their kernels are those of the single program with the part looked up; whether a driver makes the same
// bits of that is tried before they are used (executable.ts).

/** Runs of a dispatch at most. */
export const mostRuns = 16;

/** Bytes of the intermediates of all runs at most: larger programs keep a device busy by themselves. */
const mostBytes = 2 ** 28;

/** Bytes of a uniform buffer on every device. */
const mostUniform = 2 ** 16;

/** The bytes of a value in a buffer of its own. */
const bytesIn = (program: Program, value: ValueId) => wholeQuads(bytesOf(program.values[value]!));

/** The program that does so many runs at a time, each place of a slot being so many times as long; none where that is too large. */
export function stackedProgram(
  program: Program,
  shared: ReadonlySet<number>,
  runs: number,
  limits: GPUSupportedLimits,
): Program | undefined {
  const slots = program.slots.map((bytes) => wholeQuads(bytes) * runs);
  const own = [...program.inputs.filter((_, i) => !shared.has(i)), ...program.outputs];
  const places = own.map((value) => runs * bytesIn(program, value));
  const limit = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  const fits =
    slots.reduce((sum, bytes) => sum + bytes, 0) <= mostBytes && Math.max(0, ...slots, ...places) <= limit;
  return fits ? { ...program, slots } : undefined;
}

/**
 * A kernel for so many runs that have all but these inputs of their own; none where its code takes a buffer as a whole, or there are
 * more numbers than a device takes.
 */
export function stackedShader(
  shader: Shader,
  program: Program,
  shared: ReadonlySet<number>,
  runs: number,
): Shader | undefined {
  let { source } = shader;
  const part = (name: string, count: (element: string) => number, memories: string) => {
    source = source
      .replaceAll(new RegExp(`\\b${name}\\[`, "g"), `${name}[run_][`)
      .replace(
        new RegExp(`( ${name}: array<)(.*?)(?:, \\d+)?>;`),
        (_, head: string, element: string) => `${head}array<${element}, ${count(element)}>${memories}>;`,
      );
  };
  const bindings = shader.bindings.map((binding): Binding => {
    const { name, place, range } = binding;
    if (place.kind === "input" && shared.has(place.index)) return binding;
    const { offset, size } = range;
    const value = (place.kind === "input" ? program.inputs : program.outputs)[place.index]!;
    part(name, (element) => (size ?? bytesIn(program, value)) / sizeOf(element), "");
    return size === undefined
      ? binding
      : { ...binding, range: { offset: offset! * runs, size: size * runs } };
  });
  const numbers = numbersBytes(shader.scalars.length);
  if (numbers > 0) part("scalars", () => numbers / 16, `, ${mostRuns}`);
  const main = /@builtin\((?:global_invocation_id|workgroup_id)\) (\w+)[^{]*\{\n/.exec(source);
  const whole = shader.bindings.some(({ name }) => new RegExp(`&${name}\\b(?!\\[)`).test(source));
  if (!main || whole || numbers * mostRuns > mostUniform) return undefined;
  source = source
    .replace(main[0], () => `${main[0]}  run_ = ${main[1]}.z;\n`)
    .replace(/^@compute/m, "var<private> run_: u32;\n\n@compute");
  return { ...shader, source, bindings };
}

/** Bytes of an element of a buffer. */
function sizeOf(element: string): number {
  const [, width = "1", type] =
    /^(?:atomic<|vec(\d)<)?(\w+)>?$/.exec(element) ?? internal(`elements of ${element}`);
  return Number(width) * (type === "f16" ? 2 : 4);
}

/**
 * Inputs that are one buffer for all of these runs; undefined where a buffer has two parts to play, or one run keeps what others
 * give away.
 */
export function sharedInputs(runs: readonly RunArguments[]): ReadonlySet<number> | undefined {
  const [first, ...others] = runs as [RunArguments, ...RunArguments[]];
  const shared = new Set(first.inputs.keys());
  for (const { inputs } of others)
    for (const i of shared) if (inputs[i] !== first.inputs[i]) shared.delete(i);
  const seen = new Set([...shared].map((i) => first.inputs[i]!));
  const taken = takenOver(first);
  for (const run of runs) {
    const { inputs, outputs } = run;
    if (takenOver(run).some((input, output) => input !== taken[output])) return undefined;
    const own = inputs.filter((_, i) => !shared.has(i));
    for (const buffer of [...own, ...outputs.filter((_, output) => taken[output] === undefined)]) {
      if (seen.has(buffer)) return undefined;
      seen.add(buffer);
    }
  }
  return shared;
}

/** For each output of a run, the input whose buffer it has. */
function takenOver({ inputs, outputs }: RunArguments): (number | undefined)[] {
  const at = new Map(inputs.map((buffer, i) => [buffer, i]));
  return outputs.map((buffer) => at.get(buffer));
}

/** The runs in the order in which what they have of their own lies already. */
export function inOrder(runs: readonly RunArguments[], shared: ReadonlySet<number>): RunArguments[] {
  const at = runs[0]!.inputs.findIndex((_, i) => !shared.has(i));
  if (at < 0) return [...runs];
  const place = ({ inputs }: RunArguments) => gpuBuffer(inputs[at]!);
  return [...runs].sort((a, b) => {
    const [p, q] = [place(a), place(b)];
    return p.memory.id - q.memory.id || p.offset - q.offset;
  });
}

/** Buffers that become the parts of a memory, in this order. */
interface Move {
  readonly buffers: readonly GpuBuffer[];
  readonly memory: Memory;
  /** Whether what is in them counts. */
  readonly read: boolean;
}

type Allocate = (bytes: number, parts: number) => Memory;

/** What has to move, so that what each run has of its own is a part of one memory. */
export function movesTogether(
  runs: readonly RunArguments[],
  shared: ReadonlySet<number>,
  allocate: Allocate,
): Move[] {
  const [{ inputs, outputs }] = runs as [RunArguments, ...RunArguments[]];
  const gather = (of: (run: RunArguments) => DeviceBuffer, read: boolean): Move[] => {
    const buffers = runs.map((run) => gpuBuffer(of(run)));
    const [{ memory, bytes }] = buffers as [GpuBuffer, ...GpuBuffer[]];
    const stride = wholeQuads(bytes);
    const together = memory.parts === buffers.length && buffers.every((buffer) => buffer.memory === memory);
    if (together && buffers.every(({ offset }, run) => offset === run * stride)) return [];
    const there = together && !read; // they may change places
    return [{ buffers, memory: there ? memory : allocate(stride * buffers.length, buffers.length), read }];
  };
  const known = new Set(inputs);
  return [
    ...inputs.flatMap((_, i) => (shared.has(i) ? [] : gather((run) => run.inputs[i]!, true))),
    ...outputs.flatMap((buffer, i) => (known.has(buffer) ? [] : gather((run) => run.outputs[i]!, false))),
  ];
}

/** Moves of those that are parts of a memory to memories of their own. */
export function movesApart(buffers: readonly GpuBuffer[], allocate: Allocate): Move[] {
  return [...new Set(buffers)]
    .filter(({ memory }) => memory.parts > 1)
    .map((buffer) => ({ buffers: [buffer], memory: allocate(buffer.bytes, 1), read: true }));
}

/** Records moves, and gives what is to be done when they are submitted. */
export function move(encoder: GPUCommandEncoder, moves: readonly Move[]): () => void {
  const releases = moves.flatMap(({ buffers, memory, read }) =>
    buffers.map((buffer, run) => {
      const offset = run * wholeQuads(buffer.bytes);
      if (read) copyBuffer(encoder, buffer, memory, offset);
      return buffer.move(memory, offset);
    }),
  );
  return () => {
    for (const release of releases) release();
  };
}
