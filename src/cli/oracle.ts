import { existsSync } from "node:fs";
import { oneLine } from "../base/text.ts";
import { openEngine } from "../experiments/oracle/engine.ts";
import { type OracleReport, runOracle } from "../experiments/oracle/run.ts";
import { print, terminal } from "./print.ts";
import { Progress } from "./progress.ts";
import { oneOf, optionsHelp, parseArguments, UsageError } from "./usage.ts";

const defaultDirectory = "../shared/oracle";

const options = {
  backend: {
    type: "string",
    value: "NAME",
    help: "cpu, webgpu, or evaluator (the judge of both); default: WebGPU if there is an adapter that is not software, else CPU",
  },
  dtype: { type: "string", value: "NAME", help: "float32 (default) or float64 (CPU and evaluator only)" },
  model: {
    type: "string",
    value: "DIR",
    help: "Checkpoint (config.json, model.safetensors) that the reference files in DIR and below are of",
  },
  json: { type: "boolean", help: "Print the results as JSON" },
} as const;

const help = `Usage: lorantz oracle [DIR] [OPTIONS]

Runs every case of the reference files in DIR (default ${defaultDirectory}) and compares values and gradients.
The largest error divided by the largest magnitude may be 1e-5 in float32 (2e-5 for training runs, 5e-5 for models,
1e-4 for training them; 1e-4 where digits cancel: logsumexp/large, layer_norm/offset) and 1e-9 in float64; integers are
equal.

Options:
${optionsHelp(options)}
`;

/** `lorantz oracle`: returns 1 if a case failed. */
export async function oracle(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("oracle", args, options, help);
  const backend = oneOf("backend", values.backend, ["cpu", "webgpu", "evaluator"] as const);
  const dtype = oneOf("dtype", values.dtype, ["float32", "float64"] as const);
  if (positionals.length > 1)
    throw new UsageError(`oracle: takes one directory; given ${positionals.join(", ")}.`);
  const directory = positionals[0] ?? defaultDirectory;
  if (!existsSync(directory)) {
    const what = positionals[0] === undefined ? "no directory is given, and the default" : "the directory";
    throw new UsageError(`oracle: ${what} ${directory} does not exist. Give a directory of reference files.`);
  }

  const engine = await openEngine(backend, dtype);
  try {
    const progress = new Progress(terminal);
    const report = await runOracle(
      directory,
      engine,
      (what, done, total) => progress.update(done, total, what),
      values.model,
    );
    progress.end();
    const { name, description, dtype } = engine;
    if (values.json) {
      const results = { directory, backend: name, description, dtype, ...report };
      print(`${JSON.stringify(results, null, 2)}\n`);
    } else {
      print(`${directory} on ${name} (${description}), ${dtype}\n\n${describeReport(report)}\n`);
    }
    return report.failed > 0 ? 1 : 0;
  } finally {
    engine.dispose();
  }
}

function describeReport({ files, failures, skips, passed, failed, skipped }: OracleReport): string {
  const width = Math.max(...files.map(({ file }) => file.length));
  const rows = files.map(({ file, passed, failed, skipped, worstError }) => {
    const counts = [
      `${passed} passed`,
      ...(failed ? [`${failed} failed`] : []),
      ...(skipped ? [`${skipped} skipped`] : []),
    ];
    const worst = passed > 0 ? `, largest error ${worstError.toExponential(1)}` : "";
    return `  ${oneLine(file).padEnd(width)}  ${counts.join(", ")}${worst}`;
  });
  const failing = failures.flatMap(({ file, name, problems }) =>
    problems.map((problem) => oneLine(`FAILED ${[file, name].filter(Boolean).join(": ")}: ${problem}`)),
  );
  const skipping = skips.map(({ reason, cases }) =>
    oneLine(`skipped, ${reason} (${cases.length}): ${cases.join(", ")}`),
  );
  const blocks = [rows, failing, skipping]
    .filter((block) => block.length > 0)
    .map((block) => block.join("\n"));
  return [...blocks, `${passed} passed, ${failed} failed, ${skipped} skipped`].join("\n\n");
}
