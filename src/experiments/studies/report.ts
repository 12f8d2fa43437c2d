import { table } from "../../base/table.ts";
import { describeResult, figure } from "../claims/summary.ts";
import { page } from "../page.ts";
import { escapeXml, linePlot } from "../theorem/svg.ts";
import type { StudyResult } from "./run.ts";
import type { Plot, Table } from "./study.ts";

const cell = (value: string | number) => (typeof value === "number" ? figure(value) : value);

/** The design in a list, so that it is seen how a verdict came about. */
function designOf({
  design,
  setting,
  model,
  runs,
}: StudyResult): readonly (readonly [name: string, text: string])[] {
  const { task, metric, grid, contrast, smallest, choice, correction, turns } = design;
  const { steps, batch, seed, comparison } = setting;
  return [
    ["model", `${model.name} (${model.key})`],
    ["task", task],
    ["metric", metric],
    ["grid", grid],
    ["runs", `${runs}, of ${steps} steps on batches of ${batch} where the grid does not say otherwise`],
    ["contrast", contrast],
    [
      "seeds",
      `${comparison} to compare by${choice ? `, ${setting.choice} others to choose by` : ""}, from ${seed}`,
    ],
    ...(choice === undefined ? [] : [["choice", choice] as const]),
    ["smallest", `effect that is seen: ${smallest}`],
    ["correction", correction],
    ["turns", `the verdict: ${turns}`],
  ];
}

/** A study as text. */
export function describeStudy(result: StudyResult): string {
  const design = designOf(result).map(([name, text]) => `  ${name.padEnd(10)} ${text}`);
  const tables = result.tables.map(
    ({ title, head, rows }) =>
      `${title}\n${table(head.map((name, i) => ({ title: name, cells: rows.map((row) => cell(row[i]!)), align: typeof rows[0]?.[i] === "number" ? ("right" as const) : ("left" as const) })))}`,
  );
  return [`${result.title}\n${design.join("\n")}`, ...tables, ...result.results.map(describeResult)].join(
    "\n\n",
  );
}

/** Studies as a page, with their figures. */
export function studiesPage(results: readonly StudyResult[]): string {
  const parts = results.map((result) => {
    const design = designOf(result)
      .map(([name, text]) => `<dt>${name}</dt><dd>${escapeXml(text)}</dd>`)
      .join("");
    const verdicts = result.results
      .map(
        ({ id, verdict, statement }) =>
          `<li><strong>${id}</strong> ${escapeXml(statement)} <em>${verdict}</em></li>`,
      )
      .join("");
    return `<h2>${escapeXml(result.title)}</h2><dl>${design}</dl><ul>${verdicts}</ul>${result.tables.map(tableOf).join("")}${result.plots.map(plotOf).join("")}`;
  });
  return page(
    "Experiments on a language model",
    `<h1>Experiments on a language model</h1>${parts.join("\n")}`,
  );
}

function tableOf({ title, head, rows }: Table): string {
  const cells = rows.map(
    ([first, ...rest]) =>
      `<tr><th>${escapeXml(cell(first!))}</th>${rest.map((value) => `<td class="number">${escapeXml(cell(value))}</td>`).join("")}</tr>`,
  );
  return `<figure class="scroll"><figcaption>${escapeXml(title)}</figcaption><table><thead><tr>${head.map((name) => `<th>${escapeXml(name)}</th>`).join("")}</tr></thead><tbody>${cells.join("")}</tbody></table></figure>`;
}

function plotOf({ title, x, y, log = false, series }: Plot): string {
  const svg = linePlot({
    title,
    yLabel: y,
    xLabel: x,
    xScale: log ? "log" : "linear",
    series: series.map(({ name, xs, ys }) => ({ name, steps: xs, ys })),
  });
  const keys = series.map(
    ({ name }, i) =>
      `<li><svg class="key" viewBox="0 0 28 8"><rect width="28" height="8" fill="var(--series-${i})"/></svg>${escapeXml(name)}</li>`,
  );
  return `<figure><figcaption>${escapeXml(title)}</figcaption>${svg}<ul class="legend">${keys.join("")}</ul></figure>`;
}
