import { integerRange } from "../base/dtype.ts";
import { numel } from "../base/shape.ts";
import { cast } from "./cast.ts";
import { add, bitwiseAnd, bitwiseXor, mul, rightShift } from "./elementwise.ts";
import { padAlong, reshape, sliceAlong, transpose, zeros } from "./movement.ts";
import { iota, type Node } from "./node.ts";
import { type Procedure, type Value, type Writer, written } from "./procedure.ts";
import { gather, runProcedure, scatterAdd } from "./reduce.ts";

// Stable sorts, and the first of a sorted row, as programs on rows of keys, the indices that are asked for, and room.

type W = Writer<"int">;
type Int = Value<"int">;

/** Up to how many elements are inserted one by one. */
const few = 32;

/**
 * A row is sorted whole unless it is so many times as long as what is wanted of it, and that is at most so many elements: of
 * 50,000 random ones the first 50 take a seventh of the time, of 8,000 the first 1000 more than twice as much (Xeon). What
 * costs most are rows that end with what is wanted: then the first 50 of 50,000 take 1.8 times as long as sorting.
 */
const muchLonger = 16;
const mostSelected = 256;

/** Of longer rows the first are looked for in blocks of so many elements, where invocations share rows. */
const block = 8192;

/**
 * Rows up to which invocations that share one sort it by exchanges. By digits 64 rows of 2500 take 0.3 to 0.5 of the
 * processor time, of 4096 0.2 to 0.4, and one row 0.3 to 1.3; what counts digits of up to 2200 elements, whose loops lavapipe writes out, takes it 2 to 3 s to
 * compile in place of 0.6 (lavapipe, Xeon).
 */
const sortedWhole = 2560;

/** Counters of invocations that look at a row together. */
const counters = 64;

/**
 * Keys are sorted by digits of so many bits, by many workgroups in chunks of a row of up to so many elements. Of 2^20 elements
 * digits of 7, 6, 5 and 4 bits take 1.2, 1.3, 1.4 and 1.8 times the processor time, chunks of twice the length 0.9 to 1.0 (lavapipe, Xeon); a
 * GPU is busier with more of them, which is not measured.
 */
const digitBits = 8;
const digits = 2 ** digitBits;
const chunk = 16384;

/** Where to the indices of rows go that put the keys of the last axis, int32 or float64 without NaN, in rising order. */
export function argsort(keys: Node): Node {
  const length = lengthOf(keys);
  const procedure = keys.dtype === "float64" ? merging(length) : counting(length);
  const room = length <= few && keys.dtype === "int32" ? length : 3 * length + 1024;
  const apart = (rows: Node) => {
    const order = inChunks(part(rows, 0, length));
    return padAlong(order, order.shape.length - 1, length, room - length);
  };
  const rows = runProcedure(procedure, longer(keys, room), length > sortedWhole ? apart : undefined);
  return cast(part(rows, length, length), "int32");
}

/** Of orders, which are permutations along an axis: where each place is in them. */
export function inverse(order: Node, axis: number): Node {
  return moved(iota(order.shape, axis), order, axis);
}

/** Elements at the places that permutations along an axis give them. */
const moved = (x: Node, to: Node, axis: number) => scatterAdd(zeros(x), to, x, axis, true);

/** The first k of `argsort`, of int32. */
export function firstOf(keys: Node, k: number): Node {
  const length = lengthOf(keys);
  if (muchLonger * k > length || k > mostSelected) return part(argsort(keys), 0, k);
  const rows = runProcedure(selecting(length, k), longer(keys, 2 * k), (rows) => {
    const found = firstOfBlocks(part(rows, 0, length), k);
    return padAlong(found, found.shape.length - 1, length, k);
  });
  return part(rows, length, k);
}

const lengthOf = ({ shape }: Node) => shape[shape.length - 1]!;

/** Rows with so many more elements. */
const longer = (rows: Node, room: number, value = 0) => padAlong(rows, rows.shape.length - 1, 0, room, value);

/** So many elements of each row, from a place on. */
const part = (rows: Node, from: number, count: number) =>
  sliceAlong(rows, rows.shape.length - 1, from, count);

/**
 * The first k are a heap with the last of them on top (J. W. J. Williams 1964), into which goes what comes before that. Of a
 * random row that is k (1 + log(length / k)) elements; the others are only looked at. Behind the keys are the indices, then
 * the keys of the heap.
 */
