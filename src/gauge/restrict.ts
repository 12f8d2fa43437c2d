import type { Role } from "../lora/roles.ts";
import type { OptimizerName } from "../optim/make.ts";
import type { Approximation, Deviation } from "./approximate.ts";
import type { Library } from "./libraries.ts";
import { hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { ruleFor } from "./units.ts";
import { rounded, show, times } from "./words.ts";

/**
 * A recipe with what a library cannot be told set to what it can: one eps and one decay where A and B may not
 * differ (those of A), the usual start, plain clipping or none.
 */
export function restrict(library: Library, recipe: Recipe): Approximation {
  const deviations: Deviation[] = [];
  const groups: { [R in Role]?: Record<string, unknown> } = {};
  const reference = trainedRoles(recipe)[0]!; // a recipe trains something
  const shared: Readonly<Record<string, unknown>> = { ...hyperOf<OptimizerName>(recipe, reference) };
  for (const role of trainedRoles(recipe)) {
    const own: Record<string, unknown> = { ...hyperOf<OptimizerName>(recipe, role) };
    groups[role] = own;
    if (library.groups === "any" || role === reference) continue;
    for (const [field, needed] of Object.entries(own)) {
      const used = shared[field];
      if (same(needed, used) || (field === "lr" && library.groups === "ratio")) continue;
      own[field] = used;
      deviations.push({ field, role, needed, used, error: effect(recipe, role, field, needed, used) });
    }
  }
  for (const role of ["A", "B"] as const) {
    const scale = recipe.initScale?.[role] ?? 1;
    if (scale !== 1)
      deviations.push({
        field: "initScale",
        role,
        needed: scale,
        used: 1,
        error: `the library has no setting for it; multiply ${role} by ${show(scale)} yourself after it is made, and this is exact`,
      });
  }
  if ((recipe.init ?? "standard") !== "standard")
    deviations.push({
      field: "init",
      needed: recipe.init,
      used: "standard",
      error:
        "the library starts A at random and B at zero; overwrite both yourself after they are made, and this is exact",
    });
  if (recipe.branchBias)
    deviations.push({
      field: "branchBias",
      needed: true,
      used: false,
      error: "the library has no bias inside the scaled branch",
    });
  deviations.push(...clipping(library, recipe));
  if (!library.biasCorrection && ["adam", "adamw"].includes(recipe.optimizer.name))
    deviations.push(correction(recipe));
  const decay = groups[reference]?.weightDecay;
  if (!library.coupledDecay && recipe.optimizer.name === "adam" && decay !== 0) {
    for (const own of Object.values(groups)) own.weightDecay = 0;
    deviations.push({
      field: "weightDecay",
      needed: decay,
      used: 0,
      error: "the library's Adam has no decay, and that of AdamW is another one",
    });
  }
  return { recipe: { ...recipe, groups } as Recipe, deviations }; // the same optimizer with other numbers
}

function clipping(library: Library, { clip }: Recipe): Deviation[] {
  if (!clip || library.groups === "any") return [];
  const plain =
    clip.kind === "globalNorm" && (!clip.weights || Object.values(clip.weights).every((w) => w === 1));
  if (library.clips && plain) {
    if (clip.eps === undefined || clip.eps === 1e-6) return [];
    return [
      {
        field: "clip.eps",
        needed: clip.eps,
        used: 1e-6,
        error: "each clipped step differs by about this over the norm",
        measured: 4e-7,
      },
    ];
  }
  return [
    {
      field: "clip",
      needed: clip,
      used: library.clips ? "the plain global norm" : "no clipping",
      error: "clipped steps have another size; none differs where no step is clipped",
    },
  ];
}

/** Adam's averages start at zero; without correction the first updates have another size. */
function correction(recipe: Recipe): Deviation {
  const {
    betas: [b1, b2],
  } = hyperOf<"adam">(recipe as Recipe<"adam">, "A"); // its kind was asked for
  const excess = (t: number) => (1 - b1 ** t) / Math.sqrt(1 - b2 ** t);
  let [largest, at] = [excess(1), 1];
  for (let t = 2; t <= 10_000; t++) if (excess(t) > largest) [largest, at] = [excess(t), t];
  return {
    field: "biasCorrection",
    needed: true,
    used: false,
    error:
      `update t is (1 - b1^t) / sqrt(1 - b2^t) times what it has to be: ${excess(1).toFixed(2)} times at first, at most ` +
      `${largest.toFixed(2)} times at update ${at}, ${excess(1000).toFixed(2)} times at update 1000. ` +
      "Set bias_correction to true in optimizer_config, and this is exact",
  };
}

function effect(recipe: Recipe, role: Role, field: string, needed: unknown, used: unknown): string {
  if (typeof needed !== "number" || typeof used !== "number") return "the update rule is another one";
  const power = ruleFor("gauge.convert", recipe, role).hyper[field] ?? 0;
  if (field.startsWith("eps")) {
    // With eps inside the root the sum is v + eps, so the change of the root is half as large relatively.
    const gradient =
      power === -2 ? Math.sqrt(Math.abs(used - needed) / 0.02) : Math.abs(used - needed) / 0.01;
    return `an update of ${role} changes by up to ${rounded(Math.max(used, needed) / Math.min(used, needed))} times where its gradient is far below ${show(Math.max(used, needed))}, and by less than 1% where it is above ${show(Number(gradient.toPrecision(2)))}`;
  }
  if (field === "weightDecay")
    return `${role} shrinks ${used < needed ? "less" : "more"} than it has to, ${show(used)} instead of ${show(needed)} as the decay`;
  if (field.startsWith("lr")) return `every update of ${role} is ${times(used / needed)} than it has to be`;
  return `the number of ${role} is ${times(used / needed)} than it has to be`;
}

function same(x: unknown, y: unknown): boolean {
  return JSON.stringify(x) === JSON.stringify(y);
}
