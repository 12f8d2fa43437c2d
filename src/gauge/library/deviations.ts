import type { Role } from "../../lora/roles.ts";
import { scaling } from "../../lora/scaling.ts";
import type { Essence } from "../../optim/rule.ts";
import type { Deviation } from "../approximate.ts";
import { close } from "../close.ts";
import { sameCourse } from "../course.ts";
import { explicit } from "../explicit.ts";
import { clipActs, essenceOf, liveOf, liveRoles, roundsStates, scheduleOf } from "../live.ts";
import { adapts, type Recipe } from "../recipe.ts";
import { starts } from "../start.ts";
import { ruleFor } from "../units.ts";
import { rounded, show, times } from "../words.ts";

/** How far numbers may be apart that went through a library's settings, relatively: some roundings. */
const tolerance = 1e-12;

/**
 * Where the recipe that a library runs is not the one that it was asked for, number by number, with what comes of
 * it. Numbers without effect are left out.
 */
export function deviationsOf(needed: Recipe, used: Recipe): Deviation[] {
  const result: Deviation[] = [];
  const push = (field: string, x: unknown, y: unknown, error: string, role?: Role) => {
    if (!alike(x, y)) result.push({ field, needed: x, used: y, error, ...(role && { role }) });
  };
  push("r", needed.r, used.r, "the adapter has another rank");
  push(
    "scaling",
    scaling(needed).value,
    scaling(used).value,
    `the branch is ${times(scaling(used).value / scaling(needed).value)}: the library does not take another alpha`,
  );
  push("adapts", adapts(needed), adapts(used), "the library adapts embeddings in another way, or not at all");
  push(
    "dropout",
    needed.dropout ?? 0,
    used.dropout ?? 0,
    "other inputs are dropped: the library has no dropout of the adapter's input",
  );
  result.push(...start(needed, used));
  push("dora", needed.dora ?? false, used.dora ?? false, "the layer computes another function");
  push(
    "branchBias",
    needed.branchBias ?? false,
    used.branchBias ?? false,
    "the library has no bias inside the scaled branch",
  );
  push(
    "eightBitStates",
    roundsStates(needed),
    roundsStates(used),
    "the state is rounded in one of them: moments differ by up to some percent",
  );
  const [of, by] = [liveRoles(needed), liveRoles(used)].map((roles) => [...roles].sort());
  push(
    "trained",
    of,
    by,
    "other parameters are trained: the library trains the whole adapter and nothing else",
  );
  const rates = [scheduleOf(needed), scheduleOf(used)] as const;
  const course = rates.every(Boolean) && sameCourse(needed.schedule, used.schedule);
  if (!course)
    push(
      "schedule",
      rates[0] ?? "constant",
      rates[1] ?? "constant",
      "the learning rate takes another course",
    );
  for (const role of of!.filter((each) => by!.includes(each))) result.push(...ofRole(needed, used, role));
  result.push(...clipping(needed, used));
  return result;
}

/** How A and B start, in layers where it has an effect. */
function start(needed: Recipe, used: Recipe): Deviation[] {
  const acting = liveOf(needed).filter(({ inert }) => !inert);
  const [of, by] = [needed.init ?? "standard", used.init ?? "standard"];
  if (of !== by && acting.length > 0)
    return [
      {
        field: "init",
        needed: of,
        used: by,
        error:
          "the library has no setting for this start; overwriting A and B yourself after they are made mends it",
      },
    ];
  return (["A", "B"] as const).flatMap((role): Deviation[] => {
    const [x, y] = [needed.initScale?.[role] ?? 1, used.initScale?.[role] ?? 1];
    if (alike(x, y) || acting.every(({ kind }) => starts(needed, kind)[role] === 0)) return [];
    const error = `the library has no setting for it; multiplying ${role} by ${show(x / y)} yourself after it is made mends it`;
    return [{ field: "initScale", role, needed: x, used: y, error }];
  });
}

function ofRole(needed: Recipe, used: Recipe, role: Role): Deviation[] {
  const [x, y] = [essenceOf(needed, role), essenceOf(used, role)];
  if (x.rule !== y.rule)
    return [
      {
        field: "optimizer",
        role,
        needed: needed.optimizer.name,
        used: used.optimizer.name,
        error: "the library runs another update rule",
      },
    ];
  // The decay by the number that users know, where the rate multiplies it in both; else what an update shrinks by.
  const byRate = x.hyper.decayTimesLr !== false && y.hyper.decayTimesLr !== false;
  const [of, by] = [numbers(x, byRate), numbers(y, byRate)];
  const result: Deviation[] = [];
  for (const field of new Set([...Object.keys(of), ...Object.keys(by)])) {
    if (alike(of[field], by[field])) continue;
    result.push({
      field,
      role,
      needed: of[field] ?? off(by[field]),
      used: by[field] ?? off(of[field]),
      error: effect(needed, role, field, of[field] ?? off(by[field]), by[field] ?? off(of[field])),
    });
  }
  return result;
}

