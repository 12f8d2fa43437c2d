import fc from "fast-check";
import { expect, test } from "vitest";
import type { Place } from "../../src/compile/program.ts";
import { assignSlots, type Lifetime } from "../../src/compile/slots.ts";
import { runs } from "../thorough.ts";

// Places of values: what is chosen without looking at every place is what looking at every place comes to.

type Assigned = ReturnType<typeof assignSlots>;

/** The rule of `assignSlots`, word for word. */
function byAllPlaces(lifetimes: readonly Lifetime[], maxBuffer: number): Assigned {
  const slots: { bytes: number; held: (Lifetime & { offset: number })[] }[] = [];
  const places = new Map<number, Extract<Place, { kind: "slot" }>>();
  const idle = (a: Lifetime, b: Lifetime) => Math.max(a.from - b.to, b.from - a.to);
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || b.to - a.to)) {
    const meets = lifetimes.filter(({ value, beside }) => life.beside.has(value) || beside.has(life.value));
    let best: readonly [growth: number, mixed: number, idle: number, index: number, offset: number] = [
      life.bytes,
      0,
      Infinity,
      slots.length,
      0,
    ];
    slots.forEach(({ bytes, held }, index) => {
      const ends = held.map((other) => Math.ceil((other.offset + other.bytes) / 256) * 256);
      const together = held.filter((other) => idle(life, other) <= 0);
      const mixed = meets.some(({ value }) => places.get(value)?.index === index) ? 1 : 0;
      const alone = life.alone || held.some((other) => other.alone);
      if (alone && (together.length > 0 || held.some(({ offset }) => offset > 0))) return;
      for (const offset of [0, ...together.map((other) => ends[held.indexOf(other)]!)]) {
        const end = offset + life.bytes;
        const shares = (other: { offset: number; bytes: number }) =>
          other.offset < end && offset < other.offset + other.bytes;
        if (end > maxBuffer || together.some(shares)) continue;
        const growth = Math.max(0, end - bytes);
        const least = Math.min(Infinity, ...held.filter(shares).map((other) => idle(life, other)));
        if (growth === life.bytes) continue;
        const better = growth - best[0] || mixed - best[1] || (least === best[2] ? 0 : least - best[2]);
        if (better < 0) best = [growth, mixed, least, index, offset];
      }
    });
    const [growth, , , index, offset] = best;
    slots[index] ??= { bytes: 0, held: [] };
    slots[index].bytes += growth;
    slots[index].held.push({ ...life, offset });
    places.set(life.value, { kind: "slot", index, offset });
  }
  return { slots: slots.map(({ bytes }) => bytes), places };
}

const values = fc
  .array(
    fc.record({
      from: fc.nat(150),
      // Most values live briefly, and some for long.
      length: fc.oneof(fc.nat(3), fc.nat(3), fc.nat(150)),
      bytes: fc.oneof(fc.constantFrom(4, 100, 256, 512, 1000, 4096), fc.integer({ min: 1, max: 3000 })),
      reads: fc.array(fc.nat(60), { maxLength: 3 }),
      alone: fc.integer({ min: 0, max: 14 }).map((draw) => draw === 0),
    }),
    { minLength: 1, maxLength: 60 },
  )
  .map((list) =>
    list.map(({ from, length, bytes, reads, alone }, value): Lifetime => {
      const beside = new Set(reads.filter((read) => read < list.length && read !== value));
      return { value, bytes, from, to: from + length, beside, alone };
    }),
  );

test("values lie where looking at every place puts them", () => {
  fc.assert(
    fc.property(values, fc.constantFrom(Infinity, 3000), (lifetimes, maxBuffer) => {
      const { slots, places } = assignSlots(lifetimes, maxBuffer);
      const expected = byAllPlaces(lifetimes, maxBuffer);
      expect(slots).toEqual(expected.slots);
      expect([...places]).toEqual([...expected.places]);
    }),
    { numRuns: runs(300) },
  );
});
