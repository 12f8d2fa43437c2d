import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf, ValueError } from "../../base/errors.ts";
import { readBytes, reasonOf } from "../../base/files.ts";
import { parseJson } from "../../base/json.ts";
import { load } from "../../models/index.ts";
import { load as loadTokenizer, type Tokenizer } from "../../text/index.ts";
import { adapterCases, buildAdapterCase } from "./adapter-case.ts";
import {
  type Build,
  type Expectation,
  type Kind,
  type Others,
  type Surroundings,
  Unsupported,
} from "./case.ts";
import { compare } from "./compare.ts";
import type { Engine } from "./engine.ts";
import { Fields } from "./fields.ts";
import { buildGoldenCase, buildIntermediates, goldenCases } from "./golden-case.ts";
import { buildLoraLayerCase } from "./lora-layer-case.ts";
import { buildLoraTrainingCase } from "./lora-training-case.ts";
import { buildModelCase } from "./model-case.ts";
import { buildNf4Case } from "./nf4-case.ts";
import { buildOpCase } from "./op-case.ts";
import { buildSafetensorsCase } from "./safetensors-case.ts";
import { buildTokenizerCase, tokenizerCases } from "./tokenizer-case.ts";
import { buildTrajectoryCase } from "./trajectory-case.ts";
import { buildTransformCase } from "./transform-case.ts";

/** The kinds of cases that can be run. */
const kinds: Readonly<Record<string, Kind>> = {
  op: { build: buildOpCase },
  trajectory: { build: buildTrajectoryCase },
  transform: { build: buildTransformCase },
  lora_layer: { build: buildLoraLayerCase },
  nf4: { build: buildNf4Case },
  safetensors: { build: buildSafetensorsCase },
  model: { build: buildModelCase },
};

/** Those of one checkpoint, which is given beside them. */
const modelKinds: Readonly<Record<string, Kind>> = {
  llama_golden: { build: buildGoldenCase, cases: goldenCases },
  gpt2_forward: { build: buildIntermediates, cases: (content) => [content.named("forward")] },
  llama_lora_training: { build: buildLoraTrainingCase },
  adapter_logits: { build: buildAdapterCase, cases: adapterCases },
  tokenizer: { build: buildTokenizerCase, cases: tokenizerCases },
};

/** Cases whose graphs are computed together, so that small ones do not each wait for the device. */
const batchSize = 24;

export interface Failure {
  readonly file: string;
  /** Of the case; empty where the file itself cannot be read. */
  readonly name: string;
  readonly problems: readonly string[];
}

export interface Skip {
  readonly reason: string;
  /** `file: case` of each. */
  readonly cases: readonly string[];
}

export interface FileSummary {
  readonly file: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Largest error of the cases that passed, relative to the largest magnitude. */
  readonly worstError: number;
}