function selecting(length: number, k: number): Procedure {
  const [indices, kept] = [length, length + k];
  /** Puts a key into the first `count` places of the heap, from a place on downward. */
  const sink = (w: W, at: Int, count: Int, key: Int, index: Int) => {
    const before = (a: Int, i: Int, b: Int, j: Int) => a.lt(b).either(a.eq(b).both(i.lt(j)));
    const keyAt = (w: W, place: Int) => w.let(w.load(place.plus(kept)));
    const indexAt = (w: W, place: Int) => w.let(w.load(place.plus(indices)));
    const below = w.let(at.times(2).plus(1));
    w.while(below.lt(count), (w) => {
      const [later, laterIndex] = [keyAt(w, below), indexAt(w, below)];
      w.if(below.plus(1).lt(count), (w) => {
        const right = w.let(below.plus(1));
        const [other, otherIndex] = [keyAt(w, right), indexAt(w, right)];
        w.if(before(later, laterIndex, other, otherIndex), (w) => {
          w.set(below, right);
          w.set(later, other);
          w.set(laterIndex, otherIndex);
        });
      });
      w.if(
        before(key, index, later, laterIndex),
        (w) => {
          w.store(at.plus(kept), later);
          w.store(at.plus(indices), laterIndex);
          w.set(at, below);
          w.set(below, at.times(2).plus(1));
        },
        (w) => w.set(below, count),
      );
    });
    w.store(at.plus(kept), key);
    w.store(at.plus(indices), index);
  };
  return {
    text: `first ${k} of ${length}`,
    work: length / 2 + 11 * k * (1 + Math.log2(k)) * (2 + Math.log(length / k)),
    code: () =>
      written("int", (w) => {
        const whole = w.int(k);
        // From its last place on: what is below is a heap already.
        w.for(0, k, (w, i) => {
          const at = w.let(w.int(k - 1).minus(i));
          const index = w.let(at.plus(0));
          sink(w, at, whole, w.let(w.load(index)), index);
        });
        const at = w.let(w.int(k));
        const next = (w: W) => w.set(at, at.plus(w.firstBelow(at, w.int(length).minus(at), w.load(kept))));
        next(w);
        w.while(at.lt(length), (w) => {
          sink(w, w.let(w.int(0)), whole, w.let(w.load(at)), at);
          w.set(at, at.plus(1));
          next(w);
        });
        // The last is taken from the top to the end of what is left.
        w.for(1, k, (w, i) => {
          const end = w.let(whole.minus(i));
          const [key, index] = [w.let(w.load(end.plus(kept))), w.let(w.load(end.plus(indices)))];
          w.store(end.plus(indices), w.load(indices));
          sink(w, w.let(w.int(0)), end, key, index);
        });
      }),
    together: () => written("int", (w) => narrowing(w, length, k)),
  };
}

/**
 * The key of the last of them, two bits at a time: of four ranges the one is taken below which there are fewer than k keys.
 * What is less goes with what is equal, as far as there is room, in the order of the row behind it, and is sorted. Behind the row
 * and the room for that are counters.
 */
function narrowing(w: W, length: number, k: number): void {
  const [indices, kept, counts] = [length, length + k, length + 2 * k];
  const strip = Math.ceil(length / counters);
  const low = w.let(w.int(-(2 ** 31)));
  const one = (condition: Value<"truth">) => condition.select(w.int(1), 0);
  w.for(0, 16, (w, level) => {
    const step = w.let(w.int(1).shl(w.int(30).minus(level.times(2))));
    const bounds = [1, 2, 3].map((i) => w.let(low.plus(step.times(i))));
    w.each(counters, (w, counter) => {
      const below = bounds.map(() => w.let(w.int(0)));
      w.for(0, strip, (w, i) => {
        const at = w.let(i.times(counters).plus(counter));
        w.if(at.lt(length), (w) => {
          const key = w.let(w.load(at));
          for (const [i, count] of below.entries()) w.set(count, count.plus(one(key.lt(bounds[i]!))));
        });
      });
      for (const [i, count] of below.entries()) w.store(counter.plus(counts + i * counters), count);
    });
    const below = bounds.map(() => w.let(w.int(0)));
    w.for(0, counters, (w, other) => {
      for (const [i, sum] of below.entries()) w.set(sum, sum.plus(w.load(other.plus(counts + i * counters))));
    });
    const range = below.reduce((range, sum) => range.plus(one(sum.lt(k))), w.int(0));
    w.set(low, low.plus(step.times(range)));
  });
  /** Looks at a part of the row in its order. */
  const look = (w: W, own: Int, see: (w: W, at: Int, key: Int) => void) =>
    w.for(0, strip, (w, i) => {
      const at = w.let(own.times(strip).plus(i));
      w.if(at.lt(length), (w) => see(w, at, w.let(w.load(at))));
    });
  w.each(counters, (w, own) => {
    const [less, equal] = [w.let(w.int(0)), w.let(w.int(0))];
    look(w, own, (w, _, key) => {
      w.set(less, less.plus(one(key.lt(low))));
      w.set(equal, equal.plus(one(key.eq(low))));
    });
    w.store(own.plus(counts), less);
    w.store(own.plus(counts + counters), equal);
  });
  w.each(counters, (w, own) => {
    const [place, behind] = [w.let(w.int(0)), w.let(w.int(0))];
    w.for(0, counters, (w, other) => {
      const [less, equal] = [w.let(w.load(other.plus(counts))), w.load(other.plus(counts + counters))];
      w.set(behind, behind.plus(less));
      w.if(other.lt(own), (w) => {
        w.set(place, place.plus(less));
        w.set(behind, behind.plus(equal));
      });
    });
    const keep = (w: W, to: Int, at: Int, key: Int) => {
      w.store(to.plus(kept), key);
      w.store(to.plus(indices), at);
      w.set(to, to.plus(1));
    };
    look(w, own, (w, at, key) => {
      w.if(
        key.lt(low),
        (w) => keep(w, place, at, key),
        (w) => w.if(key.eq(low).both(behind.lt(k)), (w) => keep(w, behind, at, key)),
      );
    });
  });
  exchange(w, k, kept, indices);
}

