import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { plural } from "../base/text.ts";
import { canonical, type Invariant } from "./canonical.ts";
import { checkRecipe } from "./check.ts";
import { close } from "./close.ts";
import { flatten } from "./compare.ts";
import { convert } from "./convert.ts";
import { aligned, checkUpdates } from "./course.ts";
import type { Recipe } from "./recipe.ts";

/**
 * Recipes to try: a list, or one recipe with the values that some of its fields take. Fields are paths in the recipe
 * (`"alpha"`, `"optimizer.lr"`, `"groups.B.lr"`, `"initScale.A"`), `"ratio"`, the rate of B over that of A, or `"scaling"`: `"lora"`,
 * `"rslora"`, or the multiplier in place of alpha.
 */
export type Grid =
  | readonly Recipe[]
  | { readonly recipe: Recipe; readonly vary: { readonly [path: string]: readonly unknown[] } };

/** Cells of a grid that are one training run. */
export interface SameRun {
  /** Their places in the list of cells, the first one first. */
  readonly cells: readonly number[];
  /** The number of `groups` that the run is in. */
  readonly group: number;
  readonly invariants: readonly Invariant[];
  /** The run with usual initial values at the alpha of the plan. */
  readonly recipe: Recipe;
}

/** Runs that differ by one invariant only (constants such as eps aside), in its order. */
export interface Line {
  readonly along: string;
  readonly formula: string;
  readonly values: readonly number[];
  /** Places in `groups`. */
  readonly groups: readonly number[];
}

/** A field that a grid varies, and what it moves. */
export interface Knob {
  readonly name: string;
  readonly values: number;
  /** Names of the invariants, and of what no gauge changes, that differ along it. */
  readonly moves: readonly string[];
}

/** What a sweep really covers. */
export interface SweepPlan {
  readonly cells: number;
  /** One for each training run there is among the cells. */
  readonly runs: readonly SameRun[];
  /** Runs (by their places) whose rates agree, and that differ by eps, decay or another constant only. */
  readonly groups: readonly (readonly number[])[];
  readonly lines: readonly Line[];
  /** The number of independent directions in which rates, starts and thresholds vary: at most 2 for the rates of A and B. */
  readonly dimensions: number;
  readonly knobs: readonly Knob[];
  /** The smallest sweep over the same ground: one recipe for each run, at one alpha with usual initial values. */
  readonly sweep: readonly Recipe[];
  readonly words: readonly string[];
}

export interface DedupeOptions {
  /** The most cells that are taken. Default 4096. */
  readonly limit?: number;
  /** Relative difference below which numbers are equal. Default 1e-9, the digits that people type. */
  readonly tolerance?: number;
  /** How many updates the runs have, where it is known: see `explain`. */
  readonly updates?: number;
  /** The alpha of the plan. Default that of the first cell. */
  readonly alpha?: number | "r";
}

const operation = "gauge.dedupe";

/**
 * Which cells of a sweep are the same training run, which differ by one quantity only, and the smallest sweep that
 * covers the same ground.
 *
 * @throws ValueError for a grid that is empty or has more cells than the limit, a bad recipe (with its cell), a path
 *   that leads nowhere.
 * @example
 * const recipe = { r: 8, alpha: 8, optimizer: { name: "sgd", lr: 0.1 } } as const;
 * const plan = dedupe({ recipe, vary: { alpha: [8, 16, 32], ratio: [1, 4, 16] } });
 * plan.cells; // 9
 * plan.runs.length; // 5: under SGD a ratio of 4 is an alpha twice as large
 */
