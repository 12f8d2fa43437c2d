import fc from "fast-check";
import type { Layer } from "../../nn/layer.ts";
import { linear } from "../../nn/linear.ts";
import { mlp } from "../../nn/mlp.ts";
import type { Matrix } from "../matrix.ts";
import { matrix, rough } from "./values.ts";

/** A small model with linear layers, none of them square. */
export interface Model {
  /** For counterexamples. */
  readonly name: string;
  readonly layer: Layer;
  readonly inputs: number;
  readonly outputs: number;
  /** For `targetModules`; "all-linear" fits each model as well. */
  readonly targets: readonly string[];
}

/** One of few models, so that each is compiled once. Every rank up to 3 fits. */
export function model(): fc.Arbitrary<Model> {
  return fc.constantFrom(...models);
}

const models: readonly Model[] = [
  { name: "linear 5 to 3", layer: linear(5, 3), inputs: 5, outputs: 3, targets: [""] },
  {
    name: "linear 4 to 6, no bias",
    layer: linear(4, 6, { bias: false }),
    inputs: 4,
    outputs: 6,
    targets: [""],
  },
  {
    name: "mlp 4, 6, 3",
    layer: mlp([4, 6, 3], { activation: (x) => x.tanh() }),
    inputs: 4,
    outputs: 3,
    targets: ["fc2"],
  },
];

/** Inputs and targets of one batch, `[batch, inputs]` and `[batch, outputs]`. */
export interface Data {
  readonly x: Matrix;
  readonly y: Matrix;
}

export interface DataOptions {
  readonly inputs: number;
  readonly outputs: number;
  /** Default 3. */
  readonly batch?: number;
}

/** A batch of float32 numbers of every digit, from -2 to 2. */
export function data({ inputs, outputs, batch = 3 }: DataOptions): fc.Arbitrary<Data> {
  return fc.record({ x: matrix(batch, inputs, rough()), y: matrix(batch, outputs, rough()) });
}
