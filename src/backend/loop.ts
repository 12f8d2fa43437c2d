import { getOrInsert } from "../base/group.ts";
import type { LoopKernel, Program, Role } from "../compile/program.ts";
import { bytesOf, type ValueId } from "../compile/value.ts";
import { evaluateHost } from "../graph/evaluate.ts";
import type { DeviceBuffer, RunArguments } from "./backend.ts";

/** Two buffers for each carry of a loop: one is read while the other is written. */
export type Spare<B extends DeviceBuffer = DeviceBuffer> = readonly (readonly [B, B])[];

/** What a program holds while it is loaded. */
export interface Held<B extends DeviceBuffer> {
  readonly slots: readonly B[];
  /** For each kernel that is a loop. */
  readonly spare: ReadonlyMap<LoopKernel, Spare<B>>;
  readonly all: readonly B[];
}

/** Allocates what a program holds, or nothing. */
export function hold<B extends DeviceBuffer>(
  { slots, kernels }: Program,
  allocate: (bytes: number) => B,
  free: (buffer: B) => void,
): Held<B> {
  const all: B[] = [];
  const take = (bytes: number) => all[all.push(allocate(bytes)) - 1]!;
  const twice = (bytes: number) => [take(bytes), take(bytes)] as const;
  try {
    const own = slots.map(take);
    const loops = kernels.filter((kernel) => kernel.kind === "loop");
    return { slots: own, spare: new Map(loops.map((loop) => [loop, carriedBytes(loop).map(twice)])), all };
  } catch (error) {
    for (const buffer of all) free(buffer);
    throw error;
  }
}

function carriedBytes({ body, outputs, carries }: LoopKernel): number[] {
  const found = carries.map(() => 0);
  outputs.forEach((role, i) => {
    if (role.kind === "carry") found[role.at] = bytesOf(body.values[body.outputs[i]!]!);
  });
  return found;
}

/** The code of a loop's kernels, for people. */
export function sourceOfLoop({ steps, reversed }: LoopKernel, sources: readonly string[]): string {
  return [`// ${steps} times${reversed ? ", from the last" : ""}:`, ...sources].join("\n");
}

/**
 * What the body is given at each step.
 *
 * @param at Where a value of the program around lies.
 */
export function stepsOf(
  { steps, reversed, inputs, outputs, carries, numbers }: LoopKernel,
  at: (value: ValueId) => DeviceBuffer,
  spare: Spare,
  scalars: readonly number[],
): RunArguments[] {
  const given = numbers.given.map(({ node, source }) => [node, Float64Array.of(scalars[source]!)] as const);
  const own = new Map<ValueId, DeviceBuffer>();
  const lying = (value: ValueId) => getOrInsert(own, value, () => at(value));
  const found = carries.map(({ init }) => lying(init));
  return Array.from({ length: steps }, (_, i) => {
    const left = carries.map(({ last }, carry) =>
      i === steps - 1 && last !== undefined ? lying(last) : spare[carry]![i % 2]!,
    );
    const bufferOf = (of: readonly DeviceBuffer[]) => (role: Role) =>
      role.kind === "carry" ? of[role.at]! : lying(role.value);
    const step = Float64Array.of(reversed ? steps - 1 - i : i);
    const known = new Map([...given, [numbers.step, step] as const]);
    const run = {
      inputs: inputs.map(bufferOf(found)),
      outputs: outputs.map(bufferOf(left)),
      scalars: numbers.scalars.map((node) => evaluateHost(node, undefined, known)),
    };
    left.forEach((buffer, carry) => {
      found[carry] = buffer;
    });
    return run;
  });
}
