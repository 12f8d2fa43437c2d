import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseJson } from "../base/json.ts";
import { table } from "../base/table.ts";
import { plural } from "../base/text.ts";
import { type Cell, type Shard, shardOf } from "../experiments/sweep/cell.ts";
import { type Executor, type Hearing, runCells } from "../experiments/sweep/executor.ts";
import { Folder } from "../experiments/sweep/folder.ts";
import { inProcess, local } from "../experiments/sweep/local.ts";
import { checkSweep, keyName, mostCells, type Sweep, sameRuns, sweepOf } from "../experiments/sweep/plan.ts";
import { Pool } from "../experiments/sweep/pool.ts";
import { queued } from "../experiments/sweep/queue.ts";
import { reportOf } from "../experiments/sweep/report.ts";
import { openStore, type Store } from "../experiments/sweep/store.ts";
import { csvOf, rowsOf, tableOf } from "../experiments/sweep/table.ts";
import { type Grid, gridSize } from "../gauge/index.ts";
import * as tree from "../tensor/tree.ts";
import { readFile } from "./input.ts";
import { interruptible } from "./interrupt.ts";
import { memoryLeft } from "./memory.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { givenGrid, recipeHelp } from "./recipe-text.ts";
import { type OpenBench, openBench, type Sources, settingOptions, sweepWork } from "./sweep-bench.ts";
import {
  asUsage,
  optionsHelp,
  parseArguments,
  UsageError,
  usable,
  type Values,
  wholeNumber,
} from "./usage.ts";
import { codeVersion, version } from "./version.ts";

const options = {
  ...settingOptions,
  out: { type: "string", value: "DIR", help: "Folder for results, table.json, table.csv and report.html" },
  seeds: {
    type: "string",
    value: "N",
    help: "How many seeds each cell is run with, or which, as 0,3,4; default 1",
  },
  workers: {
    type: "string",
    value: "N",
    help: "Processes that work side by side, 0 for this one alone, eight cells at a time over one model; default as many as there are cores, 0 on WebGPU",
  },
  shard: {
    type: "string",
    value: "I/N",
    help: "Work at a part of the cells only, the first of 4 with 1/4, as on a cluster",
  },
  queue: {
    type: "string",
    value: "URL",
    help: "Have it done by lorantz worker at a queue, redis://HOST:PORT or postgres://USER@HOST:PORT/DATABASE",
  },
  merge: {
    type: "boolean",
    help: "Put together what is in --out, and in the folders that are named, and work at nothing",
  },
  yes: { type: "boolean", help: `Go on with more than ${1000} cells without asking` },
  json: { type: "boolean", help: "Print the table as JSON on stdout" },
} as const;

const help = `Usage: lorantz sweep GRID --model DIR|small|large --data FILE --out DIR [OPTIONS]
       lorantz sweep --merge --out DIR [FOLDER...]

Fine-tunes a language model by every recipe of a grid, and writes what came of it as a table and a report. Cells that are
the same training run by the gauge are run once. It may be ended at any moment and started again: what has a result is
not run again, whatever the grid is then. A run that diverges is a result.

  lorantz sweep 'optimizer=adamw r=8 alpha=8,16,32 lr=1e-4,4e-4 ratio=1,16' --model DIR --data FILE --out sweep

A grid is what lorantz sweep-plan takes: a file or inline text, key=value with several values, or in JSON a list of
recipes, or { "recipe": ..., "vary": { "alpha": [8, 16, 32], "optimizer.lr": [1e-4, 2e-4] } }.

Options:
${optionsHelp(options)}

${recipeHelp}

Exit codes: 0 done, 1 some cells have no result or the work broke off, 2 wrong usage or unusable input, 130 interrupted.
`;

/** Cells that this process works at beside each other. */
const mostBeside = 8;

/** Cells that are run without a word of consent. */
const many = 1000;

type Given = Values<typeof options>;

