import type { Expr } from "../src/compile/expr.ts";
import { where } from "../src/graph/elementwise.ts";

/** The value of an index expression, straight from its definition. */
export function indexValue(e: Expr, variables: ReadonlyMap<string, number>): number {
  switch (e.kind) {
    case "variable":
      return variables.get(e.name)!;
    case "sum":
      return e.terms.reduce(
        (sum, { coefficient, atom }) => sum + coefficient * indexValue(atom, variables),
        e.constant,
      );
    case "digit": {
      const quotient = Math.floor(indexValue(e.arg, variables) / e.low);
      const modulus = e.high / e.low;
      return modulus === Infinity ? quotient : ((quotient % modulus) + modulus) % modulus;
    }
    case "clamp":
      return Math.min(Math.max(indexValue(e.arg, variables), 0), e.length - 1);
    case "inRange": {
      const at = indexValue(e.arg, variables);
      return at >= 0 && at < e.length ? 1 : 0;
    }
    case "constant":
      return e.value;
    case "apply":
      if (e.row !== where.row) throw new Error(`no index: ${e.row.name}`);
      return indexValue(e.args[indexValue(e.args[0]!, variables) ? 1 : 2]!, variables);
    default:
      throw new Error(`no index: ${e.kind}`);
  }
}
