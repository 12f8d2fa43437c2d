import type { DType, FloatDType } from "../../src/base/dtype.ts";
import { generator } from "../../src/base/generator.ts";
import { Hash } from "../../src/base/hash.ts";
import { Tensor } from "../../src/index.ts";
import {
  type Graph,
  isForCallers,
  isPlain,
  type Mode,
  printTest,
  prune,
  refsOf,
  runStep,
  type Step,
  show,
} from "./case.ts";
import { admits, Draft, Learned, Random } from "./draw.ts";
import { buildOf, judge, type Target } from "./judge.ts";
import { shrink } from "./shrink.ts";
import { wrongSlope } from "./slopes.ts";
import { type Operation, operations } from "./surface.ts";
import { travel, trips } from "./trips.ts";
import type { Signature } from "./types.ts";

export interface Fault {
  readonly kind: "values" | "error" | "misuse" | "trip";
  /** Equal for faults that look alike. */
  readonly key: string;
  readonly why: string;
  /** A test to paste. */
  readonly test: string;
  count: number;
}

export interface Report {
  /** Graphs that ran on each executor. */
  readonly graphs: Record<string, number>;
  /** How often each of the trips was made. */
  readonly trips: Record<string, number>;
  readonly seed: number;
  calls: number;
  refused: number;
  /** Calls with an argument that the declaration rules out. */
  misuses: number;
  judged: number;
  elements: number;
  tooLarge: number;
  seconds: number;
  /** How often each operation was part of a graph that ran. */
  readonly uses: Record<string, number>;
  readonly faults: Fault[];
}

const lengths: readonly (readonly number[])[] = [
  [1, 2, 3, 4],
  [1, 2, 3, 4, 0],
  [1, 3, 5, 7, 17],
  [1, 2, 4, 8, 16],
  [1, 33, 64, 65],
  [1, 2, 100, 257, 1000],
  [3, 5003, 20011],
];
const share = [8, 2, 6, 5, 3, 1, 0.5];

const table = operations();
const makers = table.filter(({ signatures }) =>
  signatures.some(({ result }) => result.kind === "name" && result.name === "Packed"),
);

/** Dtypes of leaves on a device of these floats, as often as they are worth it. */
export function dtypesWith(floats: readonly FloatDType[]): DType[] {
  return [
    ...floats,
    ...(["float32", "float32", "float32", "int32", "int32", "uint32", "bool", "number"] as const),
  ];
}

interface Lesson {
  readonly learned: Learned;
  /** How often each operation was called with success. */
  readonly successes: ReadonlyMap<string, number>;
}

/** What was learned, by dtypes and operations: it takes ten seconds. */
const lessons = new Map<string, Lesson>();

/** Learns, without a device, what the operations take. */
export function learn(dtypes: readonly DType[], chosen: readonly Operation[] = table): Lesson {
  const key = [...dtypes, ...chosen.map(({ name }) => name)].join();
  const lesson = lessons.get(key) ?? study(dtypes, chosen);
  lessons.set(key, lesson);
  return { ...lesson, learned: new Learned(lesson.learned) };
}

function study(dtypes: readonly DType[], chosen: readonly Operation[]): Lesson {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // nearly all that is thrown is caught at once
  const learned = new Learned();
  const successes = new Map<string, number>(chosen.map(({ name }) => [name, 0]));
  // What one operation learns of the types that it takes helps those that had little success before it.
  for (let round = 0; round < 2; round++) {
    for (const operation of chosen) {
      // A stream of its own: what is found for one does not hang on which others there are.
      const random = new Random(
        generator(Number.parseInt(new Hash().add(operation.name).add(String(round)).toString().slice(8), 16)),
      );
      let count = successes.get(operation.name)!;
      // Of what rarely succeeds a few will do.
      for (let tries = 0; tries < 20_000 && count < (tries < 4000 ? 12 : 4); tries++) {
        const draft = new Draft(random, learned, { dtypes, lengths: lengths[tries % 4]!, makers, most: 256 });
        if (!("thrown" in draft.call(operation))) count++;
      }
      successes.set(operation.name, count);
    }
  }
  learned.frozen = true;
  Error.stackTraceLimit = stackTraceLimit;
  return { learned, successes };
}