export function dedupe(
  grid: Grid,
  { limit = 4096, tolerance = 1e-9, updates, alpha }: DedupeOptions = {},
): SweepPlan {
  checkUpdates(operation, updates);
  const { recipes, axes } = cellsOf(grid, limit);
  const checked = recipes.map((recipe, i) => checkRecipe(recipe, `${operation}: cell ${i}`));
  const canonicals = aligned(checked, tolerance, updates).map((recipe, i) =>
    inCell(i, () => canonical(recipe)),
  );
  const at = alpha ?? recipes[0]!.alpha;

  // Numbers that are equal up to the tolerance get one name, so that keys are equal or not: `compare` without pairs.
  const known = canonicals.map(flatten);
  const names = [...new Set(known.flatMap((of) => [...of.keys()]))];
  const clusters = new Map(
    names.map((name) => [
      name,
      cluster(
        known.map((of) => of.get(name)),
        tolerance,
      ),
    ]),
  );
  const keyOf = (i: number, of: readonly string[]) =>
    JSON.stringify(of.map((name) => clusters.get(name)![i] ?? null));
  const kinds = new Map(
    canonicals.flatMap(({ invariants }) =>
      invariants.flatMap(({ name, kind, value }) =>
        [value]
          .flat()
          .map((_, i, { length }): [string, string] => [length === 1 ? name : `${name}.${i}`, kind]),
      ),
    ),
  );
  const coarse = names.filter((name) => kinds.get(name) !== "constant");
  const quantities = coarse.filter((name) => kinds.has(name));

  const cells = groupBy(
    recipes.map((_, i) => i),
    (i) => keyOf(i, names),
  );
  const groups = groupBy(
    cells.map((_, run) => run),
    (run) => keyOf(cells[run]![0]!, coarse),
  );
  const groupOf = new Map(groups.flatMap((runs, group) => runs.map((run): [number, number] => [run, group])));
  const runs = cells.map((of, run): SameRun => {
    const first = of[0]!;
    return {
      cells: of,
      group: groupOf.get(run)!,
      invariants: canonicals[first]!.invariants,
      recipe: inCell(first, () => usual(recipes[first]!, at)),
    };
  });

  const representative = (group: number) => runs[groups[group]![0]!]!.cells[0]!;
  const formulaOf = (i: number, name: string) =>
    canonicals[i]!.invariants.find((each) => name === each.name || name.startsWith(`${each.name}.`))!.formula;
  const lines = quantities.flatMap((name): Line[] => {
    const others = coarse.filter((other) => other !== name);
    const along = groupBy(
      groups.map((_, group) => group),
      (group) => keyOf(representative(group), others),
    );
    return along.flatMap((members): Line[] => {
      const points = members.flatMap((group) => {
        const value = known[representative(group)]!.get(name);
        return typeof value === "number" ? [{ group, value }] : [];
      });
      if (points.length < 2) return [];
      points.sort((x, y) => x.value - y.value);
      const formula = formulaOf(representative(points[0]!.group), name);
      return [
        { along: name, formula, values: points.map((p) => p.value), groups: points.map((p) => p.group) },
      ];
    });
  });
  /** The logarithms of what a cell's rates, starts and thresholds come to; 0 lies below all of them. */
  const place = (i: number) =>
    quantities.map((name) => Math.max(Math.log(Math.abs(Number(known[i]!.get(name) ?? 1))), -1000));
  const origin = place(0);
  const dimensions = rank(groups.map((_, group) => minus(place(representative(group)), origin)));
  const turned = axes.map(({ name, values, stride }): TurnedKnob => {
    const steps = recipes.flatMap((_, i): [number, number][] => {
      const next = i + stride;
      const sameRow = Math.floor(i / (stride * values)) === Math.floor(next / (stride * values));
      return next < recipes.length && sameRow ? [[i, next]] : [];
    });
    const moves = names.filter((each) => {
      const numbers = clusters.get(each)!;
      return steps.some(([from, to]) => numbers[from] !== numbers[to]);
    });
    const directions = steps.map(([from, to]) => minus(place(to), place(from)));
    return { name, values, moves, directions };
  });
  const plan = {
    cells: recipes.length,
    runs,
    groups,
    lines,
    dimensions,
    knobs: turned.map(({ directions: _, ...knob }) => knob),
    sweep: runs.map(({ recipe }) => recipe),
  };
  return { ...plan, words: describePlan(plan, turned, kinds) };
}

/** A knob with the change of the logarithms of rates, starts and thresholds at each step along it. */
interface TurnedKnob extends Knob {
  readonly directions: readonly (readonly number[])[];
}

interface Axis {
  readonly name: string;
  readonly list: readonly unknown[];
  readonly values: number;
  /** Cells from one value to the next. */
  readonly stride: number;
}

/**
 * How many cells a grid has, which are not made for it.
 *
 * @throws ValueError for what is no grid.
 * @example
 * gridSize({ recipe: { r: 8, alpha: 8, optimizer: { name: "sgd", lr: 0.1 } }, vary: { alpha: [8, 16], r: [4, 8] } }); // 4
 */
export function gridSize(grid: Grid): number {
  if (Array.isArray(grid)) return grid.length;
  return pathsOf(grid).reduce((cells, [, values]) => cells * values.length, 1);
}

/** A cell of a grid: its recipe, and the values that its fields that vary have there. */
export interface GridCell {
  readonly recipe: Recipe;
  readonly at: { readonly [path: string]: unknown };
}

