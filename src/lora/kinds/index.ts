import type { Tensor } from "../../tensor/tensor.ts";
import { type BranchBiasOption, branchBias } from "./branch-bias.ts";
import { type DoraOption, dora } from "./dora.ts";
import { type AdapterKind, type AdapterTensor, type ChosenKind, factors, plain } from "./kind.ts";

// All kinds of adapters but plain LoRA, which is what there is without an option. What the rest of the library knows of
// their tensors, options and gauges comes from here.

const all = [branchBias, dora] as const;

/** The kinds that an option asks for. */
export const kinds: readonly ChosenKind[] = all;

/** The options of the kinds: at most one of them is true. */
export interface KindOptions extends BranchBiasOption, DoraOption {}

type OwnTensor = (typeof all)[number]["tensors"][number];

/** What a tensor is to its adapter. */
export type TensorRole = (typeof factors)[number]["role"] | OwnTensor["role"];

/** A, B, and what kinds have beside them. */
export const adapterTensors = [
  ...factors,
  ...all.flatMap(({ tensors }): readonly OwnTensor[] => tensors),
] satisfies readonly AdapterTensor[];

/** The names of tensors that only some adapters have. */
export type OwnName = OwnTensor["name"];
export const ownNames = all.flatMap(({ tensors }) => tensors.map(({ name }): OwnName => name));

/** Tensors by the names of those that adapters of all kinds have, and of those that some do. */
export type NamedTensors<T = Tensor> = { readonly loraA: T; readonly loraB: T } & {
  readonly [K in OwnName]?: T;
};

/** The kinds whose options are on. */
export function chosen(options: KindOptions): typeof kinds {
  return kinds.filter(({ option }) => options[option.name as keyof KindOptions]);
}

/** The kind that a configuration asks for. */
export function kindFor(options: KindOptions): AdapterKind {
  return chosen(options)[0] ?? plain;
}

/** The kind that has the tensors of these names. */
export function kindWith(has: (name: OwnName) => boolean): AdapterKind {
  return all.find(({ tensors }) => tensors.some(({ name }) => has(name))) ?? plain;
}