/** Results with more elements are left out, but for graphs that are about large ones. */
const largestResult = 2048;

interface Generated {
  readonly graph: Graph | undefined;
  readonly faults: readonly Omit<Fault, "count">[];
}

/** One random graph; calls that throw anything but errors for callers are faults at once. */
function generate(
  random: Random,
  learned: Learned,
  dtypes: readonly DType[],
  chosen: readonly Operation[],
  report: Report,
): Generated {
  const faults: Omit<Fault, "count">[] = [];
  const family = random.weighted(share);
  const large = family >= 5;
  const most = large ? 50_000 : largestResult;
  const draft = new Draft(random, learned, { dtypes, lengths: lengths[family]!, makers, most });
  for (let i = 1 + random.below(3); i > 0; i--)
    draft.leaf(random.pick(dtypes), draft.shape(large ? random.below(3) : undefined));
  // A few operations at a time: chains of some then happen that are rare among all.
  const some = random.chance(0.2)
    ? chosen
    : Array.from({ length: 2 + random.below(8) }, () => random.pick(chosen));
  const gradient = random.pick([0, 0, 0, 1, 1, 2] as const);
  const wanted = 1 + random.below(large ? 4 : gradient === 2 ? 5 : 10);
  for (let made = 0; made < wanted; made++) {
    const operation = random.pick(some);
    for (let tries = 0; tries < 6; tries++) {
      const found = draft.call(operation);
      report.calls++;
      if ("thrown" in found) {
        report.refused++;
        if (isForCallers(found.thrown)) continue;
        faults.push(thrownFault(draft, found.step, found.thrown));
        return { graph: undefined, faults };
      }
      const results = [...draft.values].filter(([id]) => id === found.id || id.startsWith(`${found.id}.`));
      if (results.some(([, value]) => value instanceof Tensor && !(value.size <= most))) draft.undo(found);
      break;
    }
  }
  if (random.chance(0.3)) faults.push(...misuse(draft, random.pick(chosen), report));
  const used = new Set(draft.steps.flatMap(({ receiver, args }) => refsOf([receiver, args])));
  const tensors = [...draft.values].flatMap(([id, value]) =>
    value instanceof Tensor && id.startsWith("s") ? [id] : [],
  );
  const ends = tensors.filter((id) => !used.has(id)).slice(-4);
  const outputs = [...ends, ...tensors.filter((id) => used.has(id) && random.chance(0.2)).slice(0, 3)];
  if (outputs.length === 0) return { graph: undefined, faults };
  const run = random.pick(["together", "together", "one by one", "compiled", "compiled"] as const);
  const mode: Mode = { gradient, run, donate: run === "compiled" && random.chance(0.5) };
  return { graph: prune({ leaves: draft.leaves, steps: draft.steps, outputs, mode }), faults };
}

function thrownFault(draft: Draft, step: Step, thrown: unknown): Omit<Fault, "count"> {
  const why = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
  const graph = prune({
    leaves: draft.leaves,
    steps: [...draft.steps, step],
    outputs: [step.id],
    mode: { gradient: 0, run: "together", donate: false },
  });
  const key = `error ${step.operation.name} ${why.replace(/-?\d[\d.e+-]*/g, "#")}`;
  return { kind: "error", key, why, test: printTest(graph, "any", why) };
}

/** Values of no type that a parameter has. */
const wrong: readonly unknown[] = [
  undefined,
  null,
  "2",
  "",
  {},
  [],
  [[]],
  true,
  5n,
  Number,
  { keepDims: true },
  ["0"],
  [null],
  [{}],
];

/**
 * A call that succeeds, and again with an argument that its declaration rules out, with one less or with one more: only
 * an error for callers will do.
 */