/** The command `sweep`; see its help. */
export async function sweep(args: readonly string[]): Promise<number> {
  const { values: given, positionals } = parseArguments("sweep", args, options, help);
  const { out } = given;
  if (out === undefined) throw new UsageError("sweep: --out DIR is missing. Results are kept there.");
  if (given.merge) return merge(given, out, positionals);
  const [text] = positionals;
  if (text === undefined || positionals.length > 1)
    throw new UsageError(
      `sweep: takes one grid; given ${positionals.length}. Quote key=value text as one argument.`,
    );
  const grid = givenGrid("sweep", text);
  const seeds = seedsOf(given.seeds);
  const shard = shardOption(given.shard);
  if (given.queue !== undefined && given.workers !== undefined)
    throw new UsageError(
      "sweep: --workers is given beside --queue, whose workers are lorantz worker. Leave it out.",
    );
  checkSize(grid, seeds, given.yes ?? false);
  const workers = wholeNumber("workers", given.workers, { min: 0, max: 256, otherwise: -1 });
  asUsage(() => sweepOf(grid, { ...placeholder, seeds })); // what is wrong with recipes, before anything is read

  const sources: Sources = Object.fromEntries(
    Object.keys(settingOptions).flatMap((name) => {
      const value = given[name as keyof Sources];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const store = given.queue === undefined ? undefined : await usable(() => openStore(given.queue!));
  try {
    return await begin(given, { grid, seeds, shard, workers, sources, store });
  } finally {
    await store?.close();
  }
}

/** What a sweep is begun with. */
interface Begun {
  readonly grid: Grid;
  readonly seeds: readonly number[];
  readonly shard: Shard | undefined;
  readonly workers: number;
  readonly sources: Sources;
  readonly store: Store | undefined;
}

async function begin(given: Given, { grid, seeds, shard, workers, sources, store }: Begun): Promise<number> {
  const out = given.out!; // as was seen
  const bench = await openBench("sweep", sources, { say: (line) => say(`${line}\n`) });
  const { setting } = bench;
  const about = { lorantz: version(), code: codeVersion(), setting, sources, seeds };
  const { sweep: planned, cells } = asUsage(() => sweepOf(grid, about));
  for (const line of sameRuns(planned)) say(`${line}\n`);
  const count = workersFor(workers, bench, cells.length);
  bench.language.device[Symbol.dispose]();

  const folder = await usable(async () => new Folder(out));
  const files = new Output("--out", [join(out, "sweep.json")]);
  files.write([`${JSON.stringify(planned, undefined, 1)}\n`]);
  const own = shard ? shardOf(cells, shard) : cells;
  say(
    `${plural(planned.grid.length, "cell")}, ${plural(planned.runs.length, "different run")}, ${plural(seeds.length, "seed")}: ` +
      `${plural(cells.length, "fine-tuning")} of ${plural(setting.steps, "update")}${shard ? `, of which ${own.length} are of part ${shard.number} of ${shard.of}` : ""}; ` +
      `${own.filter(({ key }) => folder.has(key)).length} there already.\n`,
  );
  const note = (text: string) => say(`${text}\n`);
  const executor = store
    ? queued(store, { code: about.code, note })
    : count === 0
      ? inProcess(sweepWork(undefined), mostBeside)
      : local(poolOf(count, setting.backend));
  return work(given, { planned, own, folder, out, executor });
}

/** What a sweep is of, where only the grid is looked at. */
const placeholder = { lorantz: "", code: "", setting: {} as never, sources: {} }; // never read

async function work(
  given: Given,
  {
    planned,
    own,
    folder,
    out,
    executor,
  }: {
    readonly planned: Sweep;
    readonly own: readonly Cell[];
    readonly folder: Folder;
    readonly out: string;
    readonly executor: Executor;
  },
): Promise<number> {
  return interruptible(
    async (onProgress, progress) => {
      const shares = new Map<string, number>();
      let [ended, what] = [0, "starting"];
      const count = own.filter(({ key }) => !folder.has(key)).length;
      const close = (cell: Cell) => {
        shares.delete(cell.key);
        ended++;
      };
      const hear: Hearing = {
        turn: () =>
          onProgress(ended + [...shares.values()].reduce((sum, share) => sum + share, 0), count, what),
        progress: (cell, share, words) => {
          shares.set(cell.key, share);
          what = `${ended} of ${count} fine-tunings; ${words}`;
        },
        done: close,
        failed: (cell, reason) => {
          close(cell);
          progress.end();
          say(`${keyName(planned, cell.key)}: no result. ${reason}\n`);
        },
      };
      const { failed } = await runCells(own, executor, folder, hear);
      progress.end();
      const missing = await finish(given, planned, folder, out);
      return failed.length > 0 || (missing > 0 && given.shard === undefined) ? 1 : 0;
    },
    () => `${plural(folder.keys().length, "result")} in ${out}, and the same command goes on from there`,
  );
}

/** Writes what there is of a sweep, and returns how many fine-tunings have no result. */
async function finish(given: Given, planned: Sweep, folder: Folder, out: string): Promise<number> {
  const { rows, missing } = rowsOf(planned, folder);
  const others =
    folder.keys().length - new Set(planned.runs.flatMap(({ keys }) => keys)).size + missing.length;
  const results = {
    ...planned,
    grid: undefined,
    runs: undefined,
    missing,
    cells: rows.map((row) => ({
      ...row,
      recipe: planned.grid[row.cell]!.recipe,
      seeds: row.seeds.map(({ outcome: _, ...seed }) => seed),
    })),
  };
  const json = `${JSON.stringify(results, undefined, 2)}\n`;
  const files = ["table.json", "table.csv", "report.html"].map((name) => join(out, name));
  const html = await reportOf(planned, rows, factsOf(planned, missing.length));
  const written = new Output("--out", files).write([json, csvOf(planned, rows), html]);
  print(given.json ? json : `${table(tableOf(planned, rows))}\n`);
  if (others > 0) say(`${plural(others, "result")} of other cells in ${out}: kept, and not counted here.\n`);
  if (missing.length > 0)
    say(
      `No result yet of ${plural(missing.length, "fine-tuning")}. The same command runs what is missing; where it is in other folders, lorantz sweep --merge --out ${out} FOLDER... puts all together.\n`,
    );
  say(`Wrote ${written.join(", ")}.\n`);
  return missing.length;
}

/** What a report says of a sweep. */
function factsOf({ grid, runs, seeds, setting, sources, code }: Sweep, missing: number) {
  const { model, data } = sources as Sources; // as it was begun here
  const { batch, steps, backend, weights, targetModules } = setting;
  const facts: [string, string][] = [
    ["Model", `${model} (${setting.model}), weights ${weights}, on ${backend}`],
    ["Examples", `${data} (${setting.data})`],
    ["Layers", typeof targetModules === "string" ? "all linear ones" : targetModules.join(", ")],
    ["Updates", `${steps}, of ${batch.accumulate} x ${batch.size} examples${batch.pack ? ", packed" : ""}`],
    ["Cells", `${grid.length}, of which ${runs.length} are different runs; seeds ${seeds.join(", ")}`],
    ...(missing > 0
      ? [["Missing", `${plural(missing, "fine-tuning")} without a result yet`] as [string, string]]
      : []),
    ["Lorantz", code],
  ];
  return facts;
}

/** Takes the results of other folders into one, and writes the table of all. */
async function merge(given: Given, out: string, folders: readonly string[]): Promise<number> {
  const stray = Object.keys(given).find(
    (name) => !["merge", "out", "json"].includes(name) && given[name as keyof Given] !== undefined,
  );
  if (stray !== undefined)
    throw new UsageError(`sweep: --${stray} is given beside --merge, which works at nothing. Leave it out.`);
  const path = [out, ...folders].map((each) => join(each, "sweep.json")).find((each) => existsSync(each));
  if (path === undefined)
    throw new UsageError(
      `sweep: there is no sweep.json in ${[out, ...folders].join(", ")}. Name folders of a sweep.`,
    );
  return usable(async () => {
    const planned = checkSweep(
      path,
      parseJson(path, new TextDecoder().decode(readFile("sweep:", path, "a sweep"))),
    );
    const folder = new Folder(out);
    const wanted = new Set(planned.runs.flatMap(({ keys }) => keys));
    for (const each of folders) {
      if (!existsSync(join(each, "cells"))) throw new UsageError(`${each}: it is no folder of a sweep.`);
      const other = new Folder(each);
      const keys = other.keys().filter((key) => wanted.has(key) && !folder.has(key));
      for (const key of keys) {
        const { task, result, seconds } = other.read(key)!;
        folder.write({ key, task }, result, seconds);
      }
      say(`${each}: ${plural(keys.length, "result")}.\n`);
    }
    new Output("--out", [join(out, "sweep.json")]).write([`${JSON.stringify(planned, undefined, 1)}\n`]);
    return (await finish(given, planned, folder, out)) > 0 ? 1 : 0;
  });
}

function checkSize(grid: Grid, seeds: readonly number[], yes: boolean): void {
  const cells = asUsage(() => gridSize(grid));
  const size = `the grid has ${plural(cells, "cell")} and there ${seeds.length === 1 ? "is" : "are"} ${plural(seeds.length, "seed")}, so up to ${plural(cells * seeds.length, "fine-tuning")}`;
  if (cells > mostCells)
    throw new UsageError(`sweep: ${size}; grids have up to ${mostCells} cells. Vary fewer fields.`);
  if (cells * seeds.length > many && !yes)
    throw new UsageError(
      `sweep: ${size}. If that is meant, add --yes; lorantz sweep-plan says how many of them are different.`,
    );
}

function seedsOf(given: string | undefined): readonly number[] {
  if (given === undefined) return [0];
  const most = 2 ** 32 - 1;
  const bad = () =>
    new UsageError(`--seeds is "${given}"; it is how many, from 1 to 10000, or a list of seeds, as 0,3,4.`);
  if (!/^\d+(,\d+)*$/.test(given)) throw bad();
  const numbers = given.split(",").map(Number);
  if (numbers.length > 1) {
    if (numbers.some((seed) => seed > most) || new Set(numbers).size < numbers.length) throw bad();
    return numbers;
  }
  const [count = 0] = numbers;
  if (count < 1 || count > 10_000) throw bad();
  return Array.from({ length: count }, (_, i) => i);
}

function shardOption(given: string | undefined): Shard | undefined {
  if (given === undefined) return undefined;
  const [number, of] = (/^(\d+)\/(\d+)$/.exec(given) ?? []).slice(1).map(Number);
  if (number === undefined || of === undefined || number < 1 || number > of || of > 100_000)
    throw new UsageError(`--shard is "${given}"; it is a part of several, from 1/4 to 4/4 for four.`);
  return { number, of };
}

/** How many processes: one for each core, if memory has room for as many models; this one for a GPU, which takes several cells at a time. */
function workersFor(given: number, { language: { device, params } }: OpenBench, cells: number): number {
  if (given >= 0) return given;
  if (!existsSync(program) || device.name !== "cpu") return 0;
  const bytes = tree.count(params) * 4;
  const room = Math.floor(memoryLeft(device, bytes) / (3 * bytes + 2 ** 28));
  return Math.max(1, Math.min(availableParallelism(), room, cells));
}

/** The program `lorantz` as it lies here; it is not there where the sources are run as they are. */
export const program = fileURLToPath(new URL("./main.js", import.meta.url));

/** Processes of `lorantz worker` that share the cores. */
export function poolOf(size: number, backend = "cpu"): Pool {
  const threads = Math.max(1, Math.floor(availableParallelism() / size));
  const args = ["worker", "--pool", ...(backend === "cpu" ? ["--threads", String(threads)] : [])];
  return new Pool({ module: program, args }, size);
}
