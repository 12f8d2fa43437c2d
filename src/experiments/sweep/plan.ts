import { isPlainObject } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";
import { dedupe, type Grid, gridCells, type Recipe } from "../../gauge/index.ts";
import type { Cell } from "./cell.ts";
import { cellOf, type Setting, type SweepTask } from "./task.ts";

/** A sweep as data: what `sweep.json` holds, and all that its results need to be read. */
export interface Sweep<S = unknown> {
  readonly format: 1;
  readonly lorantz: string;
  readonly code: string;
  readonly setting: Setting;
  readonly sources: S;
  readonly seeds: readonly number[];
  /** The fields that vary. */
  readonly varies: readonly string[];
  /** The cells of the grid, each with the run that it is. */
  readonly grid: readonly {
    readonly at: { readonly [path: string]: unknown };
    readonly recipe: Recipe;
    readonly run: number;
  }[];
  /** Different runs: that of their first cell stands for all, with a key for each seed. */
  readonly runs: readonly {
    readonly recipe: Recipe;
    readonly cells: readonly number[];
    readonly keys: readonly string[];
  }[];
}

/** The most cells of a grid that are looked at. */
export const mostCells = 100_000;

/**
 * A grid as a sweep. Cells that are the same run by the gauge are one.
 *
 * @throws ValueError for a grid that is none or too large, and a bad recipe with its cell.
 */
export function sweepOf<S>(
  grid: Grid,
  about: Pick<Sweep<S>, "lorantz" | "code" | "setting" | "sources" | "seeds">,
): { readonly sweep: Sweep<S>; readonly cells: readonly Cell<SweepTask<S>>[] } {
  const limit = mostCells;
  const { runs } = dedupe(grid, { limit });
  const all = gridCells(grid, { limit });
  const { code, setting, sources, seeds } = about;
  const made = runs.map(({ cells: own }) => {
    const { recipe } = all[own[0]!]!;
    const cells = seeds.map((seed) => cellOf({ code, recipe, seed, setting, sources }));
    return { cells, run: { recipe, cells: own, keys: cells.map(({ key }) => key) } };
  });
  const runOf = new Map(runs.flatMap(({ cells }, run) => cells.map((cell): [number, number] => [cell, run])));
  return {
    sweep: {
      format: 1,
      ...about,
      varies: [...new Set(all.flatMap(({ at }) => Object.keys(at)))],
      grid: all.map((cell, i) => ({ ...cell, run: runOf.get(i)! })),
      runs: made.map(({ run }) => run),
    },
    cells: made.flatMap(({ cells }) => cells),
  };
}

/** A cell of a grid by what varies. */
export function cellName({ grid }: Pick<Sweep, "grid">, cell: number): string {
  const values = Object.entries(grid[cell]!.at).map(([path, value]) => `${path}=${String(value)}`);
  return values.join(" ") || `cell ${cell}`;
}

/** What has a key, in words. */
export function keyName({ grid, runs, seeds }: Pick<Sweep, "grid" | "runs" | "seeds">, key: string): string {
  const { cells, keys } = runs.find((run) => run.keys.includes(key))!;
  return `${cellName({ grid }, cells[0]!)}, seed ${seeds[keys.indexOf(key)]}`;
}

/** Which cells of a grid are run together with an earlier one, in words. */
export function sameRuns({ runs, grid }: Pick<Sweep, "runs" | "grid">): readonly string[] {
  const nameOf = (cell: number) => cellName({ grid }, cell);
  return runs.flatMap(({ cells: [first, ...others] }) =>
    others.length === 0 ? [] : [`${others.map(nameOf).join("; ")}: the same run as ${nameOf(first!)}`],
  );
}

/** @throws ValueError for what is no sweep of this format. */
export function checkSweep(where: string, data: unknown): Sweep {
  if (!isPlainObject(data) || data.format !== 1 || !Array.isArray(data.runs) || !Array.isArray(data.grid))
    throw new ValueError(`${where}: it is no sweep, which lorantz sweep writes as sweep.json.`);
  return data as unknown as Sweep; // as `sweepOf` made it
}