function misuse(draft: Draft, operation: Operation, report: Report): Omit<Fault, "count">[] {
  const { random } = draft;
  const [{ params, bounds }, ...overloads] = operation.signatures as [Signature, ...Signature[]]; // it has one
  if (overloads.length > 0 || (!operation.method && params.some(({ rest }) => rest))) return [];
  for (let tries = 0; tries < 6; tries++) {
    const found = draft.call(operation);
    report.calls++;
    if ("thrown" in found) {
      if (!isForCallers(found.thrown)) return [thrownFault(draft, found.step, found.thrown)];
      continue;
    }
    draft.undo(found);
    const at = random.below(params.length + 1);
    const value = random.pick(wrong);
    const param = params[at];
    let args: readonly unknown[];
    if (!param) {
      // Functions may be given to map, which passes more.
      if (found.args.length < params.length || !operation.method) return [];
      args = [...found.args, value];
    } else if (!param.optional && random.chance(0.2)) args = found.args.slice(0, at);
    else {
      const absent = param.optional && (value === undefined || value === null);
      if (at > found.args.length || absent || admits(param.type, value, bounds)) return [];
      args = [...found.args.slice(0, at), value, ...found.args.slice(at + 1)];
    }
    const step = { ...found, args };
    report.misuses++;
    try {
      runStep(step, new Map(draft.values));
    } catch (thrown) {
      return isForCallers(thrown) ? [] : [thrownFault(draft, step, thrown)];
    }
    const what = !param ? "one argument more" : args.length === at ? "no argument" : show(value);
    const why = `${operation.name} takes ${what} for ${param?.name ?? "nothing"}`;
    return [{ kind: "misuse", key: why, why, test: `// ${why}: ${show(args)}` }];
  }
  return [];
}

/** Of so many graphs, one is followed by something else that goes there and comes back. */
const graphsPerTrip = 25;

export interface Limits {
  readonly seed: number;
  /** The first of the graphs, by number. */
  readonly from?: number;
  readonly graphs?: number;
  readonly seconds?: number;
  /** Operations whose names hold this alone. */
  readonly only?: string;
  /** Dtypes for which is learned what operations take: those of the device, if not given. */
  readonly lesson?: readonly DType[];
}

/** Random graphs on executors of one backend in turn, until a limit is reached. */
export async function fuzz(
  targets: readonly Target[],
  { seed, from = 0, graphs = Infinity, seconds = Infinity, only = "", lesson }: Limits,
  progress: (report: Report) => void = () => {},
): Promise<Report> {
  const dtypes = dtypesWith(targets[0]!.device.backend.target.floats);
  const chosen = table.filter(({ name }) => name.includes(only));
  const ways = trips.filter(({ name }) => name.includes(only));
  if (chosen.length + ways.length === 0) throw new Error(`no operation has ${only} in its name`);
  const { learned } = learn(lesson ?? dtypes, chosen);
  const report: Report = {
    graphs: Object.fromEntries(targets.map(({ name }) => [name, 0])),
    trips: Object.fromEntries(ways.map(({ name }) => [name, 0])),
    seed,
    calls: 0,
    refused: 0,
    misuses: 0,
    judged: 0,
    elements: 0,
    tooLarge: 0,
    seconds: 0,
    uses: Object.fromEntries(chosen.map(({ name }) => [name, 0])),
    faults: [],
  };
  const note = (fault: Omit<Fault, "count">) => {
    const same = report.faults.find(({ key }) => key === fault.key);
    if (same) same.count++;
    else report.faults.push({ ...fault, count: 1 });
  };
  const start = performance.now();
  for (let i = from; i < from + graphs; i++) {
    report.seconds = (performance.now() - start) / 1000;
    if (report.seconds > seconds) break;
    const target = targets[i % targets.length]!;
    const way = ways[Math.floor(i / graphsPerTrip) % ways.length];
    if (way && (chosen.length === 0 || i % graphsPerTrip === 0)) {
      report.trips[way.name]!++;
      const why = await travel(way, target.device, Math.imul(seed, 0x9e3779b1) ^ i);
      if (why !== undefined)
        note({
          kind: "trip",
          key: `${way.name} ${why.split("\n")[0]!.replace(/-?\d[\d.e+-]*/g, "#")}`,
          why: `${why} (seed ${seed}, graph ${i})`,
          test: `// ${target.name}, ${way.name}: ${why}`,
        });
    }
    if (chosen.length === 0) {
      progress(report);
      continue;
    }
    const random = new Random(generator(Math.imul(seed, 0x9e3779b1) ^ Math.imul(i + 1, 0x85ebca6b)));
    const { graph, faults } = generate(random, learned, dtypes, chosen, report);
    for (const fault of faults) note(fault);
    if (!graph) continue;
    const verdict = await judge(graph.leaves, buildOf(graph), graph.mode, target);
    if (verdict.tooLarge) {
      report.tooLarge++;
      continue;
    }
    report.graphs[target.name]!++;
    report.judged += verdict.judged;
    report.elements += verdict.elements;
    for (const { operation } of graph.steps) report.uses[operation.name]!++;
    const fault = verdict.fault ?? (await slopeOf(graph));
    if (fault !== undefined) note(await explain(graph, fault, target, `seed ${seed}, graph ${i}`));
    progress(report);
  }
  return report;
}