/** What a field is that only the other one has: zeros and false are left out. */
function off(other: unknown): unknown {
  return typeof other === "number" ? 0 : typeof other === "boolean" ? !other : undefined;
}

/** The numbers that count, with what several do jointly under one name. */
function numbers(
  { hyper, joint = {}, rounding = [] }: Essence,
  byRate: boolean,
): { readonly [field: string]: unknown } {
  const merged = new Set([...rounding, ...Object.values(joint).flatMap(({ of }) => of)]);
  const own = Object.fromEntries(Object.entries(hyper).filter(([field]) => !merged.has(field)));
  const named = Object.entries(joint).map(([name, { value }]): [string, unknown] =>
    name === "decay" && byRate ? ["weightDecay", hyper.weightDecay] : [name, value],
  );
  const coupled = own.weightDecay !== undefined && { coupledDecay: own.weightDecay, weightDecay: undefined };
  const all = { ...own, ...coupled, ...Object.fromEntries(named) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function clipping(needed: Recipe, used: Recipe): Deviation[] {
  const [x, y] = [needed, used].map((recipe) => (clipActs(recipe) ? plain(recipe) : undefined));
  if (alike(x, y)) return [];
  const [of, by] = [x as Recipe["clip"], y as Recipe["clip"]];
  if (of?.kind === "globalNorm" && by?.kind === "globalNorm" && alike({ ...of, eps: 0 }, { ...by, eps: 0 }))
    return [
      {
        field: "clip.eps",
        needed: of.eps,
        used: by.eps,
        error: "each clipped step differs by about this over the norm",
      },
    ];
  return [
    {
      field: "clip",
      needed: needed.clip ?? "no clipping",
      used: used.clip ?? "no clipping",
      error: "clipped steps have another size; none differs where no step is clipped",
    },
  ];
}

/** Clipping with its defaults, and without weights that are all 1. */
function plain({ clip }: Recipe): unknown {
  if (clip?.kind !== "globalNorm") return clip;
  const { weights = {}, ...rest } = clip;
  const own = Object.values(weights).some((weight) => weight !== 1) && { weights };
  return { ...rest, eps: clip.eps ?? 1e-6, ...own };
}

function effect(recipe: Recipe, role: Role, field: string, needed: unknown, used: unknown): string {
  if (field === "biasCorrection") return correction(recipe, role);
  if (field === "coupledDecay") return "the library's decay is another one, or none";
  if (typeof needed !== "number" || typeof used !== "number") return "the update rule is another one";
  if (field.startsWith("eps")) return effectOfEps(recipe, role, field, needed, used);
  if (field === "weightDecay" || field === "decay")
    return `${role} shrinks ${used < needed ? "less" : "more"} than it has to, ${show(used)} instead of ${show(needed)} as the decay`;
  if (needed === 0 || used === 0) return "the update rule is another one";
  if (field.startsWith("lr")) return `every update of ${role} is ${times(used / needed)} than it has to be`;
  return `the number of ${role} is ${times(used / needed)} than it has to be`;
}

function effectOfEps(recipe: Recipe, role: Role, field: string, needed: number, used: number): string {
  const power = ruleFor("gauge.convert", explicit(recipe), role).hyper[field] ?? 0;
  const [least, largest] = [Math.min(needed, used), Math.max(needed, used)];
  // With eps inside the root the sum is v + eps, so the change of the root is half as large relatively.
  const gradient = power === -2 ? Math.sqrt((largest - least) / 0.02) : (largest - least) / 0.01;
  const most = least === 0 ? "any number of" : `up to ${rounded(largest / least)}`;
  return `an update of ${role} changes by ${most} times where its gradient is far below ${show(largest)}, and by less than 1% where it is above ${show(Number(gradient.toPrecision(2)))}`;
}

/** Adam's averages start at zero; without correction the first updates have another size. */
function correction(recipe: Recipe, role: Role): string {
  const [b1, b2] = essenceOf(recipe, role).hyper.betas as readonly [number, number]; // only Adams have the field
  const excess = (t: number) => (1 - b1 ** t) / Math.sqrt(1 - b2 ** t);
  let [largest, at] = [excess(1), 1];
  for (let t = 2; t <= 10_000; t++) if (excess(t) > largest) [largest, at] = [excess(t), t];
  return (
    `without correction update t is (1 - b1^t) / sqrt(1 - b2^t) times the other: ${excess(1).toFixed(2)} times at first, ` +
    `at most ${largest.toFixed(2)} times at update ${at}, ${excess(1000).toFixed(2)} times at update 1000`
  );
}

function alike(x: unknown, y: unknown): boolean {
  if (typeof x === "number" && typeof y === "number") return close(x, y, tolerance);
  if (typeof x !== "object" || typeof y !== "object" || x === null || y === null) return x === y;
  const names = new Set([...Object.keys(x), ...Object.keys(y)]);
  const [of, by] = [x, y] as readonly { readonly [name: string]: unknown }[];
  return [...names].every((name) => alike(of![name], by![name]));
}
