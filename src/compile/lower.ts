import { coerce, computeDType, type DeviceDType, isFloat, isNarrow } from "../base/dtype.ts";
import { internal } from "../base/errors.ts";
import { getOrInsert } from "../base/group.ts";
import { type Shape, strides } from "../base/shape.ts";
import { elements, type Node, type Operation } from "../graph/node.ts";
import type { Expr, Expressions } from "./expr.ts";
import type { ValueId } from "./value.ts";

type Movement = Extract<Operation, { kind: "reshape" | "expand" | "permute" | "flip" | "slice" | "windows" }>;

/** Index along each axis. */
export type Index = readonly Expr[];

export interface LoweringOptions {
  readonly e: Expressions;
  /** The value that holds a node, or undefined where it is computed in place. */
  readonly stored: (node: Node) => ValueId | undefined;
  /** The place of a host number, rounded to a dtype, among the scalars of the program. */
  readonly scalarOf: (source: number, dtype: DeviceDType) => number;
  /** See `Target`. */
  readonly reach: number;
}

/**
 * Lowering is index pull-back: an element of a node is an expression in elements of stored values. Elementwise
 * operations apply to their inputs at the same index, movements map the index, a stored node is a load.
 */
export class Lowering {
  readonly e: Expressions;
  readonly #given: LoweringOptions;
  readonly #memo = new Map<string, Expr>();
  // Layers of a model are indexed alike: by their texts, indices of positions and positions of indices.
  readonly #indices = new Map<string, Index>();
  readonly #positions = new Map<string, Expr>();

  constructor(given: LoweringOptions) {
    this.e = given.e;
    this.#given = given;
  }

  /**
   * The element of `node` at `index`.
   *
   * @param guard Where it is false the element is not used, and its loads are moved to element 0 if they may lie far out.
   */
  element(node: Node, index: Index, guard?: Expr): Expr {
    // Nothing is stored of a node without elements, and no loop reads it.
    if (elements(node) === 0) return this.#constant(0, deviceDType(node));
    const value = this.#given.stored(node);
    if (value !== undefined) return this.#load(value, node, index, guard);
    return this.compute(node, index, guard);
  }

  /** The same for a node that is stored, from its inputs: what its kernel computes. */
  compute(node: Node, index: Index, guard?: Expr): Expr {
    const key = `${node.id}:${textOf(index)}:${guard?.id ?? ""}`;
    return getOrInsert(this.#memo, key, () => this.#compute(node, index, guard));
  }

  /** The index of each axis of `shape` at a position in row-major order. */
  unflatten(position: Expr, shape: readonly number[]): Index {
    return getOrInsert(this.#indices, `${position.id}:${shape.join()}`, () => {
      const stride = strides(shape);
      return shape.map((length, axis) =>
        this.e.digit(position, stride[axis]!, axis === 0 ? Infinity : stride[axis]! * length),
      );
    });
  }

