import { isIntegerIn, refuseFurther, show } from "../base/arguments.ts";
import { integerRange } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import { cast, meet } from "../graph/cast.ts";
import { expand, reshape } from "../graph/movement.ts";
import { constant, iota, type Node } from "../graph/node.ts";
import { threefry } from "../graph/threefry.ts";
import { Tensor } from "./tensor.ts";

/**
 * Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A key is a place in a tree of streams; element i of a draw is a function of key and i
 * alone. All arithmetic is on integers, so that every backend draws the same bits, normal numbers too.
 */
export class Key {
  /** @internal Two uint32 words. */
  readonly words: readonly [Node, Node];
  /** @internal All that is drawn of it are zeros, for the sake of shapes. */
  readonly blank: boolean;

  /** @internal */
  constructor(words: readonly [Node, Node], blank = false) {
    this.words = words;
    this.blank = blank;
  }

  /**
   * The key of a purpose, a parameter path, a step or an example below this one. A number may change from step to step
   * without anything being compiled again; an int32 scalar, such as `vmap` gives one of a vector, gives the key of the
   * number that it holds.
   *
   * @example
   * random.key(0).fold("dropout").fold("layers.0").fold(step)
   */
  fold(data: string | number | Tensor<"number"> | Tensor<"int32">): Key {
    if (typeof data !== "string" && typeof data !== "number" && !(data instanceof Tensor))
      throw new ValueError(`fold: takes a name or an integer; given ${show(data)}.`);
    if (this.blank) return this;
    const word = typeof data === "string" ? constant(hash(data), "uint32", true) : whole(data);
    // Names and numbers are told apart by the second counter word, so that "1" and 1 differ.
    return new Key(threefry(this.words, [word, constant(typeof data === "string" ? 1 : 2, "uint32")]));
  }
}

refuseFurther(Key.prototype, {});

/** The root key of a seed, an integer from 0 to 2^32 - 1. */
export function key(seed: number): Key {
  if (!isIntegerIn(seed, ...integerRange.uint32))
    throw new ValueError(`random.key: seed ${show(seed)} is not an integer from 0 to 2^32 - 1.`);
  return new Key([constant(seed, "uint32", true), constant(0, "uint32")]);
}

/** A key whose draws have shapes and no numbers worth having: those of a whole model are a small graph. */
export function blankKey(): Key {
  const zero = constant(0, "uint32");
  return new Key([zero, zero], true);
}

/** Random words of 32 bits. */
export function draw(operation: string, key: Key, shape: Shape): Node {
  if (!(key instanceof Key))
    throw new ValueError(`${operation}: the key is ${show(key)}; make one with random.key(0).`);
  checkShape(operation, shape);
  if (numel(shape) > integerRange.int32[1])
    throw new ShapeError(
      `${operation}: [${shape.join(",")}] has more than 2^31 - 1 elements. Draw in parts, of keys of their own.`,
    );
  if (key.blank) return expand(constant(0, "uint32"), shape);
  const counter = cast(iota([numel(shape)], 0), "uint32");
  const [word] = threefry(key.words, [counter, constant(0, "uint32")]);
  return expand(reshape(word, shape), shape);
}

function whole(data: number | Tensor<"number"> | Tensor<"int32">): Node {
  if (typeof data !== "number") {
    if (data.dtype === "int32" && data.rank === 0) return cast(data.node, "uint32");
    if (data.dtype !== "number")
      throw new DTypeError(
        `fold: takes a name, an integer, a host number or an int32 scalar; given ${data}.`,
      );
    return meet(data.node, "uint32", "fold");
  }
  if (!isIntegerIn(data, ...integerRange.uint32))
    throw new ValueError(`fold: ${data} is not an integer from 0 to 2^32 - 1.`);
  return constant(data, "uint32", true);
}

/** FNV-1a over UTF-16 units. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
