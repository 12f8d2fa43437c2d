import { ValueError } from "../base/errors.ts";

// Parameters and bytes of LoRA fine-tuning, by arithmetic from descriptions of models.

/** A kind of weight matrix: its shape, and how many of them the model has. */
export interface Weight {
  readonly name: string;
  readonly out: number;
  readonly in: number;
  readonly count: number;
  /** Quantisation takes the linear layers of the blocks; embeddings and the output layer stay as they are. */
  readonly quantised: boolean;
}

/** What parameters are counted from. */
export interface ModelDescription {
  readonly name: string;
  readonly weights: readonly Weight[];
  /** Parameters that are no matrices: gains of normalisations, biases. */
  readonly vectors: number;
}

/** Sizes of a transformer of the LLaMA family. */
export interface LlamaSizes {
  readonly hidden: number;
  /** Width inside the feed-forward layers. */
  readonly inner: number;
  readonly layers: number;
  readonly vocabulary: number;
}

/** The names of a LLaMA model's matrices. */
export const attention = ["query", "key", "value", "output"] as const;
export const feedForward = ["gate", "up", "down"] as const;
export const block = [...attention, ...feedForward] as const;

/**
 * A model of the LLaMA family: attention of full width, gated feed-forward layers, an output layer that is not
 * tied to the embedding, and a gain vector before each of the two halves of a block and at the end.
 */
export function llama(name: string, { hidden, inner, layers, vocabulary }: LlamaSizes): ModelDescription {
  const linear = (weight: string, out: number, inputs: number): Weight => ({
    name: weight,
    out,
    in: inputs,
    count: layers,
    quantised: true,
  });
  return {
    name,
    weights: [
      ...attention.map((weight) => linear(weight, hidden, hidden)),
      linear("gate", inner, hidden),
      linear("up", inner, hidden),
      linear("down", hidden, inner),
      { name: "embedding", out: hidden, in: vocabulary, count: 1, quantised: false },
      { name: "head", out: vocabulary, in: hidden, count: 1, quantised: false },
    ],
    vectors: (2 * layers + 1) * hidden,
  };
}

/** Models by their published sizes. */
export const models = {
  llama2_7B: llama("Llama-2-7B", { hidden: 4096, inner: 11008, layers: 32, vocabulary: 32000 }),
  llama_13B: llama("LLaMA-13B", { hidden: 5120, inner: 13824, layers: 40, vocabulary: 32000 }),
  llama_65B: llama("LLaMA-65B", { hidden: 8192, inner: 22016, layers: 80, vocabulary: 32000 }),
} as const;

/**
 * All parameters of a model.
 *
 * @example
 * parameters(models.llama2_7B); // 6738415616
 */
export function parameters({ weights, vectors }: ModelDescription): number {
  return weights.reduce((sum, { out, in: inputs, count }) => sum + out * inputs * count, vectors);
}

/** Parameters of an adapter of rank r on one matrix: `r (out + in)`. */
export function adapterSize(r: number, weight: Pick<Weight, "out" | "in">): number {
  return checkRank(r) * (weight.out + weight.in);
}

function checkRank(r: number): number {
  if (!Number.isInteger(r) || r < 1)
    throw new ValueError(`accountant: r is ${r}; a rank is an integer >= 1.`);
  return r;
}

/**
 * Parameters of adapters of rank r on every matrix of the given names.
 *
 * @throws ValueError for names that the model does not have, with those that it has.
 * @example
 * adapterParameters(models.llama2_7B, 8, ["query", "value"]); // 4194304
 */
export function adapterParameters(model: ModelDescription, r: number, targets: readonly string[]): number {
  return targets.reduce((sum, target) => {
    const weight = model.weights.find(({ name }) => name === target);
    if (!weight) {
      const names = model.weights.map(({ name }) => name).join(", ");
      throw new ValueError(`accountant: ${model.name} has no matrix "${target}"; it has ${names}.`);
    }
    return sum + weight.count * adapterSize(r, weight);
  }, 0);
}