/**
 * Derivatives that their rules stop on purpose: of what is left out with small singular values too, of the lengths of rows
 * in DoRA, of what a batch norm keeps for the next batch, of a draw of a class, and of a variance below the least.
 */
const stopped =
  /detach|pack|bitcast|nn\.batchNorm|linalg\.(?:pinv|lstsq)|functional\.(?:gumbelSoftmax|gaussianNllLoss)/;
/** What gives singular vectors or eigenvectors to its caller, with the name of their values. */
const spectrumOf: Readonly<Record<string, string>> = { "linalg.svd": "s", "linalg.eigh": "w" };
const asksForDora = (value: unknown): boolean =>
  isPlain(value) && (value.dora === true || Object.values(value).some(asksForDora));
const isDora = ({ args }: Step) => args.some(asksForDora);

async function slopeOf(graph: Graph): Promise<string | undefined> {
  const { gradient } = graph.mode;
  const stops = graph.steps.some((step) => stopped.test(step.operation.name) || isDora(step));
  if (gradient === 0 || stops) return undefined;
  const spectra = graph.steps.flatMap(({ id, operation }) =>
    operation.name in spectrumOf ? `${id}.${spectrumOf[operation.name]}` : [],
  );
  try {
    return await wrongSlope(graph.leaves, buildOf(graph), gradient, buildOf({ ...graph, outputs: spectra }));
  } catch (error) {
    // A number of the host that is refused when it is known; whether it is in runs too, the judge looked.
    if (isForCallers(error)) return undefined;
    throw error;
  }
}

async function explain(
  graph: Graph,
  fault: string,
  target: Target,
  place: string,
): Promise<Omit<Fault, "count">> {
  const faultOf = async (other: Graph) =>
    (await judge(other.leaves, buildOf(other), other.mode, target)).fault ?? slopeOf(other);
  // A smaller graph fails in the same way, or it is another fault.
  const way = (text: string | undefined) => text && /^\w+ throws|^output|^the slope/.exec(text)?.[0];
  const least = await shrink(graph, async (other) => way(await faultOf(other)) === way(fault));
  const why = (await faultOf(least)) ?? `${fault}; it did not fail again`;
  const names = least.steps.map(({ operation }) => operation.name).sort();
  const { gradient, run, donate } = least.mode;
  const what = /^the slope/.test(why)
    ? "slope"
    : /throws/.test(why)
      ? why.replace(/-?\d[\d.e+-]*/g, "#")
      : "values";
  return {
    kind: "values",
    key: `${[...new Set(names)].join(" ")} ${gradient} ${run} ${donate} ${what}`,
    why: `${why} (${place})`,
    test: printTest(least, target.name, why),
  };
}
