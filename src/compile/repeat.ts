import { internal } from "../base/errors.ts";
import { cast } from "../graph/cast.ts";
import { loopsOf, runName } from "../graph/loop.ts";
import { expand, reshape } from "../graph/movement.ts";
import {
  type Loop,
  makeNode,
  type Node,
  type Operation,
  placeFor,
  substitute,
  topological,
  transform,
} from "../graph/node.ts";
import { gather } from "../graph/reduce.ts";
import { update } from "../graph/update.ts";
import { canonicalise } from "./canonical.ts";
import { type Draft, draftOfLoop, valuesInto } from "./draft.ts";
import type { Expressions } from "./expr.ts";
import { deviceDType } from "./lower.ts";
import type { LoopKernel, Program, Role } from "./program.ts";
import type { ValueId } from "./value.ts";

type LoopOperation = Extract<Operation, { kind: "loop" }>;

/**
 * Takes out of loops what no result of theirs depends on: carries, and inputs with what they are made of. What enters one
 * is stored, so that a constant is made an array.
 */
export function trimLoops(roots: readonly Node[]): Node[] {
  const groups = loopsOf(topological(roots));
  if (groups.size === 0) return [...roots];
  const trimmed = new Map<string, { readonly loop: Loop; readonly kept: readonly number[] }>();
  for (const [name, group] of groups) {
    const { loop } = group[0]!.operation as LoopOperation;
    const { carries, slices, given, next } = loop;
    const outputs = group.map(({ operation }) => (operation as LoopOperation).output);
    let used = new Set(topological(outputs));
    for (let size = -1; used.size !== size; ) {
      size = used.size;
      const needed = next.filter((node, i) => used.has(carries[i]!) || outputs.includes(node));
      used = new Set(topological([...outputs, ...needed]));
    }
    const isKept = (i: number) => used.has(carries[i]!) || outputs.includes(next[i]!);
    const inUse = [...carries, ...slices, ...given];
    const among = (nodes: readonly Node[]) => nodes.filter((node) => used.has(node));
    trimmed.set(name, {
      loop: {
        ...loop,
        carries: carries.filter((_, i) => isKept(i)),
        next: next.filter((_, i) => isKept(i)),
        slices: among(slices),
        given: among(given),
      },
      kept: inUse.flatMap((node, i) => ((i < carries.length ? isKept(i) : used.has(node)) ? [i] : [])),
    });
  }
  return transform(roots, (node, original) => {
    const { operation, shape, dtype } = node;
    if (operation.kind !== "loop") return node;
    const { loop, kept } = trimmed.get(runName(original))!;
    return makeNode(
      { ...operation, loop },
      kept.map((i) => entered(node.inputs[i]!)),
      shape,
      dtype,
    );
  });
}

/** As it enters a loop: another shape of what lies there, or an array of what lies nowhere; when it is to be there stays. */
function entered(node: Node): Node {
  const { operation, inputs, shape, dtype } = node;
  if (dtype === "number") return node;
  const { kind } = operation;
  if (kind === "reshape") return entered(inputs[0]!);
  if (kind === "after") {
    const value = entered(inputs[0]!);
    return value === inputs[0] ? node : makeNode(operation, [value, ...inputs.slice(1)], value.shape, dtype);
  }
  if (kind !== "constant" && kind !== "iota" && kind !== "hostNumber") return node;
  return makeNode({ kind: "expand" }, [node], shape, dtype);
}

/** The kernel of a run, before its body is compiled. */
export function loopDraft(
  group: readonly Node[],
  stored: (node: Node) => ValueId | undefined,
  e: Expressions,
): Draft {
  const { operation, inputs } = group[0]!;
  const { loop } = operation as LoopOperation;
  const results = group.map((node) => {
    const { output, last } = node.operation as LoopOperation;
    return { value: stored(node)!, output, last, dtype: deviceDType(node) };
  });
  const operands = inputs.map((node) => {
    if (node.dtype === "number")
      return { source: (node.operation as Extract<Operation, { kind: "hostNumber" }>).index };
    return { value: stored(node)! };
  });
  return draftOfLoop({ kind: "loop", loop, operands, results }, e);
}

/** Compiles the body of a loop, once. */
export function finishLoop(
  { core, stores }: Draft,
  e: Expressions,
  compile: (roots: readonly Node[], leaves: readonly Node[], donated: ReadonlySet<number>) => Program,
): LoopKernel {
  if (core.kind !== "loop") return internal(`${core.kind} is no loop`);
  const { loop, operands, results } = core;
  const { steps, reversed, carries, slices, given, next } = loop;
  const step = placeFor({ shape: [], dtype: "number" });
  const at = cast(step, "int32");
  const roles = new Map<Node, Role>();
  const operandAt = (i: number): ValueId => {
    const operand = operands[i]!;
    return "value" in operand ? operand.value : internal("a loop carries or slices a number of the host");
  };
  const places = new Map<Node, Node>();
  carries.forEach((carry, i) => {
    const place = placeFor(carry);
    roles.set(place, { kind: "carry", at: i });
    places.set(carry, place);
  });
  slices.forEach((slice, i) => {
    const stack = placeFor({ shape: [steps, ...slice.shape], dtype: slice.dtype });
    roles.set(stack, { kind: "value", value: operandAt(carries.length + i) });
    places.set(slice, reshape(gather(stack, expand(at, [1, ...slice.shape]), 0), slice.shape));
  });
  const numbers: { readonly node: Node; readonly source: number }[] = [];
  given.forEach((leaf, i) => {
    const place = placeFor(leaf);
    const operand = operands[carries.length + slices.length + i]!;
    if ("source" in operand) numbers.push({ node: place, source: operand.source });
    else roles.set(place, { kind: "value", value: operand.value });
    places.set(leaf, place);
  });
  const kept = results.filter(({ value }) => stores.has(value));
  const each = kept.filter(({ last }) => !last);
  const made = substitute([...next, ...each.map(({ output }) => output)], places);
  const stacks = each.map(({ output, value }) => {
    const stack = placeFor({ shape: [steps, ...output.shape], dtype: output.dtype });
    roles.set(stack, { kind: "value", value });
    return stack;
  });
  const updated = stacks.map((stack, i) => {
    const part = made[next.length + i]!;
    const still = stack.shape.map(() => 0);
    const where = { start: still, step: still.map(() => 1), moving: [0], starts: [at] };
    return update(stack, reshape(part, [1, ...part.shape]), where);
  });
  const canonical = canonicalise([...made.slice(0, next.length), ...updated], false);
  const isStack = new Set(stacks);
  const donated = new Set(canonical.leaves.flatMap((leaf, i) => (isStack.has(leaf) ? [i] : [])));
  const body = compile(canonical.build(), canonical.leaves, donated);
  return {
    kind: "loop",
    steps,
    reversed,
    body,
    inputs: canonical.leaves.map((leaf) => roles.get(leaf)!),
    outputs: [...next.map((_, i): Role => ({ kind: "carry", at: i })), ...stacks.map((s) => roles.get(s)!)],
    carries: carries.map((_, i) => ({
      init: operandAt(i),
      last: kept.find(({ last, output }) => last && next.indexOf(output) === i)?.value,
    })),
    numbers: { scalars: canonical.scalars, step, given: numbers },
    reads: [...new Set(valuesInto(core))],
    stores: kept.map(({ value, dtype }) => ({ value, index: e.index(0), expr: e.constant(0, dtype) })),
  };
}
