import { type Column, table } from "../../base/table.ts";
import { plural } from "../../base/text.ts";
import { htmlFigures, lineChart } from "../charts.ts";
import { checkColumns, describeResult, figure } from "../claims/summary.ts";
import { escapeXml, htmlFacts, htmlTable, page } from "../page.ts";
import { smallestSeen } from "./contrast.ts";
import type { StudyResult } from "./run.ts";
import type { Table } from "./study.ts";

const cell = (value: string | number) => (typeof value === "number" ? figure(value) : value);

/** The design in a list, so that it is seen how a verdict came about. */
function designOf({
  design,
  setting,
  model,
  runs,
  results,
}: StudyResult): readonly (readonly [name: string, text: string])[] {
  const { task, metric, grid, contrast, spread, choice, correction, turns } = design;
  const { steps, batch, seed, comparison } = setting;
  const checks = results.flatMap(({ checks = [] }) => checks);
  const levels = [...new Set(checks.flatMap(({ confidence }) => confidence ?? []))].sort((a, b) => a - b);
  const seen = levels.map(
    (level) => `${figure(smallestSeen(spread, comparison, level))} at ${figure(100 * level)} %`,
  );
  return [
    ["model", `${model.name} (${model.key})`],
    ["task", task],
    ["metric", metric],
    ["grid", grid],
    ["runs", `${runs}, of ${steps} steps on batches of ${batch} where the grid does not say otherwise`],
    ["contrast", contrast],
    [
      "seeds",
      `${comparison} to compare by${choice ? `, ${plural(setting.choice, "other")} to choose by` : ""}, from ${seed}`,
    ],
    ...(choice === undefined ? [] : [["choice", choice] as const]),
    [
      "smallest",
      `effect that is seen: ${seen.join(", ")}, for differences of a standard deviation of ${spread}`,
    ],
    ["correction", correction],
    ["turns", `the verdict: ${turns}`],
  ];
}

/** A study as text. */
export function describeStudy(result: StudyResult): string {
  const design = designOf(result).map(([name, text]) => `  ${name.padEnd(10)} ${text}`);
  const tables = result.tables.map((each) => `${each.title}\n${table(columnsOf(each))}`);
  return [`${result.title}\n${design.join("\n")}`, ...tables, ...result.results.map(describeResult)].join(
    "\n\n",
  );
}

function columnsOf({ head, rows }: Table): readonly Column[] {
  return head.map((title, i) => ({
    title,
    cells: rows.map((row) => cell(row[i]!)),
    align: typeof rows[0]?.[i] === "number" ? "right" : "left",
  }));
}

/** Studies as a page, with their figures. */
export async function studiesPage(results: readonly StudyResult[]): Promise<string> {
  const parts = results.map(async (result) => {
    const verdicts = result.results.map(
      ({ id, verdict, statement }) =>
        `<li><strong>${id}</strong> ${escapeXml(statement)} <em>${verdict}</em></li>`,
    );
    const measured = result.results.flatMap(({ id, checks = [] }) => checks.map((check) => ({ id, check })));
    const columns: readonly Column[] = [
      { title: "claim", cells: measured.map(({ id }) => id) },
      ...checkColumns(measured.map(({ check }) => check)),
    ];
    const tables = result.tables.map(
      (each) => `<p>${escapeXml(each.title)}</p>\n${htmlTable(columnsOf(each), each.title)}`,
    );
    const figures = result.plots.map((plot) => ({
      caption: "",
      chart: lineChart({ ...plot, points: true }),
    }));
    return `<h2>${escapeXml(result.title)}</h2>
${htmlFacts(designOf(result))}
<ul>${verdicts.join("")}</ul>
${htmlTable(columns, "What was measured")}
${tables.join("\n")}
${await htmlFigures(figures)}`;
  });
  return page(
    "Experiments on a language model",
    `<h1>Experiments on a language model</h1>\n${(await Promise.all(parts)).join("\n")}`,
  );
}
