import { table } from "../base/table.ts";
import { dedupe, hyperOf, type SweepPlan, trainedRoles } from "../gauge/index.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { print } from "./print.ts";
import { givenGrid, recipeHelp } from "./recipe-text.ts";
import { asUsage, optionsHelp, parseArguments, UsageError, wholeNumber } from "./usage.ts";

const options = {
  alpha: {
    type: "string",
    value: "N",
    help: "The alpha of the plan, a number or r; default that of the first cell",
  },
  limit: { type: "string", value: "N", help: "The most cells that are taken, up to 100000; default 4096" },
  updates: {
    type: "string",
    value: "N",
    help: "How many updates the runs have; what schedules do later does not count then",
  },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const help = `Usage: lorantz sweep-plan GRID [OPTIONS]

Which cells of a sweep are the same training run, which differ by one quantity only, and the smallest sweep over the
same ground.

  lorantz sweep-plan 'optimizer=sgd r=8 lr=0.1 alpha=8,16,32 ratio=1,4,16'

A grid is a file or inline text: key=value with several values, as above; in JSON a list of recipes, or
{ "recipe": ..., "vary": { "alpha": [8, 16, 32], "optimizer.lr": [1e-4, 2e-4], "groups.B.lr": [...] } }.

${recipeHelp}

Options:
${optionsHelp(options)}

Exit codes: 0 done, 2 wrong usage, a bad recipe or too large a grid.
`;

/** The command `sweep-plan`; see its help. */
export async function sweepPlan(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("sweep-plan", args, options, help);
  const [grid] = positionals;
  if (grid === undefined || positionals.length > 1)
    throw new UsageError(
      `sweep-plan: takes one grid; given ${positionals.length}. Quote key=value text as one argument.`,
    );
  const limit = wholeNumber("limit", values.limit, { min: 1, max: 100_000, otherwise: 4096 });
  const { alpha } = values;
  const number = alpha === undefined || alpha === "r" ? alpha : Number(alpha || Number.NaN);
  if (typeof number === "number" && !(number > 0 && number < Infinity))
    throw new UsageError(`--alpha is "${alpha}"; it is a finite number > 0, or r.`);
  const updates =
    values.updates === undefined
      ? undefined
      : wholeNumber("updates", values.updates, { min: 1, max: 1e9, otherwise: 1 });
  const cells = givenGrid("sweep-plan", grid);
  const plan = asUsage(() =>
    dedupe(cells, {
      limit,
      ...(number !== undefined && { alpha: number }),
      ...(updates !== undefined && { updates }),
    }),
  );
  print(values.json ? `${JSON.stringify(plan, undefined, 2)}\n` : describe(plan));
  return 0;
}

/** One line for each run, with the cells that are this run. */
function describe({ words, runs }: SweepPlan): string {
  const numbers = runs.map(({ recipe }) => {
    const roles = trainedRoles(recipe).filter((role) => role === "A" || role === "B");
    return new Map<string, string>([
      ["alpha", String(recipe.alpha)],
      ...(["lr", "eps", "weightDecay"] as const).flatMap((field) =>
        roles.flatMap((role): [string, string][] => {
          const hyper: Readonly<Record<string, unknown>> = { ...hyperOf<AnyOptimizerName>(recipe, role) };
          const value = hyper[field];
          return typeof value === "number"
            ? [[`${field}_${role}`, String(Number(value.toPrecision(10)))]]
            : [];
        }),
      ),
    ]);
  });
  const titles = [...new Set(numbers.flatMap((of) => [...of.keys()]))];
  const columns = [
    { title: "run", cells: runs.map((_, i) => String(i)), align: "right" as const },
    ...titles.map((title) => ({
      title,
      cells: numbers.map((of) => of.get(title) ?? ""),
      align: "right" as const,
    })),
    { title: "group", cells: runs.map(({ group }) => String(group)), align: "right" as const },
    { title: "cells", cells: runs.map(({ cells }) => cells.join(" ")) },
  ];
  return `${words.join("\n")}\n\n${table(columns)}\n`;
}
