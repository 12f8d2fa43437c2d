import { checkNames, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { Tensor } from "../tensor/tensor.ts";
import { count, leaves, partition as split } from "../tensor/tree.ts";
import { adapterTensors, type KindOptions, kindFor, type TensorRole } from "./kinds/index.ts";
import { factors } from "./kinds/kind.ts";

/** What a parameter is to its adapter; "base" is everything outside adapters. */
export type Role = TensorRole | "base";

/** All roles, those of adapters first. */
export const roles: readonly Role[] = [...adapterTensors.map(({ role }) => role), "base"];

/** The roles of the tensors that an adapter with these options has. */
export function rolesOf(options: KindOptions): readonly Role[] {
  return [...factors, ...kindFor(options).tensors].map(({ role }) => role as Role); // as in the table
}

const byName: ReadonlyMap<string, Role> = new Map(adapterTensors.map(({ name, role }) => [name, role]));

/**
 * The role of the parameter at a path.
 *
 * @example
 * roleOf("layers.0.q.loraA");         // "A"
 * roleOf("layers.0.q.english.loraA"); // "A"
 * roleOf("layers.0.q.weight");        // "base"
 */
export function roleOf(path: string): Role {
  return byName.get(path.slice(path.lastIndexOf(".") + 1)) ?? "base";
}

export interface PartitionOptions {
  /**
   * Which biases of the model are trained beside adapters, as in PEFT: none (the default), those of adapted layers,
   * or all. A bias is a tensor called "bias".
   */
  readonly bias?: "none" | "lora_only" | "all";
  /** Train only the adapters of these names. Default: all there are. */
  readonly adapters?: readonly string[];
}

/**
 * Splits parameters into those that are trained, by default the adapters', and all others: two trees of one
 * structure with undefined where a leaf went to the other one. `tree.combine` puts them together. For any other
 * split use `tree.partition` with `roleOf`.
 *
 * @throws ValueError for another `bias`, or the name of an adapter that is not there.
 * @example
 * const [adapter, frozen] = lora.partition(params);
 * const gradients = grad((adapter: typeof params) => loss(tree.combine(frozen, adapter)))(adapter);
 */
export function partition<P>(params: P, options: PartitionOptions = {}): [trained: P, frozen: P] {
  checkNames("lora.partition", options, ["bias", "adapters"]);
  if (leaves(params).length === 0)
    throw new ValueError(`lora.partition: takes a tree of parameters; ${show(params)} has none.`);
  const { bias = "none", adapters } = options;
  if (
    adapters !== undefined &&
    !(Array.isArray(adapters) && adapters.every((name) => typeof name === "string"))
  )
    throw new ValueError(`lora.partition: adapters is ${show(adapters)}; it is a list of names.`);
  if (bias !== "none" && bias !== "lora_only" && bias !== "all")
    throw new ValueError(`lora.partition: bias is ${show(bias)}; it is "none", "lora_only" or "all".`);
  const places = adapterPlaces(params);
  const names = new Set(places.map(({ name }) => name));
  for (const name of adapters ?? []) {
    if (!names.has(name))
      throw new ValueError(
        `lora.partition: there is no adapter ${JSON.stringify(name)}. There are: ${[...names].map((other) => other || '""').join(", ") || "none"}.`,
      );
  }
  const trained = places.filter(({ name }) => !adapters || adapters.includes(name));
  const own = new Set(trained.map(({ path }) => path));
  const layers = new Set(trained.map(({ layer }) => layer));
  return split(params, (_, path) => {
    const at = path.lastIndexOf(".");
    const [place, leaf] = [path.slice(0, Math.max(at, 0)), path.slice(at + 1)];
    if (roleOf(path) !== "base") return own.has(place);
    return leaf === "bias" && (bias === "all" || (bias === "lora_only" && layers.has(place)));
  });
}

interface Place {
  /** Of the adapter's tensors. */
  readonly path: string;
  readonly layer: string;
  readonly name: string;
}

/** Where adapters lie: beside the weight of a layer, or in an object beside it that holds nothing else. */
function adapterPlaces(params: unknown, path: readonly string[] = []): Place[] {
  if (typeof params !== "object" || params === null || params instanceof Tensor) return [];
  const entries = Object.entries(params);
  const below = entries.flatMap(([name, value]) => adapterPlaces(value, [...path, name]));
  if (!entries.some(([name]) => roleOf(name) !== "base")) return below;
  const alone = path.length > 0 && entries.every(([name]) => roleOf(name) !== "base");
  const place = path.join(".");
  return [
    ...below,
    alone
      ? { path: place, layer: path.slice(0, -1).join("."), name: path.at(-1)! }
      : { path: place, layer: place, name: "" },
  ];
}

/** The number of trained elements: `r (in + out)` for each adapted layer, and what options add. */
export function trainableCount(params: unknown, options: PartitionOptions = {}): number {
  return count(partition(params, options)[0]);
}
