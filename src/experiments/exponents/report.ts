import { colors, type Figure, htmlFigures, lineChart } from "../charts.ts";
import { escapeXml, htmlTable, page } from "../page.ts";
import { judgedConfidence } from "./judge.ts";
import type { MeasuredTable } from "./run.ts";
import { columns, headline } from "./summary.ts";

export interface ExponentResults {
  /** Version of this layout. */
  readonly format: 1;
  readonly lorantz: string;
  readonly seed: number;
  readonly seeds: number;
  readonly seconds: number;
  readonly tables: readonly MeasuredTable[];
}

/** The exponents as one HTML page: a table and plots for each group of rows. */
export async function report(results: ExponentResults): Promise<string> {
  const { tables, seed, seeds, seconds, lorantz } = results;
  const differs = tables.some(({ rows }) => rows.some(({ verdict }) => verdict === "differs"));
  return page(
    "Lorantz: exponents of LoRA, measured",
    `<h1>Exponents of LoRA, measured</h1>
<p class="verdict ${differs ? "bad" : "good"}">${escapeXml(headline(tables))}</p>
<p>Each exponent is a slope in logarithms, fitted for each seed alone. It agrees with theory if its interval of
${100 * judgedConfidence} % holds theory's value at these sizes and none of the exponents 1/2 above and below the limit. Seed
${seed}, ${seeds} repetitions (fewer where whole models are trained), ${Math.round(seconds)} s, Lorantz ${escapeXml(lorantz)}.</p>
${(await Promise.all(tables.map(section))).join("\n")}`,
  );
}

async function section(table: MeasuredTable): Promise<string> {
  const { title, about, rows } = table;
  const broken = (row: number) => (rows[row]!.verdict === "differs" ? "broken" : undefined);
  return `<h2>${escapeXml(title)}</h2>
<p>${escapeXml(about)}</p>
${htmlTable(columns(table), title, 0, broken)}
${await htmlFigures(figures(table))}`;
}

/** Of at most as many lines as there are colours. */
function figures({ title, rows }: MeasuredTable): readonly Figure[] {
  const parts = Array.from({ length: Math.ceil(rows.length / colors.length) }, (_, i) =>
    rows.slice(i * colors.length, (i + 1) * colors.length),
  );
  return parts.map((part, i) => ({
    caption: parts.length > 1 ? `Part ${i + 1} of ${parts.length}.` : "",
    chart: lineChart({
      title,
      x: part[0]!.measured.over,
      y: "measured",
      lines: part.map(({ name, measured: { points } }) => ({
        name,
        xs: points.map(({ x }) => x),
        ys: points.map(({ value }) => value),
      })),
      log: { x: true, y: true },
      points: true,
    }),
  }));
}
