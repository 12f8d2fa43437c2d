import { type Figure, htmlFigures, type Line, lineChart } from "../charts.ts";
import { escapeXml, htmlFacts, htmlTable, page } from "../page.ts";
import type { Results, RunResult } from "./results.ts";
import { columns, headline } from "./summary.ts";

/**
 * The results as one HTML page that needs nothing else: no scripts, fonts or files from outside. Legible in
 * light and dark, on paper, and by screen readers (the plots say in words what they show; the table has all
 * numbers).
 */
export async function report(results: Results): Promise<string> {
  const { laws, runs, seed, steps, device, model, seconds } = results;
  const families = [...new Set(runs.map(({ family }) => family))];
  const facts: readonly (readonly [string, string])[] = [
    ...subjectFacts(results),
    ["Fine-tuning", `${runs.length} runs of ${steps} steps, batches of ${model.batch}, seed ${seed}`],
    ["Device", `${device.backend}: ${device.description}`],
    ["Time", `${Math.round(seconds)} s, Lorantz ${results.lorantz}`],
  ];
  const figures = [...families.map((family) => lossFigure(family, runs)), deviationFigure(runs)];
  return page(
    "Lorantz: the scaling theorem of LoRA, measured",
    `<h1>The scaling theorem of LoRA, measured</h1>
<p class="verdict ${laws.broken === 0 ? "good" : "bad"}">${escapeXml(headline(results))}</p>
${htmlFacts(facts)}
${theorem}
<h2>Curves</h2>
${await htmlFigures(figures)}
<h2>All runs</h2>
<p>Validation loss before and after fine-tuning. The deviation is the largest relative difference between the
training losses of a run and of its reference (column <i>vs</i>), over all steps. Parameters are compared after
division by the factors of the gauge.</p>
${runsTable(results)}
<details>
<summary>What each run is</summary>
<ol>
${runs.map(({ name, about }) => `<li><b>${escapeXml(name)}.</b> ${escapeXml(about)}</li>`).join("\n")}
</ol>
</details>
${further}`,
  );
}

/** What was fine-tuned, and on what. */
function subjectFacts({ model, pretraining }: Results): readonly (readonly [string, string])[] {
  const { name, family, data, examples, heldOut, context, targetModules, parameters, trainable } = model;
  const layers = targetModules === "all-linear" ? "all linear layers" : targetModules.join(", ");
  const facts: (readonly [string, string])[] = [
    [
      "Model",
      `${name} (${family}): ${group(parameters)} frozen parameters, ${group(trainable)} in the adapters, on ${layers}`,
    ],
  ];
  if (pretraining) {
    const { losses } = pretraining.validation;
    facts.push([
      "It learned",
      `${pretraining.data}: ${group(pretraining.examples)} examples, ${group(pretraining.steps)} steps, ` +
        `validation loss ${losses[0]!.toFixed(3)} to ${losses.at(-1)!.toFixed(3)}`,
    ]);
  }
  facts.push([
    "Examples",
    `${data}: ${group(examples)}, of which ${group(heldOut)} are held out; ${context} tokens at most`,
  ]);
  return facts;
}

const further = `<h2>Where to go from here</h2>
<ul>
<li><code>lorantz tune --model DIR --data FILE --out DIR</code> fine-tunes a model of yours; <code>lorantz theorem --model DIR --data FILE</code> shows the theorem on it.</li>
<li><code>lorantz sweep GRID --model small --data FILE --out DIR</code> tries a grid of recipes, each different run once.</li>
<li><code>lorantz claims</code> tests what is said about LoRA.</li>
</ul>`;