/**
 * The cells of a grid, in the order in which `dedupe` numbers them. A list of recipes varies nothing by name.
 *
 * @throws ValueError as `dedupe` does, recipes aside, which are not looked at.
 * @example
 * const recipe = { r: 8, alpha: 8, optimizer: { name: "sgd", lr: 0.1 } } as const;
 * gridCells({ recipe, vary: { alpha: [8, 16] } })[1]!.at; // { alpha: 16 }
 */
export function gridCells(
  grid: Grid,
  { limit = 4096 }: Pick<DedupeOptions, "limit"> = {},
): readonly GridCell[] {
  const { recipes, axes } = cellsOf(grid, limit);
  return recipes.map((recipe, i) => ({
    recipe,
    at: Object.fromEntries(
      axes.map(({ name, list, stride }) => [name, list[Math.floor(i / stride) % list.length]]),
    ),
  }));
}

/** Fields that follow from others, and come after them: the ratio from the rate, the scaling from the rank. */
export const derived: ReadonlySet<string> = new Set(["ratio", "scaling"]);

/** The fields of a grid that vary, with their values, those that follow from others last. */
function pathsOf(grid: Grid): readonly (readonly [path: string, values: readonly unknown[]])[] {
  const { recipe, vary } = (isPlainObject(grid) ? grid : {}) as Partial<Exclude<Grid, readonly Recipe[]>>; // not a list
  if (!isPlainObject(recipe) || !isPlainObject(vary))
    throw new ValueError(
      `${operation}: a grid is a list of recipes, or { recipe, vary: { path: [values] } }.`,
    );
  const unknown = Object.keys(grid).filter((name) => name !== "recipe" && name !== "vary");
  if (unknown.length > 0)
    throw new ValueError(
      `${operation}: the unknown field ${unknown[0]}. Fields of a grid are recipe and vary.`,
    );
  const paths = Object.keys(vary).sort((x, y) => Number(derived.has(x)) - Number(derived.has(y)));
  return paths.map((path) => {
    const values: unknown = vary[path];
    if (!Array.isArray(values) || values.length === 0)
      throw new ValueError(`${operation}: vary.${path} is ${show(values)}; it is a list of values.`);
    return [path, values] as const;
  });
}

function cellsOf(
  grid: Grid,
  limit: number,
): { readonly recipes: readonly Recipe[]; readonly axes: readonly Axis[] } {
  const tooLarge = (cells: number): never => {
    throw new ValueError(
      `${operation}: the grid has ${cells} cells; at most ${limit} are taken. Vary fewer fields, or give a limit.`,
    );
  };
  if (!(Number.isInteger(limit) && limit >= 1))
    throw new ValueError(`${operation}: limit is ${limit}; it is an integer >= 1.`);
  if (Array.isArray(grid)) {
    if (grid.length === 0)
      throw new ValueError(`${operation}: the grid has no cells. Give at least one recipe.`);
    if (grid.length > limit) tooLarge(grid.length);
    return { recipes: grid, axes: [] };
  }
  const paths = pathsOf(grid);
  const cells = gridSize(grid);
  if (cells > limit) tooLarge(cells);
  let recipes: readonly Recipe[] = [(grid as Exclude<Grid, readonly Recipe[]>).recipe]; // no list, as seen above
  const axes: Axis[] = [];
  let stride = cells;
  for (const [path, values] of paths) {
    stride /= values.length;
    if (values.length > 1) axes.push({ name: path, list: values, values: values.length, stride });
    recipes = recipes.flatMap((each) => values.map((value) => withField(each, path, value)));
  }
  return { recipes, axes };
}

/** A recipe with another value at a path; what is wrong with it shows when the cell is checked. */
function withField(recipe: Recipe, path: string, value: unknown): Recipe {
  if (path === "ratio") {
    if (!(typeof value === "number" && value > 0 && value < Infinity))
      throw new ValueError(`${operation}: vary.ratio has ${show(value)}; ratios are finite numbers > 0.`);
    if (recipe.groups?.B?.lr !== undefined)
      throw new ValueError(
        `${operation}: both ratio and groups.B.lr are given; each sets the rate of B. Give one.`,
      );
    const lr = (recipe.groups?.A?.lr ?? recipe.optimizer.lr) * value;
    return withField(recipe, "groups.B.lr", lr);
  }
  if (path === "scaling") return scaled(recipe, value);
  const [first, ...rest] = path.split(".");
  const set = (node: unknown, keys: readonly string[]): unknown => {
    if (keys.length === 0) return value;
    if (node !== undefined && (typeof node !== "object" || node === null))
      throw new ValueError(`${operation}: vary.${path} leads into ${show(node)}, which has no fields.`);
    const [key, ...more] = keys as readonly [string, ...string[]];
    const fields = { ...node } as Record<string, unknown>;
    return { ...fields, [key]: set(fields[key], more) };
  };
  return set(recipe, [first!, ...rest]) as Recipe; // checked when all fields are set
}

