import { totalmem } from "node:os";
import { table } from "../base/table.ts";
import * as models from "../models/index.ts";
import { targetsOf } from "./language.ts";
import { bytesText } from "./memory.ts";
import { print } from "./print.ts";
import { optionsHelp, parseArguments, UsageError, usable, wholeNumber } from "./usage.ts";

const options = {
  r: { type: "string", value: "N", help: "Rank of the adapters; default 8" },
  targets: {
    type: "string",
    value: "NAMES",
    help: "Layers that get an adapter, as q_proj,v_proj; default all linear layers but the output",
  },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const help = `Usage: lorantz inspect MODEL [OPTIONS]

Says what the model in the folder MODEL (or below a URL) is: its architecture, its parameters, what LoRA would train, and
how much memory that takes. It reads config.json and the headers of the weights. Memory of a step is estimated from sizes;
lorantz tune counts it before it begins.

Options:
${optionsHelp(options)}

Exit codes: 0 done, 2 wrong usage or what is no model.
`;

/** Sequences whose training is estimated. */
const lengths = [256, 1024, 4096];

/** The command `inspect`; see its help. */
export async function inspect(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("inspect", args, options, help);
  const [folder, ...more] = positionals;
  if (folder === undefined || more.length > 0)
    throw new UsageError(`inspect: takes the folder of one model; given ${positionals.length}.`);
  const targetModules = targetsOf(values.targets, "targets");
  const r = wholeNumber("r", values.r, { min: 1, max: 65_536, otherwise: 8 });
  const found = await usable(() => models.summary(folder, { r, targetModules }));
  print(values.json ? `${JSON.stringify(found, undefined, 2)}\n` : describe(found));
  return 0;
}

const count = (n: number) => n.toLocaleString("en-US");

function describe(found: models.Summary): string {
  const { architecture: a, parameters, stored, adapters, cache } = found;
  const windows = a.blocks.filter(({ window }) => window !== undefined);
  const facts = [
    `${a.family}: ${a.blocks.length} blocks of width ${a.width}, ${a.heads} heads of ${a.headSize} over ${a.sharedHeads} of keys, hidden ${a.hidden}`,
    `vocabulary ${count(a.vocabulary)}${a.tied ? ", which the output shares with the embedding" : ""}; context ${count(a.context)}${windows.length > 0 ? `, windows of ${windows[0]!.window} in ${windows.length} blocks` : ""}`,
    `${count(parameters.total)} parameters: ${count(parameters.embeddings)} in embeddings, ${count(parameters.blocks)} in blocks, ${count(parameters.output)} in the output`,
    `${bytesText(stored.bytes)} in files (${Object.keys(stored.dtypes).join(", ")}); a cache of the whole context takes ${bytesText(cache)}`,
  ];
  const layers = Object.entries(adapters.layers).map(([name, n]) => `${n} ${name}`);
  const share = ((100 * adapters.parameters) / parameters.total).toPrecision(3);
  const trained = `LoRA of rank ${adapters.r} trains ${count(adapters.parameters)} parameters (${share} %) beside ${layers.join(", ")}; with gradients and AdamW's moments ${bytesText(adapters.bytes)}.`;
  return `${[facts.join("\n"), trained, memory(found)].join("\n\n")}\n`;
}

/** What a step of one sequence takes, by how weights are kept and how long the sequence is. */
function memory({ architecture, weights, adapters }: models.Summary): string {
  const there = totalmem();
  const right = { align: "right" } as const;
  const kept = Object.entries(weights);
  const fits = lengths.filter((length) => length <= architecture.context);
  const shown = fits.length > 0 ? fits : [architecture.context];
  const rows = table([
    { title: "weights in", cells: kept.map(([name]) => name) },
    { title: "take", cells: kept.map(([, bytes]) => bytesText(bytes)), ...right },
    ...shown.map((length) => ({
      title: `1 x ${length}`,
      cells: kept.map(([, bytes]) => {
        const needed = bytes + adapters.bytes + models.stepBytes(architecture, { batch: 1, length });
        return `${bytesText(needed)}${needed > there ? " (!)" : ""}`;
      }),
      ...right,
    })),
  ]);
  return `Memory of a training step, estimated; this machine has ${bytesText(there)}, and (!) does not fit:\n\n${rows}`;
}
