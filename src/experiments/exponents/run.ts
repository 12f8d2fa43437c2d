import { type Exponent, type ExponentOptions, exponent } from "./exponent.ts";
import { type Agreement, judge, judgedConfidence } from "./judge.ts";
import type { Table } from "./tables.ts";
import type { Prediction } from "./theory.ts";

export interface MeasuredRow {
  readonly name: string;
  readonly theory: Prediction;
  /** The quantity, as `exponent` calls it. */
  readonly of: string;
  readonly optimizer: string;
  readonly measured: Exponent;
  readonly verdict: Agreement;
}

export interface MeasuredTable extends Omit<Table, "rows"> {
  readonly rows: readonly MeasuredRow[];
}

export interface RunOptions {
  /** Repetitions of each row; rows that train whole models get their share of them. */
  readonly seeds: number;
  /** Which repetitions. Default 0. */
  readonly seed?: number;
  /** Called after each measurement with those done, all, and the name of the row; may wait, and may throw. */
  readonly onProgress?: (done: number, total: number, what: string) => void | Promise<void>;
}

/** Measures every row of the tables on the default device. */
export async function measure(
  tables: readonly Table[],
  { seeds, seed = 0, onProgress }: RunOptions,
): Promise<MeasuredTable[]> {
  const rows = tables.flatMap((table) => table.rows);
  const plan = rows.map(({ options, share = 1, weight = 1 }) => {
    const own = Math.max(2, Math.round(share * seeds));
    return { seeds: own, work: own * weight * points(options) };
  });
  const total = plan.reduce((sum, { work }) => sum + work, 0);
  let done = 0;
  let at = 0;
  const measured: MeasuredTable[] = [];
  for (const { rows, ...table } of tables) {
    const results: MeasuredRow[] = [];
    for (const { name, theory, options } of rows) {
      const { seeds, work } = plan[at++]!;
      const before = done;
      const result = await exponent({
        ...options,
        seeds,
        seed,
        confidence: judgedConfidence,
        onProgress: (part, whole) => onProgress?.(before + (work * part) / whole, total, name),
      });
      done = before + work;
      const of = typeof options.of === "string" ? options.of : options.of.name;
      const optimizer = options.optimizer?.name ?? "adam";
      results.push({
        name,
        theory,
        of,
        optimizer,
        measured: result,
        verdict: judge(result.interval, theory),
      });
    }
    measured.push({ ...table, rows: results });
  }
  return measured;
}

function points({ over }: ExponentOptions): number {
  return Object.values(over).reduce((sum: number, values: readonly number[]) => sum + values.length, 0);
}
