import type { Column } from "../../base/table.ts";
import { judgedConfidence } from "./judge.ts";
import type { MeasuredTable } from "./run.ts";

/** The columns of a table of exponents. */
export function columns({ rows }: MeasuredTable): Column[] {
  return [
    { title: "exponent of", cells: rows.map(({ name }) => name) },
    {
      title: "in",
      cells: rows.map(({ measured }) => `${measured.over} = ${range(measured.points.map(({ x }) => x))}`),
    },
    { title: "limit", cells: rows.map(({ theory }) => signed(theory.limit, 1)), align: "right" },
    { title: "theory", cells: rows.map(({ theory }) => signed(theory.exponent, 3)), align: "right" },
    { title: "measured", cells: rows.map(({ measured }) => signed(measured.slope, 3)), align: "right" },
    {
      title: `${100 * judgedConfidence} % interval`,
      cells: rows.map(({ measured: { interval } }) => interval.map((x) => signed(x, 3)).join(" to ")),
    },
    { title: "R²", cells: rows.map(({ measured }) => measured.r2.toFixed(3)), align: "right" },
    { title: "seeds", cells: rows.map(({ measured }) => String(measured.seeds)), align: "right" },
    { title: "verdict", cells: rows.map(({ verdict }) => verdict) },
  ];
}

/** The outcome in one sentence. */
export function headline(tables: readonly MeasuredTable[]): string {
  const verdicts = tables.flatMap(({ rows }) => rows.map(({ verdict }) => verdict));
  const count = (which: string) => verdicts.filter((verdict) => verdict === which).length;
  return `${count("agrees")} of ${verdicts.length} exponents agree with theory, ${count("differs")} differ, ${count("undecided")} undecided.`;
}

function range(xs: readonly number[]): string {
  return `${xs[0]}..${xs.at(-1)}`;
}

function signed(x: number, digits: number): string {
  const text = x.toFixed(digits);
  if (Number(text) === 0) return (0).toFixed(digits);
  return x > 0 ? `+${text}` : text;
}
