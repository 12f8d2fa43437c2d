import { DeviceError, ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import { matcher } from "../base/pattern.ts";
import { benchCases } from "../experiments/bench/cases.ts";
import type { BackendResults, BenchResults, EarlierResults } from "../experiments/bench/results.ts";
import { printResults, readEarlier } from "../experiments/bench/results.ts";
import { benchBackend } from "../experiments/bench/run.ts";
import { readFile } from "./input.ts";
import { interruptible } from "./interrupt.ts";
import { machine } from "./machine.ts";
import { Output } from "./output.ts";
import { print, say } from "./print.ts";
import { oneOf, optionsHelp, parseOptions, UsageError, wholeNumber } from "./usage.ts";
import { version } from "./version.ts";

const defaultTime = 1000;

const options = {
  filter: { type: "string", value: "RE", help: "Only benchmarks whose name the regular expression finds" },
  backend: { type: "string", value: "NAME", help: "cpu or webgpu; default: each that there is" },
  time: {
    type: "string",
    value: "MS",
    help: `Milliseconds for each benchmark on each backend; default ${defaultTime}`,
  },
  small: { type: "boolean", help: "Lengths divided by 16: to see that all runs, not to measure" },
  large: { type: "boolean", help: "Products of 4096 too, for GPUs" },
  json: {
    type: "string",
    value: "[FILE]",
    help: "Print the results as JSON, or write them to FILE beside the table",
  },
  compare: {
    type: "string",
    value: "FILE",
    help: "Print how much faster each is than in an earlier JSON file",
  },
} as const;

const help = `Usage: lorantz bench [OPTIONS]

Times matmuls, elementwise and row kernels, training steps and overheads on each backend. Each answer is checked
against the reference evaluator before it is timed, and the clock stops when the device is done. First the limits
of this very machine are measured: multiply-adds in registers, and copies of memory. docs/benchmarks.md says how to
read the table and what is in the JSON.

Options:
${optionsHelp(options)}

The exit code is 1 if an answer is wrong or a benchmark does not run.
`;

/** `lorantz bench`: returns 1 if an answer is wrong or a benchmark does not run. */
export async function bench(args: readonly string[]): Promise<number> {
  const values = parseOptions("bench", withJsonValue(args), options, help);
  if (values.small && values.large) throw new UsageError("--small and --large exclude each other.");
  const cases = benchCases(values.small ? "small" : values.large ? "large" : "usual");
  const found = regularExpression(values.filter);
  const chosen = cases.filter(({ name }) => found(name));
  if (chosen.length === 0) {
    const names = cases.map(({ name }) => name).join(", ");
    throw new UsageError(`--filter "${values.filter}" finds no benchmark. Benchmarks are ${names}.`);
  }
  const backend = oneOf("backend", values.backend, ["cpu", "webgpu"] as const);
  const time = wholeNumber("time", values.time, { min: 1, max: 600_000, otherwise: defaultTime });
  const earlier = values.compare === undefined ? undefined : readResults(values.compare);
  const file = values.json ? new Output("--json", [values.json]) : undefined;

  return interruptible(async (onProgress, progress) => {
    const backends: BackendResults[] = [];
    for (const name of backend ? [backend] : (["cpu", "webgpu"] as const)) {
      try {
        backends.push(await benchBackend(name, { cases: chosen, time, onProgress }));
      } catch (error) {
        if (backend || name === "cpu" || !(error instanceof DeviceError)) throw error;
        progress.end();
        say(`Left out webgpu. ${error.message}\n`);
      } finally {
        progress.end();
      }
    }
    const results: BenchResults = {
      schema: "lorantz-bench-1",
      version: version(),
      ...machine(),
      time,
      backends,
    };
    const json = `${JSON.stringify(results, undefined, 2)}\n`;
    file?.write([json]);
    print(values.json === "" ? json : `${printResults(results, earlier)}\n`);
    return backends.every(({ failures }) => failures.length === 0) ? 0 : 1;
  });
}

/** `--json` may stand alone: then its value is empty. */
function withJsonValue(args: readonly string[]): string[] {
  return args.map((arg, i) => {
    const next = args[i + 1];
    return arg === "--json" && (next === undefined || next.startsWith("-")) ? "--json=" : arg;
  });
}

function regularExpression(text = ""): (name: string) => boolean {
  try {
    return matcher(text);
  } catch (error) {
    throw new UsageError(
      `--filter "${text}" is no regular expression that it takes: ${(error as Error).message}`,
    );
  }
}

function readResults(path: string): EarlierResults {
  try {
    return readEarlier(
      parseJson(
        "the file",
        new TextDecoder().decode(
          readFile("--compare", path, "a file that `lorantz bench --json FILE` wrote"),
        ),
      ),
    );
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    const reason = error.message.replace(/\.$/, "");
    throw new UsageError(
      `--compare ${path}: ${reason}. Give a file that \`lorantz bench --json FILE\` wrote.`,
    );
  }
}