/** The same, of blocks side by side, then of what comes first of each. */
function firstOfBlocks(keys: Node, k: number): Node {
  const length = lengthOf(keys);
  if (length <= sortedWhole) return part(argsort(keys), 0, k);
  const selected = (rows: Node) => {
    const length = lengthOf(rows);
    return part(runProcedure(selecting(length, k), longer(rows, 2 * k + 3 * counters)), length, k);
  };
  if (length <= block) return selected(keys);
  const outer = keys.shape.slice(0, -1);
  const blocks = Math.ceil(length / block);
  // Padding comes last, also behind what is equal to it.
  const full = longer(keys, blocks * block - length, integerRange.int32[1]);
  const rows = reshape(full, [...outer, blocks, block]);
  const best = selected(rows);
  const candidates = [...outer, blocks * k];
  const again = firstOfBlocks(reshape(gather(rows, best, outer.length + 1), candidates), k);
  const places = add(best, mul(iota(best.shape, outer.length), block));
  return gather(reshape(places, candidates), again, outer.length);
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
            const at = w.let(digit(key, pass).plus(counts + digits * pass));
            w.store(at, w.load(at).plus(1));
          }
        });
        for (let pass = 0; pass < 4; pass++) {
          const table = counts + digits * pass;
          runUp(w, w.let(w.int(0)), table, table + digits);
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
    together: () =>
      written("int", (w) => {
        w.each(length, (w, i) => w.store(i.plus(length), i));
        exchange(w, length, 0, length);
      }),
  };
}

/**
 * The same by many workgroups: each counts the digits of a chunk of a row, those that come before tell where its elements go, and
 * all go there side by side.
 */
function inChunks(keys: Node): Node {
  const length = lengthOf(keys);
  const rows = numel(keys.shape) / length;
  const chunks = Math.ceil(length / chunk);
  const strip = Math.ceil(length / chunks / counters);
  const size = strip * counters;
  // Padding comes last, also behind what is equal to it. The sign bit is turned, so that negative numbers come first.
  const full = longer(reshape(keys, [rows, length]), chunks * size - length, integerRange.int32[1]);
  let rest = bitwiseXor(full, -(2 ** 31));
  let order = iota(rest.shape, 1);
  for (let bits = 0; bits < 32; bits += digitBits) {
    const digit = reshape(bitwiseAnd(rest, digits - 1), [rows, chunks, size]);
    const ranked = runProcedure(ranking(strip), longer(digit, digits * counters));
    // Of the counters of a digit the last one has come to how many there are.
    const counted = reshape(part(ranked, size, digits * counters), [rows, chunks, digits, counters]);
    const table = reshape(transpose(part(counted, counters - 1, 1), 1, 2), [rows, digits * chunks]);
    const before = part(runProcedure(addingUp(digits * chunks), longer(table, counters)), 0, digits * chunks);
    const found = part(ranked, 0, size);
    const place = add(mul(bitwiseAnd(found, digits - 1), chunks), iota(found.shape, 1));
    const rank = rightShift(found, digitBits);
    const to = add(reshape(rank, rest.shape), gather(before, reshape(place, rest.shape), 1));
    order = moved(order, to, 1);
    rest = moved(rightShift(rest, digitBits), to, 1);
  }
  return reshape(part(order, 0, length), keys.shape);
}

