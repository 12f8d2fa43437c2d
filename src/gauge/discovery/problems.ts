import { generator } from "../../base/generator.ts";
import { numel, type Shape } from "../../base/shape.ts";

/** A tensor that is trained, and whether it is multiplied by c; then its gradients are divided by c. */
export interface Trained {
  readonly key: string;
  readonly shape: Shape;
  readonly scaled: boolean;
}

/** What an experiment starts from and the gradients that it gets: one array for each tensor. */
export interface Problem {
  readonly tensors: readonly Trained[];
  readonly start: readonly Float64Array[];
  /** By update. */
  readonly gradients: readonly (readonly Float64Array[])[];
}

/** Experiments: what is usual, and what is at the edge of what optimizers do. */
export interface Scenario {
  readonly name: string;
  readonly problem: Problem;
  /** Whether the powers must fit it; otherwise what it lacks is a condition, which `needs` says. */
  readonly needs?: string;
  /** Exponents of the factors to try: c is 2 to them, in multiples of the least for which all powers are exact. */
  readonly exponents: readonly number[];
  /** Whether rounding cannot turn a sign, so that factors that are no powers of two can be tried. */
  readonly generic: boolean;
  /** Updates from which equations are made; none where it is a test only. */
  readonly equations: number;
  /** Whether runs go on after the counters in the state are set ahead. */
  readonly late?: boolean;
  /** Whether runs are made with the hyperparameters as they were given. */
  readonly given?: boolean;
}

/** What a problem is about: one tensor, or the two factors of a layer of which one is scaled. */
export function trainedOf(shape: Shape, pair: "A" | "B" | undefined): readonly Trained[] {
  if (pair === undefined) return [{ key: "theta", shape, scaled: true }];
  const [r, n] = shape as [number, number];
  return [
    { key: "loraA", shape: [r, n], scaled: pair === "A" },
    { key: "loraB", shape: [n + 1, r], scaled: pair === "B" },
  ];
}

export function showShape(tensors: readonly Trained[]): string {
  return tensors.map(({ shape }) => `[${shape.join(",")}]`).join(" and ");
}

/** Updates to which counters are set ahead. */
export const lateUpdates = [1e3, 1e4, 1e5, 1e6] as const;

const near = [1, -1, 5, -7];
/** With these, constants of 10^-60 and of 10^60 make a difference. */
const far = [30, -30, 100, -100, 250, -250];

/** Scenarios for tensors of a shape; the same numbers each time. `first` is the shape that is looked at most closely. */
export function scenarios(
  tensors: readonly Trained[],
  {
    updates,
    horizon,
    first,
  }: { readonly updates: number; readonly horizon: number; readonly first: boolean },
): readonly Scenario[] {
  const draw = generator(20240229);
  // Box and Muller; 1 - x is not 0.
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  /** Away from 0, where one part in 10^5 more or less makes no difference to a sign. */
  const clear = () => {
    const x = normal();
    return Math.abs(x) < 0.05 ? 0.3 : x;
  };
  const vectors = (f: (i: number) => number) =>
    tensors.map(({ shape }) => Float64Array.from({ length: numel(shape) }, (_, i) => f(i)));
  const series = (length: number, f: (t: number, i: number) => number) =>
    Array.from({ length }, (_, t) => vectors((i) => f(t, i)));
  const start = vectors(clear);
  const random = series(updates, clear);
  const widely: Problem = {
    tensors,
    start: start.map((values) => values.map((x, i) => x * 2 ** (3 * (i % 6) - 9))),
    gradients: series(updates, (t, i) => {
      // Every third update is small as a whole: norms differ too.
      const size = t % 3 === 1 ? 2 ** -20 : 1;
      if (i === 0) return t % 2 ? size : -size;
      if ((t + i) % 5 === 0) return 0;
      return size * clear() * 2 ** Math.round(24 * draw() - 12);
    }),
  };
  const few = Math.min(updates, 3);
  const equations = first ? updates : Math.min(updates, 6);
  const usual = { tensors, start, gradients: random };
  const base = { exponents: near, generic: false, equations: 0 };
  return [
    { ...base, name: "random gradients", generic: true, equations, problem: usual },
    {
      ...base,
      name: "persistent gradients",
      generic: true,
      equations,
      problem: {
        tensors,
        start,
        gradients: series(updates, (_, i) => (i % 2 ? -1 : 1) * (1 + 0.5 * draw())),
      },
    },
    { ...base, name: "gradients of all sizes, some zero, some alternating", equations, problem: widely },
    {
      ...base,
      name: "a gradient that is zero in the first update",
      needs: "a first gradient that is not all zero",
      problem: { tensors, start, gradients: [vectors(() => 0), ...random.slice(1)] },
    },
    {
      ...base,
      name: "parameters that start at zero",
      needs: "parameters that do not all start at zero",
      problem: { tensors, start: vectors(() => 0), gradients: random },
    },
    { ...base, name: "random gradients, hyperparameters as given", given: true, problem: usual },
    ...[usual, widely].map((problem, i) => ({
      ...base,
      name: `random gradients${i ? " of all sizes" : ""}, far scaled`,
      exponents: far,
      problem: { ...problem, gradients: problem.gradients.slice(0, few) },
    })),
    {
      ...base,
      name: `${horizon} updates with gradients that wax and wane`,
      exponents: first ? [1, -30] : [-1],
      late: true,
      problem: {
        tensors,
        start,
        gradients: series(
          first ? horizon : Math.min(horizon, 40),
          (t, i) => (clear() + (i % 2)) * 2 ** (10 * Math.sin(t / 20)),
        ),
      },
    },
  ];
}
