import type { Column } from "../base/table.ts";
import { type Figure, htmlFigures, type Line, lineChart } from "../experiments/charts.ts";
import { htmlFacts, htmlTable, page } from "../experiments/page.ts";
import type { Recipe } from "../gauge/index.ts";
import type { EvaluationEvent } from "../train/index.ts";

/** What a fine-tuning came to, as `results.json` has it. Numbers that are not finite are null there. */
export interface TuneResults {
  /** Version of this layout. */
  readonly format: 1;
  readonly lorantz: string;
  readonly device: { readonly backend: string; readonly description: string };
  readonly model: {
    readonly folder: string;
    readonly family: string;
    readonly parameters: number;
    readonly trained: number;
  };
  readonly data: {
    readonly name: string;
    readonly examples: number;
    readonly tokens: number;
    readonly truncated: number;
  };
  readonly heldOut: { readonly name: string; readonly examples: number } | undefined;
  readonly recipe: Recipe;
  readonly targetModules: "all-linear" | readonly string[];
  readonly batch: {
    readonly size: number;
    readonly accumulate: number;
    readonly longest: number;
    readonly packed: boolean;
  };
  readonly seed: number;
  readonly steps: number;
  /** Why it ended. */
  readonly ended: "steps" | "patience";
  /** The loss of each update. */
  readonly losses: readonly number[];
  readonly evaluations: readonly Omit<EvaluationEvent, "kind">[];
  /** After how many updates the adapter is that was written. */
  readonly written: number;
  /** Tokens a second, over this run alone. */
  readonly speed: number;
  readonly seconds: number;
  /** Bytes that a step was planned to take. */
  readonly memory: number;
  /** Equal where all losses and gradient norms were, to the last bit. */
  readonly trajectory: string;
}

/** The run as a table: a row for each evaluation, or for tenths of the updates without one. */
export function curveTable({ losses, evaluations, steps, written }: TuneResults): readonly Column[] {
  const evaluated = new Map(evaluations.map((each) => [each.step, each]));
  const every = Math.max(1, Math.ceil(steps / 10));
  const rows =
    evaluations.length > 0
      ? [...evaluated.keys()]
      : losses.flatMap((_, i) => ((i + 1) % every === 0 || i + 1 === losses.length ? [i + 1] : []));
  const meanUpTo = (row: number) => {
    const part = losses.slice(row === 0 ? 0 : rows[row - 1], rows[row]);
    return part.length === 0 ? "" : (part.reduce((a, b) => a + b, 0) / part.length).toFixed(4);
  };
  const column = (title: string, cell: (step: number, row: number) => string): Column => ({
    title,
    cells: rows.map(cell),
    align: "right",
  });
  const columns = [column("step", String), column("training loss", (_, row) => meanUpTo(row))];
  if (evaluations.length === 0) return columns;
  const said = (f: (each: Omit<EvaluationEvent, "kind">) => string | undefined) => (step: number) =>
    f(evaluated.get(step)!) ?? "";
  return [
    ...columns,
    column(
      "held-out loss",
      said(({ loss }) => loss.toFixed(4)),
    ),
    column(
      "perplexity",
      said(({ perplexity }) => perplexity.toPrecision(5)),
    ),
    column(
      "accuracy",
      said(({ accuracy }) => (accuracy === undefined ? undefined : `${(100 * accuracy).toFixed(2)} %`)),
    ),
    { title: "", cells: rows.map((step) => (step === written ? "written" : "")) },
  ];
}

/** The results as a page that needs nothing else. */
export async function reportOf(results: TuneResults): Promise<string> {
  const { model, data, heldOut, batch, device, losses, steps } = results;
  const number = (count: number) => count.toLocaleString("en-US");
  const facts: readonly (readonly [string, string])[] = [
    [
      "Model",
      `${model.folder} (${model.family}), ${number(model.parameters)} parameters, ${number(model.trained)} trained`,
    ],
    ["Recipe", JSON.stringify(results.recipe)],
    ["Layers", results.targetModules === "all-linear" ? "all linear ones" : results.targetModules.join(", ")],
    [
      "Examples",
      `${data.name}: ${number(data.examples)}, ${number(data.tokens)} tokens, ${number(data.truncated)} cut`,
    ],
    ...(heldOut ? [["Held out", `${heldOut.name}: ${number(heldOut.examples)}`] as const] : []),
    [
      "Batches",
      `${batch.size} examples${batch.accumulate > 1 ? `, ${batch.accumulate} of them an update` : ""}, up to ${batch.longest} tokens${batch.packed ? ", packed" : ""}, seed ${results.seed}`,
    ],
    [
      "Updates",
      `${number(losses.length)} of ${number(steps)}${results.ended === "patience" ? ", ended since the held-out loss got no better" : ""}`,
    ],
    ["Device", `${device.backend}: ${device.description}`],
    ["Speed", `${number(Math.round(results.speed))} tokens a second, ${Math.round(results.seconds)} s`],
    ["Trajectory", results.trajectory],
  ];
  return page(
    "Lorantz: a fine-tuning",
    `<h1>A fine-tuning</h1>
${htmlFacts(facts)}
${await htmlFigures(figuresOf(results))}
<h2>On the way</h2>
${htmlTable(curveTable(results), "On the way")}`,
  );
}

function figuresOf({ losses, evaluations }: TuneResults): readonly Figure[] {
  const xs = losses.map((_, i) => i + 1);
  const lines: Line[] = [
    { name: "training loss", xs, ys: losses },
    { name: "training loss, mean of the last 5 %", xs, ys: smoothed(losses) },
  ];
  const steps = evaluations.map(({ step }) => step);
  if (steps.length > 0)
    lines.push({ name: "held-out loss", xs: steps, ys: evaluations.map(({ loss }) => loss) });
  const loss: Figure = {
    caption: "Nats a token, over the tokens that count.",
    chart: lineChart({ title: "Loss", x: "step", y: "loss", lines }),
  };
  const known = evaluations.flatMap(({ step, accuracy }) =>
    accuracy === undefined ? [] : [{ step, accuracy }],
  );
  if (known.length === 0) return [loss];
  const accuracy: Line = {
    name: "token accuracy",
    xs: known.map(({ step }) => step),
    ys: known.map((each) => each.accuracy),
  };
  return [
    loss,
    {
      caption: "The share of held-out tokens that were the most likely one.",
      chart: lineChart({ title: "Accuracy", x: "step", y: "accuracy", lines: [accuracy] }),
    },
  ];
}

/** Means of the last twentieth of all, up to each place. */
function smoothed(ys: readonly number[]): readonly number[] {
  const width = Math.max(1, Math.round(ys.length / 20));
  return ys.map((_, i) => {
    const part = ys.slice(Math.max(0, i + 1 - width), i + 1);
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
}
