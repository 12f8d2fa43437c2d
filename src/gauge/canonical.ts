import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import type { Growth, Joint } from "../optim/rule.ts";
import { checkRecipe } from "./check.ts";
import { weightsOf } from "./explicit.ts";
import { factor, type Gauge } from "./gauge.ts";
import {
  clipActs,
  essenceOf,
  growthOf,
  type Live,
  liveOf,
  liveRoles,
  type Pins,
  pinsOf,
  roundsStates,
  scheduleOf,
} from "./live.ts";
import { hyperOf, numberOf, type Recipe, trainedRoles } from "./recipe.ts";
import { beside, hyperPowers, moves, type PowersOf, ruleOf } from "./rules.ts";
import { starts } from "./start.ts";
import { unitGauge } from "./units.ts";

/** A number, or a pair of them, that no gauge changes. */
export interface Invariant {
  /** What it is made of: `"lr.A"`, `"eps.B"`, `"start"`, `"clip.maxNorm"`; in embeddings `"embedding.lr.A"`. */
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

/** What a run depends on, by theorem 2 and its converse: recipes with the same one are the same run. */
export interface Canonical {
  /** The update rule: "adam" for Adam and AdamW, which differ in what their decay is. */
  readonly rule: string;
  /** What every gauge leaves alone: rank, start, dropout, betas, momentum and the like. */
  readonly fixed: { readonly [name: string]: unknown };
  readonly invariants: readonly Invariant[];
}

/**
 * The invariants of a recipe: how a run depends on alpha, initial scale, learning rates and the other numbers that
 * a gauge moves. What has no effect is left out: numbers of frozen parameters, a decay of 0 in whatever form,
 * dampening without momentum, defaults that are spelt out. Exponents are those that the optimizer declares; a decay
 * that shrinks by itself is taken as what an update shrinks by.
 *
 * @throws ValueError for a bad recipe, see `checkRecipe`.
 * @example
 * const { invariants } = canonical({ r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } });
 * invariants.map(({ formula, value }) => `${formula} = ${value}`);
 * // lr_A / sigma = 0.001, sigma eps_A = 1e-8, lr_A wd_A = 0.00001, s sigma lr_B = 0.002, ...
 */
export function canonical(recipe: Recipe): Canonical {
  const operation = "gauge.canonical";
  checkRecipe(recipe, operation);
  const all = liveOf(recipe);
  const roles = liveRoles(recipe);
  const fixed: Record<string, unknown> = {
    trained: [...roles].sort(),
    ...adapterOf(recipe, all),
  };
  const invariants: Invariant[] = [];
  const growth = growthOf(recipe);
  for (const live of all) {
    const units = unitsOf(operation, recipe, live);
    const prefix = live.kind === "linear" ? "" : `${live.kind}.`;
    if (!live.inert) invariants.push(...startInvariants(prefix, recipe, units));
    for (const role of live.roles) {
      const grows = role === "A" || role === "B" ? growth?.[role] : undefined;
      for (const [name, number] of Object.entries(numbersOf(recipe, role, grows))) {
        const key = `${role === "base" ? "" : prefix}${name}.${role}`;
        if (number.kind === "fixed") fixed[`${name}.${role}`] = number.value;
        else
          invariants.push({
            name: key,
            formula: scaledBy(units, role, number, number.symbol.replaceAll("*", role)),
            value: eachTimes(number.value, raised(operation, key, units.gauge, role, number)),
            kind: number.kind,
          });
      }
    }
    if (growth) invariants.push(...keptInvariants(prefix, recipe, growth));
  }
  if (roles.length > 0) {
    const { kind = "constant", ...rest } = scheduleOf(recipe) ?? {};
    fixed.schedule = kind;
    for (const [name, value] of Object.entries(rest)) fixed[`schedule.${name}`] = value;
    if (roundsStates(recipe)) fixed.eightBitStates = true;
    fixed.clip = clipActs(recipe) ? recipe.clip?.kind : "none";
    if (clipActs(recipe)) invariants.push(...clipInvariants(operation, recipe, all));
  }
  const rules = new Set(roles.map((role) => essenceOf(recipe, role).rule));
  return { rule: [...rules].sort().join(" and ") || "none", fixed, invariants };
}

/** What says how the adapter is made, as far as it has an effect. */
function adapterOf(recipe: Recipe, all: readonly Live[]): { readonly [name: string]: unknown } {
  const { r, dropout = 0, init = "standard", dora = false } = recipe;
  const acting = all.filter(({ inert }) => !inert);
  const linear = acting.some(({ kind }) => kind === "linear");
  const changing = all.filter(
    ({ inert, roles }) => !inert || roles.includes("branchBias") || roles.includes("magnitude"),
  );
  return {
    ...(changing.length > 0 && { adapts: changing.map(({ kind }) => kind).sort() }),
    ...(acting.length > 0 && { r, init: linear || init !== "gaussian" ? init : "standard" }),
    ...(linear && { dropout }),
    // Lengths that are not learned are those of the weight as long as nothing changes it.
    ...(dora && (linear || liveRoles(recipe).some((role) => role !== "A" && role !== "B")) && { dora }),
  };
}

/** A number of a role that has an effect: one that gauges move, or one that they leave alone. */
type Counted =
  | { readonly kind: "fixed"; readonly value: unknown }
  | ({
      readonly kind: "rate" | "constant";
      readonly value: number | readonly number[];
      readonly symbol: string;
    } & Power);

/** A power of the constant of a parameter, times one of that of the matrix beside it. */
interface Power {
  readonly own: number;
  readonly partner?: number;
}

function numbersOf(recipe: Recipe, role: Role, grows?: Growth): { readonly [name: string]: Counted } {
  const { hyper, rounding = [], ...essence } = essenceOf(recipe, role);
  const joint: { readonly [name: string]: Joint } = grows?.numbers ?? essence.joint ?? {};
  const powers = powersOf(recipe, role);
  const merged = new Set([...rounding, ...Object.values(joint).flatMap(({ of }) => of)]);
  const result: Record<string, Counted> = {};
  for (const [field, value] of Object.entries(hyper)) {
    if (merged.has(field)) continue;
    const power = { own: powers.own[field] ?? 0, partner: powers.partner[field] ?? 0 };
    const kind = isRate(field) ? "rate" : "constant";
    result[field] =
      isNumeric(value) && (moves(powers, field) || kind === "rate")
        ? { kind, value, ...power, symbol: `${field === "weightDecay" ? "wd" : field}_*` }
        : { kind: "fixed", value };
  }
  for (const [name, { value, power, partner = 0, symbol }] of Object.entries(joint))
    result[name] = { kind: grows || isRate(name) ? "rate" : "constant", value, own: power, partner, symbol };
  // The rate first, whatever it is made of.
  return { ...(result.lr && { lr: result.lr }), ...result };
}

/** What is kept of the product of A and B in an update, where each of them may grow; their rates, where nothing is kept. */
function keptInvariants(
  prefix: string,
  recipe: Recipe,
  { A, B }: { readonly A: Growth; readonly B: Growth },
): Invariant[] {
  if (A.decay !== 1 && B.decay !== 1) {
    const value = A.decay + B.decay - A.decay * B.decay;
    const formula = "1 - (1 - lr_A wd_A)(1 - lr_B wd_B)";
    return value === 0 ? [] : [{ name: `${prefix}decay`, formula, value, kind: "constant" }];
  }
  const [ofA, ofB] = [hyperOf<AnyOptimizerName>(recipe, "A"), hyperOf<AnyOptimizerName>(recipe, "B")];
  const power = 2 * A.numbers.lr.power;
  const formula = power === 0 ? "lr_A lr_B" : `s^${power} lr_A lr_B`;
  const value = scaling(recipe).value ** power * ofA.lr * ofB.lr;
  return [{ name: `${prefix}lr`, formula, value, kind: "rate" }];
}

function isRate(name: string): boolean {
  return name.startsWith("lr") || name === "stepSizes";
}

/** The powers of a role's hyperparameters, where the optimizer has a rule in that form with all of them written out. */
function powersOf(recipe: Recipe, role: Role): PowersOf {
  const hyper = { ...hyperOf<AnyOptimizerName>(recipe, role), ...essenceOf(recipe, role).hyper };
  return hyperPowers(ruleOf("gauge.canonical", recipe.optimizer.name, hyper));
}

/** How A and B start, and what pins leave of the scaling: what the units do not make 1. */
function startInvariants(prefix: string, recipe: Recipe, { gauge, kind, pins }: Units): Invariant[] {
  const { A, B } = starts(recipe, kind);
  const s = scaling(recipe).value;
  const entry = (name: string, formula: string, value: number): Invariant => ({
    name: prefix + name,
    formula,
    value,
    kind: "start",
  });
  const held = pins.A || pins.B;
  const [first, symbol] = A === 0 ? [B, "tau"] : [A, "sigma"];
  const both = A !== 0 && B !== 0;
  if (held && pins.k) return [entry("start.s", "s", s), entry("start", symbol, first)];
  if (held) return [entry("start", `s ${symbol}`, s * first)];
  if (pins.k) return [entry("start.s", "s", s), ...(both ? [entry("start", "sigma tau", A * B)] : [])];
  return both ? [entry("start", "s sigma tau", s * A * B * (gauge.a * gauge.b * gauge.k))] : [];
}

function clipInvariants(operation: string, recipe: Recipe, all: readonly Live[]): Invariant[] {
  const { clip } = recipe;
  if (!clip) return [];
  const result: Invariant[] = [];
  for (const live of all) {
    const units = unitsOf(operation, recipe, live);
    const prefix = live.kind === "linear" ? "" : `${live.kind}.`;
    const push = (role: Role, name: string, symbol: string, power: number, value: number, per = "") =>
      result.push({
        name: `${role === "base" ? "" : prefix}clip.${name}.${role}`,
        formula: scaledBy(units, role, { own: power }, `${symbol}_${role}`) + per,
        value: value * raised(operation, `clip.${name}.${role}`, units.gauge, role, { own: power }),
        kind: "clip",
      });
    if (clip.kind === "globalNorm") {
      // Weights, threshold and eps times one number clip alike.
      const weights = weightsOf(clip, trainedRoles(recipe));
      for (const role of live.counted)
        push(role, "weights", "weight", 1, weights[role]! / clip.maxNorm, " / maxNorm");
      continue;
    }
    for (const role of live.roles) {
      if (essenceOf(recipe, role).reads !== "gradients") continue;
      if (clip.kind === "value") {
        push(role, "maxValue", "maxValue", -1, numberOf("clip.maxValue", clip.maxValue, role));
      } else {
        push(role, "maxNorm", "maxNorm", -1, numberOf("clip.maxNorm", clip.maxNorm, role));
        push(role, "eps", "clipEps", -1, numberOf("clip.eps", clip.eps ?? 1e-6, role));
      }
    }
  }
  if (clip.kind === "globalNorm") {
    const value = (clip.eps ?? 1e-6) / clip.maxNorm;
    result.push({ name: "clip.eps", formula: "clipEps / maxNorm", value, kind: "clip" });
  }
  return result;
}

/** The units of a kind of layer: the gauge to them, and the constant of a role in symbols. */
interface Units {
  readonly kind: Live["kind"];
  readonly gauge: Gauge;
  readonly pins: Pins;
  readonly of: (role: Role) => Unit;
}

/** A product of powers of symbols. */
type Unit = { readonly [S in (typeof symbols)[number]]?: number };

const symbols = ["s", "sigma", "tau"] as const;

function unitsOf(operation: string, recipe: Recipe, live: Live): Units {
  const pins = pinsOf(recipe, live);
  const fromB = starts(recipe, live.kind).A === 0;
  return {
    kind: live.kind,
    gauge: unitGauge(operation, recipe, live),
    pins,
    of: (role) => unitOf(role, fromB, pins),
  };
}

function unitOf(role: Role, fromB: boolean, pins: Pins): Unit {
  const start = fromB ? "tau" : "sigma";
  const held = pins.A || pins.B;
  if (held && pins.k) return {};
  switch (role) {
    case "A":
    case "B":
      if ((role === "B") === fromB) return { [start]: -1 };
      return held ? {} : { ...(!pins.k && { s: 1 }), [start]: 1 };
    case "branchBias":
      return pins.k ? {} : held ? { [start]: -1 } : { s: 1 };
    default: // outside the product of A and B
      return {};
  }
}

/** A symbol times the powers of units that belong to a role: `s sigma lr_B`, `lr_A / sigma`. */
function scaledBy({ of }: Units, role: Role, { own, partner = 0 }: Power, symbol: string): string {
  const [mine, other] = [of(role), role === "A" ? of("B") : role === "B" ? of("A") : {}];
  const powers = symbols.map((each): [string, number] => [
    each,
    own * (mine[each] ?? 0) + partner * (other[each] ?? 0),
  ]);
  const above = powers.filter(([, power]) => power > 0);
  const below = powers
    .filter(([, power]) => power < 0)
    .map(([each, power]): [string, number] => [each, -power]);
  const numerator = above.length > 0 ? `${product(above, false)} ${symbol}` : symbol;
  return below.length > 0 ? `${numerator} / ${product(below, true)}` : numerator;
}

/** `s sigma`, `(s sigma)^2`, `s^2 sigma`; one factor to the reader where it is divided by. */
function product(powers: readonly (readonly [string, number])[], divided: boolean): string {
  const raise = (base: string, power: number) => (power === 1 ? base : `${base}^${power}`);
  const [, first] = powers[0]!; // not empty
  if (powers.length === 1) return raise(powers[0]![0], first);
  const names = powers.map(([name]) => name).join(" ");
  if (powers.every(([, power]) => power === first))
    return first > 1 || divided ? raise(`(${names})`, first) : names;
  const all = powers.map(([name, power]) => raise(name, power)).join(" ");
  return divided ? `(${all})` : all;
}

function raised(
  operation: string,
  name: string,
  gauge: Gauge,
  role: Role,
  { own, partner = 0 }: Power,
): number {
  const c = factor(gauge, role);
  const by = c ** own * beside(gauge, role) ** partner;
  if (by > 0 && by < Infinity) return by;
  throw new ValueError(
    `${operation}: the factor on ${name}, ${c}^${own}, leaves the range of floating-point numbers. Use values of alpha and initScale nearer to 1.`,
  );
}

function isNumeric(value: unknown): value is number | readonly number[] {
  return typeof value === "number" || Array.isArray(value);
}

function eachTimes(value: number | readonly number[], by: number): number | readonly number[] {
  return typeof value === "number" ? value * by : value.map((x) => x * by);
}
