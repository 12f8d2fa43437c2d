import { coerce, type DType, isFloat, isInteger } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { broadcastShapes, describe } from "../base/shape.ts";
import { meet } from "./cast.ts";
import { expand } from "./movement.ts";
import {
  constant,
  type ExpandedRow,
  isHost,
  literal,
  makeNode,
  type Node,
  type Operand,
  type PrimitiveRow,
  type ScalarOp,
  type ScalarRow,
  type TypeRule,
} from "./node.ts";

/** All rows by name, for printers, evaluators and tests. */
export const scalarOps = new Map<string, ScalarOp>();

export function scalarOp(row: ScalarRow): ScalarOp {
  const op = rowOnly(row);
  scalarOps.set(row.name, op);
  return op;
}

type FloatRow<Row> = Row extends ScalarRow ? Omit<Row, "arity" | "types"> : never;

/** A function of one float. */
export function floatOp(row: FloatRow<PrimitiveRow | ExpandedRow>): ScalarOp {
  return scalarOp({ arity: 1, types: "float", ...row });
}

/** An operation that is no row of the table: of expansions only, so it has no gradient. */
export function rowOnly(row: ScalarRow): ScalarOp {
  const op: ScalarOp = Object.assign((...args: readonly Operand[]) => apply(op, args), { row });
  return op;
}

function apply(op: ScalarOp, operands: readonly Operand[]): Node {
  const { name, types } = op.row;
  const given = operands.map((operand) => (typeof operand === "number" ? literal(operand) : operand));
  const first = types === "select" ? 1 : 0;
  const compares = types === "compare";
  const numbers = given.every(isHost) ? "number" : "float32"; // of numbers alone, chosen by values of a device
  const dtype = given.slice(first).find((arg) => arg.dtype !== "number")?.dtype ?? numbers;
  const args = given.map((arg, i) => (i >= first ? meet(arg, dtype, name, compares) : arg));
  checkTypes(name, types, args, first, dtype);
  const result = resultOf(types, dtype);
  const folded = foldConstants(op.row, args, dtype, result);
  if (folded) return folded;
  let shape = args[0]!.shape;
  for (const arg of args) shape = broadcastShapes(name, shape, arg.shape);
  return makeNode(
    { kind: "scalar", op },
    args.map((arg) => expand(arg, shape, name)),
    shape,
    result,
  );
}

function resultOf(types: TypeRule, dtype: DType): DType {
  if (types === "compare" || types === "test") return "bool";
  if (types === "bitcast") return dtype === "uint32" ? "float32" : "uint32";
  if (types === "code") return "float32";
  return dtype;
}

/** Host numbers and integers are computed at once; floats are left to the device's arithmetic. */
function foldConstants(row: ScalarRow, args: readonly Node[], dtype: DType, result: DType): Node | undefined {
  if (dtype !== "number" && isFloat(dtype)) return undefined;
  const values: number[] = [];
  let lifted = false;
  for (const { operation } of args) {
    if (operation.kind !== "constant") return undefined;
    values.push(operation.value);
    lifted ||= operation.lifted;
  }
  const [x = 0, y = 0, z = 0] = values;
  return constant(coerce(row.evaluate(x, y, z, dtype), result), result, lifted);
}

function checkTypes(name: string, types: TypeRule, args: readonly Node[], first: number, dtype: DType): void {
  const given = () => args.map(describe).join(", ");
  if (args.slice(first).some((arg) => arg.dtype !== dtype)) {
    throw new DTypeError(
      `${name}: operands have different dtypes: ${given()}. Cast one of them with .astype(...).`,
    );
  }
  if (types === "select" && args[0]!.dtype !== "bool") {
    throw new DTypeError(
      `${name}: the condition must be bool; given ${given()}. Compare it with something first.`,
    );
  }
  if ((types === "float" || types === "test") && !isFloat(dtype)) {
    throw new DTypeError(`${name}: takes floats; given ${given()}. Cast with .astype("float32").`);
  }
  if (types === "numeric" && dtype === "bool") {
    throw new DTypeError(
      `${name}: takes numbers; given ${given()}. Cast with .astype("float32") or .astype("int32").`,
    );
  }
  if (types === "bitcast" && dtype !== "float32" && dtype !== "uint32") {
    throw new DTypeError(`${name}: takes float32 or uint32; given ${given()}. Cast with .astype(...) first.`);
  }
  if (types === "code" && dtype !== "uint32") {
    throw new DTypeError(`${name}: takes uint32; given ${given()}. Cast with .astype("uint32") first.`);
  }
  if (types === "integer" && !isInteger(dtype)) {
    throw new DTypeError(`${name}: takes integers; given ${given()}. Cast with .astype("int32").`);
  }
  if (types === "bits" && dtype !== "bool" && !isInteger(dtype)) {
    throw new DTypeError(`${name}: takes integers or bool; given ${given()}.`);
  }
}
