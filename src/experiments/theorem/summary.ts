import type { Column } from "../../base/table.ts";
import type { Comparison, Results, RunResult } from "./results.ts";

/** The table of runs, as it is printed and shown in the report. */
export function columns({ runs }: Results): Column[] {
  const column = (
    title: string,
    cell: (run: RunResult) => string,
    align: "left" | "right" = "right",
  ): Column => ({
    title,
    cells: runs.map(cell),
    align,
  });
  return [
    column("#", (run) => String(run.number)),
    column("run", (run) => run.name, "left"),
    column("alpha", (run) => figure(run.alpha)),
    column("lr of A", (run) => figure(run.a.lr)),
    column("lr of B", (run) => figure(run.b.lr)),
    column("val first", (run) => lossFigure(run.validation.losses[0]!)),
    column("val last", (run) => lossFigure(run.validation.losses.at(-1)!)),
    column("vs", ({ comparison }) => (comparison ? String(comparison.reference) : "")),
    column("deviation", ({ comparison }) => (comparison ? deviation(comparison.lossDeviation) : "")),
    column("parameters", ({ comparison }) => (comparison ? parameters(comparison) : ""), "left"),
    column("verdict", ({ comparison }) => (comparison ? verdict(comparison) : "reference"), "left"),
  ];
}

/** A number with four digits at most: 22.76, 0.00512, 1e-5. */
export function figure(x: number): string {
  const rounded = Number(x.toPrecision(4));
  return Math.abs(rounded) >= 1e-3 || rounded === 0 ? String(rounded) : rounded.toExponential();
}

/** Four decimals, as long as they say something. */
function lossFigure(loss: number): string {
  return Math.abs(loss) < 1000 ? loss.toFixed(4) : loss.toExponential(1);
}

function deviation(x: number): string {
  if (x === 0) return "0";
  return Number.isFinite(x) ? x.toExponential(1) : "not finite";
}

function parameters({ parametersBitwise, parameterDeviation }: Comparison): string {
  return parametersBitwise ? "bitwise equal" : `off by ${deviation(parameterDeviation)}`;
}

/** What came out, and whether the theory says so. */
export function verdict({ expected, asPredicted, lossesBitwise, parametersBitwise }: Comparison): string {
  if (!asPredicted) {
    const wanted = {
      bitwise: "bitwise equality",
      rounding: "equality to rounding",
      different: "a different run",
    };
    return `NOT AS PREDICTED: theory says ${wanted[expected.kind]}`;
  }
  if (expected.kind === "different") return "differs, as predicted";
  return lossesBitwise && parametersBitwise ? "same run, as predicted" : "same to rounding, as predicted";
}

/** The outcome in one sentence. */
export function headline({ laws: { held, broken } }: Results): string {
  const total = held + broken;
  return broken === 0
    ? `All ${total} comparisons came out as the theorem predicts.`
    : `${broken} of ${total} comparisons did not come out as the theorem predicts.`;
}
