import type { Problem } from "./subject.ts";

/** Experiments: what is usual, and what is at the edge of what optimizers do. */
export interface Scenario {
  readonly name: string;
  readonly problem: Problem;
  /** Whether the powers must fit it; otherwise what it lacks is a condition, which `needs` says. */
  readonly needs?: string;
  /** Whether rounding cannot turn a sign, so that factors that are no powers of two can be tried. */
  readonly generic: boolean;
}

const shape = [2, 3] as const;

/** Scenarios of some updates of a tensor; the same numbers each time. */
export function scenarios(updates: number): readonly Scenario[] {
  const size = shape[0] * shape[1];
  const draw = generator(20240229);
  const normal = () => {
    // Box and Muller; 1 - x is not 0.
    return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  };
  /** Away from 0, where one part in 10^5 more or less makes no difference to a sign. */
  const clear = () => {
    const x = normal();
    return Math.abs(x) < 0.05 ? 0.3 : x;
  };
  const vector = (f: (i: number) => number) => Float64Array.from({ length: size }, (_, i) => f(i));
  const series = (f: (t: number, i: number) => number) =>
    Array.from({ length: updates }, (_, t) => vector((i) => f(t, i)));
  const start = vector(clear);
  const random = series(clear);
  return [
    { name: "random gradients", generic: true, problem: { shape, start, gradients: random } },
    {
      name: "persistent gradients",
      generic: true,
      problem: { shape, start, gradients: series((_, i) => (i % 2 ? -1 : 1) * (1 + 0.5 * draw())) },
    },
    {
      name: "gradients of all sizes, some zero, some alternating",
      generic: false,
      problem: {
        shape,
        start: vector((i) => start[i]! * 2 ** (3 * i - 9)),
        gradients: series((t, i) => {
          // Every third update is small as a whole: norms differ too.
          const size = t % 3 === 1 ? 2 ** -20 : 1;
          if (i === 0) return t % 2 ? size : -size;
          if ((t + i) % 5 === 0) return 0;
          return size * clear() * 2 ** Math.round(24 * draw() - 12);
        }),
      },
    },
    {
      name: "a gradient that is zero in the first update",
      needs: "a first gradient that is not all zero",
      generic: false,
      problem: { shape, start, gradients: [vector(() => 0), ...random.slice(1)] },
    },
    {
      name: "parameters that start at zero",
      needs: "parameters that do not all start at zero",
      generic: false,
      problem: { shape, start: vector(() => 0), gradients: random },
    },
  ];
}

/** Uniform numbers from 0 to 1 (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}
