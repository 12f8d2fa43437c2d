import type { Shape } from "../base/shape.ts";
import { cast } from "./cast.ts";
import { pad, slice } from "./movement.ts";
import type { Node } from "./node.ts";
import { type Procedure, type Writer, written } from "./procedure.ts";
import { runProcedure } from "./reduce.ts";

// Stable sorts, as programs on rows of keys, the indices that are asked for, and room.

/** Up to how many elements are inserted one by one. */
const few = 32;

/** Where to the indices of rows go that put the keys of the last axis, int32 or float64 without NaN, in rising order. */
export function argsort(keys: Node): Node {
  const length = keys.shape[keys.shape.length - 1]!;
  const procedure = keys.dtype === "float64" ? merging(length) : counting(length);
  const last = (at: number): Shape => keys.shape.map((_, axis) => (axis === keys.shape.length - 1 ? at : 0));
  const room = length <= few && keys.dtype === "int32" ? length : 3 * length + 1024;
  const rows = runProcedure(procedure, pad(keys, last(0), last(room)));
  return cast(slice(rows, last(length), keys.shape), "int32");
}

/** By four digits of eight bits, the lowest first: each pass keeps the order of what has the same digit (H. H. Seward 1954). */
function counting(length: number): Procedure {
  const counts = 4 * length;
  return {
    text: `argsort ${length}`,
    work: length <= few ? 2 * length * length : 40 * length + 5000,
    code: () =>
      written("int", (w) => {
        w.for(0, length, (w, i) => w.store(i.plus(length), i));
        if (length <= few) {
          insert(w, length);
          return;
        }
        // All digits are counted at once; the sign bit is turned, so that negative numbers come first.
        w.for(0, length, (w, i) => {
          const key = w.let(w.load(i).xor(-(2 ** 31)));
          w.store(i, key);
          for (let pass = 0; pass < 4; pass++) {
            const at = w.let(digit(key, pass).plus(counts + 256 * pass));
            w.store(at, w.load(at).plus(1));
          }
        });
        for (let pass = 0; pass < 4; pass++) {
          const table = counts + 256 * pass;
          const sum = w.let(w.int(0));
          w.for(table, table + 256, (w, at) => {
            const count = w.let(w.load(at));
            w.store(at, sum);
            w.set(sum, sum.plus(count));
          });
          const [from, to] = pass % 2 === 0 ? [0, 2 * length] : [2 * length, 0];
          w.for(0, length, (w, i) => {
            const key = w.let(w.load(i.plus(from)));
            const at = w.let(digit(key, pass).plus(table));
            const place = w.let(w.load(at));
            w.store(at, place.plus(1));
            w.store(place.plus(to), key);
            w.store(place.plus(to + length), w.load(i.plus(from + length)));
          });
        }
      }),
    together: () => written("int", (w) => exchange(w, length)),
  };
}

const digit = (key: ReturnType<Writer<"int">["int"]>, pass: number) => key.shr(8 * pass).and(255);

function insert(w: Writer<"int">, length: number): void {
  w.for(1, length, (w, i) => {
    const key = w.let(w.load(i));
    const at = w.let(i);
    // Of the first there is none before: it is compared with itself.
    const before = at.eq(0).select(at, at.minus(1));
    w.while(
      w
        .int(0)
        .lt(at)
        .both(key.lt(w.load(before))),
      (w) => {
        w.store(at, w.load(at.minus(1)));
        w.store(at.plus(length), w.load(at.plus(length - 1)));
        w.set(at, at.minus(1));
      },
    );
    w.store(at, key);
    w.store(at.plus(length), i);
  });
}

/**
 * Bitonic sorting (K. E. Batcher 1968) with all exchanges in one direction, so that a row need not be as long as a power of
 * two: what is beyond its end would stay there. Equal keys go by their indices.
 */
function exchange(w: Writer<"int">, length: number): void {
  w.each(length, (w, i) => w.store(i.plus(length), i));
  const levels = Math.ceil(Math.log2(Math.max(length, 1)));
  const step = (
    w: Writer<"int">,
    i: ReturnType<Writer<"int">["int"]>,
    turned: ReturnType<Writer<"int">["int"]>,
  ) => {
    const other = w.let(i.xor(turned));
    w.if(i.lt(other).both(other.lt(length)), (w) => {
      const [key, otherKey] = [w.let(w.load(i)), w.let(w.load(other))];
      const [index, otherIndex] = [w.let(w.load(i.plus(length))), w.let(w.load(other.plus(length)))];
      w.if(otherKey.lt(key).either(otherKey.eq(key).both(otherIndex.lt(index))), (w) => {
        w.store(i, otherKey);
        w.store(other, key);
        w.store(i.plus(length), otherIndex);
        w.store(other.plus(length), index);
      });
    });
  };
  w.for(1, levels + 1, (w, level) => {
    w.each(length, (w, i) => step(w, i, w.int(1).shl(level).minus(1)));
    w.for(1, level, (w, down) => {
      w.each(length, (w, i) => step(w, i, w.int(1).shl(level.minus(down).minus(1))));
    });
  });
}

/** Runs of twice the length at each pass (J. von Neumann 1945). */
function merging(length: number): Procedure {
  return {
    text: `argsort ${length}, float64`,
    work: 10 * length * Math.max(1, Math.log2(Math.max(length, 2))),
    code: () =>
      written("real", (w) => {
        w.for(0, length, (w, i) => w.store(i.plus(length), i.toReal()));
        let [from, to] = [0, 2 * length];
        for (let run = 1; run < length; run *= 2) {
          const [source, target] = [from, to];
          const [left, right] = [w.let(w.int(0)), w.let(w.int(0))];
          const [middle, end] = [w.let(w.int(0)), w.let(w.int(0))];
          const least = (x: typeof left) => x.lt(length).select(x, length);
          w.for(0, length, (w, at) => {
            w.if(at.rem(2 * run).eq(0), (w) => {
              w.set(left, at);
              w.set(middle, least(at.plus(run)));
              w.set(right, middle);
              w.set(end, least(at.plus(2 * run)));
            });
            const first = w.load(left.plus(source)).le(w.load(right.plus(source)));
            const taken = w.let(left.lt(middle).both(end.le(right).either(first)).select(left, right));
            w.store(at.plus(target), w.load(taken.plus(source)));
            w.store(at.plus(target + length), w.load(taken.plus(source + length)));
            w.if(
              taken.lt(middle),
              (w) => w.set(left, left.plus(1)),
              (w) => w.set(right, right.plus(1)),
            );
          });
          [from, to] = [to, from];
        }
        if (from !== 0) w.for(0, length, (w, i) => w.store(i.plus(length), w.load(i.plus(3 * length))));
      }),
  };
}
