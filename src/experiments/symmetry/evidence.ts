import type { FloatDType, HostArray } from "../../base/dtype.ts";
import { ValueError } from "../../base/errors.ts";
import * as gauge from "../../gauge/index.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { scalar } from "../../tensor/creation.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { train } from "../../train/index.ts";
import type { Form } from "./forms.ts";

/** A run and its gauge partner, compared over all steps. */
export interface Evidence {
  readonly form: string;
  /** Largest relative difference of the loss at any step for a generic gauge. */
  readonly float64: number;
  readonly float32: number;
  /** For a gauge of powers of two: losses equal and parameters equal after rescaling, to the last bit. */
  readonly bitwise: boolean;
  /** The same as `float64` when one rescaled hyperparameter is left as it was. */
  readonly unchanged: Readonly<Record<string, number>>;
}

/** Why a form has no exact partner. */
export interface Refused {
  readonly form: string;
  readonly refused: string;
}

const steps = 60;
const sizes = [12, 16, 10] as const;
const batch = 16;
const generic = gauge.of({ a: 0.37, b: 1.9 });
const powers = gauge.of({ a: 1 / 4, b: 8 });

/** Two adapted layers of rank 4 with tanh between, dropout 0.1, both factors random, mean squared error. */
function recipeOf({ optimizer }: Form): gauge.Recipe {
  return { r: 4, alpha: 8, dropout: 0.1, init: "random", optimizer } as gauge.Recipe; // forms hold recipes' optimizers
}

/**
 * Trains a small network with an optimizer and with its gauge partners on the default device, which must be the
 * CPU for float64.
 *
 * @returns What was measured, or why no partner exists.
 */
export async function evidence(form: Form, seed = 0): Promise<Evidence | Refused> {
  const recipe = recipeOf(form);
  let partner: gauge.Recipe;
  try {
    partner = gauge.apply(generic, recipe);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    return { form: form.name, refused: error.message };
  }
  const [wide, narrow] = [await trainer("float64", seed), await trainer("float32", seed)];
  const [reference, single] = [await wide(recipe), await narrow(recipe)];
  const unchanged: Record<string, number> = {};
  for (const name of rescaled(recipe, partner)) {
    const wrong = await wide(withOriginal(partner, recipe, name), generic);
    unchanged[name] = deviation(reference, wrong);
  }
  const exact = await narrow(gauge.apply(powers, recipe), powers);
  return {
    form: form.name,
    float64: deviation(reference, await wide(partner, generic)),
    float32: deviation(single, await narrow(partner, generic)),
    bitwise: deviation(single, exact) === 0 && sameParameters(single, exact, powers),
    unchanged,
  };
}

/** Hyperparameters that the gauge changed for A or B. */
function rescaled(recipe: gauge.Recipe, partner: gauge.Recipe): string[] {
  const before = gauge.hyperOf(recipe, "A") as unknown as Record<string, unknown>;
  const changed = (["A", "B"] as const).flatMap((role) =>
    Object.entries(partner.groups?.[role] ?? {}).flatMap(([name, value]) =>
      JSON.stringify(value) === JSON.stringify(before[name]) ? [] : [name],
    ),
  );
  return [...new Set(changed)];
}

function withOriginal(partner: gauge.Recipe, recipe: gauge.Recipe, name: string): gauge.Recipe {
  const original = (gauge.hyperOf(recipe, "A") as unknown as Record<string, unknown>)[name];
  const groups = Object.fromEntries(
    Object.entries(partner.groups ?? {}).map(([role, own]) => [role, { ...own, [name]: original }]),
  );
  return { ...partner, groups } as gauge.Recipe; // one number of a recipe replaced by that of another
}

interface Trained {
  readonly losses: readonly number[];
  readonly parameters: ReadonlyMap<string, HostArray>;
}

type Train = (recipe: gauge.Recipe, from?: gauge.Gauge) => Promise<Trained>;

/** Trains recipes that differ in numbers only: same data, same dropout, initial factors up to the gauge. */
async function trainer(dtype: FloatDType, seed: number): Promise<Train> {
  const key = random.key(seed);
  const base = nn.mlp([...sizes], { activation: (x) => x.tanh() });
  const cast = (x: Tensor): Tensor => (dtype === "float64" ? x.astype(dtype).mul(scalar(Math.PI / 3)) : x);
  const [x, y] = await tree.evaluate([
    cast(random.normal(key.fold("x"), [batch, sizes[0]])),
    cast(random.normal(key.fold("y"), [batch, sizes[2]])),
  ] as const);

  return async (recipe, from) => {
    const model = lora.inject(base, { ...recipe, initScale: {}, targetModules: "all-linear" });
    const fresh = tree.map(model.init(key.fold("model")), cast);
    const run = train({
      params: from ? gauge.applyParams(from, fresh) : fresh,
      loss: (params: nn.Params, data: { readonly x: Tensor; readonly y: Tensor }, context) =>
        nn.mseLoss(model.apply(params, data.x, context), data.y),
      recipe,
      batches: () => ({ x, y }),
      steps,
      key: key.fold("dropout"),
      nonFinite: "continue",
    });
    await run.toEnd();
    const parameters = new Map(
      await Promise.all(
        tree.entries(run.trained).map(async ([path, leaf]) => [path, await leaf.data()] as const),
      ),
    );
    return { losses: run.losses, parameters };
  };
}

/** Largest relative difference of the losses; infinite where one is not finite. */
function deviation(reference: Trained, run: Trained): number {
  let worst = 0;
  reference.losses.forEach((loss, i) => {
    const relative = Math.abs(run.losses[i]! - loss) / Math.abs(loss);
    worst = Math.max(worst, Number.isFinite(relative) ? relative : Infinity);
  });
  return worst;
}

function sameParameters(reference: Trained, run: Trained, g: gauge.Gauge): boolean {
  return [...reference.parameters].every(([path, values]) => {
    const c = gauge.factor(g, lora.roleOf(path));
    return values.every((value, i) => value * c === run.parameters.get(path)![i]);
  });
}