/** Bytes of so many numbers of so many bits. */
export function bytes(count: number, bits: number): number {
  return (count * bits) / 8;
}

/** Bytes of an optimizer's state: Adam keeps two numbers for each parameter. */
export function stateBytes(
  trained: number,
  { moments = 2, bits = 32 }: { readonly moments?: number; readonly bits?: number } = {},
): number {
  return bytes(moments * trained, bits);
}

export interface TrainingBytes {
  readonly parameters: number;
  readonly gradients: number;
  readonly state: number;
  readonly total: number;
}

/** Bytes that training so many parameters adds, without activations. */
export function trainingBytes(
  trained: number,
  { bits = 32, moments = 2 }: { readonly bits?: number; readonly moments?: number } = {},
): TrainingBytes {
  const own = bytes(trained, bits);
  const state = stateBytes(trained, { moments, bits });
  return { parameters: own, gradients: own, state, total: 2 * own + state };
}

/** What decides how much a block of the LLaMA family keeps. */
export interface BlockSizes extends Pick<LlamaSizes, "hidden" | "inner"> {
  readonly heads: number;
}

/**
 * Bytes that a block of the LLaMA family keeps of one sequence until its backward pass, with adapters of rank r on its seven
 * linear layers: for each token eight vectors of the width, three of the feed-forward width, r numbers an adapter, and one
 * for each head and each place of the sequence, which are more than all else from fifteen times the width of a head on. What
 * compiled programs hold was 0.3 to 1.5 % more, for lengths from 64 to 256.
 *
 * @throws ValueError for a rank that is no integer >= 1.
 * @example
 * activationBytes({ hidden: 64, inner: 132, heads: 2 }, { r: 8, length: 64 }); // 279552
 */
export function activationBytes(
  { hidden, inner, heads }: BlockSizes,
  { r, length, bits = 32 }: { readonly r: number; readonly length: number; readonly bits?: number },
): number {
  return bytes(length * (8 * hidden + 3 * inner + block.length * checkRank(r) + heads * length), bits);
}

/** Block-wise quantisation with a constant for each block. */
export interface Quantisation {
  /** Bits of a weight. */
  readonly bits: number;
  /** Weights with one constant. */
  readonly block: number;
  /** Bits of a constant. */
  readonly constantBits: number;
  /** Constants that are quantised together, with one constant of 32 bits; absent for single quantisation. */
  readonly constantBlock?: number;
}

/** NF4 with a float32 constant for 64 weights (Dettmers et al. 2023, arXiv:2305.14314). */
export const nf4: Quantisation = { bits: 4, block: 64, constantBits: 32 };

/** NF4 whose constants are quantised to 8 bits in blocks of 256. */
export const nf4Double: Quantisation = { bits: 4, block: 64, constantBits: 8, constantBlock: 256 };

/** Bits that one weight takes, its share of the constants included. */
export function bitsPerWeight({ bits, block, constantBits, constantBlock }: Quantisation): number {
  const outer = constantBlock === undefined ? 0 : 32 / (block * constantBlock);
  return bits + constantBits / block + outer;
}

/** How many parameters a model with quantised weights has, and how many its tensors seem to have. */
export interface PackedCount {
  /** Parameters, each counted once however it is stored. */
  readonly logical: number;
  /** Elements of the stored tensors: bytes that hold several weights count as one. */
  readonly stored: number;
}

/** Counts a model whose quantised matrices are stored as bytes of `8 / bits` weights each. */
export function packedCount(model: ModelDescription, bits: number): PackedCount {
  const logical = parameters(model);
  const quantised = model.weights.reduce(
    (sum, { out, in: inputs, count, quantised }) => sum + (quantised ? out * inputs * count : 0),
    0,
  );
  return { logical, stored: logical - quantised + (quantised * bits) / 8 };
}

/** A change in percent of where it started. */
export function changePercent(from: number, to: number): number {
  return (100 * (to - from)) / from;
}
