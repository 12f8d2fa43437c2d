import { page } from "../page.ts";
import { escapeXml, legendKey, linePlot, type Series, seriesColors } from "../theorem/svg.ts";
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
export function report({ tables, seed, seeds, seconds, lorantz }: ExponentResults): string {
  const differs = tables.some(({ rows }) => rows.some(({ verdict }) => verdict === "differs"));
  return page(
    "Lorantz: exponents of LoRA, measured",
    `<h1>Exponents of LoRA, measured</h1>
<p class="verdict ${differs ? "bad" : "good"}">${escapeXml(headline(tables))}</p>
<p>Each exponent is a slope in logarithms, fitted for each seed alone. It agrees with theory if its interval of
${100 * judgedConfidence} % holds theory's value at these sizes and none of the exponents 1/2 above and below the limit. Seed
${seed}, ${seeds} repetitions (fewer where whole models are trained), ${Math.round(seconds)} s, Lorantz ${escapeXml(lorantz)}.</p>
${tables.map(section).join("\n")}`,
  );
}

function section(table: MeasuredTable): string {
  const shown = columns(table);
  const body = table.rows.map(({ verdict }, row) => {
    const cells = shown.map(
      ({ cells, align }) => `<td${align === "right" ? ' class="number"' : ""}>${escapeXml(cells[row]!)}</td>`,
    );
    return `<tr${verdict === "differs" ? ' class="broken"' : ""}>${cells.join("")}</tr>`;
  });
  return `<h2>${escapeXml(table.title)}</h2>
<p>${escapeXml(table.about)}</p>
<div class="scroll" tabindex="0" role="region" aria-label="${escapeXml(table.title)}"><table>
<thead><tr>${shown.map(({ title }) => `<th scope="col">${escapeXml(title)}</th>`).join("")}</tr></thead>
<tbody>
${body.join("\n")}
</tbody></table></div>
${figures(table)}`;
}

/** Plots of at most as many curves as there are colours. */
function figures({ title, rows }: MeasuredTable): string {
  const plots: string[] = [];
  for (let from = 0; from < rows.length; from += seriesColors) {
    const part = rows.slice(from, from + seriesColors);
    const series = part.map(
      ({ name, measured: { points } }): Series => ({
        name,
        steps: points.map(({ x }) => x),
        ys: points.map(({ value }) => value),
      }),
    );
    const plot = linePlot({
      title,
      yLabel: "measured",
      series,
      scale: "log",
      xScale: "log",
      xLabel: part[0]!.measured.over,
    });
    const legend = series.map(({ name }, i) => `<li>${legendKey(i)}<span>${escapeXml(name)}</span></li>`);
    plots.push(`<figure>\n${plot}\n<ul class="legend">\n${legend.join("\n")}\n</ul>\n</figure>`);
  }
  return plots.join("\n");
}
