import { checkArgument, functionOf } from "../base/arguments.ts";
import { isFloat } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { describe, numel } from "../base/shape.ts";
import { cast } from "../graph/cast.ts";
import { isnan } from "../graph/elementwise.ts";
import { type Node, type Operation, topological, watchNodes } from "../graph/node.ts";
import { reduce } from "../graph/reduce.ts";
import { evaluateNodes, readNode } from "../runtime/evaluate.ts";
import { dependOnArguments } from "../runtime/tracing.ts";
import { leaves } from "./tree.ts";

/** What was known of a node when it was made: once it is evaluated it forgets. */
interface Made {
  readonly operation: Operation;
  readonly inputs: readonly Node[];
  readonly stack: string;
}

/** Nodes that are looked at in one program. */
const together = 64;

/**
 * Runs `f`, computes what it returns, a tree of tensors, and gives that, if there is no NaN in it. Otherwise it says which
 * operation gave the first one, what that was given, with the least and largest of each, and where in your code it was made.
 * It keeps every step and computes all of them one by one, so it is for finding faults. Compiled functions are one
 * operation to it: call the plain function inside.
 *
 * @throws ValueError where there is a NaN.
 * @example
 * const w = await debugNans(() => tensor([1, 2]).log());
 * // debugNans(() => tensor([-1, 2]).log()) says: log gave NaN first ... of float32[2] from -1 to 2
 */
export async function debugNans<T>(f: () => T | Promise<T>): Promise<T> {
  checkArgument("debugNans", "f", f, functionOf("a function"));
  const made = new Map<Node, Made>();
  const stop = watchNodes((node) => {
    const { operation, inputs } = node;
    made.set(node, { operation, inputs, stack: new Error().stack ?? "" });
  });
  let result: T;
  try {
    result = await f();
  } finally {
    stop();
  }
  const roots = leaves(result).map(({ node }) => node);
  await evaluateNodes(roots);
  const before = topological(roots, undefined, (node) => made.get(node)?.inputs ?? []);
  const candidates = before
    .filter((node) => isFloat(node.dtype) && numel(node.shape) > 0 && !dependOnArguments([node]))
    .sort((a, b) => a.id - b.id);
  for (let i = 0; i < candidates.length; i += together) {
    const some = candidates.slice(i, i + together);
    const flags = some.map(anyNaN);
    await evaluateNodes(flags);
    for (const [at, flag] of flags.entries())
      if ((await readNode(flag))[0] !== 0)
        throw new ValueError(await message(some[at]!, made.get(some[at]!)));
  }
  return result;
}

function anyNaN(node: Node): Node {
  const axes = node.shape.map((_, axis) => axis);
  return reduce("max", cast(isnan(node), "int32"), axes);
}

async function message(node: Node, made: Made | undefined): Promise<string> {
  if (!made || made.inputs.length === 0)
    return `debugNans: a tensor ${describe(node)} holds NaN to begin with${placeOf(made)}. Look at where its values come from.`;
  const { operation, inputs } = made;
  const name = operation.kind === "scalar" ? operation.op.row.name : operation.kind;
  const given: string[] = [];
  for (const input of inputs) given.push(await rangeOf(input));
  return `debugNans: ${name} gave NaN first, in ${describe(node)}, of ${given.join(" and ")}${placeOf(made)}.`;
}

/** `float32[2] from -1 to 2`. */
async function rangeOf(node: Node): Promise<string> {
  const values = await readNode(node);
  if (node.shape.length === 0) return `${node.dtype} ${values[0]}`;
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return `${describe(node)} from ${least} to ${most}`;
}

/** The frame of the user's code that made it: the first one outside of these files. */
function placeOf(made: Made | undefined): string {
  const frames = (made?.stack ?? "").split("\n").slice(1);
  const path = new URL("..", import.meta.url).href.replace(/^file:\/\//, "");
  const outside = frames.find(
    (frame) => /:\d+:\d+\)?$/.test(frame) && !frame.includes(path) && !frame.includes("node:"),
  );
  return outside ? `, made ${outside.trim()}` : "";
}
