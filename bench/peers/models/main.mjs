// Fine-tuning and generation with models of known shapes, beside PyTorch and llama.cpp: `npm run peers:models -- --help`.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "../../../dist/base/table.js";
import { configs, linear, make } from "./make.mjs";

const help = `Usage: npm run peers:models -- [OPTIONS]

Measures training steps of LoRA, decoding and loading of models with random weights, in processes that take turns. Answers
are checked first. Times are processor times of all threads, and in brackets those of the clock.

Options:
  --filter RE  Only work whose name it finds
  --rounds N   Runs of each process; default 5
  --blocks N   So many blocks of SmolLM-135M instead of 30
  --keep DIR   Where the models are written, and found again
  --json FILE  Write the results as JSON too
  --help       This text
`;

const { values } = parseArgs({
  options: {
    filter: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    blocks: { type: "string", default: "30" },
    keep: { type: "string" },
    json: { type: "string" },
    help: { type: "boolean" },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const interpreter = process.env.PYTHON ?? "python3";
const programs = {
  lorantz: [process.execPath, here("lorantz.mjs")],
  torch: [interpreter, here("torch_llama.py")],
  llama: [process.execPath, here("llama.mjs")],
};

const small = { model: "stories260K", batch: 8, length: 256 };
const large = { model: "SmolLM-135M", batch: 1, length: 256, targets: linear };
const train = (more) => ({ work: "train", ...more });

/** The measured processes of each work: the first one gives the answer that the others with `same` must give. */
const works = {
  "stories260K, LoRA of q and v": {
    Lorantz: ["lorantz", train({ ...small, targets: ["q_proj", "v_proj"] })],
    PyTorch: ["torch", train({ ...small, targets: ["q_proj", "v_proj"] })],
  },
  "stories260K, LoRA of all layers": {
    Lorantz: ["lorantz", train({ ...small, targets: linear })],
    PyTorch: ["torch", train({ ...small, targets: linear })],
  },
  "SmolLM-135M, LoRA of all layers": {
    Lorantz: ["lorantz", train(large)],
    PyTorch: ["torch", train(large)],
  },
  "SmolLM-135M, less memory": {
    Lorantz: ["lorantz", train(large)],
    "with remat": ["lorantz", train({ ...large, remat: true })],
    "in bfloat16": ["lorantz", train({ ...large, pack: "bfloat16", other: true })],
    "in NF4": ["lorantz", train({ ...large, pack: "nf4", other: true })],
  },
  "SmolLM-135M, 8 tokens of a text": {
    Lorantz: ["lorantz", { work: "decode", model: large.model }],
    "in bfloat16": ["lorantz", { work: "decode", model: large.model, pack: "bfloat16", other: true }],
    "in NF4": ["lorantz", { work: "decode", model: large.model, pack: "nf4", other: true }],
    "llama.cpp": ["llama", { work: "decode", model: large.model }],
    "512 MiB read": ["lorantz", { work: "read", model: large.model, other: true }],
  },
  "SmolLM-135M, 8 tokens on WebGPU": Object.fromEntries(
    [undefined, "bfloat16", "nf4"].flatMap((pack) =>
      ["cpu", "webgpu"].map((backend) => [
        `${pack ?? "float32"}, ${backend}`,
        ["lorantz", { work: "decode", model: large.model, ...(pack && { pack, other: true }), backend }],
      ]),
    ),
  ),
  "SmolLM-135M, loading": {
    Lorantz: ["lorantz", { work: "load", model: large.model }],
  },
};

process.exitCode = await main();

async function main() {
  const folder = values.keep ?? mkdtempSync(join(tmpdir(), "lorantz-models-"));
  const results = [];
  let wrong = false;
  try {
    for (const [work, entries] of Object.entries(works)) {
      if (!new RegExp(values.filter, "i").test(work)) continue;
      const rows = await measure(folder, work, entries);
      wrong ||= rows.some((row) => row.wrong && row.name !== "llama.cpp" && row.name !== "PyTorch");
      results.push({ work, rows });
      print(work, rows);
    }
  } finally {
    if (!values.keep) rmSync(folder, { recursive: true, force: true });
  }
  const about = { node: process.versions.node, processor: cpus()[0]?.model.trim(), blocks: values.blocks };
  if (values.json)
    writeFileSync(values.json, `${JSON.stringify({ date: new Date(), ...about, results }, undefined, 2)}\n`);
  return wrong ? 1 : 0;
}

/** One line for each process: what it needed, or why it was not measured. */
async function measure(folder, work, entries) {
  const open = [];
  const rows = [];
  for (const [name, [engine, given]] of Object.entries(entries)) {
    process.stderr.write(`${work}: ${name}\n`);
    const at = join(folder, given.model);
    if (!existsSync(join(at, "model.gguf"))) {
      const config = configs[given.model];
      await make(
        at,
        given.model === large.model ? { ...config, num_hidden_layers: Number(values.blocks) } : config,
      );
    }
    const child = start(programs[engine], { ...given, folder: at });
    try {
      const { answer, more } = await child.next();
      const expected = open[0]?.answer;
      const isWrong = expected !== undefined && !given.other && !alike(answer, expected);
      if (isWrong) {
        child.end();
        rows.push({ name, wrong: `its answer is ${answer}, not ${expected}` });
      } else open.push({ name, child, answer, more, runs: [] });
    } catch (error) {
      child.end();
      rows.push({ name, failed: error.message });
    }
  }
  for (let round = 0; round < Number(values.rounds); round++)
    for (const { child, runs } of open) {
      child.ask();
      runs.push(await child.next());
    }
  for (const { name, child, answer, more, runs } of open) {
    child.end();
    const least = (of) => Math.min(...runs.map((run) => run[of]));
    rows.push({ name, cpu: least("cpu"), ms: least("ms"), peak: runs.at(-1).peak, answer, ...more });
  }
  return rows;
}

/** Losses to three digits, tokens exactly. */
function alike(answer, expected) {
  return answer.every((value, i) =>
    Number.isInteger(value) ? value === expected[i] : Math.abs(value / expected[i] - 1) < 1e-3,
  );
}

/** A process that is asked for runs. */
function start([command, ...args], given) {
  const child = spawn(command, [...args, JSON.stringify(given)], { stdio: ["pipe", "pipe", "pipe"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const failed = new Promise((_, reject) => child.once("error", reject));
  failed.catch(() => {});
  return {
    async next() {
      const { value, done } = await Promise.race([lines.next(), failed]);
      if (done) throw new Error(said.trim().split("\n").at(-1) || `${command} ended`);
      return JSON.parse(value);
    },
    ask: () => child.stdin.write("\n"),
    end: () => child.stdin.end(),
  };
}

function print(work, rows) {
  const [first] = rows.filter(({ cpu }) => cpu !== undefined);
  const mega = (bytes) => (bytes === undefined ? "" : `${(bytes / 1e6).toFixed(0)} MB`);
  const measured = rows.filter(({ cpu }) => cpu !== undefined);
  const right = { align: "right" };
  const columns = [
    { title: work, cells: measured.map(({ name }) => name) },
    {
      title: "processor (clock) ms",
      cells: measured.map(({ cpu, ms }) => `${cpu.toFixed(1)} (${ms.toFixed(1)})`),
      ...right,
    },
    { title: "of the first", cells: measured.map(({ cpu }) => (cpu / first.cpu).toFixed(2)), ...right },
    { title: "peak", cells: measured.map(({ peak }) => mega(peak)), ...right },
    { title: "weights", cells: measured.map(({ weights }) => mega(weights)), ...right },
    { title: "planned", cells: measured.map(({ bound }) => mega(bound)), ...right },
    { title: "activations", cells: measured.map(({ activations }) => mega(activations)), ...right },
    {
      title: "first step, processor",
      cells: measured.map(({ firstStep }) => (firstStep ? `${firstStep.toFixed(0)} ms` : "")),
      ...right,
    },
  ];
  const notes = rows.flatMap(({ name, failed, wrong }) =>
    (failed ?? wrong) ? [`${name}: ${failed ?? wrong}`] : [],
  );
  process.stdout.write(`${[table(columns), ...notes].join("\n")}\n\n`);
}