/** With a mode of scaling, or the alpha that makes it a multiplier. */
function scaled(recipe: Recipe, scaling: unknown): Recipe {
  const mode = scaling === "lora" || scaling === "rslora";
  const sets = mode ? "rsLora" : "alpha";
  if (recipe[sets] !== undefined)
    throw new ValueError(
      `${operation}: both scaling and ${sets} are given; each sets the multiplier. Give one.`,
    );
  if (mode) return { ...recipe, rsLora: scaling === "rslora" };
  if (!(typeof scaling === "number" && scaling > 0 && scaling < Infinity))
    throw new ValueError(
      `${operation}: vary.scaling has ${show(scaling)}; it is lora, rslora or a finite number > 0.`,
    );
  return { ...recipe, alpha: scaling * (recipe.rsLora ? Math.sqrt(recipe.r) : recipe.r) };
}

function inCell<T>(i: number, f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError(`${operation}: cell ${i}: ${error.message}`);
  }
}

/** With usual initial values at one alpha, or as it is where no exact gauge leads there. */
function usual(recipe: Recipe, alpha: number | "r"): Recipe {
  try {
    return convert(recipe, { to: "loraPlus", alpha }, { inexact: "rewrite" }).recipe;
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    return recipe;
  }
}

/**
 * A name for each value: for numbers one for all that are equal to the least of them up to the tolerance, so that any
 * two of one name are, and chains do not join what is apart.
 */
function cluster(
  values: readonly (number | string | undefined)[],
  tolerance: number,
): readonly (number | string | undefined)[] {
  const result: (number | string | undefined)[] = values.map((value) =>
    typeof value === "number" ? undefined : value,
  );
  const order = values
    .flatMap((value, i) => (typeof value === "number" ? [{ value, i }] : []))
    .sort((x, y) => x.value - y.value);
  let [id, least] = [-1, Number.NaN];
  for (const { value, i } of order) {
    if (!close(value, least, tolerance)) [id, least] = [id + 1, value];
    result[i] = id;
  }
  return result;
}

function minus(x: readonly number[], y: readonly number[]): number[] {
  return x.map((value, i) => value - y[i]!);
}

/** The rank of vectors of logarithms: what is below a billionth is rounding. */
function rank(vectors: readonly (readonly number[])[]): number {
  const basis: number[][] = [];
  for (const vector of vectors) {
    let rest = [...vector];
    for (const unit of basis) {
      const along = rest.reduce((sum, x, i) => sum + x * unit[i]!, 0);
      rest = rest.map((x, i) => x - along * unit[i]!);
    }
    const size = Math.hypot(...rest);
    if (size > 1e-9) basis.push(rest.map((x) => x / size));
  }
  return basis.length;
}

function groupBy(items: readonly number[], key: (item: number) => string): number[][] {
  const groups = new Map<string, number[]>();
  for (const item of items) {
    const own = groups.get(key(item));
    if (own) own.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}

function describePlan(
  { cells, runs, groups, dimensions, lines }: Omit<SweepPlan, "words">,
  knobs: readonly TurnedKnob[],
  kinds: ReadonlyMap<string, string>,
): string[] {
  const words = [
    `${plural(cells, "cell")}, ${plural(runs.length, "different run")}` +
      (groups.length < runs.length ? `; ${groups.length} up to eps, decay and other constants.` : "."),
  ];
  for (const { name, moves } of knobs)
    words.push(moves.length > 0 ? `${name} moves ${moves.join(", ")}.` : `${name} changes nothing.`);
  const straight = knobs.filter(({ directions }) => rank(directions) === 1);
  const told = new Set<TurnedKnob>();
  for (const knob of straight) {
    if (told.has(knob)) continue;
    const alike = straight.filter((other) => rank([...knob.directions, ...other.directions]) === 1);
    for (const each of alike) told.add(each);
    if (alike.length < 2) continue;
    const others = ({ moves }: Knob) => moves.filter((name) => kinds.get(name) === "constant").join();
    const constants = alike.some((each) => others(each) !== others(knob))
      ? ", eps, decay and the like aside"
      : "";
    words.push(
      `${alike.map(({ name }) => name).join(" and ")} move the rates in one direction${constants}: one of them can do it all.`,
    );
  }
  words.push(`The ground has ${plural(dimensions, "dimension")} and ${plural(lines.length, "line")}.`);
  return words;
}
