import fc from "fast-check";
import { anyAlpha, isUnusual, isUnusualRank, loraConfig, scalingOf } from "./arbitrary/lora.ts";
import { matrix, quarter } from "./arbitrary/values.ts";
import { close, identical, largest, untouched } from "./compare.ts";
import { type Awaitable, type Law, law, orRefused } from "./law.ts";
import { type Matrix, map, multiply, plus, times, transpose, zeros } from "./matrix.ts";

/** A trained adapter of a linear layer. */
export interface AdapterUnderTest {
  /** `[r, in]` */
  readonly A: Matrix;
  /** `[out, r]` */
  readonly B: Matrix;
  readonly r: number;
  readonly alpha: number;
  /** The scaling is alpha / sqrt(r) instead of alpha / r. */
  readonly rsLora: boolean;
}

/** A layer that holds several adapters, of which one is active: it may change from call to call. */
export interface AdapterSwitch {
  activate(index: number): Awaitable<void>;
  /** `[batch, out]` for inputs `[batch, in]`, with the active adapter. */
  forward(x: Matrix): Awaitable<Matrix>;
}

/** Merging and combining adapters, of any library; laws about what is missing are left out. */
export interface Merging {
  /** The weight `[out, in]` with `strength` times the adapter in it. */
  merge(weight: Matrix, adapter: AdapterUnderTest, strength: number): Awaitable<Matrix>;
  /** Takes a merged adapter of strength 1 off again. */
  unmerge?(weight: Matrix, adapter: AdapterUnderTest): Awaitable<Matrix>;
  /** One adapter in place of several with weights. */
  combine?(adapters: readonly AdapterUnderTest[], weights: readonly number[]): Awaitable<AdapterUnderTest>;
  /** Whether the combination is exactly the weighted sum of the adapters' changes, as `cat` is. Default false. */
  readonly additive?: boolean;
  /** Whether `combine` takes adapters of one rank only. Default false. */
  readonly sameRank?: boolean;
  /** A layer with several adapters, none of them merged. */
  switching?(weight: Matrix, adapters: readonly AdapterUnderTest[]): Awaitable<AdapterSwitch>;
  /** Largest rounding error, as a share of the terms that are added. Default 1e-5, which float32 keeps. */
  readonly tolerance?: number;
}

/** The change of the weight that an adapter stands for, scaling B A. */
function delta({ A, B, ...config }: AdapterUnderTest): Matrix {
  return times(scalingOf(config), multiply(B, A));
}

function sizeOf(weight: Matrix, ...adapters: readonly AdapterUnderTest[]): number {
  const size = (x: Matrix) => map(x, Math.abs);
  const sizes = adapters.map((one) => delta({ ...one, A: size(one.A), B: size(one.B) }));
  return largest([size(weight), ...sizes].reduce(plus));
}

/**
 * The laws of merging, W + strength scaling B A, and of combining adapters: merging is undone, proportional to the
 * strength and in any order the same; a combination leaves its sources alone, and one adapter of weight 1 is its
 * own combination; each adapter of several keeps its scaling when it is switched to.
 *
 * @example
 * for (const { name, property } of laws.merge(mine)) test(name, () => fc.assert(property));
 */
export function merge(subject: Merging): readonly Law[] {
  const { tolerance = 1e-5 } = subject;
  const own = guarded(subject);
  return [
    ...merging(own, tolerance),
    mergingIsPure(subject),
    ...(combines(own) ? combining(own, tolerance) : []),
    ...(combines(subject) ? [combiningIsPure(subject)] : []),
    ...(subject.switching ? [switching(subject.switching, tolerance)] : []),
  ];
}

type Combining = Merging & Required<Pick<Merging, "combine">>;

function combines(subject: Merging): subject is Combining {
  return subject.combine !== undefined;
}

/** An alpha or a rank that some libraries have reasons to refuse, and a weight. */
const refusable = ({ A, B, r, alpha }: AdapterUnderTest) =>
  isUnusual(alpha) || isUnusualRank(r, { in: A[0]?.length ?? 0, out: B.length });
const anyUnusual = (adapters: readonly AdapterUnderTest[], weights: readonly number[]) =>
  adapters.some(refusable) || weights.some((weight) => weight <= 0);

/**
 * The functions on copies of their arguments: if they change them, one law says so, and no other one fails for it.
 * What is negative, a weight of 0, an alpha that is no whole number and a rank above the weight's they may refuse.
 */
