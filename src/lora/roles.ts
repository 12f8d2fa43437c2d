import { count, partition as split } from "../tensor/tree.ts";

/** What a parameter is to its adapter; "base" is everything outside adapters. */
export type Role = "A" | "B" | "branchBias" | "base";

/**
 * The role of the parameter at a path.
 *
 * @example
 * roleOf("layers.0.q.loraA");  // "A"
 * roleOf("layers.0.q.weight"); // "base"
 */
export function roleOf(path: string): Role {
  switch (path.slice(path.lastIndexOf(".") + 1)) {
    case "loraA":
      return "A";
    case "loraB":
      return "B";
    case "loraBias":
      return "branchBias";
    default:
      return "base";
  }
}

/**
 * Splits parameters into those of adapters and all others, two trees of one structure with undefined where a
 * leaf went to the other one. `tree.combine` puts them together. For another split, as one that trains the
 * biases too, use `tree.partition` with `roleOf`.
 *
 * @example
 * const [adapter, frozen] = lora.partition(params);
 * const gradients = grad((adapter: typeof params) => loss(tree.combine(frozen, adapter)))(adapter);
 */
export function partition<P>(params: P): [adapter: P, frozen: P] {
  return split(params, (_, path) => roleOf(path) !== "base");
}

/** The number of elements in adapters: `r (in + out)` for each adapted layer, `out` more with a branch bias. */
export function trainableCount(params: unknown): number {
  return count(partition(params)[0]);
}
