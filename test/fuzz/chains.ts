import type { Values } from "../../src/graph/evaluate.ts";

// WGSL lets a compiler take a chain of products or of sums in any order (and Mesa's does, to bring constants together).
// So what each step of a chain rounds depends on an order that nobody knows: a step that is exact as it is written may
// round, and partial results may be as large as all terms together.

/** Products of at least two factors, or sums of at least two terms, element by element. */
export interface Chain {
  readonly kind: "product" | "sum";
  readonly count: number;
  /** The sum of the magnitudes of all terms; of factors, that of their logarithms to base 2. */
  readonly size: Values;
  /** How many bits the exact result may need, if nothing cancels. */
  readonly bits: Values;
  /** The exponent of the lowest bit of any term. */
  readonly lowest: Values;
}

const single = (kind: Chain["kind"], values: Values): Chain => ({
  kind,
  count: 1,
  size: values.map((x) => (kind === "sum" ? Math.abs(x) : x === 0 ? 0 : Math.abs(Math.log2(Math.abs(x))))),
  bits: values.map((x) => digits(x).bits),
  lowest: values.map((x) => digits(x).lowest),
});

/** What an operation makes of the chains that its arguments are; undefined where it makes none. */
export function chainOf(
  name: string,
  inputs: readonly { readonly values: Values; readonly chain?: Chain | undefined }[],
): Chain | undefined {
  if (name === "neg") return inputs[0]!.chain;
  const kind = { mul: "product", div: "product", add: "sum", sub: "sum" }[name] as Chain["kind"] | undefined;
  if (!kind) return undefined;
  const [x, y] = inputs.map(({ values, chain }) => (chain?.kind === kind ? chain : single(kind, values)));
  const lowest = x!.lowest.map((e, i) => Math.min(e, y!.lowest[i]!));
  const size = x!.size.map((s, i) => s + y!.size[i]!);
  return {
    kind,
    count: x!.count + y!.count,
    size,
    lowest,
    bits:
      kind === "product"
        ? x!.bits.map((b, i) => b + y!.bits[i]!)
        : size.map((s, i) => (s === 0 ? 0 : Math.floor(Math.log2(s)) + 1 - lowest[i]!)),
  };
}

/** The same elements of a chain in other places. */
export function moved(chain: Chain | undefined, by: (values: Values) => Values): Chain | undefined {
  return chain && { ...chain, size: by(chain.size), bits: by(chain.bits), lowest: by(chain.lowest) };
}

/**
 * What all steps of a chain may round, in the worst order, relative errors being `unit`; 0 where its members are exact and
 * no order rounds.
 */
export function roundings(
  { kind, count, size, bits }: Chain,
  i: number,
  value: number,
  { unit, exact }: { readonly unit: number; readonly exact: boolean },
): number {
  // Partial products may leave the range that the whole one is in.
  if (kind === "product" && size[i]! > 120) return Infinity;
  if (exact && bits[i]! <= -Math.log2(unit)) return 0;
  return (count - 1) * unit * (kind === "sum" ? size[i]! : Math.abs(value));
}

/** The bits of a number from its highest to its lowest one, and where that is. */
function digits(x: number): { readonly bits: number; readonly lowest: number } {
  if (x === 0 || !Number.isFinite(x)) return { bits: 0, lowest: Infinity };
  let [odd, lowest] = [Math.abs(x), 0];
  for (; !Number.isInteger(odd); lowest--) odd *= 2;
  for (; odd % 2 === 0; lowest++) odd /= 2;
  return { bits: Math.floor(Math.log2(odd)) + 1, lowest };
}