export interface OracleReport {
  readonly files: readonly FileSummary[];
  readonly failures: readonly Failure[];
  readonly skips: readonly Skip[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Called before each batch of cases, and by those that take long: the file and the case, and how many of its cases are done. */
export type Progress = (what: string, done: number, total: number) => void;

interface Verdict {
  readonly problems: readonly string[];
  readonly error: number;
  readonly unsupported?: string;
}

/**
 * Runs every case of a directory of reference files whose kind is known. Files that are malformed count as
 * failures; `index.json`, if there is one, must name files that exist with the number of cases they hold. With a
 * checkpoint, the files are references of it, and other JSON files beside and below them are left alone.
 *
 * @throws ValueError if the directory does not exist or holds no reference file; what `models.load` throws.
 */
export async function runOracle(
  directory: string,
  engine: Engine,
  progress: Progress = () => {},
  checkpoint?: string,
): Promise<OracleReport> {
  const model = checkpoint === undefined ? undefined : await load(checkpoint, { dtype: engine.dtype });
  let reading: Promise<Tokenizer> | undefined;
  const tokenizer = checkpoint === undefined ? undefined : () => (reading ??= loadTokenizer(checkpoint));
  const files: FileSummary[] = [];
  const failures: Failure[] = [];
  const skips = new Map<string, string[]>();
  const index = readIndex(directory);
  const skip = (reason: string, label: string) => skips.set(reason, [...(skips.get(reason) ?? []), label]);
  for (const file of model ? listReferences(directory) : listFiles(directory, index)) {
    let [passed, failed, skipped, worstError] = [0, 0, 0, 0];
    const fail = (name: string, problems: readonly string[]) => {
      failed++;
      failures.push({ file, name, problems });
    };
    try {
      const { kind, cases, content } = readReferenceFile(directory, file);
      const declared = index?.get(file);
      if (declared !== undefined && declared !== cases.length) {
        fail("", [`holds ${cases.length} cases, but index.json says ${declared}`]);
      }
      const build = known(kind)?.build;
      const shared = { directory: dirname(join(directory, file)), content, model, tokenizer };
      const around = (fields: Fields): Surroundings => ({
        ...shared,
        progress: (what) =>
          progress(`${file}: ${nameOf(fields)}, ${what}`, cases.indexOf(fields), cases.length),
      });
      const others: Others = (name) => {
        const other = cases.find((fields) => nameOf(fields) === name);
        if (!other) throw new ValueError(`${file}: there is no case ${name}, which another one names.`);
        return other;
      };
      for (let start = 0; start < cases.length; start += batchSize) {
        progress(file, start, cases.length);
        const batch = cases.slice(start, start + batchSize);
        const verdicts = build
          ? await runBatch(
              batch,
              (fields, ...given) => build(fields, ...given, around(fields)),
              engine,
              others,
            )
          : batch.map(() => unknownKind(kind));
        verdicts.forEach(({ problems, error, unsupported }, i) => {
          const name = nameOf(batch[i]!);
          if (unsupported !== undefined) {
            skipped++;
            skip(unsupported, `${file}: ${name}`);
          } else if (problems.length > 0) fail(name, problems);
          else {
            passed++;
            worstError = Math.max(worstError, error);
          }
        });
      }
    } catch (error) {
      fail("", [messageOf(error)]);
    }
    files.push({ file, passed, failed, skipped, worstError });
  }
  const total = (count: "passed" | "failed" | "skipped") => files.reduce((sum, file) => sum + file[count], 0);
  return {
    files,
    failures,
    skips: [...skips].map(([reason, cases]) => ({ reason, cases })),
    passed: total("passed"),
    failed: total("failed"),
    skipped: total("skipped"),
  };
}

function known(kind: string): Kind | undefined {
  return Object.hasOwn(kinds, kind)
    ? kinds[kind]
    : Object.hasOwn(modelKinds, kind)
      ? modelKinds[kind]
      : undefined;
}

function unknownKind(kind: string): Verdict {
  return { problems: [], error: 0, unsupported: `the kind ${kind} is not known` };
}

/** `Build` in the surroundings of a file. */
type BuildHere = (fields: Fields, engine: Engine, others: Others) => ReturnType<Build>;

/** Builds the graphs of some cases and computes them together; if that fails, one by one to find the culprit. */
async function runBatch(
  cases: readonly Fields[],
  build: BuildHere,
  engine: Engine,
  others: Others,
): Promise<Verdict[]> {
  const built: Awaited<ReturnType<typeof settleBuild>>[] = [];
  for (const fields of cases) built.push(await settleBuild(fields, build, engine, others));
  const together = built.flatMap((result) => ("problems" in result ? [] : result.expectations));
  let computed: { readonly values: readonly Expectation["actual"][] } | undefined;
  try {
    computed = { values: await engine.evaluate(together.map(({ actual }) => actual)) };
  } catch {
    computed = undefined;
  }
  const verdicts: Verdict[] = [];
  let at = 0;
  for (const result of built) {
    if ("problems" in result) {
      verdicts.push(result);
      continue;
    }
    const { expectations } = result;
    const from = at;
    at += expectations.length;
    try {
      const actual = computed
        ? computed.values.slice(from, at)
        : await engine.evaluate(expectations.map((expectation) => expectation.actual));
      verdicts.push(await judge(expectations, actual));
    } catch (error) {
      verdicts.push({ problems: [messageOf(error)], error: Infinity });
    }
  }
  return verdicts;
}

async function settleBuild(
  fields: Fields,
  build: BuildHere,
  engine: Engine,
  others: Others,
): Promise<Verdict | { readonly expectations: readonly Expectation[] }> {
  try {
    return { expectations: await build(fields, engine, others) };
  } catch (error) {
    if (error instanceof Unsupported) return { problems: [], error: 0, unsupported: error.message };
    return { problems: [messageOf(error)], error: Infinity };
  }
}

async function judge(
  expectations: readonly Expectation[],
  actual: readonly Expectation["actual"][],
): Promise<Verdict> {
  const problems: string[] = [];
  let worst = 0;
  for (const [i, { what, expected, bound }] of expectations.entries()) {
    const { error, problem } = compare(await actual[i]!.data(), actual[i]!, expected, bound);
    if (problem) problems.push(`${what} ${problem}`);
    worst = Math.max(worst, error);
  }
  return { problems, error: worst };
}

function listFiles(directory: string, index: ReadonlyMap<string, number> | undefined): string[] {
  const present = readdirSync(directory).filter((file) => file.endsWith(".json") && file !== "index.json");
  const files = [...new Set([...present, ...(index?.keys() ?? [])])].sort();
  if (files.length === 0) {
    throw new ValueError(
      `oracle: ${directory} holds no reference files (*.json). Give a directory that does.`,
    );
  }
  return files;
}

/** The reference files of a checkpoint, beside and below which others lie. */
function listReferences(directory: string): string[] {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".json"))
    .filter((file) => {
      const content = parse(directory, file) as { readonly format?: unknown; readonly kind?: unknown } | null;
      return content?.format === 1 && typeof content.kind === "string";
    });
  if (files.length === 0)
    throw new ValueError(
      `oracle: ${directory} holds no reference files of a model (JSON with format 1 and a kind). Give a directory that does.`,
    );
  return files.sort();
}

