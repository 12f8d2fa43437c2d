import { table } from "../base/table.ts";
import { type Evidence, evidence, type Refused } from "../experiments/symmetry/evidence.ts";
import { type Form, forms } from "../experiments/symmetry/forms.ts";
import { discoverSymmetry, type NoSymmetry, type Symmetry, type Undecided } from "../gauge/index.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import { init } from "../runtime/init.ts";
import { interruptible } from "./interrupt.ts";
import { print } from "./print.ts";
import { optionsHelp, parseOptions, wholeNumber } from "./usage.ts";

const options = {
  only: {
    type: "string",
    value: "TEXT",
    help: "Optimizers whose name holds the text, in any case; default all",
  },
  seed: { type: "string", value: "N", help: "Seed of the training runs; default 0" },
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of tables" },
  help: { type: "boolean", short: "h", help: "This text" },
} as const;

const help = `Usage: lorantz symmetry [OPTIONS]

For every optimizer: how its numbers must scale for a tensor scaled by c, found by experiment without looking at the
declared rules; then a small LoRA training beside its gauge partners in float64 and float32: how far apart they are,
whether powers of two agree to the last bit, and what leaving one rescaled number unchanged does. Runs on the CPU.

Options:
${optionsHelp(options)}

Exit codes: 0 every declared rule was found and held bit for bit, 1 one did not, 2 wrong usage, 130 interrupted.
`;

interface Row {
  readonly form: Form;
  readonly found: Symmetry | NoSymmetry | Undecided;
  readonly measured: Evidence | Refused;
}

/** The command `symmetry`; see its help. */
export async function symmetry(args: readonly string[]): Promise<number> {
  const given = parseOptions("symmetry", args, options);
  if (given.help) {
    print(help);
    return 0;
  }
  const seed = wholeNumber("seed", given.seed, { min: 0, max: 2 ** 32 - 1, otherwise: 0 });
  const only = given.only?.toLowerCase() ?? "";
  const chosen = forms.filter(({ name }) => name.toLowerCase().includes(only));
  return interruptible(async (onProgress, progress) => {
    using _device = await init({ backend: "cpu" });
    const rows: Row[] = [];
    for (const [i, form] of chosen.entries()) {
      await onProgress(i, chosen.length, form.name);
      const config = form.optimizer as OptimizerConfig; // a recipe's optimizer is one
      const perUpdate = form.perUpdate ? { perUpdate: form.perUpdate as never[] } : {}; // names of its hyperparameters
      rows.push({
        form,
        found: await discoverSymmetry(make(config), perUpdate),
        measured: await evidence(form, seed),
      });
    }
    progress.end();
    const results = rows.map(({ form, found, measured }) => ({ form: form.name, found, measured }));
    print(given.json ? `${JSON.stringify(results, undefined, 2)}\n` : text(rows));
    return rows.every(agrees) ? 0 : 1;
  });
}

/** A rule that is declared was found by experiment and holds to the last bit; where none is, none was found. */
function agrees({ found, measured }: Row): boolean {
  if ("refused" in measured) return !found.exists || Object.keys(found.phases).length > 0;
  return found.exists === true && measured.bitwise;
}

function text(rows: readonly Row[]): string {
  const cells = (cell: (row: Row) => string) => rows.map(cell);
  const measured = (cell: (e: Evidence) => string) =>
    cells(({ measured: m }) => ("refused" in m ? "" : cell(m)));
  return `${table([
    { title: "optimizer", cells: cells(({ form }) => form.name) },
    { title: "powers of c", cells: cells(({ found }) => powers(found)) },
    { title: "float64", cells: measured((e) => e.float64.toExponential(1)), align: "right" },
    { title: "float32", cells: measured((e) => e.float32.toExponential(1)), align: "right" },
    {
      title: "bitwise",
      cells: cells(({ measured: m }) => ("refused" in m ? "no rule" : m.bitwise ? "yes" : "NO")),
    },
    {
      title: "left unchanged",
      cells: measured((e) =>
        Object.entries(e.unchanged)
          .map(([name, by]) => `${name} ${by.toExponential(1)}`)
          .join(", "),
      ),
    },
  ])}\n`;
}

function powers(found: Row["found"]): string {
  if (found.exists === undefined) return found.fault;
  if (!found.exists) return "none exist";
  const hyper = Object.entries(found.hyper)
    .filter(([, power]) => power !== 0)
    .map(([name, power]) => `${name} ${power}`);
  const phases = Object.entries(found.phases).map(
    ([name, list]) =>
      `${name} ${list.map(({ from, to, power }) => `${power} in updates ${from}-${to}`).join(", ")}`,
  );
  return [...hyper, ...phases].join("; ") || "all 0";
}
