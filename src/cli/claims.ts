import type { Claim } from "../experiments/claims/claim.ts";
import { claims as registry } from "../experiments/claims/registry.ts";
import { testClaims } from "../experiments/claims/run.ts";
import { describeResult, list, tally } from "../experiments/claims/summary.ts";
import { largestSeed } from "../experiments/seeds.ts";
import { studies } from "../experiments/studies/registry.ts";
import { init } from "../runtime/init.ts";
import { interruptible } from "./interrupt.ts";
import { machine } from "./machine.ts";
import { print } from "./print.ts";
import { runStudies, studyOptions } from "./reproduce.ts";
import { optionsHelp, parseArguments, UsageError, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const defaults = { seed: 0, seeds: 20 };

const { steps, batch, choice, cache } = studyOptions;

const options = {
  list: {
    type: "boolean",
    help: "List the statements, and which of them are tested (those without -), and end",
  },
  seeds: {
    type: "string",
    value: "N",
    help: `Repetitions of what has chance in it, 2 to 1000; default ${defaults.seeds}, on a language model 6`,
  },
  seed: {
    type: "string",
    value: "N",
    help: `Which repetitions, 0 to ${largestSeed}: none is drawn under two seeds; default ${defaults.seed}`,
  },
  models: {
    type: "string",
    value: "NAME",
    help: "Test those that need a language model on small, large or the model of a folder; some hours, and resumable",
  },
  ...{ steps, batch, choice, cache },
  json: { type: "boolean", help: "Print JSON on stdout instead of text" },
} as const;

const help = `Usage: lorantz claims [ID...] [OPTIONS]

Tests what is said about LoRA. Without --models, what needs no language model: algebra, arithmetic, counts, exponents, and
small problems; with it, the rest, by the experiments that lorantz reproduce --list names. Prints for each statement how it is tested, what was measured with its interval, whether it comes out
as stated, in its own setting and under a condition, and the verdict: holds, holds in its own setting, holds under a
condition, contradicted, wrong (arithmetic says otherwise), or undecided. For a statement that is not tested, why, and
what would be measured. Without an ID all are tested, on the CPU, some minutes.

Options:
${optionsHelp(options)}

Exit codes: 0 done, whatever the verdicts, 1 the work broke off, 2 wrong usage, 130 interrupted.
`;

/** The command `claims`; see its help. */
export async function claims(args: readonly string[]): Promise<number> {
  const { values: given, positionals } = parseArguments("claims", args, options, help);
  const seeds = wholeNumber("seeds", given.seeds, { min: 2, max: 1000, otherwise: defaults.seeds });
  const seed = wholeNumber("seed", given.seed, { min: 0, max: largestSeed, otherwise: defaults.seed });
  const chosen = positionals.length > 0 ? positionals.map(byId) : registry;
  if (given.list) {
    const rows = chosen.map((claim) => ({
      id: claim.id,
      statement: claim.statement,
      tested: "test" in claim,
    }));
    print(given.json ? `${JSON.stringify(rows, undefined, 2)}\n` : `${list(chosen)}\n`);
    return 0;
  }
  if (given.models !== undefined) return onModel(chosen, { ...given, model: given.models });
  return interruptible(async (onProgress, progress) => {
    using _device = await init({ backend: "cpu" });
    const results = await testClaims(chosen, { seed, seeds, onProgress });
    progress.end();
    const json = { format: 2, lorantz: version(), ...machine(), seed, seeds, results };
    const text = `${results.map(describeResult).join("\n\n")}\n\n${tally(results)}\n`;
    print(given.json ? `${JSON.stringify(json, undefined, 2)}\n` : text);
    return 0;
  });
}

/** Those of the claims that studies judge, on a language model. */
async function onModel(
  chosen: readonly Claim[],
  given: Parameters<typeof runStudies>[1] & { readonly json?: boolean | undefined },
): Promise<number> {
  const ids = chosen.map(({ id }) => id as string);
  const needed = studies.filter((study) => study.claims.some((id) => ids.includes(id)));
  if (needed.length === 0)
    throw new UsageError(
      `claims: no experiment on a language model judges ${ids.join(", ")}. Leave out --models.`,
    );
  return interruptible(
    async (onProgress, progress) => {
      const found = await runStudies(needed, given, onProgress);
      progress.end();
      const results = found.flatMap(({ results }) => results).filter(({ id }) => ids.includes(id));
      const json = {
        format: 2,
        lorantz: version(),
        ...machine(),
        model: found[0]!.model,
        setting: found[0]!.setting,
        results,
      };
      const text = `${results.map(describeResult).join("\n\n")}\n\n${tally(results)}\n`;
      print(given.json ? `${JSON.stringify(json, undefined, 2)}\n` : text);
      return 0;
    },
    () => "the runs that were done are kept, and the same command goes on from there",
  );
}

function byId(id: string): Claim {
  const claim = registry.find((each) => each.id === id.toUpperCase());
  if (claim) return claim;
  const [source] = id.toUpperCase().split("-");
  const near = registry.filter((each) => each.id.startsWith(`${source}-`)).map((each) => each.id);
  const known = near.length > 0 ? `There are ${near.join(", ")}` : "IDs are like S0-9";
  throw new UsageError(`claims: there is no claim "${id}". ${known}; see lorantz claims --list.`);
}