/** In place of each digit of a chunk: how many of its kind come before it, and itself. */
function ranking(strip: number): Procedure {
  const length = strip * counters;
  /** Looks at a part of the chunk in its order; of each digit there is a counter. */
  const look = (w: W, own: Int, see: (w: W, at: Int, digit: Int, counter: Int) => void) =>
    w.for(0, strip, (w, i) => {
      const at = w.let(own.times(strip).plus(i));
      const digit = w.let(w.load(at));
      see(w, at, digit, w.let(digit.times(counters).plus(own).plus(length)));
    });
  return {
    text: `ranks of digits, ${length}`,
    work: 20 * length + 3 * digits * counters,
    code: () =>
      written("int", (w) => {
        w.each(counters, (w, own) =>
          look(w, own, (w, _, __, counter) => w.store(counter, w.load(counter).plus(1))),
        );
        w.each(digits, (w, digit) => {
          const from = w.let(digit.times(counters).plus(length));
          runUp(w, w.let(w.int(0)), from, from.plus(counters));
        });
        w.each(counters, (w, own) =>
          look(w, own, (w, at, digit, counter) => {
            const rank = w.let(w.load(counter));
            w.store(counter, rank.plus(1));
            w.store(at, rank.times(digits).plus(digit));
          }),
        );
      }),
  };
}

/** In place of each element: the sum of those before it. Behind the row is what parts of it come to. */
function addingUp(length: number): Procedure {
  const strip = Math.ceil(length / counters);
  return {
    text: `sums before each of ${length}`,
    work: 6 * length,
    code: () =>
      written("int", (w) => {
        const border = (w: W, own: Int) => {
          const at = w.let(own.times(strip));
          return w.let(at.lt(length).select(at, length));
        };
        w.each(counters, (w, own) => {
          const sum = w.let(w.int(0));
          w.for(border(w, own), border(w, own.plus(1)), (w, at) => w.set(sum, sum.plus(w.load(at))));
          w.store(own.plus(length), sum);
        });
        w.each(counters, (w, own) => {
          const sum = w.let(w.int(0));
          w.for(length, own.plus(length), (w, at) => w.set(sum, sum.plus(w.load(at))));
          runUp(w, sum, border(w, own), border(w, own.plus(1)));
        });
      }),
  };
}

/** Puts in place of each element what has come before, and adds it to that. */
function runUp(w: W, sum: Int, from: Int | number, to: Int | number): void {
  w.for(from, to, (w, at) => {
    const own = w.let(w.load(at));
    w.store(at, sum);
    w.set(sum, sum.plus(own));
  });
}

const digit = (key: Int, pass: number) => key.shr(digitBits * pass).and(digits - 1);

function insert(w: W, length: number): void {
  w.for(1, length, (w, i) => {
    const key = w.let(w.load(i));
    const at = w.let(i);
    // Of the first there is none before: it is compared with itself.
    const before = at.eq(0).select(at, at.minus(1));
    w.while(at.gt(0).both(key.lt(w.load(before))), (w) => {
      w.store(at, w.load(at.minus(1)));
      w.store(at.plus(length), w.load(at.plus(length - 1)));
      w.set(at, at.minus(1));
    });
    w.store(at, key);
    w.store(at.plus(length), i);
  });
}

/**
 * Bitonic sorting (K. E. Batcher 1968) with all exchanges in one direction, so that a row need not be as long as a power of
 * two: what is beyond its end would stay there. Equal keys go by their indices. Both lie in the array from a place on.
 */
function exchange(w: W, length: number, keys: number, indices: number): void {
  const levels = Math.ceil(Math.log2(Math.max(length, 1)));
  const step = (w: W, i: Int, turned: Int) => {
    const other = w.let(i.xor(turned));
    w.if(i.lt(other).both(other.lt(length)), (w) => {
      const [key, otherKey] = [w.let(w.load(i.plus(keys))), w.let(w.load(other.plus(keys)))];
      const [index, otherIndex] = [w.let(w.load(i.plus(indices))), w.let(w.load(other.plus(indices)))];
      w.if(otherKey.lt(key).either(otherKey.eq(key).both(otherIndex.lt(index))), (w) => {
        w.store(i.plus(keys), otherKey);
        w.store(other.plus(keys), key);
        w.store(i.plus(indices), otherIndex);
        w.store(other.plus(indices), index);
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
