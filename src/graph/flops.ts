import { isFloat } from "../base/dtype.ts";
import { numel } from "../base/shape.ts";
import { type Node, topological } from "./node.ts";

/**
 * Operations on floats that a node stands for, by the rules by which kernels are counted (`compile/cost.ts`): one for each
 * arithmetic operation and each addend of a reduction, two for each multiply-add of a matmul, a row's `cost` for functions such
 * as exp; index arithmetic, comparisons, selections and casts are none. Kernels may do more where something is computed twice,
 * or less where it is not needed.
 */
export function flopsOf({ operation, inputs, shape, dtype }: Node): number {
  if (!isFloat(dtype)) return 0;
  switch (operation.kind) {
    case "scalar": {
      const { types, cost = 1 } = operation.op.row;
      return types === "float" || types === "numeric" ? cost * numel(shape) : 0;
    }
    case "matmul":
      return 2 * numel(shape) * inputs[0]!.shape.at(-1)!;
    case "reduce":
    case "cumsum":
      return numel(inputs[0]!.shape);
    case "scatterAdd":
      return numel(inputs[2]!.shape);
    case "procedure":
      return operation.procedure.work * numel(shape.slice(0, -1));
    // The whole run: whoever adds results up counts each run once (`runName`).
    case "loop": {
      const body = topological([operation.output, ...operation.loop.next]);
      return operation.loop.steps * body.reduce((sum, node) => sum + flopsOf(node), 0);
    }
    default:
      return 0;
  }
}
