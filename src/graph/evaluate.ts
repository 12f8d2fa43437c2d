import { coerce, convert, type HostArray, hostArray, isFloat, isInteger, isNarrow } from "../base/dtype.ts";
import { internal } from "../base/errors.ts";
import { numel, strides } from "../base/shape.ts";
import { checkHeld } from "./cast.ts";
import { checkIndices } from "./indices.ts";
import { type Node, type Storage, topological } from "./node.ts";
import { interpret } from "./procedure.ts";
import { neutral } from "./reduce.ts";

/** Values of a node in the reference evaluator: float64 for floats, whatever the dtype. */
export type Values = Float64Array;

export interface Leaves {
  /** Values of a settled node. */
  buffer(storage: Storage): ArrayLike<number>;
  /** Values of the argument of a traced function. */
  input(index: number): ArrayLike<number>;
}

const noLeaves: Leaves = {
  buffer: () => internal("evaluate: the graph has a buffer"),
  input: () => internal("evaluate: the graph has an argument"),
};

/**
 * The reference evaluator: every node directly, in float64, with no lowering and no fusion. It is the judge
 * of both backends and computes host numbers; it is slow and means to be obvious.
 *
 * @param known Values of nodes that are not computed.
 */
export function evaluate(
  roots: readonly Node[],
  leaves: Leaves = noLeaves,
  known: ReadonlyMap<Node, Values> = new Map(),
): Values[] {
  const memo = new Map(known);
  for (const node of topological(roots, (node) => !known.has(node))) {
    if (known.has(node)) continue;
    memo.set(
      node,
      evaluateNode(
        node,
        node.inputs.map((input) => memo.get(input)!),
        leaves,
      ),
    );
  }
  return roots.map((root) => memo.get(root)!);
}

/** The value of a host number or condition. */
export function evaluateHost(
  node: Node,
  leaves: Leaves = noLeaves,
  known?: ReadonlyMap<Node, Values>,
): number {
  return evaluate([node], leaves, known)[0]![0]!;
}

/** Rounds reference values to the dtype of a node. */
export function toHostArray(values: Values, node: Node): HostArray {
  const result = hostArray(node.dtype, values.length);
  for (let i = 0; i < values.length; i++) result[i] = coerce(values[i]!, node.dtype);
  return result;
}