function guarded(subject: Merging): Merging {
  const { combine, unmerge } = subject;
  const copied =
    <A extends unknown[], R>(call: (...args: A) => Awaitable<R>, unusual: (...args: A) => boolean) =>
    (...args: A): Promise<R> =>
      orRefused(unusual(...args), () => call.apply(subject, structuredClone(args)));
  return {
    ...subject,
    merge: copied(subject.merge, (_, adapter, strength) => refusable(adapter) || strength < 0),
    ...(unmerge && { unmerge: copied(unmerge, (_, adapter) => refusable(adapter)) }),
    ...(combine && {
      combine: copied(combine, anyUnusual),
    }),
  };
}

function merging(subject: Merging, tolerance: number): Law[] {
  const whole = law(
    "merging adds scaling B A",
    "merge(W, adapter, 1) = W + s B A with s = alpha / r, or alpha / sqrt(r) with rsLoRA",
    cases(1),
    async ({ weight, adapters: [adapter] }) => {
      const merged = await subject.merge(weight, adapter, 1);
      close("the merged weight", merged, plus(weight, delta(adapter)), {
        tolerance,
        size: sizeOf(weight, adapter),
      });
    },
  );
  const linear = law(
    "merging is linear in strength",
    "merge(W, adapter, t) - W = t (merge(W, adapter, 1) - W), and merge(W, adapter, 0) = W",
    cases(1).chain((one) =>
      fc.record({ one: fc.constant(one), t: fc.constantFrom(2, 0.5, 3, -1, -0.75, 100, 2 ** -10) }),
    ),
    async ({ one: { weight, adapters }, t }) => {
      const change = async (strength: number) =>
        plus(await subject.merge(weight, adapters[0], strength), times(-1, weight));
      const size = sizeOf(weight, adapters[0]) * Math.max(1, Math.abs(t));
      const once = await change(1);
      close(`the change at strength ${t}`, await change(t), times(t, once), { tolerance, size });
      identical("the change at strength 0", await change(0), times(0, once));
    },
  );
  const order = law(
    "merging in any order",
    "merge(merge(W, x), y) = merge(merge(W, y), x)",
    cases(2),
    async ({ weight, adapters: [x, y] }) => {
      const first = await subject.merge(await subject.merge(weight, x, 1), y, 1);
      const second = await subject.merge(await subject.merge(weight, y, 1), x, 1);
      close("the merged weight", first, second, { tolerance, size: sizeOf(weight, x, y) });
    },
  );
  const { unmerge } = subject;
  if (!unmerge) return [whole, linear, order];
  const back = law(
    "unmerge undoes merge",
    "unmerge(merge(W, adapter), adapter) = W",
    cases(1),
    async ({ weight, adapters: [adapter] }) => {
      const merged = await subject.merge(weight, adapter, 1);
      const again = await unmerge(merged, adapter);
      close("the weight", again, weight, { tolerance, size: sizeOf(weight, adapter) });
    },
  );
  return [whole, linear, order, back];
}

function mergingIsPure(subject: Merging): Law {
  return law(
    "merging leaves its arguments as they were",
    "weight and adapter are the same after as before",
    cases(1),
    async (drawn) => {
      // A copy, so that the counterexample is what was drawn.
      const {
        weight,
        adapters: [adapter],
      } = structuredClone(drawn);
      await untouched({ weight, adapter }, () =>
        orRefused(refusable(adapter), async () => {
          const merged = await subject.merge(weight, adapter, 1);
          await subject.unmerge?.(merged, adapter);
        }),
      );
    },
  );
}

function combining({ combine, additive = false, sameRank = false }: Combining, tolerance: number): Law[] {
  const single = law(
    "a combination of one is that one",
    "combine([adapter], [1]) changes the weight as adapter does",
    cases(1),
    async ({ weight, adapters: [adapter] }) => {
      const combined = await combine([adapter], [1]);
      close("scaling B A", delta(combined), delta(adapter), {
        tolerance,
        size: sizeOf(times(0, weight), adapter),
      });
    },
  );
  if (!additive) return [single];
  const sum = law(
    "a combination is the weighted sum",
    "the combination's s B A is the sum of weight s B A over its sources",
    weighted(sameRank),
    async ({ one: { weight, adapters }, weights }) => {
      const combined = await combine(adapters, weights);
      const none = zeros(weight.length, weight[0]?.length ?? 0);
      const parts = adapters.map((adapter, i) => times(weights[i]!, delta(adapter)));
      close("scaling B A", delta(combined), [none, ...parts].reduce(plus), {
        tolerance,
        size: sizeOf(none, ...adapters) * Math.max(...weights.map(Math.abs)),
      });
    },
  );
  return [single, sum];
}

