import type { Column } from "../../base/table.ts";
import { estimate, type Interval } from "../exponents/statistics.ts";
import type { Folder } from "./folder.ts";
import type { Sweep } from "./plan.ts";
import type { Outcome } from "./task.ts";

/** What a cell came to under a seed. */
export interface SeedRow {
  readonly seed: number;
  readonly key: string;
  readonly ended: Outcome["ended"];
  /** Held-out, at the end; NaN where the run diverged. */
  readonly loss: number;
  /** Held-out, the least. */
  readonly best: number;
  readonly accuracy: number | undefined;
  readonly seconds: number;
  readonly outcome: Outcome;
}

/** A cell of the grid with what came of it. */
export interface CellRow {
  readonly cell: number;
  readonly at: { readonly [path: string]: unknown };
  readonly run: number;
  /** The cell whose run this is. */
  readonly as: number;
  readonly seeds: readonly SeedRow[];
  readonly diverged: number;
  /** The mean held-out loss at the end with Student's 95 % interval; NaN where a seed diverged or none is there. */
  readonly loss: number;
  readonly interval: Interval;
}

/** The rows of a sweep, as far as there are results, and the keys that have none. */
export function rowsOf(
  { grid, runs, seeds }: Sweep,
  folder: Pick<Folder, "read">,
): { readonly rows: readonly CellRow[]; readonly missing: readonly string[] } {
  const missing: string[] = [];
  const found = runs.map(({ keys }) =>
    keys.flatMap((key, i): SeedRow[] => {
      const kept = folder.read(key);
      if (!kept) {
        missing.push(key);
        return [];
      }
      const outcome = kept.result as Outcome; // as a sweep wrote it
      const diverged = outcome.ended === "diverged";
      const losses = outcome.evaluations.map(({ loss }) => finite(loss));
      return [
        {
          seed: seeds[i]!,
          key,
          ended: outcome.ended,
          loss: diverged ? Number.NaN : losses.at(-1)!,
          best: Math.min(...losses.filter((loss) => !Number.isNaN(loss))),
          accuracy: diverged ? undefined : outcome.evaluations.at(-1)?.accuracy,
          seconds: kept.seconds,
          outcome,
        },
      ];
    }),
  );
  const rows = grid.map(({ at, run }, cell): CellRow => {
    const own = found[run]!;
    const losses = own.map(({ loss }) => loss);
    const { value, interval } =
      losses.length === 0 || losses.some(Number.isNaN)
        ? { value: Number.NaN, interval: [Number.NaN, Number.NaN] as const }
        : estimate(losses);
    return {
      cell,
      at,
      run,
      as: runs[run]!.cells[0]!,
      seeds: own,
      diverged: own.filter(({ ended }) => ended === "diverged").length,
      loss: value,
      interval,
    };
  });
  return { rows, missing };
}

/** A number of a file, where null stands for what is not finite. */
export const finite = (value: number | null) => value ?? Number.NaN;

/** The cells with the least losses, one for each run, those that diverged left out. */
export function bestOf(rows: readonly CellRow[], count: number): readonly CellRow[] {
  return rows
    .filter(({ cell, as, loss }) => cell === as && !Number.isNaN(loss))
    .sort((a, b) => a.loss - b.loss)
    .slice(0, count);
}

/** How a value of a field is written. */
export function valueText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** The rows for people. */
export function tableOf({ varies }: Pick<Sweep, "varies">, rows: readonly CellRow[]): readonly Column[] {
  const [best] = bestOf(rows, 1);
  const right = (title: string, cell: (row: CellRow) => string): Column => ({
    title,
    cells: rows.map(cell),
    align: "right",
  });
  const number = (x: number) => (Number.isNaN(x) ? "" : x.toFixed(4));
  return [
    right("cell", ({ cell }) => String(cell)),
    ...varies.map((path) => right(path, ({ at }) => valueText(at[path]))),
    right("held-out loss", ({ loss, diverged, seeds }) =>
      diverged > 0 ? `${diverged} of ${seeds.length} diverged` : number(loss),
    ),
    right("95 % interval", ({ interval: [low, high] }) =>
      Number.isNaN(low) ? "" : `${number(low)} to ${number(high)}`,
    ),
    right("seeds", ({ seeds }) => String(seeds.length)),
    {
      title: "",
      cells: rows.map((row) =>
        row.as !== row.cell ? `same run as ${row.as}` : row.run === best?.run ? "best" : "",
      ),
    },
  ];
}

/** A line for each cell and seed. */
export function csvOf({ varies }: Pick<Sweep, "varies">, rows: readonly CellRow[]): string {
  const quoted = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const titles = ["cell", ...varies, "run", "seed", "ended", "loss", "best", "accuracy", "seconds", "key"];
  const lines = rows.flatMap(({ cell, at, run, seeds }) =>
    seeds.map(({ seed, ended, loss, best, accuracy, seconds, key }) =>
      [
        String(cell),
        ...varies.map((path) => valueText(at[path])),
        ...[run, seed, ended, loss, best, accuracy ?? "", seconds, key].map(String),
      ].map(quoted),
    ),
  );
  return `${[titles.map(quoted), ...lines].map((line) => line.join(",")).join("\n")}\n`;
}
