import { table } from "../base/table.ts";
import { type Explanation, explain as explainRecipes } from "../gauge/index.ts";
import { print } from "./print.ts";
import { givenRecipe, recipeHelp } from "./recipe-text.ts";
import { asUsage, optionsHelp, parseArguments, UsageError, wholeNumber } from "./usage.ts";

const options = {
  tolerance: {
    type: "string",
    value: "N",
    help: "Relative difference below which numbers are equal; default 1e-12",
  },
  updates: {
    type: "string",
    value: "N",
    help: "How many updates the runs have; what schedules do later does not count then",
  },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const help = `Usage: lorantz explain X Y [OPTIONS]

Whether two recipes are the same training run, by which gauge, and otherwise what differs and by how much.

  lorantz explain 'optimizer=adamw r=8 alpha=1 lr=0.00512' 'optimizer=adamw r=8 alpha=512 lr=1e-5'

${recipeHelp}

Options:
${optionsHelp(options)}

Exit codes: 0 done, 2 wrong usage or a bad recipe.
`;

/** The command `explain`; see its help. */
export async function explain(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("explain", args, options, help);
  const [x, y] = positionals;
  if (x === undefined || y === undefined || positionals.length > 2)
    throw new UsageError(
      `explain: takes two recipes; given ${positionals.length}. Quote key=value text as one argument.`,
    );
  const tolerance = values.tolerance === undefined ? undefined : Number(values.tolerance || Number.NaN);
  if (tolerance !== undefined && !Number.isFinite(tolerance))
    throw new UsageError(`--tolerance is "${values.tolerance}"; it is a number from 0 to 0.1.`);
  const updates =
    values.updates === undefined
      ? undefined
      : wholeNumber("updates", values.updates, { min: 1, max: 1e9, otherwise: 1 });
  const [ofX, ofY] = [await givenRecipe("explain: X", x), await givenRecipe("explain: Y", y)];
  const result = asUsage(() =>
    explainRecipes(ofX, ofY, {
      ...(tolerance !== undefined && { tolerance }),
      ...(updates !== undefined && { updates }),
    }),
  );
  print(values.json ? `${JSON.stringify(result, undefined, 2)}\n` : describe(result));
  return 0;
}

function describe({ words, invariants }: Explanation): string {
  const number = (value: number | readonly number[]) =>
    [value]
      .flat()
      .map((x) => Number(x.toPrecision(10)))
      .join(", ");
  const rows = table([
    { title: "invariant", cells: invariants.map(({ formula }) => formula) },
    { title: "X", cells: invariants.map(({ x }) => number(x)), align: "right" },
    { title: "Y", cells: invariants.map(({ y }) => number(y)), align: "right" },
    {
      title: "Y / X",
      cells: invariants.map(({ equal, ratio }) =>
        equal ? "equal" : ratio === null ? "differs" : String(Number(ratio.toPrecision(6))),
      ),
      align: "right",
    },
  ]);
  return `${words.join("\n")}\n\n${rows}\n`;
}
