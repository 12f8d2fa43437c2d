import type { AdapterFile, AdapterReport, FormatName } from "../adapters/index.ts";
import * as adapters from "../adapters/index.ts";
import { LorantzError } from "../base/errors.ts";
import { table } from "../base/table.ts";
import { openFolder } from "../io/index.ts";
import { print } from "./print.ts";
import { oneOf, optionsHelp, parseArguments, UsageError } from "./usage.ts";

const options = {
  to: {
    type: "string",
    value: "FORM",
    help: `convert: the form to write, ${adapters.formatNames.join(", ")}`,
  },
  out: {
    type: "string",
    value: "DIR",
    help: "convert, bake: the folder to write into; it is made where it is missing",
  },
  base: {
    type: "string",
    value: "DIR",
    help: "The folder of the base model: GGUF needs its config.json, and kohya's names the paths of its modules",
  },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const help = `Usage: lorantz adapter lint ADAPTER [OPTIONS]
       lorantz adapter convert ADAPTER --to FORM --out DIR [OPTIONS]
       lorantz adapter bake ADAPTER --out DIR [OPTIONS]

Adapters as other tools have them: a folder of PEFT or MLX-LM, a safetensors file of kohya or diffusers, a GGUF file of
llama.cpp. What ADAPTER is shows in its files.

lint     says what it does to each module (rank, multiplier, norms, spectrum), and which consumers of these files read
         another adapter from them, by which factor.
convert  writes the same function in the form of another tool, or refuses what that has no place for.
bake     writes it with one alpha, without rsLoRA and alpha patterns: alpha = s r, what is left goes into B. So that every
         consumer reads the same.

  lorantz adapter lint adapter
  lorantz adapter convert adapter --to gguf --base model --out adapter-gguf

Options:
${optionsHelp(options)}

Exit codes: 0 done, 1 what cannot be read, written or converted, 2 wrong usage.
`;

/** The command `adapter`; see its help. */
export async function adapter(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("adapter", args, options, help);
  const [action, path, ...more] = positionals;
  if (action !== "lint" && action !== "convert" && action !== "bake")
    throw new UsageError(
      `adapter: ${action === undefined ? "what to do is missing" : `there is no "${action}"`}; it is lint, convert or bake.`,
    );
  if (path === undefined || more.length > 0)
    throw new UsageError(
      `adapter ${action}: takes one adapter, a folder or a file; given ${positionals.length - 1}.`,
    );
  const to = oneOf("to", values.to, adapters.formatNames);
  if (action === "convert" && to === undefined)
    throw new UsageError(`adapter convert: --to is missing; it is ${adapters.formatNames.join(", ")}.`);
  if (action !== "convert" && to !== undefined)
    throw new UsageError(`adapter ${action}: --to is of convert.`);
  if ((action === "lint") !== (values.out === undefined))
    throw new UsageError(
      `adapter ${action}: ${action === "lint" ? "writes nothing; leave --out out" : "--out is missing; it is the folder to write into"}.`,
    );
  const given = values.base === undefined ? {} : await adapters.readBase(await openFolder(values.base));
  const read = await adapters.open(path, given);
  if (action === "lint") {
    const report = await adapters.lint(read);
    print(values.json ? `${JSON.stringify(report, undefined, 2)}\n` : describeReport(report));
    return 0;
  }
  const out = values.out!; // checked above
  if (out.replace(/\/$/, "") === path.replace(/\/$/, ""))
    throw new LorantzError(`adapter ${action}: --out ${out} is the adapter itself. Give another folder.`);
  const form = to ?? formOf(read);
  const made = action === "bake" ? await adapters.bake(read) : await adapters.convert(read, form, given);
  const files = await adapters.write(out, made, form, given);
  const changes = changesOf(read, made);
  const { format: from, modules, notes } = read;
  const result = { from, to: form, files, modules: modules.size, changes, notes };
  const words = [
    ...files.map((file) => `${out}/${file}`),
    describeChanges(read, changes),
    ...notes.map((note) => `- ${note}`),
  ];
  print(values.json ? `${JSON.stringify(result, undefined, 2)}\n` : `${words.join("\n")}\n`);
  return 0;
}

const formOf = ({ format }: AdapterFile): FormatName => (format === "lorantz" ? "peft" : format);

interface Change {
  readonly path: string;
  readonly multiplier: readonly [before: number, after: number];
}

/** Modules whose multiplier is another one now, the rest being in B. */
function changesOf(before: AdapterFile, after: AdapterFile): readonly Change[] {
  return [...before.modules].flatMap(([path, module]) => {
    const [was, is] = [
      adapters.multiplierOf(before, module),
      adapters.multiplierOf(after, after.modules.get(path)!),
    ];
    return Math.abs(was / is - 1) < 1e-6 ? [] : [{ path, multiplier: [was, is] as const }];
  });
}

function describeChanges({ modules }: AdapterFile, changes: readonly Change[]): string {
  if (changes.length === 0) return `${modules.size} modules with their factors as they were, bit for bit.`;
  const [{ path, multiplier }] = changes as [Change];
  const [was, is] = multiplier.map((x) => Number(x.toPrecision(6)));
  return `${modules.size} modules; B of ${changes.length} was multiplied, as the form has one number for all: ${path} had ${was}, has ${is}, and the rest is in B.`;
}

function describeReport({ name, format, modules, consumers, notes }: AdapterReport): string {
  const number = (x: number) => String(Number(x.toPrecision(4)));
  const right = { align: "right" } as const;
  const column = (title: string, of: (module: (typeof modules)[number]) => string) => ({
    title,
    cells: modules.map(of),
    ...right,
  });
  const rows = table([
    { title: "module", cells: modules.map(({ path }) => path) },
    column("r", ({ r }) => String(r)),
    column("alpha", ({ alpha }) => number(alpha)),
    column("multiplier", ({ multiplier }) => number(multiplier)),
    column("|A|", ({ normA }) => number(normA)),
    column("|B|", ({ normB }) => number(normB)),
    column("|s B A|", ({ change }) => number(change)),
    column("largest", ({ spectrum }) => number(spectrum[0] ?? 0)),
    column("smallest", ({ spectrum }) => number(spectrum.at(-1) ?? 0)),
    column("stable rank", ({ stableRank }) => number(stableRank)),
  ]);
  const reading = (factors: Readonly<Record<string, number>>, known: boolean): string => {
    const all = Object.values(factors);
    if (!known) return "reported";
    if (all.length === 0) return "as it is";
    const [least, most] = [Math.min(...all), Math.max(...all)];
    const span = number(least) === number(most) ? number(least) : `${number(least)} to ${number(most)}`;
    return `${span} times, ${all.length} of ${modules.length} modules`;
  };
  const readers = table([
    { title: "consumer", cells: consumers.map(({ consumer }) => consumer) },
    { title: "reads it", cells: consumers.map(({ factors, known }) => reading(factors, known)) },
    { title: "takes", cells: consumers.map(({ says }) => says) },
    { title: "source", cells: consumers.map(({ source }) => source) },
  ]);
  const wrong = consumers.some(({ factors }) => Object.keys(factors).length > 0);
  const advice = wrong ? ["`lorantz adapter bake` writes it so that all of them read the same."] : [];
  return `${[`${name}, ${format}`, rows, readers, ...[...notes, ...advice].map((note) => `- ${note}`)].join("\n\n")}\n`;
}
