import { LorantzError } from "../base/errors.ts";
import { oneLine } from "../base/text.ts";
import { print, say } from "./print.ts";
import { HelpAsked, UsageError } from "./usage.ts";
import { version } from "./version.ts";

/** Runs with the arguments after its name, and returns the exit code. */
export type Command = (args: readonly string[]) => Promise<number>;

interface Row {
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

/** Every command, loaded when it is called for. */
const commands: { readonly [name: string]: Row } = {
  theorem: {
    summary: "Prove the scaling theorem of LoRA by fine-tuning on real text",
    load: async () => (await import("./theorem.ts")).theorem,
  },
  tune: {
    summary: "Fine-tune a language model with LoRA on examples",
    load: async () => (await import("./tune.ts")).tune,
  },
  evaluate: {
    summary: "Measure the loss of a language model, adapted or not, on examples",
    load: async () => (await import("./evaluate.ts")).evaluate,
  },
  generate: {
    summary: "Go on with prompts, by a language model with an adapter or without",
    load: async () => (await import("./generate.ts")).generate,
  },
  inspect: {
    summary: "Say what a model is, what LoRA would train of it, and what fits",
    load: async () => (await import("./inspect.ts")).inspect,
  },
  symmetry: {
    summary: "Find each optimizer's symmetry by experiment, and check it in training",
    load: async () => (await import("./symmetry.ts")).symmetry,
  },
  exponents: {
    summary: "Measure how LoRA training grows with width and rank, beside theory",
    load: async () => (await import("./exponents.ts")).exponents,
  },
  claims: {
    summary: "Test what is said about LoRA, as far as it needs no language model",
    load: async () => (await import("./claims.ts")).claims,
  },
  reproduce: {
    summary: "Run experiments of articles on LoRA on a language model, and judge their claims",
    load: async () => (await import("./reproduce.ts")).reproduce,
  },
  convert: {
    summary: "Give a LoRA recipe the same training run with other settings",
    load: async () => (await import("./convert.ts")).convert,
  },
  explain: {
    summary: "Say whether two recipes are the same training run, and what differs",
    load: async () => (await import("./explain.ts")).explain,
  },
  recipes: {
    summary: "Show what LoRA recipes of other tools come to, in one table of two quantities",
    load: async () => (await import("./recipes.ts")).recipes,
  },
  "sweep-plan": {
    summary: "Find what a sweep of recipes tries twice",
    load: async () => (await import("./sweep-plan.ts")).sweepPlan,
  },
  sweep: {
    summary: "Fine-tune a language model by every recipe of a grid, resumably, and compare them",
    load: async () => (await import("./sweep.ts")).sweep,
  },
  worker: {
    summary: "Work at the cells of sweeps that wait in a queue",
    load: async () => (await import("./worker.ts")).worker,
  },
  adapter: {
    summary: "Look at an adapter of PEFT, MLX-LM, kohya or llama.cpp, and give it another form",
    load: async () => (await import("./adapter.ts")).adapter,
  },
  merge: {
    summary: "Merge an adapter into a checkpoint",
    load: async () => (await import("./merge.ts")).merge,
  },
  oracle: {
    summary: "Compare this engine with stored reference values",
    load: async () => (await import("./oracle.ts")).oracle,
  },
  bench: {
    summary: "Measure speed, against the limits of this machine and an earlier run",
    load: async () => (await import("./bench.ts")).bench,
  },
  doctor: {
    summary: "Say which devices were found, and test them",
    load: async () => (await import("./doctor.ts")).doctor,
  },
};

function help(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length));
  const rows = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`);
  return `Usage: lorantz COMMAND [OPTIONS]

Tensors and gradients on WebGPU and CPU, made for LoRA.

Commands:
${rows.join("\n")}

Options:
  -h, --help     This text; lorantz COMMAND --help for a command's own
  -V, --version  The version

Exit codes: 0 done, 1 a law or a check failed or the work broke off, 2 wrong usage or unusable input,
130 interrupted (129 and 143 by other signals), 141 broken off because nobody reads what is printed.
`;
}

/**
 * The program `lorantz`: finds the command, runs it, prints errors on stderr. Returns the exit code: 0 done,
 * 1 failed, 2 wrong usage, 130 interrupted.
 */
export async function run(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === "--help" || name === "-h") throw new HelpAsked(help());
    if (name === "--version" || name === "-V") {
      print(`${version()}\n`);
      return 0;
    }
    const names = Object.keys(commands).join(", ");
    if (name === undefined)
      throw new UsageError(`a command is missing. Commands are ${names}; see lorantz --help.`);
    const row = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (!row) throw new UsageError(`"${name}" is no command. Commands are ${names}; see lorantz --help.`);
    const command = await row.load();
    return await command(rest);
  } catch (error) {
    if (error instanceof HelpAsked) {
      print(error.message);
      return 0;
    }
    say(`lorantz: ${describeError(error)}\n`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Errors of ours speak for themselves; of others, and of our own broken invariants, the stack is wanted. */
function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof UsageError) return oneLine(error.message); // it quotes what was given
  const foreseen = error instanceof LorantzError && !error.message.startsWith("internal:");
  return foreseen ? error.message : (error.stack ?? error.message);
}
