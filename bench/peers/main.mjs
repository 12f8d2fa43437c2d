// Lorantz and its peers, side by side: one run, all engines in turn, each answer checked before it is timed.
// `npm run peers -- --help` in the root of the repository.
import { availableParallelism, cpus } from "node:os";
import { parseArgs } from "node:util";
import { table } from "../../dist/base/table.js";
import { Output } from "../../dist/cli/output.js";
import { jax } from "./engines/jax.mjs";
import { lorantz } from "./engines/lorantz.mjs";
import { onnx } from "./engines/onnx.mjs";
import { python } from "./engines/python.mjs";
import { tfjs } from "./engines/tfjs.mjs";
import { sets, tolerance } from "./problems.mjs";

const help = `Usage: npm run peers -- [OPTIONS]

Measures Lorantz and other engines in turn. Engines that do not install or run are named with the reason.
NumPy and PyTorch run in the Python of the environment variable PYTHON, by default python3.

Options:
  --engines RE  Only engines whose name the regular expression finds
  --set RE      The sets of problems whose name it finds: ${Object.keys(sets).join(", ")}; default main
  --filter RE   Only problems whose name it finds
  --time MS     Milliseconds for each problem on each engine; default 1000
  --clock NAME  wall, or processor: processor time of all threads, for machines that are busy; default wall
  --json FILE   Write the results as JSON too, again after each problem
  --help        This text
`;

/** Engines are measured in turn, this often. */
const rounds = 5;

/** Milliseconds of the clock, or of this process on all processors. */
const clocks = {
  wall: { name: "wall", now: () => performance.now() },
  processor: {
    name: "processor",
    now() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
  },
};

const engines = [
  lorantz("cpu"),
  lorantz("cpu", false),
  python("torch"),
  python("numpy"),
  onnx,
  jax("wasm"),
  tfjs("wasm"),
  lorantz("webgpu"),
  lorantz("webgpu", false),
  jax("webgpu"),
  tfjs("webgpu"),
];

process.exitCode = await main();

async function main() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        engines: { type: "string", default: "" },
        set: { type: "string", default: "^main$" },
        filter: { type: "string", default: "" },
        time: { type: "string", default: "1000" },
        clock: { type: "string", default: "wall" },
        json: { type: "string" },
        help: { type: "boolean" },
      },
    }));
  } catch (error) {
    process.stderr.write(`peers: ${error.message}\n`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const time = Number(values.time);
  if (!(time > 0)) {
    process.stderr.write(`peers: --time is "${values.time}"; it is a number of milliseconds > 0.\n`);
    return 2;
  }
  const clock = clocks[values.clock];
  if (!clock) {
    process.stderr.write(`peers: --clock is "${values.clock}"; it is ${Object.keys(clocks).join(" or ")}.\n`);
    return 2;
  }
  let output;
  try {
    output = values.json && new Output("--json", [values.json]);
  } catch (error) {
    process.stderr.write(`peers: ${error.message}\n`);
    return 2;
  }
  const reports = [];
  const open = [];
  for (const engine of engines.filter(({ name }) => new RegExp(values.engines, "i").test(name))) {
    process.stderr.write(`opening ${engine.name}\n`);
    try {
      open.push({ name: engine.name, session: await engine.open(), results: {} });
    } catch (error) {
      reports.push(`${engine.name}: not measured, ${firstLine(error)}`);
    }
  }
  const chosen = Object.entries(sets)
    .filter(([set]) => new RegExp(values.set, "i").test(set))
    .map(([set, problems]) => [
      set,
      Object.entries(problems).filter(([name]) => new RegExp(values.filter, "i").test(name)),
    ])
    .filter(([, problems]) => problems.length > 0);
  const date = new Date();
  const save = () => {
    const engines = open.map(({ name, session: { about }, results }) => ({ name, about, results }));
    output?.write([`${JSON.stringify({ date, engines, reports }, undefined, 2)}\n`]);
  };
  const units = {};
  let wrong = false;
  for (const [name, make] of chosen.flatMap(([, problems]) => problems)) {
    const problem = { name, ...make() };
    units[name] = problem.rate(1)[1];
    const ready = [];
    for (const engine of open) {
      process.stderr.write(`${problem.name}: checking ${engine.name}\n`);
      try {
        await engine.session.choose?.();
        const prepared = await engine.session.prepare(problem);
        if (!prepared) continue;
        const error = problem.error(await prepared.answer());
        if (error <= tolerance) ready.push({ engine, prepared, error, samples: [] });
        else {
          reports.push(`${engine.name}: ${problem.name} is wrong, error ${error.toExponential(1)}`);
          wrong ||= engine.name.startsWith("Lorantz");
        }
      } catch (error) {
        reports.push(`${engine.name}: ${problem.name} does not run, ${firstLine(error)}`);
        wrong ||= engine.name.startsWith("Lorantz");
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const entry of ready) {
        process.stderr.write(`${problem.name}: round ${round + 1} of ${rounds}, ${entry.engine.name}\n`);
        try {
          await measure(entry, time / rounds, clock);
        } catch (error) {
          reports.push(`${entry.engine.name}: ${problem.name} broke off, ${firstLine(error)}`);
          ready.splice(ready.indexOf(entry), 1);
        }
      }
    }
    for (const { engine, prepared, error, samples } of ready) {
      prepared.close?.();
      const sorted = samples.sort((a, b) => a - b);
      const [median, best] = [sorted[sorted.length >> 1], sorted[0]];
      const rate = { median: problem.rate(median)[0], best: problem.rate(best)[0], unit: units[name] };
      engine.results[name] = { ms: { median, best }, samples: sorted.length, error, rate };
    }
    // As far as it got, for a run that is stopped.
    save();
  }
  for (const { session } of open) session.close?.();
  print(
    open,
    chosen.map(([, problems]) => problems.map(([name]) => [name, units[name]])),
    reports,
    clock.name,
  );
  return wrong ? 1 : 0;
}

/** Calls for a while, once at least; engines in another process say themselves how long a call took, by both clocks. */
async function measure({ engine, prepared, samples }, time, { name, now }) {
  await engine.session.choose?.();
  await prepared.run(); // caches are cold after another engine's turn
  const end = performance.now() + time;
  do {
    const start = now();
    const told = await prepared.run();
    samples.push(told?.[name] ?? now() - start);
  } while (performance.now() < end);
}

/** One table for each set. */
function print(open, tables, reports, clock) {
  const cell = (rate) => (rate ? `${digits(rate.median)} (${digits(rate.best)})` : "");
  const lines = tables.flatMap((columns) => {
    const measured = open.filter(({ results }) => columns.some(([name]) => results[name]));
    if (measured.length === 0) return ["nothing was measured", ""];
    const engine = { title: "engine", cells: measured.map(({ name }) => name) };
    const rates = columns.map(([name, unit]) => ({
      title: `${name}, ${unit}`,
      cells: measured.map(({ results }) => cell(results[name]?.rate)),
      align: "right",
    }));
    return [table([engine, ...rates]), ""];
  });
  const about = open
    .filter(({ session, results }) => session.about && Object.keys(results).length > 0)
    .map(({ name, session }) => `${name}: ${session.about}`);
  const machine = `${cpus()[0]?.model.trim()}, ${availableParallelism()} threads; float32; ${clock} time; median (best)`;
  process.stdout.write(
    `${[`Node ${process.versions.node}; ${machine}`, "", ...lines, ...about, ...reports].join("\n")}\n`,
  );
}

function digits(value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n", 1)[0];
}