/** The number of cases by file, if the directory has an index. */
function readIndex(directory: string): Map<string, number> | undefined {
  let names: string[];
  try {
    if (!statSync(directory).isDirectory()) throw new ValueError(`oracle: ${directory} is not a directory.`);
    names = readdirSync(directory);
  } catch (error) {
    if (error instanceof ValueError) throw error;
    throw new ValueError(
      `oracle: cannot read the directory ${directory}: ${messageOf(error)}. Give one that exists.`,
    );
  }
  if (!names.includes("index.json")) return undefined;
  const index = new Fields(parse(directory, "index.json"), "index.json");
  return new Map(index.names.map((file) => [file, index.number(file)]));
}

function readReferenceFile(
  directory: string,
  file: string,
): { kind: string; cases: readonly Fields[]; content: Fields } {
  const content = new Fields(parse(directory, file), file);
  if (content.number("format") !== 1) {
    throw new ValueError(`${file}.format: expected 1; found ${content.number("format")}.`);
  }
  const seen = new Set<string>();
  const kind = content.text("kind");
  const cases = known(kind)?.cases?.(content) ?? content.objects("cases");
  for (const fields of cases) {
    const name = fields.text("name");
    if (seen.has(name))
      throw new ValueError(`${file}: two cases are named ${name}; names are unique in a file.`);
    seen.add(name);
  }
  return { kind, cases, content };
}

function parse(directory: string, file: string): unknown {
  let text: string;
  try {
    text = new TextDecoder().decode(readBytes(join(directory, file)));
  } catch (error) {
    throw new ValueError(`${file}: cannot be read: ${reasonOf(error)}.`);
  }
  return parseJson(file, text);
}

function nameOf(fields: Fields): string {
  return fields.text("name");
}
