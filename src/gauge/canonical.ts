import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { OptimizerName } from "../optim/make.ts";
import { checkRecipe } from "./check.ts";
import { explicit, weightsOf } from "./explicit.ts";
import { factor, type Gauge } from "./gauge.ts";
import { hyperOf, numberOf, type Recipe, trainedRoles } from "./recipe.ts";
import { starts } from "./start.ts";
import { pinned, ruleFor, unitGauge } from "./units.ts";

/** A number, or a pair of them, that no gauge changes. */
export interface Invariant {
  /** The field that it is made of: `"lr.A"`, `"eps.B"`, `"start"`, `"clip.maxNorm"`. */
  readonly name: string;
  /**
   * How: `"s sigma lr_B"`. s is the scaling, sigma the factor on the initial A, tau the one on the initial B, wd
   * the weight decay.
   */
  readonly formula: string;
  readonly value: number | readonly number[];
  /** A learning rate; an eps, a decay or another constant beside the gradient; how A and B start; clipping. */
  readonly kind: "rate" | "constant" | "start" | "clip";
}

/** What a run depends on, by theorem 2: recipes with the same one are the same run. */
export interface Canonical {
  readonly optimizer: OptimizerName;
  /** What every gauge leaves alone: rank, start, dropout, betas, momentum and the like. */
  readonly fixed: { readonly [name: string]: unknown };
  readonly invariants: readonly Invariant[];
}

/**
 * The invariants of a recipe: how a run depends on alpha, initial scale, learning rates and the other numbers that
 * a gauge moves. Their exponents are those that the optimizer declares; the weight decay is taken times the
 * learning rate where that is invariant.
 *
 * @throws ValueError for a bad recipe, see `checkRecipe`.
 * @example
 * const { invariants } = canonical({ r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } });
 * invariants.map(({ formula, value }) => `${formula} = ${value}`);
 * // lr_A / sigma = 0.001, sigma eps_A = 1e-8, lr_A wd_A = 0.00001, s sigma lr_B = 0.002, ...
 */
export function canonical(recipe: Recipe): Canonical {
  const operation = "gauge.canonical";
  const full = explicit(checkRecipe(recipe, operation));
  const g = unitGauge(operation, full);
  const { r, dropout = 0, init = "standard", branchBias = false, dora = false, optimizer, clip } = full;
  const roles = trainedRoles(full);
  const fixed: Record<string, unknown> = { r, dropout, init, branchBias, dora, trained: [...roles].sort() };
  const invariants: Invariant[] = [];

  const s = scaling(full).value;
  const start = starts(full);
  const held = pinned(operation, full);
  if (start.A !== 0 && start.B !== 0)
    invariants.push({ name: "start", formula: "s sigma tau", value: s * start.A * start.B, kind: "start" });
  else if (held) {
    const formula = start.A === 0 ? "s tau" : "s sigma";
    invariants.push({ name: "start", formula, value: s * (start.A || start.B), kind: "start" });
  }
  const unit = (role: Role) => unitOf(role, start.A === 0, held);

  for (const role of roles) {
    const hyper: Readonly<Record<string, unknown>> = { ...hyperOf<OptimizerName>(full, role) };
    const { hyper: powers } = ruleFor(operation, full, role);
    for (const [field, value] of Object.entries(hyper)) {
      const power = powers[field]!; // a rule has one for each
      const name = `${field}.${role}`;
      const number = isNumeric(value);
      if (!number || (power === 0 && field !== "lr" && field !== "weightDecay")) {
        // A flag that is off is one that is not given.
        if (value !== false) fixed[name] = value;
        continue;
      }
      const kind = field.startsWith("lr") || field === "stepSizes" ? "rate" : "constant";
      const perUpdate = field === "weightDecay" && power !== 0 && power + powers.lr! === 0;
      const by = perUpdate ? Number(hyper.lr) : factor(g, role) ** power;
      if (!(by > 0 && by < Infinity) && !perUpdate)
        throw new ValueError(
          `${operation}: the factor on ${name}, ${factor(g, role)}^${power}, leaves the range of floating-point numbers. Use values of alpha and initScale nearer to 1.`,
        );
      invariants.push({
        name,
        formula: perUpdate ? `lr_${role} wd_${role}` : scaledBy(unit(role), power, symbol(field, role)),
        value: scaleEach(value, by),
        kind,
      });
    }
  }

  fixed.clip = clip?.kind ?? "none";
  for (const [name, formula, value] of clipInvariants(full, g, unit))
    invariants.push({ name, formula, value, kind: "clip" });
  return { optimizer: optimizer.name, fixed, invariants };
}

