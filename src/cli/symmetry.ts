import { table } from "../base/table.ts";
import { balance } from "../experiments/symmetry/balance.ts";
import { type Evidence, evidence, type Refused } from "../experiments/symmetry/evidence.ts";
import { type Form, forms } from "../experiments/symmetry/forms.ts";
import { type LieForm, lieForms, measure } from "../experiments/symmetry/lie.ts";
import {
  discoverSymmetry,
  type LieAlgebra,
  type Looked,
  type NoSymmetry,
  type Range,
  type Symmetry,
  type Undecided,
} from "../gauge/index.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import { init } from "../runtime/init.ts";
import { interruptible } from "./interrupt.ts";
import { print } from "./print.ts";
import { optionsHelp, parseOptions, UsageError, wholeNumber } from "./usage.ts";

const options = {
  only: {
    type: "string",
    value: "TEXT",
    help: "Optimizers whose name holds the text, in any case; default all",
  },
  seed: { type: "string", value: "N", help: "Seed of the training runs; default 0" },
  lie: { type: "boolean", help: "Measure the Lie algebra of update rules of A and B instead" },
  balance: { type: "boolean", help: "Measure what SGD does to A A^T / lr_A - B^T B / lr_B instead" },
  rank: { type: "string", value: "R", help: "With --lie: the rank of the layer; default 3" },
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of tables" },
} as const;

const help = `Usage: lorantz symmetry [OPTIONS]

For every optimizer: how its numbers must scale for a tensor scaled by c, found by experiment without looking at the
declared rules; then a small LoRA training beside its gauge partners in float64 and float32: how far apart they are,
whether powers of two agree to the last bit, and what leaving one rescaled number unchanged does. Runs on the CPU.

With --lie, for rules of both factors of a layer: how many matrices X there are such that moving A by t X A and B by -t B X
is not noticed, at fixed hyperparameters and where they may change too, beside theory; the singular values on both sides
of the rank that was taken; and which they are.

With --balance, for D = A A^T / lr_A - B^T B / lr_B under SGD in float64: the largest error in any step of its change,
lr_A G_A G_A^T - lr_B G_B^T G_B; how far rate times D moves in the same time with ever smaller steps; and whether a
gauge partner has the same bits of D.

Options:
${optionsHelp(options)}

Exit codes: 0 every declared rule was found and held bit for bit, with --lie all dimensions are those of theory, with
--balance D changes as said to 1e-11; 1 one did not; 2 wrong usage, 130 interrupted.
`;

interface Row {
  readonly form: Form;
  readonly found: Symmetry | NoSymmetry | Undecided;
  readonly measured: Evidence | Refused;
}