const theorem = `<h2>The theorem in short</h2>
<p>A LoRA layer computes <i>y</i> = <i>W</i><sub>0</sub><i>x</i> + <i>s B A x</i> with <i>s</i> =
<i>α</i>/<i>r</i>. For positive <i>a</i>, <i>b</i>, <i>k</i> with <i>k a b</i> = 1, replacing <i>A</i> by
<i>a A</i>, <i>B</i> by <i>b B</i> and <i>α</i> by <i>k α</i> leaves the layer as it is: a <em>gauge</em>. Gradients
of <i>A</i> and <i>B</i> are divided by <i>a</i> and <i>b</i>. If an optimizer’s hyperparameters follow, training
takes the same path, with rescaled parameters, to the last bit when the factors are powers of two:</p>
<div class="scroll"><table>
<thead><tr><th scope="col">optimizer, tensor multiplied by <i>c</i></th><th scope="col">learning rate</th>
<th scope="col">weight decay</th><th scope="col">eps</th></tr></thead>
<tbody>
<tr><th scope="row">SGD, momentum</th><td>× <i>c</i>²</td><td>÷ <i>c</i>² (added to the gradient)</td><td></td></tr>
<tr><th scope="row">Adam</th><td>× <i>c</i></td><td>÷ <i>c</i>² (added to the gradient)</td><td>÷ <i>c</i></td></tr>
<tr><th scope="row">AdamW</th><td>× <i>c</i></td><td>÷ <i>c</i> (decoupled)</td><td>÷ <i>c</i></td></tr>
</tbody></table></div>
<p>Two gauges are useful: the <em>common factor</em>, <i>a</i> = <i>b</i> = 1/√<i>k</i>, and <em>B only</em>,
<i>a</i> = 1 and <i>b</i> = 1/<i>k</i>, which changes no initial value when <i>B</i> starts at zero. So multiplying
<i>α</i> is not the same as multiplying the learning rate: two runs with equal products of the two differ.</p>`;

/** The loss curves of a family and of its references: one for each group of runs that agree bit for bit. */
function lossFigure(family: string, runs: readonly RunResult[]): Figure {
  const groups = new Map<number, RunResult[]>();
  const inFamily = (run: RunResult) => run.family === family;
  const references = new Set(runs.filter(inFamily).map(({ comparison }) => comparison?.reference));
  for (const run of runs) {
    if (!inFamily(run) && !references.has(run.number)) continue;
    const same = run.comparison?.lossesBitwise ? run.comparison.reference : run.number;
    groups.set(same, [...(groups.get(same) ?? []), run]);
  }
  const lines = [...groups.values()].map((members): Line => {
    const [first, ...others] = members as [RunResult, ...RunResult[]]; // groups have a member
    const same = others.map(({ number }) => number);
    const note = same.length > 0 ? ` — and bit for bit the same curve: ${list(same)}` : "";
    return {
      name: `${first.number} ${first.name}${note}`,
      xs: first.validation.steps,
      ys: first.validation.losses,
    };
  });
  return {
    caption: "Loss on the held-out examples. Runs whose losses agree bit for bit are one curve.",
    chart: lineChart({ title: family, x: "step", y: "validation loss (nats)", lines }),
  };
}

/** How far runs are from their references, for those that differ at all. */
function deviationFigure(runs: readonly RunResult[]): Figure {
  const byNumber = new Map(runs.map((run) => [run.number, run]));
  const apart = runs.filter(({ comparison }) => comparison && comparison.lossDeviation !== 0);
  const exact = runs.filter(({ comparison }) => comparison && comparison.lossDeviation === 0);
  const lines = apart.map(({ number, name, losses, comparison }): Line => {
    const reference = byNumber.get(comparison!.reference)!.losses;
    return {
      name: `${number} ${name} (vs ${comparison!.reference})`,
      xs: losses.map((_, i) => i + 1),
      ys: largestSoFar(losses.map((loss, i) => Math.abs(loss - reference[i]!) / Math.abs(reference[i]!))),
    };
  });
  const zero =
    exact.length > 0
      ? ` Exactly zero at every step, and so not on this axis: ${list(exact.map(({ number }) => number))}.`
      : "";
  return {
    caption: `Relative difference of the training loss from that of the reference run: the largest up to each step.${zero}`,
    chart: lineChart({
      title: "Deviation from the reference",
      x: "step",
      y: "largest deviation so far",
      lines,
      log: { y: true },
    }),
  };
}

/** All runs: those that a law does not hold of stand out. */
function runsTable(results: Results): string {
  const shown = columns(results);
  const names = shown.findIndex(({ title }) => title === "run");
  return htmlTable(shown, "All runs", names, (row) => {
    const { comparison } = results.runs[row]!;
    return comparison ? (comparison.asPredicted ? undefined : "broken") : "reference";
  });
}

function largestSoFar(ys: readonly number[]): number[] {
  let largest = 0;
  return ys.map((y) => {
    largest = Math.max(largest, y);
    return largest;
  });
}

/** "run 2", "runs 2 and 3", "runs 2, 3 and 4". */
function list(numbers: readonly number[]): string {
  if (numbers.length === 1) return `run ${numbers[0]}`;
  return `runs ${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}`;
}

/** 1212868 as 1,212,868. */
function group(count: number): string {
  return count.toLocaleString("en-US");
}