  /** The position in row-major order. */
  flatten(index: Index, shape: readonly number[]): Expr {
    return getOrInsert(this.#positions, `${textOf(index)}:${shape.join()}`, () => {
      const stride = strides(shape);
      return this.e.combine(index.map((e, axis) => [stride[axis]!, e]));
    });
  }

  /** Where the part of an update begins along each axis. */
  starts({ operation, inputs, shape }: Node, guard?: Expr): Index {
    if (operation.kind !== "update") return internal(`${operation.kind} has no starts`);
    const [, part, ...moving] = inputs as [Node, Node, ...Node[]];
    return operation.start.map((start, axis) => {
      const place = operation.moving.indexOf(axis);
      if (place < 0) return this.e.index(start);
      const room = shape[axis]! - part.shape[axis]! + 1;
      return this.e.clamp(this.element(moving[place]!, [], guard), room);
    });
  }

  /** The element of one of `parts`, by halves: it passes through as many choices as a tree of them is deep. */
  #choose(parts: readonly Node[], axis: number, index: Index, guard: Expr | undefined): Expr {
    if (parts.length === 1) return this.element(parts[0]!, index, guard);
    const { e } = this;
    const middle = parts.length >> 1;
    const [left, right] = [parts.slice(0, middle), parts.slice(middle)];
    const length = (of: readonly Node[]) => of.reduce((sum, part) => sum + part.shape[axis]!, 0);
    const beyond = index.with(axis, e.combine([[1, index[axis]!]], -length(left)));
    const [first, second] = [e.inRange(index[axis]!, length(left)), e.inRange(beyond[axis]!, length(right))];
    const within = (inside: Expr) => (guard ? e.and(guard, inside) : inside);
    return e.select(
      first,
      this.#choose(left, axis, index, within(first)),
      this.#choose(right, axis, beyond, within(second)),
    );
  }

  #load(value: ValueId, node: Node, index: Index, guard: Expr | undefined): Expr {
    const position = this.flatten(index, node.shape);
    const dtype = deviceDType(node);
    const free = !guard || (isFloat(dtype) && this.#reaches(position, elements(node)));
    const safe = free ? position : this.e.select(guard, position, this.e.index(0));
    return this.e.load(value, safe, dtype);
  }

  /** Whether a position without its guard lies so near that it may be read. */
  #reaches(position: Expr, size: number): boolean {
    const { min, max } = this.e.bounds(position);
    const { reach } = this.#given;
    return reach > 0 && min >= -reach && max < size + reach;
  }

  /** Kernels know constants of a narrow float in what it is computed in, which holds them. */
  #constant(value: number, dtype: DeviceDType): Expr {
    const { e } = this;
    return isNarrow(dtype)
      ? e.cast(e.constant(coerce(value, dtype), computeDType(dtype)), dtype)
      : e.constant(value, dtype);
  }

  /** The host rounds it to the dtype; kernels know that of a narrow float likewise. */
  #hostNumber(source: number, dtype: DeviceDType): Expr {
    const { e } = this;
    const place = this.#given.scalarOf(source, dtype);
    return isNarrow(dtype)
      ? e.cast(e.hostNumber(place, computeDType(dtype)), dtype)
      : e.hostNumber(place, dtype);
  }

  #compute(node: Node, index: Index, guard: Expr | undefined): Expr {
    const { e } = this;
    const { operation, inputs } = node;
    const [x] = inputs;
    switch (operation.kind) {
      case "constant":
        return this.#constant(operation.value, deviceDType(node));
      case "hostNumber":
        return this.#hostNumber(operation.index, deviceDType(node));
      case "iota":
        return index[operation.axis]!;
      case "scalar":
        return e.apply(
          operation.op.row,
          inputs.map((input) => this.element(input, index, guard)),
          deviceDType(node),
        );
      case "cast":
        // A host number is rounded to the dtype by the host.
        if (x!.dtype === "number") {
          if (x!.operation.kind === "hostNumber")
            return this.#hostNumber(x!.operation.index, deviceDType(node));
          return internal("a number that is not a host number");
        }
        return e.cast(this.element(x!, index, guard), deviceDType(node));
      case "reshape":
      case "expand":
      case "permute":
      case "flip":
      case "slice":
      case "windows":
        return this.element(x!, this.#moved(operation, x!.shape, index, node.shape), guard);
      case "pad": {
        const from = index.map((at, axis) => e.combine([[1, at]], -operation.before[axis]!));
        const inside = from.reduce(
          (all, at, axis) => e.and(all, e.inRange(at, x!.shape[axis]!)),
          e.constant(1, "bool"),
        );
        const otherwise = this.#constant(operation.value, deviceDType(node));
        if (inside.kind === "constant" && !inside.value) return otherwise;
        const within = inside.kind === "constant" ? guard : guard ? e.and(guard, inside) : inside;
        return e.select(inside, this.element(x!, from, within), otherwise);
      }
      case "gather": {
        const length = x!.shape[operation.axis]!;
        const at = e.clamp(this.element(inputs[1]!, index, guard), length);
        return this.element(x!, index.with(operation.axis, at), guard);
      }
      case "cat":
        return this.#choose(inputs, operation.axis, index, guard);
      case "update": {
        const [base, part] = inputs as [Node, Node];
        const starts = this.starts(node, guard);
        let inside = e.constant(1, "bool");
        const from = index.map((at, axis) => {
          const [step, length] = [operation.step[axis]!, part.shape[axis]!];
          const beyond = e.combine([
            [1, at],
            [-1, starts[axis]!],
          ]);
          inside = e.and(inside, e.inRange(beyond, (length - 1) * step + 1));
          if (step === 1) return beyond;
          // Counted from a multiple of the step at or before 0: digits are of what is not negative.
          const before = Math.ceil(operation.start[axis]! / step);
          const shifted = e.combine([[1, beyond]], before * step);
          inside = e.and(inside, e.inRange(e.remainder(shifted, step), 1));
          return e.combine([[1, e.divide(shifted, step)]], -before);
        });
        const within = guard ? e.and(guard, inside) : inside;
        return e.select(inside, this.element(part, from, within), this.element(base, index, guard));
      }
      case "identity":
      case "after":
      case "input":
      case "buffer":
      case "reduce":
      case "matmul":
      case "cumsum":
      case "scatterAdd":
      case "procedure":
      case "loop":
        return internal(`${operation.kind} is not stored`);
      default:
        return operation satisfies never;
    }
  }

  /** Where a movement of an array of shape `from` takes the element at an index of its result. */
  #moved(operation: Movement, from: Shape, index: Index, to: Shape): Index {
    const { e } = this;
    switch (operation.kind) {
      case "reshape":
        return this.unflatten(this.flatten(index, to), from);
      case "expand":
        return index.map((at, axis) => (from[axis] === 1 ? e.index(0) : at));
      case "permute":
        return from.map((_, axis) => index[operation.axes.indexOf(axis)]!);
      case "flip":
        return index.map((at, axis) =>
          operation.axes.includes(axis) ? e.combine([[-1, at]], from[axis]! - 1) : at,
        );
      case "slice":
        return index.map((at, axis) => e.combine([[operation.step[axis]!, at]], operation.start[axis]!));
      case "windows": {
        const { axis, step, dilation } = operation;
        const [window, place] = [index[axis]!, index[axis + 1]!];
        const at = e.combine([
          [step, window],
          [dilation, place],
        ]);
        return [...index.slice(0, axis), at, ...index.slice(axis + 2)];
      }
      default:
        return operation satisfies never;
    }
  }
}

function textOf(index: Index): string {
  let text = "";
  for (const { id } of index) text += `${id},`;
  return text;
}

export function deviceDType(node: Node): DeviceDType {
  return node.dtype === "number" ? internal("a host number reached a kernel") : node.dtype;
}
