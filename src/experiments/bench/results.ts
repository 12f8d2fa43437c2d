import { show } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";
import { type Column, table } from "../../base/table.ts";
import { oneLine } from "../../base/text.ts";
import { Fields } from "../oracle/fields.ts";
import type { Work } from "./case.ts";
import type { Limits } from "./limits.ts";

/** All that a run of the benchmarks found; docs/benchmarks.md describes it as JSON. */
export interface BenchResults {
  readonly schema: "lorantz-bench-1";
  readonly version: string;
  /** Of the repository the command ran in, with `+changes` where files differ from it. */
  readonly commit?: string;
  readonly date: string;
  readonly platform: string;
  readonly processor: string;
  readonly threads: number;
  /** Milliseconds spent on each case. */
  readonly time: number;
  readonly backends: readonly BackendResults[];
}

export interface BackendResults {
  readonly name: string;
  readonly description: string;
  readonly limits: Limits;
  readonly results: readonly CaseResult[];
  /** Quotients of medians of this run. */
  readonly ratios: readonly { readonly name: string; readonly value: number }[];
  readonly failures: readonly Failure[];
}

export interface CaseResult {
  readonly name: string;
  readonly about: string;
  /** What one call does. */
  readonly work: Work;
  /** Milliseconds of one call, until the device is done. */
  readonly ms: Spread;
  readonly samples: number;
  /** Largest error of the answer relative to its largest magnitude. */
  readonly error: number;
  /** From the median; missing for a single thing that takes what it takes. */
  readonly rate?: { readonly value: number; readonly unit: "GFLOP/s" | "GB/s" | "us/op" };
  /** The rate over the measured limit: of computing for GFLOP/s, of copying for GB/s. */
  readonly shareOfLimit?: number;
}

export interface Spread {
  readonly median: number;
  readonly p25: number;
  readonly p75: number;
  readonly min: number;
  readonly max: number;
}

/** A case that was not timed. */
export interface Failure {
  readonly name: string;
  readonly reason: string;
}

/** What a comparison reads of earlier results. */
export interface EarlierResults {
  readonly version: string;
  readonly commit?: string;
  readonly date: string;
  readonly backends: readonly {
    readonly name: string;
    readonly results: readonly { readonly name: string; readonly about: string; readonly median: number }[];
  }[];
}

/**
 * Earlier results from a file.
 *
 * @throws ValueError naming the field that is not as `bench --json` writes it.
 */
export function readEarlier(json: unknown): EarlierResults {
  const file = new Fields(json, "the file");
  const schema = file.text("schema");
  if (schema !== "lorantz-bench-1")
    throw new ValueError(`the file.schema: expected "lorantz-bench-1"; found ${show(schema)}.`);
  return {
    version: file.text("version"),
    ...(file.has("commit") && { commit: file.text("commit") }),
    date: file.text("date"),
    backends: file.objects("backends").map((backend) => ({
      name: backend.text("name"),
      results: backend.objects("results").map((result) => ({
        name: result.text("name"),
        about: result.text("about"),
        median: positive(result.object("ms"), "median"),
      })),
    })),
  };
}

function positive(fields: Fields, name: string): number {
  const value = fields.number(name);
  if (value > 0 && value < Infinity) return value;
  throw new ValueError(`${fields.place}.${name}: expected a finite number > 0; found ${value}.`);
}

/** Results as text: a table for each backend, beside an earlier run if there is one. */
export function printResults(results: BenchResults, earlier?: EarlierResults): string {
  const { version, commit, platform, processor, threads, backends } = results;
  const head = [
    `Lorantz ${version}${commit ? `, commit ${commit}` : ""}; ${platform}; ${processor}, ${threads} threads`,
    ...(earlier
      ? [
          `Compared with ${oneLine(`${earlier.commit ?? earlier.version} of ${earlier.date}`)}: more than 1x is faster now`,
        ]
      : []),
  ];
  return [head.join("\n"), ...backends.map((backend) => printBackend(backend, earlier))].join("\n\n");
}

function printBackend(backend: BackendResults, earlier: EarlierResults | undefined): string {
  const { name, description, limits, results, ratios, failures } = backend;
  const { gflops, gbs, about, oneThread } = limits;
  const single = oneThread
    ? ` (one thread: ${digits(oneThread.gflops)} GFLOP/s, ${digits(oneThread.gbs)} GB/s)`
    : "";
  const before = earlier?.backends.find((other) => other.name === name);
  const right = (title: string, cell: (result: CaseResult) => string): Column => ({
    title,
    cells: results.map(cell),
    align: "right",
  });
  const columns: Column[] = [
    { title: "benchmark", cells: results.map((result) => result.name) },
    right("median ms", ({ ms }) => digits(ms.median)),
    right("p25", ({ ms }) => digits(ms.p25)),
    right("p75", ({ ms }) => digits(ms.p75)),
    right("samples", ({ samples }) => String(samples)),
    right("rate", ({ rate }) => (rate ? `${digits(rate.value)} ${rate.unit.padEnd(7)}` : "")),
    right("of limit", ({ shareOfLimit }) =>
      shareOfLimit === undefined ? "" : `${digits(100 * shareOfLimit)}%`,
    ),
    right("error", ({ error }) => error.toExponential(0)),
    ...(before ? [right("speed-up", (result) => speedUp(result, before))] : []),
  ];
  return [
    `${name}: ${description}`,
    `limits: ${digits(gflops)} GFLOP/s, ${digits(gbs)} GB/s${single}; ${about}`,
    "",
    ...(results.length > 0 ? [table(columns)] : []),
    ...ratios.map((ratio) => `${ratio.name}: ${ratio.value.toFixed(2)}`),
    // Further lines, such as the source of a kernel or a stack, are in the JSON.
    ...failures.map((failure) => `FAILED ${failure.name}: ${failure.reason.split("\n", 1)[0]}`),
  ].join("\n");
}

/** Earlier over present time, where both measured the same thing. */
function speedUp(result: CaseResult, before: EarlierResults["backends"][number]): string {
  const old = before.results.find(({ name, about }) => name === result.name && about === result.about);
  return old ? `${(old.median / result.ms.median).toFixed(2)}x` : "new";
}

/** Three digits, without exponents. */
function digits(value: number): string {
  if (value >= 100) return value.toFixed(0);
  return value >= 1 ? value.toPrecision(3) : value.toFixed(3);
}