function evaluateNode(node: Node, inputs: readonly Values[], leaves: Leaves): Values {
  const { operation, shape, dtype } = node;
  const size = numel(shape);
  const stride = strides(shape);
  const out = new Float64Array(size);
  const [x, y, z] = inputs;
  const xShape = node.inputs[0]?.shape ?? [];
  const whole = isInteger(dtype) || dtype === "bool";
  // Float64 throughout; only integers wrap.
  const times = (a: number, b: number) => (whole ? Math.imul(a, b) : a * b);
  const rounded = (value: number) => (whole ? coerce(value, dtype) : value);
  // Numbers of the host are not rounded before they meet a narrow float.
  const passed = isNarrow(dtype) ? "number" : dtype;
  /** Fills by pulling each output index back to an input index; undefined stands for `otherwise`. */
  const pull = (
    map: (index: number[]) => readonly number[] | undefined,
    source = x!,
    sourceShape = xShape,
    otherwise = 0,
  ) => {
    const apart = strides(sourceShape);
    eachIndex(shape, (index, i) => {
      const from = map(index);
      out[i] = from ? source[flatIndex(from, apart)]! : otherwise;
    });
    return out;
  };
  switch (operation.kind) {
    case "constant":
      return out.fill(coerce(operation.value, passed));
    case "input":
      out.set(leaves.input(operation.index));
      return out;
    case "hostNumber":
      return internal("evaluate: the graph belongs to a program");
    case "buffer":
      out.set(leaves.buffer(operation.storage));
      return out;
    case "iota":
      eachIndex(shape, (index, i) => {
        out[i] = index[operation.axis]!;
      });
      return out;
    case "scalar": {
      const { evaluate: f } = operation.op.row;
      const argument = node.inputs[node.inputs.length - 1]!.dtype;
      for (let i = 0; i < size; i++) {
        out[i] = rounded(f(x![i]!, y?.[i] ?? 0, z?.[i] ?? 0, isFloat(argument) ? "float64" : argument));
      }
      return out;
    }
    case "cast": {
      const from = node.inputs[0]!.dtype;
      if (operation.meets !== undefined) checkHeld(x![0]!, dtype, operation.meets);
      if (from === "number") return out.fill(convert(x![0]!, passed));
      for (let i = 0; i < size; i++)
        out[i] = whole ? (isFloat(from) ? convert : coerce)(x![i]!, dtype) : x![i]!;
      return out;
    }
    case "identity":
      if (operation.indices && dtype === "number") checkIndices(operation.indices, x!);
      return x!;
    case "after":
    case "reshape":
      return x!;
    case "expand":
      return pull((index) => index.map((at, axis) => (xShape[axis] === 1 ? 0 : at)));
    case "permute":
      return pull((index) => xShape.map((_, axis) => index[operation.axes.indexOf(axis)]!));
    case "flip":
      return pull((index) =>
        index.map((at, axis) => (operation.axes.includes(axis) ? xShape[axis]! - 1 - at : at)),
      );
    case "slice":
      return pull((index) => index.map((at, axis) => operation.start[axis]! + at * operation.step[axis]!));
    case "windows": {
      const { axis, step, dilation } = operation;
      return pull((index) => [
        ...index.slice(0, axis),
        index[axis]! * step + index[axis + 1]! * dilation,
        ...index.slice(axis + 2),
      ]);
    }
    case "pad":
      return pull(
        (index) => {
          const from = index.map((at, axis) => at - operation.before[axis]!);
          return from.every((at, axis) => at >= 0 && at < xShape[axis]!) ? from : undefined;
        },
        x,
        xShape,
        coerce(operation.value, passed),
      );
    case "cat": {
      let from = 0;
      node.inputs.forEach((part, i) => {
        eachIndex(part.shape, (index, at) => {
          const to = index.with(operation.axis, index[operation.axis]! + from);
          out[flatIndex(to, stride)] = inputs[i]![at]!;
        });
        from += part.shape[operation.axis]!;
      });
      return out;
    }
    case "update": {
      out.set(x!);
      const part = node.inputs[1]!.shape;
      const start = [...operation.start];
      operation.moving.forEach((axis, i) => {
        start[axis] = Math.min(Math.max(inputs[2 + i]![0]!, 0), shape[axis]! - part[axis]!);
      });
      eachIndex(part, (index, i) => {
        const to = index.map((at, axis) => start[axis]! + at * operation.step[axis]!);
        out[flatIndex(to, stride)] = y![i]!;
      });
      return out;
    }
    case "gather":
      return pull((index) => {
        const at = y![flatIndex(index, stride)]!;
        return index.with(operation.axis, Math.min(Math.max(at, 0), xShape[operation.axis]! - 1));
      });
    case "reduce": {
      out.fill(neutral(operation.name, dtype));
      const join = { sum: (a: number, b: number) => a + b, prod: times, max: Math.max, min: Math.min }[
        operation.name
      ];
      const kept = xShape.flatMap((_, axis) => (operation.axes.includes(axis) ? [] : [axis]));
      eachIndex(xShape, (index, i) => {
        const to = flatIndex(
          kept.map((axis) => index[axis]!),
          stride,
        );
        const [a, b] = [out[to]!, x![i]!];
        out[to] = rounded(join(a, b));
      });
      return out;
    }
    case "matmul": {
      const k = xShape[xShape.length - 1]!;
      const m = shape[shape.length - 2]!;
      const n = shape[shape.length - 1]!;
      for (let i = 0; i < size; i++) {
        const column = i % n;
        const row = Math.floor(i / n);
        const batch = Math.floor(row / m);
        let sum = 0;
        for (let p = 0; p < k; p++) {
          sum = rounded(sum + times(x![row * k + p]!, y![(batch * k + p) * n + column]!));
        }
        out[i] = sum;
      }
      return out;
    }
    case "cumsum": {
      const { axis } = operation;
      eachIndex(shape, (index, i) => {
        out[i] = index[axis] === 0 ? x![i]! : rounded(out[i - stride[axis]!]! + x![i]!);
      });
      return out;
    }
    case "scatterAdd": {
      out.set(x!);
      eachIndex(node.inputs[1]!.shape, (index, i) => {
        const at = y![i]!;
        if (at < 0 || at >= shape[operation.axis]!) return;
        const to = flatIndex(index.with(operation.axis, at), stride);
        out[to] = rounded(out[to]! + z![i]!);
      });
      return out;
    }
    case "procedure": {
      out.set(x!);
      const length = shape[shape.length - 1]!;
      const code = operation.procedure.code();
      for (let at = 0; at < size; at += length) interpret(code, out.subarray(at, at + length));
      return out;
    }
    case "loop":
      return runLoop(operation, inputs, out);
    default:
      return operation satisfies never;
  }
}

/** One step after the other. */
function runLoop(
  { loop, output, last }: Extract<Node["operation"], { kind: "loop" }>,
  inputs: readonly Values[],
  out: Values,
): Values {
  const { steps, reversed, carries, slices, given, next } = loop;
  let state = inputs.slice(0, carries.length);
  for (let i = 0; i < steps; i++) {
    const step = reversed ? steps - 1 - i : i;
    const known = new Map<Node, Values>();
    for (const [at, place] of carries.entries()) known.set(place, state[at]!);
    slices.forEach((place, at) => {
      const size = numel(place.shape);
      known.set(place, inputs[carries.length + at]!.slice(step * size, (step + 1) * size));
    });
    for (const [at, place] of given.entries()) known.set(place, inputs[carries.length + slices.length + at]!);
    const [value, ...after] = evaluate([output, ...next], noLeaves, known);
    if (!last) out.set(value!, step * numel(output.shape));
    else if (i === steps - 1) out.set(after[next.indexOf(output)]!);
    state = after;
  }
  return out;
}

function flatIndex(index: readonly number[], stride: readonly number[]): number {
  let sum = 0;
  for (let axis = 0; axis < index.length; axis++) sum += index[axis]! * stride[axis]!;
  return sum;
}

/** Visits every index of a shape in row-major order; the array is reused. */
function eachIndex(shape: readonly number[], visit: (index: number[], position: number) => void): void {
  const size = numel(shape);
  const index = new Array<number>(shape.length).fill(0);
  for (let position = 0; position < size; position++) {
    visit(index, position);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}
