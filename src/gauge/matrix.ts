import type { FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { roleOf } from "../lora/roles.ts";
import {
  isOptimizerName,
  isPairOptimizerName,
  make,
  type PairOptimizerConfig,
  pairRules,
  rules,
} from "../optim/make.ts";
import type { Mixes, PairScaling } from "../optim/pair.ts";
import { tensor } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { map } from "../tensor/tree.ts";
import type { Recipe } from "./recipe.ts";

/** What a matrix gauge is, as far as optimizers care; a signed permutation is orthogonal too. */
export type MatrixKind = "signed permutation" | "orthogonal" | "diagonal" | "general";

/**
 * A symmetry that mixes the r components of an adapter: A' = M A, B' = B M^-1 for an invertible M. Alpha and the
 * layer's function stay.
 */
export interface MatrixGauge {
  /** M, r rows of r numbers. */
  readonly matrix: readonly (readonly number[])[];
  readonly inverse: readonly (readonly number[])[];
  readonly kind: MatrixKind;
  /** The number c of a matrix that is c times an orthogonal one and not 1: so far it is the gauge a = c, b = 1 / c. */
  readonly scale?: number;
}

/** How far M^T M may be from 1 for M to count as orthogonal. */
const tolerance = 1e-12;

/**
 * The gauge of an invertible matrix.
 *
 * @throws ShapeError if it is not square; ValueError if a number is not finite or it has no inverse.
 * @example
 * gauge.matrix([[0, 1], [-1, 0]]).kind; // "signed permutation"
 */
export function matrix(rows: readonly (readonly number[])[]): MatrixGauge {
  const r = rows.length;
  if (r === 0 || rows.some((row) => row.length !== r)) {
    throw new ShapeError(
      `gauge.matrix: rows have ${rows.map((row) => row.length).join(", ") || "no"} numbers; give r rows of r numbers.`,
    );
  }
  if (rows.flat().some((x) => !Number.isFinite(x)))
    throw new ValueError("gauge.matrix: a number is NaN or infinite; all are finite.");
  const kind = kindOf(rows);
  const scale = kind === "diagonal" || kind === "general" ? scaleOf(rows) : undefined;
  return { matrix: rows, inverse: invert(rows), kind, ...(scale !== undefined && { scale }) };
}

/**
 * Why an optimizer does not follow a matrix gauge, or undefined where it does: the run that starts from
 * `applyMatrix(g, params)` then has the same losses, and its factors are those of the original run mixed in the same
 * way. SGD in every form is linear in gradients and follows orthogonal matrices, also with gradients clipped by norms.
 * Optimizers that treat each number by itself, and clipping by value, follow signed permutations only, their updates being
 * odd; a diagonal matrix would take a learning rate and eps of its own for each row of A and column of B. Optimizers of pairs follow what their
 * rules say: with reg 0 scaled SGD, LoRA-RITE and LoRA-Muon follow every invertible matrix.
 *
 * @param optimizer A recipe, with its clipping; the options of an optimizer of pairs; or the name of any other optimizer.
 * @throws ValueError for an unknown optimizer.
 * @example
 * gauge.matrixRefusal(gauge.matrix([[0.6, -0.8], [0.8, 0.6]]), "adamw"); // "adamw treats each number by itself: ..."
 * gauge.matrixRefusal(gauge.matrix([[1, 2], [0, 1]]), { name: "loraMuon", lr: 0.02, reg: 0 }); // undefined
 */
export function matrixRefusal(
  g: MatrixGauge,
  optimizer: string | PairOptimizerConfig | Recipe,
): string | undefined {
  if (typeof optimizer === "object" && "optimizer" in optimizer) {
    const own = matrixRefusal(g, pairOf(optimizer) ?? optimizer.optimizer.name);
    const byValue = optimizer.clip?.kind === "value" ? "clipping by value" : undefined;
    return own ?? (byValue && refusal(g, byValue, "signed permutations"));
  }
  const name = typeof optimizer === "string" ? optimizer : optimizer.name;
  if (typeof optimizer === "string" || !isPairOptimizerName(name)) return refusal(g, name, mixesOf(name));
  // The rule of that name, with the hyperparameters of that name.
  const { mixes } = pairRules[name].scaling as unknown as PairScaling<object>;
  const { defaults, hyper } = make(optimizer as { readonly name: "scaledSgd"; readonly lr: number });
  const all = [defaults, ...(optimizer.groups ? [hyper("loraA"), hyper("loraB")] : [])].map(mixes);
  const least = (["signed permutations", "orthogonal", "any"] as const).find((kind) => all.includes(kind))!;
  const damped = name !== "scaledAdamw" && least === "orthogonal" ? `${name} with a positive reg` : name;
  return refusal(g, damped, least);
}

/** The options of a recipe's optimizer of pairs, if it is one. */
function pairOf({ optimizer, groups = {} }: Recipe): PairOptimizerConfig | undefined {
  if (!isPairOptimizerName(optimizer.name)) return undefined;
  const own = [
    { match: "loraA", ...groups.A },
    { match: "loraB", ...groups.B },
  ];
  return { ...optimizer, groups: own } as PairOptimizerConfig; // one optimizer's name, hyperparameters and groups
}

/** Which matrices an optimizer of single tensors follows. */
function mixesOf(name: string): Mixes {
  if (name === "sgd") return "orthogonal";
  if (isOptimizerName(name)) return "signed permutations";
  throw new ValueError(
    `gauge.matrixRefusal: ${JSON.stringify(name)} is ${isPairOptimizerName(name) ? "an optimizer of pairs, which depends on its reg: pass its options" : `no optimizer. They are ${[...Object.keys(rules), ...Object.keys(pairRules)].join(", ")}`}.`,
  );
}

function refusal({ kind, scale }: MatrixGauge, name: string, follows: Mixes): string | undefined {
  if (follows === "any" || kind === "signed permutation") return undefined;
  if (scale !== undefined)
    return `M is ${scale} times an orthogonal matrix: gauge.apply(gauge.of({ a: ${scale}, b: ${1 / scale} }), recipe) rescales the numbers of ${name} for the factor, and what is left is orthogonal`;
  if (kind === "diagonal")
    return `${name} would need hyperparameters for each row of A and each column of B, and groups are whole tensors`;
  if (kind === "general")
    return `gradients change by M^-T, which is M only for orthogonal matrices; ${name} follows ${follows === "orthogonal" ? "those" : "signed permutations"} only`;
  if (follows === "orthogonal") return undefined;
  return `${name} treats each number by itself: it follows signed permutations only`;
}

/**
 * Parameters under a matrix gauge: each `loraA` times M from the left, each `loraB` times its inverse from the right;
 * all others as they are.
 *
 * @throws ShapeError if an adapter's rank is not that of the matrix.
 * @example
 * const partner = gauge.applyMatrix(gauge.matrix([[0, 1], [1, 0]]), params); // the two components swapped
 */
export function applyMatrix<P>(g: MatrixGauge, params: P): P {
  return map(params, (leaf, path) => {
    const role = roleOf(path);
    if (role !== "A" && role !== "B") return leaf;
    const rank = leaf.shape[role === "A" ? 0 : 1];
    if (leaf.rank !== 2 || rank !== g.matrix.length) {
      throw new ShapeError(
        `gauge.applyMatrix: ${path} is ${leaf}, of rank ${rank}; the matrix mixes ${g.matrix.length} components.`,
      );
    }
    const mix = (rows: MatrixGauge["matrix"]): Tensor =>
      tensor(rows, { dtype: "float64" }).astype(leaf.dtype as FloatDType); // parameters are floats
    return role === "A" ? mix(g.matrix).matmul(leaf) : leaf.matmul(mix(g.inverse));
  });
}

/** The length of all rows, where they are as long as each other and at right angles. */
function scaleOf(rows: MatrixGauge["matrix"]): number | undefined {
  const length = Math.hypot(...rows[0]!);
  const unit = rows.map((row) => row.map((x) => x / length));
  const kind = kindOf(
    unit.map((row) => row.map((x) => (Math.abs(Math.abs(x) - 1) <= tolerance ? Math.sign(x) : x))),
  );
  return kind === "orthogonal" || kind === "signed permutation" ? length : undefined;
}

function kindOf(rows: MatrixGauge["matrix"]): MatrixKind {
  const nonzero = rows.map((row) => row.flatMap((x, i) => (x === 0 ? [] : [i])));
  const single = nonzero.every((places) => places.length === 1);
  if (single && rows.flat().every((x) => x === 0 || Math.abs(x) === 1)) return "signed permutation";
  if (single && nonzero.every(([place], i) => place === i)) return "diagonal";
  const product = (i: number, j: number) => rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0);
  const orthogonal = rows.every((_, i) =>
    rows.every((_, j) => Math.abs(product(i, j) - (i === j ? 1 : 0)) <= tolerance),
  );
  return orthogonal ? "orthogonal" : "general";
}

/** Gauss and Jordan, with the largest pivot of each column. */
function invert(rows: MatrixGauge["matrix"]): number[][] {
  const r = rows.length;
  const work = rows.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
  const largest = Math.max(...rows.flat().map(Math.abs));
  for (let column = 0; column < r; column++) {
    let pivot = column;
    for (let i = column + 1; i < r; i++)
      if (Math.abs(work[i]![column]!) > Math.abs(work[pivot]![column]!)) pivot = i;
    const top = work[pivot]!;
    if (Math.abs(top[column]!) <= r * Number.EPSILON * largest)
      throw new ValueError("gauge.matrix: the matrix has no inverse. Give an invertible one.");
    work[pivot] = work[column]!;
    work[column] = top.map((x) => x / top[column]!);
    for (let i = 0; i < r; i++) {
      if (i === column) continue;
      const factor = work[i]![column]!;
      work[i] = work[i]!.map((x, j) => x - factor * work[column]![j]!);
    }
  }
  return work.map((row) => row.slice(r));
}
