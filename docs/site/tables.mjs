// The tables of docs/claims.md and docs/experiments.md, with their date and machine, from the JSON of commands.
import { made, row, writePart } from "./parts.mjs";

const sections = {
  stated: "",
  setting: "In its setting: ",
  condition: "Under a condition: ",
  beside: "Beside it: ",
};

function figure(x) {
  if (Number.isInteger(x) || Math.abs(x) >= 1000) return Math.round(x).toLocaleString("en");
  return Math.abs(x) < 1e-3 ? x.toExponential(1) : String(+x.toPrecision(3));
}
/** JSON has null for what is no number. */
const isKnown = (x) => x !== null;
const measured = ({ what, value, interval }) => {
  const shown = isKnown(value) ? figure(value) : "not known";
  if (!interval) return `${what}: ${shown}`;
  if (!interval.every(isKnown)) return `${what}: ${shown} (open: a best rate is at an end of its grid)`;
  return `${what}: ${shown} (${interval.map(figure).join(" to ")})`;
};
const measuredIn = (checks) =>
  Object.entries(sections)
    .flatMap(([axis, title]) => {
      const own = checks.filter((check) => check.axis === axis);
      return own.length > 0 ? `${title}${own.map(measured).join("; ")}.` : [];
    })
    .join(" ");

const counted = (results) => {
  const counts = new Map();
  for (const { verdict } of results) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  return [...counts].map(([verdict, count]) => `${verdict} ${count}`).join(", ");
};
const outcome = (result, axis) => result.outcomes[axis] ?? "–";

const ranges = (results) =>
  results[0].checks.flatMap(({ what, interval, axis }, i) => {
    const values = results.map(({ checks }) => checks[i].value);
    if (!interval || axis === "beside" || results.some(({ checks }) => checks[i].what !== what)) return [];
    return `${what}: ${figure(Math.min(...values))} to ${figure(Math.max(...values))}`;
  });
/** Of `lorantz claims --json` by seeds: one run, and several beside each other. */
export function writeClaims(runs) {
  const [first] = runs;
  const tested = first.results.filter(({ checks }) => checks);
  writePart("claims.md", "what came out", [
    `${made(first)}, seed ${first.seed}: ${counted(tested)}.`,
    "",
    row(["id", "what is claimed", "as stated", "own setting", "condition", "what was measured", "verdict"]),
    row(Array(7).fill("---")),
    ...tested.map((result) =>
      row([
        result.id,
        result.statement,
        ...["stated", "setting", "condition"].map((axis) => outcome(result, axis)),
        measuredIn(result.checks),
        result.verdict,
      ]),
    ),
  ]);

  const beside = tested.map(({ id }) =>
    runs.map(({ results }) => results.find((result) => result.id === id)),
  );
  const steady = beside.filter((results) => results.every(({ verdict }) => verdict === results[0].verdict));
  writePart("claims.md", "ten seeds", [
    `${made(runs.at(-1))}: ${steady.length} of ${tested.length} verdicts are the same under all ${runs.length}.`,
    "",
    row(["id", "verdicts", "measured"]),
    row(Array(3).fill("---")),
    ...beside
      .filter((results) => ranges(results).length > 0)
      .map((results) => row([results[0].id, counted(results), ranges(results).join("; ")])),
  ]);
}

/** Of `lorantz reproduce all`. */
export function writeExperiments(found) {
  const { studies } = found;
  const { steps, batch, comparison, choice, seed } = studies[0].setting;
  const judged = studies.flatMap(({ study, results }) => results.map((result) => ({ study, ...result })));
  const runs = studies.reduce((sum, study) => sum + study.runs, 0);
  writePart("experiments.md", "what came out", [
    `${made(found)}: *${studies[0].model.name}*, ${comparison} seeds from ${seed}, ${choice} others to choose by, ${steps} updates on batches of ${batch}, ${runs.toLocaleString("en")} runs: ${counted(judged)}.`,
    "",
    row(["id", "what is claimed", "experiment", "what was measured", "verdict"]),
    row(Array(5).fill("---")),
    ...judged.map(({ id, statement, study, checks, verdict }) =>
      row([id, statement, `\`${study}\``, measuredIn(checks), verdict]),
    ),
  ]);
}
