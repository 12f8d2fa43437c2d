import { numel, type Shape, sameShape } from "../base/shape.ts";
import { add, bitwiseAnd, ge, lt, maximum, minimum, sub, where } from "./elementwise.ts";
import { expand, reshape, slice } from "./movement.ts";
import { constant, iota, makeNode, type Node } from "./node.ts";
import { gather } from "./reduce.ts";

// Values made of parts that may be written by several kernels (compile/schedule.ts), and how parts are read.

/** Tensors one after the other along `axis`; other axes and dtypes are equal. */
export function cat(parts: readonly Node[], axis: number): Node {
  if (parts.length === 1) return parts[0]!;
  const { shape, dtype } = parts[0]!;
  const length = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
  return makeNode({ kind: "cat", axis }, parts, shape.with(axis, length), dtype);
}

/** Where a part lies in a base: element i along an axis at `start + i * step`. */
export interface Region {
  readonly start: readonly number[];
  readonly step: readonly number[];
  /** Axes whose start is known when a program runs; `start` and `step` are 0 and 1 there. */
  readonly moving: readonly number[];
  /** Their starts: int32 scalars, taken so that the part fits. */
  readonly starts: readonly Node[];
}

/** `base` with `part` in the place of a region of its shape. */
export function update(base: Node, part: Node, { start, step, moving, starts }: Region): Node {
  if (numel(part.shape) === 0) return base;
  if (sameShape(part.shape, base.shape)) return part;
  return makeNode({ kind: "update", start, step, moving }, [base, part, ...starts], base.shape, base.dtype);
}

/** The same where each slice along the first axis has starts of its own: every element is chosen, base or part. */
export function updateEach(base: Node, part: Node, { start, step, moving, starts }: Region): Node {
  const still = base.shape.map((length, axis) => (moving.includes(axis) ? length : part.shape[axis]!));
  let inside = constant(1, "bool");
  let values = part;
  for (const [i, axis] of moving.entries()) {
    const [length, count] = [base.shape[axis]!, part.shape[axis]!];
    const column = base.shape.map(() => 1).with(0, base.shape[0]!);
    const first = reshape(minimum(maximum(starts[i]!, 0), length - count), column);
    const at = sub(iota(column.with(axis, length), axis), first);
    inside = bitwiseAnd(inside, bitwiseAnd(ge(at, 0), lt(at, count)));
    const wide = values.shape.with(axis, length);
    values = gather(values, expand(minimum(maximum(at, 0), count - 1), wide), axis);
  }
  const old = slice(base, start, still, step);
  return update(base, where(inside, values, old), { start, step, moving: [], starts: [] });
}

/** The elements of a region. */
export function region(x: Node, shape: Shape, { start, step, moving, starts }: Region): Node {
  const still = x.shape.map((length, axis) => (moving.includes(axis) ? length : shape[axis]!));
  return moving.reduce(
    (part, axis, i) => {
      const count = shape[axis]!;
      const line = part.shape.map(() => 1).with(axis, count);
      const first = minimum(maximum(starts[i]!, 0), Math.max(x.shape[axis]! - count, 0));
      const index = add(expand(first, line), iota(line, axis));
      return gather(part, expand(index, part.shape.with(axis, count)), axis);
    },
    slice(x, start, still, step),
  );
}
