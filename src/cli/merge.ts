import type { MergeReport } from "../adapters/index.ts";
import * as adapters from "../adapters/index.ts";
import { table } from "../base/table.ts";
import { openFolder } from "../io/index.ts";
import { print } from "./print.ts";
import { optionsHelp, parseArguments, UsageError } from "./usage.ts";

const options = {
  out: { type: "string", value: "DIR", help: "The folder to write into; it is made where it is missing" },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const help = `Usage: lorantz merge MODEL ADAPTER --out DIR [OPTIONS]

Writes the checkpoint of the folder MODEL with ADAPTER merged into it: W + s B A in float64, rounded once to the dtype
that the model has the weight in. ADAPTER is what lorantz adapter reads. Other files of MODEL are copied. For each
weight it prints the norm of the change, what rounding has lost of it, and the share of elements that it left as they were.

  lorantz merge model adapter --out merged

Options:
${optionsHelp(options)}

Exit codes: 0 done, 1 what cannot be read, written or merged, 2 wrong usage.
`;

/** The command `merge`; see its help. */
export async function merge(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("merge", args, options, help);
  const [model, adapter, ...more] = positionals;
  if (model === undefined || adapter === undefined || more.length > 0)
    throw new UsageError(`merge: takes a model and an adapter; given ${positionals.length}.`);
  if (values.out === undefined)
    throw new UsageError("merge: --out is missing; it is the folder to write into.");
  const folder = await openFolder(model);
  const base = (await folder.find("config.json")) ? await adapters.readBase(folder) : {};
  const read = await adapters.open(adapter, base);
  const report = await adapters.mergeCheckpoint(folder, read, values.out);
  print(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : describe(report));
  return 0;
}

function describe({ weights, replaced, notes, files }: MergeReport): string {
  const right = { align: "right" } as const;
  const number = (x: number) => String(Number(x.toPrecision(3)));
  const rows = table([
    { title: "weight", cells: weights.map(({ name }) => name) },
    { title: "dtype", cells: weights.map(({ dtype }) => dtype) },
    { title: "|change|", cells: weights.map(({ change }) => number(change)), ...right },
    { title: "lost", cells: weights.map(({ error }) => number(error)), ...right },
    { title: "unmoved", cells: weights.map(({ unchanged }) => `${number(100 * unchanged)} %`), ...right },
  ]);
  const whole = replaced.length > 0 ? [`Replaced: ${replaced.join(", ")}.`] : [];
  return `${[files.join("\n"), rows, ...whole, ...notes.map((note) => `- ${note}`)].join("\n\n")}\n`;
}