function* clipInvariants(
  recipe: Recipe,
  g: Gauge,
  unit: (role: Role) => Unit,
): Generator<[name: string, formula: string, value: number]> {
  const { clip } = recipe;
  if (!clip) return;
  const roles = trainedRoles(recipe);
  const threshold = (name: string, role: Role) => scaledBy(unit(role), -1, `${name}_${role}`);
  switch (clip.kind) {
    case "value":
      for (const role of roles) {
        const value = numberOf("clip.maxValue", clip.maxValue, role) / factor(g, role);
        yield [`clip.maxValue.${role}`, threshold("maxValue", role), value];
      }
      return;
    case "tensorNorm":
      for (const role of roles) {
        const c = factor(g, role);
        const { maxNorm, eps = 1e-6 } = clip;
        yield [
          `clip.maxNorm.${role}`,
          threshold("maxNorm", role),
          numberOf("clip.maxNorm", maxNorm, role) / c,
        ];
        yield [`clip.eps.${role}`, threshold("clipEps", role), numberOf("clip.eps", eps, role) / c];
      }
      return;
    case "globalNorm": {
      // Weights, threshold and eps times one number clip alike.
      const weights = weightsOf(clip, roles);
      for (const role of roles) {
        const value = (weights[role]! * factor(g, role)) / clip.maxNorm;
        const formula = `${scaledBy(unit(role), 1, `weight_${role}`)} / maxNorm`;
        yield [`clip.weights.${role}`, formula, value];
      }
      yield ["clip.eps", "clipEps / maxNorm", (clip.eps ?? 1e-6) / clip.maxNorm];
      return;
    }
    default:
      clip satisfies never;
  }
}

/** The constant of a role in the gauge to the recipe's units, in symbols: a product, and whether it divides. */
interface Unit {
  readonly product: string;
  readonly divides: boolean;
}

function unitOf(role: Role, fromB: boolean, held: boolean): Unit {
  const start = fromB ? "tau" : "sigma";
  switch (role) {
    case "A":
    case "B":
      if ((role === "B") === fromB) return { product: start, divides: true };
      return { product: held ? "" : `s ${start}`, divides: false };
    case "branchBias":
      return { product: held ? start : "s", divides: held };
    default: // outside the product of A and B
      return { product: "", divides: false };
  }
}

/** A symbol times a power of a unit. */
function scaledBy({ product, divides }: Unit, power: number, symbol: string): string {
  const exponent = divides ? -power : power;
  if (product === "" || exponent === 0) return symbol;
  const size = Math.abs(exponent);
  const compound = product.includes(" ");
  const base = compound && (size > 1 || exponent < 0) ? `(${product})` : product;
  const raised = size === 1 ? base : `${base}^${size}`;
  return exponent > 0 ? `${raised} ${symbol}` : `${symbol} / ${raised}`;
}

function symbol(field: string, role: Role): string {
  return `${field === "weightDecay" ? "wd" : field}_${role}`;
}

function isNumeric(value: unknown): value is number | readonly number[] {
  return typeof value === "number" || Array.isArray(value);
}

function scaleEach(value: number | readonly number[], by: number): number | readonly number[] {
  return typeof value === "number" ? value * by : value.map((x) => x * by);
}
