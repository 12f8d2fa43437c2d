import { type ComputeFloat, hostArray } from "../../base/dtype.ts";
import { ValueError } from "../../base/errors.ts";
import { type BackendName, init } from "../../runtime/init.ts";
import { scalar, tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { referenceValues } from "../reference.ts";

export type EngineName = BackendName | "evaluator";

/** Floats that reference values are stated for: narrow floats hold neither their inputs nor their magnitudes. */
export type OracleDType = ComputeFloat;

/** What computes the cases: a backend, or the reference evaluator. */
export interface Engine {
  readonly name: string;
  /** The processor or adapter, for people. */
  readonly description: string;
  /** dtype of the floats. */
  readonly dtype: OracleDType;
  /** Computes the tensors of a tree together, so that their values can be read. */
  evaluate<T>(tensors: T): Promise<T>;
  dispose(): void;
}

/**
 * Opens what computes the cases. Without a name it is what `init` takes.
 *
 * @throws DeviceError if there is no such backend; ValueError for float64 on WebGPU.
 */
export async function openEngine(
  name: EngineName | undefined,
  dtype: OracleDType | undefined,
): Promise<Engine> {
  if (name === "evaluator") return evaluator(dtype ?? "float64");
  const wanted = name ?? (dtype === "float64" ? "cpu" : undefined);
  if (wanted === "webgpu" && dtype === "float64") {
    throw new ValueError("oracle: WebGPU has no float64. Use --backend cpu, or --dtype float32.");
  }
  const device = await init(wanted ? { backend: wanted } : {});
  return {
    name: device.name,
    description: device.description,
    dtype: dtype ?? "float32",
    evaluate: (tensors) => tree.evaluate(tensors, device),
    dispose: () => device.dispose(),
  };
}

function evaluator(dtype: OracleDType): Engine {
  return {
    name: "evaluator",
    description: "reference evaluator",
    dtype,
    async evaluate(tensors) {
      const leaves = tree.leaves(tensors);
      const values = await referenceValues(leaves);
      let at = 0;
      return tree.map(tensors, (leaf) => settled(leaf, values[at++]!));
    },
    dispose: () => {},
  };
}

/** A tensor of computed values, rounded to the dtype of `like`. */
function settled({ shape, dtype }: Tensor, values: Float64Array): Tensor {
  if (dtype === "number") return scalar(values[0]!);
  const rounded = hostArray(dtype, values.length);
  rounded.set(values);
  return tensor(rounded, { shape, dtype });
}