function combiningIsPure({ combine, sameRank = false }: Combining): Law {
  return law(
    "combining leaves its sources as they were",
    "adapters and weights are the same after as before",
    weighted(sameRank),
    async (drawn) => {
      const { one, weights } = structuredClone(drawn);
      const { adapters } = one;
      await untouched({ adapters, weights }, () =>
        orRefused(anyUnusual(adapters, weights), () => combine(adapters, weights)),
      );
    },
  );
}

function switching(make: NonNullable<Merging["switching"]>, tolerance: number): Law {
  return law(
    "each adapter keeps its own scaling when switched to",
    "after activate(i): y = x W^T + s_i (x A_i^T) B_i^T",
    several().chain((one) =>
      fc.record({
        one: fc.constant(one),
        order: fc.array(fc.nat({ max: one.adapters.length - 1 }), { minLength: 1, maxLength: 4 }),
        x: matrix(2, one.weight[0]?.length ?? 0),
      }),
    ),
    async ({ one: { weight, adapters }, order, x }) => {
      const layer = await orRefused(adapters.some(refusable), () =>
        make(structuredClone(weight), structuredClone(adapters)),
      );
      for (const [i, index] of order.entries()) {
        await layer.activate(index);
        const adapter = adapters[index]!;
        const own = times((-2) ** -i, x);
        const expected = multiply(own, transpose(plus(weight, delta(adapter))));
        const size = sizeOf(weight, adapter) * largest(own) * (x[0]?.length ?? 1);
        close(`y with adapter ${index}`, await layer.forward(structuredClone(own)), expected, {
          tolerance,
          size,
        });
      }
    },
  );
}

interface Case<A extends readonly AdapterUnderTest[]> {
  readonly weight: Matrix;
  readonly adapters: A;
}

function cases(count: 1): fc.Arbitrary<Case<readonly [AdapterUnderTest]>>;
function cases(
  count: 2,
  sameRank?: boolean,
): fc.Arbitrary<Case<readonly [AdapterUnderTest, AdapterUnderTest]>>;
function cases(count: number, sameRank?: boolean): fc.Arbitrary<Case<readonly AdapterUnderTest[]>>;
function cases(count: number, sameRank = false): fc.Arbitrary<Case<readonly AdapterUnderTest[]>> {
  return loraConfig().chain(({ in: inputs, out: outputs, r }) => {
    // Scalings differ from adapter to adapter, and ranks where they may.
    const adapter = fc.constantFrom(...(sameRank ? [r] : [r, r - 1])).chain((r) =>
      fc.record<AdapterUnderTest>({
        A: matrix(r, inputs),
        B: matrix(outputs, r, quarter()),
        r: fc.constant(r),
        alpha: anyAlpha(r),
        rsLora: fc.boolean(),
      }),
    );
    return fc.record({
      weight: matrix(outputs, inputs),
      adapters: fc.array(adapter, { minLength: count, maxLength: count }),
    });
  });
}

/** Two adapters to nine, the last one sometimes the first again: what is right for two may forget a third, or an eighth. */
function several(sameRank = false): fc.Arbitrary<Case<readonly AdapterUnderTest[]>> {
  const any = fc.constantFrom(2, 3, 4, 6, 9).chain((count) => cases(count, sameRank));
  return fc.tuple(any, fc.constantFrom(false, false, true)).map(([one, again]) => {
    const { adapters } = one;
    return again ? { ...one, adapters: [...adapters.slice(0, -1), structuredClone(adapters[0]!)] } : one;
  });
}

function weighted(sameRank: boolean) {
  const weight = fc.constantFrom(1, 0.5, 2, -1, 0, 10, 2 ** -6);
  return several(sameRank).chain((one) => {
    const { length } = one.adapters;
    return fc.record({
      one: fc.constant(one),
      weights: fc.array(weight, { minLength: length, maxLength: length }),
    });
  });
}