/** The command `symmetry`; see its help. */
export async function symmetry(args: readonly string[]): Promise<number> {
  const given = parseOptions("symmetry", args, options, help);
  const seed = wholeNumber("seed", given.seed, { min: 0, max: 2 ** 32 - 1, otherwise: 0 });
  const only = given.only?.toLowerCase() ?? "";
  if (given.rank !== undefined && !given.lie)
    throw new UsageError("symmetry: --rank is for --lie. Give both, or leave it out.");
  const r = wholeNumber("rank", given.rank, { min: 1, max: 8, otherwise: 3 });
  if (given.balance) {
    if (given.lie || given.only !== undefined)
      throw new UsageError("symmetry: --balance excludes --lie and --only. Leave them out.");
    return balanced(seed, given.json ?? false);
  }
  const matches = ({ name }: { readonly name: string }) => name.toLowerCase().includes(only);
  const all: readonly { readonly name: string }[] = given.lie ? lieForms : forms;
  if (!all.some(matches))
    throw new UsageError(
      `symmetry: --only "${given.only}" finds none of ${all.map(({ name }) => name).join("; ")}.`,
    );
  if (given.lie) return lie(lieForms.filter(matches), r, given.json ?? false);
  const chosen = forms.filter(matches);
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

async function balanced(seed: number, json: boolean): Promise<number> {
  return interruptible(async (onProgress, progress) => {
    using _device = await init({ backend: "cpu" });
    const rows: { rate: number; steps: number; error: number; moved: number; bitwise: boolean }[] = [];
    for (const [i, parts] of [1, 2, 4].entries()) {
      const rate = 1 / parts;
      await onProgress(i, 3, `rates times ${rate}`);
      const options = { rate, steps: 50 * parts, seed };
      const [{ error, moved, D }, partner] = [
        await balance(options),
        await balance({ ...options, a: 4, b: 1 / 8 }),
      ];
      rows.push({
        rate,
        steps: options.steps,
        error,
        moved: moved * rate,
        bitwise: String(partner.D) === String(D),
      });
    }
    progress.end();
    const column = (title: string, cell: (row: (typeof rows)[number]) => string) => {
      return { title, cells: rows.map(cell), align: "right" } as const;
    };
    const columns = [
      column("rates times", ({ rate }) => String(rate)),
      column("steps", ({ steps }) => String(steps)),
      column("error of a step", ({ error }) => error.toExponential(1)),
      column("rate x D moved", ({ moved }) => moved.toPrecision(3)),
      column("bits of a gauge partner", ({ bitwise }) => (bitwise ? "the same" : "OTHERS")),
    ];
    print(json ? `${JSON.stringify(rows, undefined, 2)}\n` : `${table(columns)}\n`);
    return rows.every(({ error, bitwise }) => error < 1e-11 && bitwise) ? 0 : 1;
  });
}

async function lie(chosen: readonly LieForm[], r: number, json: boolean): Promise<number> {
  return interruptible(async (onProgress, progress) => {
    const rows: { readonly form: LieForm; readonly found: LieAlgebra }[] = [];
    for (const [i, form] of chosen.entries()) {
      await onProgress(i, chosen.length, form.name);
      rows.push({ form, found: await measure(form, r) });
    }
    progress.end();
    const results = rows.map(({ form, found }) => ({ form: form.name, theory: form.theory(r), ...found }));
    print(json ? `${JSON.stringify(results, undefined, 2)}\n` : lieText(rows, r));
    const agreed = results.every(
      ({ theory, dimension, withHyper }) => theory[0] === dimension && theory[1] === withHyper.dimension,
    );
    return agreed ? 0 : 1;
  });
}

function lieText(rows: readonly { readonly form: LieForm; readonly found: LieAlgebra }[], r: number): string {
  const cells = (cell: (found: LieAlgebra, form: LieForm) => string) =>
    rows.map(({ form, found }) => cell(found, form));
  const gap = ({ gap: [kept, dropped] }: LieAlgebra["withHyper"]) =>
    `${kept > 0 ? kept.toExponential(0) : "none"} | ${dropped > 0 ? dropped.toExponential(0) : "none"}`;
  const right = { align: "right" } as const;
  return `${table([
    { title: `rule, r = ${r}`, cells: cells((_, { name }) => name) },
    { title: "dimension", cells: cells((found) => String(found.dimension)), ...right },
    { title: "theory", cells: cells((_, { theory }) => String(theory(r)[0])), ...right },
    { title: "kept | dropped", cells: cells(gap) },
    { title: "with numbers", cells: cells(({ withHyper }) => String(withHyper.dimension)), ...right },
    { title: "theory", cells: cells((_, { theory }) => String(theory(r)[1])), ...right },
    { title: "kept | dropped", cells: cells(({ withHyper }) => gap(withHyper)) },
    { title: "X = 1 goes with", cells: cells(scalarPart) },
  ])}\n`;
}

/** How hyperparameters change where A and B are scaled: the generator X = 1. */
function scalarPart({ r, withHyper: { dimension, basis } }: LieAlgebra): string {
  if (dimension === r * r) return "fixed numbers";
  const isUnit = ({ matrix }: (typeof basis)[number]) =>
    matrix.every((row, i) => row.every((x, j) => Math.abs(x - (i === j ? 1 : 0)) < 1e-5));
  const unit = basis.find(isUnit);
  if (!unit) return "";
  return Object.entries(unit.hyper)
    .map(([name, rate]) => `${name} ${Number(rate.toFixed(4))}`)
    .join(", ");
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
  ])}\n\n${looked(rows)}\n`;
}

/** What the experiments looked at, all of them together. */
function looked(rows: readonly Row[]): string {
  const each = rows.flatMap(({ found }) => (found.exists === undefined ? [] : [found.looked]));
  const names = (of: readonly (readonly string[])[]) => [...new Set(of.flat())].join(", ") || "none";
  const range = (of: (all: Looked) => Range) => {
    const ends = each.map(of).filter(([, largest]) => largest > 0);
    const [least, largest] = [Math.min(...ends.map(([x]) => x)), Math.max(...ends.map(([, x]) => x))];
    return `${least.toExponential(0)} to ${largest.toExponential(0)}`;
  };
  if (each.length === 0) return "Nothing was looked at.";
  return [
    `Looked at: shapes ${names(each.map(({ shapes }) => shapes))}; ${Math.max(...each.map(({ updates }) => updates))} updates in a row, and updates after ${names(each.map(({ late }) => late.map(String)))}; gradients`,
    `from ${range(({ gradients }) => gradients)}, parameters from ${range(({ parameters }) => parameters)}, c from ${range(({ factors }) => factors)}. Hyperparameters tried: ${names(each.map(({ tried }) => Object.keys(tried)))};`,
    `left as they are: ${names(each.map(({ untried }) => Object.keys(untried)))}. --json has it for each.`,
  ].join("\n");
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
